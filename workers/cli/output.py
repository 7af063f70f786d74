"""How runs are shown: tables for people, objects for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from shared.http.probes import Fault
from shared.json_types import Json
from shared.ledger import Letter, Outage
from shared.models import ItemRecord, Run, SweepRecord
from shared.report import Excerpt, repaired_part, report_wait, wait_sentence
from shared.stac.item import Found
from shared.texts import printable
from shared.times import format_instant

_STYLES = {
    "failed": "red",
    "partial": "yellow",
    "cancelled": "yellow",
    "skipped": "dim",
    "expanded": "green",
    "repaired": "yellow",
    "successful": "green",
}

_FAULTS: Final = {
    Fault.UNAVAILABLE: "has been unavailable",
    Fault.REFUSED: "refuses our credentials",
    Fault.BAD_ANSWER: "answers with something else than JSON",
    Fault.FULL: "is full",
}
_MOST_ROWS: Final = 1000
_AT_ONCE = 500


@dataclass(frozen=True)
class Progress:
    """How far a sweep by publication has come: its watermark, and where it would be now without any delay (epoch)."""

    watermark: float
    goal: float

    @property
    def behind(self) -> int:
        """By how many seconds it is behind."""
        return max(0, int(self.goal - self.watermark))


@dataclass(frozen=True)
class SweepStanding:
    """How a sweep stands: its last run if the ledger knows it, what else it knows, when it is due next (epoch)."""

    name: str
    schedule: str
    last: Run | None
    record: SweepRecord
    next: float
    progress: Progress | None = None


def run_json(run: Run) -> Json:
    """Return what a program wants to know of a run."""
    counts = run.counts
    return {
        "run": run.id,
        "label": run.request.label,
        "status": run.state.value,
        "code": run.code,
        "reason": run.reason,
        "items": counts.items,
        "staged": counts.staged,
        "repaired": counts.repaired,
        "skipped": counts.skipped,
        "expanded": counts.expanded,
        "failed": counts.failed,
        "bytes_downloaded": counts.bytes_downloaded,
        "seconds": None if run.seconds is None else round(run.seconds, 2),
        "artifact": run.artifact,
        "waits": [report_wait(wait).model_dump() for wait in run.waits],
    }


def print_run_json(run: Run, records: Iterable[ItemRecord]) -> None:
    """Print a run and, as its `results`, all of its items as one JSON object on a line of its own, as they come."""
    waiting, between = iter(records), ""
    click.echo(f'{json.dumps(run_json(run)).removesuffix("}")}, "results": [', nl=False)
    while batch := list(islice(waiting, _AT_ONCE)):
        click.echo(
            between + ", ".join(record.model_dump_json(exclude={"run_id"}, ensure_ascii=True) for record in batch),
            nl=False,
        )
        between = ", "
    click.echo("]}")


def summary(run: Run) -> str:
    """Return one line about a run."""
    counts = run.counts
    took = "" if run.seconds is None else f" in {run.seconds:.1f} s"
    line = (
        f"run {run.id[:8]} {run.state}: {counts.items} items, {counts.staged} staged ({counts.expanded} of them "
        f"expanded), {repaired_part(counts)}{counts.skipped} skipped, {counts.failed} failed; "
        f"{decimal(counts.bytes_downloaded)} downloaded{took}"
    )
    return printable(f"{line}; {run.code}: {run.reason}" if run.code else line)


def print_found(found: Iterable[Found]) -> None:
    """Print a table of what a station has of the files that were looked for."""
    table = Table("item", "state", "size", "why", box=None, header_style="bold")
    for column in table.columns:
        column.overflow = "fold"
    for one in found:
        if one.item is None:
            table.add_row(_text(one.item_id), "missing", "", _text(f"{one.code}: {one.reason}"), style="red")
        else:
            table.add_row(_text(one.item_id), "found", decimal(one.item.size), "", style="green")
    _console().print(table)


def print_items(records: Iterable[ItemRecord]) -> None:
    """Print a table of items, those that failed first: how each ended and, where there is anything to say, why."""
    excerpt = Excerpt(_MOST_ROWS)
    for record in records:
        excerpt.add(record)
    _print_excerpt(excerpt)


def print_outcomes(records: Iterable[ItemRecord]) -> None:
    """Print how the items of a run ended: a table, or one line where there was nothing to do for any of them."""
    excerpt = Excerpt(_MOST_ROWS)
    ends = set[tuple[str, str, str]]()
    for record in records:
        excerpt.add(record)
        if len(ends) < 2:
            ends.add((record.state, record.code, record.reason))
    match list(ends):
        case [("skipped", code, reason)]:
            click.echo(printable(f"all {excerpt.seen} items skipped: {code}, {reason}"))
        case _:
            _print_excerpt(excerpt)


def _print_excerpt(excerpt: Excerpt) -> None:
    records = excerpt.records()
    explained = any(record.code for record in records)
    table = Table("item", "state", "size", "downloaded", *(["why"] if explained else []), box=None, header_style="bold")
    for column in table.columns:
        column.overflow = "fold"
    for record in records:
        why = ": ".join(part for part in (record.code, record.reason) if part)
        cells = (record.item_id, record.state, decimal(record.size), decimal(record.downloaded))
        shown = (*cells, why) if explained else cells
        table.add_row(*map(_text, shown), style=_STYLES.get(record.state, ""))
    _console().print(table)
    if excerpt.left_out:
        click.echo(f"{excerpt.left_out} more items are not shown; --json and the report have all")


def print_runs(runs: Sequence[Run]) -> None:
    """Print a table of runs, and what they waited for."""
    table = Table(
        "run", "begun", "state", "items", "staged", "expanded", "repaired", "skipped", "failed", "downloaded", "label"
    )
    table.box = None
    for run in runs:
        counts = run.counts
        numbers = (counts.items, counts.staged, counts.expanded, counts.repaired, counts.skipped, counts.failed)
        cells = (
            run.id,
            _instant(run.created),
            run.state,
            *map(str, numbers),
            decimal(counts.bytes_downloaded),
        )
        table.add_row(*cells, _text(run.request.label), style=_STYLES.get(run.state, ""))
    _console().print(table)
    for run in runs:
        print_waits(run)


def print_waits(run: Run) -> None:
    """Print what a run waited for, a line for each system."""
    for wait in run.waits:
        click.echo(printable(f"run {run.id[:8]} {wait_sentence(report_wait(wait))}"))


def outages_json(outages: Mapping[str, Outage]) -> Json:
    """Return what a program wants to know of the systems that cannot be used."""
    return {
        system: {"since": _instant(each.since), "fault": each.fault, "code": each.code, "reason": each.reason}
        for system, each in outages.items()
    }


def print_outages(outages: Mapping[str, Outage]) -> None:
    """Print what runs wait for, a line for each system that cannot be used."""
    for system, outage in outages.items():
        text = f"the {system} {_FAULTS[Fault(outage.fault)]} since {_instant(outage.since)}: {outage.reason}"
        click.echo(printable(text))


def print_letters(letters: Iterable[Letter]) -> None:
    """Print a table of dead letters."""
    table = Table("letter", "parked", "kind", "where", "size", "again at", "why", box=None, header_style="bold")
    table.columns[-1].overflow = "fold"
    for letter in letters:
        due = "" if letter.due is None else _instant(letter.due)
        why = _text(f"{letter.code}: {letter.reason}")
        where = _text(letter.where)
        table.add_row(letter.id, _instant(letter.parked), letter.kind, where, decimal(letter.size), due, why)
    _console().print(table)


def sweep_json(standing: SweepStanding) -> Json:
    """Return what a program wants to know of a sweep; `left_out` is the newest tick that had no run.

    `watermark` and `behind`, in seconds, are those of a sweep by publication.
    """
    last, record, progress = standing.last, standing.record, standing.progress
    left_out: Json = {"tick": _instant(record.skipped or 0), "reason": record.reason}
    return {
        "sweep": standing.name,
        "schedule": standing.schedule,
        "last": None if last is None else {**run_json(last), "begun": _instant(last.created)},
        "left_out": None if record.skipped is None else left_out,
        "watermark": None if progress is None else _instant(progress.watermark),
        "behind": None if progress is None else progress.behind,
        "next": _instant(standing.next),
    }


def print_sweeps(sweeps: Iterable[SweepStanding]) -> None:
    """Print a table of sweeps: when each ran last, how that ended, how far it is behind, and when it is due next."""
    columns = ("sweep", "schedule", "next run", "behind", "last run", "begun", "outcome")
    table = Table(*columns, box=None, header_style="bold")
    for column in table.columns:
        column.overflow = "fold"
    for each in sweeps:
        last = each.last
        cells = ("", "") if last is None else (last.id, _instant(last.created))
        style = "" if last is None else _STYLES.get(last.state, "")
        behind = "" if each.progress is None else str(timedelta(seconds=each.progress.behind))
        table.add_row(each.name, each.schedule, _instant(each.next), behind, *cells, _text(_outcome(each)), style=style)
    _console().print(table)


def _outcome(standing: SweepStanding) -> str:
    last, record = standing.last, standing.record
    parts = []
    if last is not None:
        parts.append(f"{last.state}: {last.counts.items} items, {last.counts.failed} failed")
        parts += [f"{last.code}: {last.reason}"] if last.code else []
    if record.skipped is not None and record.skipped == record.tick:
        parts.append(f"{_instant(record.skipped)} left out: {record.reason}")
    return "; ".join(parts)


def _text(text: str) -> Text:
    """Return a cell of a table: no markup, and nothing that a terminal takes for a command, whatever a station says."""
    return Text(printable(text))


def _instant(seconds: float) -> str:
    return format_instant(datetime.fromtimestamp(int(seconds), UTC))


def _console() -> Console:
    # A pipe has no width: rows must not be cut for the 80 columns that a terminal is assumed to have.
    console = Console()
    return console if console.is_terminal else Console(width=200)
