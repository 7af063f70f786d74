"""The agenda on a real server: what is looked at again, and when, by the server's clock."""

import uuid

import pytest
from redis import Redis

from shared.errors import Busy
from shared.ledger import Ledger
from shared.ledger.agenda import OPEN, Agenda, pending_of
from shared.models import RunState
from tests.ledger.opened import DONE, REQUEST, Opened, at_once, found

PATIENCE = 100.0


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return Ledger(redis, keep_days=30, window=2, patience=PATIENCE)


@pytest.fixture
def agenda(ledger: Ledger) -> Agenda:
    return ledger.agenda


@pytest.fixture
def run(ledger: Ledger) -> Opened:
    return Opened(ledger, found("X"), found("Y"), found("Z"))


def waits(ledger: Ledger, name: str, what: str) -> float:
    """The seconds until something is looked at."""
    seconds, microseconds = ledger.redis.time()
    score = ledger.redis.zscore(name, what)
    assert score is not None
    return float(score) - (seconds + microseconds / 1e6)


def about(seconds: float) -> object:
    return pytest.approx(seconds, abs=5)


# Runs


def test_a_run_is_on_the_agenda_from_its_opening_on(ledger: Ledger, agenda: Agenda, run: Opened) -> None:
    assert agenda.is_open(run.id)
    assert waits(ledger, OPEN, run.id) == about(PATIENCE)
    assert agenda.due_runs(10) == []


def test_a_run_that_is_opened_within_a_transaction_is_on_the_agenda(ledger: Ledger, agenda: Agenda) -> None:
    run_id = f"run-{uuid.uuid4()}"
    with ledger.redis.pipeline(transaction=True) as pipe:
        ledger.write_run(pipe, run_id, REQUEST)
        assert not agenda.is_open(run_id)
        pipe.execute()
    assert agenda.is_open(run_id)


def test_a_run_that_is_opened_again_is_not_put_on_the_agenda_again(ledger: Ledger, agenda: Agenda, run: Opened) -> None:
    agenda.forget_run(run.id)
    ledger.open_run(run.id, REQUEST)
    assert not agenda.is_open(run.id)


def test_a_run_stays_on_the_agenda_until_its_caller_has_the_result(ledger: Ledger, agenda: Agenda, run: Opened) -> None:
    ledger.close_run(run.id, RunState.SUCCESSFUL)
    assert agenda.is_open(run.id)
    agenda.forget_run(run.id)
    assert not agenda.is_open(run.id)


def test_those_runs_come_first_that_have_waited_longest(ledger: Ledger, agenda: Agenda, run: Opened) -> None:
    others = [Opened(ledger) for _ in range(3)]
    for moment, each in enumerate([others[2], run, others[0]]):
        ledger.redis.zadd(OPEN, {each.id: 1 + moment})

    assert agenda.due_runs(10) == [others[2].id, run.id, others[0].id]
    assert agenda.due_runs(2) == [others[2].id, run.id]


def test_a_run_that_is_put_off_is_looked_at_later(ledger: Ledger, agenda: Agenda, run: Opened) -> None:
    agenda.postpone_run(run.id, 40)
    assert waits(ledger, OPEN, run.id) == about(40)


def test_what_is_not_on_the_agenda_is_not_put_there_by_being_put_off(
    ledger: Ledger, agenda: Agenda, run: Opened
) -> None:
    agenda.forget_run(run.id)
    agenda.postpone_run(run.id, 0)
    agenda.publish_run_again(run.id)
    agenda.postpone_item(run.id, run.keys[0], 0)
    agenda.publish_item_again(run.id, run.keys[0])

    assert not agenda.is_open(run.id)
    assert ledger.redis.zcard(pending_of(run.id)) == 0


def test_each_time_a_run_is_published_again_twice_as_long_is_waited_up_to_a_limit(
    ledger: Ledger, agenda: Agenda, run: Opened
) -> None:
    waited = []
    for _ in range(8):
        run.fall_due()
        assert agenda.publish_run_again(run.id)
        waited.append(waits(ledger, OPEN, run.id))
    assert waited == [about(PATIENCE * 2**doublings) for doublings in (1, 2, 3, 4, 5, 6, 6, 6)]


def test_what_is_not_due_is_not_published_again(ledger: Ledger, agenda: Agenda, run: Opened) -> None:
    run.begin()
    assert not agenda.publish_run_again(run.id)
    assert not agenda.publish_item_again(run.id, run.key)
    assert waits(ledger, OPEN, run.id) == about(PATIENCE)


def test_of_many_that_would_publish_what_is_due_one_does(agenda: Agenda, run: Opened) -> None:
    run.begin()
    run.fall_due()
    assert at_once(lambda: agenda.publish_run_again(run.id)).count(True) == 1
    assert at_once(lambda: agenda.publish_item_again(run.id, run.key)).count(True) == 1


# Items


def test_an_item_is_on_the_agenda_while_it_is_its_turn(ledger: Ledger, agenda: Agenda, run: Opened) -> None:
    run.begin()
    first, second, third = run.keys
    assert waits(ledger, pending_of(run.id), first) == about(PATIENCE)
    assert agenda.due_items(run.id, 10) == []
    run.fall_due()
    assert sorted(agenda.due_items(run.id, 10)) == sorted([first, second])
    assert len(agenda.due_items(run.id, 1)) == 1

    ledger.settle(run.item(0), DONE)
    assert agenda.due_items(run.id, 10) == [second]
    assert waits(ledger, pending_of(run.id), third) == about(PATIENCE)


def test_an_item_whose_next_step_is_published_is_waited_for_anew(ledger: Ledger, run: Opened) -> None:
    run.begin()
    run.fall_due()
    ledger.next(run.die_at())
    assert waits(ledger, pending_of(run.id), run.keys[0]) == about(PATIENCE)


def test_an_item_that_is_put_off_has_time_to_be_begun_then(ledger: Ledger, agenda: Agenda, run: Opened) -> None:
    run.begin()
    agenda.postpone_item(run.id, run.keys[0], 40)
    assert waits(ledger, pending_of(run.id), run.keys[0]) == about(40 + PATIENCE)


def test_each_time_in_a_row_that_an_item_is_published_again_twice_as_long_is_waited(
    ledger: Ledger, agenda: Agenda, run: Opened
) -> None:
    run.begin()
    key = run.keys[0]
    waited = []
    for _ in range(3):
        run.fall_due()
        assert agenda.publish_item_again(run.id, key)
        waited.append(waits(ledger, pending_of(run.id), key))
    with ledger.claim(run.id, key, 30):
        pass
    run.fall_due()
    agenda.publish_item_again(run.id, key)

    assert waited == [about(PATIENCE * factor) for factor in (2, 4, 8)]
    assert waits(ledger, pending_of(run.id), key) == about(PATIENCE * 2)


def test_a_claim_that_is_refused_does_not_begin_the_count_anew(ledger: Ledger, agenda: Agenda, run: Opened) -> None:
    run.begin()
    run.die_at()
    run.fall_due()
    agenda.publish_item_again(run.id, run.keys[0])
    with pytest.raises(Busy), ledger.claim(run.id, run.keys[0], 30):
        pass
    run.fall_due()
    agenda.publish_item_again(run.id, run.keys[0])
    assert waits(ledger, pending_of(run.id), run.keys[0]) == about(PATIENCE * 4)
