"""`auxip sweeps`, `auxip sweep`, `auxip replay`: the sweeps of the settings' file, one of them now or over the past."""

import json
import uuid
from datetime import UTC, datetime
from itertools import islice
from math import ceil, floor
from typing import TYPE_CHECKING

import click

from shared.context import Context
from shared.errors import Rejected
from shared.json_types import Json
from shared.ledger import watermark_key
from shared.models import PublicationTick, Run, SweepRecord
from shared.runs.windows import windows_between, within
from shared.settings import load_settings
from shared.times import format_instant, parse_instant
from workers.cli.connecting import connected
from workers.cli.follow import run_to_its_end
from workers.cli.output import Progress, SweepStanding, print_sweeps, sweep_json
from workers.cli.printing import print_json

if TYPE_CHECKING:
    from workers.sweeps import RecurringAudit, Sweep


_MOST_WINDOWS = 1000


class _Instant(click.ParamType[datetime]):
    name = "instant"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            return parse_instant(str(value))
        except Rejected as error:
            self.fail(error.reason, param, ctx)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def sweeps(as_json: bool) -> None:
    """List the sweeps and audits of AUXIP_SWEEPS_FILE: their last runs, how these ended, and when each is due next.

    Of a sweep by publication also how far it is behind: what was published longer ago than its lag is not searched yet.
    """
    from workers.sweeps import load_audits, load_sweeps

    context = connected()
    now = datetime.now(UTC)
    listed = [_standing(context, sweep, now) for sweep in load_sweeps(context.settings).values()]
    audits = [_audit(context, audit, now) for audit in load_audits(context.settings).values()]
    if as_json:
        print_json({"sweeps": [sweep_json(each) for each in listed], "audits": [*audits]})
        return
    print_sweeps(listed)
    for each in audits:
        click.echo(f"audit {each['audit']} of {each['collection']}, {each['schedule']}: {_outcome(each)}")


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object at the end")
def sweep(name: str, as_json: bool) -> None:
    """Run the sweep NAME now, also while another run of it goes on; its window is relative to now.

    The workers do it: it goes on if this command is interrupted, and `auxip show` tells how it ends.
    """
    from workers.sweeps import find_sweep

    find_sweep(load_settings(), name)
    run_to_its_end("auxip.sweep_now", {"name": name}, as_json)


@click.command()
@click.argument("name", metavar="SWEEP")
@click.option("--from", "begin", type=_Instant(), required=True, help="such as 2024-03-25T09:00:00Z")
@click.option("--to", "end", type=_Instant(), required=True, help="the end, which is not included itself")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def replay(name: str, begin: datetime, end: datetime, as_json: bool) -> None:
    """Search again what was published between two instants, for a sweep by publication.

    It begins a run for each window of the sweep's length, which the workers do: `auxip show` tells how each ends. What
    is staged already is not downloaded. The sweep itself goes on as if nothing had happened.
    """
    from workers.sweeps import find_sweep

    if end <= begin:
        raise click.UsageError("--to must be after --from")
    context = connected()
    found = find_sweep(context.settings, name)
    if not found.by:
        raise Rejected(
            "bad-request", f'the sweep {name!r} is not by publication; give it by = "publication", or use auxip stage'
        )
    tick = found.publication_tick(datetime.now(UTC), context.station().name)
    replays = _open_replays(context, tick, begin, end)
    if as_json:
        print_json({"sweep": name, "replays": [*replays]})
        return
    for each in replays:
        click.echo("  ".join(map(str, each.values())))
    click.echo(f"{len(replays)} runs of the sweep {name} are on their way")


def _open_replays(context: Context, tick: PublicationTick, begin: datetime, end: datetime) -> list[Json]:
    """Open a run for each window and put its first step on its queue; returns the id and the window of each."""
    from shared.runs.due import searching
    from workers.base import publish  # Celery takes half a second to import: not for `--help`

    first, last = floor(begin.timestamp()), ceil(end.timestamp())
    windows = list(islice(windows_between(first, last, tick.longest), _MOST_WINDOWS + 1))
    if len(windows) > _MOST_WINDOWS:
        raise Rejected("bad-request", f"more than {_MOST_WINDOWS} windows; replay a part of it, or raise longest")
    opened: list[Json] = []
    for window in windows:
        run_id, request = str(uuid.uuid4()), within(tick.request, *window)
        label = f"replay of {tick.request.label}"
        context.ledger.open_run(run_id, request.model_copy(update={"label": label, "sweep": ""}))
        publish([searching(context.ledger.run(run_id))])
        since, until = (format_instant(datetime.fromtimestamp(each, UTC)) for each in window)
        opened.append({"run": run_id, "from": since, "to": until})
    return opened


def _audit(context: Context, audit: "RecurringAudit", now: datetime) -> Json:
    """Return what a program wants to know of a recurring audit; `last` is the summary of the newest that has ended."""
    last = context.audits.last(audit.name)
    return {
        "audit": audit.name,
        "collection": audit.collection,
        "schedule": str(audit.schedule),
        "next": format_instant(audit.next_due(now).replace(microsecond=0)),
        "last": json.loads(last) if last else None,
    }


def _outcome(audit: Json) -> str:
    last = audit["last"]
    if not isinstance(last, dict):
        return f"has not ended yet; next {audit['next']}"
    return f"{last['findings']} findings, report {last['report']}; next {audit['next']}"


def _standing(context: Context, sweep: "Sweep", now: datetime) -> SweepStanding:
    record, progress = context.sweeps.record(sweep.name), None
    if sweep.by:
        tick = sweep.publication_tick(now, context.station().name)
        mark = context.watermarks.record(watermark_key(tick.request))
        progress = Progress(tick.first if mark is None else mark.at, (now - sweep.lag).timestamp())
        record = record if mark is None else record.model_copy(update={"run": mark.run})
    due = sweep.next_due(now).timestamp()
    return SweepStanding(sweep.name, str(sweep.schedule), _last_run(context, record), record, due, progress)


def _last_run(context: Context, record: SweepRecord) -> Run | None:
    runs = []
    for run_id in filter(None, (record.run, record.manual)):
        try:
            runs.append(context.ledger.run(run_id))
        except Rejected:
            continue  # the ledger has forgotten it
    return max(runs, key=lambda run: run.created, default=None)
