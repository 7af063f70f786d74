"""CQL2-JSON as an OData `$filter` that is never narrower: the station leaves out what it can, and we judge the rest.

Each part becomes conditions that hold for every product for which the part is true. A `not` is carried down to the
comparisons, since what is only wider than a part must not be negated: it would be narrower.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import inf
from typing import Final

from pydantic import JsonValue

from shared.json_types import Json
from shared.stac.operators import FLIPPED, NEGATED, OPEN, RELATIONS, instant_of, name_of, pattern_parts
from shared.stations.odata.dialects import Dialect
from shared.times import BEGINNING, OPEN_END

_Conditions = tuple[str, ...] | None
"""Conditions that must all hold; an empty tuple restricts nothing, and None says that no product can match."""

_Bound = str | datetime | float
"""Of an interval: the path of a field of OData, an instant, or infinity."""

_PATHS: Final = {
    "created": "PublicationDate",
    "published": "PublicationDate",
    "datetime": "ContentDate/Start",
    "start_datetime": "ContentDate/Start",
    "end_datetime": "ContentDate/End",
}
_TYPE: Final = "product:type"
_ATTRIBUTE_DATES: Final = {"processing:datetime": "processingDate"}
_ATTRIBUTE_TEXTS: Final = {"processing:facility": "processingCenter"}

_PLATFORM: Final = re.compile(r"(sentinel-([0-9]))([a-z])?")
_MILLISECOND: Final = timedelta(milliseconds=1)
_NO_TYPES: Final[Mapping[str, str]] = {}


def odata_filter(expression: Json, dialect: Dialect, product_types: Mapping[str, str] = _NO_TYPES) -> str | None:
    """Return a `$filter` that keeps every product whose item matches the expression, or None for all products.

    What OData or the dialect cannot say is left out, so the items must be judged again; see `shared.stac.matching`.

    Args:
        expression: CQL2-JSON.
        dialect: of the station.
        product_types: the station's spelling of our product types.

    Raises:
        Rejected: `bad-filter`, a date and time is compared with something that is none.
    """
    collections = [(f"Collection/Name eq {_quoted(name)}",) for name in dialect.collections]
    conditions = _all((_any(collections) or (), _Translation(dialect, product_types).conditions(expression)))
    return " and ".join(conditions) if conditions else None


def with_our_types(expression: Json, product_types: Mapping[str, str]) -> Json:
    """Return an expression with our product types where it has the station's spelling of them.

    Items have ours, so a filter by the station's spelling would match none of them.

    Args:
        expression: CQL2-JSON.
        product_types: the station's spelling of our product types.
    """
    ours = {theirs: ours for ours, theirs in product_types.items() if theirs not in product_types}
    return _renamed(expression, ours)


def _renamed(part: Json, ours: Mapping[str, str]) -> Json:
    arguments = part.get("args")
    if not isinstance(arguments, list):
        return part
    of_types = any(name_of(each) == _TYPE for each in arguments)

    def renamed(each: JsonValue) -> JsonValue:
        if isinstance(each, dict):
            return _renamed(each, ours)
        if isinstance(each, list):
            return [renamed(one) for one in each]
        return ours.get(each, each) if of_types and isinstance(each, str) else each

    return {**part, "args": [renamed(each) for each in arguments]}


class _Translation:
    """Translates the parts of one expression."""

    def __init__(self, dialect: Dialect, product_types: Mapping[str, str]) -> None:
        self._dialect = dialect
        self._product_types = product_types

    def conditions(self, part: JsonValue, negated: bool = False) -> _Conditions:
        """Return what holds for every product for which a part of the expression is true or, if negated, false."""
        operator, arguments = (part.get("op"), part.get("args")) if isinstance(part, dict) else (None, None)
        match operator, arguments:
            case (("and" | "or"), list()):
                parts = [self.conditions(each, negated) for each in arguments]
                return _all(parts) if (operator == "and") != negated else _any(parts)
            case "not", [inner]:
                return self.conditions(inner, not negated)
            case "between", [value, lowest, highest]:
                bounds: list[JsonValue] = [
                    {"op": ">=", "args": [value, lowest]},
                    {"op": "<=", "args": [value, highest]},
                ]
                return self.conditions({"op": "and", "args": bounds}, negated)
            case (("in" | "like"), [value, wanted]) if not negated and (name := name_of(value)) is not None:
                return self._listed(name, wanted) if isinstance(wanted, list) else self._like(name, wanted)
            case (("=" | "<>" | "<" | "<=" | ">" | ">="), [left, right]):
                return self._compared(NEGATED[operator] if negated else operator, left, right)
            case str(), [left, right] if operator.startswith("t_"):
                return self._related(operator, left, right, negated)
            case _:
                return ()

    def _compared(self, operator: str, left: JsonValue, right: JsonValue) -> _Conditions:
        if name_of(left) is None:
            operator, left, right = FLIPPED[operator], right, left
        name = name_of(left)
        if name is None or (isinstance(right, dict) and not right.keys() & {"timestamp", "date"}):
            return ()
        if name in _PATHS:
            return tuple(f"{_PATHS[name]} {limit}" for limit in _limits(operator, instant_of(right)))
        if name in _ATTRIBUTE_DATES:
            limits = _limits(operator, instant_of(right))
            return tuple(self._attribute("DateTimeOffset", _ATTRIBUTE_DATES[name], limit) for limit in limits)
        return self._equal(name, right) if operator == "=" and isinstance(right, str) else ()

    def _equal(self, name: str, text: str) -> _Conditions:
        if not text:
            return ()
        if name == "id":  # the id is the Name without its last extension
            return (f"startswith(Name,{_quoted(text)})",)
        if name == _TYPE:
            return self._type(text)
        if name in ("platform", "constellation"):
            return self._platform(name, text)
        return (self._text(_ATTRIBUTE_TEXTS[name], text),) if name in _ATTRIBUTE_TEXTS else ()

    def _type(self, ours: str) -> _Conditions:
        theirs = self._product_types.get(ours, ours)
        if self._dialect.by_name:
            return (f"contains(Name,{_quoted(ours if ours in theirs else theirs)})",)
        return (self._text("productType", theirs),)

    def _platform(self, name: str, text: str) -> _Conditions:
        found = _PLATFORM.fullmatch(text)
        if found is None or (name == "constellation") != (found[3] is None):
            return ()
        constellation, number, unit = found.groups()
        if self._dialect.by_name:  # not S1A: a file S1__ may be of the platform A, by its attributes
            return (f"startswith(Name,'S{number}')",)
        if self._dialect.has_collections:
            of_constellation = f"Collection/Name eq {_quoted(constellation.upper())}"
        else:
            of_constellation = self._text("platformShortName", constellation.upper())
        of_unit = [self._text("platformSerialIdentifier", unit.upper())] if unit else []
        return (of_constellation, *of_unit)

    def _listed(self, name: str, wanted: Sequence[JsonValue]) -> _Conditions:
        if name == _TYPE and self._dialect.value_lists and not self._dialect.by_name and len(wanted) > 1:
            texts = [_quoted(self._product_types.get(text, text)) for text in wanted if isinstance(text, str)]
            return (self._attribute("String", "productType", f"in ({','.join(texts)})"),) if texts else None
        return _any(self._compared("=", {"property": name}, each) for each in wanted)

    def _like(self, name: str, pattern: JsonValue) -> _Conditions:
        in_name = name == "id" or (name == _TYPE and self._dialect.by_name and not self._product_types)
        parts = pattern_parts(pattern) if in_name and isinstance(pattern, str) else []
        literals = [text for text, literal in parts if literal]
        if not literals:
            return ()
        if name == "id" and parts[0][1]:
            return (f"startswith(Name,{_quoted(literals[0])})",)
        return (f"contains(Name,{_quoted(max(literals, key=len))})",)

    def _related(self, operator: str, left: JsonValue, right: JsonValue, negated: bool) -> _Conditions:
        if operator == "t_disjoint":
            operator, negated = "t_intersects", not negated
        first, second = _bounds(left), _bounds(right)
        if first is None or second is None or operator not in RELATIONS:
            return ()
        parts = [
            _bounded(NEGATED[comparison] if negated else comparison, first[one], second[other])
            for one, comparison, other in RELATIONS[operator]
        ]
        return _any(parts) if negated else _all(parts)

    def _text(self, attribute: str, text: str) -> str:
        return self._attribute("String", attribute, f"eq {_quoted(text)}")

    def _attribute(self, kind: str, attribute: str, condition: str) -> str:
        """Return the condition that a product has an attribute that fulfils a condition."""
        # The Name is first: csgroup's server parses nothing else.
        full = f"OData.CSC.{kind}Attribute"
        variable, value = ("i0", "i0/Value") if self._dialect.short_lambda else ("att", f"att/{full}/Value")
        return f"Attributes/{full}/any({variable}:{variable}/Name eq {_quoted(attribute)} and {value} {condition})"


def _all(parts: Iterable[_Conditions]) -> _Conditions:
    joined: list[str] = []
    for part in parts:
        if part is None:
            return None
        joined += part
    return tuple(dict.fromkeys(joined))


def _any(parts: Iterable[_Conditions]) -> _Conditions:
    """Return the alternative of some conditions: nothing is left of it where one of them restricts nothing."""
    possible = list(dict.fromkeys(part for part in parts if part is not None))
    if () in possible:
        return ()
    if len(possible) < 2:
        return possible[0] if possible else None
    branches = [part[0] if len(part) == 1 else f"({' and '.join(part)})" for part in possible]
    return (f"({' or '.join(branches)})",)


def _bounds(node: JsonValue) -> tuple[_Bound, _Bound] | None:
    """Return both bounds of an interval, or of an instant; None where OData has no words for one of them."""
    interval = node.get("interval") if isinstance(node, dict) else None
    start, end = interval if isinstance(interval, list) and len(interval) == 2 else (node, node)
    first, last = _bound(start, -inf), _bound(end, inf)
    return None if first is None or last is None else (first, last)


def _bound(node: JsonValue, open_bound: float) -> _Bound | None:
    if node in OPEN:
        return open_bound
    name = name_of(node)
    return instant_of(node) if name is None else _PATHS.get(name)


def _bounded(operator: str, left: _Bound, right: _Bound) -> _Conditions:
    """Return the condition of two bounds, one of which is a field."""
    if not isinstance(left, str):
        operator, left, right = FLIPPED[operator], right, left
    if isinstance(left, str) and isinstance(right, datetime):
        return tuple(f"{left} {limit}" for limit in _limits(operator, right))
    if isinstance(left, str) and isinstance(right, float):
        never = (">", ">=", "=") if right == inf else ("<", "<=", "=")
        return None if operator in never else ()
    return ()


def _limits(operator: str, instant: datetime) -> list[str]:
    """Return what OData compares with an instant, in milliseconds, rounded outwards.

    A station may know up to seven digits of the fraction, and we read six of them: "at most" is a millisecond later.
    """
    floor = instant - timedelta(microseconds=instant.microsecond % 1000)
    ceiling = floor if floor == instant else floor + _MILLISECOND
    limits = []
    if operator in (">=", "=") and instant > BEGINNING:
        limits.append(f"ge {_spelled(floor)}")
    if operator in ("<=", "=") and instant < OPEN_END:
        limits.append(f"le {_spelled(floor + _MILLISECOND)}")
    if operator == ">":
        limits.append(f"gt {_spelled(floor)}")
    if operator == "<":
        limits.append(f"lt {_spelled(ceiling)}")
    return limits


def _spelled(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _quoted(text: str) -> str:
    return "'{}'".format(text.replace("'", "''"))
