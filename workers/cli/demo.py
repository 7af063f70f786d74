"""`auxip demo`: the main job on an embedded stack, twice, and once more from a station of another kind."""

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
    """Run a ValCover sweep on an embedded stack, then the same sweep again, which downloads nothing.

    A third sweep asks a station that speaks OData and has the same products.
    """
    from local.stack import Stack
    from workers.cli import fleet

    began = time.monotonic()
    _say("Starting Valkey, SeaweedFS, a STAC API that is station and catalog, a station that speaks OData, both with")
    _say("the same sample products, and a worker for each queue.")
    with Stack() as stack:
        fleet.adopt(stack)
        children = [*fleet.start_workers(stack), fleet.start_gate(stack)]
        _say("Staging what covers the window:")
        runs = [_sweep(stack.collection, children)]
        _say("The same sweep again:")
        runs.append(_sweep(stack.collection, children))
        _say('The same sweep at the station that speaks OData (kind = "odata"): it offers the same files.')
        runs.append(_sweep(stack.collection, children, station="odata"))
    if as_json:
        print_json({"runs": [run_json(run) for run in runs], "seconds": round(time.monotonic() - began, 2)})
    well = all(run.state is RunState.SUCCESSFUL for run in runs)
    well = well and not any(run.counts.bytes_downloaded for run in runs[1:])
    raise SystemExit(0 if well else 1)


def _sweep(collection: str, children: "list[Child]", station: str | None = None) -> Run:
    from workers.app import context
    from workers.cli import fleet
    from workers.cli.enqueue import enqueue
    from workers.cli.watch import watch

    run_id = enqueue("auxip.on_demand_staging", _message(collection, station))
    run = watch(context().ledger, run_id, lambda: fleet.check(children))
    print_outcomes(context().ledger.items(run_id))
    click.echo(f"{summary(run)}\n")
    return run


def _message(collection: str, station: str | None) -> Json:
    from local import samples

    return {
        "env": {"owner_id": "demo"},
        "start_datetime": samples.DEMO_START.isoformat(),
        "end_datetime": samples.DEMO_END.isoformat(),
        "product_type": [*samples.DEMO_PRODUCT_TYPES],
        "catalog_collection_identifier": collection,
        "station": station,
    }


def _say(line: str) -> None:
    click.echo(line, err=True)
