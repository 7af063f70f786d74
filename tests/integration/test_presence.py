"""The files that a worker and beat touch for health checks."""

import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from local.processes import Child
from local.stack import Stack
from local.valkey import Valkey
from tests.integration.conftest import wait_for
from tests.processes import descendants
from workers.cli.fleet import start_beat, start_worker
from workers.presence import ALIVE, READY
from workers.queues import QUEUES

pytestmark = pytest.mark.long
CATALOG = next(queue for queue in QUEUES if queue.name == "catalog")


OLD = 9.0
"""A file of this age was not touched when it should have been."""


class Watched:
    """A worker with a broker of its own, and the folder of its files."""

    def __init__(self, child: Child, folder: Path) -> None:
        self.child = child
        self.folder = folder

    def age(self, ending: str) -> float:
        """The seconds since a file was touched; endless if it never was."""
        times = [file.stat().st_mtime for file in self.folder.glob(f"auxip-*{ending}")]
        return time.time() - max(times, default=-math.inf)

    def wait_for_old(self, ending: str) -> None:
        wait_for(lambda: self.age(ending) > OLD, f"{ending} is old")

    def wait_for_new(self, ending: str) -> None:
        wait_for(lambda: self.age(ending) < 1, f"{ending} is touched")


@pytest.fixture
def worker(stack: Stack, broker: Valkey, tmp_path: Path) -> Iterator[Watched]:
    child = start_worker(stack, CATALOG, {"AUXIP_REDIS_URL": broker.url, "TMPDIR": str(tmp_path)})
    watched = Watched(child, tmp_path)
    watched.wait_for_new(READY)
    yield watched
    child.stop(5)


def test_a_process_that_is_stopped_makes_a_worker_neither_alive_nor_ready(worker: Watched) -> None:
    child = max(descendants(worker.child.popen.pid))
    os.kill(child, signal.SIGSTOP)
    worker.wait_for_old(ALIVE)
    worker.wait_for_old(READY)
    os.kill(child, signal.SIGCONT)
    worker.wait_for_new(ALIVE)
    worker.wait_for_new(READY)


def test_a_cancelled_consumer_makes_a_worker_alive_and_not_ready(worker: Watched, broker: Valkey) -> None:
    with Celery(broker=broker.url, set_as_current=False) as app:
        app.control.cancel_consumer("catalog")
    worker.wait_for_old(READY)
    assert worker.age(ALIVE) < OLD


def test_a_broker_that_is_away_makes_a_worker_alive_and_not_ready(worker: Watched, broker: Valkey) -> None:
    broker.child.stop(5)
    worker.wait_for_old(READY)
    worker.wait_for_new(ALIVE)


def test_beat_is_alive_and_not_ready_while_its_broker_is_away(stack: Stack, broker: Valkey, tmp_path: Path) -> None:
    extra = {"AUXIP_REDIS_URL": broker.url, "TMPDIR": str(tmp_path), "AUXIP_RECONCILE_EVERY": "5"}
    child = start_beat(stack, "beat-presence", extra)
    beat = Watched(child, tmp_path)
    try:
        beat.wait_for_new(READY)
        broker.child.stop(5)
        wait_for(lambda: beat.age(READY) > OLD and beat.age(ALIVE) < 2, "it waits for the broker")
        broker.start_again()
        beat.wait_for_new(READY)
    finally:
        child.stop(5)
