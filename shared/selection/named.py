"""Named queries: CQL2 searches with placeholders, kept in a JSON file (`AUXIP_QUERIES_FILE`).

    [{"name": "Published", "parameters": ["product_type", "start"],
      "stac": {"filter": {"op": "and", "args": [.., "{product_type}", ..]}, "sortby": [..], "limit": 10}}]

A placeholder stands for a value and never for a part of the structure: `op`, `property` and keys hold none. A string
that is one placeholder becomes the parameter's value, within a longer string it becomes its text. An instant plus or
minus a duration is computed here, since stations do no arithmetic; instants go out in UTC.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from shared.errors import AuxipError, Rejected
from shared.json_types import Json
from shared.settings import SettingsError
from shared.stac.search import Cql2, SortKey, check_operators
from shared.times import format_instant, parse_duration, parse_instant
from shared.validation import first_problem

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LARGEST_FILE = 2**20

_Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
_Text = Annotated[str, StringConstraints(max_length=1024)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
Value = bool | int | _Number | _Text


class NamedQuery(BaseModel):
    """A query of the file, and the values of its parameters: texts, numbers, true or false."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: _Name
    parameters: Annotated[dict[_Name, Value], Field(max_length=100)] = {}


class _Template(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    filter: Json
    sortby: tuple[SortKey, ...] = Field((), max_length=1)
    limit: int | None = Field(None, ge=1)


class _Definition(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: _Name
    parameters: tuple[_Name, ...] = ()
    stac: _Template

    @model_validator(mode="after")
    def _uses_its_parameters(self) -> Self:
        check_operators(self.stac.filter)
        misplaced = sorted(_placeholders(_structure(self.stac.filter)))
        if misplaced:
            raise ValueError(f"{self.name}: a placeholder cannot be a key, an op or a property: {misplaced}")
        undeclared = sorted(set(_placeholders(_strings(self.stac.filter))) - set(self.parameters))
        if undeclared:
            raise ValueError(f"{self.name}: {undeclared} are not among its parameters")
        return self


_DEFINITIONS = TypeAdapter(list[_Definition])


def fill(file: Path | None, call: NamedQuery) -> Cql2:
    """Return the search that a named query comes to.

    Args:
        file: `AUXIP_QUERIES_FILE`; it is read each time, so that a change needs no restart.
        call: the query's name and its parameters, all of them and no others.

    Raises:
        Rejected: `unknown-query`; `bad-parameter`, one is missing, unknown or no duration where it must be one;
            `bad-datetime`; `bad-filter`, with these values it is no CQL2.
        SettingsError: the file is missing or wrong; the reason names the file and the place.
    """
    definitions = {definition.name: definition for definition in _read(file)}
    if call.query not in definitions:
        raise Rejected(
            "unknown-query",
            f"no query {call.query!r} in AUXIP_QUERIES_FILE; it has: {', '.join(definitions) or 'none'}",
        )
    definition = definitions[call.query]
    _check_parameters(definition, call)
    filled = cast("Json", _filled(definition.stac.filter, call.parameters))
    return Cql2(filter=filled, sortby=definition.stac.sortby, limit=definition.stac.limit)


def _read(file: Path | None) -> list[_Definition]:
    if file is None:
        return []
    try:
        return _distinct(_DEFINITIONS.validate_python(json.loads(_content(file))))
    except ValidationError as error:
        problem = first_problem(error)
    except RecursionError:
        problem = "it is nested too deeply"
    except (OSError, ValueError, AuxipError) as error:
        problem = str(error)
    raise SettingsError(f"AUXIP_QUERIES_FILE {file}: {problem}")


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise ValueError(f"it is larger than {_LARGEST_FILE} bytes")
    return content


def _distinct(definitions: list[_Definition]) -> list[_Definition]:
    names = [definition.name for definition in definitions]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the names {twice} are given twice")
    return definitions


def _check_parameters(definition: _Definition, call: NamedQuery) -> None:
    missing = [name for name in definition.parameters if name not in call.parameters]
    unknown = [name for name in call.parameters if name not in definition.parameters]
    for problem, names in (("needs", missing), ("does not know", unknown)):
        if names:
            raise Rejected("bad-parameter", f"the query {call.query!r} {problem} {', '.join(names)[:300]}")


def _filled(node: JsonValue, values: dict[str, Value]) -> JsonValue:
    match node:
        case str():
            return _text(node, values)
        case list():
            return [_filled(part, values) for part in node]
        case {"interval": list(bounds)}:
            return {"interval": [_bound(bound, values) for bound in bounds]}
        case {"timestamp": instant}:
            return {"timestamp": _bound(instant, values)}
        case {"op": "+" | "-" as operator, "args": [first, second]}:
            return _sum(str(operator), _filled(first, values), _filled(second, values))
        case dict():
            return {key: _filled(part, values) for key, part in node.items()}
        case _:
            return node


def _text(template: str, values: dict[str, Value]) -> Value:
    # One pass: a value that itself looks like a placeholder stays as it is.
    whole = _PLACEHOLDER.fullmatch(template)
    return values[whole[1]] if whole else _PLACEHOLDER.sub(lambda found: str(values[found[1]]), template)


def _bound(node: JsonValue, values: dict[str, Value]) -> JsonValue:
    """A bound of an interval, or a timestamp: an instant as text in UTC, `..`, or what only the station can tell."""
    match _filled(node, values):
        case {"timestamp": str(instant)}:
            return instant
        case str(text):
            return text if text == ".." else format_instant(parse_instant(text))
        case filled:
            return filled


def _sum(operator: str, first: JsonValue, second: JsonValue) -> JsonValue:
    """An instant plus or minus a duration as a timestamp; any other arithmetic is left to the station."""
    instant = first["timestamp"] if isinstance(first, dict) and "timestamp" in first else first
    if not isinstance(instant, str) or isinstance(second, dict | list):
        return {"op": operator, "args": [first, second]}
    try:
        duration = parse_duration(second)
        moved = parse_instant(instant) + (duration if operator == "+" else -duration)
    except ValueError as error:
        raise Rejected("bad-parameter", f"{str(second)[:80]!r} {error}") from None
    except OverflowError:
        raise Rejected("bad-parameter", f"{instant} {operator} {second} leads out of the calendar") from None
    return {"timestamp": format_instant(moved)}


def _structure(node: JsonValue) -> Iterator[str]:
    """The texts that make up what a filter does, which no parameter may change."""
    if isinstance(node, dict):
        for key, part in node.items():
            yield key
            if key in ("op", "property"):
                yield str(part)
            yield from _structure(part)
    elif isinstance(node, list):
        for part in node:
            yield from _structure(part)


def _strings(node: JsonValue) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        for part in node.values() if isinstance(node, dict) else node:
            yield from _strings(part)


def _placeholders(texts: Iterator[str]) -> Iterator[str]:
    for text in texts:
        yield from _PLACEHOLDER.findall(text)
