"""`auxip stage`: one staging run, followed to its end."""

import json
from pathlib import Path
from typing import get_args

import click

from shared.archives.rules import WantedLayout
from shared.errors import Rejected
from shared.json_types import Json
from shared.models import RunRequest
from shared.selection import Given, PolicyName
from shared.settings import load_settings
from shared.stac.item import Found
from workers.cli.follow import run_to_its_end
from workers.cli.lookup import look_up
from workers.cli.output import NOTHING_FOUND, print_found
from workers.cli.parameters import Parameter, Seconds
from workers.cli.printing import print_json
from workers.contract import OnDemandMessage, StagingMessage, decode

_LARGEST_FILTER = 2**20
_USAGE = "give --product-type (and --start and --end, if the policy looks at a window), --filter FILE, or --query NAME"


@click.command()
@click.option("--start", "start_datetime", help="begin of the window, such as 2024-03-25T09:00:00Z")
@click.option("--end", "end_datetime", help="end of the window")
@click.option("--product-type", multiple=True, help="product type; may be given several times")
@click.option(
    "--policy",
    multiple=True,
    type=click.Choice(get_args(PolicyName)),
    help="selection policy, ValCover if none is given; a second one is asked where the first selects nothing",
)
@click.option("--platform", help="such as sentinel-1a; any, if not given")
@click.option("--before", type=Seconds(), help="margin by which the window begins earlier: 6000s, 15m, 6h, 1d")
@click.option("--after", type=Seconds(), help="margin by which the window ends later")
@click.option("--query", help="named query of the workers' AUXIP_QUERIES_FILE, instead of a policy")
@click.option("--param", "parameters", multiple=True, type=Parameter(), help="parameter of the named query")
@click.option(
    "--filter",
    "filter_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="file with CQL2-JSON: a filter, or an object of filter, limit and sortby; instead of a policy",
)
@click.option("--station", "stations", multiple=True, help="station to search; several are tried in this order")
@click.option("--collection", default="aux", show_default=True, help="collection of the catalog")
@click.option("--owner", default="auxip", show_default=True, help="on whose behalf: the first part of the S3 keys")
@click.option("--timeout", default=-1.0, help="seconds that the search may take; negative: no limit")
@click.option("--decompress/--no-decompress", default=True, show_default=True, help="expand the archives")
@click.option("--asset", "assets", multiple=True, help="key of an asset; others stay; may be given several times")
@click.option("--layout", type=click.Choice(get_args(WantedLayout)), help="of expanded archives; that of the workers")
@click.option(
    "--member",
    "members",
    multiple=True,
    help="expand only the members that match, such as '*.xml' or 'folder/**'; may be given several times",
)
@click.option("--strip", default=0, show_default=True, help="leading folders to remove from the paths of members")
@click.option("--dbl", is_flag=True, help="expand .DBL files as well, those that are a tar or a tgz")
@click.option("--dry-run", is_flag=True, help="only search, from here, and show what would be staged")
@click.option("--error-if-empty", is_flag=True, help="exit with 1 if nothing is found")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object at the end")
def stage(
    query: str | None,
    parameters: tuple[tuple[str, str], ...],
    filter_file: Path | None,
    stations: tuple[str, ...],
    collection: str,
    owner: str,
    timeout: float,
    decompress: bool,
    assets: tuple[str, ...],
    layout: str | None,
    members: tuple[str, ...],
    strip: int,
    dbl: bool,
    dry_run: bool,
    error_if_empty: bool,
    as_json: bool,
    **policy_options: str | float | tuple[str, ...] | None,
) -> None:
    """Stage what selection policies select, or what a CQL2 filter or a named query finds.

    The workers do it: it goes on if this command is interrupted, and `auxip show` tells how it ends.
    """
    common: Json = {
        "env": {"owner_id": owner},
        "catalog_collection_identifier": collection,
        "timeout_seconds": timeout,
        "decompress": decompress,
        "asset_names": list(assets) or None,
        "station": list(stations) or None,
        "layout": layout,
        "members": list(members) or None,
        "strip": strip,
        "dbl": dbl,
    }
    by_policy = _given(policy_options)
    if [bool(by_policy), filter_file is not None, query is not None].count(True) != 1 or (parameters and not query):
        raise click.UsageError(_USAGE)
    if by_policy:
        task, message = "auxip.on_demand_staging", {**common, **by_policy}
        _check_policy(message)
    else:
        cql2 = _filter(filter_file) if filter_file else _named(query, parameters)
        task, message = "auxip.staging", {**common, "cql2_filter": cql2}
        decode(StagingMessage, **message)  # which queries there are, the workers know
    if dry_run:
        _only_search(_request(message), as_json, error_if_empty)
    else:
        run_to_its_end(task, message, as_json, error_if_empty)


def _request(message: Json) -> RunRequest:
    """Return what a worker would do for a message; a named query is of this process's AUXIP_QUERIES_FILE."""
    if "cql2_filter" in message:
        return decode(StagingMessage, **message).request(load_settings().queries_file)
    return decode(OnDemandMessage, **message).request()


def _only_search(request: RunRequest, as_json: bool, error_if_empty: bool) -> None:
    """Print what the station has of what is asked for, and exit as the run would for what it finds."""
    if isinstance(request.selection, Given):
        raise click.UsageError(_USAGE)
    found, _ = look_up(request.selection, request.stations, None)
    if request.asset_names is not None:
        found = [one.with_assets(request.asset_names) for one in found]
    if as_json:
        print_json({"found": [_as_json(one) for one in found]})
    elif not found:
        click.secho(NOTHING_FOUND, fg="yellow")
    else:
        print_found(found)
        usable = sum(one.item is not None for one in found)
        click.echo(f"{usable} items would be staged, but those that are there already")
    if error_if_empty and not found:
        raise SystemExit(1)


def _as_json(found: Found) -> Json:
    size = None if found.item is None else found.item.size
    return {"item": found.item_id, "station": found.station, "size": size, "code": found.code, "reason": found.reason}


def _given(options: dict[str, str | float | tuple[str, ...] | None]) -> Json:
    return {
        name: [*value] if isinstance(value, tuple) else value
        for name, value in options.items()
        if value is not None and value != ()
    }


def _check_policy(message: Json) -> None:
    if "product_type" not in message:
        raise click.UsageError(_USAGE)
    decode(OnDemandMessage, **message).request()


def _named(query: str | None, parameters: tuple[tuple[str, str], ...]) -> Json:
    return {"query": query, "parameters": dict(parameters)}


def _filter(file: Path) -> Json:
    try:
        with file.open("rb") as opened:
            document = json.loads(opened.read(_LARGEST_FILTER))
    except (OSError, ValueError, RecursionError) as error:
        raise Rejected("bad-filter", f"{file} is no JSON file: {error}") from None
    if not isinstance(document, dict):
        raise Rejected("bad-filter", f"{file} holds no JSON object")
    return document
