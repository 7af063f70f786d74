"""What a search may ask for, and which items answer it: CQL2 filters and the order of items.

Strict on purpose: what is not known to work is refused, as silence would hide a client's mistake.
"""

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal, cast

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
_JUNCTIONS = {"and", "or"}
_TEMPORAL = {
    *("t_after", "t_before", "t_contains", "t_disjoint", "t_during", "t_equals", "t_finishedBy", "t_finishes"),
    *("t_intersects", "t_meets", "t_metBy", "t_overlappedBy", "t_overlaps", "t_startedBy", "t_starts"),
}
OPERATORS = _COMPARISONS | _JUNCTIONS | _TEMPORAL | {"in"}

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
    expression = _compile(filter_expression)

    def matches(item: Json) -> bool:
        compared = {key: _clamp(item.get(key)) for key in ("id", "collection", "properties")}
        try:
            return expression.matches(compared)
        except Exception:  # noqa: BLE001  # cql2 has no narrower one for what it cannot compare
            return False

    return matches


def in_order(items: Sequence[Json], key: str, direction: Literal["asc", "desc"]) -> list[Json]:
    """Sort items; those without the key come last, and the id decides between equals.

    Args:
        items: in any order.
        key: one of SORT_KEYS, also with `properties.` before it.
        direction: of the key; the id is always ascending.

    Raises:
        UnknownSortKey: `key` is none of SORT_KEYS.
    """
    key = key.removeprefix("properties.")
    if key not in SORT_KEYS:
        raise UnknownSortKey(f"{key!r} is no sort key; use one of {', '.join(SORT_KEYS)}")
    by_id = sorted(items, key=lambda item: str(item["id"]))
    present = [item for item in by_id if _value(item, key) is not None]
    absent = [item for item in by_id if _value(item, key) is None]
    return sorted(present, key=lambda item: _comparable(_value(item, key)), reverse=direction == "desc") + absent


def _compile(filter_expression: Json) -> cql2.Expr:
    _check(filter_expression)
    try:
        return cql2.Expr(cast(dict[str, Any], _clamp(filter_expression)))
    except Exception as error:  # malformed input raises a bare Exception
        raise BadQuery(f"the filter is no CQL2-JSON: {error}") from error


def _check(node: object) -> None:
    # cql2's own validation takes up to a second, and passes unknown operators.
    if isinstance(node, dict) and "op" in node:
        _check_operation(node)
    elif isinstance(node, dict):
        _check_operand(node)
    elif not isinstance(node, str | int | float | bool):
        raise BadQuery(f"a filter cannot hold {node!r} here")


def _check_operation(node: Json) -> None:
    operator, arguments = node["op"], node.get("args")
    if operator not in OPERATORS:
        raise BadQuery(f"the operator {operator!r} is not supported")
    if not isinstance(arguments, list) or len(arguments) < 2 or (len(arguments) > 2 and operator not in _JUNCTIONS):
        raise BadQuery(f"{operator!r} does not take these arguments: {arguments!r}")
    if operator == "in":
        if not isinstance(arguments[1], list):
            raise BadQuery("the second argument of 'in' is no list")
        arguments = [arguments[0], *arguments[1]]
    if (operator in _TEMPORAL or operator in _JUNCTIONS) and not all(isinstance(each, dict) for each in arguments):
        raise BadQuery(f"{operator!r} does not take literals: {arguments!r}")
    for each in arguments:
        _check(each)


def _check_operand(node: Json) -> None:
    match node:
        case {"property": str()} if len(node) == 1:
            return
        case {"timestamp": str(instant)} if len(node) == 1:
            _check_instant(instant)
        case {"interval": [start, end]} if len(node) == 1:
            for bound in (start, end):
                if isinstance(bound, dict):
                    _check(bound)
                elif bound != "..":
                    _check_instant(bound)
        case _:
            raise BadQuery(f"a filter cannot hold {node!r}")


def _check_instant(text: object) -> None:
    try:
        if datetime.fromisoformat(str(text)).tzinfo is not None:
            return
    except ValueError:
        pass
    raise BadQuery(f"{text!r} is no timestamp (RFC 3339)")


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
