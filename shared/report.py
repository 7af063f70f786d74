"""The report of a run: whole for a program, and for people a page of what they want to know first."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from shared.answer import Answer, AnswerItem, FailedItem, Problem, Waited
from shared.codes import advice_for
from shared.models import Counts, ItemRecord, ItemState, Notice, Run, Wait
from shared.texts import printable
from shared.times import format_instant

MOST_ROWS: Final = 2000
"""Items on the page: more than anybody reads, and few enough for a browser, and for whoever writes it."""

REPORT_TAIL: Final = "]}"

EVICTED_SOON: Final = "evicted-soon"
"""Warning at an item that is not staged, and that its station removes soon or has removed."""

NOT_IN_REPORT: Final = {"items", "result", "left_out"}
"""Fields of an answer that a document of a run has not, or has at its end."""

_LONGEST_REASON: Final = 500


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


def answer_of_run(run: Run, failed: Sequence[ItemRecord] = ()) -> Answer:
    """Return what became of a run, or how far it is, without its items.

    Args:
        run: its record.
        failed: records of its first failed items.
    """
    return Answer(
        id=run.id,
        run=run.id,
        status=run.status,
        error=problem_of(run.code, run.reason) if run.code else None,
        label=run.request.label,
        owner=run.request.owner,
        collection=run.request.collection,
        started=_instant(run.created),
        ended=_instant(run.closed),
        cancelled=_instant(run.cancelled),
        seconds=None if run.seconds is None else round(run.seconds, 2),
        counts=run.counts,
        selected=run.selected,
        failed=tuple(_failed_item(record) for record in failed),
        failed_left_out=max(0, run.counts.failed - len(failed)),
        timeliness=run.timeliness,
        waits=tuple(report_wait(wait) for wait in run.waits),
        notices=run.notices,
        report=run.artifact or None,
    )


def problem_of(code: str, reason: str) -> Problem:
    """Return a failure with what to do about it."""
    return Problem(code=code, reason=reason, what_to_do=advice_for(code))


def report_wait(wait: Wait) -> Waited:
    """Return what a run waited for as an answer has it."""
    since, until = (format_instant(datetime.fromtimestamp(int(each), UTC)) for each in (wait.since, wait.until))
    return Waited(system=wait.system, since=since, until=until, reason=wait.reason)


def wait_sentence(wait: Waited) -> str:
    """Return a sentence about what a run waited for."""
    return f"waited for the {wait.system} from {wait.since} to {wait.until}: {wait.reason}"


def notice_sentence(notice: Notice) -> str:
    """Return a notice for a person to read."""
    return f"notice: {notice.code}: {notice.reason}"


def repaired_part(counts: Counts) -> str:
    """Return the part of a summary that says how many items were repaired; empty where none was, as is usual."""
    return f"{counts.repaired} repaired, " if counts.repaired else ""


def report_head(answer: Answer) -> str:
    """Return the report as JSON up to its items, which `REPORT_TAIL` follows."""
    return f'{answer.model_dump_json(exclude=NOT_IN_REPORT).removesuffix("}")},"items":[\n'


def report_items(records: Iterable[ItemRecord], warn_until: float = 0) -> Iterator[str]:
    """Yield the items of the report, as JSON.

    Args:
        records: of the items.
        warn_until: seconds since the epoch; what is not staged and removed before it has a warning.
    """
    for record in records:
        yield answer_item(record, warn_until).model_dump_json()


def evicted_soon(record: ItemRecord, warn_until: float) -> bool:
    """Whether an item of a run that ends is not staged, and its station removes it before an instant."""
    missing = record.state is ItemState.FAILED or (record.state is ItemState.SKIPPED and record.code == "cancelled")
    return missing and record.evicts is not None and record.evicts < warn_until


def page_of(answer: Answer, excerpt: Excerpt) -> str:
    """Return the report as one HTML page that needs nothing else; what did not go well stands first."""
    counts = answer.counts or Counts()
    title = f"{answer.label or 'Run'} {answer.run}"
    rows = sorted(excerpt.records(), key=lambda record: (record.state is not ItemState.FAILED, record.item_id))
    return _PAGE.format(
        title=escape(title),
        status=escape(answer.status),
        summary=escape(
            f"{counts.items} items in {answer.owner}/{answer.collection}: {counts.staged} staged, {counts.expanded} of "
            f"them expanded, {repaired_part(counts)}{counts.skipped} skipped, {counts.failed} failed; "
            f"{counts.bytes_downloaded:,} bytes downloaded; begun {answer.started}"
        ),
        rows="\n".join(_row(record) for record in rows),
        waits="".join(f"<p>{escape(printable(wait_sentence(wait)))}</p>" for wait in answer.waits),
        notices="".join(f"<p>{escape(printable(notice_sentence(notice)))}</p>" for notice in answer.notices),
        left_out=_LEFT_OUT.format(count=f"{excerpt.left_out:,}") if excerpt.left_out else "",
    )


def answer_item(record: ItemRecord, warn_until: float = 0) -> AnswerItem:
    """Return how an item ended, or how far it is; `warn_until` is that of `report_items`."""
    failed = record.state is ItemState.FAILED
    available = record.finished is not None and not failed and record.state is not ItemState.SKIPPED
    return AnswerItem(
        id=record.item_id,
        status=record.state,
        station=record.station,
        code=record.code,
        reason=record.reason,
        what_to_do=advice_for(record.code) if failed else "",
        size=record.size,
        bytes_downloaded=record.downloaded,
        attempts=record.attempts,
        published=_instant(record.published),
        available=_instant(record.finished) if available else None,
        evicts=_instant(record.evicts),
        warning=EVICTED_SOON if evicted_soon(record, warn_until) else "",
    )


def _failed_item(record: ItemRecord) -> FailedItem:
    reason = record.reason[:_LONGEST_REASON]
    return FailedItem(id=record.item_id, code=record.code, reason=reason, what_to_do=advice_for(record.code))


def _instant(seconds: float | None) -> str | None:
    return None if seconds is None else format_instant(datetime.fromtimestamp(seconds, UTC))


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
