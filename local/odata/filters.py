"""An interpreter of OData's `$filter`, as a station has it: it knows the forms of the AUXIP conformance suite alone.

It shares no code with the workers. An instant is compared with all seven digits that a station may have of it.
"""

import re
from calendar import timegm
from collections.abc import Callable, Mapping
from typing import Any, Final

Product = Mapping[str, Any]
Holds = Callable[[Product], bool]

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')"
    r"|(?P<instant>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,7})?Z?)"
    r"|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<word>[A-Za-z_@][A-Za-z0-9_.]*(?:/[A-Za-z_][A-Za-z0-9_.]*)*)"
    r"|(?P<mark>[(),:]))"
)
_DIGITS: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,7}))?Z?")
_INSTANTS: Final = {"PublicationDate", "OriginDate", "EvictionDate", "ContentDate/Start", "ContentDate/End"}
_TEXTS: Final = {"Name", "Id", "Collection/Name"}
_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": lambda a, b: bool(a == b),
    "ne": lambda a, b: bool(a != b),
    "lt": lambda a, b: bool(a < b),
    "le": lambda a, b: bool(a <= b),
    "gt": lambda a, b: bool(a > b),
    "ge": lambda a, b: bool(a >= b),
}
_FUNCTIONS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "startswith": str.startswith,
    "endswith": str.endswith,
    "contains": str.__contains__,
}
_KINDS: Final = frozenset({"String", "DateTimeOffset", "Integer"})


class BadFilter(ValueError):
    """A station answers 400 to this filter."""


def holds(text: str, most: int | None = None) -> Holds:
    """Return a function that says whether a product fulfils a filter.

    Args:
        text: the filter.
        most: conditions of an `and` that are looked at; None for all.

    Raises:
        BadFilter: a station would not understand it.
    """
    return _Parser(text, most).parsed()


def ticks(text: object) -> int | None:
    """Return an instant in tenths of microseconds, or None where a product states none."""
    if not isinstance(text, str) or not text:
        return None
    if text.startswith("99999999T"):
        text = "9999-12-31T23:59:59"
    found = _DIGITS.fullmatch(text)
    if found is None:
        raise BadFilter(f"{text!r} is not an instant")
    *parts, fraction = found.groups()
    return timegm((*map(int, parts), 0, 0, 0)) * 10**7 + int((fraction or "0").ljust(7, "0"))


class _Parser:
    def __init__(self, text: str, most: int | None) -> None:
        self._most = most
        self._tokens: list[tuple[str, str]] = []
        position, text = 0, text.rstrip()
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None or found.lastgroup is None:
                raise BadFilter(f"not understood: {text[position:][:40]!r}")
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            position = found.end()

    def parsed(self) -> Holds:
        made = self._or()
        if self._tokens:
            raise BadFilter(f"more than a filter: {self._tokens[:3]}")
        return made

    def _next(self, *kinds: str) -> str:
        if not self._tokens or (kinds and self._tokens[0][0] not in kinds):
            raise BadFilter(f"not {' or '.join(kinds)}: {self._tokens[:1]}")
        return self._tokens.pop(0)[1]

    def _take(self, *texts: str) -> None:
        for text in texts:
            if self._next() != text:
                raise BadFilter(f"no {text!r} where there must be one")

    def _ahead(self, text: str) -> bool:
        if self._tokens and self._tokens[0][1] == text and self._tokens[0][0] in ("word", "mark"):
            self._tokens.pop(0)
            return True
        return False

    def _or(self) -> Holds:
        parts = [self._and()]
        while self._ahead("or"):
            parts.append(self._and())
        return lambda product: any(part(product) for part in parts)

    def _and(self) -> Holds:
        parts = [self._not()]
        while self._ahead("and"):
            parts.append(self._not())
        return lambda product: all(part(product) for part in parts[: self._most])

    def _not(self) -> Holds:
        if self._ahead("not"):
            inner = self._not()
            return lambda product: not inner(product)
        if self._ahead("("):
            inner = self._or()
            self._take(")")
            return inner
        word = self._next("word")
        if word in _FUNCTIONS:
            return self._function(word)
        if word.endswith("/any"):
            return self._lambda(word)
        return self._comparison(word)

    def _function(self, name: str) -> Holds:
        self._take("(", "Name", ",")
        text, function = self._text(), _FUNCTIONS[name]
        self._take(")")
        return lambda product: function(str(product["Name"]), text)

    def _comparison(self, path: str) -> Holds:
        compare = _ORDER[self._operator()]
        if path in _TEXTS:
            wanted: object = self._text()
        elif path in _INSTANTS:
            wanted = ticks(self._next("instant"))
        elif path == "ContentLength":
            wanted = int(self._next("number"))
        else:
            raise BadFilter(f"{path!r} is not a field of a product")

        def fulfilled(product: Product) -> bool:
            found: Any = product
            for part in path.split("/"):
                found = found.get(part) if isinstance(found, Mapping) else None
            if path in _INSTANTS:
                found = ticks(found)
            elif path == "ContentLength":
                found = int(found or 0)
            return found is not None and compare(found, wanted)

        return fulfilled

    def _lambda(self, path: str) -> Holds:
        """As `any(att:att/Name eq 'x' and att/OData.CSC.StringAttribute/Value eq 'y')`, after its path."""
        found = re.fullmatch(r"Attributes/(OData\.CSC\.([A-Za-z]+)Attribute)/any", path)
        if found is None or found[2] not in _KINDS:
            raise BadFilter(f"{path!r} is not a kind of attribute")
        self._take("(")
        variable = self._next("word")
        self._take(":", f"{variable}/Name", "eq")
        name = self._text()
        self._take("and")
        value = self._next("word")
        if value not in (f"{variable}/{found[1]}/Value", f"{variable}/Value"):
            raise BadFilter(f"{value!r} is not the value of the attribute")
        accepted = self._accepted(found[2])
        self._take(")")
        kind = found[2]
        return lambda product: any(
            each["Name"] == name and each.get("ValueType", kind) == kind and accepted(each["Value"])
            for each in product.get("Attributes") or []
        )

    def _accepted(self, kind: str) -> Callable[[Any], bool]:
        if self._ahead("in"):
            self._take("(")
            texts = [self._text()]
            while self._ahead(","):
                texts.append(self._text())
            self._take(")")
            return lambda value: value in texts
        compare = _ORDER[self._operator()]
        if kind == "DateTimeOffset":
            wanted = ticks(self._next("instant"))
            return lambda value: compare(ticks(value), wanted)
        if kind == "Integer":
            number = int(self._next("number"))
            return lambda value: compare(value, number)
        text = self._text()
        return lambda value: compare(value, text)

    def _operator(self) -> str:
        name = self._next("word")
        if name not in _ORDER:
            raise BadFilter(f"{name!r} is not a comparison")
        return name

    def _text(self) -> str:
        return self._next("text")[1:-1].replace("''", "'")
