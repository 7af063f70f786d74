"""A station's limits: requests are spaced, connections counted, and nobody waits longer than is worth it."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from shared.errors import Busy
from shared.stations.limits import Limits
from tests.integration.conftest import wait_for

Make = Callable[..., Limits]


@pytest.fixture
def name() -> str:
    return "a-station"


@pytest.fixture
def make(redis: Redis, name: str) -> Make:
    """The limits of one station, as another worker makes them."""

    def limits(
        requests: int | None = None, connections: int | None = None, lease: float = 90, hold: float = 5
    ) -> Limits:
        return Limits(redis, name, requests, connections, hold, lease)

    return limits


def left_of(redis: Redis, name: str) -> list[str]:
    return [key for key in redis.scan_iter(f"auxip:station:{name}:*") if not key.endswith(":clock")]


def test_requests_are_spaced_evenly_over_the_threads_of_a_process(make: Make) -> None:
    limits = [make(requests=1200) for _ in range(4)]  # one each 50 ms

    def begin(each: Limits) -> float:
        each.turn().end()
        return time.monotonic()

    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        begun = sorted(pool.map(begin, limits * 3))
    # A busy machine may run a thread later than its turn, and never before it.
    early = [number for number, at in enumerate(begun) if at - started < number * 0.05 - 0.02]
    assert early == []


def test_whoever_waits_longest_for_a_connection_is_next(make: Make, redis: Redis, name: str) -> None:
    order: list[int] = []
    holder = make(connections=1).turn()

    def wait(number: int) -> None:
        turn = make(connections=1).turn()
        order.append(number)
        turn.end()

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(5)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        wait_for(
            lambda number=number: redis.llen(f"auxip:station:{name}:queue") == number,  # type: ignore[misc]
            "it is in the queue",
        )
    holder.end()
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]
    assert left_of(redis, name) == []


def test_a_newcomer_does_not_overtake_those_who_wait(make: Make, redis: Redis, name: str) -> None:
    limits = make(connections=1)
    holder = limits.turn()
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(limits.turn)
        wait_for(lambda: redis.llen(f"auxip:station:{name}:queue") == 1, "it is in the queue")
        holder.end()
        with pytest.raises(Busy):
            limits.turn(longest=0)
        waiter.result(5).end()


def test_a_connection_that_is_used_keeps_its_lease(make: Make) -> None:
    limits = make(connections=1, lease=0.6)
    turn = limits.turn()
    until = time.monotonic() + 1.2
    while time.monotonic() < until:
        turn.keep()
        with pytest.raises(Busy):
            limits.turn(longest=0.1)
    turn.end()
    limits.turn(longest=0).end()


def test_whoever_would_wait_too_long_is_told_when_to_come_back_and_leaves_no_trace(
    make: Make, redis: Redis, name: str
) -> None:
    limits = make(connections=1)
    holder = limits.turn()
    with pytest.raises(Busy, match="station-busy") as raised:
        limits.turn(longest=0.1)
    assert raised.value.delay is not None
    assert raised.value.delay > 0
    holder.end()
    assert left_of(redis, name) == []


def test_an_instant_that_is_too_far_off_is_not_taken(make: Make) -> None:
    limits = make(requests=60)
    limits.turn().end()
    for _ in range(3):
        with pytest.raises(Busy) as raised:
            limits.turn(longest=0.1)
        assert raised.value.delay is not None
        assert 0.5 < raised.value.delay <= 1


def test_a_pause_that_a_station_asks_for_holds_for_everybody_those_included_who_wait(make: Make) -> None:
    limits = make(requests=300)  # one each 200 ms
    limits.turn().end()
    begun = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(make(requests=300).turn)
        limits.hold_off(1.0)
        waiter.result(5).end()
    assert time.monotonic() - begun >= 0.95


def test_a_pause_without_an_end_is_cut(make: Make) -> None:
    limits = make(requests=6000, hold=0.3)
    limits.hold_off(float("inf"))
    begun = time.monotonic()
    limits.turn().end()
    assert 0.2 < time.monotonic() - begun < 5
