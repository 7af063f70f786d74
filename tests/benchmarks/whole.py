"""Whole runs, from the caller's message to the caller's result, beside a bare script that does the same transfers.

    python -m tests.benchmarks.whole                about 15 minutes
    python -m tests.benchmarks.whole --quick        one round of smaller corpora, less than 50 s
    python -m tests.benchmarks.whole --json         ends with one JSON object

`run` is the project as it is deployed, on the embedded stack: one worker for each queue with its own number of
processes, and the defaults of all settings. `again` is the same request once more: everything is there, nothing is
downloaded. `bare` is the script of `bare.py`. Each way writes into a collection of its own; they take turns, and
medians count. What has run is checked: every item in the catalog, and as many of them staged as there are.

CPU is given in milliseconds per item: of our processes by queue, of Valkey, of the store, and of the process that is
station and catalog. No way can be faster than the CPU of all of them, shared by the cores of this machine: that is the
`floor`, in items per second. `redis` counts the reads that Valkey has made from its clients' sockets per item, which
is the number of round trips; `catalog` the requests to the catalog per item.

`latency` is that of one on-demand item at a time, from the caller's message to its result, while a bulk run works.
"""

import argparse
import io
import json
import os
import random
import statistics
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import md5
from pathlib import Path
from typing import cast

from celery import Celery
from redis import Redis

from local import samples
from local.processes import Child
from local.stac.store import Json, Store
from local.stack import Stack
from tests.benchmarks.harness import Row
from tests.integration.conftest import new_collection, of_type
from tests.processes import cpu_of_tree
from workers.cli.fleet import adopt, start_workers, wait_for_workers

MIB = 2**20
_OWNER = "bench"
_MEMBERS = 5
_MEMBER_BYTES = 4_000
_WARM = 50
_LONGEST = 3600.0
_LOOK = 0.02
_PROBES = 40


@dataclass(frozen=True)
class Corpus:
    """Items that the station offers, each with one file of the same content.

    Attributes:
        count: of the items.
        size: of the file; of an archive it is what its members come to.
        suffix: of the file.
    """

    count: int
    size: int
    suffix: str = ".EOF"

    @property
    def name(self) -> str:
        """What the corpus is called, with its true sizes."""
        what = f"one archive of {_MEMBERS} members" if self.suffix == ".zip" else "one file"
        size = f"{self.size // MIB} MiB" if self.size >= MIB else f"{self.size / 1000:g} KB"
        return f"{self.count} items, {what} of {size}"

    def content(self) -> bytes:
        """Return the content of the file; the same for the same corpus."""
        chance = random.Random(self.size)  # noqa: S311 - a corpus, no secret
        if self.suffix != ".zip":
            return chance.randbytes(self.size)
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(_MEMBERS):
                archive.writestr(f"member{number}.xml", chance.randbytes(_MEMBER_BYTES // 2).hex())
        return made.getvalue()


def corpora(quick: bool) -> list[Corpus]:
    """Return the corpora of the long or of the quick mode."""
    plain, archives, large = (150, 60, 8) if quick else (1000, 500, 64)
    return [
        Corpus(plain, 20_000),
        Corpus(archives, _MEMBERS * _MEMBER_BYTES, ".zip"),
        Corpus(large, 8 * MIB),
    ]


@dataclass
class Bench:
    """The embedded stack with its workers, and what is asked of them."""

    stack: Stack
    workers: list[Child]
    client: Celery
    redis: Redis

    @contextmanager
    def offered(self, corpus: Corpus) -> Iterator[str]:
        """Offer the items of a corpus at the station for the length of the block; yields their product type."""
        product_type, product, content = f"BENCH_{uuid.uuid4().hex[:8].upper()}", uuid.uuid4(), corpus.content()
        file = self.stack.folder / "products" / str(product)
        file.write_bytes(content)
        href = f"{self.stack.station_url}/Products({product})/$value"
        with closing(Store(self.stack.folder / "station.sqlite")) as store:
            items = [
                _item(f"{product_type}_{number:05}", product_type, corpus, href, content)
                for number in range(corpus.count)
            ]
            store.add_items(samples.STATION_COLLECTION, items)
        yield product_type
        file.unlink()

    def run(self, product_type: str, collection: str, lane: str = "runs") -> str:
        """Ask for all items of a product type; returns the id of the run."""
        message = {
            "env": {"owner_id": _OWNER},
            "cql2_filter": {"filter": of_type(product_type)},
            "catalog_collection_identifier": collection,
        }
        return str(self.client.send_task("auxip.staging", kwargs=message, queue=lane).id)

    def run_whole(self, product_type: str, collection: str) -> None:
        """Ask for all items of a product type, and wait until they are there."""
        self.wait(self.run(product_type, collection))

    def wait(self, run_id: str) -> None:
        """Wait until a run has its result.

        Raises:
            SystemExit: it has failed, or it never ends.
        """
        deadline = time.monotonic() + _LONGEST
        while not (told := self.redis.get(f"celery-task-meta-{run_id}")):
            if time.monotonic() > deadline or any(child.popen.poll() is not None for child in self.workers):
                raise SystemExit(f"the run {run_id} does not end")
            time.sleep(_LOOK)
        meta = json.loads(cast("bytes", told))
        if meta["status"] != "SUCCESS" or meta["result"][0] is not True:
            raise SystemExit(f"the run {run_id} ended with {meta['status']}: {str(meta['result'])[:500]}")

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU that each component has used since its start."""
        return {child.name: cpu_of_tree(child.popen.pid) for child in self.stack.children if child.name != "odata"}

    def round_trips(self) -> int:
        """How often Valkey has read from a client since its start."""
        return int(cast("dict[str, int]", self.redis.info("stats"))["total_reads_processed"])


@dataclass(frozen=True)
class Figures:
    """What one way took for one corpus."""

    seconds: float
    cpu: Mapping[str, float]
    round_trips: int
    requests: int

    def row(self, what: str, corpus: Corpus) -> Row:
        """Return it per item."""
        each = {name: round(1000 * used / corpus.count, 2) for name, used in self.cpu.items() if used > 0}
        whole = sum(self.cpu.values())
        return {
            "corpus": corpus.name,
            "way": what,
            "seconds": round(self.seconds, 2),
            "items_per_s": round(corpus.count / self.seconds, 1),
            "floor_items_per_s": round(corpus.count * (os.cpu_count() or 1) / whole, 1),
            "ours_cpu_ms": round(sum(value for name, value in each.items() if name not in _OTHERS), 2),
            "redis": round(self.round_trips / corpus.count, 1),
            "catalog": round(self.requests / corpus.count, 2),
            **{f"{name}_cpu_ms": value for name, value in each.items()},
        }


_OTHERS = ("seaweedfs", "stac")
"""What the bare script works with too."""


def main() -> None:
    """Measure every corpus and the latency, and print a table, with --json an object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of smaller corpora, less than 50 s in all")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--only", metavar="TEXT", default="", help="only the corpora that have this in their name")
    arguments = parser.parse_args()
    rounds = 1 if arguments.quick else 3
    rows: list[Row] = []
    with _bench() as bench:
        _warm(bench)
        for corpus in corpora(arguments.quick):
            if arguments.only in corpus.name:
                rows += _rows(bench, corpus, rounds)
        if not arguments.only:
            rows.append(_latency(bench, corpora(arguments.quick)[0], 10 if arguments.quick else _PROBES))
    if arguments.json:
        print(json.dumps({"rows": rows}))  # noqa: T201


@contextmanager
def _bench() -> Iterator[Bench]:
    with ExitStack() as running:
        stack = running.enter_context(Stack())
        stack.wait()
        adopt(stack)
        workers = start_workers(stack)
        wait_for_workers(workers)

        url = stack.environment()["AUXIP_REDIS_URL"]
        client, redis = Celery(broker=url, set_as_current=False), Redis.from_url(url)
        running.callback(redis.close)
        running.callback(client.close)
        yield Bench(stack, workers, client, redis)


def _warm(bench: Bench) -> None:
    """Let every process import and connect."""
    with bench.offered(Corpus(_WARM, _MEMBERS * _MEMBER_BYTES, ".zip")) as product_type:
        bench.wait(bench.run(product_type, new_collection(bench.stack.environment())))


def _rows(bench: Bench, corpus: Corpus, rounds: int) -> list[Row]:
    measured: dict[str, list[Figures]] = {"run": [], "again": [], "bare": []}
    with bench.offered(corpus) as product_type:
        for _ in range(rounds):
            ours, theirs = (new_collection(bench.stack.environment()) for _ in range(2))
            for way in ("run", "again"):
                measured[way].append(_watched(bench, ours, partial(bench.run_whole, product_type, ours)))
                _require_items(bench, ours, corpus.count)
            measured["bare"].append(_bare(bench, product_type, theirs))
            _require_items(bench, theirs, corpus.count)
    rows = [_median(several).row(way, corpus) for way, several in measured.items()]
    for row in rows:
        _print_row(row)
    run, bare = (float(cast("float", rows[at]["ours_cpu_ms"])) for at in (0, 2))
    print(f"  CPU of the run over that of the bare script x{run / bare:.2f}", flush=True)  # noqa: T201
    return rows


def _watched(bench: Bench, collection: str, work: Callable[[], None]) -> Figures:
    cpu, trips = bench.cpu(), bench.round_trips()
    requests = sum(bench.stack.catalog_traffic(collection).values())
    begun = time.perf_counter()
    work()
    seconds = time.perf_counter() - begun
    used = {name: value - cpu.get(name, 0) for name, value in bench.cpu().items()}
    requests = sum(bench.stack.catalog_traffic(collection).values()) - requests
    return Figures(seconds, used, bench.round_trips() - trips, requests)


def _bare(bench: Bench, product_type: str, collection: str) -> Figures:
    """Run the bare script; its seconds and its CPU are without its start and its imports."""
    told: dict[str, float] = {}

    def work() -> None:
        argv = [sys.executable, "-m", "tests.benchmarks.bare", product_type, collection]
        done = subprocess.run(argv, capture_output=True, check=True, cwd=Path.cwd())  # noqa: S603
        told.update(json.loads(done.stdout))

    figures = _watched(bench, collection, work)
    servers = {name: value for name, value in figures.cpu.items() if name in _OTHERS}
    return Figures(told["seconds"], {"bare": told["cpu"], **servers}, 0, figures.requests)


def _require_items(bench: Bench, collection: str, count: int) -> None:
    with closing(Store(bench.stack.folder / "catalog.sqlite")) as store:
        (found,) = store._connection.execute("SELECT count(*) FROM items WHERE collection = ?", [collection]).fetchone()
    if found != count:
        raise SystemExit(f"the catalog has {found} items of {collection}, and not {count}")


def _median(several: list[Figures]) -> Figures:
    return sorted(several, key=lambda figures: figures.seconds)[len(several) // 2]


def _latency(bench: Bench, corpus: Corpus, probes: int) -> Row:
    """Ask for one item at a time while a bulk run works; the run goes on longer than the probes, or there are fewer."""
    waited: list[float] = []
    with bench.offered(corpus) as bulk, bench.offered(Corpus(1, corpus.size)) as single:
        run = bench.run(bulk, new_collection(bench.stack.environment()), "runs.bulk")
        while len(waited) < probes and not bench.redis.exists(f"celery-task-meta-{run}"):
            collection = new_collection(bench.stack.environment())
            begun = time.perf_counter()
            bench.run_whole(single, collection)
            waited.append(time.perf_counter() - begun)
        bench.wait(run)
    cuts = statistics.quantiles(waited, n=20, method="inclusive")
    row: Row = {"corpus": "one on-demand item beside a bulk run", "way": "latency", "probes": len(waited)}
    row |= {"p50_s": round(cuts[9], 3), "p95_s": round(cuts[18], 3)}
    _print_row(row)
    return row


def _print_row(row: Row) -> None:
    figures = "  ".join(f"{name} {value}" for name, value in row.items() if name not in ("corpus", "way"))
    print(f"{row['corpus']}: {row['way']}\n  {figures}", flush=True)  # noqa: T201


def _item(name: str, product_type: str, corpus: Corpus, href: str, content: bytes) -> Json:
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": name,
        "collection": samples.STATION_COLLECTION,
        "geometry": None,
        "properties": {
            "datetime": "2024-03-25T00:00:00Z",
            "start_datetime": "2024-03-25T00:00:00Z",
            "end_datetime": "2024-03-26T00:00:00Z",
            "created": "2024-03-25T00:00:00Z",
            "product:type": product_type,
            "platform": "sentinel-1a",
        },
        "assets": {
            f"{name}{corpus.suffix}": {
                "href": href,
                "file:size": len(content),
                "file:checksum": f"d50110{md5(content, usedforsecurity=False).hexdigest()}",
            }
        },
        "links": [],
    }


if __name__ == "__main__":
    main()
