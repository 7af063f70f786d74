"""`auxip runs`, `auxip show`, `auxip contract`: what the ledger knows, and what callers may send."""

import tempfile
from pathlib import Path

import click

from shared.context import Context
from shared.errors import Rejected
from shared.models import Run
from shared.runs.page import page_from_ledger, stored_page
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
from workers.cli.printing import print_json
from workers.schema import contract as contract_schema


@click.command()
@click.option("--newest", default=20, show_default=True, help="how many")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def runs(newest: int, as_json: bool) -> None:
    """List the newest runs."""
    context = connected()
    found, outages = context.ledger.runs(newest), context.outages.all()
    if as_json:
        print_json({"runs": [run_json(run) for run in found], "outages": outages_json(outages)})
        return
    print_runs(found)
    print_outages(outages)


@click.command()
@click.argument("run")
@click.option("--open", "opens", is_flag=True, help="open its page in the browser")
@click.option("--html", "file", type=click.Path(path_type=Path, dir_okay=False), help="write its page to this file")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def show(run: str, opens: bool, file: Path | None, as_json: bool) -> None:
    """Show a run and each of its items. RUN is its id, or the beginning of it.

    Its page is the one that is in S3 since the run ended. While the run goes on, and where there is no such page any
    more, it is made from the ledger, and lists no files.
    """
    context = connected()
    ledger = context.ledger
    found = ledger.find_run(run)
    if opens or file is not None:
        written = _write_page(context, found, file)
        if as_json:
            print_json({"run": found.id, "page": str(written)})
        else:
            click.echo(f"page: {written}")
        if opens:
            _open_page(written)
        return
    records = ledger.items(found.id)
    if as_json:
        print_run_json(found, records, ledger.failed_items(found))
        return
    print_items(records)
    click.echo(summary(found))
    print_selected(found)
    print_waits(found)
    print_notices(found)
    if found.artifact:
        click.echo(f"report: {found.artifact}")


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
