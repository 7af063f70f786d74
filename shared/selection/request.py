"""The selection that a run is asked for, and the searches of a station that a policy needs."""

from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from shared.errors import Rejected
from shared.json_types import Json
from shared.selection.policies import EARLIEST, POLICIES, PolicyName, Window
from shared.stac.search import Cql2
from shared.times import OPEN_END, format_instant, parse_instant

_VALIDITY: Json = {"interval": [{"property": "start_datetime"}, {"property": "end_datetime"}]}
_LONGEST_MARGIN = timedelta(days=36_525)


def _instant(value: object) -> object:
    # A number would be taken for seconds since the epoch, or for milliseconds: nobody can tell which was meant.
    if isinstance(value, int | float):
        raise ValueError("is not a date and time such as 2024-01-31T00:00:00Z")  # noqa: TRY004 - of pydantic's kind
    return parse_instant(value) if isinstance(value, str) else value


def _utc(value: datetime) -> datetime:
    return parse_instant(value.isoformat())


Instant = Annotated[datetime, BeforeValidator(_instant, json_schema_input_type=str), AfterValidator(_utc)]
ProductType = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Platform = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Margin = Annotated[timedelta, Field(ge=timedelta(0), le=_LONGEST_MARGIN)]


class PolicySelection(BaseModel):
    """What a chain of policies selects: "this, else that", for each product type apart.

    The next policy of the chain is asked only where the one before has selected nothing. An item that one of them
    cannot judge is told as failed, and no later one takes it.

    Attributes:
        policies: the chain.
        product_types: each a selection of its own.
        platform: such as sentinel-1a; None for all platforms together.
        start: of the window, and the reference instant of ClosestStartValidity and ClosestStopValidity.
        end: of the window. Bounds that no policy of the chain looks at may be left out, and are ignored if given.
        before: margin by which the window begins earlier; it does not move the reference instant.
        after: margin by which the window ends later, at the latest at the end of the calendar.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["policy"] = "policy"
    policies: tuple[PolicyName, ...] = Field(("ValCover",), min_length=1, max_length=len(POLICIES))
    product_types: tuple[ProductType, ...] = Field(min_length=1, max_length=100)
    platform: Platform | None = None
    start: Instant | None = None
    end: Instant | None = None
    before: Margin = timedelta(0)
    after: Margin = timedelta(0)

    @model_validator(mode="after")
    def _has_its_window(self) -> Self:
        for name in self.policies:
            needs = POLICIES[name].needs
            if any(getattr(self, bound) is None for bound in needs):
                raise Rejected("bad-window", f"the policy {name} needs {' and '.join(needs)}")
        if self.start is not None and self.end is not None and self.end < self.start:
            raise Rejected("bad-window", f"the window ends ({self.end}) before it begins ({self.start})")
        self.window()
        return self

    def window(self) -> Window:
        """Return the window with its margins; it is open where no bound is given.

        Raises:
            Rejected: `bad-window`, it begins before the calendar does.
        """
        begin, end = self.start or EARLIEST, self.end or OPEN_END
        if begin - EARLIEST < self.before and self.start is not None:
            raise Rejected("bad-window", f"the window begins before the year 1: {self.before} before {begin}")
        return Window(
            begin=EARLIEST if self.start is None else begin - self.before,
            end=OPEN_END if end >= OPEN_END - self.after else end + self.after,
            reference=begin,
        )

    def search(self, name: PolicyName, product_type: str) -> Cql2:
        """Return the search to send to the station for one policy of the chain: never narrower than the policy.

        A station's `t_contains` is strict and would leave out a validity that touches the window, `in` is not known
        to every station, and a best item may lie anywhere; so what intersects the window is asked for where the
        policy takes only such, and else every item of the type, and the policy is applied to what comes.
        """
        conditions = [equals("product:type", product_type)]
        if self.platform is not None:
            conditions.append(equals("platform", self.platform))
        if POLICIES[name].takes is not None:
            conditions.append({"op": "t_intersects", "args": [_VALIDITY, _interval(self.window())]})
        expression: Json = conditions[0] if len(conditions) == 1 else {"op": "and", "args": [*conditions]}
        return Cql2.model_construct(filter=expression, limit=None, sortby=())


class Given(BaseModel):
    """One item that the caller names: it is in the catalog already, and no station is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["given"] = "given"
    item_id: str = Field(min_length=1, max_length=512)


def equals(name: str, value: str) -> Json:
    """Return the CQL2 condition that a property has this value."""
    return {"op": "=", "args": [{"property": name}, value]}


def _interval(window: Window) -> Json:
    """The window in whole seconds, rounded outwards; an open end is `..`, since no station's calendar ends as ours."""
    begin = window.begin.replace(microsecond=0)
    end = window.end.replace(microsecond=0)
    end += timedelta(seconds=1) if end < window.end else timedelta(0)
    return {"interval": [format_instant(begin), ".." if end >= OPEN_END else format_instant(end)]}
