"""The ledger's specifications run on two servers: fakeredis, in milliseconds, and a real Valkey."""

import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakeredis import FakeRedis, FakeServer
from redis import Redis

from local.processes import free_ports
from local.valkey import Valkey
from shared.ledger import Ledger
from tests.ledger.opened import Opened, found

SERVERS = ("fakeredis", "valkey")


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A real server, started when the first test needs it."""
    folder: Path = tmp_path_factory.mktemp("valkey")
    started = Valkey(folder, free_ports(1)[0], "password", "everysec")
    started.wait(20)
    yield started
    started.child.stop(5)


@pytest.fixture(params=SERVERS)
def redis(request: pytest.FixtureRequest) -> Iterator["Redis"]:
    """A client of an empty server, whose answers are text."""
    if request.param == "fakeredis":
        with FakeRedis(server=FakeServer(version=(7,)), decode_responses=True) as fake:
            yield fake
        return
    valkey: Valkey = request.getfixturevalue("valkey")
    with Redis.from_url(valkey.url, decode_responses=True) as client:
        client.flushall()
        yield client


@dataclass
class Clock:
    """The clock of the server.

    Attributes:
        offset: seconds by which a fake server's clock is ahead; None where the server is real.
    """

    offset: float | None

    def move(self, seconds: float) -> None:
        """Let time go by: at once on fakeredis, and as long as it takes on Valkey."""
        if self.offset is None:
            threading.Event().wait(seconds)
        else:
            self.offset += seconds


@pytest.fixture
def clock(redis: "Redis", monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The server's clock, which a test moves; the clients' clocks go with it."""
    if not isinstance(redis, FakeRedis):
        return Clock(None)
    moved, real = Clock(0.0), time.time
    monkeypatch.setattr(time, "time", lambda: real() + (moved.offset or 0.0))
    return moved


@pytest.fixture
def ledger(redis: "Redis") -> Ledger:
    """A ledger as the default settings have it, but for its window."""
    return Ledger(redis, keep_days=30, window=200, patience=120)


@pytest.fixture
def run(ledger: Ledger) -> Opened:
    """A run with one item."""
    return Opened(ledger, found())


@pytest.fixture
def work() -> str:
    """A piece of work that nobody else has."""
    return f"work-{uuid.uuid4()}"
