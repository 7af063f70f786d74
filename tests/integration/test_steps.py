"""The steps against the real store and catalog: in the order that loses nothing, and each of them twice."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from local import samples
from local.stack import Stack
from shared.context import Context
from shared.errors import ItemFailed, Retryable
from shared.ledger import Ledger
from shared.models import ItemRecord, ItemState, Run, RunRequest
from shared.runs.close import close
from shared.runs.settle import settle_item
from shared.stac.item import Item
from shared.stac.search import Cql2
from shared.steps.expand import expand_asset
from shared.steps.find import find_items
from shared.steps.publish import publish_and_fetch, publish_expanded
from shared.steps.stage import stage_item
from shared.storage.location import Location
from tests.integration.conftest import of_id

ARCHIVE = samples.product(samples.UPPER_CASE_ARCHIVE)
Step = Callable[[Context, Run, ItemRecord], object]


class Work:
    """One run over one item, done step by step."""

    def __init__(self, context: Context, collection: str, item_id: str = ARCHIVE.item_id, **more: Any) -> None:
        self.context = context
        self.ledger: Ledger = context.ledger
        self.catalog = context.catalog_of("steps")
        self.run_id = str(uuid.uuid4())
        selection = Cql2(filter=of_id(item_id))
        request = RunRequest(owner="steps", collection=collection, selection=selection)
        self.ledger.open_run(self.run_id, request.model_copy(update=more))
        find_items(context, self.run)
        (self.key,) = self.ledger.keys(self.run_id)

    @property
    def run(self) -> Run:
        return self.ledger.run(self.run_id)

    @property
    def record(self) -> ItemRecord:
        return self.ledger.item(self.run_id, self.key)

    def shown(self) -> Item | None:
        return self.catalog.get(self.run.request.collection, self.record.item_id)

    def do(self, *steps: Step) -> None:
        for step in steps:
            step(self.context, self.run, self.record)


def expand(context: Context, run: Run, record: ItemRecord) -> None:
    expand_asset(context, run, record, samples.UPPER_CASE_ARCHIVE)


EVERY_STEP = (stage_item, publish_and_fetch, expand, publish_expanded, settle_item)


def objects(context: Context, collection: str) -> dict[str, str]:
    prefix = Location(context.settings.s3_bucket, f"steps/{collection}/")
    return {stored.key: stored.etag for stored in context.store.list(prefix) if not stored.key.endswith(".json")}


@pytest.fixture
def work(context: Context, collection: str) -> Work:
    return Work(context, collection)


def archive_of(work: Work) -> Location:
    shown = work.shown()
    assert shown is not None
    return Location.parse(shown.assets[samples.UPPER_CASE_ARCHIVE].href)


def test_each_step_may_run_twice_with_the_same_outcome(work: Work, context: Context, collection: str) -> None:
    for step in EVERY_STEP:
        work.do(step, step)
    once, stands = work.shown(), objects(context, collection)
    assert once is not None
    (asset,) = once.assets.values()
    assert sorted(stands) == [member.key for member in context.store.list(Location.parse(asset.href))]

    again = Work(context, collection)
    again.do(*EVERY_STEP)
    assert (again.shown(), objects(context, collection)) == (once, stands)
    assert (work.run.counts.staged, again.run.counts.skipped) == (1, 1)


def test_a_step_delivered_again_after_the_others_changes_nothing(work: Work, context: Context, collection: str) -> None:
    work.do(*EVERY_STEP[:-1])
    shown, stands = work.shown(), objects(context, collection)
    work.do(*EVERY_STEP[:-1])
    work.do(*EVERY_STEP)

    assert (work.shown(), objects(context, collection)) == (shown, stands)
    assert work.record.state is ItemState.EXPANDED


def test_members_without_their_manifest_are_neither_trusted_nor_overwritten(
    work: Work, context: Context, collection: str
) -> None:
    work.do(*EVERY_STEP)
    once, stands = work.shown(), objects(context, collection)
    assert once is not None
    context.store.delete(Location.parse(next(iter(once.assets.values())).manifest or ""))

    again = Work(context, collection)
    again.do(stage_item, publish_and_fetch)
    with pytest.raises(ItemFailed, match="prefix-taken"):
        again.do(expand)
    assert stands.items() <= objects(context, collection).items()


def test_the_archive_stands_until_the_catalog_shows_its_content(work: Work, context: Context, stack: Stack) -> None:
    work.do(stage_item, publish_and_fetch, expand)
    archive = archive_of(work)
    stack.set_catalog_faults([{"path": "/items", "method": "PATCH", "status": 503}])
    with pytest.raises(Retryable, match="catalog-unavailable"):
        work.do(publish_expanded)

    assert context.store.head(archive) is not None
    stack.set_catalog_faults([])
    work.do(publish_expanded)
    assert context.store.head(archive) is None


def test_a_catalog_that_does_not_show_what_was_written_keeps_the_archive(
    work: Work, context: Context, stack: Stack
) -> None:
    work.do(stage_item, publish_and_fetch, expand)
    archive, shown = archive_of(work), work.shown()
    assert shown is not None
    stack.set_catalog_faults([{"path": "/items", "method": "GET", "body": shown.model_dump_json(by_alias=True)}])
    with pytest.raises(Retryable, match="catalog-mismatch"):
        work.do(publish_expanded)

    assert context.store.head(archive) is not None


def test_an_archive_that_was_replaced_meanwhile_is_not_deleted(work: Work, context: Context) -> None:
    work.do(stage_item, publish_and_fetch, expand)
    archive = archive_of(work)
    context.store.put(archive, b"another archive")
    work.do(publish_expanded)

    assert context.store.get(archive, limit=100) == b"another archive"


def test_a_crash_after_the_publication_leaves_an_archive_that_the_next_run_deletes(
    work: Work, context: Context, collection: str
) -> None:
    work.do(stage_item, publish_and_fetch, expand)
    archive = archive_of(work)
    content = context.store.get(archive, limit=10**8) or b""
    work.do(publish_expanded)
    context.store.put(archive, content)  # as if the worker had been killed before the deletion

    again = Work(context, collection)
    again.do(*EVERY_STEP)
    assert context.store.head(archive) is None
    assert again.run.counts.failed == 0


def test_bytes_that_are_in_s3_but_not_in_the_catalog_are_not_downloaded_again(
    work: Work, context: Context, collection: str, stack: Stack
) -> None:
    work.do(stage_item)  # and here the worker was killed
    downloads = stack.station_traffic().downloads
    again = Work(context, collection, samples.product(samples.UPPER_CASE_ARCHIVE).item_id)
    again.do(stage_item, publish_and_fetch)

    assert again.record.downloaded == 0
    assert stack.station_traffic().downloads == downloads


def test_an_object_of_the_right_size_but_other_bytes_is_staged_anew(context: Context, collection: str) -> None:
    product = samples.product(samples.AS_LONG_AS_WINDOW)
    work = Work(context, collection, product.item_id)
    target = Location(context.settings.s3_bucket, f"steps/{collection}/{product.item_id}/{product.name}")
    context.store.put(target, b"x" * len(product.build()))
    work.do(stage_item)

    assert context.store.get(target, limit=10**8) == product.build()


def test_an_item_settled_before_its_steps_are_done_is_a_failure_that_says_so(work: Work) -> None:
    work.do(stage_item, settle_item)

    assert (work.record.state, work.record.code) == (ItemState.FAILED, "not-done")


def test_closing_a_run_twice_gives_the_same_result(work: Work, context: Context) -> None:
    work.do(*EVERY_STEP)
    first = close(context, work.run)
    closed = work.run.closed

    assert close(context, work.run) == first
    assert work.run.closed == closed


def test_an_item_that_vanished_from_the_catalog_is_not_invented(work: Work, context: Context) -> None:
    work.do(stage_item)
    with pytest.raises(Retryable, match="catalog-mismatch"):
        work.do(expand)
    with pytest.raises(Retryable, match="catalog-mismatch"):
        work.do(publish_expanded)
    assert work.catalog.get(work.run.request.collection, work.record.item_id) is None


def test_publishing_what_was_not_staged_is_tried_again_and_not_made_up(work: Work) -> None:
    with pytest.raises(Retryable, match="not-staged"):
        work.do(publish_and_fetch)


def test_an_item_of_another_owner_is_left_alone(context: Context, collection: str) -> None:
    Work(context, collection).do(stage_item, publish_and_fetch)
    other = Work(context, collection)
    request = other.run.request.model_copy(update={"owner": "other"})
    with pytest.raises(ItemFailed, match="other-owner"):
        stage_item(context, other.run.model_copy(update={"request": request}), other.record)
