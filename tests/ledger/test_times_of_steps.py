"""The ledger knows when each step of an item was begun, so that waiting and working can be shown apart."""

from shared.ledger import Ledger
from shared.models import ItemRecord, ItemState
from tests.ledger.conftest import Clock
from tests.ledger.opened import Opened, found


def reach(run: Opened, state: ItemState, part: str = "") -> ItemRecord:
    """Do the step of the first item that leads to a state."""
    with run.ledger.claim(run.id, run.key, 60, part) as (_, record):
        run.ledger.reach(record, state)
        run.ledger.next(record, part)
    return run.item()


def test_a_step_begins_with_its_first_claim(run: Opened, clock: Clock) -> None:
    run.begin()
    reach(run, ItemState.STAGED)
    clock.move(0.01)
    run.die_at()
    first = run.item().publishing
    assert first is not None

    run.ledger.redis.delete(f"auxip:lease:{run.key}")
    clock.move(0.01)
    published = reach(run, ItemState.CATALOGUED)
    assert published.publishing == first
    assert published.staged is not None
    assert published.catalogued is not None
    assert published.staged < first < published.catalogued
    assert published.expanding is None


def test_archives_begin_with_the_first_of_them(run: Opened, clock: Clock) -> None:
    run.begin()
    reach(run, ItemState.STAGED)
    reach(run, ItemState.CATALOGUED)
    with run.ledger.claim(run.id, run.key, 60, "b.zip") as (_, record):
        run.ledger.next(record, "b.zip")
    begun = run.item().expanding
    assert begun is not None

    clock.move(0.01)
    with run.ledger.claim(run.id, run.key, 60, "a.zip") as (_, record):
        run.ledger.next(record, "a.zip")
    assert run.item().expanding == begun


def test_a_step_of_the_whole_item_is_no_expansion(run: Opened) -> None:
    run.begin()
    reach(run, ItemState.STAGED)
    assert reach(run, ItemState.CATALOGUED).expanding is None
    with run.ledger.claim(run.id, run.key, 60) as (_, record):
        assert record.expanding is None


def test_items_that_are_published_together_begin_together(ledger: Ledger) -> None:
    run = Opened(ledger, found("a"), found("b"))
    run.begin()
    for key in run.keys:
        with ledger.claim(run.id, key, 60) as (_, record):
            ledger.reach(record, ItemState.STAGED)
            ledger.next(record)
    with ledger.claim(run.id, run.keys[0], 60) as (_, first), ledger.batches.gathered(first, 60) as (other,):
        assert first.publishing is not None
        assert other.publishing is not None
        assert other.publishing >= first.publishing


def test_a_run_has_the_times_of_its_search(run: Opened, clock: Clock) -> None:
    assert (run.run.searching, run.run.began) == (None, None)
    clock.move(0.01)
    run.ledger.begin_search(run.id)
    clock.move(0.01)
    run.begin()
    made = run.run
    assert made.searching is not None
    assert made.began is not None
    assert made.created < made.searching < made.began


def test_a_run_has_the_requests_of_its_last_search(run: Opened) -> None:
    assert not run.run.searches
    run.ledger.record_searches(run.id, ["curl a", "curl b"])
    run.ledger.record_searches(run.id, ["curl 'c'"])
    assert run.run.searches == ("curl 'c'",)
