"""What a search may ask for, and which items answer it: CQL2 filters and the order of items.

Strict on purpose: what is not known to work is refused, as silence would hide a client's mistake.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

import cql2

from local.stac.store import Json

SORT_KEYS = (
    "id",
    "created",
    "published",
    "datetime",
    "start_datetime",
    "end_datetime",
    "platform",
    "product:type",
    "processing:datetime",
    "file:size",
)

_COMPARISONS = {"=", "<", "<=", ">", ">="}
_LOGIC = {"and", "or", "in"}
_TEMPORAL = {
    *("t_after", "t_before", "t_contains", "t_disjoint", "t_during", "t_equals", "t_finishedBy", "t_finishes"),
    *("t_intersects", "t_meets", "t_metBy", "t_overlappedBy", "t_overlaps", "t_startedBy", "t_starts"),
}
OPERATORS = _COMPARISONS | _LOGIC | _TEMPORAL

# The calendar of cql2 ends at 9999-12-30T22:00:00Z, and open-ended validity is spelled a day later.
_END_OF_TIME = re.compile(r"^9999-12-3[01]T.*$")
_LAST_INSTANT = "9999-12-30T22:00:00Z"


class BadQuery(ValueError):
    """The search asks for something that is not supported or makes no sense."""


class UnknownSortKey(LookupError):
    """Items cannot be put into the order of this key."""


def parse_text(text: str) -> Json:
    """Turn CQL2 text into CQL2-JSON.

    Raises:
        BadQuery: it is no CQL2.
    """
    try:
        return cql2.parse_text(text).to_json()
    except cql2.ParseError as error:
        raise BadQuery(f"the filter is no CQL2 text: {error}") from error


def parse_json(text: str) -> Json:
    """Read a CQL2-JSON filter from a URL.

    Raises:
        BadQuery: it is no JSON object.
    """
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise BadQuery(f"the filter is no JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise BadQuery("the filter is no JSON object")
    return parsed


def matcher(filter_expression: Json | None) -> Callable[[Json], bool]:
    """What tells whether an item answers a filter.

    An item does not match if a property that decides is absent or cannot be compared.

    Args:
        filter_expression: CQL2-JSON; None matches every item.

    Raises:
        BadQuery: the filter is malformed or has an operator that is not supported.
    """
    if filter_expression is None:
        return lambda _: True
    expression = _compile(json.dumps(_clamp(filter_expression)))

    def matches(item: Json) -> bool:
        compared = {key: _clamp(item.get(key)) for key in ("id", "collection", "properties")}
        try:
            return expression.matches(compared)
        except Exception:  # noqa: BLE001  # cql2 has no narrower one for what it cannot compare
            return False

    return matches


def in_order(items: Sequence[Json], key: str, direction: Literal["asc", "desc"]) -> list[Json]:
    """Sort items; those without the key come last, and the id decides between equals.

    Raises:
        UnknownSortKey: `key` is none of SORT_KEYS.
    """
    if key not in SORT_KEYS:
        raise UnknownSortKey(f"{key!r} is no sort key; use one of {', '.join(SORT_KEYS)}")
    by_id = sorted(items, key=lambda item: str(item["id"]))
    present = [item for item in by_id if _value(item, key) is not None]
    absent = [item for item in by_id if _value(item, key) is None]
    return sorted(present, key=lambda item: _comparable(_value(item, key)), reverse=direction == "desc") + absent


@lru_cache(maxsize=256)
def _compile(text: str) -> cql2.Expr:
    parsed = json.loads(text)
    _refuse_unknown_operators(parsed)
    try:
        expression = cql2.Expr(parsed)
        expression.validate()  # takes some 50 ms, hence the cache
    except Exception as error:  # malformed input raises a bare Exception
        raise BadQuery(f"the filter is no CQL2-JSON: {error}") from error
    return expression


def _refuse_unknown_operators(node: object) -> None:
    if isinstance(node, list):
        for part in node:
            _refuse_unknown_operators(part)
    elif isinstance(node, dict):
        if "op" in node and node["op"] not in OPERATORS:
            raise BadQuery(f"the operator {node['op']!r} is not supported")
        for part in node.values():
            _refuse_unknown_operators(part)


def _clamp(node: object) -> object:
    if isinstance(node, str):
        return _END_OF_TIME.sub(_LAST_INSTANT, node)
    if isinstance(node, list):
        return [_clamp(part) for part in node]
    if isinstance(node, dict):
        return {key: _clamp(value) for key, value in node.items()}
    return node


def _value(item: Json, key: str) -> object:
    if key == "id":
        return item["id"]
    properties = item.get("properties")
    if key == "file:size":
        assets = item.get("assets")
        sizes = [int(asset.get(key) or 0) for asset in assets.values()] if isinstance(assets, dict) else []
        return sum(sizes) if sizes else None
    return properties.get(key) if isinstance(properties, dict) else None


def _comparable(value: object) -> tuple[float, str]:
    return (value, "") if isinstance(value, int | float) else (0, str(value))
