"""`auxip stage`: one staging run, followed to its end."""

import json
from pathlib import Path

import click

from shared.errors import Rejected
from shared.stac.item import Json
from workers.cli.output import item_json, print_json, print_outcomes, run_json, summary
from workers.cli.watch import watch
from workers.contract import OnDemandMessage, StagingMessage, decode

_LARGEST_FILTER = 2**20


@click.command()
@click.option("--start", help="begin of the window that the validity must cover, such as 2024-03-25T09:00:00Z")
@click.option("--end", help="end of the window")
@click.option("--product-type", "product_types", multiple=True, help="product type; may be given several times")
@click.option(
    "--filter",
    "filter_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="file with CQL2-JSON: a filter, or an object of filter, limit and sortby; instead of a window",
)
@click.option("--station", "stations", multiple=True, help="station to search; several are tried in this order")
@click.option("--collection", default="aux", show_default=True, help="collection of the catalog")
@click.option("--owner", default="auxip", show_default=True, help="on whose behalf: the first part of the S3 keys")
@click.option("--timeout", default=-1.0, help="seconds that the search may take; negative: no limit")
@click.option("--decompress/--no-decompress", default=True, show_default=True, help="expand the archives")
@click.option("--asset", "assets", multiple=True, help="key of an asset; others stay; may be given several times")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object at the end")
def stage(
    start: str | None,
    end: str | None,
    product_types: tuple[str, ...],
    filter_file: Path | None,
    stations: tuple[str, ...],
    collection: str,
    owner: str,
    timeout: float,
    decompress: bool,
    assets: tuple[str, ...],
    as_json: bool,
) -> None:
    """Stage what covers a window (ValCover), or what a CQL2 filter finds.

    The workers do it: it goes on if this command is interrupted, and `auxip show` tells how it ends.
    """
    common: Json = {
        "env": {"owner_id": owner},
        "catalog_collection_identifier": collection,
        "timeout_seconds": timeout,
        "decompress": decompress,
        "asset_names": list(assets) or None,
        "station": list(stations) or None,
    }
    if filter_file is not None:
        task, message = "auxip.staging", {**common, "cql2_filter": _filter(filter_file)}
        decode(StagingMessage, **message).request()
    elif start and end and product_types:
        window: Json = {"start_datetime": start, "end_datetime": end, "product_type": list(product_types)}
        task, message = "auxip.on_demand_staging", {**common, **window}
        decode(OnDemandMessage, **message).request()
    else:
        raise click.UsageError("give --start, --end and --product-type, or --filter FILE")
    _run(task, message, as_json)


def _run(task: str, message: Json, as_json: bool) -> None:
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
    records = list(ledger.items(run_id))
    if as_json:
        print_json({**run_json(run), "results": [item_json(record) for record in records]})
    else:
        print_outcomes(records)
        click.echo(summary(run))
    raise SystemExit(0 if run.state == "successful" else 1)


def _filter(file: Path) -> Json:
    try:
        with file.open("rb") as opened:
            document = json.loads(opened.read(_LARGEST_FILTER))
    except (OSError, ValueError, RecursionError) as error:
        raise Rejected("bad-filter", f"{file} is no JSON file: {error}") from None
    if not isinstance(document, dict):
        raise Rejected("bad-filter", f"{file} holds no JSON object")
    return document
