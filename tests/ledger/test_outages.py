"""Outages in the ledger: one worker probes a system at a time, and all of them know what it found."""

import pytest
from redis import Redis

from shared.ledger import Ledger, Outage, Outages
from shared.models import Wait
from tests.ledger.conftest import Clock
from tests.ledger.opened import Opened, at_once

OUTAGE = Outage(
    since=1.0, probed=2.0, fault="unavailable", code="catalog-unavailable", reason="it answered 503", probes=2
)


@pytest.fixture
def outages(redis: Redis) -> Outages:
    return Outages(redis)


def test_of_all_that_want_to_probe_one_does_and_the_others_wait(redis: Redis) -> None:
    turns = at_once(lambda: Outages(redis).take_turn("catalog", 30))
    assert [turn.ours for turn in turns].count(True) == 1
    assert all(turn.is_running and 0 < turn.left <= 30 for turn in turns if not turn.ours)


def test_another_one_probes_where_the_first_has_died(outages: Outages, clock: Clock) -> None:
    assert outages.take_turn("catalog", 0.2).ours
    clock.move(0.3)
    assert outages.take_turn("catalog", 0.2).ours


def test_nobody_probes_before_the_pause_is_over(outages: Outages, clock: Clock) -> None:
    outages.record_down("catalog", OUTAGE, 0.2)
    assert not outages.take_turn("catalog", 30).ours
    clock.move(0.3)
    assert outages.take_turn("catalog", 30).ours


def test_an_outage_is_known_until_the_system_is_back(outages: Outages) -> None:
    outages.record_down("catalog", OUTAGE, 60)
    outages.record_down("station a", OUTAGE, 60)
    assert outages.of("catalog") == OUTAGE
    outages.record_up("catalog", 0.1)
    assert outages.of("catalog") is None
    assert outages.all() == {"station a": OUTAGE}


def test_an_answer_counts_for_as_long_as_is_said(outages: Outages, clock: Clock) -> None:
    outages.record_up("catalog", 0.2)
    assert outages.take_turn("catalog", 30).is_up
    clock.move(0.3)
    assert outages.take_turn("catalog", 30).ours


def test_of_several_waits_for_a_system_the_beginning_of_the_first_and_the_end_of_the_last_are_known(
    ledger: Ledger, run: Opened
) -> None:
    for since, reason in ((1.0, "503"), (100.0, "no answer")):
        ledger.record_wait(run.id, Wait(system="station a", since=since, until=since + 9, reason=reason))
    ledger.record_wait(run.id, Wait(system="s3", since=5.0, until=6.0, reason="full"))
    assert ledger.run(run.id).waits == (
        Wait(system="station a", since=1.0, until=109.0, reason="no answer"),
        Wait(system="s3", since=5.0, until=6.0, reason="full"),
    )


def test_a_search_that_is_no_run_waits_from_its_first_wait_on(ledger: Ledger, clock: Clock) -> None:
    first = ledger.begin_wait("task", 60)
    clock.move(0.01)
    assert ledger.begin_wait("task", 60) == first
