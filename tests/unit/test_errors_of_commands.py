"""How errors that no command expects leave the command line."""

import json
from typing import NoReturn

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.errors import Rejected
from workers.cli import connecting
from workers.cli.main import auxip, run


def ending_with(error: BaseException, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Have every command end with an error."""

    def fail(**_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(auxip, "main", fail)
    monkeypatch.setattr("sys.argv", ["auxip", *arguments])


def test_a_connection_that_is_lost_on_the_way_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ending_with(RedisConnectionError("Connection closed by server."), monkeypatch)
    monkeypatch.setattr(connecting, "checked_settings", lambda: None)
    assert run() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("auxip: redis-unavailable: the connection to Redis was lost: Connection closed by server.")


def test_a_server_that_is_gone_by_then_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone() -> NoReturn:
        raise Rejected("redis-unreachable", "nothing listens at valkey:6379")

    ending_with(RedisConnectionError("x"), monkeypatch)
    monkeypatch.setattr(connecting, "checked_settings", gone)
    assert run() == 1
    assert capsys.readouterr().err == "auxip: redis-unreachable: nothing listens at valkey:6379\n"


def test_a_fault_of_ours_keeps_its_traceback_and_is_json_for_a_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ending_with(ZeroDivisionError("division by zero"), monkeypatch, "runs", "--json")
    with pytest.raises(ZeroDivisionError):
        run()
    said = json.loads(capsys.readouterr().out)
    assert said["error"] == {"code": "internal-error", "reason": "ZeroDivisionError: division by zero"}


def test_a_status_passes_as_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ending_with(SystemExit(3), monkeypatch, "--json")
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 3
    assert capsys.readouterr().out == ""
