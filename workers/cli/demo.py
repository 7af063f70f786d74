"""`auxip demo`: the main job on an embedded stack, twice."""

import time
from typing import TYPE_CHECKING

import click

from shared.json_types import Json
from shared.models import Run, RunState
from workers.cli.output import print_outcomes, run_json, summary
from workers.cli.printing import print_json

if TYPE_CHECKING:
    from local.processes import Child


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print one JSON object at the end")
def demo(as_json: bool) -> None:
    """Run a ValCover sweep on an embedded stack, then the same sweep again, which downloads nothing."""
    from local.stack import Stack
    from workers.cli import fleet

    began = time.monotonic()
    _say("Starting Valkey, SeaweedFS, a STAC station and catalog with sample products, and a worker for each queue.")
    with Stack() as stack:
        fleet.adopt(stack)
        children = [*fleet.start_workers(stack), fleet.start_gate(stack)]
        _say("Staging what covers the window:")
        first = _sweep(stack.collection, children)
        _say("The same sweep again:")
        second = _sweep(stack.collection, children)
    if as_json:
        print_json({"runs": [run_json(first), run_json(second)], "seconds": round(time.monotonic() - began, 2)})
    well = first.state is second.state is RunState.SUCCESSFUL and second.counts.bytes_downloaded == 0
    raise SystemExit(0 if well else 1)


def _sweep(collection: str, children: "list[Child]") -> Run:
    from workers.app import context
    from workers.cli import fleet
    from workers.cli.enqueue import enqueue
    from workers.cli.watch import watch

    run_id = enqueue("auxip.on_demand_staging", _message(collection))
    run = watch(context().ledger, run_id, lambda: fleet.check(children))
    print_outcomes(context().ledger.items(run_id))
    click.echo(f"{summary(run)}\n")
    return run


def _message(collection: str) -> Json:
    from local import samples

    return {
        "env": {"owner_id": "demo"},
        "start_datetime": samples.DEMO_START.isoformat(),
        "end_datetime": samples.DEMO_END.isoformat(),
        "product_type": [*samples.DEMO_PRODUCT_TYPES],
        "catalog_collection_identifier": collection,
    }


def _say(line: str) -> None:
    click.echo(line, err=True)
