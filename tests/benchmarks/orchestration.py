"""What a run costs whose transfers cost nothing: this project beside bare Celery and beside Prefect.

    uv pip install --group benchmark                            Prefect, among others
    python -m tests.benchmarks.orchestration                    the long one: half an hour or more
    python -m tests.benchmarks.orchestration --quick            less than 50 s in all
    python -m tests.benchmarks.orchestration --json             ends with one JSON object
    python -m tests.benchmarks.orchestration --prefect PYTHON   Prefect is where this interpreter finds it

Prefect wants an older FastAPI than the embedded stack is tested with. To keep that one, give Prefect an environment of
its own (`uv venv P; uv pip install --python P prefect "fastapi<0.150"`). Without Prefect its rows say so.

`ours`: `auxip.staging` through the whole graph, from the caller's message to the caller's result: open, find, and for
each item stage, publish, expand each archive, publish expanded, each claimed and recorded in the ledger; close, with
report and ItemCollection. Each item has one or two archives, and the size of a real one. Only what is outside answers
at once: station, catalog, store, and the expansion itself; see `free_services`.
`chain`: for each item the same canvas of tasks that do nothing, published from one client, results ignored; the time
ends with the last task. `chord`: as many single tasks, and one that runs when all have.
These two have kombu's own transport. All else is as in ours: a Valkey of their own with its append-only file, Celery's
settings (late acknowledgement, prefetch, events, limits: `workers.config`), one worker for each queue, prefork, with
one process, started by the same command, logging at the same level. The canvas's steps go over the queues of ours;
the chord's tasks are spread over all queues.
Prefect: `steps` and `reference` of `prefect_flows`. It has one process and its server, with SQLite, as it comes.

Contestants take turns while the others are idle. CPU is that of the workers and the server, with `client_cpu_s` beside
it for who publishes. Broker memory is the server's above that of an idle one, less the ledger's keys.
"""

import argparse
import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

from celery import Celery

from local.errors import StackError
from shared.ledger import Ledger
from tests.benchmarks import stock_app
from tests.benchmarks.contestant import Contestant, Stopwatch
from tests.benchmarks.figures import Measured, Row, extrapolated, median_of, row_of, with_ratios
from tests.benchmarks.prefect_way import Prefect, interpreter
from tests.benchmarks.shelves import Marks, Shelf, product_type, unfinished

OURS = {1: "ours: one archive an item", 2: "ours: two archives an item"}
CANVAS = {1: "celery: chain of four an item", 2: "celery: chain and chord of five tasks an item"}
CHORD = "celery: chord of single tasks"
_PREFECT = {
    "steps": "prefect: five tasks per item",
    "reference": "prefect: a task and a flow per item, as in the reference",
}
_WARM = 40
_OWNER = "bench"
_MEMORY = Path("/dev/shm")  # noqa: S108 - where files are memory; a folder with a name of its own is made in it


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        rounds: by the number of items, how many.
        prefect: items of two runs of each flow, of which the rest is extrapolated.
        larger: items of the largest of ours in the quick mode, as the time allows; it is left out below `least`.
        seconds: that the quick mode may take.
    """

    rounds: dict[int, int]
    prefect: dict[str, tuple[int, int]]
    larger: int = 0
    least: int = 0
    seconds: float = 0


QUICK = Plan({500: 1}, {"reference": (1, 3)}, larger=5000, least=1500, seconds=45)
LONG = Plan({1000: 5, 5000: 3, 10_000: 1, 50_000: 1}, {"steps": (50, 300), "reference": (10, 100)})


def main() -> None:
    """Measure, and print a table, with --json an object."""
    begun = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer items, less than 50 s in all")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--prefect", metavar="PYTHON", help="an interpreter that has Prefect; default: this one")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else LONG
    rows = with_ratios(_rows(plan, interpreter(arguments.prefect), begun), OURS, CANVAS)
    _print_ratios(rows)
    if arguments.json:
        print(json.dumps({"rows": [row.to_json() for row in rows]}))  # noqa: T201


def _rows(plan: Plan, python: str | None, begun: float) -> list[Row]:
    with _folder() as folder, ExitStack() as running:
        marks = Marks(folder)
        prefect = running.enter_context(Prefect(python, folder, _asked(plan))) if python else None
        ours = Ours(running.enter_context(Contestant("ours", "tests.benchmarks.free_app:app", folder)), folder, marks)
        stock = Stock(running.enter_context(Contestant("stock", "tests.benchmarks.stock_app:app", folder)))
        for each in (ours.contestant, stock.contestant):
            each.wait()
        for archives in OURS:
            ours.run(_WARM, archives)
            stock.run_canvas(_WARM, archives)
        rows = _prefect_rows(plan, prefect)
        for items, rounds in plan.rounds.items():
            rows += _rounds(ours, stock, items, rounds)
        if plan.larger:
            measured = next(row for row in rows if row.what == OURS[1])
            items = _as_many_as(plan, measured, plan.seconds - (time.monotonic() - begun))
            if items >= plan.least:
                rows.append(_told(row_of(OURS[1], ours.run(items))))
        return rows


def _rounds(ours: "Ours", stock: "Stock", items: int, rounds: int) -> list[Row]:
    """Run each contestant in its turn, so many times, and return the medians."""
    ways: dict[str, Callable[[int], Measured]] = {CHORD: stock.run_chord}
    for archives in OURS:
        ways[OURS[archives]] = partial(ours.run, archives=archives)
        ways[CANVAS[archives]] = partial(stock.run_canvas, archives=archives)
    runs: dict[str, list[Measured]] = {what: [] for what in ways}
    for _ in range(rounds):
        for what, way in ways.items():
            runs[what].append(way(items))
    note = f"median of {rounds}" if rounds > 1 else ""
    return [_told(row_of(what, median_of(several), note)) for what, several in runs.items()]


def _as_many_as(plan: Plan, row: Row, left: float) -> int:
    """How many items can be done in the seconds that are left, at the speed of a row, with some to spare."""
    possible = int((row.items_per_s or 0) * left * 0.85) // 500 * 500
    return min(plan.larger, possible)


class Ours:
    """This project."""

    def __init__(self, contestant: Contestant, folder: Path, marks: Marks) -> None:
        self.contestant = contestant
        self._folder = folder
        self._marks = marks
        self._client = Celery(broker=contestant.url, set_as_current=False)
        self._ledger = Ledger(contestant.redis, keep_days=1, window=1, patience=1)

    def run(self, items: int, archives: int = 1) -> Measured:
        """Stage so many items with so many archives each, and make sure that all of it was done.

        Raises:
            SystemExit: it was not.
        """
        collection = f"c{uuid.uuid4().hex[:12]}"
        Shelf.make(self._folder, collection, items)
        self._marks.clear()
        message = {
            "env": {"owner_id": _OWNER},
            "cql2_filter": {
                "filter": {"op": "=", "args": [{"property": "product:type"}, product_type(archives)]},
                "limit": items,
            },
            "catalog_collection_identifier": collection,
        }
        with self.contestant.watched() as watch:
            stopwatch = Stopwatch(self.contestant)
            sent = self._client.send_task("auxip.staging", kwargs=message, queue="runs")
            result = self.contestant.wait_for_result(sent.id)
            measured = stopwatch.read(items, time.perf_counter())
            largest = watch.peaks()
        begun, fed = self._marks.read()
        self._check(sent.id, collection, items, archives, cast("list[object]", result)[0])
        self.contestant.forget()
        return replace(
            measured,
            peaks=largest,
            first_begun=None if begun is None else begun - stopwatch.begun_at,
            last_fed=None if fed is None else fed - stopwatch.begun_at,
        )

    def _check(self, run_id: str, collection: str, items: int, archives: int, status: object) -> None:
        counts = self._ledger.run(run_id).counts
        wrong = unfinished(self._folder, collection, items, archives)
        if status is not True or (counts.items, counts.expanded) != (items, items) or wrong:
            raise SystemExit(f"a run of {items} items ended with {status}, {counts!r}, {wrong[:3]}")
        for path in self._folder.glob(f"{collection}.*"):
            path.unlink()


class Stock:
    """Celery as it comes."""

    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant
        os.environ.update(contestant.environment())  # the client's settings are those of its workers

    def run_canvas(self, items: int, archives: int) -> Measured:
        """Publish a chain for each item, with a chord over several archives, and wait for the last one's end."""
        run_id = str(uuid.uuid4())
        with self.contestant.watched() as watch:
            stopwatch = Stopwatch(self.contestant)
            for number in range(items):
                canvas = stock_app.canvas_of_item(run_id, f"{number:024x}", archives)
                canvas.apply_async()
            fed = time.perf_counter()
            measured = stopwatch.read(items, self.contestant.wait_until_quiet())
            largest = watch.peaks()
        self.contestant.forget()
        return replace(measured, peaks=largest, last_fed=fed - stopwatch.begun)

    def run_chord(self, items: int) -> Measured:
        """Publish a chord of as many tasks, and wait for its result."""
        run_id = str(uuid.uuid4())
        with self.contestant.watched() as watch:
            stopwatch = Stopwatch(self.contestant)
            result = stock_app.chord_of_tasks(run_id, items).apply_async()
            fed = time.perf_counter()
            self.contestant.wait_for_result(result.id)
            measured = stopwatch.read(items, time.perf_counter())
            largest = watch.peaks()
        self.contestant.wait_until_quiet()
        self.contestant.forget()
        stock_app.let_go(result)
        return replace(measured, peaks=largest, last_fed=fed - stopwatch.begun)


def _asked(plan: Plan) -> list[tuple[str, int]]:
    return [(flow, items) for flow, sizes in plan.prefect.items() for items in sizes]


def _prefect_rows(plan: Plan, prefect: Prefect | None) -> list[Row]:
    items = min(plan.rounds)
    if prefect is None:
        return _unmeasured(plan, "no interpreter with Prefect, see --prefect")
    try:
        prefect.wait()
        runs = prefect.run()
    except StackError as error:
        return _unmeasured(plan, str(error))
    rows: list[Row] = []
    for flow in plan.prefect:
        few, more = (one for name, one in runs if name == flow)
        note = f"extrapolated from runs of {few.items} and {more.items} items, of {more.seconds:.1f} s the larger"
        rows.append(_told(row_of(_PREFECT[flow], extrapolated(few, more, items), note)))
    return rows


def _unmeasured(plan: Plan, why: str) -> list[Row]:
    return [_told(Row(_PREFECT[flow], min(plan.rounds), note=f"not measured: {why}")) for flow in plan.prefect]


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="auxip-bench-", dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        yield Path(name)


def _told(row: Row) -> Row:
    """Print a row as soon as it is measured, and return it."""
    figures = [f"{name} {value}" for name, value in row.to_json().items() if value not in (None, "", row.what)]
    print(f"{row.what}\n ", *figures, sep="  ", flush=True)  # noqa: T201
    return row


def _print_ratios(rows: Sequence[Row]) -> None:
    for row in rows:
        ratios = {
            f"x {row.per_item_to_1000} of that at 1,000": row.per_item_to_1000,
            f"x {row.per_item_to_chain} of the same canvas of Celery": row.per_item_to_chain,
            f"x {row.per_item_to_ours} of ours": row.per_item_to_ours,
        }
        told = ", ".join(text for text, ratio in ratios.items() if ratio)
        if told:
            print(f"{row.what}, {row.items} items, time per item: {told}")  # noqa: T201


if __name__ == "__main__":
    main()
