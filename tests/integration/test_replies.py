"""Requests of other systems from the intake to the answer on their reply list, with real workers and a gate."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu.exceptions import OperationalError
from redis import Redis

from local.processes import Child
from local.stack import Stack
from shared.answer import Answer, Status
from shared.context import Context
from shared.json_types import Json
from shared.ledger import INTAKE, Intake, Requests
from tests.integration.conftest import Caller, of_type, wait_for
from tests.integration.test_halted import standing_still
from tests.requests import raw, request
from workers.app import app
from workers.gate import Gate
from workers.intake import MAX_ANSWER_BYTES
from workers.queues import task_work

SECONDS = 60
Answers = Callable[[int], list[dict[str, Any]]]


@pytest.fixture
def gate(stack: Stack, workers: list[Child]) -> Iterator[Child]:
    from workers.cli.fleet import start_gate

    child = start_gate(stack)
    yield child
    child.stop(10)


@pytest.fixture
def redis(context: Context) -> Redis:
    return context.ledger.redis


@pytest.fixture
def name() -> str:
    """A reply list of its own."""
    return f"me-{uuid.uuid4()}"


@pytest.fixture
def answers(redis: Redis, name: str) -> Answers:
    """What waits until so many answers are there, and returns them, oldest first."""

    def wait(count: int) -> list[dict[str, Any]]:
        key = f"auxip:reply:{name}"
        wait_for(lambda: int(redis.llen(key)) >= count, f"{count} answers are there", SECONDS)
        return [json.loads(str(text)) for text in reversed(redis.lrange(key, 0, -1))]

    return wait


def staging(caller: Caller, product_type: str) -> dict[str, Any]:
    arguments = {
        "env": caller.env,
        "cql2_filter": of_type(product_type),
        "catalog_collection_identifier": caller.collection,
    }
    return {"task": "auxip.staging", "arguments": arguments}


@pytest.mark.long
def test_a_run_that_succeeds_is_answered_with_its_result(
    gate: Child, caller: Caller, redis: Redis, name: str, answers: Answers, context: Context
) -> None:
    request_id = str(uuid.uuid4())
    redis.lpush(INTAKE, raw({**staging(caller, "OPER_MPL_ORBSCT"), "id": request_id, "reply": name}))
    (answer,) = answers(1)

    assert (answer["id"], answer["status"]) == (request_id, "successful")
    status, collection = answer["result"]
    assert status is True
    assert len(collection["features"]) == 2
    assert context.ledger.run(request_id).state == "successful"
    assert 0 < redis.ttl(f"auxip:reply:{name}") <= 86_400


def test_a_run_that_fails_is_answered_with_its_error(
    gate: Child, caller: Caller, redis: Redis, name: str, answers: Answers, context: Context
) -> None:
    request_id = str(uuid.uuid4())
    sent = {**staging(caller, "OPER_MPL_ORBSCT"), "id": request_id, "reply": name}
    sent["arguments"]["catalog_collection_identifier"] = "no-such-collection"
    redis.lpush(INTAKE, raw(sent))

    (answer,) = answers(1)
    assert (answer["id"], answer["run"], answer["status"]) == (request_id, request_id, "failed")
    assert answer["error"]["code"] == "unknown-collection"
    assert "auxip collection create" in answer["error"]["what_to_do"]
    assert context.ledger.run(request_id).state == "failed"


@pytest.mark.long
def test_a_run_all_of_whose_items_fail_is_answered_as_failed_with_its_items(
    gate: Child, caller: Caller, redis: Redis, name: str, answers: Answers, stack: Stack, context: Context
) -> None:
    stack.set_station_faults([{"path": "/Products", "status": 404}])
    redis.lpush(INTAKE, raw({**staging(caller, "OPER_MPL_ORBSCT"), "reply": name}))

    (said,) = answers(1)
    answer = Answer.model_validate(said)
    assert (answer.status, answer.result) == (Status.FAILED, [False, None])
    assert answer.counts is not None
    assert answer.counts.failed == answer.counts.items == len(answer.failed) == 2
    assert {failed.code for failed in answer.failed} == {"station-not-found"}
    assert all(failed.what_to_do for failed in answer.failed)
    assert answer.report == f"s3://aux/runs/{answer.run}/report.json"


def test_an_answer_says_what_was_selected_of_each_type_and_how_late_the_items_were(
    gate: Child, caller: Caller, redis: Redis, name: str, answers: Answers
) -> None:
    types = ["OPER_MPL_ORBSCT", "OPER_MPL_ORBSCTT"]
    arguments = {
        "env": caller.env,
        "catalog_collection_identifier": caller.collection,
        "product_type": types,
        "policy": "LatestGeneration",
    }
    redis.lpush(INTAKE, raw({"task": "auxip.on_demand_staging", "arguments": arguments, "reply": name}))

    answer = Answer.model_validate(answers(1)[0])
    good, misspelt = answer.selected
    assert (good.product_type, good.policy, good.selected) == (types[0], "LatestGeneration", 1)
    assert (misspelt.product_type, misspelt.policy, misspelt.offered, misspelt.selected) == (types[1], None, 0, 0)
    assert answer.timeliness is not None
    assert answer.timeliness.items == 1
    assert answer.timeliness.longest_seconds > 0


@pytest.mark.long
def test_a_filter_that_finds_nothing_of_a_type_is_answered_as_empty_with_the_type(
    gate: Child, caller: Caller, redis: Redis, name: str, answers: Answers
) -> None:
    redis.lpush(INTAKE, raw({**staging(caller, "MISSPELT"), "reply": name}))
    answer = Answer.model_validate(answers(1)[0])
    assert (answer.status, answer.result) == (Status.EMPTY, [True, None])
    assert [(each.product_type, each.selected) for each in answer.selected] == [("MISSPELT", 0)]


def test_a_run_that_no_worker_opens_is_answered_with_its_error(
    gate: Child, caller: Caller, redis: Redis, name: str, answers: Answers
) -> None:
    sent = staging(caller, "OPER_MPL_ORBSCT")
    sent["arguments"]["cql2_filter"] = {"query": "no such query", "parameters": {}}
    redis.lpush(INTAKE, raw({**sent, "reply": name}))
    (answer,) = answers(1)
    assert answer["error"]["code"] == "unknown-query"


@pytest.mark.long
def test_a_task_that_is_no_run_is_answered(
    gate: Child, caller: Caller, redis: Redis, name: str, answers: Answers
) -> None:
    good: Json = {"env": caller.env, "auxip_cql2": of_type("OPER_MPL_ORBSCT")}
    bad: Json = {"env": caller.env, "auxip_cql2": of_type("NO_SUCH_TYPE"), "error_if_empty": True}
    for request_id, arguments in (("good", good), ("bad", bad)):
        fields = {"task": "auxip.search", "arguments": arguments, "id": f"{request_id}-{name}", "reply": name}
        redis.lpush(INTAKE, raw(fields))
    told = {answer["id"]: answer for answer in answers(2)}
    assert len(told[f"good-{name}"]["result"]["features"]) == 2
    assert told[f"bad-{name}"]["error"]["code"] == "nothing-found"


@pytest.mark.long
def test_the_same_id_twice_is_one_run_and_both_are_answered(
    gate: Child, caller: Caller, redis: Redis, name: str, answers: Answers, context: Context
) -> None:
    request_id = str(uuid.uuid4())
    text = raw({**staging(caller, "OPER_MPL_ORBSCT"), "id": request_id, "reply": name})
    before = {run.id for run in context.ledger.runs(10_000)}
    redis.lpush(INTAKE, text, text)
    first, second = answers(2)
    redis.lpush(INTAKE, text)  # it has ended
    third = answers(3)[2]

    assert first == second == third
    assert {run.id for run in context.ledger.runs(10_000)} - before == {request_id}
    wait_for(lambda: redis.exists(f"auxip:request:{request_id}:replies") == 0, "nobody waits", SECONDS)


@pytest.mark.long
def test_a_second_request_need_not_have_the_list_of_the_first(
    gate: Child, caller: Caller, redis: Redis, name: str, answers: Answers
) -> None:
    sent = {**staging(caller, "OPER_MPL_ORBSCT"), "id": str(uuid.uuid4())}
    redis.lpush(INTAKE, raw(sent), raw({**sent, "reply": name}))
    assert answers(1)[0]["status"] == "successful"


# A gate that is killed between any two of its steps


class Killed(BaseException):
    """Ends a gate as no error does."""


STEPS: dict[str, tuple[Any, str]] = {
    "taken": (Intake, "take"),
    "registered": (Requests, "register"),
    "published": (app, "send_task"),
    "done": (Intake, "done"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("given", [True, False], ids=["an id", "no id"])
def test_a_gate_that_is_killed_after_any_step_leaves_one_id_and_one_answer(
    workers: list[Child],
    context: Context,
    redis: Redis,
    name: str,
    answers: Answers,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    given: bool,
) -> None:
    settings = context.settings.model_copy(update={"lease": 0.0})
    sent: list[object] = []
    send = app.send_task

    def recorded(*args: Any, **kwargs: Any) -> None:
        sent.append(kwargs["task_id"])
        send(*args, **kwargs)

    monkeypatch.setattr(app, "send_task", recorded)
    redis.lpush(INTAKE, raw(request(reply=name, **({"id": name} if given else {}))))
    place, method = STEPS[step]
    with monkeypatch.context() as patch:
        patch.setattr(place, method, _killing(getattr(place, method)))
        with pytest.raises(Killed):
            Gate(settings).serve_some()
    Gate(settings).serve_some()

    (answer,) = answers(1)
    assert set(sent) == {answer["id"]}
    assert redis.exists(f"{INTAKE}:taken") == 0
    wait_for(lambda: redis.exists(f"auxip:request:{answer['id']}:replies") == 0, "nobody waits", SECONDS)
    assert len(answers(1)) == 1
    assert context.ledger.run(answer["id"]).closed is not None


def _killing(step: Callable[..., object]) -> Callable[..., None]:
    def killed(*args: object, **kwargs: object) -> None:
        step(*args, **kwargs)
        raise Killed

    return killed


def test_a_request_at_which_the_gate_fails_is_parked_and_may_come_again(
    workers: list[Child],
    context: Context,
    redis: Redis,
    name: str,
    answers: Answers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("hunter2")

    text = raw(request(id=name, reply=name))
    redis.lpush(INTAKE, text)
    with monkeypatch.context() as patch:
        patch.setattr(app, "send_task", fails)
        Gate(context.settings).serve_some()
    letter = context.dead_letters.page(size=1)[0]
    assert (letter.kind, letter.code, context.dead_letters.payload(letter.id)) == ("request", "internal-error", text)
    assert "hunter2" not in letter.reason

    context.dead_letters.replay(letter.id)
    Gate(context.settings).serve_some()
    assert [answer["status"] for answer in answers(2)] == ["failed", "empty"]


def test_a_request_that_cannot_be_published_yet_is_held_and_tried_again(
    workers: list[Child], context: Context, redis: Redis, name: str, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OperationalError

    gate = Gate(context.settings)
    redis.lpush(INTAKE, raw(request(reply=name)))
    with monkeypatch.context() as patch:
        patch.setattr(app, "send_task", fails)
        with pytest.raises(OperationalError):
            gate.serve_some()
    assert redis.hlen(f"{INTAKE}:taken") == 1
    gate.serve_some()
    assert redis.hlen(f"{INTAKE}:taken") == 0
    assert answers(1)[0]["status"] == "empty"


def test_a_result_that_is_too_large_is_told_and_can_be_read(
    workers: list[Child], redis: Redis, context: Context, name: str, answers: Answers
) -> None:
    stored: Json = {
        "status": "SUCCESS",
        "result": "x" * MAX_ANSWER_BYTES,
        "task_id": name,
        "children": [],
        "traceback": None,
    }
    redis.set(f"celery-task-meta-{name}", json.dumps(stored), ex=600)
    context.requests.register(name, "stamp", "task", name, "digest", "{}")
    app.send_task("auxip.reply", args=(name,))
    (answer,) = answers(1)
    assert answer["result"] is None
    assert f"celery-task-meta-{name}" in str(answer["left_out"])
    assert redis.exists(f"celery-task-meta-{name}") == 1


@pytest.mark.long
def test_another_request_under_an_id_that_is_known_is_refused(
    gate: Child, caller: Caller, redis: Redis, name: str, answers: Answers
) -> None:
    request_id = str(uuid.uuid4())
    redis.lpush(INTAKE, raw({**staging(caller, "OPER_MPL_ORBSCT"), "id": request_id, "reply": f"first-{name}"}))
    other = staging(Caller(caller.collection, {"owner_id": "somebody-else"}), "OPER_MPL_ORBSCT")
    redis.lpush(INTAKE, raw({**other, "id": request_id, "reply": name}))
    (answer,) = answers(1)
    assert (answer["status"], answer["error"]["code"]) == ("failed", "id-taken")
    wait_for(lambda: redis.llen(f"auxip:reply:first-{name}") == 1, "the first is answered", SECONDS)


# Messages that are lost


def fall_due(context: Context, request_id: str) -> None:
    """Have the reconciler look at a request now, which it postpones while a worker is at the task."""
    redis, agenda = context.ledger.redis, context.ledger.agenda
    wait_for(lambda: redis.zscore("auxip:requests", request_id) is not None, "the request is accepted", SECONDS)
    wait_for(lambda: not agenda.claim_left(task_work(request_id)), "no worker is at it", SECONDS)
    redis.zadd("auxip:requests", {request_id: 0})
    app.send_task("auxip.reconcile")


@pytest.mark.long
def test_a_request_whose_message_is_lost_is_passed_on_again(
    gate: Child, caller: Caller, redis: Redis, name: str, answers: Answers, context: Context, workers: list[Child]
) -> None:
    request_id = str(uuid.uuid4())
    with standing_still(context, workers, "runs"):
        redis.lpush(INTAKE, raw({**staging(caller, "OPER_MPL_ORBSCT"), "id": request_id, "reply": name}))
        wait_for(lambda: redis.llen("runs") > 0, "it is on the queue", SECONDS)
        redis.delete("runs")
    fall_due(context, request_id)
    (answer,) = answers(1)
    assert (answer["id"], answer["status"]) == (request_id, "successful")
    assert redis.zscore("auxip:requests", request_id) is None


def test_an_answer_whose_message_is_lost_is_sent_again(
    gate: Child, caller: Caller, redis: Redis, name: str, answers: Answers, context: Context, workers: list[Child]
) -> None:
    request_id = str(uuid.uuid4())
    search = {"task": "auxip.search", "arguments": {"env": caller.env, "auxip_cql2": of_type("OPER_MPL_ORBSCT")}}
    with standing_still(context, workers, "runs"):
        redis.lpush(INTAKE, raw({**search, "id": request_id, "reply": name}))
        wait_for(lambda: redis.llen("runs") > 0, "the message that answers it is on the queue", SECONDS)
        redis.delete("runs")
    fall_due(context, request_id)
    (answer,) = answers(1)
    assert (answer["id"], answer["status"]) == (request_id, "successful")


@pytest.mark.long
def test_a_request_that_a_run_works_on_is_left_alone(
    gate: Child, caller: Caller, redis: Redis, name: str, answers: Answers, context: Context, workers: list[Child]
) -> None:
    request_id = str(uuid.uuid4())
    with standing_still(context, workers, "staging"):
        redis.lpush(INTAKE, raw({**staging(caller, "OPER_MPL_ORBSCT"), "id": request_id, "reply": name}))
        wait_for(lambda: redis.hget(f"auxip:run:{request_id}", "state") == "working", "its run works", SECONDS)
        fall_due(context, request_id)
        wait_for(lambda: float(redis.zscore("auxip:requests", request_id) or 0) > 0, "it is looked at", SECONDS)
        assert redis.hmget(f"auxip:request:{request_id}", "again", "request") == [None, None]
    assert len(answers(1)) == 1


def test_a_request_whose_run_is_forgotten_is_answered(
    gate: Child, caller: Caller, redis: Redis, name: str, answers: Answers, context: Context, workers: list[Child]
) -> None:
    request_id = str(uuid.uuid4())
    with standing_still(context, workers, "search"):
        redis.lpush(INTAKE, raw({**staging(caller, "OPER_MPL_ORBSCT"), "id": request_id, "reply": name}))
        wait_for(lambda: redis.llen("search") > 0, "its run is open", SECONDS)
        redis.delete("search", f"auxip:run:{request_id}")
        redis.zrem("auxip:open", request_id)
        fall_due(context, request_id)
        (answer,) = answers(1)
    assert answer["error"]["code"] == "ledger-lost"
