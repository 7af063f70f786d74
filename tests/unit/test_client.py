"""The Python client: what it sends, what it makes of answers, and that it needs nothing of ours."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
import pytest
from fakeredis import FakeRedis, FakeServer

import shared.answer
from tests.unit.making import ANY, item_json
from workers.client import Answer, Auxip, AuxipError, Outcome, Status, calls
from workers.client import answer as clients_answer
from workers.intake import decode_request

CLIENT = Path(calls.__file__).parent
ALONE = """
import importlib.abc, sys

class Refusing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"shared", "workers", "local", "celery", "kombu", "pystac"}:
            raise ImportError(f"the client imports {name}")

sys.meta_path.insert(0, Refusing())
import auxip_workers.client as client
print(client.AuxipError.__name__, client.Answer(id="x", status="empty").status)
"""

Connect = Callable[..., Auxip]


@pytest.fixture
def redis() -> Iterator[FakeRedis]:
    with FakeRedis(server=FakeServer(version=(7,)), decode_responses=True) as fake:
        yield fake


@pytest.fixture
def connect(redis: FakeRedis, monkeypatch: pytest.MonkeyPatch) -> Connect:
    monkeypatch.setattr("workers.client.calls.Redis.from_url", lambda *_, **__: redis)
    monkeypatch.setattr(calls, "_TURN", 0)
    return lambda **options: Auxip("redis://there", **options)


def sent(redis: FakeRedis) -> list[dict[str, Any]]:
    """The requests on the intake, oldest first, each of which the gate would pass on."""
    texts = [str(text) for text in reversed(redis.lrange("auxip:intake", 0, -1))]
    for text in texts:
        decode_request(text.encode())
    return [json.loads(text) for text in texts]


def answered(redis: FakeRedis, request_id: str, **fields: object) -> None:
    """Answer a request as a worker does."""
    reply = sent(redis)[0]["reply"]
    answer = {"id": request_id, "status": "successful", **fields}
    redis.lpush(f"auxip:reply:{reply}", Answer.model_validate(answer).model_dump_json())


def test_a_policy_is_asked_for_by_its_window(connect: Connect, redis: FakeRedis) -> None:
    start = datetime(2024, 3, 25, 9, tzinfo=UTC)
    request = connect(owner="operations").stage(
        "aux", product_type="A", start=start, end="2024-03-25T10:00:00Z", policy=["ValCover"], platform="sentinel-1a"
    )
    (message,) = sent(redis)
    assert (message["task"], message["id"], message["priority"]) == ("auxip.on_demand_staging", request.id, "on-demand")
    assert message["arguments"] == {
        "env": {"owner_id": "operations"},
        "catalog_collection_identifier": "aux",
        "product_type": "A",
        "start_datetime": "2024-03-25T09:00:00+00:00",
        "end_datetime": "2024-03-25T10:00:00Z",
        "policy": ["ValCover"],
        "platform": "sentinel-1a",
    }


def test_a_filter_is_asked_for_by_its_own_task_and_id(connect: Connect, redis: FakeRedis) -> None:
    cql2 = {"op": "=", "args": [{"property": "product:type"}, "A"]}
    assert connect().stage("aux", cql2=cql2, id="pass-1", priority="bulk").id == "pass-1"
    (message,) = sent(redis)
    assert (message["task"], message["id"], message["priority"]) == ("auxip.staging", "pass-1", "bulk")
    assert message["arguments"]["cql2_filter"] == cql2


def test_an_outcome_has_the_items_the_failed_ones_and_the_report(connect: Connect, redis: FakeRedis) -> None:
    request = connect().stage("aux", product_type="A", policy="LatestGeneration")
    failed = [{"id": "Y", "code": "size-mismatch", "reason": "3 bytes"}]
    properties = {"datetime": "2024-03-25T00:00:00Z"}
    feature = item_json("X", stac_version="1.1.0", properties=properties)
    collection = {"type": "FeatureCollection", "features": [feature]}
    answered(redis, request.id, status="partial", failed=failed, report="s3://b/r", result=[False, collection])

    outcome = request.wait(timeout=5)
    assert outcome.status is Status.PARTIAL
    assert isinstance(outcome.items, pystac.ItemCollection)
    assert [item.id for item in outcome.items] == ["X"]
    assert [each.id for each in outcome.failed] == ["Y"]
    assert outcome.report == "s3://b/r"


@pytest.mark.parametrize("result", [None, [True, None]])
def test_an_outcome_without_items_has_none(result: object) -> None:
    outcome = Outcome(Answer(id="x", status=Status.EMPTY, result=result))
    assert len(outcome.items) == 0
    assert outcome.counts.items == 0


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"result": [True, {"rel": "items", "href": "s3://b/all"}]}, "s3://b/all"),
        ({"left_out": "celery-task-meta-x has it"}, "celery-task-meta-x"),
    ],
)
def test_items_that_are_not_in_the_answer_are_elsewhere(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(LookupError, match=where):
        _ = Outcome(Answer(id="x", status=Status.SUCCESSFUL, **fields)).items


@pytest.mark.parametrize(("code", "kind"), [("unknown-collection", AuxipError), ("nothing-found", ValueError)])
def test_a_request_that_failed_as_a_whole_raises(
    connect: Connect, redis: FakeRedis, code: str, kind: type[Exception]
) -> None:
    request = connect().stage("aux", product_type="A", policy="LatestGeneration")
    answered(redis, request.id, status="failed", error={"code": code, "reason": "because"})
    with pytest.raises(kind) as raised:
        request.wait(timeout=5)
    assert isinstance(raised.value, AuxipError)
    assert (raised.value.code, raised.value.reason) == (code, "because")


def test_a_request_without_an_answer_ends_the_wait(connect: Connect) -> None:
    with pytest.raises(TimeoutError, match="it goes on"):
        connect().stage("aux", product_type="A", policy="LatestGeneration").wait(timeout=0.02)


def test_a_connection_waits_longer_for_an_answer_than_a_poll_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, float] = {}
    monkeypatch.setattr("workers.client.calls.Redis.from_url", lambda _, **options: given.update(options))
    Auxip("redis://there")
    assert given["socket_timeout"] > calls._ONE_POLL


def test_answers_may_come_in_any_order_and_twice(connect: Connect, redis: FakeRedis) -> None:
    client = connect()
    first, second = (client.request("auxip.search", {"auxip_cql2": ANY}) for _ in range(2))
    for request_id in (second.id, second.id, first.id):
        answered(redis, request_id, result=request_id)
    assert first.wait(5).answer.result == first.id
    assert second.wait(5).answer.result == second.id
    assert client.receive("none", 0.02) is None
    assert redis.llen(f"auxip:reply:{sent(redis)[0]['reply']}") == 0


def test_programs_of_one_named_list_leave_each_other_their_answers(connect: Connect, redis: FakeRedis) -> None:
    one, other = connect(reply="planning"), connect(reply="planning")
    first = one.stage("aux", product_type="A", policy="LatestGeneration")
    second = other.stage("aux", product_type="A", policy="LatestGeneration")
    answered(redis, second.id)
    answered(redis, first.id)
    assert first.wait(5).answer.id == first.id
    assert second.wait(5).answer.id == second.id


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ({"result": {"id": "run", "status": "working"}}, Status.WORKING),
        ({"status": "failed", "error": {"code": "unknown-run", "reason": "none"}}, Status.ACCEPTED),
    ],
)
def test_the_status_of_a_run_that_no_worker_has_begun_is_accepted(
    connect: Connect, redis: FakeRedis, monkeypatch: pytest.MonkeyPatch, reply: dict[str, Any], status: Status
) -> None:
    request = connect().stage("aux", product_type="A", policy="LatestGeneration")
    push = redis.lpush

    def gate(key: str, text: str) -> None:
        push(key, text)
        answered(redis, sent(redis)[-1]["id"], **reply)

    with monkeypatch.context() as patch:
        patch.setattr(redis, "lpush", lambda key, text: gate(key, text) if key == "auxip:intake" else push(key, text))
        assert request.status().status is status
    asked = sent(redis)[-1]
    assert (asked["task"], asked["arguments"]["run"]) == ("auxip.status", request.id)


def test_the_client_has_the_same_text_of_the_answer() -> None:
    assert Path(clients_answer.__file__).read_text() == Path(shared.answer.__file__).read_text()


def test_the_client_is_imported_by_its_own_name_without_anything_of_ours(tmp_path: Path) -> None:
    (tmp_path / "auxip_workers").mkdir()
    (tmp_path / "auxip_workers" / "client").symlink_to(CLIENT)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(  # noqa: S603 - our own text
        [sys.executable, "-c", ALONE],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.stdout, ended.returncode) == ("AuxipError empty\n", 0), ended.stderr
