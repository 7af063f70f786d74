"""Follows a run until it is closed: a bar on a terminal, plain lines elsewhere; both told by the ledger."""

import sys
import time
from collections.abc import Callable, Iterator

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from shared.errors import Rejected
from shared.ledger import Ledger
from shared.models import Run

_POLL = 0.1
_PLAIN_EVERY = 1.0


def watch(ledger: Ledger, run_id: str, alive: Callable[[], None] = lambda: None) -> Run:
    """Show how far a run is until it is closed, and return its last record.

    Args:
        ledger: what tells how far it is.
        run_id: the run.
        alive: called again and again; raises where nobody is left who would work on the run.
    """
    shown = _bar if sys.stderr.isatty() else _lines
    return shown(_snapshots(ledger, run_id, alive))


def _snapshots(ledger: Ledger, run_id: str, alive: Callable[[], None]) -> Iterator[tuple[Run | None, int]]:
    """Yield the run's record, None until a worker has opened it, and the bytes that are in S3 so far."""
    while True:
        alive()
        run = _recorded(ledger, run_id)
        yield run, 0 if run is None else run.counts.bytes_finished + ledger.bytes_in_flight(run_id)
        if run is not None and run.closed is not None:
            return
        time.sleep(_POLL)


def _recorded(ledger: Ledger, run_id: str) -> Run | None:
    try:
        return ledger.run(run_id)
    except Rejected:
        return None


def _bar(snapshots: Iterator[tuple[Run | None, int]]) -> Run:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[items]}"),
        DownloadColumn(),
        TextColumn("{task.fields[downloaded]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("waiting for a worker", total=None, items="", downloaded="")
        for run, there in snapshots:
            if run is not None:
                total = run.counts.bytes_found or None
                downloaded = f"{decimal(run.counts.bytes_downloaded)} downloaded"
                progress.update(task, description=_phase(run), items=_items(run), downloaded=downloaded)
                progress.update(task, total=total, completed=there)
    return _last(run)


def _lines(snapshots: Iterator[tuple[Run | None, int]]) -> Run:
    said, when = "", 0.0
    for run, there in snapshots:
        line = _line(run, there)
        due = time.monotonic() - when >= _PLAIN_EVERY
        if line != said and (due or (run is not None and run.closed is not None)):
            click.echo(line, err=True)
            said, when = line, time.monotonic()
    return _last(run)


def _line(run: Run | None, there: int) -> str:
    if run is None:
        return "waiting for a worker"
    return f"{_phase(run)}: {_items(run)}, {decimal(there)} of {decimal(run.counts.bytes_found)}"


def _phase(run: Run) -> str:
    return "searching" if run.state == "accepted" else f"run {run.id[:8]} {run.state}"


def _items(run: Run) -> str:
    return f"{run.counts.finished}/{run.counts.items} items"


def _last(run: Run | None) -> Run:
    if run is None:
        raise RuntimeError("a run was followed to its end without a record of it")
    return run
