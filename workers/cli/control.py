"""`auxip cancel`, `auxip reconcile`: an operator's hand on runs that go on."""

import click

from shared.errors import Rejected
from shared.json_types import Json
from shared.ledger import lease
from shared.runs.reconcile import reconcile as plans_to_repeat
from workers.cli.connecting import checked_settings, connected
from workers.cli.printing import print_json


@click.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def cancel(run: str, as_json: bool) -> None:
    """Begin nothing new of a run. RUN is its id, or the beginning of it; what was done stays."""
    ledger = connected().ledger
    found = ledger.find_run(run)
    if not ledger.cancel_run(found.id):
        state = "closed" if found.closed else "cancelled"
        raise Rejected("not-cancelled", f"the run {found.id} was {state} already (auxip show {found.id})")
    if as_json:
        print_json({"run": found.id, "cancelled": True})
    else:
        click.echo(f"run {found.id} is cancelled: what is being done ends, nothing else begins")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def reconcile(as_json: bool) -> None:
    """Put steps on their queues again that were lost or that no worker works on, as beat does all the time."""
    checked_settings()
    from workers.app import context
    from workers.base import publish

    with lease(context().ledger.redis, "reconcile", context().settings.lease):
        plans = list(plans_to_repeat(context()))
        publish(plans)
    begun = [step for plan in plans for step in plan[0]]
    if as_json:
        published: list[Json] = [{"step": step.name, "message": [*step.args]} for step in begun]
        print_json({"published": [*published]})
        return
    for step in begun:
        click.echo(f"{step.name} {' '.join(step.args)}")
    click.echo(f"{len(begun)} steps were published again")
