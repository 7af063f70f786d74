"""`auxip sweeps`, `auxip sweep`: the sweeps of the settings' file, and one of them now."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from shared.context import Context
from shared.errors import Rejected
from shared.models import Run, SweepRecord
from shared.settings import load_settings
from workers.cli.follow import run_to_its_end
from workers.cli.output import SweepStanding, print_sweeps, sweep_json
from workers.cli.printing import print_json

if TYPE_CHECKING:
    from workers.sweeps import Sweep


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def sweeps(as_json: bool) -> None:
    """List the sweeps of AUXIP_SWEEPS_FILE: when each ran last, how that ended, and when it is due next."""
    from workers.sweeps import load_sweeps

    context = Context(load_settings())
    now = datetime.now(UTC)
    listed = [_standing(context, sweep, now) for sweep in load_sweeps(context.settings).values()]
    if as_json:
        print_json({"sweeps": [sweep_json(each) for each in listed]})
    else:
        print_sweeps(listed)


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object at the end")
def sweep(name: str, as_json: bool) -> None:
    """Run the sweep NAME now, also while another run of it goes on; its window is relative to now.

    The workers do it: it goes on if this command is interrupted, and `auxip show` tells how it ends.
    """
    from workers.sweeps import find_sweep

    find_sweep(load_settings(), name)
    run_to_its_end("auxip.sweep_now", {"name": name}, as_json)


def _standing(context: Context, sweep: "Sweep", now: datetime) -> SweepStanding:
    record = context.sweeps.record(sweep.name)
    due = sweep.next_due(now).timestamp()
    return SweepStanding(sweep.name, str(sweep.schedule), _last_run(context, record), record, due)


def _last_run(context: Context, record: SweepRecord) -> Run | None:
    runs = []
    for run_id in filter(None, (record.run, record.manual)):
        try:
            runs.append(context.ledger.run(run_id))
        except Rejected:
            continue  # the ledger has forgotten it
    return max(runs, key=lambda run: run.created, default=None)
