"""Counters of the metrics: each item and each run is counted once, whoever settles or closes it again."""

import sys
import uuid

import pytest
from redis import Redis

from shared.ledger import Ledger, counters
from shared.ledger.counters import COUNT_FUNCTION, counts_json, read_counters
from shared.ledger.lease import mark_stopping
from shared.models import RunState
from tests.ledger.opened import DONE, Opened, at_once, claim_of, lapse

lease_module = sys.modules[mark_stopping.__module__]  # the package has a function of the module's name
ITEMS = ("items", "owner", "one", "expanded", "")


def test_an_item_that_is_settled_many_times_is_counted_once(ledger: Ledger, run: Opened) -> None:
    at_once(lambda: ledger.settle(run.item(), DONE, counts={ITEMS: 1, ("bytes", "owner", "one"): 2.5}))
    assert read_counters(ledger.redis) == {ITEMS: 1, ("bytes", "owner", "one"): 2.5}


def test_a_run_that_is_closed_many_times_is_counted_once(ledger: Ledger, run: Opened) -> None:
    label = ("runs", "owner", "staging", "failed", "c")
    at_once(lambda: ledger.close_run(run.id, RunState.FAILED, counts={label: 1}))
    assert read_counters(ledger.redis) == {label: 1}


def test_labels_beyond_the_number_that_is_kept_are_counted_in_one(redis: "Redis") -> None:
    script = COUNT_FUNCTION.replace(str(counters._MOST), "2") + "count(KEYS[1], ARGV[1])"
    for product_type in ("A", "B", "C", "D", "A"):
        redis.eval(script, 1, counters.KEY, counts_json({("products", product_type): 1}))
    assert read_counters(redis) == {("products", "A"): 2, ("products", "B"): 1, ("counts_left_out",): 2}


def test_a_label_is_not_longer_than_a_hundred_characters(redis: "Redis") -> None:
    redis.eval(COUNT_FUNCTION + "count(KEYS[1], ARGV[1])", 1, counters.KEY, counts_json({("products", "x" * 5000): 1}))
    assert read_counters(redis) == {("products", "x" * 100): 1}


@pytest.mark.parametrize("stopping", [False, True])
def test_a_claim_that_its_holder_has_not_ended_is_counted_when_another_takes_its_place(
    ledger: Ledger, run: Opened, stopping: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "HOLDER", f"worker-{uuid.uuid4()}")
    record = run.die_at()
    if stopping:
        mark_stopping(ledger.redis)
    assert read_counters(ledger.redis) == {}
    lapse(ledger.redis, claim_of(record))
    with ledger.claim(run.id, run.key, 60):
        pass
    assert read_counters(ledger.redis) == {("claims_lapsed", "stopped" if stopping else "lost"): 1}


def test_a_claim_that_its_holder_has_ended_is_not_counted(ledger: Ledger, run: Opened) -> None:
    for _ in range(2):
        with ledger.claim(run.id, run.key, 60):
            pass
    assert read_counters(ledger.redis) == {}
