"""Dates and times of an item, spelled as STAC requires and catalogs insist on: RFC 3339 with an offset."""

import re
from collections.abc import Iterable
from typing import Final

from pydantic import JsonValue

from shared.errors import Rejected
from shared.stac.requirements import bad_item
from shared.times import parse_instant

_Json = dict[str, JsonValue]

_BOUNDS: Final = ("start_datetime", "end_datetime")

_INSTANTS: Final = frozenset({"datetime", *_BOUNDS, "created", "updated", "published", "expires"})
"""Fields of STAC's common metadata and of the timestamps extension that must be an instant, or null."""

_RFC_3339: Final = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_HAS_TIME: Final = re.compile("[Tt ]")


def spell_times(properties: _Json, assets: Iterable[_Json]) -> None:
    """Spell an item's dates and times anew where a station spells them in its own way; each stays the same instant.

    What is RFC 3339 stays as it came, whatever its offset and its digits. A field that only an extension knows is left
    as it came where it is not an instant: no catalog looks at it. An item of pgSTAC lacks the `datetime` that is null.

    Args:
        properties: of the item.
        assets: fields of each of its assets.

    Raises:
        ItemFailed: `bad-item`, a field that catalogs check is not an instant, the validity ends before it begins, or
            nothing says when the item is.
    """
    properties.update({name: _spelled(name, value) for name, value in properties.items()})
    for fields in assets:
        fields.update({name: _spelled_if_known(name, value) for name, value in fields.items()})
    if all(properties.get(name) is not None for name in _BOUNDS):
        properties.setdefault("datetime", None)
    _require_order(properties)


def rfc3339(text: str) -> str:
    """Spell an instant as RFC 3339: unchanged where it is so already, else in UTC with all its digits.

    Raises:
        Rejected: `bad-datetime`, it is not an instant, or a date without a time, which says no instant of that day.
    """
    if not _HAS_TIME.search(text):
        raise Rejected("bad-datetime", f"{text[:80]!r} is not a date and time such as 2024-01-31T00:00:00Z")
    instant = parse_instant(text)
    return text if _RFC_3339.fullmatch(text) else instant.isoformat().removesuffix("+00:00") + "Z"


def _spelled(name: str, value: JsonValue) -> JsonValue:
    if name not in _INSTANTS or value is None:
        return _spelled_if_known(name, value)
    where = f"properties.{name}"
    if not isinstance(value, str):
        raise bad_item(f"{where}: {str(value)[:80]} is not a date and time such as 2024-01-31T00:00:00Z")
    try:
        return rfc3339(value)
    except Rejected as error:
        raise bad_item(f"{where}: {error.reason}") from None


def _spelled_if_known(name: str, value: JsonValue) -> JsonValue:
    """Spell a field anew that is an instant by its name (`processing:datetime`, `eviction_datetime`) and its value."""
    if not isinstance(value, str) or not (name in _INSTANTS or name == "unpublished" or name.endswith("datetime")):
        return value
    try:
        return rfc3339(value)
    except Rejected:
        return value


def _require_order(properties: _Json) -> None:
    """Make sure that an item says when it is, as STAC has it and pgSTAC requires.

    Raises:
        ItemFailed: `bad-item`.
    """
    start, end = (properties.get(name) for name in _BOUNDS)
    if (start is None) != (end is None):
        missing, given = _BOUNDS if start is None else _BOUNDS[::-1]
        raise bad_item(f"properties.{missing}: it is required beside {given}")
    if properties.get("datetime") is None and start is None:
        raise bad_item("properties.datetime: it is required where start_datetime and end_datetime are not given")
    if start is not None and parse_instant(str(end)) < parse_instant(str(start)):
        raise bad_item(f"properties.end_datetime: the validity ends ({end}) before it begins ({start})")
