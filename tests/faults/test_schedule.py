"""The schedule of a round follows from its seed, and asks for nothing that no system can stand."""

import pytest

from tests.faults.all_kinds import KINDS
from tests.faults.offer import offers_of
from tests.faults.schedule import plan_of

SEEDS = range(200)


def test_the_same_seed_is_the_same_round() -> None:
    assert plan_of(7, sorted(KINDS)) == plan_of(7, sorted(KINDS))
    assert offers_of(7, 10) == offers_of(7, 10)


def test_another_seed_is_another_round() -> None:
    assert plan_of(7, sorted(KINDS)) != plan_of(8, sorted(KINDS))


def test_every_kind_comes_up() -> None:
    assert {fault.kind for seed in SEEDS for fault in plan_of(seed, sorted(KINDS)).faults} == set(KINDS)


def test_only_the_kinds_that_are_asked_for_come_up() -> None:
    assert {fault.kind for seed in SEEDS for fault in plan_of(seed, ["cut"]).faults} == {"cut"}


def test_no_round_kills_a_step_three_times() -> None:
    for seed in SEEDS:
        assert sum(KINDS[fault.kind].kills for fault in plan_of(seed, sorted(KINDS)).faults) <= 2


@pytest.mark.long
def test_every_round_offers_archives_plain_files_and_faulty_items() -> None:
    for seed in SEEDS:
        offers = offers_of(seed, plan_of(seed, ["cut"]).items)
        assert any(offer.expands for offer in offers)
        assert any(not offer.expands and not offer.code for offer in offers)
        assert len([offer for offer in offers if offer.code]) >= 2
