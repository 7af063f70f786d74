"""The selection of a sweep by publication: every item that a station has published within a window."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.errors import Rejected
from shared.json_types import Json
from shared.selection.choice import Ask
from shared.selection.request import Instant, Platform, ProductType, equals
from shared.stac.item import Found
from shared.stac.search import Cql2, Cql2Filter
from shared.times import format_instant, parse_instant


class Published(BaseModel):
    """Every item that is published from `begin` on and before `end`.

    Attributes:
        product_types: each is a search of its own; without any, the filter alone selects.
        platform: such as sentinel-1a; None for all.
        filter: CQL2-JSON that the items match as well; None for no further condition.
        begin: of the window, included.
        end: of the window, not included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["published"] = "published"
    product_types: tuple[ProductType, ...] = Field((), max_length=100)
    platform: Platform | None = None
    filter: Cql2Filter | None = None
    begin: Instant
    end: Instant

    @model_validator(mode="after")
    def _selects_something(self) -> Self:
        if not self.product_types and self.filter is None:
            raise Rejected("bad-filter", "give product types, a filter, or both")
        if self.end <= self.begin:
            raise Rejected("bad-window", f"the window ends ({self.end}) before it begins ({self.begin})")
        return self

    def within(self, begin: datetime, end: datetime) -> Self:
        """Return the same selection with another window."""
        return self.model_copy(update={"begin": begin, "end": end})

    def searches(self) -> Iterator[Cql2]:
        """Yield the searches to send to the station: together they are never narrower than the selection.

        Not every station knows `or` and `in`, so each product type is searched alone. The window is rounded outwards to
        whole seconds, since some stations compare no smaller part.
        """
        for product_type in dict.fromkeys(self.product_types) or [None]:
            conditions = [] if product_type is None else [equals("product:type", product_type)]
            conditions += [] if self.platform is None else [equals("platform", self.platform)]
            conditions += [] if self.filter is None else [self.filter]
            conditions += [_compare(">=", self.begin.replace(microsecond=0)), _compare("<", _rounded_up(self.end))]
            yield Cql2.model_construct(filter={"op": "and", "args": [*conditions]}, limit=None, sortby=())

    def choose(self, ask: Ask) -> Iterator[Found]:
        """Yield what the station has published within the window, and what it offers that cannot be used.

        Args:
            ask: sends a search to the station.
        """
        for search in self.searches():
            yield from filter(self.takes, ask(search))

    def takes(self, found: Found) -> bool:
        """Whether an answer of the station belongs to the window.

        An item without `published` is taken: the station has answered with it, and no other window would take it.
        """
        published = None if found.item is None else found.item.properties.get("published")
        return not isinstance(published, str) or self.begin <= parse_instant(published) < self.end


def _compare(operator: str, instant: datetime) -> Json:
    return {"op": operator, "args": [{"property": "published"}, {"timestamp": format_instant(instant)}]}


def _rounded_up(instant: datetime) -> datetime:
    whole = instant.replace(microsecond=0)
    return whole if whole == instant else whole + timedelta(seconds=1)
