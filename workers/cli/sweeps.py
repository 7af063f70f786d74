"""`auxip sweeps`, `auxip sweep`: the sweeps of the settings' file, and one of them now."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from shared.context import Context
from shared.errors import Rejected
from shared.json_types import Json
from shared.models import Run, SweepRecord
from shared.settings import load_settings
from shared.times import format_instant
from workers.cli.connecting import connected
from workers.cli.follow import run_to_its_end
from workers.cli.output import SweepStanding, print_sweeps, sweep_json
from workers.cli.printing import print_json

if TYPE_CHECKING:
    from workers.sweeps import RecurringAudit, Sweep


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def sweeps(as_json: bool) -> None:
    """List the sweeps and audits of AUXIP_SWEEPS_FILE: their last runs, how these ended, and when each is due next."""
    from workers.sweeps import load_audits, load_sweeps

    context = connected()
    now = datetime.now(UTC)
    listed = [_standing(context, sweep, now) for sweep in load_sweeps(context.settings).values()]
    audits = [_audit(context, audit, now) for audit in load_audits(context.settings).values()]
    if as_json:
        print_json({"sweeps": [sweep_json(each) for each in listed], "audits": [*audits]})
        return
    print_sweeps(listed)
    for each in audits:
        click.echo(f"audit {each['audit']} of {each['collection']}, {each['schedule']}: {_outcome(each)}")


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


def _audit(context: Context, audit: "RecurringAudit", now: datetime) -> Json:
    """Return what a program wants to know of a recurring audit; `last` is the summary of the newest that has ended."""
    last = context.audits.last(audit.name)
    return {
        "audit": audit.name,
        "collection": audit.collection,
        "schedule": str(audit.schedule),
        "next": format_instant(audit.next_due(now).replace(microsecond=0)),
        "last": json.loads(last) if last else None,
    }


def _outcome(audit: Json) -> str:
    last = audit["last"]
    if not isinstance(last, dict):
        return f"has not ended yet; next {audit['next']}"
    return f"{last['findings']} findings, report {last['report']}; next {audit['next']}"


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
