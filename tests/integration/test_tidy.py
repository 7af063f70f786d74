"""What faults leave in S3 is removed each day, and nothing that is needed."""

import time
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest

from local import samples
from shared.archives import prefix_for
from shared.context import Context
from shared.ledger import lease
from shared.models import RunState
from shared.runs.tidy import clean_up, remove_leftovers, remove_old_reports
from shared.stac.item import Item
from shared.steps.publish import publish_and_fetch, publish_expanded
from shared.steps.stage import stage_item
from shared.storage.location import Location
from tests.integration.conftest import Caller
from tests.integration.test_steps import Work, archive_of, expand
from workers.app import app


class Expanded:
    """An item of a closed run whose archive was expanded, published and deleted."""

    def __init__(self, context: Context, collection: str) -> None:
        self.context = context
        self.begun = time.time()
        self.work = Work(context, collection)
        self.work.do(stage_item, publish_and_fetch)
        self.archive = archive_of(self.work)
        self.data = context.store.get(self.archive, 2**26) or b""
        self.work.do(expand, publish_expanded)
        context.ledger.close_run(self.work.run_id, RunState.SUCCESSFUL)

    def put_again(self) -> None:
        """What a store does that applies a PUT late."""
        assert not self.stands
        self.context.store.put(self.archive, self.data)

    @property
    def stands(self) -> bool:
        return self.context.store.head(self.archive) is not None

    @property
    def shown(self) -> Item:
        shown = self.work.shown()
        assert shown is not None
        return shown

    @property
    def members(self) -> list[Location]:
        (asset,) = self.shown.assets.values()
        prefix = Location.parse(asset.href)
        return [Location(prefix.bucket, stored.key) for stored in self.context.store.list(prefix)]

    def tidy(self, later: float = 0) -> bool:
        """Tidy up after runs from this one on, or some seconds later, and return whether the archive was removed."""
        removed = remove_leftovers(self.context, self.begun + later)
        assert (self.archive.key in removed) is not self.stands
        return self.archive.key in removed


@pytest.fixture
def expanded(context: Context, collection: str) -> Expanded:
    done = Expanded(context, collection)
    assert done.data
    return done


def test_an_archive_that_is_there_again_beside_its_content_is_removed(expanded: Expanded) -> None:
    shown, members = expanded.shown, expanded.members
    expanded.put_again()

    assert expanded.tidy()
    assert (expanded.shown, expanded.members) == (shown, members)
    assert members


def test_the_clean_up_removes_it_with_the_uploads(expanded: Expanded, context: Context) -> None:
    expanded.put_again()
    assert expanded.archive.key in clean_up(context, timedelta(hours=1))
    assert not expanded.stands


def test_the_daily_task_removes_it(expanded: Expanded, caller: Caller) -> None:
    expanded.put_again()
    assert expanded.archive.key in app.send_task("auxip.clean_up").get(60)
    assert not expanded.stands


def test_another_object_in_its_place_stays(expanded: Expanded, context: Context) -> None:
    context.store.put(expanded.archive, b"a newer archive")
    assert not expanded.tidy()


def test_an_archive_stays_whose_content_does_not_stand(expanded: Expanded, context: Context) -> None:
    context.store.delete(expanded.members[0])
    expanded.put_again()
    assert not expanded.tidy()


def test_an_archive_stays_whose_content_the_catalog_does_not_show(expanded: Expanded) -> None:
    shown = expanded.shown
    (asset,) = shown.assets.values()
    staged = asset.model_copy(update={"href": expanded.archive.href, "source": None})
    shown.assets = {samples.UPPER_CASE_ARCHIVE: staged}
    expanded.work.catalog.publish(shown)
    expanded.put_again()
    assert not expanded.tidy()


def test_an_archive_stays_that_is_not_the_one_that_was_expanded(expanded: Expanded, context: Context) -> None:
    """The catalog is not believed where it names another object than the ledger."""
    other = Location(expanded.archive.bucket, expanded.archive.key + ".other.zip")
    context.store.put(other, expanded.data)
    shown = expanded.shown
    ((name, asset),) = shown.assets.items()
    assert asset.source is not None
    shown.assets[name] = asset.model_copy(update={"source": asset.source.model_copy(update={"href": other.href})})
    expanded.work.catalog.publish(shown)
    expanded.put_again()

    assert not expanded.tidy()
    assert context.store.head(other) is not None


def test_an_archive_stays_while_its_item_is_worked_on(expanded: Expanded, context: Context) -> None:
    expanded.put_again()
    with lease(context.ledger.redis, expanded.work.key, 10):
        assert not expanded.tidy()
    assert expanded.tidy()


def test_a_run_that_was_closed_before_is_not_looked_at(expanded: Expanded) -> None:
    expanded.put_again()
    assert not expanded.tidy(later=3600)


def test_a_run_that_goes_on_is_not_looked_at(context: Context, collection: str) -> None:
    work = Work(context, collection)
    work.do(stage_item, publish_and_fetch, expand)
    remove_leftovers(context, work.run.created)
    assert context.store.head(archive_of(work)) is not None
    assert list(context.store.list(prefix_for(archive_of(work))))


# Reports


def written(context: Context, *keys: str) -> list[Location]:
    places = [Location(context.settings.s3_bucket, f"{context.settings.s3_prefix}{key}") for key in keys]
    for place in places:
        context.store.put(place, b"{}")
    return places


def left(context: Context, places: list[Location]) -> list[Location]:
    return [place for place in places if context.store.head(place) is not None]


@pytest.fixture
def days_later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let so many days go by for the clean-up, whose clock this is; that of the store does not move."""
    now = time.time()

    def go_by(days: float) -> None:
        monkeypatch.setattr("shared.runs.tidy.time.time", lambda: now + days * 86_400)

    return go_by


def test_old_reports_are_deleted_and_younger_ones_are_not(
    context: Context, days_later: Callable[[float], None]
) -> None:
    run = f"runs/{uuid.uuid4()}"
    names = ("report.json", "report.html", "auxiliary-files.json", "item-collection.json")
    places = written(context, *(f"{run}/{name}" for name in names), f"audits/{uuid.uuid4()}/report.json")

    days_later(context.settings.report_days - 1)
    remove_old_reports(context)
    assert left(context, places) == places
    days_later(context.settings.report_days + 1)
    assert remove_old_reports(context) >= len(places)
    assert left(context, places) == []


def test_what_is_no_report_stays_whatever_it_is_called(context: Context, days_later: Callable[[float], None]) -> None:
    places = written(
        context,
        "runs/aux/item/report.json",  # of an owner that is called so
        "audits/aux/item/report.html",
        f"runs/{uuid.uuid4()}/notes.txt",
        "runs/report.json",
        f"elsewhere/{uuid.uuid4()}/report.json",
    )
    days_later(10_000)
    remove_old_reports(context)
    assert left(context, places) == places


def test_more_reports_than_a_page_of_a_listing_are_deleted(
    context: Context, days_later: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = context.store.control.list_page
    monkeypatch.setattr(context.store.control, "list_page", lambda prefix, after: whole(prefix, after, 2))
    places = written(context, *(f"runs/{uuid.uuid4()}/report.json" for _ in range(7)))
    days_later(10_000)
    remove_old_reports(context)
    assert left(context, places) == []


def test_the_daily_task_looks_at_reports(context: Context, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    from workers.tasks.runs import clean_up as task  # which needs the settings of the stack

    looked: list[Context] = []
    monkeypatch.setattr("shared.runs.tidy.remove_old_reports", looked.append)
    task()
    assert len(looked) == 1
