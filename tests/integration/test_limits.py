"""The limits of a station: shared by threads and processes through the real broker, fair, and without polling."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.context import Context
from shared.stations.limits import Limits
from tests.integration.conftest import wait_for

Make = Callable[..., Limits]

_PROCESS = """
import json, sys, time
from redis import Redis
from shared.stations.limits import Limits
url, name, requests, connections, turns, held = json.loads(sys.stdin.readline())
limits = Limits(Redis.from_url(url, decode_responses=True), name, requests, connections, 5)
print("ready", flush=True)
sys.stdin.readline()
taken = []
for _ in range(turns):
    turn = limits.turn()
    begun = time.time()
    print("holds", flush=True) if held > 60 else None
    time.sleep(held)
    taken.append((begun, time.time()))
    turn.end()
print(json.dumps(taken))
"""


@pytest.fixture
def name() -> str:
    return f"s{uuid.uuid4().hex[:8]}"


@pytest.fixture
def make(context: Context, name: str) -> Make:
    """The limits of one station, as another worker makes them."""

    def limits(
        requests: int | None = None, connections: int | None = None, lease: float = 90, hold: float = 5
    ) -> Limits:
        return Limits(context.ledger.redis, name, requests, connections, hold, lease)

    return limits


class Worker:
    """A process that takes turns, each held for some seconds; it begins when it is told to."""

    def __init__(self, context: Context, *arguments: object) -> None:
        self.popen = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", _PROCESS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self._write(json.dumps([context.settings.redis_url.get_secret_value(), *arguments]))
        assert self.line() == "ready"

    def begin(self) -> None:
        self._write("go")

    def line(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def turns(self) -> list[tuple[float, float]]:
        """When each turn began and ended, once all are over."""
        taken = [(begun, ended) for begun, ended in json.loads(self.line())]
        self.popen.communicate(timeout=30)
        return taken

    def _write(self, text: str) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(f"{text}\n")
        self.popen.stdin.flush()


def most_at_once(turns: list[tuple[float, float]]) -> int:
    events = sorted([(begun, 1) for begun, _ in turns] + [(ended, -1) for _, ended in turns])
    at_once = most = 0
    for _, change in events:
        at_once += change
        most = max(most, at_once)
    return most


def left_of(context: Context, name: str) -> list[str]:
    return [key for key in context.ledger.redis.scan_iter(f"auxip:station:{name}:*") if not key.endswith(":clock")]


@pytest.mark.long
def test_requests_and_connections_are_counted_over_all_processes(context: Context, name: str) -> None:
    workers = [Worker(context, name, 1200, 2, 4, 0.15) for _ in range(3)]
    for worker in workers:
        worker.begin()
    turns = [turn for worker in workers for turn in worker.turns()]

    begun = sorted(begin for begin, _ in turns)
    assert len(turns) == 12
    assert begun[-1] - begun[0] >= 11 * 0.05 - 0.02
    assert most_at_once(turns) == 2


def test_waiting_asks_the_broker_once(make: Make, context: Context, name: str) -> None:
    limits, redis = make(connections=1), context.ledger.redis
    holder = limits.turn()

    def asked() -> int:
        return int(redis.info("commandstats").get("cmdstat_blpop", {}).get("calls", 0))

    before = asked()
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(limits.turn)
        wait_for(lambda: redis.llen(f"auxip:station:{name}:queue") == 1, "it is in the queue")
        threading.Event().wait(0.3)  # time in which polling would show
        holder.end()
        waiter.result(5).end()
    assert asked() - before == 1


def test_the_connection_of_a_killed_worker_is_free_when_its_lease_lapses(
    make: Make, context: Context, name: str
) -> None:
    worker = Worker(context, name, None, 1, 1, 600)
    worker.begin()
    assert worker.line() == "holds"
    worker.popen.send_signal(signal.SIGKILL)
    worker.popen.communicate()
    key = f"auxip:station:{name}:held"
    (token,) = context.ledger.redis.zrange(key, 0, -1)
    seconds, microseconds = context.ledger.redis.time()
    context.ledger.redis.zadd(key, {str(token): seconds * 1000 + microseconds // 1000 + 400})  # instead of 90 s

    begun = time.monotonic()
    make(connections=1).turn(longest=10).end()
    assert 0.2 < time.monotonic() - begun < 5
