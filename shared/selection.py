"""What a run selects: a policy or a plain CQL2 search, as queries to a station and a choice among its answers.

A validator that raises `Rejected` is not caught by pydantic, so the caller sees the code and not a validation report.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Self

import cql2
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from shared.errors import AuxipError, ItemFailed, Rejected
from shared.stac.item import Item, Json
from shared.times import format_instant, parse_instant

_OPERATORS = frozenset(
    "and or not = <> < > <= >= like in between isNull casei accenti + - * / % ^ div "
    "t_after t_before t_contains t_disjoint t_during t_equals t_finishedBy t_finishes t_intersects t_meets t_metBy "
    "t_overlappedBy t_overlaps t_startedBy t_starts "
    "s_contains s_crosses s_disjoint s_equals s_intersects s_overlaps s_touches s_within "
    "a_containedBy a_contains a_equals a_overlaps".split()
)
"""Operators of OGC 21-065r2. The parser takes any other for a function, so it alone does not find a misspelt one."""

_DEEPEST = 50
"""Levels of nesting in a filter: the CQL2 parser overflows its stack, and the process with it, at some thousands."""

_VALIDITY: Json = {"interval": [{"property": "start_datetime"}, {"property": "end_datetime"}]}


def _instant(value: object) -> object:
    return parse_instant(value) if isinstance(value, str) else value


def _utc(value: datetime) -> datetime:
    return parse_instant(value.isoformat())


def _cql2_json(expression: Json) -> Json:
    check_cql2(expression)
    return expression


Instant = Annotated[datetime, BeforeValidator(_instant), AfterValidator(_utc)]
ProductType = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class SortKey(BaseModel):
    """A key to sort by; stations take one only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str = Field(min_length=1, max_length=128)
    direction: Literal["asc", "desc"] = "asc"


class Cql2(BaseModel):
    """A plain CQL2 search: every item that the station finds, up to `limit`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: Literal["CQL2"] = "CQL2"
    filter: Annotated[Json, AfterValidator(_cql2_json)]
    limit: int | None = Field(None, ge=1)
    sortby: tuple[SortKey, ...] = Field((), max_length=1)

    @model_validator(mode="before")
    @classmethod
    def _bare_expression(cls, value: object) -> object:
        return {"filter": value} if isinstance(value, dict) and "op" in value else value

    def searches(self) -> Sequence[Self]:
        """Return the searches to send to the station."""
        return (self,)

    def accepts(self, item: Item) -> bool:  # noqa: ARG002 - the filter has decided
        """Whether the policy takes an item that the station found."""
        return True


class ValCover(BaseModel):
    """Every item of the product types whose validity covers the window; both bounds inclusive."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: Literal["ValCover"] = "ValCover"
    product_types: tuple[ProductType, ...] = Field(min_length=1, max_length=100)
    start: Instant
    end: Instant

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise Rejected("bad-window", f"the window ends ({self.end}) before it begins ({self.start})")
        return self

    def searches(self) -> Sequence[Cql2]:
        """Return the searches to send to the station: wider than the policy, one for each product type.

        A station's `t_contains` is strict and would leave out a validity that touches the window, and `in` is not
        known to every station; so what intersects the window is asked for, and `accepts` decides.
        """
        return tuple(self._search(product_type) for product_type in self.product_types)

    def accepts(self, item: Item) -> bool:
        """Whether the policy takes an item that the station found.

        Raises:
            ItemFailed: `bad-validity`, the item does not say from when to when it is valid.
        """
        start, end = validity(item)
        return start <= self.start and end >= self.end

    def _search(self, product_type: str) -> Cql2:
        window: Json = {"interval": [format_instant(self.start), format_instant(self.end)]}
        of_type: Json = {"op": "=", "args": [{"property": "product:type"}, product_type]}
        valid: Json = {"op": "t_intersects", "args": [_VALIDITY, window]}
        return Cql2.model_construct(filter={"op": "and", "args": [of_type, valid]}, limit=None, sortby=())


class Given(BaseModel):
    """One item that the caller names: it is in the catalog already, and no station is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: Literal["Given"] = "Given"
    item_id: str = Field(min_length=1, max_length=512)


Search = Annotated[Cql2 | ValCover, Field(discriminator="policy")]
Selection = Annotated[Cql2 | ValCover | Given, Field(discriminator="policy")]


def validity(item: Item) -> tuple[datetime, datetime]:
    """Return the validity of an item as two instants in UTC.

    Raises:
        ItemFailed: `bad-validity`, a bound is missing or no instant.
    """
    bounds = item.properties.get("start_datetime"), item.properties.get("end_datetime")
    try:
        start, end = (parse_instant(bound) for bound in bounds if isinstance(bound, str))
    except (AuxipError, ValueError):
        raise ItemFailed("bad-validity", f"start_datetime and end_datetime are {bounds!r}, no instants") from None
    return start, end


def check_cql2(expression: Json) -> None:
    """Tell a CQL2-JSON filter from a dictionary that is none.

    Raises:
        Rejected: `bad-filter`, with what is wrong.
    """
    if "op" not in expression:
        raise Rejected("bad-filter", "the filter is no CQL2-JSON: it has no `op`")
    unknown = sorted(_operators(expression) - _OPERATORS)
    if unknown:
        raise Rejected("bad-filter", f"the filter has operators that CQL2 does not know: {', '.join(unknown)[:200]}")
    try:
        cql2.Expr(expression).validate()
    except Exception as error:  # noqa: BLE001 - the parser raises a bare Exception
        raise Rejected("bad-filter", f"the filter is no CQL2-JSON: {str(error)[:300]}") from None


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
