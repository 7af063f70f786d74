"""What is already staged is not downloaded, by whatever it is known; anything less is repaired asset by asset."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from local import samples
from local.products.product import asset, item
from local.stack import Stack
from shared.archives import is_archive, load_manifest
from shared.context import Context
from shared.errors import ItemFailed
from shared.json_types import Json
from shared.models import ItemRecord, ItemState, Run
from shared.runs.settle import settle_item
from shared.stac.item import Asset, Item
from shared.steps.expand import expand_asset
from shared.steps.publish import publish_and_fetch, publish_expanded
from shared.steps.stage import stage_item
from shared.storage.location import Location
from tests.integration.test_steps import Work, objects

PLAIN = samples.product(samples.AS_LONG_AS_WINDOW)
ARCHIVE = samples.product(samples.UPPER_CASE_ARCHIVE)
SMALL = samples.product("S2__OPER_AUX_ECMWFD_PDMC_20240324T000000_V20240324T210000_20240325T090000.TGZ")
BOTH = [each for each in samples.catalogue() if each.item_id == samples.ORBIT_AND_ARCHIVE]
TWO = [each for each in samples.catalogue() if each.item_id == samples.TWO_ARCHIVES]
ORBIT, ZIP = sorted(each.name for each in BOTH)
WITHOUT_EXPANSION = (stage_item, publish_and_fetch, settle_item)


@contextmanager
def offering(stack: Stack, *features: object) -> Iterator[None]:
    """Let the station answer every search with these items."""
    body = json.dumps({"type": "FeatureCollection", "features": features, "links": []})
    stack.set_station_faults([{"path": "/search", "method": "POST", "body": body}])
    yield
    stack.set_station_faults([])


def feature(stack: Stack, products: list[samples.Product], without: tuple[str, ...] = (), **changes: object) -> Json:
    """An item of the station, some fields left out of its assets."""
    url = stack.station_url
    assets: dict[str, object] = {
        each.name: {name: value for name, value in asset(each, each.build(), url).items() if name not in without}
        for each in products
    }
    found: Json = json.loads(json.dumps(item(products, assets) | changes))
    return found


def expand_all(context: Context, run: Run, record: ItemRecord) -> None:
    shown = context.catalog_of(run.request.owner).get(run.request.collection, record.item_id)
    for key in list(shown.assets if shown else ()):
        if is_archive(key):
            expand_asset(context, run, record, key)


EXPANDING = (stage_item, publish_and_fetch, expand_all, publish_expanded, settle_item)


def done(context: Context, collection: str, *products: samples.Product, decompress: bool = True) -> Work:
    """The item of these products, staged by an earlier run."""
    work = Work(context, collection, products[0].item_id, decompress=decompress)
    expands = decompress and any(is_archive(each.name) for each in products)
    work.do(*(EXPANDING if expands else WITHOUT_EXPANSION))
    return work


def shown(work: Work) -> Item:
    found = work.shown()
    assert found is not None
    return found


def rewrite(work: Work, **changes: object) -> None:
    """Change the item in the catalog."""
    work.catalog.publish(shown(work).model_copy(update=changes))


def change_asset(work: Work, key: str, **changes: object) -> None:
    assets = shown(work).assets
    rewrite(work, assets={**assets, key: assets[key].model_copy(update=changes)})


def location(work: Work, key: str) -> Location:
    return Location.parse(shown(work).assets[key].href)


def test_an_asset_is_catalogued_with_the_etag_that_the_store_reports(context: Context, collection: str) -> None:
    work = done(context, collection, PLAIN)
    stored = context.store.head(location(work, PLAIN.name))

    assert stored is not None
    assert shown(work).assets[PLAIN.name].etag == stored.etag


def test_an_object_of_the_right_size_that_was_overwritten_is_repaired(context: Context, collection: str) -> None:
    target = location(done(context, collection, PLAIN), PLAIN.name)
    context.store.put(target, b"x" * len(PLAIN.build()))
    again = done(context, collection, PLAIN)

    assert again.record.state is ItemState.REPAIRED
    assert context.store.get(target, 10**8) == PLAIN.build()


def test_a_repaired_item_is_not_counted_as_staged(context: Context, collection: str) -> None:
    context.store.delete(location(done(context, collection, PLAIN), PLAIN.name))
    again = done(context, collection, PLAIN)
    counts = again.run.counts

    assert (counts.items, counts.staged, counts.repaired, counts.finished) == (1, 0, 1, 1)
    assert again.record.code == "repaired"


def test_an_item_whose_repair_was_cut_off_is_repaired_though_all_is_there_by_the_next_try(
    context: Context, collection: str
) -> None:
    target = location(done(context, collection, PLAIN), PLAIN.name)
    context.store.delete(target)
    again = Work(context, collection, PLAIN.item_id)
    again.do(stage_item)
    context.ledger.redis.hdel(f"auxip:run:{again.run_id}:item:{again.key}", "staged")
    again.do(*WITHOUT_EXPANSION)

    assert (again.record.intact, again.record.state) == (True, ItemState.REPAIRED)


def test_an_item_that_the_station_has_changed_is_staged_and_not_repaired(
    context: Context, collection: str, stack: Stack
) -> None:
    work = done(context, collection, PLAIN)
    change_asset(work, PLAIN.name, checksum="d50110" + "0" * 32)

    assert done(context, collection, PLAIN).record.state is ItemState.CATALOGUED


def test_an_object_of_several_parts_that_was_overwritten_is_repaired(context: Context, collection: str) -> None:
    target = location(done(context, collection, ARCHIVE, decompress=False), ARCHIVE.name)
    with context.store.open_writer(target) as writer:
        writer.write(b"x" * len(ARCHIVE.build()))
    done(context, collection, ARCHIVE, decompress=False)

    assert context.store.get(target, 10**8) == ARCHIVE.build()


def in_parts(context: Context, work: Work) -> str:
    """Replace the archive by the same bytes in several parts, as a large asset is staged; returns the ETag."""
    target = location(work, ARCHIVE.name)
    with context.store.open_writer(target) as writer:
        writer.write(ARCHIVE.build())
    stored = context.store.head(target)
    assert stored is not None
    assert stored.etag.endswith("-2")
    context.ledger.redis.delete(f"auxip:staged:{work.key}")
    return stored.etag


def test_an_object_of_several_parts_is_known_by_the_etag_in_the_catalog(context: Context, collection: str) -> None:
    work = done(context, collection, ARCHIVE, decompress=False)
    change_asset(work, ARCHIVE.name, etag=in_parts(context, work))
    assert done(context, collection, ARCHIVE, decompress=False).record.intact


def test_where_the_catalog_has_dropped_the_etag_an_md5_is_proof(context: Context, collection: str) -> None:
    change_asset(done(context, collection, PLAIN), PLAIN.name, etag=None)
    assert done(context, collection, PLAIN).record.intact


def test_where_no_etag_is_proof_the_object_is_read_and_not_downloaded(context: Context, collection: str) -> None:
    work = done(context, collection, ARCHIVE, decompress=False)
    etag = in_parts(context, work)
    change_asset(work, ARCHIVE.name, etag=None)
    again = done(context, collection, ARCHIVE, decompress=False)

    assert (again.record.downloaded, again.record.intact, again.record.state) == (0, False, ItemState.CATALOGUED)
    assert shown(again).assets[ARCHIVE.name].etag == etag


@pytest.mark.long
def test_the_same_bytes_under_another_etag_are_known_if_that_is_their_md5(context: Context, collection: str) -> None:
    work = done(context, collection, ARCHIVE, decompress=False)
    change_asset(work, ARCHIVE.name, etag=in_parts(context, work))
    etag = context.store.put(location(work, ARCHIVE.name), ARCHIVE.build()).etag

    assert etag != shown(work).assets[ARCHIVE.name].etag
    assert done(context, collection, ARCHIVE, decompress=False).record.intact


def test_an_asset_that_the_catalog_does_not_show_is_added_alone(context: Context, collection: str) -> None:
    work = done(context, collection, *BOTH, decompress=False)
    before = shown(work)
    rewrite(work, assets={ORBIT: before.assets[ORBIT]})
    context.store.delete(Location.parse(before.assets[ZIP].href))
    again = done(context, collection, *BOTH, decompress=False)

    assert again.record.downloaded == before.assets[ZIP].size
    assert shown(again) == before


def test_assets_that_the_station_does_not_offer_are_kept(context: Context, collection: str) -> None:
    work = done(context, collection, PLAIN)
    more = Asset.model_validate({"href": "https://elsewhere.example/quicklook.png"})
    rewrite(work, assets={**shown(work).assets, "quicklook": more})
    assert done(context, collection, PLAIN).record.intact

    context.store.delete(location(work, PLAIN.name))
    assert shown(done(context, collection, PLAIN)).assets["quicklook"] == more


def test_an_asset_that_was_renamed_in_the_catalog_is_staged_under_its_own_key_too(
    context: Context, collection: str
) -> None:
    work = done(context, collection, PLAIN)
    rewrite(work, assets={"renamed": shown(work).assets[PLAIN.name]})
    again = done(context, collection, PLAIN)

    assert set(shown(again).assets) == {PLAIN.name, "renamed"}
    assert again.record.downloaded == 0


def test_an_item_whose_objects_have_expired_is_put_into_the_catalog_again(context: Context, collection: str) -> None:
    work = done(context, collection, PLAIN)
    rewrite(work, properties={**shown(work).properties, "unpublished": True})
    again = done(context, collection, PLAIN)

    assert "unpublished" not in shown(again).properties
    assert (again.record.state, again.record.downloaded) == (ItemState.CATALOGUED, 0)
    assert done(context, collection, PLAIN).record.intact


def test_an_item_that_another_owner_publishes_meanwhile_is_not_taken_over(context: Context, collection: str) -> None:
    work = Work(context, collection, PLAIN.item_id)
    work.do(stage_item)
    Work(context, collection, PLAIN.item_id, owner="faster").do(stage_item, publish_and_fetch)
    with pytest.raises(ItemFailed, match="other-owner"):
        work.do(publish_and_fetch)

    assert shown(work).properties["owner"] == "faster"


def damage(context: Context, target: Location, how: str) -> None:
    stored = context.store.head(target)
    assert stored is not None
    if how == "deleted":
        context.store.delete(target)
    else:
        context.store.put(target, b"x" * (stored.size - (how == "cut")))


@pytest.mark.parametrize("how", ["deleted", "cut", "overwritten"])
def test_a_damaged_member_of_an_archive_is_found_and_repaired(context: Context, collection: str, how: str) -> None:
    work = done(context, collection, SMALL)
    before, stands = shown(work), objects(context, collection)
    (prefix,) = [Location.parse(each.href) for each in before.assets.values()]
    member = min(context.store.list(prefix), key=lambda stored: stored.size)
    damage(context, Location(prefix.bucket, member.key), how)
    again = done(context, collection, SMALL)

    assert again.record.state is ItemState.REPAIRED
    assert (shown(again), objects(context, collection)) == (before, stands)
    assert done(context, collection, SMALL).record.intact


def test_what_somebody_else_puts_beside_the_members_makes_nothing_of_them_less(
    context: Context, collection: str
) -> None:
    (expanded,) = shown(done(context, collection, SMALL)).assets.values()
    prefix = Location.parse(expanded.href)
    context.store.put(Location(prefix.bucket, prefix.key + "quicklook.png"), b"png")

    assert done(context, collection, SMALL).record.intact


def test_of_two_archives_only_the_damaged_one_is_repaired_and_in_its_place(context: Context, collection: str) -> None:
    work = done(context, collection, *TWO)
    before, stands = shown(work), objects(context, collection)
    key, expanded = next(iter(before.assets.items()))
    prefix = Location.parse(expanded.href)
    context.store.delete(Location(prefix.bucket, next(iter(context.store.list(prefix))).key))
    again = done(context, collection, *TWO)

    assert again.record.downloaded == before.assets[key].source.size  # type: ignore[union-attr]
    assert (shown(again).assets, objects(context, collection)) == (before.assets, stands)


def test_a_manifest_of_another_version_of_the_archive_is_no_proof(context: Context, collection: str) -> None:
    work = done(context, collection, SMALL)
    ((key, expanded),) = shown(work).assets.items()
    source = expanded.source
    assert source is not None
    change_asset(work, key, source=source.model_copy(update={"etag": "another"}))
    again = done(context, collection, SMALL)

    assert again.record.state is ItemState.REPAIRED


@pytest.mark.parametrize("field", ["href", "source"])
def test_content_that_is_not_at_the_owners_place_is_not_taken_for_ours(
    context: Context, collection: str, field: str
) -> None:
    work = done(context, collection, SMALL)
    ((key, expanded),) = shown(work).assets.items()
    source = expanded.source
    assert source is not None
    elsewhere = {
        "href": "s3://elsewhere/../x/",
        "source": source.model_copy(update={"href": "s3://elsewhere/other.TGZ"}),
    }
    change_asset(work, key, **{field: elsewhere[field]})
    again = done(context, collection, SMALL)

    assert again.record.state is ItemState.EXPANDED
    assert again.record.downloaded > 0
    assert load_manifest(context.store, location(again, key)) is not None


def test_an_asset_without_checksum_is_not_downloaded_again_between_staging_and_publishing(
    context: Context, collection: str, stack: Stack
) -> None:
    with offering(stack, feature(stack, [PLAIN], without=("file:checksum",))):
        first, second = (Work(context, collection, PLAIN.item_id) for _ in range(2))
    first.do(stage_item)
    second.do(*WITHOUT_EXPANSION)
    first.do(publish_and_fetch, settle_item)

    assert (first.record.downloaded, second.record.downloaded) == (len(PLAIN.build()), 0)
    assert first.record.state is second.record.state is ItemState.CATALOGUED


@pytest.mark.parametrize("how", ["overwritten", "deleted"])
def test_what_another_run_has_staged_is_used_only_if_it_still_stands(
    context: Context, collection: str, stack: Stack, how: str
) -> None:
    with offering(stack, feature(stack, [PLAIN], without=("file:checksum",))):
        first, second = (Work(context, collection, PLAIN.item_id) for _ in range(2))
    first.do(stage_item)
    damage(context, Location.parse(first.ledger.lately_staged(first.key)[PLAIN.name].href), how)
    second.do(*WITHOUT_EXPANSION)

    assert context.store.get(location(second, PLAIN.name), 10**8) == PLAIN.build()


def test_a_try_after_a_fault_downloads_only_what_is_missing_also_without_checksums(
    context: Context, collection: str, stack: Stack
) -> None:
    with offering(stack, feature(stack, BOTH, without=("file:checksum",))):
        work = Work(context, collection, samples.ORBIT_AND_ARCHIVE)
    stack.set_station_faults([{"path": str(BOTH[1].uuid), "status": 503}])
    with pytest.raises(Exception, match="station-unavailable"):
        work.do(stage_item)
    stack.set_station_faults([])
    work.do(stage_item)

    assert work.record.downloaded == work.record.size


def matches(context: Context, work: Work) -> bool:
    """Whether everything that the catalog points to is in S3."""
    found = work.shown()
    hrefs = [Location.parse(each.manifest or each.href) for each in found.assets.values()] if found else []
    return all(context.store.head(href) is not None for href in hrefs)


INTERLEAVINGS = "ABABABABAB ABBBBBAAAA AABBBBBAAA AAABBBBBAA AAAABBBBBA ABAAAABBBB ABAABABBAB".split()


@pytest.mark.parametrize("without", [(), ("file:checksum", "file:size")], ids=len)
@pytest.mark.parametrize("order", INTERLEAVINGS)
def test_however_the_steps_of_two_runs_mix_an_item_is_staged_once_and_the_catalog_is_right(
    context: Context, collection: str, stack: Stack, order: str, without: tuple[str, ...]
) -> None:
    expand = partial(expand_asset, name=SMALL.name)
    with offering(stack, feature(stack, [SMALL], without)):
        runs = {name: Work(context, collection, SMALL.item_id) for name in "AB"}
    steps = {name: iter((stage_item, publish_and_fetch, expand, publish_expanded, settle_item)) for name in "AB"}
    for name in order:
        runs[name].do(next(steps[name]))
        assert matches(context, runs[name])

    assert sum(work.record.downloaded for work in runs.values()) == len(SMALL.build())
    assert {work.record.state for work in runs.values()} <= {ItemState.EXPANDED, ItemState.SKIPPED}
    (expanded,) = shown(runs["A"]).assets.values()
    assert expanded.manifest is not None
    assert not any(key.endswith(".TGZ") for key in objects(context, collection))


def test_a_run_that_does_not_expand_keeps_what_another_has_expanded_meanwhile(
    context: Context, collection: str
) -> None:
    expanding, other = (Work(context, collection, SMALL.item_id, decompress=each) for each in (True, False))
    for work in (expanding, other):
        work.do(stage_item)
    expanding.do(*EXPANDING)
    before = shown(expanding)
    other.do(*WITHOUT_EXPANSION)

    assert shown(other) == before
    assert other.record.state is ItemState.CATALOGUED


def test_what_stands_neither_as_archive_nor_as_content_is_not_published(context: Context, collection: str) -> None:
    expanding, other = (Work(context, collection, SMALL.item_id) for _ in range(2))
    for work in (expanding, other):
        work.do(stage_item)
    expanding.do(*EXPANDING)
    before = shown(expanding)
    (prefix,) = [Location.parse(each.href) for each in before.assets.values()]
    context.store.delete(Location(prefix.bucket, next(iter(context.store.list(prefix))).key))

    with pytest.raises(Exception, match="not-staged"):
        other.do(publish_and_fetch)
    assert shown(other) == before


def test_a_station_cannot_tell_us_what_we_have_done(context: Context, collection: str, stack: Stack) -> None:
    """Else it could have any object deleted whose ETag it knows, as the archive that an asset was expanded from."""
    victim = Location(context.settings.s3_bucket, f"{collection}/victim")
    etag = context.store.put(victim, b"somebody else's").etag
    hostile = feature(stack, BOTH)
    assets = hostile["assets"]
    assert isinstance(assets, dict)
    assets[ORBIT] |= {  # type: ignore[operator]
        "aux_staging:source": {"name": ZIP, "href": victim.href, "etag": etag},
        "aux_staging:manifest": victim.href,
        "aux_staging:etag": etag,
    }
    with offering(stack, hostile):
        work = Work(context, collection, samples.ORBIT_AND_ARCHIVE)
    work.do(*EXPANDING)

    assert context.store.get(victim, 100) == b"somebody else's"
    assert shown(work).assets[ORBIT].source is None
