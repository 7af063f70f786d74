"""What a run selects: a policy or a plain CQL2 search, as searches of a station and a choice among its answers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from shared.errors import AuxipError, ItemFailed, Rejected
from shared.stac.item import Item, Json
from shared.stac.search import Cql2
from shared.times import format_instant, parse_instant

_VALIDITY: Json = {"interval": [{"property": "start_datetime"}, {"property": "end_datetime"}]}


def _instant(value: object) -> object:
    return parse_instant(value) if isinstance(value, str) else value


def _utc(value: datetime) -> datetime:
    return parse_instant(value.isoformat())


Instant = Annotated[datetime, BeforeValidator(_instant), AfterValidator(_utc)]
ProductType = Annotated[str, StringConstraints(min_length=1, max_length=128)]


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
