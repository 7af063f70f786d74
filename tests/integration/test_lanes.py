"""Lanes on a real broker: an on-demand message is taken next, bulk ones go on, and neither waits for an idle worker."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from redis import Redis

from local import samples
from local.stack import Stack
from shared.context import Context
from shared.models import Lane
from shared.steps.find import find_work
from tests.integration.conftest import Caller, closed_run, of_id, wait_for
from tests.integration.delivery_app import BULK, QUEUES
from tests.integration.reader import SECONDS, Reader
from tests.messages import envelope, raw
from workers.lanes import MOST_IN_A_ROW
from workers.queues import QUEUES as TABLE
from workers.queues import lane_of_queue

A, B = QUEUES
LISTS = {name for queue in TABLE for name in queue.lists}


def push(redis: Redis, queue: str, count: int = 1) -> None:
    redis.lpush(queue, *(raw(envelope("t", queue=queue)) for _ in range(count)))


def taken(one: Reader) -> list[str]:
    return [message.delivery_info["routing_key"] for message in one.got]


# One consumer


def test_on_demand_messages_are_taken_next_though_five_hundred_bulk_ones_wait(
    redis: Redis, reader: Callable[..., Reader]
) -> None:
    push(redis, BULK, 500)
    one = reader(BULK, A, prefetch=1)
    for count in range(1, 10):
        one.until(count)
        if count == 5:
            push(redis, A, 3)
        one.got[-1].ack()

    assert taken(one) == [BULK] * 5 + [A] * 3 + [BULK]


def test_bulk_messages_go_on_under_a_steady_stream_of_on_demand_ones(
    redis: Redis, reader: Callable[..., Reader]
) -> None:
    push(redis, BULK, 20)
    push(redis, A)
    one = reader(A, BULK, prefetch=1)
    for count in range(1, 81):
        one.until(count)
        push(redis, A)  # another one comes before this one is done
        one.got[-1].ack()

    assert taken(one) == ([A] * MOST_IN_A_ROW + [BULK]) * 10


def test_the_queues_of_one_worker_take_turns_within_each_lane(redis: Redis, reader: Callable[..., Reader]) -> None:
    for queue in (A, B, BULK):
        push(redis, queue, 3)
    one = reader(BULK, A, B)
    one.until(9)
    assert taken(one) in ([A, B] * 3 + [BULK] * 3, [B, A] * 3 + [BULK] * 3)


@pytest.mark.parametrize("queue", [A, BULK])
def test_a_lone_message_of_either_lane_is_taken_soon_by_an_idle_consumer(
    redis: Redis, reader: Callable[..., Reader], queue: str
) -> None:
    one = reader(A, BULK)
    one.drain(1)
    push(redis, queue)
    assert one.until(1) < 0.5


@pytest.mark.long
def test_an_idle_consumer_of_both_lanes_waits_for_an_on_demand_message_all_the_time(
    redis: Redis, reader: Callable[..., Reader]
) -> None:
    one = reader(BULK, A)
    one.drain(1)
    seconds = []
    for count in range(1, 11):
        push(redis, A)
        seconds.append(one.until(count))
        one.drain(0.3)
    assert sorted(seconds)[5] < 0.05


def test_a_consumer_of_the_bulk_lane_alone_waits_there(redis: Redis, reader: Callable[..., Reader]) -> None:
    one = reader(BULK)
    one.drain(1)
    push(redis, BULK)
    assert one.until(1) < 0.5


def test_a_bulk_message_that_is_given_back_stays_in_its_lane(redis: Redis, reader: Callable[..., Reader]) -> None:
    push(redis, BULK)
    one = reader(A, BULK)
    one.until(1)
    one.close()
    assert (redis.llen(A), redis.llen(BULK)) == (0, 1)


# The workers of the embedded stack


@contextmanager
def listening(redis: Redis) -> Iterator[Callable[[], set[str]]]:
    """Watch what is put on the queues; the function tells which lists were used until now."""
    with redis.monitor() as monitor:  # type: ignore[no-untyped-call]  # redis-py has no types for it

        def used() -> set[str]:
            end = str(uuid.uuid4())
            redis.echo(end)
            names = set()
            while end not in (command := str(monitor.next_command()["command"])):
                verb, _, rest = command.partition(" ")
                if verb == "LPUSH":
                    names.add(rest.partition(" ")[0])
            return names & LISTS

        yield used


@pytest.mark.parametrize(("queue", "lane"), [("runs", Lane.ON_DEMAND), ("runs.bulk", Lane.BULK)])
def test_all_steps_of_a_run_travel_in_the_lane_of_the_queue_that_its_caller_chose(
    caller: Caller, context: Context, queue: str, lane: Lane
) -> None:
    from workers.app import app

    archive = samples.product(samples.NESTED_ARCHIVE)
    message = {
        "env": caller.env,
        "cql2_filter": of_id(archive.item_id),
        "catalog_collection_identifier": caller.collection,
    }
    with listening(context.ledger.redis) as used:
        run = app.send_task("auxip.staging", kwargs=message, queue=queue)
        status, _ = run.get(SECONDS)
        lists = used()

    assert status is True
    assert context.ledger.run(run.id).request.lane is lane
    assert {lane_of_queue(name) for name in lists} == {lane}
    assert len(lists) == len(TABLE)


def test_the_run_of_a_tick_is_bulk_and_one_that_a_person_begins_is_on_demand(
    caller: Caller, context: Context, stack: Stack
) -> None:
    from workers.app import app

    name = f"s{uuid.uuid4().hex[:8]}"
    (stack.folder / "sweeps.toml").write_text(
        f'[sweep.{name}]\nevery = "1d"\nowner = "{caller.env["owner_id"]}"\ncollection = "{caller.collection}"\n'
        'product_types = ["NONE"]\npolicy = "LatestGeneration"\n'
    )
    app.send_task("auxip.sweep", (name, time.time()))
    wait_for(lambda: context.sweeps.record(name).sent != "", "the tick has begun its run")
    of_tick = closed_run(context, context.sweeps.record(name).sent)
    by_hand = app.send_task("auxip.sweep_now", (name,))
    by_hand.get(SECONDS)

    assert of_tick.request.lane is Lane.BULK
    assert context.ledger.run(by_hand.id).request.lane is Lane.ON_DEMAND


# Long bulk work


@pytest.mark.long
def test_an_on_demand_search_begins_at_once_beside_bulk_ones_that_take_long(
    caller: Caller, context: Context, stack: Stack
) -> None:
    from workers.app import app

    slow = "aux-that-is-slow"  # and is not there, which its runs learn only after a while
    stack.set_catalog_faults([{"path": slow, "delay": 8}])
    message = {"cql2_filter": of_id("no-such-item"), "catalog_collection_identifier": slow}
    bulk = [app.send_task("auxip.staging", kwargs={"env": caller.env, **message}, queue="runs.bulk") for _ in range(2)]
    wait_for(lambda: all(context.ledger.knows_run(result.id) for result in bulk), "the bulk runs are open")
    works = [find_work(result.id) for result in bulk]
    wait_for(lambda: any(map(context.ledger.agenda.claim_left, works)), "one of them searches")
    began = time.monotonic()
    assert caller.stage(of_id("no-such-item")).get(SECONDS) == [True, None]
    assert time.monotonic() - began < 5
    assert all(isinstance(result.get(SECONDS, propagate=False), Exception) for result in bulk)
