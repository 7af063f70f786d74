"""`auxip runs`, `auxip show`, `auxip contract`: what the ledger knows, and what callers may send."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from shared.answer import Status
from shared.context import Context
from shared.errors import Rejected
from shared.json_types import Json
from shared.models import ItemState, Run
from shared.runs.page import page_from_ledger, stored_page
from shared.stac.publication import without_manifests
from shared.texts import printable
from workers.cli.connecting import connected
from workers.cli.output import (
    outages_json,
    print_items,
    print_notices,
    print_outages,
    print_run_json,
    print_runs,
    print_selected,
    print_waits,
    run_json,
    summary,
)
from workers.cli.parameters import Since
from workers.cli.printing import print_json
from workers.schema import contract as contract_schema


@click.command()
@click.option("--newest", default=20, show_default=True, help="how many")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([each.value for each in Status]),
    help="only those in this state",
)
@click.option(
    "--since", type=Since(), default=0, help="only those begun since: 2h, 3d, or an instant such as 2024-03-25"
)
@click.option("--label", default="", help="only those whose label has this text, such as the name of a sweep")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def runs(newest: int, states: tuple[str, ...], since: float, label: str, as_json: bool) -> None:
    """List the newest runs."""
    context = connected()

    def wanted(run: Run) -> bool:
        return (not states or run.status in states) and label in run.request.label

    found, outages = context.ledger.runs(newest, since, wanted), context.outages.all()
    if as_json:
        print_json({"runs": [run_json(run) for run in found], "outages": outages_json(outages)})
        return
    print_runs(found)
    print_outages(outages)


@click.command()
@click.argument("run")
@click.option("--failed", "only_failed", is_flag=True, help="only the items that failed")
@click.option("--hrefs", is_flag=True, help="print where the files of its items are, as the catalog has them")
@click.option("--open", "opens", is_flag=True, help="open its page in the browser")
@click.option("--html", "file", type=click.Path(path_type=Path, dir_okay=False), help="write its page to this file")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def show(run: str, only_failed: bool, hrefs: bool, opens: bool, file: Path | None, as_json: bool) -> None:
    """Show a run and each of its items. RUN is its id, or the beginning of it.

    Its page is the one that is in S3 since the run ended. While the run goes on, and where there is no such page any
    more, it is made from the ledger, and lists no files.
    """
    if [only_failed, hrefs, opens or file is not None].count(True) > 1:
        raise click.UsageError(
            "--failed, --hrefs and the page (--open, --html) show different things: give one of them"
        )
    context = connected()
    found = context.ledger.find_run(run)
    if hrefs:
        _show_hrefs(context, found, as_json)
    elif opens or file is not None:
        _show_page(context, found, file, opens, as_json)
    else:
        _show_items(context, found, only_failed, as_json)


def _show_items(context: Context, run: Run, only_failed: bool, as_json: bool) -> None:
    ledger = context.ledger
    records = (each for each in ledger.items(run.id) if not only_failed or each.state is ItemState.FAILED)
    if as_json:
        print_run_json(run, records, ledger.failed_items(run))
        return
    print_items(records)
    click.echo(summary(run))
    print_selected(run)
    print_waits(run)
    print_notices(run)
    if run.artifact:
        click.echo(f"report: {run.artifact}")


def _show_hrefs(context: Context, run: Run, as_json: bool) -> None:
    """Print the hrefs of the assets of the items that the run has left in the catalog, a line each."""
    files = _files(context, run)
    if as_json:
        print_json({"run": run.id, "files": [*files]})
        return
    for each in files:
        click.echo(printable(str(each["href"])))


def _files(context: Context, run: Run) -> Iterator[Json]:
    held = (each.item_id for each in context.ledger.items(run.id) if each.in_catalog)
    for items in context.catalog_of(run.request.owner).items(run.request.collection, held):
        for item in items:
            assets = item.get("assets")
            for key, asset in without_manifests(assets).items() if isinstance(assets, dict) else ():
                yield {"item": item["id"], "asset": key, "href": asset["href"] if isinstance(asset, dict) else None}


def _show_page(context: Context, run: Run, file: Path | None, opens: bool, as_json: bool) -> None:
    written = _write_page(context, run, file)
    if as_json:
        print_json({"run": run.id, "page": str(written)})
    else:
        click.echo(f"page: {written}")
    if opens:
        _open_page(written)


def _write_page(context: Context, run: Run, file: Path | None) -> Path:
    """Write the page of a run to a file or, where none is named, to a temporary one; returns which."""
    page = stored_page(context, run) or page_from_ledger(context, run).encode()
    try:
        written = file or Path(tempfile.mkdtemp(prefix="auxip-")) / f"{run.id}.html"
        written.write_bytes(page)
    except OSError as error:
        raise Rejected("bad-folder", f"the page cannot be written to {file}: {error.strerror}") from None
    return written


def _open_page(file: Path) -> None:
    if click.launch(file.resolve().as_uri()):
        click.echo(f"auxip: no browser could be opened; open {file} yourself", err=True)
        raise SystemExit(1)


@click.command()
def contract() -> None:
    """Print the JSON Schema of a request on the intake, of every public task's arguments and of the answer."""
    print_json(contract_schema())
