"""How runs are shown: tables for people, objects for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

import click
from rich.filesize import decimal

from shared.http.probes import Fault
from shared.json_types import Json
from shared.ledger import Letter, Outage
from shared.models import ItemRecord, Run, RunState, SweepRecord
from shared.report import (
    NOT_IN_REPORT,
    Excerpt,
    answer_item,
    answer_of_run,
    notice_sentence,
    repaired_part,
    report_wait,
    wait_sentence,
)
from shared.stac.item import Found
from shared.texts import printable
from shared.times import format_instant
from workers.cli.tables import STYLES, Column, ago, console, marked, print_entries, print_table, short_id

_FAULTS: Final = {
    Fault.UNAVAILABLE: "has been unavailable",
    Fault.REFUSED: "refuses our credentials",
    Fault.BAD_ANSWER: "answers with something else than JSON",
    Fault.FULL: "is full",
}
NOTHING_FOUND: Final = "nothing found"
_OFFERS_NONE: Final = "offers no such item for this request; check the spelling of the type"
_MOST_ROWS: Final = 1000
_WHY: Final = 24
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


def run_json(run: Run, failed: Sequence[ItemRecord] = ()) -> Json:
    """Return what a program wants to know of a run: an answer without its items.

    Args:
        run: its record.
        failed: records of its first failed items.
    """
    return answer_of_run(run, failed).model_dump(mode="json", exclude=NOT_IN_REPORT)


def print_run_json(run: Run, records: Iterable[ItemRecord], failed: Sequence[ItemRecord] = ()) -> None:
    """Print a run and all of its items as one JSON object on a line of its own, the items as they come."""
    waiting, between = iter(records), ""
    click.echo(f'{json.dumps(run_json(run, failed)).removesuffix("}")}, "items": [', nl=False)
    while batch := list(islice(waiting, _AT_ONCE)):
        click.echo(
            between + ", ".join(answer_item(record).model_dump_json(ensure_ascii=True) for record in batch),
            nl=False,
        )
        between = ", "
    click.echo("]}")


def summary(run: Run) -> str:
    """Return one line about a run."""
    counts = run.counts
    took = "" if run.seconds is None else f" in {run.seconds:.1f} s"
    line = (
        f"run {short_id(run.id)} {verdict(run)}: {counts.items} items, {counts.staged} staged "
        f"({counts.expanded} of them expanded), {repaired_part(counts)}{counts.skipped} skipped, {counts.failed} "
        f"failed; {decimal(counts.bytes_downloaded)} downloaded{took}"
    )
    return printable(f"{line}; {run.code}: {run.reason}" if run.code else line)


def print_found(found: Iterable[Found]) -> None:
    """Print a table of what a station has of the files that were looked for."""
    _print_named(("item", "state", "size", "why"), [_found_row(one) for one in found])


def _found_row(found: Found) -> tuple[str, tuple[str, ...]]:
    if found.item is None:
        return "red", (found.item_id, marked("missing"), "", f"{found.code}: {found.reason}")
    return "green", (found.item_id, marked("found"), decimal(found.item.size), "")


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
    rows = [(STYLES.get(record.state, ""), _item_cells(record)) for record in records]
    _print_named(("item", "state", "size", "downloaded", "why"), rows)
    if excerpt.left_out:
        click.echo(f"{excerpt.left_out} more items are not shown; --json and the report have all")


def _print_named(headers: tuple[str, ...], rows: list[tuple[str, tuple[str, ...]]]) -> None:
    """Print a table whose first column is a name; where names are too wide for it, an entry for each."""
    if _width(headers, [cells for _, cells in rows]) <= console().width:
        print_table([Column(header, whole=header == "state") for header in headers], rows)
    else:
        print_entries((style, name, ", ".join(filter(None, cells))) for style, (name, *cells) in rows)


def _width(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> int:
    """Return how wide such a table is at least, where no name is broken and reasons have some room."""
    *names, why = [max(map(len, cells)) for cells in zip(*rows, strict=True)] or [0]
    wanted = [max(longest, len(header)) + 2 for longest, header in zip(names, headers, strict=False) if longest]
    return sum(wanted) + (_WHY if why else 0)


def _item_cells(record: ItemRecord) -> tuple[str, ...]:
    downloaded = f"{decimal(record.downloaded)}" if record.downloaded else ""
    why = ": ".join(part for part in (record.code, record.reason) if part)
    return (record.item_id, marked(record.state), decimal(record.size), downloaded, why)


def print_runs(runs: Sequence[Run]) -> None:
    """Print a table of runs, and what they waited for."""
    columns = (Column("run", whole=True), Column("begun", whole=True), Column("state", whole=True), Column("outcome"))
    print_table(columns, [(STYLES.get(verdict(run), ""), _run_cells(run)) for run in runs])
    for run in runs:
        print_waits(run)


def verdict(run: Run) -> str:
    """Return the state of a run for people: one that is successful and has found nothing says so."""
    return NOTHING_FOUND if run.state is RunState.SUCCESSFUL and not run.counts.items else run.state


def _run_cells(run: Run) -> tuple[str, ...]:
    counts = run.counts
    named = {
        "staged": counts.staged,
        "expanded": counts.expanded,
        "repaired": counts.repaired,
        "skipped": counts.skipped,
        "failed": counts.failed,
    }
    numbers = ", ".join(f"{number} {name}" for name, number in named.items() if number)
    items = f"{counts.items} items" + (f": {numbers}" if numbers else "")
    downloaded = f"{decimal(counts.bytes_downloaded)} downloaded" if counts.bytes_downloaded else ""
    outcome = "; ".join(filter(None, (items, downloaded, run.code, run.request.label)))
    return (short_id(run.id), ago(run.created), marked(verdict(run)), outcome)


def print_waits(run: Run) -> None:
    """Print what a run waited for, a line for each system."""
    for wait in run.waits:
        click.echo(printable(f"run {short_id(run.id)} {wait_sentence(report_wait(wait))}"))


def print_notices(run: Run) -> None:
    """Print what the caller of a run should know, a line for each notice."""
    for notice in run.notices:
        click.echo(printable(notice_sentence(notice)))


def print_selected(run: Run) -> None:
    """Print the product types of which nothing was selected, a line for each: one of them may be misspelt."""
    for each in run.selected:
        if not each.selected:
            found = f"offers {each.offered} items, and no policy selects one" if each.offered else _OFFERS_NONE
            click.echo(printable(f"nothing of {each.product_type}: the station {found}"))


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
    columns = (Column("letter", whole=True), Column("parked", whole=True), Column("what"))
    print_table(columns, [("", (letter.id, ago(letter.parked), _said_of(letter))) for letter in letters])


def _said_of(letter: Letter) -> str:
    place = f"of run {short_id(letter.where)}" if letter.kind == "item" else f"of {letter.where}"
    again = "" if letter.due is None else f"; again {ago(letter.due)}"
    return f"{letter.kind} {place}: {letter.code}: {letter.reason}{again}"


def sweep_json(standing: SweepStanding) -> Json:
    """Return what a program wants to know of a sweep; `left_out` is the newest tick that had no run.

    `watermark` and `behind`, in seconds, are those of a sweep by publication.
    """
    last, record, progress = standing.last, standing.record, standing.progress
    left_out: Json = {"tick": _instant(record.skipped or 0), "reason": record.reason}
    return {
        "sweep": standing.name,
        "schedule": standing.schedule,
        "last": None if last is None else run_json(last),
        "left_out": None if record.skipped is None else left_out,
        "watermark": None if progress is None else _instant(progress.watermark),
        "behind": None if progress is None else progress.behind,
        "next": _instant(standing.next),
    }


def print_sweeps(sweeps: Iterable[SweepStanding]) -> None:
    """Print a table of sweeps: when each is due next, how its last run ended, how far it is behind."""
    columns = (Column("sweep", whole=True), Column("next", whole=True), Column("last run", whole=True), Column("what"))
    print_table(columns, [_sweep_row(each) for each in sweeps])


def _sweep_row(standing: SweepStanding) -> tuple[str, tuple[str, ...]]:
    last, progress = standing.last, standing.progress
    behind = "" if progress is None else f"{timedelta(seconds=progress.behind)} behind"
    what = "; ".join(filter(None, (standing.schedule, behind, _outcome(standing))))
    run = "" if last is None else short_id(last.id)
    return "" if last is None else STYLES.get(verdict(last), ""), (standing.name, ago(standing.next), run, what)


def _outcome(standing: SweepStanding) -> str:
    last, record = standing.last, standing.record
    parts = []
    if last is not None:
        parts.append(
            f"{ago(last.created)} {marked(verdict(last))}: {last.counts.items} items, {last.counts.failed} failed"
        )
        parts += [f"{last.code}: {last.reason}"] if last.code else []
    if record.skipped is not None and record.skipped == record.tick:
        parts.append(f"{_instant(record.skipped)} left out: {record.reason}")
    return "; ".join(parts)


def _instant(seconds: float) -> str:
    return format_instant(datetime.fromtimestamp(int(seconds), UTC))
