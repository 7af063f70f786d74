"""What a run costs the catalog: pgSTAC's CPU and requests per item, with items published together and one by one.

    python -m tests.benchmarks.catalog              5 rounds of 1,000 items each way
    python -m tests.benchmarks.catalog --quick      1 round of 500
    python -m tests.benchmarks.catalog --json       ends with one JSON object

It needs PostgreSQL with PostGIS, see `tests/peers`. The catalog is pgSTAC behind stac-fastapi, as it comes, with one
process. All else is the project as it is deployed, with a Valkey of its own and one worker of two processes for each
queue; but the station and the store answer at once, see `free_services`, so that the time is that of the catalog and of
the orchestration. The items are plain ones: what they have is staged, and nothing is expanded.

`together` is the project as it is. `one by one` is the same with `Catalog.takes_many` false: each item is read before
it is staged and before it is published, written by one POST, and read back. The ways take turns while the other is
idle. CPU is that of the API and of PostgreSQL with all its processes.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import cast

from celery import Celery

from shared.ledger import Ledger
from shared.settings import PREFIX
from tests.benchmarks.contestant import Contestant
from tests.benchmarks.shelves import Shelf, product_type
from tests.peers.pgstac import PgStac
from tests.peers.postgres import PostgreSQL
from tests.peers.programs import programs

WAYS = {"together": "tests.benchmarks.catalog_app:app", "one by one": "tests.benchmarks.one_by_one_app:app"}
_WARM = 60
_OWNER = "bench"


@dataclass(frozen=True)
class Measured:
    """One run, or the median of several.

    Attributes:
        seconds: from the caller's message to the caller's result.
        items_per_s: of that.
        catalog_cpu_ms: of the API and the database, per item.
        requests: to the API, per item.
        workers_cpu_ms: of the workers and the ledger's server, per item.
    """

    seconds: float
    items_per_s: float
    catalog_cpu_ms: float
    requests: float
    workers_cpu_ms: float


class Way(Contestant):
    """The project with one way to read and write items."""

    def __init__(self, name: str, app: str, folder: Path, pgstac: PgStac) -> None:
        """Describe it; see `Contestant`."""
        super().__init__(name.replace(" ", "-"), app, folder)
        self._pgstac = pgstac
        self._files = folder

    def environment(self) -> dict[str, str]:
        """The settings of its workers."""
        return {**super().environment(), f"{PREFIX}CATALOG_URL": self._pgstac.url}

    def run(self, items: int) -> Measured:
        """Stage so many items into a new collection, and make sure that the catalog has them.

        Raises:
            SystemExit: it has not.
        """
        collection = self._pgstac.new_collection()
        Shelf.make(self._files, collection, items)
        client = Celery(broker=self.url, set_as_current=False)
        cql2 = {"filter": {"op": "=", "args": [{"property": "product:type"}, product_type(1)]}, "limit": items}
        message = {
            "env": {"owner_id": _OWNER},
            "cql2_filter": cql2,
            "catalog_collection_identifier": collection,
            "decompress": False,
        }
        requests, cpu, own, begun = self._requests(), self._pgstac.cpu_seconds(), self.cpu(), time.perf_counter()
        run_id = client.send_task("auxip.staging", kwargs=message, queue="runs").id
        self.wait_for_result(run_id)
        seconds, own = time.perf_counter() - begun, self.cpu() - own
        cpu, requests = self._pgstac.cpu_seconds() - cpu, self._requests() - requests
        client.close()
        self._check(run_id, collection, items)
        self.forget()
        per_item = [1000 * cpu / items, requests / items, 1000 * own / items]
        return Measured(*(round(value, 2) for value in (seconds, items / seconds, *per_item)))

    def _requests(self) -> int:
        return len(self._pgstac.requests())

    def _check(self, run_id: str, collection: str, items: int) -> None:
        counts = Ledger(self.redis, keep_days=1, window=1, patience=1).run(run_id).counts
        shown = len(self._pgstac.items(collection))
        if (counts.staged, shown) != (items, items):
            raise SystemExit(f"a run of {items} items ended with {counts!r}, and the catalog has {shown}")
        for path in self._files.glob(f"{collection}.*"):
            path.unlink()


def main() -> None:
    """Measure, and print a table, with --json an object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of 500 items")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()
    items, rounds = (500, 1) if arguments.quick else (1000, 5)
    rows = _rows(items, rounds)
    ratio = round(rows["together"].items_per_s / rows["one by one"].items_per_s, 2)
    print(f"together {ratio} times as many items per second")  # noqa: T201
    if arguments.json:
        print(json.dumps({"items": items, "rows": {way: asdict(row) for way, row in rows.items()}, "ratio": ratio}))  # noqa: T201


def _rows(items: int, rounds: int) -> dict[str, Measured]:
    runs: dict[str, list[Measured]] = {name: [] for name in WAYS}
    with _ways() as ways:
        for way in ways.values():
            way.run(_WARM)
        for _ in range(rounds):
            for name, way in ways.items():
                runs[name].append(way.run(items))
                print(f"{name}: {runs[name][-1]}", flush=True)  # noqa: T201
    return {name: _median(several) for name, several in runs.items()}


@contextmanager
def _ways() -> Iterator[dict[str, Way]]:
    with tempfile.TemporaryDirectory(prefix="auxip-bench-") as name, PostgreSQL() as postgres, ExitStack() as running:
        pgstac = PgStac(postgres, programs("pgstac"))
        running.callback(pgstac.stop)
        ways = {way: running.enter_context(Way(way, app, Path(name), pgstac)) for way, app in WAYS.items()}
        for each in ways.values():
            each.wait()
        yield ways


def _median(runs: list[Measured]) -> Measured:
    return Measured(
        *(cast("float", statistics.median(getattr(run, one.name) for run in runs)) for one in fields(Measured))
    )


if __name__ == "__main__":
    main()
