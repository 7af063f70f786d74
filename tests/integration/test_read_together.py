"""What the catalog shows of items that are to be staged: read for many by one search, never older than our writes."""

import time
import uuid
from collections.abc import Iterator

import pytest

from local.stack import Stack
from shared.context import Context
from shared.ledger import answers
from shared.ledger.answers import shown_of
from shared.models import RunRequest
from shared.stac.item import Item
from shared.stac.search import Cql2
from shared.steps.find import find_items
from shared.steps.publish import publish_and_fetch
from shared.steps.reading import shown_lately
from shared.steps.stage import stage_item
from tests.integration.conftest import of_type
from tests.integration.plain import plain_items
from tests.integration.test_batches import Counted

ITEMS = 5
OWNER = "reading"


@pytest.fixture(scope="module")
def product_type(stack: Stack) -> Iterator[str]:
    with plain_items(stack, ITEMS) as name:
        yield name


class Begun:
    """A run whose items have their turn; none of them is staged."""

    def __init__(self, context: Context, collection: str, product_type: str) -> None:
        self.context, self.ledger, self.id = context, context.ledger, str(uuid.uuid4())
        self.collection = collection
        selection = Cql2(filter=of_type(product_type))
        self.ledger.open_run(self.id, RunRequest(owner=OWNER, collection=collection, selection=selection))
        find_items(context, self.ledger.run(self.id))
        self.ledger.begin_work(self.id)
        self.keys = self.ledger.feed(self.id)

    def read(self, number: int) -> Item | None:
        """Read what the catalog shows of an item, as its step does."""
        with self.ledger.claim(self.id, self.keys[number], 60) as (run, record):
            return shown_lately(self.context, run, record)

    def stage(self, number: int) -> None:
        with self.ledger.claim(self.id, self.keys[number], 60) as (run, record):
            stage_item(self.context, run, record)
            self.ledger.next(record)

    def publish(self, number: int) -> None:
        with self.ledger.claim(self.id, self.keys[number], 60) as (run, record):
            publish_and_fetch(self.context, run, record)
            self.ledger.next(record)


@pytest.fixture
def begun(apart: Context, collection: str, product_type: str) -> Begun:
    return Begun(apart, collection, product_type)


def test_the_items_that_come_next_are_read_with_the_first_one(begun: Begun, stack: Stack) -> None:
    counted = Counted(stack, begun.collection)
    for number in range(ITEMS):
        begun.stage(number)
    assert counted.requests() == {"POST search": 1}


def test_an_answer_is_what_the_catalog_shows(begun: Begun, apart: Context, collection: str, product_type: str) -> None:
    begun.stage(1)
    begun.publish(1)
    again = Begun(apart, collection, product_type)
    shown = apart.catalog_of(OWNER).get(collection, apart.ledger.item(again.id, again.keys[1]).item_id)

    assert again.read(0) is None
    assert again.read(1) == shown
    assert shown is not None


def test_an_answer_is_used_once(begun: Begun, stack: Stack) -> None:
    begun.read(0)
    begun.read(1)
    counted = Counted(stack, begun.collection)
    begun.read(1)
    assert sum(counted.requests().values()) == 1


def test_what_we_have_written_since_is_in_the_answer(
    begun: Begun, apart: Context, collection: str, product_type: str
) -> None:
    other = Begun(apart, collection, product_type)
    begun.stage(2)
    apart.ledger.redis.delete(*map(shown_of, begun.keys))
    other.read(0)  # and with it the others, of which the catalog has none yet
    assert apart.ledger.redis.exists(shown_of(other.keys[2]))
    begun.publish(2)

    assert other.read(2) is not None


def test_an_item_that_another_run_works_on_is_not_read_for_others(
    begun: Begun, apart: Context, collection: str, product_type: str
) -> None:
    other = Begun(apart, collection, product_type)
    with apart.ledger.claim(begun.id, begun.keys[2], 60):
        other.read(0)
    assert apart.ledger.redis.exists(*map(shown_of, other.keys)) == ITEMS - 2


def test_what_was_read_before_a_write_and_comes_after_it_is_not_left(begun: Begun, apart: Context) -> None:
    read = apart.ledger.answers.take(begun.id, begun.keys[0])
    assert isinstance(read, answers.ToRead)
    with apart.ledger.claim(begun.id, begun.keys[1], 60) as (_, record):
        apart.ledger.require_claim(record)
    apart.ledger.answers.leave(read, begun.keys, dict.fromkeys(begun.keys, ""))

    assert apart.ledger.redis.exists(*map(shown_of, begun.keys)) == ITEMS - 1


def test_an_answer_is_good_for_seconds_only(begun: Begun, apart: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    begun.read(0)
    left = [int(apart.ledger.redis.pttl(shown_of(key))) for key in begun.keys[1:]]
    assert all(0 < each <= 1000 * answers.KEPT for each in left)


def test_an_item_of_many_bytes_is_read_by_its_own_step(
    begun: Begun, apart: Context, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_LARGEST", 0)
    begun.read(0)
    assert apart.ledger.redis.exists(*map(shown_of, begun.keys)) == 0


def test_an_item_that_another_worker_reads_is_waited_for(begun: Begun, apart: Context, stack: Stack) -> None:
    apart.ledger.redis.set(shown_of(begun.keys[0]), "?another", px=100)
    started = time.monotonic()
    counted = Counted(stack, begun.collection)
    begun.read(0)

    assert time.monotonic() - started < answers.KEPT
    assert counted.requests() == {"POST search": 1}


def test_a_search_that_fails_leaves_each_item_to_its_own_step(begun: Begun, apart: Context, stack: Stack) -> None:
    stack.set_catalog_faults([{"path": "/search", "status": 500}])
    counted = Counted(stack, begun.collection)

    assert begun.read(0) is None
    assert counted.requests() == {"POST search": 1, "GET item": 1}
    assert apart.ledger.redis.exists(*map(shown_of, begun.keys)) == 0
