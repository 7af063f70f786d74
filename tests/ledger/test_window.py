"""Items have their turn by a window, each exactly once, and exactly one worker is told that it was the last."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from queue import SimpleQueue

import pytest
from redis import Redis

from shared.ledger import Ledger
from shared.ledger.agenda import pending_of
from shared.models import ItemState, Outcome, RunState
from shared.stac.item import Found
from tests.ledger.opened import DONE, THREADS, Opened, at_once, found

WINDOW = 5
FAILED = Outcome(state=ItemState.FAILED, code="c", reason="r")


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return Ledger(redis, keep_days=30, window=WINDOW, patience=60)


def opened(ledger: Ledger, number: int) -> Opened:
    return Opened(ledger, *(found(f"item-{each}") for each in range(number)))


def pending(run: Opened) -> list[str]:
    return [str(key) for key in run.ledger.redis.zrange(pending_of(run.id), 0, -1)]


def test_nothing_has_its_turn_before_the_search_is_over(ledger: Ledger) -> None:
    run = opened(ledger, 3)
    assert ledger.feed(run.id) == pending(run) == []
    assert run.begin() == run.keys


def test_items_have_their_turn_in_the_order_they_were_found_as_many_as_the_window_has_room_for(ledger: Ledger) -> None:
    run = opened(ledger, 12)
    assert run.begin() == run.keys[:WINDOW]
    assert ledger.feed(run.id) == []
    assert sorted(pending(run)) == sorted(run.keys[:WINDOW])


def evicted(item_id: str, day: int) -> Found:
    one = found(item_id)
    assert one.item is not None
    one.item.properties["eviction_datetime"] = f"2024-04-{day:02}T00:00:00Z"
    return one


def test_items_that_the_station_evicts_have_their_turn_first_the_earliest_before_the_others(ledger: Ledger) -> None:
    offered = [found("never"), evicted("late", 20), evicted("soon", 2), found("never either"), evicted("first", 1)]
    run = Opened(ledger, *offered)
    turns = [ledger.item(run.id, key).item_id for key in run.begin()]
    assert turns == ["first", "soon", "late", "never", "never either"]


def test_ordering_by_eviction_loses_none_of_many_items(ledger: Ledger) -> None:
    run = Opened(ledger, *(found(f"item-{number}") for number in range(2100)), evicted("first", 1))
    (first, *_) = run.begin()
    assert ledger.item(run.id, first).item_id == "first"
    assert sorted(ledger.keys(run.id)) == sorted(run.keys)


def test_an_item_that_is_settled_gives_its_place_to_the_next(ledger: Ledger) -> None:
    run = opened(ledger, 7)
    run.begin()
    answers = [ledger.settle(run.item(number), DONE) for number in (3, 0, 1)]

    assert [answer.fed for answer in answers] == [(run.keys[5],), (run.keys[6],), ()]
    assert sorted(pending(run)) == sorted(run.keys[number] for number in (2, 4, 5, 6))


def test_an_item_that_is_settled_again_gives_no_place_away(ledger: Ledger) -> None:
    run = opened(ledger, 12)
    run.begin()
    first, again = [ledger.settle(run.item(0), DONE) for _ in range(2)]
    assert (first.first, again.first) == (True, False)
    assert (first.fed, again.fed) == ((run.keys[5],), ())
    assert run.counts.staged == 1


def test_a_run_that_is_closed_lets_nothing_have_its_turn(ledger: Ledger) -> None:
    run = opened(ledger, 12)
    run.begin()
    ledger.close_run(run.id, RunState.FAILED, code="run-expired", reason="of a test")
    assert ledger.settle(run.item(0), DONE).fed == ()
    assert ledger.feed(run.id) == []


def test_the_last_item_that_is_settled_is_told_to_be_the_last_and_so_are_its_copies(ledger: Ledger) -> None:
    run = opened(ledger, 3)
    run.begin()
    outcomes = (FAILED, DONE, Outcome(state=ItemState.SKIPPED))
    assert [ledger.settle(run.item(number), outcome).last for number, outcome in enumerate(outcomes)] == [
        False,
        False,
        True,
    ]
    assert ledger.settle(run.item(1), DONE).last


def test_no_item_is_the_last_while_the_search_may_find_more(ledger: Ledger) -> None:
    run = opened(ledger, 1)
    assert ledger.settle(run.item(), DONE).last is False


def test_of_items_that_are_settled_at_once_one_is_the_first_to_be_the_last(ledger: Ledger) -> None:
    run = opened(ledger, THREADS)
    run.begin()
    numbers = count()
    answers = at_once(lambda: ledger.settle(run.item(next(numbers)), DONE))
    assert [answer.last for answer in answers].count(True) == 1


def test_many_feeders_at_once_let_each_item_have_its_turn_once(ledger: Ledger) -> None:
    run = opened(ledger, 12)
    ledger.begin_work(run.id)
    fed = [key for keys in at_once(lambda: ledger.feed(run.id)) for key in keys]
    assert fed == run.keys[:WINDOW]


def test_many_workers_never_have_more_than_the_window_and_each_item_has_its_turn_once(ledger: Ledger) -> None:
    run = opened(ledger, 150)
    turns: SimpleQueue[str | None] = SimpleQueue()
    had, most, last = [], [0], []
    guard = threading.Lock()

    def take(keys: list[str]) -> None:
        with guard:
            had.extend(keys)
            most[0] = max(most[0], len(pending(run)))
        for key in keys:
            turns.put(key)

    def work() -> None:
        while (key := turns.get()) is not None:
            settled = ledger.settle(ledger.item(run.id, key), DONE)
            take([*settled.fed, *ledger.feed(run.id)])
            if settled.last:
                last.append(key)
                for _ in range(THREADS):
                    turns.put(None)

    take(run.begin())
    with ThreadPoolExecutor(THREADS) as pool:
        for each in [pool.submit(work) for _ in range(THREADS)]:
            each.result(timeout=60)

    assert sorted(had) == sorted(run.keys)
    assert most[0] == WINDOW
    assert (len(last), run.counts.staged, pending(run)) == (1, 150, [])


# Parts of an item

PARTS = [f"{number}.zip" for number in range(THREADS)]


def test_of_parts_that_end_at_once_none_is_forgotten(ledger: Ledger) -> None:
    run = opened(ledger, 1)
    run.begin()
    claims = [(part, run.die_at(part=part)) for part in PARTS]
    each = iter(claims)
    guard = threading.Lock()

    def end() -> None:
        with guard:
            part, record = next(each)
        ledger.next(record, part)

    at_once(end)
    assert run.item().ended == set(PARTS)


def test_a_part_that_ends_after_its_item_leaves_no_trace_in_the_record(ledger: Ledger) -> None:
    run = opened(ledger, 1)
    run.begin()
    late = run.die_at(part=PARTS[0])
    ledger.settle(run.item(), DONE)
    ledger.next(late, PARTS[0])
    assert run.item().ended == set()


def test_a_record_that_was_not_claimed_cannot_end_its_claim(ledger: Ledger) -> None:
    run = opened(ledger, 1)
    with pytest.raises(ValueError, match="has not been claimed"):
        ledger.next(run.item())
