"""`auxip aux`: the auxiliary files that a Sentinel-1 product names, found, downloaded or staged."""

from pathlib import Path
from typing import get_args

import click

from shared.archives.rules import WantedLayout
from shared.errors import Rejected
from shared.json_types import Json
from shared.selection import NamesSelection, inputs_of
from shared.stac.item import Found
from shared.texts import printable
from workers.cli.follow import run_to_its_end
from workers.cli.lookup import look_up
from workers.cli.output import print_found
from workers.cli.printing import print_json


@click.command("aux")
@click.argument("product", type=click.Path(exists=True, path_type=Path))
@click.option("--station", help="station to search; the default one, if not given")
@click.option(
    "--to",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="download the files into this folder; they are verified, and other files of their names stay",
)
@click.option("--stage", is_flag=True, help="have the workers stage them, and follow that to its end")
@click.option("--collection", default="aux", show_default=True, help="collection of the catalog, with --stage")
@click.option("--owner", default="auxip", show_default=True, help="on whose behalf, with --stage")
@click.option("--layout", type=click.Choice(get_args(WantedLayout)), help="of expanded archives, with --stage")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object, and with --stage that of the run")
def inputs(
    product: Path,
    station: str | None,
    folder: Path | None,
    stage: bool,
    collection: str,
    owner: str,
    layout: str | None,
    as_json: bool,
) -> None:
    """Find the auxiliary files that a Sentinel-1 PRODUCT was made with.

    PRODUCT is its folder, its manifest.safe or a zip of the folder: the manifest names them. The status is 1 if the
    station lacks one.
    """
    names = inputs_of(product)
    if not names:
        raise Rejected("nothing-found", f"the manifest of {product} names no auxiliary file")
    found, paths = look_up(NamesSelection(names=names), [station] if station else [], folder)
    if as_json:
        print_json({"product": product.name, "inputs": [_as_json(one) for one in found], "files": [*paths]})
    else:
        print_found(found)
        for path in paths:
            click.echo(printable(path))
    if stage:
        message: Json = {
            "env": {"owner_id": owner},
            "names": [*names],
            "catalog_collection_identifier": collection,
            "station": station,
            "layout": layout,
        }
        run_to_its_end("auxip.aux", message, as_json)
    raise SystemExit(0 if all(one.item is not None for one in found) else 1)


def _as_json(found: Found) -> Json:
    size = None if found.item is None else found.item.size
    return {"name": found.item_id, "found": found.item is not None, "size": size, "code": found.code}
