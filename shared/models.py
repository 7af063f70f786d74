"""Runs and their items, as the ledger records them."""

import hashlib
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.answer import Counts as Counts
from shared.answer import Notice as Notice
from shared.answer import Selected, Status, Timeliness
from shared.archives import Expansion
from shared.archives.members import Members, Strip
from shared.archives.rules import Choice, WantedLayout
from shared.errors import Rejected
from shared.selection import Selection
from shared.stac.item import Item
from shared.stations.config import StationName

OwnerId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
"""An owner: letters and digits, `_` and `-` within; it is the first segment of an S3 key."""

PublicTask = Literal[
    "auxip.search",
    "auxip.staging",
    "auxip.on_demand_staging",
    "auxip.orbit",
    "auxip.aux",
    "auxip.unzip_decompress",
    "auxip.process_asset",
    "auxip.status",
    "auxip.cancel",
]
"""The tasks that other systems may ask for."""

ReplyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
"""A reply list, whose key is `auxip:reply:` and this: a request can have no other key written."""

CollectionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]

AssetNames = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=255)], ...], Field(min_length=1, max_length=100)
]
"""Which assets of each item are staged, by their exact keys."""


class RunKind(StrEnum):
    """What a run was asked for, and so what its result looks like."""

    STAGING = "staging"
    DECOMPRESS = "decompress"


class Lane(StrEnum):
    """How urgent a run is: what somebody waits for overtakes what waits in bulk, such as the backlog of a sweep."""

    ON_DEMAND = "on-demand"
    BULK = "bulk"


class RunRequest(BaseModel):
    """What a run is to do. Small: it is kept in the ledger, and the messages carry only the run's id.

    Its stations are tried in their order; none means the default one. `replays` tells how many replays of dead letters
    have led to it, this one included: a run that somebody has asked for has 0. `sweep` is the name of the sweep by
    publication whose next window may begin when the run ends.
    """

    model_config = ConfigDict(frozen=True)

    kind: RunKind = RunKind.STAGING
    lane: Lane = Lane.ON_DEMAND
    label: str = ""
    sweep: str = ""
    owner: OwnerId
    collection: CollectionId
    selection: Selection
    stations: tuple[StationName, ...] = ()
    timeout_seconds: float = -1
    decompress: bool = True
    asset_names: AssetNames | None = None
    layout: WantedLayout | None = Field(None, description="of expanded archives; None: that of the settings")
    members: Members | None = Field(None, description="patterns of the members that are expanded; None: all")
    strip: Strip = Field(0, description="leading folders that are removed from the paths of members")
    dbl: bool = Field(False, description="a .DBL is expanded as well, if its content is an archive")
    replays: int = 0

    @property
    def choice(self) -> Choice:
        """What is chosen for the archives."""
        return Choice(layout=self.layout, members=self.members, strip=self.strip, dbl=self.dbl)


class RunState(StrEnum):
    """Where a run stands; the last four are final."""

    ACCEPTED = "accepted"
    WORKING = "working"
    SUCCESSFUL = "successful"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the run is over."""
        return self not in (RunState.ACCEPTED, RunState.WORKING)


class ItemState(StrEnum):
    """How far an item of a run has come. `finished` in its record says whether it goes any further."""

    FOUND = "found"
    CLAIMED = "claimed"
    STAGED = "staged"
    CATALOGUED = "catalogued"
    EXPANDED = "expanded"
    REPAIRED = "repaired"
    """In the end only: the catalog had it, objects of it were missing or wrong, and now they are there again."""
    SKIPPED = "skipped"
    FAILED = "failed"


class Wait(BaseModel):
    """What a run waited for: a system, from the first outage to the end of the last, in seconds since the epoch."""

    system: str
    since: float
    until: float
    reason: str


class Run(BaseModel):
    """The ledger's record of a run.

    Times are seconds since the epoch. `searching` is when its search began, `began` when the search was over and the
    items could begin, `cancelled` when somebody asked for that. `searches` are the first requests of its searches, as
    lines for a shell with variables in place of secrets.
    """

    id: str
    request: RunRequest
    state: RunState
    counts: Counts = Counts()
    code: str = ""
    reason: str = ""
    created: float
    searching: float | None = None
    began: float | None = None
    cancelled: float | None = None
    closed: float | None = None
    artifact: str = ""
    searches: tuple[str, ...] = ()
    waits: tuple[Wait, ...] = ()
    notices: tuple[Notice, ...] = ()
    selected: tuple[Selected, ...] = ()
    timeliness: Timeliness | None = None

    @property
    def status(self) -> Status:
        """How the run ended, or how far it is: a run that found nothing is `empty`, and not `successful`."""
        empty = self.state is RunState.SUCCESSFUL and not self.counts.items
        return Status.EMPTY if empty else Status(self.state.value)

    @property
    def seconds(self) -> float | None:
        """How long the run took, or None while it goes on."""
        return None if self.closed is None else self.closed - self.created


class Tick(BaseModel):
    """A moment at which a sweep is due, and the run that it begins then. Times are seconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    sweep: str
    at: float
    next: float
    run_id: str
    request: RunRequest


class PublicationTick(BaseModel):
    """A moment at which a sweep by publication is due. Times and lengths are whole seconds, since the epoch.

    Attributes:
        at: the tick.
        target: what was published before it is to be searched by now.
        first: the watermark where the ledger has none.
        overlap: by which a window begins before the watermark.
        longest: length of a window.
        request: what the run of a window is to do; its selection is `Published`, with any window.
    """

    model_config = ConfigDict(frozen=True)

    at: float
    target: int
    first: int
    overlap: int
    longest: int
    request: RunRequest


class Watermark(BaseModel):
    """The ledger's record of how far the windows of a sweep by publication have come. Times are as in its ticks.

    Attributes:
        at: what was published before it has been searched.
        target: what was published before it is to be searched by now.
        tick: the newest that is known.
        run: that of the newest window.
        until: the watermark once this run has ended well; None where no window goes on.
    """

    at: int
    target: int
    tick: float = 0
    run: str = ""
    until: int | None = None


class SweepRecord(BaseModel):
    """The ledger's record of a sweep.

    Attributes:
        tick: the newest that was decided, in seconds since the epoch.
        run: the one that the ticks have begun last.
        sent: the last of them whose first step was put on its queue.
        skipped: the newest tick that was left out.
        reason: why it was.
        manual: the run that a person has begun last.
    """

    tick: float | None = None
    run: str = ""
    sent: str = ""
    skipped: float | None = None
    reason: str = ""
    manual: str = ""


@dataclass(frozen=True)
class Settled:
    """What follows from an item's being finished.

    Attributes:
        first: whether it was not finished before.
        last: whether now all items of its run are.
        fed: keys of items whose turn it is now.
    """

    first: bool
    last: bool
    fed: tuple[str, ...]


class StagedAsset(BaseModel):
    """An asset that is in S3: its size in bytes, its checksum as a multihash, and the ETag that the store reports."""

    href: str
    size: int
    checksum: str
    etag: str


@dataclass
class Claim:
    """The right to do a piece of work; see `shared.ledger.lease`.

    Attributes:
        work: what is claimed.
        token: the fence, unique to this claim.
        facts: fields of the record that its holder has come to, written with its end.
        exhausted: whether the work has ended its workers, so that it must not be begun again.
        ended: whether it was ended already, in the step that recorded its outcome.
    """

    work: str
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    facts: dict[str, str] = field(default_factory=dict)
    exhausted: bool = False
    ended: bool = False

    @property
    def key(self) -> str:
        """Its key in the ledger."""
        return f"auxip:lease:{self.work}"


class ItemRecord(BaseModel):
    """The ledger's record of one item of a run, found by a station. Times are seconds since the epoch."""

    run_id: str
    key: str
    item_id: str
    station: str = ""
    state: ItemState
    size: int = 0
    published: float | None = Field(None, description="when the station published it")
    code: str = ""
    reason: str = ""
    attempts: int = 0
    downloaded: int = 0
    claimed: float | None = None
    staged: float | None = None
    publishing: float | None = Field(None, description="when a worker began to publish it")
    catalogued: float | None = None
    expanding: float | None = Field(None, description="when a worker began to expand its archives")
    expanded: float | None = None
    finished: float | None = None
    intact: bool = False
    evicts: float | None = Field(None, description="when the station removes it, where it says so")
    damaged: bool = Field(False, description="the catalog had it, and objects of it were missing or wrong")
    unproven: str = Field("", description="why assets were staged without a checksum of the station")
    batched: str = Field("", description="1: published with others, and its own message is still to come")
    ended: frozenset[str] = Field(frozenset(), description="archives whose expansion has ended, well or not")
    stac: str = Field("", repr=False, description="the item as the station gave it, while there is work on it")
    staged_assets: dict[str, StagedAsset] = {}
    expansions: dict[str, Expansion] = {}
    claim: Claim | None = Field(None, exclude=True, description="by which this record may be written to")

    def stac_item(self) -> Item:
        """Return the STAC item that the station gave.

        Raises:
            Rejected: `unknown-item`, there is no work on it any more.
        """
        if not self.stac:
            raise Rejected("unknown-item", f"the run {self.run_id!r} has no work on item {self.key!r}")
        return Item.model_validate_json(self.stac)

    @property
    def in_catalog(self) -> bool:
        """Whether the run has published it, or found it in the catalog as it should be."""
        return self.intact or self.catalogued is not None

    @property
    def over(self) -> bool:
        """Whether nothing more is to be done: finished, failed, skipped, or found as it should be."""
        return self.finished is not None or self.intact or self.state in (ItemState.FAILED, ItemState.SKIPPED)


class Outcome(BaseModel):
    """How an item ended: its final state and, where it was skipped or failed or is not whole, why."""

    state: ItemState
    code: str = ""
    reason: str = ""


class Job(BaseModel):
    """A job of a staging service that works on an item, for whatever runs want the item.

    Attributes:
        id: by which the service knows it.
        assets: keys of those that were missing when it was begun.
        begun: when it was asked for, in seconds since the epoch.
        ended: when it was first seen to be successful, or None.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    assets: tuple[str, ...]
    begun: float
    ended: float | None = None


def work_key(owner: str, collection: str, item_id: str) -> str:
    """Return the id of the work on an item: the same for every run and every worker that wants it (24 hex digits)."""
    return hashlib.sha256(f"{owner}\0{collection}\0{item_id}".encode()).hexdigest()[:24]


def claimed_as(key: str, part: str) -> str:
    """Return the work that an item is claimed as or, where `part` is an asset key, one of its archives."""
    return f"{key}:{part}" if part else key
