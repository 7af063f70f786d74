"""What a sweep is: when it is due, and which run it begins then."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from shared.archives.rules import WantedLayout
from shared.errors import Rejected
from shared.models import CollectionId, Lane, OwnerId, RunRequest, Tick
from shared.selection import Platform, PolicyName, PolicySelection, ProductType
from shared.stations.config import StationName
from shared.times import parse_duration, parse_instant
from workers.sweeps.recurring import Duration, Recurring

_RUNS = uuid.UUID("5b0c4b0e-52a5-5ab4-8f14-2ac0a3a5fb25")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(value: object) -> timedelta | datetime:
    if isinstance(value, datetime):
        return parse_instant(value.isoformat())
    try:
        return parse_duration(value)
    except ValueError:
        pass
    try:
        return parse_instant(str(value))
    except Rejected:
        raise ValueError("is no duration such as -3h and no instant such as 2024-01-31T00:00:00Z") from None


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Moment = Annotated[timedelta | datetime, BeforeValidator(_moment)]
"""An instant, or one relative to a tick."""
Margin = Annotated[Duration, Field(ge=timedelta(0))]


class Sweep(Recurring):
    """One periodic sweep.

    Attributes:
        owner: on whose behalf.
        collection: of the catalog.
        product_types: what is looked for.
        policy: a selection policy, or several: "this, else that".
        platform: such as sentinel-1a; None for all.
        start: begin of the window, an instant or relative to the tick; None where no policy looks at it.
        end: end of the window.
        before: margin by which the window begins earlier.
        after: margin by which it ends later.
        station: a station of the configuration, or several to be tried in this order; none is the default one.
        decompress: expand the archives.
        layout: of expanded archives, or None for that of the settings.
    """

    owner: OwnerId
    collection: CollectionId
    product_types: Annotated[tuple[ProductType, ...], Field(min_length=1, max_length=100)]
    policy: Annotated[tuple[PolicyName, ...], BeforeValidator(_listed), Field(min_length=1)] = ("ValCover",)
    platform: Platform | None = None
    start: Moment | None = None
    end: Moment | None = None
    before: Margin = timedelta(0)
    after: Margin = timedelta(0)
    station: Annotated[tuple[StationName, ...], BeforeValidator(_listed), Field(max_length=20)] = ()
    decompress: bool = True
    layout: WantedLayout | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if {type(self.start), type(self.end)} != {timedelta, datetime}:  # of these, only a tick tells which comes first
            begin, end = _at(_EPOCH, self.start), _at(_EPOCH, self.end)
            if begin is not None and end is not None and end < begin:
                raise ValueError("the window ends before it begins")
            try:
                self.request(_EPOCH)
            except Rejected as error:
                raise ValueError(error.reason) from None
        return self

    def tick(self, now: datetime) -> Tick:
        """Return the newest tick that is due, with its run; those before it that were missed are made good by it."""
        tick = self.newest(now)
        return Tick(
            sweep=self.name,
            at=tick.timestamp(),
            next=self.schedule.next(tick).timestamp(),
            run_id=str(uuid.uuid5(_RUNS, f"{self.name} {tick.isoformat()}")),
            request=self.request(tick),
        )

    def request(self, begin: datetime) -> RunRequest:
        """Return what a run of the sweep is to do, in bulk, with a window relative to `begin`."""
        selection = PolicySelection(
            policies=self.policy,
            product_types=self.product_types,
            platform=self.platform,
            start=_at(begin, self.start),
            end=_at(begin, self.end),
            before=self.before,
            after=self.after,
        )
        return RunRequest(
            lane=Lane.BULK,
            label=f"sweep {self.name}",
            owner=self.owner,
            collection=self.collection,
            stations=self.station,
            selection=selection,
            decompress=self.decompress,
            layout=self.layout,
        )


def _at(begin: datetime, offset: timedelta | datetime | None) -> datetime | None:
    return begin + offset if isinstance(offset, timedelta) else offset
