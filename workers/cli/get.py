"""`auxip get`: the files of a staged item in a folder of this machine."""

from pathlib import Path

import click

from shared.steps.save import save_item
from shared.texts import printable
from workers.cli.connecting import connected
from workers.cli.printing import print_json


@click.command()
@click.argument("item")
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="the folder; the files are verified, and other files of their names stay",
)
@click.option("--collection", default="aux", show_default=True, help="collection of the catalog")
@click.option("--owner", default="auxip", show_default=True, help="with whose key the catalog is asked")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def get(item: str, folder: Path, collection: str, owner: str, as_json: bool) -> None:
    """Copy the files of a staged ITEM from S3 into a folder. ITEM is its id in the catalog.

    The content of an expanded archive comes into a folder of its own.
    """
    paths = []
    for path in save_item(connected(), owner, collection, item, folder):
        paths.append(str(path))
        if not as_json:
            click.echo(printable(str(path)))
    if as_json:
        print_json({"item": item, "files": [*paths]})
