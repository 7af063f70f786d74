"""What the catalog says of an archive is compared before anything is final; what was left out is reported."""

import json

import pytest

from local import samples
from shared.context import Context
from shared.errors import ItemFailed
from shared.models import ItemRecord, ItemState, Run
from shared.report import report_items
from shared.runs.settle import settle_item
from shared.steps.publish import publish_and_fetch, publish_expanded
from shared.steps.stage import stage_item
from shared.storage.digests import digest_of
from shared.storage.location import Location
from tests.golden.make import DATA, XML, tgz_of
from tests.integration.test_steps import Step, Work, archive_of, expand

OTHER = tgz_of({"other.dat": DATA})
UNSAFE = tgz_of({"../evil": b"x", "good.xml": XML})


@pytest.fixture
def work(context: Context, collection: str) -> Work:
    return Work(context, collection)


def replace(work: Work, data: bytes, checksum: str) -> Location:
    """Put another archive in the place of the staged one, and a checksum into the catalog."""
    archive, shown = archive_of(work), work.shown()
    assert shown is not None
    work.context.store.put(archive, data)
    asset = shown.assets[samples.UPPER_CASE_ARCHIVE]
    shown.assets[samples.UPPER_CASE_ARCHIVE] = asset.model_copy(update={"checksum": checksum, "size": len(data)})
    work.catalog.publish(shown)
    return archive


def below(context: Context, archive: Location) -> list[str]:
    folder = Location(archive.bucket, archive.key.rpartition("/")[0] + "/")
    return [stored.key for stored in context.store.list(folder) if stored.key != archive.key]


def with_skip(step: Step) -> Step:
    def skipping(context: Context, run: Run, record: ItemRecord) -> None:
        lenient = Context(context.settings.model_copy(update={"archive_on_unsafe": "skip"}))
        step(lenient, run, record)
        lenient.close()

    return skipping


@pytest.mark.parametrize("spelling", ["{}", "d50110{}"])
def test_an_archive_that_is_not_what_the_catalog_says_stays_and_nothing_is_left_of_it(
    work: Work, context: Context, spelling: str
) -> None:
    work.do(stage_item, publish_and_fetch)
    stated = digest_of(b"something else").md5
    archive = replace(work, OTHER, spelling.format(stated))

    with pytest.raises(ItemFailed, match=rf"archive-checksum.*{stated}"):
        work.do(expand)

    shown = work.shown()
    assert shown is not None
    assert shown.assets[samples.UPPER_CASE_ARCHIVE].href == archive.href
    assert context.store.get(archive, 10**6) == OTHER
    assert below(context, archive) == []


def test_an_expansion_that_was_done_before_is_compared_as_well(work: Work, context: Context) -> None:
    work.do(stage_item, publish_and_fetch)
    archive = replace(work, OTHER, digest_of(OTHER).md5)
    work.do(expand)
    replace(work, OTHER, digest_of(b"something else").md5)

    with pytest.raises(ItemFailed, match="archive-checksum"):
        work.do(expand)

    assert context.store.get(archive, 10**6) == OTHER


@pytest.mark.parametrize("spelling", ["{}", "d50110{}"])
def test_an_archive_that_is_what_the_catalog_says_is_expanded(work: Work, context: Context, spelling: str) -> None:
    work.do(stage_item, publish_and_fetch)
    archive = replace(work, OTHER, spelling.format(digest_of(OTHER).md5))
    work.do(expand, publish_expanded, settle_item)

    assert work.record.state is ItemState.EXPANDED
    assert context.store.head(archive) is None


def test_a_checksum_of_another_kind_that_a_catalog_has_put_there_is_not_compared(work: Work, context: Context) -> None:
    work.do(stage_item, publish_and_fetch)
    replace(work, OTHER, "1220" + "0" * 64)
    work.do(expand, publish_expanded, settle_item)

    assert work.record.state is ItemState.EXPANDED


def test_an_unsafe_member_fails_the_item_unless_the_settings_say_skip(work: Work, context: Context) -> None:
    work.do(stage_item, publish_and_fetch)
    archive = replace(work, UNSAFE, digest_of(UNSAFE).md5)

    with pytest.raises(ItemFailed, match="archive-unsafe"):
        work.do(expand)

    assert context.store.get(archive, 10**6) == UNSAFE


def test_what_was_left_out_stands_in_the_record_and_in_the_report(work: Work, context: Context) -> None:
    work.do(stage_item, publish_and_fetch)
    replace(work, UNSAFE, digest_of(UNSAFE).md5)

    work.do(with_skip(expand), publish_expanded, settle_item)

    told = json.loads(next(report_items([work.record])))
    assert (told["status"], told["code"]) == ("expanded", "left-out")
    assert "path-traversal '../evil'" in told["reason"]
    assert work.run.counts.expanded == 1
