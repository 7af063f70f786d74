"""Items that are published together: few requests, and none of them pays for another."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from local.stack import Stack
from shared.context import Context
from shared.errors import Busy, ItemFailed, Retryable
from shared.models import ItemRecord, ItemState, Run, RunRequest
from shared.stac.item import Item
from shared.stac.search import Cql2
from shared.steps.batch import publish_with_others
from shared.steps.find import find_items
from shared.steps.publish import item_to_write
from shared.steps.stage import stage_item
from tests.integration.conftest import Caller, of_type
from tests.integration.plain import plain_items
from tests.ledger.opened import Opened, found

ITEMS = 7
OWNER = "batches"


@pytest.fixture(scope="module")
def product_type(stack: Stack) -> Iterator[str]:
    with plain_items(stack, ITEMS) as name:
        yield name


class Staged:
    """A run whose items are all staged; none of them is published."""

    def __init__(self, context: Context, collection: str, product_type: str, owner: str = OWNER) -> None:
        self.context, self.ledger = context, context.ledger
        self.collection = collection
        self.id = str(uuid.uuid4())
        selection = Cql2(filter=of_type(product_type))
        self.ledger.open_run(self.id, RunRequest(owner=owner, collection=collection, selection=selection))
        find_items(context, self.ledger.run(self.id))
        self.ledger.begin_work(self.id)
        self.keys = self.ledger.feed(self.id)
        for key in self.keys:
            with self.ledger.claim(self.id, key, 60) as (run, record):
                stage_item(context, run, record)
                self.ledger.next(record)

    def publish(self, number: int = 0) -> None:
        """Do what the message of an item has done."""
        with self.ledger.claim(self.id, self.keys[number], self.context.settings.lease) as (run, record):
            publish_with_others(self.context, run, record)
            self.ledger.next(record)

    def item(self, number: int) -> ItemRecord:
        return self.ledger.item(self.id, self.keys[number])

    def states(self) -> list[ItemState]:
        return [self.item(number).state for number in range(len(self.keys))]

    def shown(self) -> list[str]:
        """Ids of the items that the catalog has."""
        catalog, ids = self.context.catalog_of(OWNER), [self.item(number).item_id for number in range(len(self.keys))]
        return [item_id for item_id in ids if catalog.get(self.collection, item_id) is not None]


@pytest.fixture
def staged(apart: Context, collection: str, product_type: str) -> Staged:
    return Staged(apart, collection, product_type)


class Counted:
    """Counts the requests that a collection has in a block: other tests' runs may still be at work in other ones."""

    def __init__(self, stack: Stack, collection: str) -> None:
        self._stack, self._collection = stack, collection
        self._before = stack.catalog_traffic(collection)

    def requests(self) -> dict[str, int]:
        after = self._stack.catalog_traffic(self._collection)
        return {kind: more for kind, count in after.items() if (more := count - self._before.get(kind, 0))}


def test_all_staged_items_of_a_run_are_published_by_three_requests(staged: Staged, stack: Stack) -> None:
    counted = Counted(stack, staged.collection)
    staged.publish()

    assert counted.requests() == {"POST search": 2, "POST bulk_items": 1}
    assert staged.states() == [ItemState.CATALOGUED] * ITEMS
    assert len(staged.shown()) == ITEMS


def test_items_that_the_catalog_shows_already_are_read_and_not_written(
    apart: Context, staged: Staged, stack: Stack
) -> None:
    staged.publish()
    _stage_again(apart, staged)
    counted = Counted(stack, staged.collection)
    staged.publish()

    assert counted.requests() == {"POST search": 1}
    assert staged.states() == [ItemState.CATALOGUED] * ITEMS


def test_an_item_that_is_to_be_changed_is_left_to_its_own_message(
    apart: Context, staged: Staged, stack: Stack, collection: str
) -> None:
    staged.publish()
    catalog = apart.catalog_of(OWNER)
    shown = catalog.get(collection, staged.item(3).item_id)
    assert shown is not None
    (asset,) = shown.assets.values()
    quicklook = asset.model_copy(update={"href": "s3://elsewhere/quicklook.png"})
    catalog.publish(shown.model_copy(update={"assets": {"quicklook": quicklook}}))
    _stage_again(apart, staged)
    staged.publish()
    assert staged.states() == [ItemState.STAGED if at == 3 else ItemState.CATALOGUED for at in range(ITEMS)]

    staged.publish(3)
    shown = catalog.get(collection, staged.item(3).item_id)
    assert shown is not None
    assert sorted(shown.assets) == [f"{shown.id}.EOF", "quicklook"]


def _stage_again(context: Context, staged: Staged) -> None:
    """Let all items be to be published once more."""
    for key in staged.keys:
        name = f"auxip:run:{staged.id}:item:{key}"
        context.ledger.redis.hset(name, "state", "staged")
        context.ledger.redis.hdel(name, "catalogued", "batched")


def test_an_item_that_comes_into_the_catalog_meanwhile_is_not_overwritten(
    apart: Context, staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = apart.catalog_of(OWNER)

    def written_first(context: Context, run: Run, record: ItemRecord, shown: Item | None) -> Item | None:
        item = item_to_write(context, run, record, None)
        if record.key == staged.keys[2] and item is not None:
            (asset,) = item.assets.values()
            foreign = asset.model_copy(update={"href": "s3://elsewhere/quicklook.png"})
            catalog.publish(item.model_copy(update={"assets": {"quicklook": foreign}}))
        return item

    monkeypatch.setattr("shared.steps.batch.item_to_write", written_first)
    staged.publish()
    monkeypatch.undo()
    assert staged.states() == [ItemState.STAGED if at == 2 else ItemState.CATALOGUED for at in range(ITEMS)]

    staged.publish(2)
    shown = catalog.get(staged.collection, staged.item(2).item_id)
    assert shown is not None
    assert "quicklook" in shown.assets


# One bad item


def make_bad(context: Context, staged: Staged, number: int) -> None:
    """Let an item belong to somebody else, so that it cannot be published."""
    record = staged.item(number)
    item = record.stac_item()
    item.collection = staged.collection
    item.properties["owner"] = "somebody"
    context.catalog_of(OWNER).publish(item)


def test_one_bad_item_fails_alone_with_its_own_code(apart: Context, staged: Staged) -> None:
    make_bad(apart, staged, 4)
    staged.publish()
    assert staged.states() == [ItemState.STAGED if at == 4 else ItemState.CATALOGUED for at in range(ITEMS)]

    with pytest.raises(ItemFailed, match="other-owner"):
        staged.publish(4)


def test_the_first_item_of_a_batch_fails_alone_too(apart: Context, staged: Staged) -> None:
    make_bad(apart, staged, 0)
    with pytest.raises(ItemFailed, match="other-owner"):
        staged.publish(0)
    assert staged.states() == [ItemState.STAGED, *[ItemState.CATALOGUED] * (ITEMS - 1)]


@pytest.mark.parametrize("status", [400, 409, 422, 500])
def test_a_batch_that_is_refused_is_halved_until_all_good_items_are_through(
    staged: Staged, stack: Stack, status: int
) -> None:
    stack.set_catalog_faults([{"path": "/bulk_items", "status": status, "times": 3}])
    counted = Counted(stack, staged.collection)
    staged.publish()

    assert counted.requests()["POST bulk_items"] > 3
    assert staged.states().count(ItemState.CATALOGUED) >= ITEMS - 2


def test_items_that_no_batch_could_publish_are_published_alone(staged: Staged, stack: Stack) -> None:
    stack.set_catalog_faults([{"path": "/bulk_items", "status": 400}])
    staged.publish()
    assert staged.states() == [ItemState.CATALOGUED, *[ItemState.STAGED] * (ITEMS - 1)]

    counted = Counted(stack, staged.collection)
    for number in range(1, ITEMS):
        staged.publish(number)
    assert counted.requests() == {"GET item": 2 * (ITEMS - 1), "POST items": ITEMS - 1}
    assert staged.states() == [ItemState.CATALOGUED] * ITEMS


@pytest.mark.parametrize("status", [502, 503])
def test_a_batch_that_meets_an_outage_charges_nobody_but_its_first_item(
    staged: Staged, stack: Stack, status: int
) -> None:
    stack.set_catalog_faults([{"path": "/", "status": status}])
    with pytest.raises(Retryable, match="catalog-unavailable"):
        staged.publish()

    assert staged.states() == [ItemState.STAGED] * ITEMS
    assert [staged.item(number).attempts for number in range(ITEMS)] == [0] * ITEMS
    stack.set_catalog_faults([])
    for number in range(ITEMS):
        staged.publish(number)
    assert staged.states() == [ItemState.CATALOGUED] * ITEMS


# What the server says, and what it does


def test_a_bulk_request_that_is_answered_well_and_not_done_is_found_out(staged: Staged, stack: Stack) -> None:
    stack.set_catalog_faults([{"path": "/bulk_items", "body": "{}"}])
    staged.publish()

    assert staged.states() == [ItemState.CATALOGUED, *[ItemState.STAGED] * (ITEMS - 1)]
    assert staged.shown() == [staged.item(0).item_id]


@pytest.mark.parametrize("status", [404, 405])
def test_a_catalog_without_bulk_is_written_item_by_item_and_read_at_once(
    staged: Staged, stack: Stack, status: int
) -> None:
    stack.set_catalog_faults([{"path": "/bulk_items", "status": status}])
    counted = Counted(stack, staged.collection)
    staged.publish()

    expected = {"POST search": 2, "POST bulk_items": 1, "GET collection": 1, "POST items": ITEMS}
    assert counted.requests() == expected
    assert staged.states() == [ItemState.CATALOGUED] * ITEMS


def test_an_answer_of_several_pages_says_nothing_of_what_it_does_not_show(staged: Staged, stack: Stack) -> None:
    page = '{"type": "FeatureCollection", "features": [], "links": [{"rel": "next", "href": "http://h/"}]}'
    stack.set_catalog_faults([{"path": "/search", "body": page}])
    counted = Counted(stack, staged.collection)
    staged.publish()

    assert "POST bulk_items" not in counted.requests()
    assert staged.shown() == [staged.item(0).item_id]


# Claims


def test_an_item_whose_claim_is_lost_in_the_midst_is_not_written(
    apart: Context, staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:

    def lose(context: Context, run: Run, record: ItemRecord, shown: Item | None) -> Item | None:
        if record.key == staged.keys[5]:
            context.ledger.redis.hset(f"auxip:lease:{record.key}", "token", "of another worker")
        return item_to_write(context, run, record, None)

    monkeypatch.setattr("shared.steps.batch.item_to_write", lose)
    staged.publish()

    assert staged.states() == [ItemState.STAGED if at == 5 else ItemState.CATALOGUED for at in range(ITEMS)]
    assert staged.item(5).item_id not in staged.shown()


def test_the_claims_of_a_batch_end_with_it(apart: Context, staged: Staged) -> None:
    staged.publish()
    assert apart.ledger.redis.keys("auxip:lease:*") == []


def test_two_runs_with_the_same_items_publish_each_once(
    apart: Context, staged: Staged, product_type: str, stack: Stack
) -> None:
    other = Staged(apart, staged.collection, product_type)
    counted = Counted(stack, staged.collection)
    with ThreadPoolExecutor(2) as pool:
        for published in [pool.submit(staged.publish, 0), pool.submit(other.publish, ITEMS - 1)]:
            published.result()
    for run in (staged, other):
        for number in range(ITEMS):
            if run.item(number).catalogued is None:
                run.publish(number)

    assert staged.states() == other.states() == [ItemState.CATALOGUED] * ITEMS
    assert counted.requests().get("PUT item", 0) == 0


def test_an_item_of_a_batch_is_another_workers_until_the_batch_has_ended(
    apart: Context, staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.steps import batch

    begun, go_on = threading.Event(), threading.Event()
    together = batch._publish_together

    def slowly(*arguments: object) -> None:
        begun.set()
        assert go_on.wait(30)
        together(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "_publish_together", slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(staged.publish)
        assert begun.wait(30)
        second = pool.submit(staged.publish, 3)  # waits in place
        go_on.set()
        first.result()
        second.result()
    assert staged.states() == [ItemState.CATALOGUED] * ITEMS


def test_a_batch_that_is_not_done_in_time_has_a_message_come_again(apart: Context, staged: Staged) -> None:
    ledger = staged.ledger
    with (
        ledger.claim(staged.id, staged.keys[0], 3) as (_, record),
        ledger.batches.gathered(record, 3),
        pytest.raises(Busy, match="claimed-elsewhere"),
    ):
        staged.publish(1)


def test_items_whose_worker_was_killed_are_in_no_batch_again(apart: Context, staged: Staged, stack: Stack) -> None:
    ledger = staged.ledger
    with ledger.claim(staged.id, staged.keys[0], 3) as (_, record), ledger.batches.gathered(record, 3) as others:
        for one in others:
            assert one.claim is not None
            one.claim.ended = True  # as if the process were gone: nothing ends the claim
    for key in staged.keys[1:]:
        apart.ledger.redis.hset(f"auxip:lease:{key}", "until", 1)
    counted = Counted(stack, staged.collection)
    for number in range(ITEMS):
        staged.publish(number)

    assert counted.requests() == {"GET item": 2 * ITEMS, "POST items": ITEMS}
    assert staged.states() == [ItemState.CATALOGUED] * ITEMS


def test_an_item_that_was_put_off_is_in_no_batch(staged: Staged) -> None:
    staged.ledger.put_off(staged.id, staged.keys[2], 60)
    staged.publish()
    assert staged.states() == [ItemState.STAGED if at == 2 else ItemState.CATALOGUED for at in range(ITEMS)]


def test_no_batch_is_gathered_for_a_run_that_was_cancelled(staged: Staged) -> None:
    with staged.ledger.claim(staged.id, staged.keys[0], 60) as (run, record):
        staged.ledger.cancel_run(staged.id)
        publish_with_others(staged.context, run, record)
        staged.ledger.next(record)
    assert staged.states() == [ItemState.CATALOGUED, *[ItemState.STAGED] * (ITEMS - 1)]


def test_a_batch_is_as_large_as_is_bearable(staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.ledger import batches

    monkeypatch.setattr(batches, "_MOST_BYTES", 3 * len(staged.item(0).stac))
    staged.publish()
    assert staged.states().count(ItemState.CATALOGUED) == 3


# The messages


def test_the_chain_of_an_item_that_a_batch_has_published_goes_on_with_its_own_message_and_with_no_copy(
    context: Context,
) -> None:
    from workers.tasks.catalog import fetch

    run = Opened(context.ledger, found("X", assets=("X.zip",)), found("Y", assets=("Y.zip",)))
    run.begin()
    for key in run.keys:
        with run.ledger.claim(run.id, key, 60) as (_, record):
            run.ledger.reach(record, ItemState.STAGED)
            run.ledger.next(record)
    with run.ledger.claim(run.id, run.keys[0], 60) as (_, first), run.ledger.batches.gathered(first, 60) as (other,):
        run.ledger.reach(other, ItemState.CATALOGUED)
        run.ledger.batches.record([other])

    goes_on = []
    for _ in range(2):
        fetch.push_request(id="1", chain=[{"task": "the next"}], delivery_info={})
        try:
            fetch.run(run.id, run.keys[1])
            goes_on.append(bool(fetch.request.chain))
        finally:
            fetch.pop_request()
    context.ledger.agenda.forget_run(run.id)
    assert goes_on == [True, False]


@pytest.mark.long
def test_a_run_of_three_hundred_items_costs_few_requests(stack: Stack, caller: Caller) -> None:
    with plain_items(stack, 300) as product_type:
        counted = Counted(stack, caller.collection)
        result = caller.stage(of_type(product_type)).get(120)

    assert isinstance(result, list)
    assert result[0] is True
    requests = counted.requests()
    assert sum(requests.values()) < 120, requests
