"""Callers that are careless: what they send is served, or they are told why not."""

import base64
import json
import os
import signal
import uuid
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.result import AsyncResult

from local.processes import Child
from local.stack import Stack
from shared.context import Context
from shared.errors import Rejected
from shared.json_types import Json
from shared.models import RunState
from tests.integration.conftest import Caller, closed_run, of_id, of_type, wait_for
from tests.integration.test_halted import standing_still
from tests.messages import envelope, raw
from tests.processes import descendants
from tests.requests import ON_DEMAND
from workers.intake import decode_request
from workers.transport import MAX_MESSAGE_BYTES

SECONDS = 60
EMPTY = of_id("no-such-item")


@pytest.fixture
def stock(context: Context) -> Iterator[Celery]:
    """A program with stock Celery and kombu, which knows nothing of ours but the broker's address."""
    url = context.settings.redis_url.get_secret_value()
    app = Celery("stock", broker=url, backend=url, set_as_current=False)
    app.conf.broker_transport = "kombu.transport.redis:Transport"
    app.conf.task_default_queue = "runs"
    yield app
    app.close()


def staging(caller: Caller, cql2: object = EMPTY) -> dict[str, object]:
    return {"env": caller.env, "cql2_filter": cql2, "catalog_collection_identifier": caller.collection}


# Served


@pytest.mark.parametrize("priority", [0, 1, 3, 5, 6, 9])
def test_a_message_with_a_priority_is_served(stock: Celery, caller: Caller, priority: int) -> None:
    result = stock.send_task("auxip.staging", kwargs=staging(caller), queue="runs", priority=priority)
    assert result.get(SECONDS) == [True, None]


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "lzma"])
def test_a_compressed_message_is_served(stock: Celery, caller: Caller, compression: str) -> None:
    result = stock.send_task("auxip.staging", kwargs=staging(caller), queue="runs", compression=compression)
    assert result.get(SECONDS) == [True, None]


# Refused, and told so


def refused(context: Context, text: bytes, task_id: str) -> Exception:
    context.ledger.redis.lpush("runs", text)
    result: AsyncResult[object] = AsyncResult(task_id, app=_app())
    error = result.get(SECONDS, propagate=False)
    assert isinstance(error, Exception)
    return error


def _app() -> Any:
    from workers.app import app

    return app


@pytest.mark.parametrize(
    "headers", [{"timelimit": "soon"}, {"eta": "tomorrow"}, {"compression": "application/zstd"}, {"update": 5}]
)
def test_whoever_sends_a_bad_message_with_an_id_is_answered(
    context: Context, workers: list[Child], headers: dict[str, Any]
) -> None:
    message = envelope("auxip.staging", **headers)
    error = refused(context, raw(message), message["headers"]["id"])
    assert "bad-message" in str(error)


def test_a_message_that_unpacks_to_too_much_is_refused(context: Context, workers: list[Child]) -> None:
    message = envelope("auxip.staging", compression="application/x-gzip")
    message["body"] = base64.b64encode(zlib.compress(b" " * (9 * 2**20), 9)).decode()
    assert "message-too-large" in str(refused(context, raw(message), message["headers"]["id"]))


def test_a_message_that_is_too_large_is_answered(context: Context, workers: list[Child]) -> None:
    message = envelope("auxip.staging", [["x" * MAX_MESSAGE_BYTES], {}, None])
    assert "message-too-large" in str(refused(context, raw(message), message["headers"]["id"]))


@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        ("auxip.on_demand_staging", {"env": {"owner_id": "a/b"}, "product_typ": "A"}),
        ("auxip.on_demand_staging", {**ON_DEMAND, "start_datetime": "soon"}),
        ("auxip.staging", {}),
        ("auxip.stagin", {"env": {"owner_id": "a"}}),
    ],
)
def test_both_ways_in_refuse_a_message_in_the_same_words(
    context: Context, workers: list[Child], task: str, arguments: Json
) -> None:
    with pytest.raises(Rejected) as of_the_gate:
        decode_request(json.dumps({"task": task, "arguments": arguments}).encode())
    message = envelope(task, [[], arguments, None])
    of_celery = refused(context, raw(message), message["headers"]["id"])
    assert str(of_celery) == str(of_the_gate.value)


def test_what_is_linked_to_the_failure_of_a_refused_task_is_sent(context: Context, workers: list[Child]) -> None:
    message = envelope("auxip.staging")
    task_id = message["headers"]["id"]
    context.requests.register(task_id, "stamp", "auxip.staging", task_id, "digest", "{}")
    reply = _app().signature("auxip.reply", args=(task_id,), immutable=True, queue="runs")
    embed = {"callbacks": None, "errbacks": [dict(reply)], "chain": None, "chord": None}
    message["body"] = base64.b64encode(json.dumps([[1] * 50, {}, embed]).encode()).decode()
    refused(context, raw(message), task_id)
    redis = context.ledger.redis
    wait_for(lambda: redis.llen(f"auxip:reply:{task_id}") == 1, "the answer is there", SECONDS)
    assert json.loads(str(redis.rpop(f"auxip:reply:{task_id}")))["error"]["code"] == "bad-arguments"


def test_a_bad_message_with_the_id_of_a_run_leaves_the_result_of_the_run_alone(
    context: Context, caller: Caller, workers: list[Child]
) -> None:
    with standing_still(context, workers, "search"):
        result = caller.stage(EMPTY)
        wait_for(lambda: context.ledger.redis.exists(f"auxip:run:{result.id}") == 1, "the run is open")
        bad = envelope("auxip.staging", eta="tomorrow")
        bad["headers"]["id"] = result.id
        context.ledger.redis.lpush("runs", raw(bad))
        wait_for(lambda: context.ledger.redis.llen("runs") == 0, "the message is taken")
    assert result.get(SECONDS) == [True, None]


# Revoked


def queued(context: Context, run_id: str) -> bool:
    """Whether an item of a run waits on the queue, where items of earlier tests may wait too."""
    bodies = [base64.b64decode(json.loads(text)["body"]) for text in context.ledger.redis.lrange("staging", 0, -1)]
    return any(run_id.encode() in body for body in bodies)


@pytest.mark.long
def test_who_sends_a_task_subscribes_to_its_result_only_to_wait_for_it(context: Context, caller: Caller) -> None:
    channel = f"celery-task-meta-{(result := caller.stage(EMPTY)).id}"
    assert context.ledger.redis.pubsub_channels(channel) == []
    assert result.get(SECONDS) == [True, None]


@pytest.mark.long
def test_to_revoke_the_task_of_a_run_cancels_the_run(context: Context, caller: Caller, workers: list[Child]) -> None:
    with standing_still(context, workers, "staging"):
        result = caller.stage(of_type("AX___OSF_AX"))
        wait_for(lambda: queued(context, result.id), "its items are on the queue")
        result.revoke()
        wait_for(lambda: context.ledger.run(result.id).cancelled is not None, "it is cancelled")
    assert closed_run(context, result.id).state is RunState.CANCELLED


@pytest.mark.long
def test_a_revoked_step_is_published_again_under_an_id_that_is_not_revoked(
    context: Context, caller: Caller, workers: list[Child]
) -> None:
    app = _app()
    with standing_still(context, workers, "staging"):
        result = caller.stage(of_type("AX___OSF_AX"))
        wait_for(lambda: queued(context, result.id), "its items are on the queue")
        for text in context.ledger.redis.lrange("staging", 0, -1):
            app.control.revoke(json.loads(text)["headers"]["id"])
    run_again(context, result.id)
    assert closed_run(context, result.id).state is RunState.SUCCESSFUL


def run_again(context: Context, run_id: str) -> None:
    """Have the reconciler look until a run is closed."""
    app = _app()

    def is_closed() -> bool:
        app.send_task("auxip.reconcile")
        return context.ledger.run(run_id).closed is not None

    wait_for(is_closed, "the run is closed", SECONDS)


# One id


def test_another_request_under_the_id_of_a_run_is_refused(
    context: Context, caller: Caller, workers: list[Child]
) -> None:
    app = _app()
    first = caller.stage(EMPTY)
    assert first.get(SECONDS) == [True, None]
    letters = {letter.id for letter in context.dead_letters.letters(kind="message")}
    other = staging(Caller(caller.collection, {"owner_id": "somebody-else"}))
    app.send_task("auxip.staging", kwargs=other, task_id=first.id)

    def refusals() -> list[str]:
        found = context.dead_letters.letters(kind="message")
        return [letter.code for letter in found if letter.id not in letters]

    wait_for(lambda: bool(refusals()), "it is refused", SECONDS)
    assert refusals() == ["id-taken"]
    assert context.ledger.run(first.id).request.owner == caller.env["owner_id"]


def test_the_same_request_under_the_id_of_a_run_is_the_same_run(context: Context, caller: Caller) -> None:
    app = _app()
    first = caller.stage(EMPTY)
    assert first.get(SECONDS) == [True, None]
    message = staging(caller)
    again = app.send_task(
        "auxip.staging",
        args=(message["env"], message["cql2_filter"], message["catalog_collection_identifier"]),
        task_id=first.id,
    )
    wait_for(lambda: context.ledger.redis.llen("runs") == 0, "it is taken")
    assert again.get(SECONDS) == [True, None]


# Forgotten


@pytest.mark.parametrize("queue", ["search", "staging"])
def test_the_caller_of_a_run_that_the_ledger_has_lost_is_told(
    context: Context, caller: Caller, workers: list[Child], queue: str
) -> None:
    redis = context.ledger.redis
    with standing_still(context, workers, queue):
        result = caller.stage(of_type("AX___OSF_AX"))
        wait_for(lambda: redis.llen(queue) > 0, "it is on the queue")
        redis.delete(*redis.scan_iter(f"auxip:run:{result.id}*"))
        redis.zrem("auxip:open", result.id)
    with pytest.raises(Exception, match="ledger-lost"):
        result.get(SECONDS)
    assert not redis.exists(f"auxip:run:{result.id}")


# Killed


def kill_pool(worker: Child) -> int:
    """Kill the processes of a worker's pool; returns how many there were."""
    children = descendants(worker.popen.pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    return len(children)


@pytest.mark.long
def test_a_plain_task_that_kills_its_worker_each_time_is_given_up_after_three_starts(
    context: Context, caller: Caller, workers: list[Child], stack: Stack
) -> None:
    worker = next(child for child in workers if child.name == "worker-search")
    redis = context.ledger.redis
    task_id = str(uuid.uuid4())
    claim = f"auxip:lease:task:{task_id}"
    stack.set_station_faults([{"path": "/search", "delay": 30}])
    _app().send_task("auxip.search", kwargs={"env": caller.env, "auxip_cql2": EMPTY}, task_id=task_id)
    for starts in range(1, 4):
        wait_for(lambda: redis.hget(claim, "starts") == str(starts), f"start {starts}", SECONDS)  # noqa: B023
        assert kill_pool(worker) > 0
    with pytest.raises(Exception, match="worker-killed"):
        _app().AsyncResult(task_id).get(SECONDS)
    assert "worker-killed" in [letter.code for letter in context.dead_letters.letters(kind="message")]
