"""Dead letters: kept whole, found, replayed once, and never more than there is room for."""

import pytest
from redis import Redis

from shared.errors import Rejected
from shared.ledger import DeadLetters, dead_letters
from tests.ledger.opened import THREADS, at_once

BINARY = bytes(range(256))


@pytest.fixture
def where() -> str:
    return "a.list"


@pytest.fixture
def letters(redis: Redis) -> DeadLetters:
    return DeadLetters(redis, 10_000)


def park(letters: DeadLetters, where: str, payload: bytes = BINARY, code: str = "bad-message") -> str:
    return letters.park("message", payload, code, "a reason", where)


def test_a_letter_is_what_was_parked(letters: DeadLetters, where: str) -> None:
    letter = letters.letter(park(letters, where))
    assert (letter.kind, letter.code, letter.reason, letter.where) == ("message", "bad-message", "a reason", where)
    assert (letter.size, letters.payload(letter.id)) == (256, BINARY)


def test_a_letter_is_found_by_the_beginning_of_its_id(redis: Redis, letters: DeadLetters, where: str) -> None:
    for number, letter_id in enumerate(("1000000000000-0", "1000000200000-0", "1000000200000-1", "1000001000000-7")):
        redis.xadd(dead_letters.DEAD, {"number": number}, id=letter_id)
    assert letters.find("1000000000") == "1000000000000-0"
    assert letters.find("1000001") == "1000001000000-7"
    assert letters.find("1000001000000-") == "1000001000000-7"
    for shared_by_several in ("100000", "1000000", "1000000200000"):
        with pytest.raises(Rejected, match="ambiguous-id: several dead letters begin with"):
            letters.find(shared_by_several)
    for unknown in ("10000", "1000003", "no-letter", "1000001000000-8", ""):
        with pytest.raises(Rejected, match="unknown-letter"):
            letters.find(unknown)


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
    assert letter.reason.startswith("a b\\x1b[31m")
    assert len(letter.reason) == 500
