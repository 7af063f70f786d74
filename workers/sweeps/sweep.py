"""What a sweep is: when it is due, and which run it begins then."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from shared.archives.rules import WantedLayout
from shared.errors import Rejected
from shared.json_types import Json
from shared.models import CollectionId, Lane, OwnerId, PublicationTick, RunRequest, Tick
from shared.selection import Platform, PolicyName, PolicySelection, ProductType, Published
from shared.stac.search import RECORDED
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

_OF_A_TICK: Final = ("policy", "start", "end", "before", "after")
_OF_PUBLICATION: Final = ("filter", "overlap", "lag", "longest", "since")


class Sweep(Recurring):
    """One periodic sweep.

    Attributes:
        owner: on whose behalf.
        collection: of the catalog.
        by: `publication` searches what the station has published since the last time, in windows that follow each
            other; None searches a window relative to the tick.
        product_types: what is looked for.
        policy: a selection policy, or several: "this, else that".
        platform: such as sentinel-1a; None for all.
        start: begin of the window, an instant or relative to the tick; None where no policy looks at it.
        end: end of the window.
        before: margin by which the window begins earlier.
        after: margin by which it ends later.
        filter: CQL2-JSON; by publication only, as the fields below.
        overlap: by which a window begins before the end of the last one.
        lag: by which the last window ends before the tick; a station may show a product later than it dates it.
        longest: length of a window.
        since: the first watermark, an instant or relative to the tick.
        station: a station of the configuration, or several to be tried in this order; none is the default one.
        decompress: expand the archives.
        layout: of expanded archives, or None for that of the settings.
    """

    owner: OwnerId
    collection: CollectionId
    by: Literal["publication"] | None = None
    product_types: Annotated[tuple[ProductType, ...], Field(min_length=1, max_length=100)] = ()
    policy: Annotated[tuple[PolicyName, ...], BeforeValidator(_listed), Field(min_length=1)] = ("ValCover",)
    platform: Platform | None = None
    start: Moment | None = None
    end: Moment | None = None
    before: Margin = timedelta(0)
    after: Margin = timedelta(0)
    filter: Json | None = None
    overlap: Margin = timedelta(minutes=40)
    lag: Margin = timedelta(minutes=40)
    longest: Annotated[Duration, Field(ge=timedelta(seconds=1))] = timedelta(days=1)
    since: Moment = timedelta(days=-7)
    station: Annotated[tuple[StationName, ...], BeforeValidator(_listed), Field(max_length=20)] = ()
    decompress: bool = True
    layout: WantedLayout | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        try:
            if self.by is None:
                self._check_window()
            else:
                self._check_publication()
        except Rejected as error:
            raise ValueError(error.reason) from None
        return self

    def _check_window(self) -> None:
        if not self.product_types:
            raise ValueError("give product_types")
        self._refuse(_OF_PUBLICATION, 'only a sweep with by = "publication" has it')
        if {type(self.start), type(self.end)} != {timedelta, datetime}:  # of these, only a tick tells which comes first
            begin, end = _at(_EPOCH, self.start), _at(_EPOCH, self.end)
            if begin is not None and end is not None and end < begin:
                raise ValueError("the window ends before it begins")
            self.request(_EPOCH)

    def _check_publication(self) -> None:
        self._refuse(
            _OF_A_TICK, "a sweep by publication does not have it: it stages every item, in windows of its own (longest)"
        )
        if len(self.station) > 1:
            raise ValueError("station: each station has its own times of publication; write a sweep for each of them")
        if self.longest <= self.overlap:
            raise ValueError("longest: a window must be longer than the overlap, else it comes no further")
        if isinstance(self.since, timedelta) and self.since > timedelta(0):
            raise ValueError('since: it is after the tick; write it with a minus, such as "-7d"')
        self._everything_published(_EPOCH, _EPOCH + self.longest)

    def _refuse(self, names: tuple[str, ...], why: str) -> None:
        for name in names:
            if name in self.model_fields_set:
                raise ValueError(f"{name}: {why}")

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

    def publication_tick(self, now: datetime, default_station: str) -> PublicationTick:
        """Return the newest tick that is due of a sweep by publication.

        Args:
            now: an instant in UTC.
            default_station: the one that is searched where the sweep names none.
        """
        tick = self.newest(now)
        first = _at(tick, self.since) or tick
        selection = self._everything_published(first, first + self.longest, RECORDED)  # checked when the file was read
        return PublicationTick(
            at=tick.timestamp(),
            target=int((tick - self.lag).timestamp()),
            first=int(first.timestamp()),
            overlap=int(self.overlap.total_seconds()),
            longest=int(self.longest.total_seconds()),
            request=self._run(selection, self.station or (default_station,)),
        )

    def _everything_published(self, begin: datetime, end: datetime, context: str = "") -> Published:
        fields = {"product_types": self.product_types, "platform": self.platform, "filter": self.filter}
        return Published.model_validate({**fields, "begin": begin, "end": end}, context=context)

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
        return self._run(selection, self.station)

    def _run(self, selection: PolicySelection | Published, stations: tuple[StationName, ...]) -> RunRequest:
        return RunRequest(
            lane=Lane.BULK,
            label=f"sweep {self.name}",
            sweep=self.name if self.by else "",
            owner=self.owner,
            collection=self.collection,
            stations=stations,
            selection=selection,
            decompress=self.decompress,
            layout=self.layout,
        )


def _at(begin: datetime, offset: timedelta | datetime | None) -> datetime | None:
    return begin + offset if isinstance(offset, timedelta) else offset
