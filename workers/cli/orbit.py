"""`auxip orbit`: the orbit file of a Sentinel-1 scene, found, downloaded or staged."""

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.filesize import decimal

from shared.errors import Rejected
from shared.json_types import Json
from shared.selection import OrbitSelection, Scene, orbit_kind
from shared.stac.item import Found
from shared.texts import printable
from shared.times import format_instant
from workers.cli.follow import run_to_its_end
from workers.cli.lookup import look_up
from workers.cli.printing import print_json


@click.command()
@click.argument("scene")
@click.option("--station", "stations", multiple=True, help="station to search; several are tried in this order")
@click.option(
    "--to",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="download the file into this folder; it is verified, and another file of its name stays",
)
@click.option("--stage", is_flag=True, help="have the workers stage it, and follow that to its end")
@click.option("--collection", default="aux", show_default=True, help="collection of the catalog, with --stage")
@click.option("--owner", default="auxip", show_default=True, help="on whose behalf, with --stage")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object, and with --stage that of the run")
def orbit(
    scene: str, stations: tuple[str, ...], folder: Path | None, stage: bool, collection: str, owner: str, as_json: bool
) -> None:
    """Find the orbit file of a Sentinel-1 SCENE: the precise one, else the restituted one.

    SCENE is the name of the product, with or without .SAFE. The file covers the scene and the orbit before it; of
    several the newest generation is taken. The status is 1 if there is none.
    """
    wanted = Scene.of(scene)
    found, paths = look_up(OrbitSelection(scene=scene), stations, folder)
    _show(wanted, found, paths, as_json)
    if stage:
        message: Json = {
            "env": {"owner_id": owner},
            "scene": wanted.name,
            "catalog_collection_identifier": collection,
            "station": list(stations) or None,
        }
        run_to_its_end("auxip.orbit", message, as_json)


def _show(scene: Scene, found: list[Found], paths: list[str], as_json: bool) -> None:
    """Print what was found.

    Raises:
        Rejected: `nothing-found`.
    """
    for one in found:
        if one.item is None:
            click.echo(printable(f"auxip: {one.item_id}: {one.code}: {one.reason}"), err=True)
    best = next((one for one in found if one.item is not None), None)
    if best is None or best.item is None:
        raise Rejected("nothing-found", f"no orbit file covers {scene.name}; {_due(scene)}")
    kind = orbit_kind(best.item)
    if as_json:
        print_json(
            {
                "scene": scene.name,
                "orbit": best.item_id,
                "kind": kind,
                "station": best.station,
                "size": best.item.size,
                "precise_due": format_instant(scene.due("precise")),
                "files": [*paths],
            }
        )
        return
    click.echo(printable(f"{best.item_id}: the {kind} orbit, {decimal(best.item.size)}, of the station {best.station}"))
    if kind == "restituted":
        click.echo(_due(scene))
    for path in paths:
        click.echo(path)


def _due(scene: Scene) -> str:
    due = scene.due("precise")
    verb = "is due" if due > datetime.now(UTC) else "was due"
    return f"the precise one {verb} about {format_instant(due)}"
