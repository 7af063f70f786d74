"""`auxip demo`: the main job on an embedded stack, twice."""

import time

import click

from shared.stac.item import Json
from workers.cli.output import print_json, print_outcomes, run_json, summary
from workers.cli.watch import watch

_OWNER = "demo"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print one JSON object at the end")
def demo(as_json: bool) -> None:
    """Run a ValCover sweep on an embedded stack, then the same sweep again, which downloads nothing."""
    from local import samples
    from local.stack import Stack
    from workers.cli import fleet
    from workers.cli.enqueue import enqueue

    began = time.monotonic()
    _say("Starting Valkey, SeaweedFS, a STAC station and catalog with sample products, and a worker for each queue.")
    with Stack() as stack:
        fleet.adopt(stack)
        children = fleet.start_workers(stack)
        from workers.app import context

        ledger = context().ledger
        message: Json = {
            "env": {"owner_id": _OWNER},
            "start_datetime": samples.DEMO_START.isoformat(),
            "end_datetime": samples.DEMO_END.isoformat(),
            "product_type": [*samples.DEMO_PRODUCT_TYPES],
            "catalog_collection_identifier": stack.collection,
        }
        runs = []
        for intent in ("Staging what covers", "The same sweep again, for"):
            _say(f"{intent} {samples.DEMO_START:%Y-%m-%d %H:%M} to {samples.DEMO_END:%H:%M} UTC.")
            run = watch(ledger, enqueue("auxip.on_demand_staging", message), lambda: fleet.check(children))
            print_outcomes(list(ledger.items(run.id)))
            click.echo(summary(run) + "\n")
            runs.append(run)
    if as_json:
        print_json({"runs": [run_json(run) for run in runs], "seconds": round(time.monotonic() - began, 2)})
    done_and_idle = all(run.state == "successful" for run in runs) and runs[1].counts.bytes_downloaded == 0
    raise SystemExit(0 if done_and_idle else 1)


def _say(line: str) -> None:
    click.echo(line, err=True)
