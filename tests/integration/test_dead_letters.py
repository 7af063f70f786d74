"""The dead letters on a real server: kept whole, within their bounds, and moved in one step."""

import base64
import json
import uuid
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from shared.context import Context
from shared.ledger import DeadLetters
from workers.cli.main import auxip

BINARY = bytes(range(256))


@pytest.fixture
def where(context: Context) -> Iterator[str]:
    """A list of its own, with the letters of this test."""
    name = f"list-{uuid.uuid4()}"
    yield name
    context.ledger.redis.delete(name)
    for letter in list(context.dead_letters.letters(where=name)):
        context.dead_letters.drop(letter.id)


@pytest.fixture
def letters(context: Context) -> DeadLetters:
    return context.dead_letters


@pytest.fixture
def redis(context: Context) -> Redis:
    return context.ledger.redis


def park(letters: DeadLetters, where: str, payload: bytes = BINARY, code: str = "bad-message") -> str:
    return letters.park("message", payload, code, "a reason", where)


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(auxip, ["dead", *arguments])
    assert result.exception is None, result.output
    return result


def test_the_command_lists_the_letters(letters: DeadLetters, where: str) -> None:
    letter = park(letters, where)
    for arguments in ([], ["list", "--newest", "1"]):
        assert letter in run(*arguments).output
    answer = json.loads(run("list", "--newest", "1", "--json").output)
    assert [each["id"] for each in answer["letters"]] == [letter]
    assert answer["count"] == letters.count()


def test_the_command_shows_a_letter_whole(letters: DeadLetters, where: str) -> None:
    letter = park(letters, where, b"\xff\x1b[31m" + b"x" * 3000)
    shown = run("show", letter).output
    assert "\\xff\\x1b[31mxxx" in shown
    assert "1006 bytes more" in shown
    assert base64.b64decode(json.loads(run("show", letter, "--json").output)["payload"]) == letters.payload(letter)


def test_the_command_replays_all_of_a_code(letters: DeadLetters, where: str, redis: Redis) -> None:
    park(letters, where, b"one", code="unknown-task")
    kept = park(letters, where, b"two")
    answer = json.loads(run("replay", "--code", "unknown-task", "--where", where, "--json").output)
    assert [each["where"] for each in answer["replayed"]] == [where]
    assert redis.lrange(where, 0, -1) == ["one"]
    assert [letter.id for letter in letters.letters(where=where)] == [kept]


def test_the_command_drops_those_that_are_named(letters: DeadLetters, where: str) -> None:
    first, second, third = (park(letters, where) for _ in range(3))
    assert json.loads(run("drop", first, third, "--json").output) == {"dropped": [first, third]}
    assert [letter.id for letter in letters.letters(where=where)] == [second]


@pytest.mark.parametrize("arguments", [["drop"], ["replay"], ["drop", "1-1", "--code", "x"]])
def test_the_command_takes_ids_or_a_description(context: Context, arguments: list[str]) -> None:
    result = CliRunner().invoke(auxip, ["dead", *arguments])
    assert result.exit_code == 2
