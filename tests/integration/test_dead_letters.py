"""The dead letters on a real server: kept whole, within their bounds, and moved in one step."""

import base64
import json
import uuid
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from shared.context import Context
from shared.errors import Rejected
from shared.ledger import DeadLetters, dead_letters
from tests.integration.opened import THREADS, at_once
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


def test_a_letter_is_what_was_parked(letters: DeadLetters, where: str) -> None:
    letter = letters.letter(park(letters, where))
    assert (letter.kind, letter.code, letter.reason, letter.where) == ("message", "bad-message", "a reason", where)
    assert (letter.size, letters.payload(letter.id)) == (256, BINARY)


def test_letters_are_listed_in_pages_newest_first(letters: DeadLetters, where: str) -> None:
    parked = [park(letters, where) for _ in range(5)]
    first = letters.page(size=2)
    second = letters.page(before=first[-1].id, size=2)
    assert [letter.id for letter in (*first, *second)] == parked[:0:-1]


def test_letters_are_found_by_what_they_have(letters: DeadLetters, where: str) -> None:
    parked = park(letters, where, code="unknown-task")
    park(letters, where)
    assert [letter.id for letter in letters.letters("message", "unknown-task", where)] == [parked]
    assert list(letters.letters("item", where=where)) == []


def test_the_oldest_give_way_to_more_than_the_maximum(redis: Redis, where: str) -> None:
    few = DeadLetters(redis, DeadLetters(redis, 1).count() + 2)
    parked = [park(few, where) for _ in range(4)]
    kept = [letter.id for letter in few.page(size=2)]
    assert kept == parked[:1:-1]


def test_the_oldest_give_way_to_more_bytes_than_there_is_room_for(
    letters: DeadLetters, where: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = int(str(redis.get(dead_letters.KEYS[2]) or 0))
    monkeypatch.setattr(dead_letters, "MAX_BYTES", before + 1000)
    park(letters, where, b"x" * 600)
    last = park(letters, where, b"y" * (before + 5000))

    assert [letter.id for letter in letters.letters()] == [last]
    assert letters.payload(last) == b"y" * (before + 5000)
    assert int(str(redis.get(dead_letters.KEYS[2]))) == before + 5000
    assert redis.hlen(dead_letters.KEYS[1]) == 1


def test_a_letter_that_is_replayed_is_on_its_list_and_no_letter_any_more(
    letters: DeadLetters, where: str, redis: Redis
) -> None:
    letter = park(letters, where, b"payload")
    assert letters.replay(letter) == where
    assert redis.lrange(where, 0, -1) == ["payload"]
    with pytest.raises(Rejected, match="unknown-letter"):
        letters.payload(letter)


def test_a_letter_that_many_replay_is_replayed_once(letters: DeadLetters, where: str, redis: Redis) -> None:
    letter = park(letters, where, b"payload")

    def replay() -> bool:
        try:
            return bool(letters.replay(letter))
        except Rejected:
            return False

    assert at_once(replay).count(True) == 1
    assert redis.llen(where) == 1


def test_an_item_is_not_replayed_as_a_message(letters: DeadLetters, where: str) -> None:
    letter = letters.park("item", b"{}", "too-large", "a reason", where)
    with pytest.raises(Rejected, match="not-replayable"):
        letters.replay(letter)


def test_bytes_are_counted_by_many_at_once(letters: DeadLetters, where: str, redis: Redis) -> None:
    before = int(str(redis.get(dead_letters.KEYS[2]) or 0))
    at_once(lambda: park(letters, where, b"12345"))
    assert int(str(redis.get(dead_letters.KEYS[2]))) == before + 5 * THREADS


@pytest.mark.parametrize("letter", ["", "1", "0-1", "x", "-", "+", "99999999999999999999-0", "1-1 2"])
def test_a_letter_that_is_not_there_is_said_so(letters: DeadLetters, letter: str) -> None:
    for ask in (letters.letter, letters.payload, letters.drop, letters.replay):
        with pytest.raises(Rejected, match="unknown-letter"):
            ask(letter)


def test_a_reason_is_one_printable_line(letters: DeadLetters, where: str) -> None:
    letter = letters.letter(letters.park("message", b"", "c", "a\nb\x1b[31m\ud800" + "c" * 900, where))
    assert letter.reason.startswith("a b [31m")
    assert len(letter.reason) == 500


# The command


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
