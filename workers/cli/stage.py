"""`auxip stage`: one staging run, followed to its end."""

import json
from pathlib import Path

import click

from shared.errors import Rejected
from shared.stac.item import Json
from workers.cli.follow import run_to_its_end
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
@click.option("--collection", default="aux", show_default=True, help="collection of the catalog")
@click.option("--owner", default="auxip", show_default=True, help="on whose behalf: the first part of the S3 keys")
@click.option("--timeout", default=-1.0, help="seconds that the search may take; negative: no limit")
@click.option("--decompress/--no-decompress", default=True, show_default=True, help="expand the archives")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object at the end")
def stage(
    start: str | None,
    end: str | None,
    product_types: tuple[str, ...],
    filter_file: Path | None,
    collection: str,
    owner: str,
    timeout: float,
    decompress: bool,
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
    run_to_its_end(task, message, as_json)


def _filter(file: Path) -> Json:
    try:
        with file.open("rb") as opened:
            document = json.loads(opened.read(_LARGEST_FILTER))
    except (OSError, ValueError, RecursionError) as error:
        raise Rejected("bad-filter", f"{file} is no JSON file: {error}") from None
    if not isinstance(document, dict):
        raise Rejected("bad-filter", f"{file} holds no JSON object")
    return document
