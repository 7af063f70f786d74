"""A search to send to a station: a CQL2-JSON filter, a limit, an order.

A validator that raises `Rejected` is not caught by pydantic, so the caller sees the code and not a validation report.
"""

from typing import Annotated, Final, Literal

import cql2
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from shared.errors import Rejected
from shared.json_types import Json
from shared.validation import whole

_OPERATORS = frozenset(
    "and or not = <> < > <= >= like in between isNull casei accenti + - * / % ^ div "
    "t_after t_before t_contains t_disjoint t_during t_equals t_finishedBy t_finishes t_intersects t_meets t_metBy "
    "t_overlappedBy t_overlaps t_startedBy t_starts "
    "s_contains s_crosses s_disjoint s_equals s_intersects s_overlaps s_touches s_within "
    "a_containedBy a_contains a_equals a_overlaps".split()
)
"""Operators of OGC 21-065r2. The parser takes any other for a function, so it alone does not find a misspelt one."""

RECORDED: Final = "recorded"
"""Validation context of what we have checked and recorded ourselves: checking a filter takes 30 ms."""

_DEEPEST = 50
"""Levels of nesting in a filter: the CQL2 parser overflows its stack, and the process with it, at some thousands."""


def _cql2_json(expression: Json, info: ValidationInfo) -> Json:
    if info.context != RECORDED:
        check_cql2(expression)
    return expression


Cql2Filter = Annotated[Json, AfterValidator(_cql2_json)]
"""A CQL2-JSON filter, checked where it comes from somebody else."""


class SortKey(BaseModel):
    """A key to sort by; stations take one only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str = Field(min_length=1, max_length=128)
    direction: Literal["asc", "desc"] = "asc"


class Cql2(BaseModel):
    """A plain CQL2 search: every item that the station finds, up to `limit`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["cql2"] = "cql2"
    filter: Cql2Filter
    limit: Annotated[int, BeforeValidator(whole), Field(strict=True, ge=1)] | None = None
    sortby: tuple[SortKey, ...] = Field((), max_length=1)

    @model_validator(mode="before")
    @classmethod
    def _bare_expression(cls, value: object) -> object:
        return {"filter": value} if isinstance(value, dict) and "op" in value else value


def properties_of(expression: object) -> set[str]:
    """Return the names of the properties that a CQL2-JSON filter looks at."""
    found: set[str] = set()
    waiting = [expression]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if isinstance(part.get("property"), str):
                found.add(part["property"].removeprefix("properties."))
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return found


def values_of(name: str, expression: object) -> list[str]:
    """Return the texts that a CQL2-JSON filter demands of a property to be equal to, or to be one of."""
    if not isinstance(expression, dict) or expression.get("op") not in ("and", "or", "=", "in"):
        return []
    args = expression.get("args")
    if not isinstance(args, list):
        return []
    if expression["op"] in ("and", "or"):
        return [value for each in args for value in values_of(name, each)]
    values = [value for each in args for value in (each if isinstance(each, list) else [each])]
    if {"property": name} not in values and {"property": f"properties.{name}"} not in values:
        return []
    return [value for value in values if isinstance(value, str)]


def check_cql2(expression: Json) -> None:
    """Tell a CQL2-JSON filter from a dictionary that is none.

    Raises:
        Rejected: `bad-filter`, with what is wrong.
    """
    check_operators(expression)
    try:
        cql2.Expr(expression).validate()
    except Exception as error:  # noqa: BLE001 - the parser raises a bare Exception
        raise Rejected("bad-filter", f"the filter is no CQL2-JSON: {str(error)[:300]}") from None


def check_operators(expression: Json) -> None:
    """Tell what has the operators of a CQL2-JSON filter, and no more levels than can be read, from what has not.

    Raises:
        Rejected: `bad-filter`, with what is wrong.
    """
    if "op" not in expression:
        raise Rejected("bad-filter", "the filter is no CQL2-JSON: it has no `op`")
    unknown = sorted(_operators(expression) - _OPERATORS)
    if unknown:
        raise Rejected("bad-filter", f"the filter has operators that CQL2 does not know: {', '.join(unknown)[:200]}")


def _operators(expression: object) -> set[str]:
    found: set[str] = set()
    waiting = [(expression, 0)]
    while waiting:
        part, depth = waiting.pop()
        if depth > _DEEPEST:
            raise Rejected("bad-filter", f"the filter is nested deeper than {_DEEPEST} levels")
        if isinstance(part, dict):
            if "op" in part:
                found.add(str(part["op"]))
            waiting.extend((value, depth + 1) for value in part.values())
        elif isinstance(part, list):
            waiting.extend((value, depth + 1) for value in part)
    return found
