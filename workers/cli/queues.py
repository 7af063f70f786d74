"""`auxip queues`: what waits on each list, what is in work, and which lists nobody reads."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import click
from redis import Redis

from shared.json_types import Json
from shared.ledger import INTAKE, Ledger
from shared.times import format_instant
from workers.cli.connecting import connected
from workers.cli.printing import print_json
from workers.cli.tables import Column, ago, print_table
from workers.queues import queue_name


@dataclass(frozen=True)
class ListState:
    """What is on a list.

    Attributes:
        list: its name.
        waiting: messages that no worker has taken.
        in_work: messages that workers hold.
        oldest: when the run of the next message was begun, in seconds since the epoch; None where that is not known.
        readers: the workers that take from it.
    """

    list: str
    waiting: int
    in_work: int
    oldest: float | None
    readers: tuple[str, ...]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def queues(as_json: bool) -> None:
    """Show what waits on each list of the queues, what workers hold, and which lists nobody reads."""
    from workers.telemetry.loads import loads_of

    ledger = connected().ledger
    found = readers()
    states = [
        ListState(name, load.waiting, load.in_work, _oldest(ledger, name), tuple(found.get(name, ())))
        for load in loads_of(ledger.redis)
        for name in (queue_name(load.queue, load.lane),)
    ]
    requests = int(ledger.redis.llen(INTAKE))
    if as_json:
        listed: list[Json] = [{**asdict(state), "oldest": _instant(state.oldest)} for state in states]
        print_json({"lists": [*listed], "intake": requests})
        return
    columns = (Column("list", whole=True), Column("waiting"), Column("in work"), Column("oldest"), Column("read by"))
    print_table(columns, [_row(state) for state in states])
    if requests:
        click.echo(f"{requests} requests wait on {INTAKE} for a gate (`auxip gate`)")


def _row(state: ListState) -> tuple[str, Sequence[str]]:
    reader = f"{len(state.readers)} workers" if len(state.readers) > 1 else "".join(state.readers) or "nobody"
    oldest = "" if state.oldest is None else ago(state.oldest)
    return "" if state.readers else "red", (state.list, str(state.waiting), str(state.in_work), oldest, reader)


def readers(seconds: float = 1) -> Mapping[str, Sequence[str]]:
    """Return the names of the workers that read each list, as far as they answer within some seconds."""
    from workers.app import app

    answers = app.control.inspect(timeout=seconds).active_queues() or {}
    found = defaultdict[str, list[str]](list)
    for worker, its_queues in answers.items():
        for queue in its_queues:
            found[queue["name"]].append(worker)
    return found


def _oldest(ledger: Ledger, name: str) -> float | None:
    """Return when the run was begun that the next message of a list belongs to."""
    run_id = _run_of_next(ledger.redis, name)
    return ledger.run(run_id).created if run_id and ledger.knows_run(run_id) else None


def _run_of_next(redis: Redis, name: str) -> str:
    raw = cast("str | None", redis.lindex(name, -1))
    try:
        run_id = json.loads(raw or "{}")["headers"]["root_id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return run_id if isinstance(run_id, str) else ""


def _instant(seconds: float | None) -> str | None:
    from datetime import UTC, datetime

    return None if seconds is None else format_instant(datetime.fromtimestamp(int(seconds), UTC))
