"""`auxip audit`: the catalog of a collection compared with the store, in this process; no worker is needed."""

from contextlib import closing
from datetime import timedelta

import click

from shared.audit.audit import Audit, Scope
from shared.audit.findings import Kind
from shared.audit.repair import delete_what_is_too_much, leave, staged_again, to_stage_again
from shared.audit.report import AuditReport, write_report
from shared.context import Context
from shared.errors import AuxipError
from shared.json_types import Json
from shared.texts import printable
from shared.times import parse_duration
from workers.cli.connecting import connected
from workers.cli.printing import print_error, print_json

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
@click.option("--repair", is_flag=True, help="mend what can be mended, and say what cannot; workers stage again")
@click.option("--delete-orphans", is_flag=True, help="with --repair: delete orphans instead of publishing them again")
@click.option("--older-than", default="1d", show_default=True, help="age of the orphans that may be deleted")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object at the end")
def audit(
    collection: str,
    owner: str | None,
    checksum: bool,
    station: str | None,
    repair: bool,
    delete_orphans: bool,
    older_than: str,
    as_json: bool,
) -> None:
    """Compare what the catalog says of COLLECTION with what the store holds.

    The status is 0 if nothing is found, 1 if something is, repaired or not, and 2 if it could not be audited.
    """
    if delete_orphans and not repair:
        raise click.UsageError("--delete-orphans needs --repair")
    orphans_older_than = _duration(older_than) if delete_orphans else None
    scope = Scope(owner, collection, checksum, station)
    try:
        with closing(connected()) as context:
            report = _audited(context, scope)
            if repair:
                _repair(context, scope, report, orphans_older_than)
            href = write_report(context, report)
    except AuxipError as error:
        print_error(error.code, error.reason, as_json)
        raise SystemExit(_NOT_AUDITED) from None
    if as_json:
        print_json({**report.to_json(), "report": href})
    else:
        _print(report, href)
    raise SystemExit(_FOUND if report.counts.found else 0)


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} {error}", param_hint="--older-than") from None


def _audited(context: Context, scope: Scope) -> AuditReport:
    report = AuditReport.begin(scope)
    with Audit(context, scope, report.counts) as running:
        position = running.begin()
        while position.walk != "done":
            position, findings = running.step(position)
            report.add(findings)
    return report


def _repair(context: Context, scope: Scope, report: AuditReport, orphans_older_than: timedelta | None) -> None:
    """Delete first, since foreign objects below a prefix keep its archive from being expanded; then stage again."""
    report.repair = True
    with Audit(context, scope, report.counts) as running:
        report.findings = [
            delete_what_is_too_much(context, running, scope.collection, finding, orphans_older_than)
            for finding in report.findings
        ]
    for restaging in list(to_stage_again(context, scope.collection, report.findings)):
        run_id = _follow(context, restaging.message(scope.collection, scope.station))
        records = {record.item_id: record for record in context.ledger.items(run_id)}
        report.findings = staged_again(report.findings, restaging, records)
    report.findings = [leave(finding) for finding in report.findings]


def _follow(context: Context, message: Json) -> str:
    """Have a run stage items again and wait for its end; returns its id."""
    from workers.cli.enqueue import enqueue, raise_if_refused, workers_answer
    from workers.cli.watch import watch

    run_id = enqueue("auxip.staging", message)
    if not workers_answer():
        click.echo("no worker answers on the broker: the run waits for one (`auxip up`, or your deployment)", err=True)
    watch(context.ledger, run_id, lambda: raise_if_refused(run_id))
    return run_id


def _print(report: AuditReport, href: str) -> None:
    for finding in report.findings[:_MOST_LINES]:
        where = " ".join(part for part in (finding.item, finding.asset) if part)
        line = f"{finding.kind} {where} {finding.key}: expected {finding.expected}, found {finding.found}; "
        click.echo(printable(f"{line}{finding.outcome or finding.mends}"))
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
