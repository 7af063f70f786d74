"""The report of a run: whole for a program, and for people a page of what they want to know first."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from html import escape
from typing import Final

from pydantic import BaseModel

from shared.models import Counts, ItemRecord, ItemState, Notice, Run, RunState, Wait
from shared.texts import printable
from shared.times import format_instant

MOST_ROWS: Final = 2000
"""Items on the page: more than anybody reads, and few enough for a browser, and for whoever writes it."""

REPORT_TAIL: Final = "]}"

EVICTED_SOON: Final = "evicted-soon"
"""Warning at an item that is not staged, and that its station removes soon or has removed."""


class ReportItem(BaseModel):
    """How one item ended; `evicts` is when its station removes it, where it says so."""

    id: str
    state: str
    code: str = ""
    reason: str = ""
    size: int
    bytes_downloaded: int
    attempts: int
    evicts: str = ""
    warning: str = ""


class ReportWait(BaseModel):
    """A system that a run waited for."""

    system: str
    since: str
    until: str
    reason: str


class Report(BaseModel):
    """How a run ended; in the report itself the list of its items follows as `items`."""

    run: str
    label: str
    status: RunState
    owner: str
    collection: str
    started: str
    written: str
    counts: Counts
    waits: list[ReportWait] = []
    notices: list[Notice] = []


class Excerpt:
    """Of any number of items those that a person wants to see: what failed stands first, and only so many are kept.

    Attributes:
        seen: how many items there were.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._failed: list[ItemRecord] = []
        self._others: list[ItemRecord] = []
        self.seen = 0

    def add(self, record: ItemRecord) -> None:
        """Take the next item."""
        kept = self._failed if record.state is ItemState.FAILED else self._others
        if len(kept) < self._most:
            kept.append(record)
        self.seen += 1

    def records(self) -> list[ItemRecord]:
        """Return what is shown: the failed items and then the others, each in the order in which they came."""
        return [*self._failed, *self._others][: self._most]

    @property
    def left_out(self) -> int:
        """How many items are not shown."""
        return max(0, self.seen - self._most)


def report_of(run: Run, state: RunState) -> Report:
    """Make the report of a run, without its items."""
    return Report(
        run=run.id,
        label=run.request.label,
        status=state,
        owner=run.request.owner,
        collection=run.request.collection,
        started=format_instant(datetime.fromtimestamp(run.created, UTC)),
        written=format_instant(datetime.now(UTC)),
        counts=run.counts,
        waits=[report_wait(wait) for wait in run.waits],
        notices=list(run.notices),
    )


def report_wait(wait: Wait) -> ReportWait:
    """Return what a run waited for as the report says it."""
    since, until = (format_instant(datetime.fromtimestamp(int(each), UTC)) for each in (wait.since, wait.until))
    return ReportWait(system=wait.system, since=since, until=until, reason=wait.reason)


def wait_sentence(wait: ReportWait) -> str:
    """Return a sentence about what a run waited for."""
    return f"waited for the {wait.system} from {wait.since} to {wait.until}: {wait.reason}"


def notice_sentence(notice: Notice) -> str:
    """Return a notice for a person to read."""
    return f"notice: {notice.code}: {notice.reason}"


def repaired_part(counts: Counts) -> str:
    """Return the part of a summary that says how many items were repaired; empty where none was, as is usual."""
    return f"{counts.repaired} repaired, " if counts.repaired else ""


def report_head(report: Report) -> str:
    """Return what stands in the report as JSON before its items, which `REPORT_TAIL` follows."""
    return f'{report.model_dump_json().removesuffix("}")},"items":[\n'


def report_items(records: Iterable[ItemRecord], warn_until: float = 0) -> Iterator[str]:
    """Yield the items of the report, as JSON.

    Args:
        records: of the items.
        warn_until: seconds since the epoch; what is not staged and removed before it has a warning.
    """
    for record in records:
        yield _report_item(record, warn_until).model_dump_json()


def evicted_soon(record: ItemRecord, warn_until: float) -> bool:
    """Whether an item of a run that ends is not staged, and its station removes it before an instant."""
    missing = record.state is ItemState.FAILED or (record.state is ItemState.SKIPPED and record.code == "cancelled")
    return missing and record.evicts is not None and record.evicts < warn_until


def page_of(report: Report, excerpt: Excerpt) -> str:
    """Return the report as one HTML page that needs nothing else; what did not go well stands first."""
    counts = report.counts
    title = f"{report.label or 'Run'} {report.run}"
    rows = sorted(excerpt.records(), key=lambda record: (record.state is not ItemState.FAILED, record.item_id))
    return _PAGE.format(
        title=escape(title),
        status=escape(report.status),
        summary=escape(
            f"{counts.items} items in {report.owner}/{report.collection}: {counts.staged} staged, {counts.expanded} of "
            f"them expanded, {repaired_part(counts)}{counts.skipped} skipped, {counts.failed} failed; "
            f"{counts.bytes_downloaded:,} bytes downloaded; begun {report.started}"
        ),
        rows="\n".join(_row(record) for record in rows),
        waits="".join(f"<p>{escape(printable(wait_sentence(wait)))}</p>" for wait in report.waits),
        notices="".join(f"<p>{escape(printable(notice_sentence(notice)))}</p>" for notice in report.notices),
        left_out=_LEFT_OUT.format(count=f"{excerpt.left_out:,}") if excerpt.left_out else "",
    )


def _report_item(record: ItemRecord, warn_until: float) -> ReportItem:
    return ReportItem(
        id=record.item_id,
        state=record.state,
        code=record.code,
        reason=record.reason,
        size=record.size,
        bytes_downloaded=record.downloaded,
        attempts=record.attempts,
        evicts="" if record.evicts is None else format_instant(datetime.fromtimestamp(record.evicts, UTC)),
        warning=EVICTED_SOON if evicted_soon(record, warn_until) else "",
    )


def _row(record: ItemRecord) -> str:
    why = " ".join(part for part in (record.code, record.reason) if part)
    cells = (record.item_id, record.state, f"{record.size:,}", why)
    return (
        f'<tr class="{escape(record.state)}">'
        + "".join(f"<td>{escape(printable(cell))}</td>" for cell in cells)
        + "</tr>"
    )


_LEFT_OUT = '<p>{count} more items are not shown here; all are in <a href="report.json">report.json</a>.</p>'

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c2733 }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #d8dee5; overflow-wrap: anywhere }}
td:nth-child(3) {{ text-align: right; white-space: nowrap }}
.failed td:nth-child(2) {{ color: #b3261e; font-weight: 600 }}
.skipped td:nth-child(2) {{ color: #5b6770 }}
</style></head>
<body><h1>{title}</h1><p><strong>{status}</strong></p><p>{summary}</p>{notices}{waits}{left_out}
<table><thead><tr><th>Item</th><th>State</th><th>Bytes</th><th>Why</th></tr></thead><tbody>
{rows}
</tbody></table></body></html>
"""
