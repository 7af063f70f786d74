"""Judges items by a CQL2-JSON filter, for stations that cannot be asked for exactly what it says.

The package cql2 judges as well, and is used for geometries. It is not used for the rest, since it raises where a
property is missing, takes an instant in a plain text for a text, and knows no instant after 9999-12-30T22:00:00Z.
"""

import math
import operator
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import cql2
from pydantic import JsonValue

from shared.errors import Rejected
from shared.json_types import Json
from shared.stac.item import Item
from shared.stac.operators import OPEN, RELATIONS, instant_of, is_instant, name_of, pattern_parts
from shared.stac.search import check_operators
from shared.times import OPEN_END, parse_instant

Judge = Callable[[Item], bool]

_Truth = Callable[[Item], bool | None]
"""True, false, or None for unknown: SQL's logic, in which a comparison with a missing property is unknown."""

_Value = Callable[[Item], Any]
"""A value of an item, or None where it has none."""

_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: Final[Mapping[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
    "^": math.pow,
    "div": operator.floordiv,
}
_ARRAYS: Final[Mapping[str, Callable[[list[Any], list[Any]], bool]]] = {
    "a_containedBy": lambda one, other: all(each in other for each in one),
    "a_contains": lambda one, other: all(each in one for each in other),
    "a_equals": operator.eq,
    "a_overlaps": lambda one, other: any(each in other for each in one),
}
_TEMPORAL: Final = frozenset({"timestamp", "date"})
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)
"""Later than every bound that is stated, which is `OPEN_END` at the latest."""


def matches(expression: Json, item: Item) -> bool:
    """Return whether an item matches a filter; for many items, use `compiled`."""
    return compiled(expression)(item)


def compiled(expression: Json) -> Judge:
    """Return what judges items by a CQL2-JSON filter.

    What is an instant by its name is compared as one, in whatever spelling, and an end in the year 9999 is the open
    end. A `date` is its first instant, as for pgSTAC. An item for which the filter is neither true nor false, since it
    lacks a property, does not match.

    Raises:
        Rejected: `bad-filter`, the filter cannot be judged here.
    """
    check_operators(expression)
    truth = _truth(expression)
    return lambda item: truth(item) is True


def _truth(node: JsonValue) -> _Truth:
    if isinstance(node, bool):
        return lambda _: node
    if name_of(node) is not None:
        value = _value(node)
        return lambda item: found if isinstance(found := value(item), bool) else None
    name, arguments = (node.get("op"), node.get("args")) if isinstance(node, dict) else (None, None)
    match name, arguments:
        case (("and" | "or"), list()) if arguments:
            return _junction([_truth(each) for each in arguments], decisive=name == "or")
        case "not", [inner]:
            return _negation(_truth(inner))
        case "isNull", [inner]:
            read = _value(inner)
            return lambda item: read(item) is None
        case "between", [inner, lowest, highest]:
            bounds = [_comparison(">=", inner, lowest), _comparison("<=", inner, highest)]
            return _junction(bounds, decisive=False)
        case "in", [inner, list(wanted)]:
            return _junction([_comparison("=", inner, each) for each in wanted], decisive=True)
        case str(), [left, right]:
            return _binary(name, left, right)
        case _:
            raise _unjudged(node)


def _binary(name: str, left: JsonValue, right: JsonValue) -> _Truth:
    if name in _COMPARISONS:
        return _comparison(name, left, right)
    if name == "like":
        return _like(_value(left), _value(right))
    if name == "t_disjoint":
        return _negation(_relation("t_intersects", left, right))
    if name in RELATIONS:
        return _relation(name, left, right)
    if name in _ARRAYS:
        return _array(name, _value(left), _value(right))
    if name.startswith("s_"):
        return _spatial({"op": name, "args": [left, right]})
    raise _unjudged({"op": name, "args": [left, right]})


def _junction(parts: list[_Truth], decisive: bool) -> _Truth:
    """Return an `and`, which one part that is false decides, or an `or`, which one that is true decides."""

    def truth(item: Item) -> bool | None:
        unknown = False
        for part in parts:
            found = part(item)
            if found is decisive:
                return decisive
            unknown = unknown or found is None
        return None if unknown else not decisive

    return truth


def _negation(inner: _Truth) -> _Truth:
    def truth(item: Item) -> bool | None:
        found = inner(item)
        return None if found is None else not found

    return truth


def _comparison(name: str, left: JsonValue, right: JsonValue) -> _Truth:
    read = _instant if _is_temporal(left) or _is_temporal(right) else _value
    one, other, compare = read(left), read(right), _COMPARISONS[name]

    def truth(item: Item) -> bool | None:
        first, second = one(item), other(item)
        if first is None or second is None:
            return None
        if _kind(first) is _kind(second):
            return compare(first, second)
        return name == "<>" if name in ("=", "<>") else None

    return truth


def _kind(value: object) -> type:
    return float if type(value) is int else type(value)


def _like(value: _Value, pattern: _Value) -> _Truth:
    def truth(item: Item) -> bool | None:
        text, wanted = value(item), pattern(item)
        if not isinstance(text, str) or not isinstance(wanted, str):
            return None
        return _is_like(text, wanted)

    return truth


def _is_like(text: str, pattern: str) -> bool:
    """Match the pieces between the `%` one after the other: one expression with many `.*` takes minutes."""
    first, *others = _pieces(pattern)
    if not others:
        return first.fullmatch(text) is not None
    *middle, last = others
    begun = first.match(text)
    if begun is None:
        return False
    at = begun.end()
    for piece in middle:
        found = piece.search(text, at)
        if found is None:
            return False
        at = found.end()
    return last.search(text, at) is not None


@lru_cache(maxsize=256)
def _pieces(pattern: str) -> tuple[re.Pattern[str], ...]:
    """Return what is between the `%` of a pattern, the last one bound to the end of the text."""
    pieces = [""]
    for text, literal in pattern_parts(pattern):
        if text == "%" and not literal:
            pieces.append("")
        else:
            pieces[-1] += re.escape(text) if literal else "."
    pieces[-1] += r"\Z"
    return tuple(re.compile(piece, re.DOTALL) for piece in pieces)


def _relation(name: str, left: JsonValue, right: JsonValue) -> _Truth:
    first, second = _interval(left), _interval(right)
    terms = [(first[one], _COMPARISONS[comparison], second[other]) for one, comparison, other in RELATIONS[name]]

    def truth(item: Item) -> bool | None:
        unknown = False
        for one, compare, other in terms:
            bound, limit = one(item), other(item)
            if bound is None or limit is None:
                unknown = True
            elif not compare(bound, limit):
                return False
        return None if unknown else True

    return truth


def _interval(node: JsonValue) -> tuple[_Value, _Value]:
    """Return what reads both bounds of an interval; those of an instant are equal."""
    interval = node.get("interval") if isinstance(node, dict) else None
    if interval is None:
        return _instant(node), _instant(node)
    if not isinstance(interval, list) or len(interval) != 2:
        raise _unjudged(node)
    start, end = interval
    return _bound(start, _EARLIEST), _bound(end, _LATEST)


def _bound(node: JsonValue, open_bound: datetime) -> _Value:
    return (lambda _: open_bound) if node in OPEN else _instant(node)


def _array(name: str, left: _Value, right: _Value) -> _Truth:
    compare = _ARRAYS[name]

    def truth(item: Item) -> bool | None:
        one, other = left(item), right(item)
        return compare(one, other) if isinstance(one, list) and isinstance(other, list) else None

    return truth


def _spatial(node: Json) -> _Truth:
    try:
        expression = cql2.Expr(node)
    except Exception:  # noqa: BLE001 - the package raises a bare Exception
        raise _unjudged(node) from None

    def truth(item: Item) -> bool | None:
        if item.geometry is None:
            return None
        try:
            return bool(expression.matches({"geometry": item.geometry, "properties": item.properties}))
        except Exception:  # noqa: BLE001
            raise _unjudged(node) from None

    return truth


def _is_temporal(node: JsonValue) -> bool:
    name = name_of(node)
    return (name is not None and is_instant(name)) or (isinstance(node, dict) and bool(node.keys() & _TEMPORAL))


def _instant(node: JsonValue) -> _Value:
    """Return what reads an instant; a property that is none is unknown."""
    if isinstance(node, dict) and "op" in node:
        raise _unjudged(node)
    if name_of(node) is None:
        instant = instant_of(node)
        return lambda _: instant
    text_of = _value(node)

    def instant_in(item: Item) -> datetime | None:
        text = text_of(item)
        try:
            return min(parse_instant(text), OPEN_END) if isinstance(text, str) else None
        except Rejected:
            return None

    return instant_in


def _value(node: JsonValue) -> _Value:
    name = name_of(node)
    if name is not None:
        return _field(name)
    if not isinstance(node, dict):
        return lambda _: node
    if node.keys() & _TEMPORAL:
        return _instant(node)
    match node.get("op"), node.get("args"):
        case "casei", [inner]:
            return _folded(_value(inner), str.casefold)
        case "accenti", [inner]:
            return _folded(_value(inner), _without_accents)
        case str(symbol), [left, right] if symbol in _ARITHMETIC:
            return _arithmetic(symbol, _value(left), _value(right))
        case _:
            raise _unjudged(node)


def _field(name: str) -> _Value:
    if name in ("id", "collection", "geometry"):
        return operator.attrgetter(name)
    return lambda item: item.properties.get(name)


def _folded(value: _Value, fold: Callable[[str], str]) -> _Value:
    return lambda item: fold(text) if isinstance(text := value(item), str) else None


def _without_accents(text: str) -> str:
    return "".join(each for each in unicodedata.normalize("NFD", text) if not unicodedata.combining(each))


def _arithmetic(symbol: str, left: _Value, right: _Value) -> _Value:
    compute = _ARITHMETIC[symbol]

    def value(item: Item) -> float | None:
        one, other = left(item), right(item)
        if _kind(one) is not float or _kind(other) is not float:
            return None
        try:
            return compute(one, other)
        except (ArithmeticError, ValueError):
            return None

    return value


def _unjudged(node: JsonValue) -> Rejected:
    return Rejected("bad-filter", f"this part of the filter cannot be judged: {str(node)[:200]}")
