"""Messages between a queue and a worker: none is lost by a kill, and none stops what is behind it."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, cast

import pytest
from kombu import Connection, Consumer, Queue
from kombu.message import Message
from redis import Redis

from local.processes import Child, start
from local.valkey import Valkey
from shared.context import Context
from shared.ledger import DeadLetters
from shared.ledger.connection import ServerUnavailable
from tests.integration.conftest import wait_for
from tests.integration.delivery_app import BULK, QUEUES, RAN, VISIBILITY_TIMEOUT
from tests.integration.reader import INDEX, SECONDS, UNACKED, Reader, held
from tests.messages import bad_messages, envelope, raw

ROOT = Path(__file__).parents[2]
TASK = "auxip.clean_up"
A, B = QUEUES
CONSUMERS = "unacked_consumers"
LEASE = 2


# Any message at all, and the workers of the embedded stack


def test_no_message_stops_a_worker_and_each_bad_one_is_buried_whole(context: Context, workers: list[Child]) -> None:
    from workers.app import app

    redis, letters = context.ledger.redis, context.dead_letters
    bad = bad_messages(TASK)
    for text, _ in bad.values():
        redis.lpush("runs", text)
    began = time.monotonic()
    app.send_task(TASK).get(SECONDS)

    assert time.monotonic() - began < 20
    assert [child.name for child in workers if child.popen.poll() is not None] == []
    buried = {letters.payload(letter.id): letter for letter in letters.letters(kind="message", where="runs")}
    assert {name: buried[text].code for name, (text, _) in bad.items() if text in buried} == {
        name: code for name, (_, code) in bad.items()
    }
    assert all(letter.reason for letter in buried.values())
    assert redis.llen("runs") == 0


@pytest.mark.parametrize("task", ["no.such.task", TASK])
def test_the_caller_of_a_buried_task_is_told(context: Context, workers: list[Child], task: str) -> None:
    from workers.app import app

    message = envelope(task, [[1, 2, 3], {}, None])
    context.ledger.redis.lpush("runs", raw(message))
    with pytest.raises(Exception, match=f"{task}|NotRegistered"):
        app.AsyncResult(message["headers"]["id"]).get(SECONDS)


def test_a_buried_message_that_is_replayed_runs(context: Context, workers: list[Child]) -> None:
    from workers.app import app

    message = envelope(TASK)
    letter = context.dead_letters.park("message", raw(message), "message-rejected", "for a test", "runs")
    assert context.dead_letters.replay(letter) == "runs"
    app.AsyncResult(message["headers"]["id"]).get(SECONDS)


# A broker of its own, and one consumer


def test_a_message_is_recorded_from_the_moment_it_is_taken_until_it_is_acknowledged(
    redis: Redis, reader: Callable[..., Reader]
) -> None:
    redis.lpush(A, raw(envelope("t")))
    one = reader()
    one.until(1)
    assert (redis.llen(A), held(redis)) == (0, (1, 1))
    one.got[0].ack()
    assert held(redis) == (0, 0)


def test_a_message_whose_worker_never_reads_it_is_recorded_nevertheless(
    redis: Redis, reader: Callable[..., Reader]
) -> None:
    one = reader()
    one.drain()
    redis.lpush(A, raw(envelope("t")))
    one.ask()
    wait_for(lambda: (redis.llen(A), held(redis)) == (0, (1, 1)), "it is taken and recorded", 10)


def test_a_broker_that_goes_while_a_message_is_held_does_not_end_the_worker(
    broker: Valkey, redis: Redis, reader: Callable[..., Reader]
) -> None:
    redis.lpush(A, raw(envelope("t")))
    one = reader()
    one.until(1)
    Consumer(one.connection.channel(), [Queue(B)], auto_declare=False, on_message=one.got.append).consume()
    one.ask()  # with both its channels, of which a worker has several
    broker.child.popen.kill()
    broker.child.popen.wait()
    # What Celery's consumer does when it has lost its connection; what the second raises would end the worker.
    with suppress(Exception):
        one.connection.collect()
    one.connection.close()


@pytest.mark.parametrize("end", [Message.ack_log_error, Message.reject_log_error])
def test_a_task_that_ends_on_a_channel_that_is_lost_is_an_error_that_celery_expects(
    redis: Redis, reader: Callable[..., Reader], end: Callable[..., None]
) -> None:
    redis.lpush(A, raw(envelope("t")))
    one = reader()
    one.until(1)
    one.connection.transport.client = None  # as Celery leaves it when the broker is away
    cast("Any", one.channel).close()
    end(one.got[0], logging.getLogger(__name__), one.connection.connection_errors)
    assert held(redis) == (1, 1)  # it will be delivered again


@pytest.mark.long
def test_a_task_that_ends_while_the_broker_is_away_does_not_end_the_worker(
    broker: Valkey, redis: Redis, tmp_path: Path
) -> None:
    with closing(_Worker(broker, tmp_path)) as worker:
        redis.lpush(A, raw(envelope("delivery.count", [[0, 2], {}, None], queue=A)))
        wait_for(lambda: held(redis) == (1, 1), "the task is begun", SECONDS)
        broker.child.popen.kill()
        broker.child.popen.wait()
        wait_for(lambda: worker.says("Trying again in 4"), "the worker has lost its connection for good", SECONDS)
        broker.start_again()
        broker.wait(SECONDS)
        redis.lpush(A, raw(envelope("delivery.count", [[1], {}, None], queue=A)))
        wait_for(lambda: redis.hexists(RAN, "0") and redis.hexists(RAN, "1"), "both tasks ran", SECONDS)
        assert worker.alive()


def test_two_copies_of_one_message_are_two(redis: Redis, reader: Callable[..., Reader]) -> None:
    copy = raw(envelope("t"))
    redis.lpush(A, copy, copy)
    one = reader()
    one.until(2)
    one.got[0].ack()
    assert held(redis) == (1, 1)


def test_no_more_is_taken_than_may_be_unacknowledged(redis: Redis, reader: Callable[..., Reader]) -> None:
    redis.lpush(A, *(raw(envelope("t")) for _ in range(5)))
    one = reader(prefetch=2)
    one.drain()
    assert (len(one.got), redis.llen(A)) == (2, 3)
    one.got[0].ack()
    one.until(3)
    one.drain(0.2)
    assert (len(one.got), redis.llen(A)) == (3, 2)


def test_bad_messages_use_up_no_credit(redis: Redis, reader: Callable[..., Reader]) -> None:
    redis.lpush(A, *(b"nonsense" for _ in range(5)), raw(envelope("t")))
    one = reader(prefetch=1)
    one.until(1)
    one.drain(0.2)
    assert (len(one.got), redis.llen(A), redis.xlen("auxip:dead")) == (1, 0, 5)


def test_a_consumer_that_waits_is_woken_at_once(redis: Redis, reader: Callable[..., Reader]) -> None:
    one = reader()
    one.drain()
    redis.lpush(A, raw(envelope("t")))
    assert one.until(1) < 0.5


@pytest.mark.parametrize("queue", QUEUES)
def test_a_consumer_of_several_queues_is_woken_for_each(
    redis: Redis, reader: Callable[..., Reader], queue: str
) -> None:
    one = reader(*QUEUES)
    one.drain()
    redis.lpush(queue, raw(envelope("t")))
    assert one.until(1) < 1


@pytest.mark.long
def test_a_consumer_that_waits_asks_the_server_twenty_times_a_second_at_most(
    redis: Redis, reader: Callable[..., Reader]
) -> None:
    one = reader(*QUEUES)
    one.drain(0.3)
    before = int(redis.info("commandstats")["cmdstat_evalsha"]["calls"])
    one.drain(2)
    assert int(redis.info("commandstats")["cmdstat_evalsha"]["calls"]) - before <= 45


def test_a_long_queue_does_not_starve_another(redis: Redis, reader: Callable[..., Reader]) -> None:
    redis.lpush(A, *(raw(envelope("t", queue=A)) for _ in range(50)))
    redis.lpush(B, *(raw(envelope("t", queue=B)) for _ in range(5)))
    one = reader(*QUEUES)
    one.until(12)
    assert [message.delivery_info["routing_key"] for message in one.got].count(B) >= 4


def test_a_message_that_is_given_back_is_the_last_of_its_queue_and_says_so(
    redis: Redis, reader: Callable[..., Reader]
) -> None:
    redis.lpush(A, raw(envelope("first")), raw(envelope("second")))
    one = reader(prefetch=1)
    one.until(1)
    one.got[0].requeue()
    one.until(2)
    one.got[1].ack()
    one.until(3)
    assert [message.headers["task"] for message in one.got] == ["first", "second", "first"]
    assert one.got[2].headers["redelivered"]


def test_a_message_that_is_rejected_is_buried(broker: Valkey, redis: Redis, reader: Callable[..., Reader]) -> None:
    text = raw(envelope("t"))
    redis.lpush(A, text)
    one = reader()
    one.until(1)
    one.got[0].reject()

    assert held(redis) == (0, 0)
    with Redis.from_url(broker.url, decode_responses=True) as decoding:
        (letter,) = DeadLetters(decoding, 10).page()
        assert (letter.code, letter.where, DeadLetters(decoding, 10).payload(letter.id)) == ("unknown-task", A, text)


def test_a_message_at_which_the_worker_fails_is_buried_and_the_next_is_served(
    redis: Redis, reader: Callable[..., Reader]
) -> None:
    redis.lpush(A, raw(envelope("fails")), raw(envelope("works")))
    one = reader()
    served: list[str] = []

    def serve(message: Message) -> None:
        if message.headers["task"] == "fails":
            raise KeyError("a name")
        served.append(message.headers["task"])

    one.then = serve
    one.until(2)
    assert (served, redis.xlen("auxip:dead"), held(redis)) == (["works"], 1, (1, 1))


def test_what_a_dead_worker_held_is_given_to_another_after_its_time(
    redis: Redis, reader: Callable[..., Reader]
) -> None:
    redis.lpush(A, raw(envelope("t")))
    reader().until(1)
    other = reader()
    assert other.until(1) > VISIBILITY_TIMEOUT / 2
    assert other.got[0].headers["redelivered"]


@pytest.mark.long
def test_what_a_killed_worker_held_is_given_back_within_a_lease(redis: Redis, reader: Callable[..., Reader]) -> None:
    redis.lpush(A, raw(envelope("t")))
    reader(visibility_timeout=600).until(1)
    other = reader(visibility_timeout=600, consumer_lease=LEASE)
    assert LEASE - 1 < other.until(1) < 3 * LEASE
    assert other.got[0].headers["redelivered"]


@pytest.mark.long
def test_a_worker_that_lives_keeps_what_it_holds(redis: Redis, reader: Callable[..., Reader]) -> None:
    redis.lpush(A, raw(envelope("t")))
    busy, other = (reader(visibility_timeout=600, consumer_lease=LEASE) for _ in range(2))
    busy.until(1)
    for _ in range(3 * LEASE):
        busy.drain(0.5)
        other.drain(0.5)
    assert (len(busy.got), other.got, held(redis)) == (1, [], (1, 1))


def test_after_an_outage_of_the_broker_every_worker_first_shows_that_it_lives(
    redis: Redis, reader: Callable[..., Reader]
) -> None:
    redis.lpush(A, raw(envelope("t")))
    busy, other = (reader(visibility_timeout=600, consumer_lease=LEASE) for _ in range(2))
    busy.until(1)
    other.drain()
    redis.zadd(CONSUMERS, dict.fromkeys(cast("list[bytes]", redis.zrange(CONSUMERS, 0, -1)), 1))
    for one in (other, busy, other):
        cast("Any", one.channel).qos.restore_visible()
    assert redis.hkeys(UNACKED) == [str(busy.got[0].delivery_tag).encode()]  # that of its first delivery


def test_a_worker_whose_clock_is_wrong_takes_nothing_from_others(
    redis: Redis, reader: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.lpush(A, raw(envelope("t")))
    reader(visibility_timeout=600).until(1)
    monkeypatch.setattr("kombu.transport.redis.time", lambda: time.time() + 3600)
    other = reader(visibility_timeout=600)
    other.drain(1)
    assert (other.got, held(redis)) == ([], (1, 1))


def test_what_stock_kombu_holds_is_given_back_as_well(
    broker: Valkey, redis: Redis, reader: Callable[..., Reader]
) -> None:
    redis.lpush(A, raw(envelope("t", queue=A)))
    with Connection(broker.url, transport="kombu.transport.redis:Transport") as stock:
        channel: Any = stock.channel()
        held_by_stock = channel.basic_get(A).delivery_tag
        redis.zadd(INDEX, {held_by_stock: 1})
        other = reader()
        other.until(1)
        assert other.got[0].headers["task"] == "t"


def test_a_consumer_outlives_that_the_server_forgets_its_scripts(redis: Redis, reader: Callable[..., Reader]) -> None:
    one = reader()
    one.drain(0.2)
    redis.script_flush()
    redis.lpush(A, raw(envelope("t")))
    assert one.until(1) < 5


def test_replies_are_read_without_a_record(redis: Redis, reader: Callable[..., Reader]) -> None:
    redis.lpush(A, raw({**envelope("t"), "headers": {}}))
    one = reader(no_ack=True)
    one.until(1)
    assert (held(redis), redis.xlen("auxip:dead")) == ((0, 0), 0)


def test_one_message_can_be_asked_for(redis: Redis, reader: Callable[..., Reader]) -> None:
    redis.lpush(A, b"nonsense", raw(envelope("first")), raw(envelope("second")))
    channel: Any = reader(B).channel
    first, second = channel.basic_get(A), channel.basic_get(A, no_ack=True)
    assert (first.headers["task"], second.headers["task"]) == ("first", "second")
    assert (held(redis), channel.basic_get(A)) == ((1, 1), None)


def test_a_channel_that_is_closed_gives_back_what_it_held(redis: Redis, reader: Callable[..., Reader]) -> None:
    redis.lpush(A, raw(envelope("t")))
    one = reader()
    one.until(1)
    one.close()
    assert (redis.llen(A), held(redis)) == (1, (0, 0))


# A server that answers, and cannot serve

STATES = {
    "a replica": (["REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"]),
    "out of memory": (["CONFIG SET maxmemory 1"], ["CONFIG SET maxmemory 0"]),
    "unable to write to its disk": (["CONFIG SET save=3600 1", "BGSAVE"], ["CONFIG SET save="]),
    "another password": (
        ["CONFIG SET requirepass other", "CLIENT KILL TYPE normal"],
        ["CONFIG SET requirepass password", "CLIENT KILL TYPE normal"],
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("state", STATES)
def test_a_server_that_cannot_serve_for_a_while_ends_no_worker_and_fills_no_log(
    broker: Valkey, redis: Redis, tmp_path: Path, state: str
) -> None:
    begin, end = STATES[state]
    (tmp_path / "dump.rdb").mkdir()  # in the place of which no file can be written
    with closing(_Worker(broker, tmp_path)) as worker:
        redis.lpush(A, raw(envelope("delivery.count", [[0], {}, None], queue=A)))
        wait_for(lambda: redis.hexists(RAN, "0"), "the worker works", SECONDS)
        said = worker.lines()
        for command in begin:
            cast("Any", redis).execute_command(*command.split("="))
        worker.watch(5)
        for command in end:
            cast("Any", redis).execute_command(*command.split("="))
        assert worker.lines() - said < 40
        assert "Traceback" not in worker.log()
        redis.lpush(A, *(raw(envelope("delivery.count", [[number], {}, None], queue=A)) for number in (1, 2, 3)))
        wait_for(lambda: redis.hlen(RAN) == 4, "the worker works again", 30)
        assert worker.alive()


@pytest.mark.long
def test_a_server_that_cannot_serve_for_half_a_minute_is_connected_to_anew(
    redis: Redis, reader: Callable[..., Reader]
) -> None:
    one = reader()
    one.drain()
    cast("Any", redis).execute_command("REPLICAOF 127.0.0.1 1")
    cast("Any", one.channel)._unavailable_since = time.monotonic() - 31
    with pytest.raises(ServerUnavailable, match="READONLY"):
        one.drain(20)
    cast("Any", redis).execute_command("REPLICAOF NO ONE")


# Kills


@pytest.mark.long
def test_no_task_of_either_lane_is_lost_by_kills_of_busy_workers(broker: Valkey, redis: Redis, tmp_path: Path) -> None:
    tasks, kills = 400, 5
    for number in range(tasks):
        name = (A, BULK)[number % 2]
        redis.lpush(name, raw(envelope("delivery.count", [[number], {}, None], queue=name)))
    for kill in range(1, kills + 1):
        with closing(_Worker(broker, tmp_path)):
            wait_for(lambda: redis.hlen(RAN) >= kill * 30, "some tasks ran", SECONDS)  # noqa: B023 - waited for here
    with closing(_Worker(broker, tmp_path)):
        wait_for(lambda: redis.hlen(RAN) == tasks, "every task ran", SECONDS)
        wait_for(lambda: held(redis) == (0, 0), "nothing is held", SECONDS)
    assert (redis.llen(A), redis.llen(BULK), redis.xlen("auxip:dead")) == (0, 0, 0)


class _Worker:
    """A worker of two processes on both lanes of a queue; closing it kills all of it."""

    def __init__(self, broker: Valkey, folder: Path) -> None:
        options = ["--concurrency", "2", "--queues", f"{A},{BULK}"]
        options += ["--without-mingle", "--without-gossip", "--without-heartbeat"]
        argv = [sys.executable, "-m", "celery", "-A", "tests.integration.delivery_app", "worker", *options]
        environ = {**os.environ, "DELIVERY_URL": broker.url, "PYTHONPATH": str(ROOT)}
        self._log = folder / "worker.log"
        self._child = start("worker", argv, environ, folder, self._log)

    def log(self) -> str:
        return self._log.read_text()

    def lines(self) -> int:
        return self.log().count("\n")

    def says(self, what: str) -> bool:
        return what in self.log()

    def watch(self, seconds: float) -> None:
        """Let the worker live for a while, unless it ends."""
        with suppress(subprocess.TimeoutExpired):
            self._child.popen.wait(seconds)

    def alive(self) -> bool:
        return self._child.popen.poll() is None

    def close(self) -> None:
        os.killpg(self._child.popen.pid, signal.SIGKILL)
        self._child.popen.wait()
