"""What of a bucket of EOF files must be listed for a filter: never less than what the filter selects."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Final

from pydantic import JsonValue

from shared.errors import Rejected
from shared.json_types import Json
from shared.stations.eof import EofName
from shared.times import OPEN_END, parse_instant

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)

_TYPE: Final = re.compile(r"[A-Z0-9]{4}_([A-Z0-9_]{10})_[A-Z0-9_]{4}")
_PLATFORM: Final = re.compile(r"sentinel-([0-9])([a-z0-9]?)")
_GENERATED: Final = frozenset({"created", "published", "processing:datetime"})
_VALIDITY: Final[Json] = {"interval": [{"property": "start_datetime"}, {"property": "end_datetime"}]}

_MEASURED: Final = frozenset({"OPER_AUX_POEORB_OPOD", "OPER_AUX_RESORB_OPOD"})
"""Orbits that are computed from what was measured: they are generated after the end of their validity."""

_CLOCKS: Final = timedelta(days=1)
"""How much earlier all the same. How late is not bounded: a precise orbit of 2019 was generated anew in 2021."""


@dataclass(frozen=True)
class Scope:
    """Names that are to be listed.

    Attributes:
        types: product types; None for all.
        missions: first parts of names, such as S1A; None for all.
        earliest: instant of generation before which nothing is wanted.
        latest: instant of generation after which nothing is wanted.
        valid: instant before whose end of validity nothing is wanted.
    """

    types: frozenset[str] | None = None
    missions: frozenset[str] | None = None
    earliest: datetime = EARLIEST
    latest: datetime = OPEN_END
    valid: datetime = EARLIEST

    def prefixes(self) -> list[str]:
        """Return the prefixes of keys to list, in their order; those that lie within another one are left out."""
        if self.types is None:
            return [""]
        missions = [None] if self.missions is None else sorted(self.missions)
        found = {
            f"{kind[1]}/" if mission is None else f"{kind[1]}/{mission}_{name}_"
            for name in self.types
            if (kind := _TYPE.fullmatch(name))
            for mission in missions
        }
        return sorted(found)

    def since(self, product_type: str) -> datetime:
        """Return the instant of generation before which nothing of a type is wanted."""
        if product_type not in _MEASURED or self.valid - EARLIEST < _CLOCKS:
            return self.earliest
        return max(self.earliest, self.valid - _CLOCKS)


_ALL: Final = Scope()
_NOTHING: Final = Scope(types=frozenset())


def scope_of(expression: object) -> Scope:
    """Return what must be listed for a CQL2-JSON filter; what is not understood does not narrow it."""
    match expression:
        case {"op": "and", "args": [_, *_] as parts}:
            return reduce(_both, map(scope_of, parts))
        case {"op": "or", "args": [_, *_] as parts}:
            return reduce(_either, map(scope_of, parts))
        case {"op": "in", "args": [{"property": str(name)}, [_, *_] as values]}:
            return reduce(_either, (_equal(name, value) for value in values))
        case {"op": "=", "args": [{"property": str(name)}, value]}:
            return _equal(name, value)
        case {"op": ">=" | ">" | "<=" | "<" as operator, "args": [{"property": str(name)}, value]}:
            return _compared(str(operator), name, value)
        case {"op": "between", "args": [{"property": str(name)}, low, high]}:
            return _both(_compared(">=", name, low), _compared("<=", name, high))
        case {"op": "t_intersects" | "t_contains", "args": [first, other]} if first == _VALIDITY:
            begin = other["interval"][0] if isinstance(other, dict) and other.get("interval") else other
            return _compared(">=", "end_datetime", begin)
        case _:
            return _ALL


def _equal(name: str, value: JsonValue) -> Scope:
    match name.removeprefix("properties."), value:
        case "product:type", str(text):
            return Scope(types=frozenset({text}))
        case "platform", str(text):
            found = _PLATFORM.fullmatch(text)
            return Scope(missions=frozenset({f"S{found[1]}{found[2].upper() or '_'}"} if found else ()))
        case "id", str(text):
            file = EofName.of(f"{text}.EOF")
            if file is None:
                return _NOTHING
            return Scope(frozenset({file.product_type}), frozenset({file.mission}), file.created, file.created)
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
    )


def _either(first: Scope, second: Scope) -> Scope:
    return Scope(
        _all(first.types, second.types),
        _all(first.missions, second.missions),
        min(first.earliest, second.earliest),
        max(first.latest, second.latest),
        min(first.valid, second.valid),
    )


def _common(first: frozenset[str] | None, second: frozenset[str] | None) -> frozenset[str] | None:
    if first is None or second is None:
        return second if first is None else first
    return first & second


def _all(first: frozenset[str] | None, second: frozenset[str] | None) -> frozenset[str] | None:
    return None if first is None or second is None else first | second
