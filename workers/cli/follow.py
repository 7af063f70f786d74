"""Puts a staging run on its queue and follows it to its end: what `auxip stage` and `auxip sweep` have in common."""

from typing import NoReturn

import click

from shared.json_types import Json
from workers.cli.connecting import checked_settings
from workers.cli.output import (
    NOTHING_FOUND,
    print_notices,
    print_outcomes,
    print_run_json,
    print_selected,
    summary,
    verdict,
)
from workers.cli.watch import watch


def run_to_its_end(task: str, message: Json, as_json: bool, error_if_empty: bool = False) -> NoReturn:
    """Send a public task, show how far its run is, print how it ended, and exit: 0 if all is well, else 1.

    Args:
        task: public name.
        message: its arguments, by name.
        as_json: print one object instead of a table and a line.
        error_if_empty: exit with 1 if nothing is found, too.
    """
    checked_settings()
    from workers.app import context
    from workers.cli.enqueue import enqueue, raise_if_refused, workers_answer

    ledger = context().ledger
    run_id = enqueue(task, message)
    if not workers_answer():
        click.echo("no worker answers on the broker: the run waits for one (`auxip up`, or your deployment)", err=True)
    try:
        run = watch(ledger, run_id, lambda: raise_if_refused(run_id))
    except KeyboardInterrupt:
        click.echo(f"the run goes on without us: auxip show {run_id}", err=True)
        raise
    records = ledger.items(run_id)
    if as_json:
        print_run_json(run, records, ledger.failed_items(run))
    else:
        print_outcomes(records)
        click.secho(summary(run), fg="yellow" if verdict(run) == NOTHING_FOUND else None)
        print_notices(run)
        print_selected(run)
    well = run.state == "successful" and not (error_if_empty and verdict(run) == NOTHING_FOUND)
    raise SystemExit(0 if well else 1)
