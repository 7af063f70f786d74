"""What a worker does about messages, and how long it has, when it is told to stop."""

from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state

from workers.queues import QUEUES, SHORT_GRACE, Queue, grace_of
from workers.stopping import HAND_BACK_SECONDS, TakeNoMore

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


def test_a_worker_takes_messages(qos: Any) -> None:
    assert qos.can_consume()


@pytest.mark.parametrize(("flag", "value"), [("should_stop", 0), ("should_terminate", True), ("should_terminate", 1)])
def test_a_worker_that_is_to_stop_takes_none_and_does_not_ask_its_pool(
    qos: Any, monkeypatch: pytest.MonkeyPatch, flag: str, value: object
) -> None:
    monkeypatch.setattr(state, flag, value)
    qos.pool._pool = None
    assert not qos.can_consume()


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
