"""`auxip runs`, `auxip show`, `auxip contract`: what the ledger knows, and what callers may send."""

import click

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
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def show(run: str, as_json: bool) -> None:
    """Show a run and each of its items. RUN is its id, or the beginning of it."""
    ledger = connected().ledger
    found = ledger.find_run(run)
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


@click.command()
def contract() -> None:
    """Print the JSON Schema of a request on the intake, of every public task's arguments and of the answer."""
    print_json(contract_schema())
