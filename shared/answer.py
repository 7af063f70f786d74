"""Answer v1: what a program is given about a run or a request, wherever it asks.

The reply to a request of the intake, `auxip show --json`, `report.json`, the task `auxip.status` and the Python client
all have this form. This module needs pydantic alone: the client of callers holds a copy of it.
"""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

VERSION: Final = 1
"""Of the form. A new field leaves it as it is; a field that changes its meaning, or goes, makes a new version."""

MOST_FAILED: Final = 100
"""Failed items that an answer lists. The report lists all of them."""

Instant = Annotated[str, Field(description="RFC 3339, in UTC")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Status(StrEnum):
    """How a run or a request ended, or how far it is: the first two are of a run that goes on."""

    ACCEPTED = "accepted"
    WORKING = "working"
    SUCCESSFUL = "successful"
    PARTIAL = "partial"
    FAILED = "failed"
    EMPTY = "empty"
    CANCELLED = "cancelled"


class Counts(_Part):
    """What a run has come to.

    Once it is closed, `items` = `staged` + `repaired` + `skipped` + `failed`; `expanded` is part of `staged`. Bytes
    downloaded are those that crossed the network, repeated tries included.
    """

    items: int = 0
    """Items that were selected."""
    staged: int = 0
    """Of these: copied into S3 and published."""
    repaired: int = 0
    """Of these: in the catalog before, with objects that were missing or wrong, and in order now."""
    skipped: int = 0
    """Of these: left as they were, mostly since they were staged already."""
    expanded: int = 0
    """Of the staged ones: those with archives, which are expanded."""
    failed: int = 0
    """Of the selected items: those that failed."""
    bytes_downloaded: int = 0
    """Bytes that crossed the network, repeated tries included."""
    bytes_found: int = 0
    """Bytes of the selected items, as the station states them."""
    bytes_finished: int = 0
    """Of these: bytes of the items that are finished."""

    @property
    def finished(self) -> int:
        """Items that go no further."""
        return self.staged + self.repaired + self.skipped + self.failed


class Selected(_Part):
    """What was selected of one product type."""

    product_type: str
    """The product type."""
    policy: str | None = None
    """The policy that selected; null where none did, or where a CQL2 filter was asked for."""
    offered: int = 0
    """Items of the type in the station's answer. 0 means: a misspelt type, or nothing in the window."""
    selected: int = 0
    """Items that were selected."""


class Problem(_Part):
    """Why something failed."""

    code: str
    """One of the table in `shared/codes.py`."""
    reason: str
    """What happened, and to what."""
    what_to_do: str = ""
    """What to do now."""


class Notice(_Part):
    """What a caller should know of a run that has not failed by it."""

    code: str
    """One of the table in `shared/codes.py`."""
    reason: str
    """What it is, as a sentence."""


class FailedItem(Problem):
    """An item that failed."""

    id: str
    """Of the STAC item."""


class Timeliness(_Part):
    """Time from the publication of items at the station until they were available in the catalog.

    Of the staged and repaired items whose time of publication the station states.
    """

    items: int
    """How many these are."""
    mean_seconds: float
    """The mean of their times."""
    longest_seconds: float
    """The longest of their times."""


class Waited(_Part):
    """A system that a run waited for."""

    system: str
    """Its name."""
    since: Instant
    """The beginning of the first outage."""
    until: Instant
    """The end of the last one."""
    reason: str
    """What was wrong with it."""


class AnswerItem(_Part):
    """How one item ended, or how far it is."""

    id: str
    """Of the STAC item."""
    status: str
    """found, claimed, staged, catalogued, expanded, repaired, skipped or failed."""
    station: str = ""
    """The station that offers it."""
    code: str = ""
    """Why it failed or was skipped; empty where there is nothing to say."""
    reason: str = ""
    """The same as a sentence."""
    what_to_do: str = ""
    """What to do now, of a failed item."""
    size: int = 0
    """Bytes of its assets, as the station states them."""
    bytes_downloaded: int = 0
    """Bytes that crossed the network."""
    attempts: int = 0
    """Tries of its steps that failed."""
    published: Instant | None = None
    """When the station published it, where the station says so."""
    available: Instant | None = None
    """When it was finished, if it was staged or repaired."""
    evicts: Instant | None = None
    """When the station removes it, where the station says so."""
    warning: str = ""
    """evicted-soon: it is not staged, and the station removes it soon or has removed it."""


class Answer(_Part):
    """What became of a run or of a request, or how far it is."""

    version: Literal[1] = VERSION
    """Of this form."""
    id: str
    """Of the request. A request without an id is given one by the gate."""
    run: str | None = None
    """The id of its run; null of a request that has none: one that was refused, or of a task that begins no run."""
    status: Status
    """successful: all items are as they should be. partial: some items failed. failed: all items did, or there is an
    `error`. empty: nothing was found. cancelled. accepted, working: of a run that goes on."""
    error: Problem | None = None
    """Why the request was refused, or the run failed as a whole."""
    label: str = ""
    """What began the run, such as a sweep."""
    owner: str = ""
    """On whose behalf."""
    collection: str = ""
    """Of the catalog."""
    started: Instant | None = None
    """When the run was opened."""
    ended: Instant | None = None
    """When the run was closed; null while it goes on."""
    cancelled: Instant | None = None
    """When somebody asked for the run to be cancelled."""
    seconds: float | None = None
    """How long the run took."""
    counts: Counts | None = None
    """What the run has come to."""
    selected: tuple[Selected, ...] = ()
    """What was selected of each product type, and by which policy."""
    failed: tuple[FailedItem, ...] = ()
    """The first failed items."""
    failed_left_out: int = 0
    """Failed items that are not listed here; the report has them."""
    timeliness: Timeliness | None = None
    """How late the items were; null where the station does not state when it published them."""
    waits: tuple[Waited, ...] = ()
    """The systems that the run waited for."""
    notices: tuple[Notice, ...] = ()
    """What the caller should know besides."""
    report: str | None = None
    """The href of report.json."""
    items: tuple[AnswerItem, ...] | None = None
    """All items; only in report.json and in `auxip show --json`."""
    result: Any = None
    """The result of the task; only in the reply to a request."""
    left_out: str | None = None
    """Where the result is, if it is too large for a reply."""
