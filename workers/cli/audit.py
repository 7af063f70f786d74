"""`auxip audit`: the catalog of a collection compared with the store, in this process; no worker is needed."""

import click

from shared.audit.audit import Audit, Scope
from shared.audit.findings import Kind
from shared.audit.report import AuditReport, write_report
from shared.context import Context
from shared.errors import AuxipError
from shared.settings import load_settings
from shared.texts import printable
from workers.cli.printing import print_json

_FOUND = 1
_NOT_AUDITED = 2
_MOST_LINES = 1000


@click.command()
@click.argument("collection")
@click.option("--owner", help="whose objects and items; everybody's, if not given")
@click.option("--checksum", is_flag=True, help="read every object and compare its checksum")
@click.option(
    "--station",
    is_flag=False,
    flag_value="",
    help="compare with the checksums of this station; without a name, of the default one",
)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object at the end")
def audit(collection: str, owner: str | None, checksum: bool, station: str | None, as_json: bool) -> None:
    """Compare what the catalog says of COLLECTION with what the store holds.

    The status is 0 if nothing is found, 1 if something is, and 2 if it could not be audited.
    """
    context = Context(load_settings())
    try:
        report = _audited(context, Scope(owner, collection, checksum, station))
        href = write_report(context, report)
    except AuxipError as error:
        click.echo(f"auxip: {error}", err=True)
        raise SystemExit(_NOT_AUDITED) from None
    if as_json:
        print_json({**report.to_json(), "report": href})
    else:
        _print(report, href)
    raise SystemExit(_FOUND if report.counts.found else 0)


def _audited(context: Context, scope: Scope) -> AuditReport:
    report = AuditReport.begin(scope)
    with Audit(context, scope, report.counts) as running:
        position = running.begin()
        while position.walk != "done":
            position, findings = running.step(position)
            report.add(findings)
    return report


def _print(report: AuditReport, href: str) -> None:
    for finding in report.findings[:_MOST_LINES]:
        where = " ".join(part for part in (finding.item, finding.asset) if part)
        line = f"{finding.kind} {where} {finding.key}: expected {finding.expected}, found {finding.found}; "
        click.echo(printable(f"{line}{finding.mends}"))
    hidden = report.counts.found - min(len(report.findings), _MOST_LINES)
    if hidden:
        click.echo(f"{hidden} more findings are not shown; the report has the first {len(report.findings)}")
    counts = report.counts
    numbers = ", ".join(f"{getattr(counts, kind.value)} {kind}" for kind in Kind)
    click.echo(f"{report.collection}: {counts.objects} objects, {counts.items} items; {numbers}; report: {href}")
    for number, what in (
        (counts.in_work, "items are in work and were not judged"),
        (counts.unchecked, "assets could not be looked at: they are not in S3, or the store refuses us"),
        (counts.others, "items belong to other owners"),
    ):
        if number:
            click.echo(f"{number} {what}")
