"""What a worker does about messages, and how long it has, when it is told to stop."""

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from billiard.pool import CLOSE
from celery.concurrency.prefork import TaskPool
from celery.worker import state

from workers.app import app
from workers.queues import QUEUES, SHORT_GRACE, Queue, grace_of
from workers.stopping import HAND_BACK_SECONDS, KeepSent, TakeNoMore

STEP = 1800.0


@pytest.fixture
def qos(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The quality of service of a worker whose pool, once it has stopped, cannot be asked any more."""
    monkeypatch.setattr(state, "should_stop", None)
    monkeypatch.setattr(state, "should_terminate", None)
    pool = SimpleNamespace(_pool=SimpleNamespace(_processes=1))
    qos = SimpleNamespace(can_consume=lambda: pool._pool._processes > 0, pool=pool)
    consumer = SimpleNamespace(task_consumer=SimpleNamespace(channel=SimpleNamespace(qos=qos)), steps=[])
    TakeNoMore(consumer).start(consumer)
    return qos


def test_every_worker_has_these_steps() -> None:
    assert TakeNoMore in app.steps["consumer"]
    assert KeepSent in app.steps["worker"]


def test_a_worker_takes_messages(qos: Any) -> None:
    assert qos.can_consume()


@pytest.mark.parametrize(("flag", "value"), [("should_stop", 0), ("should_terminate", True), ("should_terminate", 1)])
def test_a_worker_that_is_to_stop_takes_none_and_does_not_ask_its_pool(
    qos: Any, monkeypatch: pytest.MonkeyPatch, flag: str, value: object
) -> None:
    monkeypatch.setattr(state, flag, value)
    qos.pool._pool = None
    assert not qos.can_consume()


class Job:
    """A task that a pool knows."""

    def __init__(self, cache: dict[int, "Job"]) -> None:
        self._number = len(cache)
        self._cache = cache
        cache[self._number] = self

    def discard(self) -> None:
        del self._cache[self._number]


def test_a_worker_that_is_to_stop_forgets_only_the_tasks_that_it_has_not_sent() -> None:
    known: dict[int, Job] = {}
    sent, unsent = Job(known), Job(known)
    pool = SimpleNamespace(_state=CLOSE, _cache=known, outbound_buffer=deque([unsent]), _active_writers=set[object]())
    worker = SimpleNamespace(pool=SimpleNamespace(_pool=pool), pool_cls=TaskPool, steps=[])
    step = KeepSent(worker)
    assert step.include_if(worker)
    step.close(worker)
    worker.pool.flush()
    assert list(known.values()) == [sent]
    assert not pool.outbound_buffer


def test_a_pool_that_is_terminated_already_is_left_alone() -> None:
    worker = SimpleNamespace(pool=SimpleNamespace(_pool=None, flush="as it was"), pool_cls=TaskPool, steps=[])
    KeepSent(worker).close(worker)
    assert worker.pool.flush == "as it was"


def test_what_is_sent_in_part_is_sent_to_its_end() -> None:
    known: dict[int, Job] = {}
    job: Any = Job(known)
    job._scheduled_for, job._writer = "process", lambda: "writer"
    flushed: list[tuple[str, str]] = []
    pool = SimpleNamespace(_state=CLOSE, _cache=known, outbound_buffer=deque(), _active_writers={"writer"})
    pool._flush_writer = lambda *what: flushed.append(what)
    worker = SimpleNamespace(pool=SimpleNamespace(_pool=pool), pool_cls=TaskPool, steps=[])
    KeepSent(worker).close(worker)
    worker.pool.flush()
    assert flushed == [("process", "writer")]


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_a_worker_has_the_grace_of_its_queue(queue: Queue) -> None:
    long = queue.name in ("search", "staging", "decompress")
    assert grace_of(queue.lists, STEP) == (STEP if long else SHORT_GRACE)


def test_a_worker_of_several_queues_has_the_longest_grace() -> None:
    assert grace_of(["catalog", "staging.bulk"], STEP) == STEP


def test_a_worker_of_other_lists_has_the_short_grace() -> None:
    assert grace_of(["replies"], STEP) == SHORT_GRACE


def test_every_grace_leaves_time_to_hand_back() -> None:
    assert min(grace_of(queue.lists, STEP) for queue in QUEUES) >= 2 * HAND_BACK_SECONDS
