"""What a CQL2 filter says for sure of the items it selects, for stations that can be asked for little more.

Never narrower than the filter: what is not understood leaves everything in.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from typing import Final

from pydantic import JsonValue

from shared.errors import Rejected
from shared.json_types import Json
from shared.times import OPEN_END, parse_instant

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)

_PLATFORM: Final = re.compile(r"sentinel-([0-9])([a-z0-9]?)")
_GENERATED: Final = frozenset({"created", "published", "processing:datetime"})
_VALIDITY: Final[Json] = {"interval": [{"property": "start_datetime"}, {"property": "end_datetime"}]}


@dataclass(frozen=True)
class Scope:
    """What items are selected among.

    Attributes:
        types: product types; None for all.
        missions: first parts of names, such as S1A; None for all.
        earliest: instant of generation before which nothing is selected.
        latest: instant of generation after which nothing is selected.
        valid: instant before whose end of validity nothing is selected.
        begun: instant after whose begin of validity nothing is selected.
    """

    types: frozenset[str] | None = None
    missions: frozenset[str] | None = None
    earliest: datetime = EARLIEST
    latest: datetime = OPEN_END
    valid: datetime = EARLIEST
    begun: datetime = OPEN_END


_ALL: Final = Scope()
NOTHING: Final = Scope(types=frozenset())


def scope_of(expression: object, of_id: Callable[[str], Scope]) -> Scope:
    """Return what a CQL2-JSON filter says for sure.

    Args:
        expression: the filter.
        of_id: what the id of an item says of it; `NOTHING` where the station cannot have such an item.
    """
    match expression:
        case {"op": "and", "args": [_, *_] as parts}:
            return reduce(_both, (scope_of(part, of_id) for part in parts))
        case {"op": "or", "args": [_, *_] as parts}:
            return reduce(_either, (scope_of(part, of_id) for part in parts))
        case {"op": "in", "args": [{"property": str(name)}, [_, *_] as values]}:
            return reduce(_either, (_equal(name, value, of_id) for value in values))
        case {"op": "=", "args": [{"property": str(name)}, value]}:
            return _equal(name, value, of_id)
        case {"op": ">=" | ">" | "<=" | "<" as operator, "args": [{"property": str(name)}, value]}:
            return _compared(str(operator), name, value)
        case {"op": "between", "args": [{"property": str(name)}, low, high]}:
            return _both(_compared(">=", name, low), _compared("<=", name, high))
        case {"op": "t_intersects" | "t_contains", "args": [first, other]} if first == _VALIDITY:
            begin, end = other["interval"] if isinstance(other, dict) and "interval" in other else (other, other)
            return _both(_compared(">=", "end_datetime", begin), _compared("<=", "start_datetime", end))
        case _:
            return _ALL


def _equal(name: str, value: JsonValue, of_id: Callable[[str], Scope]) -> Scope:
    match name.removeprefix("properties."), value:
        case "product:type", str(text):
            return Scope(types=frozenset({text}))
        case "platform", str(text):
            found = _PLATFORM.fullmatch(text)
            return Scope(missions=frozenset({f"S{found[1]}{found[2].upper() or '_'}"} if found else ()))
        case "id", str(text):
            return of_id(text)
        case _:
            return _both(_compared(">=", name, value), _compared("<=", name, value))


def _compared(operator: str, name: str, value: JsonValue) -> Scope:
    instant = _instant(value)
    if instant is None:
        return _ALL
    bare = name.removeprefix("properties.")
    if bare in _GENERATED:
        return Scope(earliest=instant) if operator.startswith(">") else Scope(latest=instant)
    if bare in ("start_datetime", "end_datetime") and operator.startswith(">"):
        return Scope(valid=instant)
    if bare in ("start_datetime", "end_datetime"):
        return Scope(begun=instant)
    return _ALL


def _instant(value: JsonValue) -> datetime | None:
    text = value.get("timestamp") if isinstance(value, dict) else value
    try:
        return parse_instant(text) if isinstance(text, str) else None
    except Rejected:
        return None


def _both(first: Scope, second: Scope) -> Scope:
    return Scope(
        _common(first.types, second.types),
        _common(first.missions, second.missions),
        max(first.earliest, second.earliest),
        min(first.latest, second.latest),
        max(first.valid, second.valid),
        min(first.begun, second.begun),
    )


def _either(first: Scope, second: Scope) -> Scope:
    return Scope(
        _all(first.types, second.types),
        _all(first.missions, second.missions),
        min(first.earliest, second.earliest),
        max(first.latest, second.latest),
        min(first.valid, second.valid),
        max(first.begun, second.begun),
    )


def _common(first: frozenset[str] | None, second: frozenset[str] | None) -> frozenset[str] | None:
    if first is None or second is None:
        return second if first is None else first
    return first & second


def _all(first: frozenset[str] | None, second: frozenset[str] | None) -> frozenset[str] | None:
    return None if first is None or second is None else first | second
