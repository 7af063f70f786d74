"""What a sweep is: when it is due, and which run it begins then."""

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from shared.archives.rules import WantedLayout
from shared.errors import Rejected
from shared.models import CollectionId, Lane, OwnerId, RunRequest, Tick
from shared.selection import Platform, PolicyName, PolicySelection, ProductType
from shared.stac.stations import StationName
from shared.times import parse_duration, parse_instant
from workers.sweeps.schedule import Cron, Period, Schedule

_RUNS = uuid.UUID("5b0c4b0e-52a5-5ab4-8f14-2ac0a3a5fb25")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_JITTER = timedelta(minutes=1)


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


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Moment = Annotated[timedelta | datetime, BeforeValidator(_moment)]
"""An instant, or one relative to a tick."""
Margin = Annotated[Duration, Field(ge=timedelta(0))]


class Sweep(BaseModel):
    """One periodic sweep.

    Attributes:
        name: of its table.
        every: the period, or
        cron: the cron line, in UTC: one of both.
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
        jitter: the run begins up to this much after its tick, so that sweeps of one minute are spread; None means a
            tenth of the period, a minute at most.
        expires: after this time a message that no worker took is dropped; None means the period.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
    every: Annotated[Duration, Field(ge=timedelta(seconds=1))] | None = None
    cron: Annotated[Cron, BeforeValidator(Cron.parse)] | None = None
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
    jitter: Annotated[Duration, Field(ge=timedelta(0))] | None = None
    expires: Annotated[Duration, Field(ge=timedelta(seconds=1))] | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if (self.every is None) == (self.cron is None):
            raise ValueError("give one of every and cron")
        if self.jitter is not None and self.jitter >= self.schedule.shortest:
            raise ValueError(f"the jitter must be shorter than the time between two runs, {self.schedule.shortest}")
        if {type(self.start), type(self.end)} != {timedelta, datetime}:  # of these, only a tick tells which comes first
            begin, end = _at(_EPOCH, self.start), _at(_EPOCH, self.end)
            if begin is not None and end is not None and end < begin:
                raise ValueError("the window ends before it begins")
            try:
                self.request(_EPOCH)
            except Rejected as error:
                raise ValueError(error.reason) from None
        return self

    @property
    def schedule(self) -> Schedule:
        """Its ticks."""
        return self.cron or Period(self.every or timedelta.max)

    @property
    def message_expires(self) -> timedelta:
        """How long the message that beat sends is worth being taken."""
        return self.expires or self.schedule.shortest

    def due(self, tick: datetime) -> datetime:
        """Return when the run of a tick is to begin: the same for every beat, and before the next tick."""
        longest = min(self.schedule.shortest / 10, _JITTER) if self.jitter is None else self.jitter
        digest = hashlib.sha256(f"{self.name} {tick.isoformat()}".encode()).digest()
        return tick + longest * (int.from_bytes(digest[:4]) / 2**32)

    def newest(self, now: datetime) -> datetime:
        """Return the newest tick that is due."""
        tick = self.schedule.last(now)
        return tick if self.due(tick) <= now else self.schedule.last(tick - timedelta.resolution)

    def next_due(self, now: datetime) -> datetime:
        """Return when the sweep is due next."""
        return self.due(self.schedule.next(self.newest(now)))

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
