"""What has come to a halt goes on, whatever was lost; what goes on is left alone."""

import time
import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest

from shared.context import Context
from shared.ledger import Ledger, lease
from shared.ledger.agenda import OPEN, pending_of
from shared.models import ItemRecord, ItemState, Outcome, RunKind, RunState
from shared.runs.close import close_work
from shared.runs.due import Step, StepName
from shared.runs.reconcile import reconcile
from shared.runs.settle import settle_item
from shared.stac.item import Found
from shared.steps.find import find_work
from tests.ledger.opened import DONE, REQUEST, Opened, at_once, claim_of, found, lapse

PATIENCE = 100.0
WINDOW = 4
ARCHIVES = ("a.zip", "b.zip")


@pytest.fixture
def halted(apart: Context) -> Iterator[Context]:
    """A ledger of its own that no worker looks into: there every message is lost."""
    changes = {"patience": PATIENCE, "run_window": WINDOW}
    with closing(Context(apart.settings.model_copy(update=changes))) as opened:
        yield opened


@pytest.fixture
def ledger(halted: Context) -> Ledger:
    return halted.ledger


def opened(ledger: Ledger, *items: Found) -> Opened:
    """A run whose search is over and whose first items have their turn."""
    run = Opened(ledger, *(items or [found()]))
    run.begin()
    return run


def found_again(context: Context, run: Opened) -> list[Step]:
    """What the reconciler has begun when everything is to be looked at: the first stages of what it publishes."""
    run.fall_due()
    return begun_by_reconciler(context)


def begun_by_reconciler(context: Context) -> list[Step]:
    return [step for plan in reconcile(context) for step in plan[0]]


def step_of(run: Opened, name: StepName, number: int = 0, part: str = "") -> Step:
    return Step(name, run.id, run.keys[number], part)


def whole(run: Opened, name: StepName) -> Step:
    return Step(name, run.id)


def waits(ledger: Ledger, name: str, what: str) -> float:
    seconds, microseconds = ledger.redis.time()
    score = ledger.redis.zscore(name, what)
    assert score is not None
    return float(score) - (seconds + microseconds / 1e6)


def about(seconds: float) -> object:
    return pytest.approx(seconds, abs=5)


# Messages that were lost


def test_a_lost_search_is_begun_again_once_it_is_due(halted: Context, ledger: Ledger) -> None:
    run = Opened(ledger)
    assert list(reconcile(halted)) == []
    assert found_again(halted, run) == [whole(run, StepName.FIND)]
    assert list(reconcile(halted)) == []


def through_staging(ledger: Ledger, record: ItemRecord) -> None:
    ledger.reach(record, ItemState.STAGED)


def through_catalog(ledger: Ledger, record: ItemRecord) -> None:
    through_staging(ledger, record)
    ledger.reach(record, ItemState.CATALOGUED)


def reached(ledger: Ledger, name: str) -> tuple[Opened, list[Step]]:
    """A run whose item has come as far as the name says, and what is to be done of it."""
    run = opened(ledger, found(assets=ARCHIVES))
    with ledger.claim(run.id, run.key, 30) as (_, record):
        if name == "published":
            through_staging(ledger, record)
        if name in ("expanded", "half expanded", "published again"):
            through_catalog(ledger, record)
        if name != "staged":
            ledger.next(record)
    if name in ("half expanded", "published again"):
        ledger.next(run.die_at(part="a.zip"), "a.zip")
    if name == "published again":
        ledger.next(run.die_at(part="b.zip"), "b.zip")
    expand_a, expand_b = (step_of(run, StepName.EXPAND, part=part) for part in ARCHIVES)
    due = {
        "staged": [step_of(run, StepName.STAGE)],
        "published": [step_of(run, StepName.PUBLISH)],
        "expanded": [expand_a, expand_b],
        "half expanded": [expand_b],
        "published again": [step_of(run, StepName.PUBLISH_EXPANDED)],
    }
    return run, due[name]


@pytest.mark.parametrize("name", ["staged", "published", "expanded", "half expanded", "published again"])
def test_the_lost_message_of_a_step_is_published_again_once_it_is_due(
    halted: Context, ledger: Ledger, name: str
) -> None:
    run, due = reached(ledger, name)
    assert list(reconcile(halted)) == []
    assert found_again(halted, run) == due
    assert list(reconcile(halted)) == []


def test_of_a_run_over_an_item_of_the_catalog_the_expansions_are_published_again(
    halted: Context, ledger: Ledger
) -> None:
    request = REQUEST.model_copy(update={"kind": RunKind.DECOMPRESS})
    run = Opened(ledger, found(assets=ARCHIVES), request=request)
    run.begin()
    assert found_again(halted, run) == [step_of(run, StepName.EXPAND, part=part) for part in ARCHIVES]


def test_a_lost_closing_is_published_again(halted: Context, ledger: Ledger) -> None:
    run = opened(ledger)
    assert ledger.settle(run.item(), DONE).last
    assert found_again(halted, run) == [whole(run, StepName.CLOSE)]
    assert list(reconcile(halted)) == []


def test_a_closing_that_was_published_just_now_is_waited_for(halted: Context, ledger: Ledger) -> None:
    run = opened(ledger, found("X"), found("Y"))
    ledger.settle(run.item(0), DONE)
    run.fall_due()
    list(reconcile(halted))
    assert ledger.settle(run.item(1), DONE).last
    assert list(reconcile(halted)) == []


def test_a_run_that_was_found_empty_is_closed(halted: Context, ledger: Ledger) -> None:
    run = Opened(ledger)
    run.begin()
    assert found_again(halted, run) == [whole(run, StepName.CLOSE)]


def test_items_that_never_had_their_turn_have_it(halted: Context, ledger: Ledger) -> None:
    run = Opened(ledger, *(found(f"item-{number}") for number in range(6)))
    ledger.begin_work(run.id)  # and here the worker was killed
    assert found_again(halted, run) == [step_of(run, StepName.STAGE, number) for number in range(WINDOW)]


# Workers that were killed


def test_a_kill_between_the_end_of_a_step_and_its_message_loses_nothing(halted: Context, ledger: Ledger) -> None:
    run = opened(ledger)
    with ledger.claim(run.id, run.key, 30) as (_, record):
        through_staging(ledger, record)
        ledger.next(record)  # and here the worker was killed, before Celery sent the link
    assert list(reconcile(halted)) == []
    assert found_again(halted, run) == [step_of(run, StepName.PUBLISH)]


def test_a_kill_before_the_end_of_a_step_has_it_done_again(halted: Context, ledger: Ledger) -> None:
    run = opened(ledger)
    record = run.die_at()
    through_staging(ledger, record)
    lapse(ledger.redis, claim_of(record))
    assert found_again(halted, run) == [step_of(run, StepName.STAGE)]


def test_a_kill_after_the_last_archive_loses_nothing(halted: Context, ledger: Ledger) -> None:
    run, _ = reached(ledger, "half expanded")
    with ledger.claim(run.id, run.key, 30, "b.zip") as (_, record):
        ledger.next(record, "b.zip")
    assert found_again(halted, run) == [step_of(run, StepName.PUBLISH_EXPANDED)]


def test_a_kill_between_a_failure_and_its_settling_settles_the_item_and_lets_the_next_begin(
    halted: Context, ledger: Ledger
) -> None:
    run = opened(ledger, *(found(f"item-{number}") for number in range(WINDOW + 1)))
    record = run.die_at()
    ledger.fail(record, "size-mismatch", "3 bytes")
    lapse(ledger.redis, claim_of(record))
    ledger.redis.zadd(OPEN, {run.id: 1})
    ledger.redis.zadd(pending_of(run.id), {run.key: 1})

    assert begun_by_reconciler(halted) == [step_of(run, StepName.STAGE, WINDOW)]
    assert (run.item().code, run.counts.failed) == ("size-mismatch", 1)
    assert list(reconcile(halted)) == []


def test_the_last_item_that_only_had_to_be_settled_closes_its_run(halted: Context, ledger: Ledger) -> None:
    run = opened(ledger)
    record = run.die_at()
    ledger.fail(record, "size-mismatch", "3 bytes")
    lapse(ledger.redis, claim_of(record))

    assert found_again(halted, run) == [whole(run, StepName.CLOSE)]
    assert run.counts.failed == 1


def test_a_claim_that_lapsed_is_a_step_to_be_done_again(halted: Context, ledger: Ledger) -> None:
    run = opened(ledger)
    record = run.die_at()
    assert found_again(halted, run) == []
    lapse(ledger.redis, claim_of(record))
    assert found_again(halted, run) == [step_of(run, StepName.STAGE)]


def test_a_search_whose_worker_died_is_begun_again_once_its_claim_has_lapsed(halted: Context, ledger: Ledger) -> None:
    run = Opened(ledger)
    with lease(ledger.redis, find_work(run.id), 60) as claim:
        claim.ended = True
    assert found_again(halted, run) == []
    lapse(ledger.redis, claim)
    assert found_again(halted, run) == [whole(run, StepName.FIND)]


def test_what_another_archive_has_failed_with_is_not_hidden_by_one_that_was_only_ended(
    halted: Context, ledger: Ledger
) -> None:
    run, _ = reached(ledger, "expanded")
    failing = run.die_at(part="a.zip")
    ledger.cancel_run(run.id)
    with ledger.claim(run.id, run.key, 30, "b.zip") as (_, record):
        ledger.fail(failing, "archive-damaged", "a checksum is wrong")
        ledger.next(failing, "a.zip")
        ledger.next(record, "b.zip")
    with ledger.claim(run.id, run.key, 30) as (record_of_run, record):  # as the chord's body does
        assert settle_item(halted, record_of_run, record) == [((whole(run, StepName.CLOSE),),)]
    assert run.item().code == "archive-damaged"


# What goes on is left alone


def test_an_item_that_a_worker_is_at_is_looked_at_when_its_claim_may_have_lapsed(
    halted: Context, ledger: Ledger
) -> None:
    run = opened(ledger)
    with ledger.claim(run.id, run.key, 60):
        assert found_again(halted, run) == []
        assert waits(ledger, pending_of(run.id), run.key) == about(60 + PATIENCE)


def test_an_item_that_another_run_is_at_is_waited_for(halted: Context, ledger: Ledger) -> None:
    run, other = opened(ledger), opened(ledger)
    with ledger.claim(other.id, other.key, 60):
        assert found_again(halted, run) == []


def test_with_an_archive_that_nobody_is_at_all_are_published_again_so_that_their_chord_counts_all(
    halted: Context, ledger: Ledger
) -> None:
    run, (expand_a, expand_b) = reached(ledger, "expanded")
    with ledger.claim(run.id, run.key, 60, "b.zip"):
        run.fall_due()
        assert list(reconcile(halted)) == [((expand_a, expand_b), (step_of(run, StepName.PUBLISH_EXPANDED),))]
        with ledger.claim(run.id, run.key, 60, "a.zip"):
            assert found_again(halted, run) == []


@pytest.mark.parametrize("name", [StepName.FIND, StepName.CLOSE])
def test_a_run_that_a_worker_is_at_is_looked_at_when_its_claim_may_have_lapsed(
    halted: Context, ledger: Ledger, name: StepName
) -> None:
    run = Opened(ledger)
    if name is StepName.CLOSE:
        run.begin()
    work = find_work(run.id) if name is StepName.FIND else close_work(run.id)
    with lease(ledger.redis, work, 60):
        assert found_again(halted, run) == []
        assert waits(ledger, OPEN, run.id) == about(60)
    assert found_again(halted, run) == [whole(run, name)]


def test_an_item_of_a_cancelled_run_is_not_settled_under_the_worker_that_is_at_it(
    halted: Context, ledger: Ledger
) -> None:
    run = opened(ledger)
    with ledger.claim(run.id, run.key, 60):
        ledger.cancel_run(run.id)
        assert found_again(halted, run) == []
        assert run.item().finished is None
    assert found_again(halted, run) == [whole(run, StepName.CLOSE)]
    assert run.item().code == "cancelled"


def test_an_item_that_was_never_begun_is_not_waited_for_once_its_run_is_cancelled(
    halted: Context, ledger: Ledger
) -> None:
    run, other = opened(ledger), opened(ledger)
    ledger.cancel_run(run.id)
    with ledger.claim(other.id, other.key, 60):
        assert found_again(halted, run) == [whole(run, StepName.CLOSE)]


def test_a_cancelled_run_ends_without_another_message(halted: Context, ledger: Ledger) -> None:
    run = opened(ledger, *(found(f"item-{number}") for number in range(3 * WINDOW)))
    ledger.cancel_run(run.id)
    assert found_again(halted, run) == [whole(run, StepName.CLOSE)]
    assert run.counts.skipped == 3 * WINDOW


def test_an_item_that_is_settled_while_it_is_looked_at_is_left_alone(halted: Context, ledger: Ledger) -> None:
    run, other = opened(ledger, found("X"), found("Y")), opened(ledger)
    ledger.settle(run.item(0), DONE)
    ledger.redis.zadd(pending_of(run.id), {run.keys[0]: 1})  # as it was read, a moment before
    run.fall_due()
    other.fall_due()

    assert set(begun_by_reconciler(halted)) == {step_of(run, StepName.STAGE, 1), step_of(other, StepName.STAGE)}


# Patience


def test_each_time_a_step_is_published_again_twice_as_long_is_waited(halted: Context, ledger: Ledger) -> None:
    run = opened(ledger)
    waited = []
    for _ in range(3):
        assert found_again(halted, run) == [step_of(run, StepName.STAGE)]
        waited.append(waits(ledger, pending_of(run.id), run.key))
    assert waited == [about(PATIENCE * factor) for factor in (2, 4, 8)]


def test_a_step_that_was_begun_is_waited_for_as_at_first(halted: Context, ledger: Ledger) -> None:
    run = opened(ledger)
    for _ in range(3):
        found_again(halted, run)
    with ledger.claim(run.id, run.key, 30):
        pass
    found_again(halted, run)
    assert waits(ledger, pending_of(run.id), run.key) == about(PATIENCE * 2)


def test_a_run_that_is_published_again_is_waited_for_twice_as_long(halted: Context, ledger: Ledger) -> None:
    run = Opened(ledger)
    waited = []
    for _ in range(3):
        assert found_again(halted, run) == [whole(run, StepName.FIND)]
        waited.append(waits(ledger, OPEN, run.id))
    assert waited == [about(PATIENCE * factor) for factor in (2, 4, 8)]


def test_every_run_has_its_turn_however_many_others_wait(halted: Context, ledger: Ledger) -> None:
    runs = [opened(ledger, found(f"item-{number}")) for number in range(5)]
    for run in runs:
        run.fall_due()
    assert set(begun_by_reconciler(halted)) == {step_of(run, StepName.STAGE) for run in runs}
    assert list(reconcile(halted)) == []
    assert all(ledger.agenda.is_open(run.id) for run in runs)


def test_reconcilers_that_are_at_it_at_once_publish_each_step_once(halted: Context, ledger: Ledger) -> None:
    searching, working, done = (
        Opened(ledger),
        opened(ledger, *(found(str(number)) for number in range(9))),
        Opened(ledger),
    )
    done.begin()
    for run in (searching, working, done):
        run.fall_due()
    published = [step for steps in at_once(lambda: begun_by_reconciler(halted)) for step in steps]

    assert len(published) == len(set(published))
    assert set(published) == {
        whole(searching, StepName.FIND),
        whole(done, StepName.CLOSE),
        *(step_of(working, StepName.STAGE, number) for number in range(WINDOW)),
    }


# Runs that are over


def test_a_run_that_is_closed_and_whose_caller_has_no_result_is_closed_again(halted: Context, ledger: Ledger) -> None:
    run = opened(ledger)
    ledger.settle(run.item(), DONE)
    ledger.close_run(run.id, RunState.SUCCESSFUL)
    assert found_again(halted, run) == [whole(run, StepName.CLOSE)]


def test_a_run_that_failed_as_a_whole_and_whose_caller_was_not_told_is_closed_again(
    halted: Context, ledger: Ledger
) -> None:
    run = Opened(ledger)
    ledger.close_run(run.id, RunState.FAILED, code="station-unavailable", reason="answered 500")
    assert found_again(halted, run) == [whole(run, StepName.CLOSE)]


def test_a_run_whose_caller_has_the_result_is_left_alone(halted: Context, ledger: Ledger) -> None:
    run = opened(ledger)
    ledger.settle(run.item(), DONE)
    ledger.close_run(run.id, RunState.SUCCESSFUL)
    ledger.agenda.forget_run(run.id)
    assert found_again(halted, run) == []


@pytest.mark.parametrize("searched", [False, True])
def test_a_run_that_was_not_done_for_as_long_as_runs_are_kept_has_failed(
    halted: Context, ledger: Ledger, searched: bool
) -> None:
    run = opened(ledger) if searched else Opened(ledger)
    ledger.redis.hset(f"auxip:run:{run.id}", "created", repr(time.time() - ledger.keep_seconds - 60))

    assert found_again(halted, run) == [whole(run, StepName.CLOSE)]
    assert (run.run.state, run.run.code) == (RunState.FAILED, "run-expired")
    assert "AUXIP_KEEP_RUNS_DAYS" in run.run.reason
    assert list(reconcile(halted)) == []


def test_a_run_that_was_closed_long_ago_is_not_failed_afterwards(halted: Context, ledger: Ledger) -> None:
    run = Opened(ledger)
    ledger.close_run(run.id, RunState.SUCCESSFUL)
    ledger.redis.hset(f"auxip:run:{run.id}", "created", "1")
    found_again(halted, run)
    assert run.run.state is RunState.SUCCESSFUL


def test_a_run_whose_record_is_gone_is_forgotten_and_holds_nobody_up(halted: Context, ledger: Ledger) -> None:
    gone, other = f"run-{uuid.uuid4()}", opened(ledger)
    ledger.redis.zadd(OPEN, {gone: 0.5})

    assert found_again(halted, other) == [step_of(other, StepName.STAGE)]
    assert not ledger.agenda.is_open(gone)


def test_an_outcome_stands_whatever_the_reconciler_does(halted: Context, ledger: Ledger) -> None:
    run = opened(ledger, found("X"), found("Y"))
    ledger.settle(run.item(), Outcome(state=ItemState.FAILED, code="c", reason="r"))
    before = run.item()
    found_again(halted, run)
    assert run.item() == before
