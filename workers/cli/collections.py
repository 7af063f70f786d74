"""`auxip collection`: the collections of the catalog that receive what is staged."""

import click
from pydantic import TypeAdapter, ValidationError

from shared.context import Context
from shared.models import CollectionId, OwnerId
from shared.settings import load_settings
from shared.stac.collections import create_collection
from workers.cli.printing import print_json


@click.group()
def collection() -> None:
    """Prepare the catalog's collections."""


@collection.command()
@click.argument("name")
@click.option("--description", default="Auxiliary products", show_default=True, help="what it says to people")
@click.option("--owner", help="whose key is sent, and whose it is in RS-Server; else AUXIP_DEFAULT_OWNER")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def create(name: str, description: str, owner: str | None, as_json: bool) -> None:
    """Create the collection NAME in the catalog of AUXIP_CATALOG_URL. One that exists already stays as it is.

    The queries of policies compare `product:type`, `start_datetime` and others: pgSTAC has to know their types. Load
    them once, see docs/howto/catalog.md.
    """
    _require("NAME", TypeAdapter(CollectionId), name)
    _require("--owner", TypeAdapter(OwnerId), owner or "default")
    context = Context(load_settings())
    chosen = owner or context.settings.default_owner
    try:
        created = create_collection(context.catalog_of(chosen), name, description, chosen)
    finally:
        context.close()
    if as_json:
        print_json({"collection": name, "created": created})
    else:
        done = "is created" if created else "exists already, and stays as it is"
        click.echo(f"collection {name} {done} ({context.settings.catalog_url})")


def _require(what: str, kind: TypeAdapter[str], value: str) -> None:
    try:
        kind.validate_python(value)
    except ValidationError as error:
        raise click.BadParameter(error.errors()[0]["msg"], param_hint=what) from None
