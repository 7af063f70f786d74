"""Gates on a broker of their own: nothing that was pushed onto the intake is lost, and nothing stops what is behind."""

import base64
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from local.processes import Child, free_ports, start
from local.valkey import Valkey
from shared.ledger import INTAKE, DeadLetters, Ledger
from shared.settings import PREFIX
from tests.integration.conftest import wait_for
from tests.requests import BAD, raw, request
from workers.contract import MESSAGES, OnDemandMessage, decode

ROOT = Path(__file__).parents[2]
SECONDS = 60
LEASE = 3
HELD = (f"{INTAKE}:taken", f"{INTAKE}:leases", f"{INTAKE}:retaken")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

Start = Callable[[], Child]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Valkey]:
    (port,) = free_ports(1)
    valkey = Valkey(tmp_path, port, "password", "always")
    valkey.wait(20)
    yield valkey
    valkey.child.stop(5)


@pytest.fixture
def redis(broker: Valkey) -> Iterator[Redis]:
    with Redis.from_url(broker.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def letters(redis: Redis) -> DeadLetters:
    return DeadLetters(redis, 1000)


@pytest.fixture
def environ(broker: Valkey, tmp_path: Path) -> dict[str, str]:
    """The settings of a gate."""
    stations = tmp_path / "stations.toml"
    stations.write_text('[station.one]\nurl = "http://127.0.0.1:1"\n')
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | {
        "PYTHONPATH": str(ROOT),
        "AUXIP_REDIS_URL": broker.url,
        "AUXIP_STATIONS_FILE": str(stations),
        "AUXIP_CATALOG_URL": "http://127.0.0.1:1",
        "AUXIP_S3_ENDPOINT": "http://127.0.0.1:1",
        "AUXIP_S3_ACCESS_KEY_ID": "a",
        "AUXIP_S3_SECRET_ACCESS_KEY": "b",
        "AUXIP_S3_BUCKET": "bucket",
        "AUXIP_LEASE": str(LEASE),
    }


@pytest.fixture
def gate(environ: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """What starts a gate."""
    started: list[Child] = []

    def begin() -> Child:
        name = f"gate-{len(started)}"
        argv = [sys.executable, "-m", "workers.cli", "gate", "--alive", str(tmp_path / f"{name}.alive")]
        started.append(start(name, argv, environ, tmp_path, tmp_path / f"{name}.log"))
        return started[-1]

    yield begin
    for child in started:
        child.popen.kill()
        child.popen.wait()


def push(redis: Redis, count: int, **fields: object) -> list[str]:
    """Push requests of new ids; returns these."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    redis.lpush(INTAKE, *(raw(request(id=each, **fields)) for each in ids))
    return ids


def published(redis: Redis, queue: str = "runs") -> list[dict[str, Any]]:
    """The messages of a queue, in the order of their publishing."""
    return [json.loads(text) for text in reversed(redis.lrange(queue, 0, -1))]


def ids_of(messages: list[dict[str, Any]]) -> list[str]:
    return [message["headers"]["id"] for message in messages]


def nothing_is_held(redis: Redis) -> bool:
    return redis.llen(INTAKE) == 0 and redis.exists(*HELD) == 0


def test_a_request_becomes_the_message_of_its_task(redis: Redis, gate: Start) -> None:
    gate()
    (request_id,) = push(redis, 1, priority="bulk", traceparent=TRACE)
    wait_for(lambda: redis.llen("runs.bulk") == 1, "it is published in its lane", SECONDS)
    (message,) = published(redis, "runs.bulk")

    headers = message["headers"]
    assert [headers[name] for name in ("task", "id", "traceparent")] == ["auxip.on_demand_staging", request_id, TRACE]
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    assert (args, kwargs) == ([], request()["arguments"])
    wait_for(lambda: nothing_is_held(redis), "it is dealt with", SECONDS)


def test_a_request_without_an_id_is_given_one(redis: Redis, gate: Start) -> None:
    gate()
    redis.lpush(INTAKE, raw(request()), raw(request()))
    wait_for(lambda: redis.llen("runs") == 2, "both are published", SECONDS)
    assert len({str(uuid.UUID(each)) for each in ids_of(published(redis))}) == 2


def test_requests_are_served_in_their_order(redis: Redis, gate: Start) -> None:
    pushed = push(redis, 100)
    gate()
    wait_for(lambda: redis.llen("runs") == 100, "all are published", SECONDS)
    assert ids_of(published(redis)) == pushed


@pytest.mark.long
def test_the_same_id_twice_is_published_once(redis: Redis, gate: Start) -> None:
    redis.lpush(INTAKE, *(raw(request(id=each)) for each in ("x", "x", "y", "x")))
    gate()
    gate()
    wait_for(lambda: "y" in ids_of(published(redis)) and nothing_is_held(redis), "all are served", SECONDS)
    assert sorted(ids_of(published(redis))) == ["x", "y"]


def test_each_bad_request_is_parked_whole_with_its_reason_and_the_next_is_served_at_once(
    redis: Redis, gate: Start, letters: DeadLetters
) -> None:
    gate()
    push(redis, 1)
    wait_for(lambda: redis.llen("runs") == 1, "the gate is open", SECONDS)
    redis.lpush(INTAKE, *(text for text, _ in BAD.values()), raw(request(id="good")))
    began = time.monotonic()
    wait_for(lambda: redis.llen("runs") == 2, "the good one is published", SECONDS)

    assert time.monotonic() - began < 5
    parked = {letters.payload(letter.id): letter for letter in letters.letters("request", where=INTAKE)}
    assert {name: parked[text].code for name, (text, _) in BAD.items()} == {
        name: code for name, (_, code) in BAD.items()
    }
    assert all(letter.reason for letter in parked.values())
    assert ids_of(published(redis))[1] == "good"
    wait_for(lambda: nothing_is_held(redis), "all are dealt with", SECONDS)


def test_a_refused_request_is_answered(redis: Redis, gate: Start) -> None:
    gate()
    redis.lpush(INTAKE, raw(request(id="x", reply="me", priority="urgent")))
    wait_for(lambda: redis.llen("auxip:reply:me") == 1, "it is answered", SECONDS)
    answer = json.loads(str(redis.lindex("auxip:reply:me", 0)))
    assert (answer["id"], answer["status"], answer["error"]["code"]) == ("x", "failed", "bad-message")
    assert answer["error"]["reason"].startswith("priority: ")


def test_a_parked_request_can_be_replayed(redis: Redis, gate: Start, letters: DeadLetters) -> None:
    gate()
    letter = letters.park("request", raw(request(id="again")), "unknown-task", "for a test", INTAKE)
    assert letters.replay(letter) == INTAKE
    wait_for(lambda: ids_of(published(redis)) == ["again"], "it is published", SECONDS)


@pytest.mark.long
def test_nothing_is_lost_by_kills_and_each_run_is_opened_once(redis: Redis, gate: Start, letters: DeadLetters) -> None:
    chance = random.Random(4)  # noqa: S311 - not for secrets
    ids = push(redis, 300)
    redis.lpush(INTAKE, *(raw(request(arguments={**request()["arguments"], "platform": f"p{n}"})) for n in range(100)))
    gates = [gate(), gate()]
    for kill in range(8):
        target = int(redis.llen("runs")) + chance.randint(1, 40)
        deadline = time.monotonic() + SECONDS
        while redis.llen("runs") < target:  # without a pause: a gate is to be killed in the middle of its work
            assert time.monotonic() < deadline
        gates[kill % 2].popen.kill()
        gates[kill % 2].popen.wait()
        gates[kill % 2] = gate()
    wait_for(lambda: nothing_is_held(redis), "all are dealt with", SECONDS)

    messages = published(redis)
    opened = Counter(_open(redis, message) for message in messages)
    assert opened[True] == 400
    assert set(ids) <= set(ids_of(messages))
    assert len(messages) < 450
    assert letters.count() == 0


def _open(redis: Redis, message: dict[str, Any]) -> bool:
    """Do what a worker does with the message of a run; returns whether that has opened it."""
    _, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    decoded = decode(MESSAGES[message["headers"]["task"]], **kwargs)
    assert isinstance(decoded, OnDemandMessage)
    return Ledger(redis, 1, window=1, patience=1).open_run(message["headers"]["id"], decoded.request())


@pytest.mark.long
def test_a_gate_that_is_told_to_end_hands_back_and_ends_at_once(redis: Redis, gate: Start) -> None:
    ids = push(redis, 600)
    first = gate()
    wait_for(lambda: redis.llen("runs") > 0, "it is at work", SECONDS)
    first.popen.terminate()
    began = time.monotonic()
    assert first.popen.wait(20) == 0
    assert time.monotonic() - began < 3
    assert 0 < redis.llen("runs") < 600
    assert redis.zcount(HELD[1], 1, "+inf") == 0

    gate()
    wait_for(lambda: nothing_is_held(redis), "another one has served the rest", SECONDS)
    assert sorted(ids_of(published(redis))) == sorted(ids)


@pytest.mark.long
def test_an_idle_gate_ends_at_once(redis: Redis, gate: Start, tmp_path: Path) -> None:
    child = gate()
    wait_for((tmp_path / "gate-0.alive").exists, "it is open", SECONDS)
    child.popen.send_signal(signal.SIGTERM)
    assert child.popen.wait(3) == 0


@pytest.mark.long
def test_a_gate_ends_while_its_broker_is_away(broker: Valkey, redis: Redis, gate: Start, tmp_path: Path) -> None:
    child = gate()
    wait_for((tmp_path / "gate-0.alive").exists, "it is open", SECONDS)
    broker.child.popen.kill()
    broker.child.popen.wait()
    wait_for(lambda: "trying again" in child.log.read_text(), "it has seen that", SECONDS)
    child.popen.terminate()
    assert child.popen.wait(8) == 0
    broker.start_again()
    broker.wait(20)


@pytest.mark.long
def test_a_restart_of_the_broker_loses_nothing(broker: Valkey, redis: Redis, gate: Start) -> None:
    ids = push(redis, 600)
    child = gate()
    for passed in (50, 300):
        wait_for(lambda: redis.llen("runs") > passed, "it is at work", SECONDS)  # noqa: B023 - waited for here
        broker.child.popen.kill()
        broker.child.popen.wait()
        broker.start_again()
        broker.wait(20)
    wait_for(lambda: nothing_is_held(redis), "all are dealt with", SECONDS)

    assert set(ids_of(published(redis))) == set(ids)
    assert child.popen.poll() is None


def test_a_request_that_ends_its_gates_is_parked_and_its_neighbours_are_served(
    redis: Redis, letters: DeadLetters
) -> None:
    from shared.ledger import Intake

    redis.lpush(INTAKE, "first", "ends the gate", "last")
    intake = Intake(redis, lease=0, dead_letters_max=10)
    assert len(intake.take(["1", "2", "3"], 0)) == 3
    served = []
    for _ in range(20):
        for taken in intake.take(["4"], 0):
            if taken.raw != b"ends the gate":
                served.append(taken.raw)
                intake.done(taken.stamp)

    assert served == [b"first", b"last"]
    assert [(letter.code, letters.payload(letter.id)) for letter in letters.page()] == [
        ("message-rejected", b"ends the gate")
    ]
    assert nothing_is_held(redis)


def test_a_wrong_setting_ends_a_gate_with_one_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "workers.cli", "gate"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "AUXIP_REDIS_URL is not set" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


# Who may ask for what

CALLERS = """
[caller.planning]
tasks = ["auxip.on_demand_staging", "auxip.process_asset"]
owners = ["operations"]
"""


@pytest.fixture
def strict_gate(environ: dict[str, str], tmp_path: Path) -> Iterator[Child]:
    """A gate whose owners' file says who may ask for what."""
    owners = tmp_path / "owners.toml"
    owners.write_text(CALLERS)
    argv = [sys.executable, "-m", "workers.cli", "gate"]
    child = start("gate", argv, {**environ, "AUXIP_OWNERS_FILE": str(owners)}, tmp_path, tmp_path / "strict.log")
    yield child
    child.popen.kill()
    child.popen.wait()


REFUSED = {
    "another list": request(reply="somebody"),
    "no list": request(),
    "another task": {
        "task": "auxip.search",
        "arguments": {
            "env": {"owner_id": "operations"},
            "auxip_cql2": {"filter": {"op": "=", "args": [{"property": "id"}, "x"]}},
        },
        "reply": "planning",
    },
    "another owner": request(reply="planning", arguments={**request()["arguments"], "env": {"owner_id": "other"}}),
    "the default owner": {
        "task": "auxip.process_asset",
        "arguments": {"asset_href": "s3://bucket/auxip/a.zip", "asset_name": "a.zip"},
        "reply": "planning",
    },
}


def test_a_caller_that_may_ask_is_served(redis: Redis, strict_gate: Child) -> None:
    redis.lpush(INTAKE, raw(request(reply="planning")))
    wait_for(lambda: redis.llen("runs") == 1, "it is published", SECONDS)


@pytest.mark.parametrize("name", REFUSED)
def test_a_caller_that_may_not_ask_is_refused(
    redis: Redis, strict_gate: Child, letters: DeadLetters, name: str
) -> None:
    redis.lpush(INTAKE, raw(REFUSED[name]))
    wait_for(lambda: letters.count() == 1, "it is refused", SECONDS)
    assert letters.page()[0].code == "not-allowed"
    assert redis.llen("runs") == 0
