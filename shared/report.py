"""The report of a run for programs, and the parts of it that are sentences for people."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from shared.answer import Answer, AnswerItem, FailedItem, Problem, Waited
from shared.codes import advice_for
from shared.models import Counts, ItemRecord, ItemState, Notice, Run, Wait
from shared.times import format_instant

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
