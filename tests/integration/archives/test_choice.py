"""Runs that expand only some members: what the catalog shows, that the archive stays, and what later runs add."""

from datetime import timedelta
from typing import Any

import pytest

from local import samples
from shared.archives import load_manifest, manifest_for, prefix_for
from shared.context import Context
from shared.models import ItemState, RunState
from shared.runs.settle import settle_item
from shared.runs.tidy import clean_up
from shared.stac.item import Item
from shared.steps.publish import publish_and_fetch
from shared.steps.stage import stage_item
from shared.storage.location import Location
from tests.golden.make import CASES, tgz_of
from tests.integration.archives.test_expand_command import hold, keys
from tests.integration.conftest import Caller, of_id
from tests.integration.test_audit import found_in
from tests.integration.test_commands import auxip, last_object
from tests.integration.test_runs import SECONDS, result_of
from tests.integration.test_steps import ARCHIVE, EVERY_STEP, Work

KEY = samples.UPPER_CASE_ARCHIVE
NAME = KEY.removesuffix(".TGZ")
HEADER = ("*.HDR",)
DATA = ("*.DBL",)
SOUND = CASES["zip-deflate/product.zip"]()


def expanded(context: Context, collection: str, **choice: Any) -> Work:
    work = Work(context, collection, **choice)
    work.do(*EVERY_STEP)
    return work


def shown(work: Work) -> Item:
    item = work.shown()
    assert item is not None
    return item


def members(context: Context, item: Item) -> list[str]:
    prefix = Location.parse(item.assets[NAME].href)
    return sorted(stored.key.rpartition(".")[2] for stored in context.store.list(prefix))


def test_the_archive_stays_in_store_and_catalog_with_its_chosen_members_beside_it(
    context: Context, collection: str
) -> None:
    work = expanded(context, collection, members=HEADER)

    item = shown(work)
    assert set(item.assets) == {KEY, NAME}
    assert members(context, item) == ["HDR"]
    assert context.store.head(Location.parse(item.assets[KEY].href)) is not None
    assert work.record.state is ItemState.EXPANDED
    assert found_in(context, collection) == []


def test_each_step_may_run_twice(context: Context, collection: str) -> None:
    work = Work(context, collection, members=HEADER)
    for step in EVERY_STEP:
        work.do(step, step)
    once = shown(work)
    assert set(once.assets) == {KEY, NAME}
    again = expanded(context, collection, members=HEADER)
    assert shown(again) == once
    assert again.record.expansions[KEY].reused
    assert again.record.downloaded == 0


def test_a_run_with_other_members_adds_them_and_an_archive_whose_files_are_all_there_goes(
    context: Context, collection: str
) -> None:
    expanded(context, collection, members=HEADER)
    work = expanded(context, collection, members=DATA)
    assert set(shown(work).assets) == {NAME}
    assert members(context, shown(work)) == ["DBL", "HDR"]


def test_a_run_for_everything_replaces_the_archive_by_its_content(context: Context, collection: str) -> None:
    archive = shown(expanded(context, collection, members=HEADER)).assets[KEY].href
    work = expanded(context, collection)

    assert set(shown(work).assets) == {NAME}
    assert members(context, shown(work)) == ["DBL", "HDR"]
    assert context.store.head(Location.parse(archive)) is None
    assert work.record.downloaded == 0
    assert found_in(context, collection) == []
    again = expanded(context, collection, members=HEADER)
    assert again.record.code == "already-staged"


def test_a_run_that_expands_nothing_leaves_what_is_there(context: Context, collection: str) -> None:
    before = shown(expanded(context, collection, members=HEADER))
    work = Work(context, collection, decompress=False)
    work.do(stage_item, publish_and_fetch, settle_item)
    assert work.record.code == "already-staged"
    assert shown(work) == before


def test_an_archive_that_is_gone_comes_again_and_its_members_stay(context: Context, collection: str) -> None:
    before = shown(expanded(context, collection, members=HEADER))
    context.store.delete(Location.parse(before.assets[KEY].href))
    work = expanded(context, collection, members=HEADER)

    assert work.record.code == "repaired"
    assert set(shown(work).assets) == {KEY, NAME}
    assert context.store.head(Location.parse(before.assets[KEY].href)) is not None


def test_members_that_are_gone_are_expanded_again(context: Context, collection: str) -> None:
    before = shown(expanded(context, collection, members=HEADER))
    (gone,) = context.store.list(Location.parse(before.assets[NAME].href))
    context.store.delete(Location(context.settings.s3_bucket, gone.key))
    work = expanded(context, collection, members=HEADER)
    assert members(context, shown(work)) == ["HDR"]


def test_another_version_of_the_archive_does_not_keep_the_members_of_the_old_one(
    context: Context, collection: str
) -> None:
    work = expanded(context, collection, members=HEADER)
    item = shown(work)
    old = item.assets[NAME]
    assert old.source is not None
    source = old.source.model_copy(update={"etag": "old"})
    item.assets[NAME] = old.model_copy(update={"source": source})
    prefix = Location.parse(old.href)
    manifest = load_manifest(context.store, prefix)
    assert manifest is not None
    of_old = manifest.model_copy(update={"archive_etag": "old"})
    context.store.put(manifest_for(prefix), of_old.model_dump_json().encode())
    context.store.delete(Location.parse(item.assets[KEY].href))
    work.catalog.publish(item)

    again = Work(context, collection, decompress=False)
    again.do(stage_item, publish_and_fetch)
    assert set(shown(again).assets) == {KEY}


def test_an_archive_that_is_kept_is_not_taken_for_a_leftover(context: Context, collection: str) -> None:
    work = expanded(context, collection, members=HEADER)
    context.ledger.close_run(work.run_id, RunState.SUCCESSFUL)
    archive = Location.parse(shown(work).assets[KEY].href)
    assert archive.key not in clean_up(context, timedelta(days=1))
    assert context.store.head(archive) is not None


def test_an_audit_takes_no_archive_that_is_kept_for_a_leftover(context: Context, collection: str) -> None:
    work = expanded(context, collection, members=HEADER)
    item = shown(work)
    item.assets = dict(reversed(item.assets.items()))  # as of a catalog that keeps no order
    work.catalog.publish(item)
    assert list(shown(work).assets) == [NAME, KEY]
    assert found_in(context, collection) == []


# As messages and commands


@pytest.mark.long
def test_a_caller_chooses_members_and_strips_folders(caller: Caller, context: Context) -> None:
    zarr = samples.product(samples.ZARR_ARCHIVE)
    result = caller.stage(of_id(zarr.item_id), members=["geoid/0.*", ".zgroup"], strip=0)
    status, (item,) = result_of(result.get(SECONDS))

    assert status, list(context.ledger.items(result.id))
    (prefix,) = (asset.href for asset in item.assets.values() if asset.href.endswith("/"))
    found = [stored.key.rpartition("/")[2] for stored in context.store.list(Location.parse(prefix))]
    assert ".zgroup" in found
    assert samples.ZARR_ARCHIVE in item.assets


def test_where_nothing_matches_the_item_fails_with_a_clear_code_and_the_archive_stays(
    caller: Caller, context: Context
) -> None:
    result = caller.stage(of_id(ARCHIVE.item_id), members=["*.nc"])
    status, (item,) = result_of(result.get(SECONDS))

    assert (status, set(item.assets)) == (False, {KEY})
    (record,) = context.ledger.items(result.id)
    assert record.code == "no-such-member"
    assert "'*.nc'" in record.reason


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"members": []}, "members"),
        ({"members": ["../x"]}, r"members\.0"),
        ({"members": "*.xml"}, "members"),
        ({"strip": -1}, "strip"),
        ({"strip": 1, "layout": "flat"}, "layout flat has none"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(caller: Caller, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception, match=f"bad-request: .*{said}"):
        caller.stage(of_id(ARCHIVE.item_id), **wrong).get(SECONDS)


@pytest.mark.long
def test_auxip_stage_expands_the_members_that_are_named(caller: Caller, context: Context) -> None:
    ended = auxip(
        *("stage", "--product-type", ARCHIVE.product_type, "--policy", "LatestGeneration"),
        *("--member", "*.HDR", "--strip", "0"),
        *("--collection", caller.collection, "--owner", str(caller.env["owner_id"]), "--json"),
    )
    assert ended.returncode == 0, ended.stderr
    item = context.catalog_of(str(caller.env["owner_id"])).get(caller.collection, ARCHIVE.item_id)
    assert item is not None
    assert members(context, item) == ["HDR"]


@pytest.mark.long
def test_auxip_expand_keeps_an_archive_of_which_only_some_members_are_expanded(
    caller: Caller, context: Context
) -> None:
    archive = hold(context, SOUND)
    ended = auxip("expand", archive.href, "--member", "*.xml")

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1].endswith("; 2 files stay in the archive")
    assert [key.rpartition("/")[2] for key in keys(context, archive)] == ["a.xml"]
    assert context.store.head(archive) is not None
    assert auxip("expand", archive.href).returncode == 0
    assert len(keys(context, archive)) == 3
    assert context.store.head(archive) is None


@pytest.mark.long
def test_auxip_expand_strips_leading_folders(caller: Caller, context: Context) -> None:
    archive = hold(context, tgz_of({"a/b/x": b"x", "a/c": b"c"}), "x.tgz")
    assert auxip("expand", archive.href, "--strip", "1").returncode == 0
    manifest = load_manifest(context.store, prefix_for(archive))
    assert manifest is not None
    assert [member.path for member in manifest.members] == ["b/x", "c"]
    assert context.store.head(archive) is None


@pytest.mark.long
def test_auxip_expand_shows_a_choice_and_refuses_one_that_makes_no_sense(context: Context, tmp_path: Any) -> None:
    file = tmp_path / "x.zip"
    file.write_bytes(SOUND)
    looked = auxip("expand", "--local", str(file), "--dry-run", "--member", "*.xml")
    assert looked.stdout.splitlines()[-1].endswith("1 members, 232 bytes; 2 files stay in the archive")
    none = auxip("expand", "--local", str(file), "--dry-run", "--member", "*.nc", "--json")
    assert (none.returncode, last_object(none.stdout)["code"]) == (3, "no-such-member")
    wrong = auxip("expand", "--local", str(file), "--dry-run", "--strip", "1", "--layout", "flat")
    assert wrong.returncode == 2
    assert "bad-request" in wrong.stderr
