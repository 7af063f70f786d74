"""Catalog against store: each kind of damage is found as what it is, and what is well or in work is no finding."""

import json
import time
import uuid
from collections.abc import Callable

import httpx
import pytest
from click.testing import CliRunner

from local import samples
from local.stack import Stack
from shared.archives import Rules, expand, manifest_for, prefix_beside
from shared.audit import slices
from shared.audit.audit import Audit, Scope
from shared.audit.findings import Counts, Finding, Kind
from shared.context import Context
from shared.json_types import Json
from shared.ledger import lease
from shared.models import work_key
from shared.stac.item import Item
from shared.steps.publish import publish_and_fetch
from shared.steps.stage import stage_item
from shared.storage.location import Location
from tests.integration.conftest import Caller, of_id, wait_for
from tests.integration.test_already_staged import (
    ARCHIVE,
    PLAIN,
    SMALL,
    change_asset,
    done,
    expand_all,
    feature,
    offering,
    shown,
)
from tests.integration.test_commands import auxip, last_object
from tests.integration.test_runs import SECONDS
from tests.integration.test_steps import Work
from workers.app import app
from workers.cli.audit import audit

OWNER = "steps"
PLAINS = [samples.product(name) for name in (samples.ENDS_WITHIN_WINDOW, samples.STARTS_WITHIN_WINDOW)]


def audited(context: Context, collection: str, **options: object) -> tuple[Counts, list[Finding]]:
    """Audit a collection to its end."""
    counts, found = Counts(), []
    with Audit(context, Scope(OWNER, collection, **options), counts) as audit:  # type: ignore[arg-type]
        position = audit.begin()
        while position.walk != "done":
            position, findings = audit.step(position)
            found += findings
    return counts, found


def found_in(context: Context, collection: str, **options: object) -> list[tuple[Kind, str]]:
    """What an audit finds: its kind, and the key below the item's folder."""
    root = f"s3://{context.settings.s3_bucket}/{OWNER}/{collection}/"
    return [(each.kind, each.key.removeprefix(root)) for each in audited(context, collection, **options)[1]]


def place(work: Work, key: str) -> Location:
    return Location.parse(shown(work).assets[key].href)


def prefix_of(work: Work) -> Location:
    (asset,) = shown(work).assets.values()
    return Location.parse(asset.href)


def unpublish(stack: Stack, collection: str, item_id: str) -> None:
    """Delete an item from the catalog."""
    settings = stack.environment()
    url = f"{settings['AUXIP_CATALOG_URL']}/collections/{collection}/items/{item_id}"
    httpx.delete(url, headers={"x-api-key": settings["AUXIP_CATALOG_API_KEY"]}).raise_for_status()


def test_a_collection_that_is_as_it_should_be_has_no_findings(context: Context, collection: str) -> None:
    done(context, collection, PLAIN)
    done(context, collection, SMALL)
    done(context, collection, ARCHIVE, decompress=False)
    counts, found = audited(context, collection, checksum=True, station="")

    assert (found, counts.found, counts.items, counts.unchecked, counts.in_work) == ([], 0, 3, 0, 0)
    assert counts.objects > 3


def test_an_object_that_is_gone_is_a_phantom(context: Context, collection: str) -> None:
    target = place(done(context, collection, PLAIN), PLAIN.name)
    context.store.delete(target)
    counts, (finding,) = audited(context, collection)

    assert (finding.kind, finding.item, finding.asset, finding.key) == (
        Kind.PHANTOM,
        PLAIN.item_id,
        PLAIN.name,
        target.href,
    )
    assert counts.phantom == 1


def test_one_object_of_an_item_that_is_gone_is_a_phantom(context: Context, collection: str) -> None:
    work = done(context, collection, PLAIN)
    asset = shown(work).assets[PLAIN.name]
    gone = asset.model_copy(update={"href": asset.href.replace(PLAIN.name, "other.EOF")})
    work.catalog.publish(shown(work).model_copy(update={"assets": {PLAIN.name: asset, "other.EOF": gone}}))

    assert found_in(context, collection) == [(Kind.PHANTOM, f"{PLAIN.item_id}/other.EOF")]


@pytest.mark.parametrize("data", [b"short", b"x" * len(PLAIN.build())], ids=["another size", "other bytes"])
def test_an_object_that_was_overwritten_is_a_mismatch(context: Context, collection: str, data: bytes) -> None:
    target = place(done(context, collection, PLAIN), PLAIN.name)
    context.store.put(target, data)

    assert found_in(context, collection) == [(Kind.MISMATCH, f"{PLAIN.item_id}/{PLAIN.name}")]


def test_bytes_that_the_etag_does_not_tell_of_are_a_mismatch_of_the_checksum(context: Context, collection: str) -> None:
    work = done(context, collection, PLAIN)
    stored = context.store.put(place(work, PLAIN.name), b"x" * len(PLAIN.build()))
    change_asset(work, PLAIN.name, etag=stored.etag)

    assert found_in(context, collection) == []
    assert found_in(context, collection, checksum=True) == [(Kind.MISMATCH, f"{PLAIN.item_id}/{PLAIN.name}")]


def test_an_object_whose_item_the_catalog_has_lost_is_an_orphan(
    context: Context, collection: str, stack: Stack
) -> None:
    done(context, collection, PLAIN)
    unpublish(stack, collection, PLAIN.item_id)

    assert found_in(context, collection) == [(Kind.ORPHAN, f"{PLAIN.item_id}/{PLAIN.name}")]


def test_the_content_of_an_archive_whose_item_is_lost_is_one_orphan(
    context: Context, collection: str, stack: Stack
) -> None:
    prefix = prefix_of(done(context, collection, SMALL))
    unpublish(stack, collection, SMALL.item_id)
    (finding,) = audited(context, collection)[1]

    assert (finding.kind, finding.key) == (Kind.ORPHAN, prefix.href)


@pytest.mark.parametrize("where", [f"{PLAIN.item_id}/foreign", "foreign"])
def test_a_foreign_object_is_an_orphan(context: Context, collection: str, where: str) -> None:
    done(context, collection, PLAIN)
    context.store.put(Location(context.settings.s3_bucket, f"{OWNER}/{collection}/{where}"), b"?")

    assert found_in(context, collection) == [(Kind.ORPHAN, where)]


def test_members_that_are_missing_foreign_or_changed_differ_from_their_manifest(
    context: Context, collection: str
) -> None:
    prefix = prefix_of(done(context, collection, ARCHIVE))
    first, second, *_ = (Location(prefix.bucket, each.key) for each in context.store.list(prefix))
    context.store.delete(first)
    context.store.put(second, b"changed")
    extra = Location(prefix.bucket, f"{prefix.key}foreign")
    context.store.put(extra, b"?")
    found = audited(context, collection)[1]

    assert {each.key for each in found} == {first.href, second.href, extra.href}
    assert {each.kind for each in found} == {Kind.MANIFEST}


def test_members_without_a_manifest_differ_from_it(context: Context, collection: str) -> None:
    manifest = manifest_for(prefix_of(done(context, collection, SMALL)))
    context.store.delete(manifest)
    (finding,) = audited(context, collection)[1]

    assert (finding.kind, finding.key) == (Kind.MANIFEST, manifest.href)


def test_an_expanded_archive_without_any_member_is_a_phantom(context: Context, collection: str) -> None:
    prefix = prefix_of(done(context, collection, SMALL))
    for each in list(context.store.list(prefix)):
        context.store.delete(Location(prefix.bucket, each.key))
    (finding,) = audited(context, collection)[1]

    assert (finding.kind, finding.key) == (Kind.PHANTOM, prefix.href)


def put_archive_back(context: Context, work: Work) -> Location:
    (asset,) = shown(work).assets.values()
    assert asset.source is not None
    archive = Location.parse(asset.source.href)
    etag = context.store.put(archive, SMALL.build()).etag
    assert etag == asset.source.etag
    return archive


def test_an_archive_beside_its_published_content_is_found_as_such(context: Context, collection: str) -> None:
    archive = put_archive_back(context, done(context, collection, SMALL))
    (finding,) = audited(context, collection)[1]

    assert (finding.kind, finding.key) == (Kind.ARCHIVE, archive.href)


def test_content_beside_an_archive_that_the_catalog_still_shows_is_found_as_such(
    context: Context, collection: str
) -> None:
    work = done(context, collection, SMALL, decompress=False)
    again = Work(context, collection, SMALL.item_id)
    again.do(stage_item, publish_and_fetch, expand_all)
    context.ledger.close_run(again.run_id, again.run.state)
    context.ledger.agenda.forget_run(again.run_id)
    (finding,) = audited(context, collection)[1]

    assert (finding.kind, finding.asset) == (Kind.ARCHIVE, SMALL.name)
    assert work.run.counts.staged == 1


def test_a_checksum_that_the_station_states_no_more_is_a_mismatch(
    context: Context, collection: str, stack: Stack
) -> None:
    done(context, collection, PLAIN)
    newer = feature(stack, [PLAIN])
    newer["assets"][PLAIN.name]["file:checksum"] = "0" * 32  # type: ignore[index,call-overload]
    assert found_in(context, collection, station="") == []
    with offering(stack, newer):
        assert found_in(context, collection) == []
        assert found_in(context, collection, station="") == [(Kind.MISMATCH, f"{PLAIN.item_id}/{PLAIN.name}")]


def test_an_item_that_a_worker_has_claimed_is_no_finding(context: Context, collection: str) -> None:
    context.store.delete(place(done(context, collection, PLAIN), PLAIN.name))
    with lease(context.ledger.redis, work_key(OWNER, collection, PLAIN.item_id), 60):
        counts, found = audited(context, collection)

    assert (found, counts.in_work) == ([], 1)


def test_an_item_of_an_open_run_is_no_finding(context: Context, collection: str) -> None:
    work = Work(context, collection, PLAIN.item_id)
    work.do(stage_item)
    counts, found = audited(context, collection)
    assert (found, counts.in_work) == ([], 1)

    context.ledger.close_run(work.run_id, work.run.state)
    context.ledger.agenda.forget_run(work.run_id)
    assert found_in(context, collection) == [(Kind.ORPHAN, f"{PLAIN.item_id}/{PLAIN.name}")]


def test_an_item_that_is_well_by_the_second_look_is_no_finding(
    context: Context, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = place(done(context, collection, PLAIN), PLAIN.name)
    context.store.delete(target)
    looked = context.audits.in_work

    def mended(keys: list[str]) -> set[str]:
        context.store.put(target, PLAIN.build())
        return looked(keys)

    monkeypatch.setattr(context.audits, "in_work", mended)
    assert found_in(context, collection) == []


def test_an_asset_that_is_elsewhere_is_looked_for_there(context: Context, collection: str) -> None:
    work = done(context, collection, PLAIN)
    elsewhere = Location(context.settings.s3_bucket, f"elsewhere/{collection}/{PLAIN.item_id}/{PLAIN.name}")
    context.store.put(elsewhere, PLAIN.build())
    change_asset(work, PLAIN.name, href=elsewhere.href)
    context.store.delete(Location(elsewhere.bucket, f"{OWNER}/{collection}/{PLAIN.item_id}/{PLAIN.name}"))
    assert found_in(context, collection) == []

    context.store.delete(elsewhere)
    (finding,) = audited(context, collection)[1]
    assert (finding.kind, finding.key) == (Kind.PHANTOM, elsewhere.href)


@pytest.fixture
def many(context: Context, collection: str) -> list[str]:
    """Items whose order differs: by bytes `a1-/` comes before `a1/`, by folders after it, by a collation anywhere."""
    ids = [
        f"{letter}{sign}{number}" for number in range(70) for letter in "aBc" for sign in ("", "-", ".", "_", "~", "é")
    ]
    catalog = context.catalog_of(OWNER)
    for item_id in ids:
        written = context.store.put(Location(context.settings.s3_bucket, f"{OWNER}/{collection}/{item_id}/x.EOF"), b"x")
        catalog.api.call("POST", f"/collections/{collection}/items", plain(context, collection, item_id, written.etag))
    return ids


def plain(context: Context, collection: str, item_id: str, etag: str) -> Json:
    href = f"s3://{context.settings.s3_bucket}/{OWNER}/{collection}/{item_id}/x.EOF"
    item = Item.model_validate(
        {
            "id": item_id,
            "type": "Feature",
            "stac_version": "1.1.0",
            "collection": collection,
            "geometry": {"type": "Point", "coordinates": [0, 0]},
            "bbox": [0, 0, 0, 0],
            "properties": {"datetime": "2024-01-01T00:00:00Z", "owner": OWNER},
            "assets": {"x.EOF": {"href": href, "file:size": 1, "aux_staging:etag": etag}},
            "links": [],
        }
    )
    return item.to_json()


@pytest.mark.long
def test_all_items_are_seen_whatever_orders_store_and_catalog_have(
    context: Context, collection: str, stack: Stack, many: list[str]
) -> None:
    counts, found = audited(context, collection)
    assert (found, counts.items, counts.objects) == ([], len(many), len(many))

    gone, lost = many[::97], many[1::97]
    for item_id in gone:
        context.store.delete(Location(context.settings.s3_bucket, f"{OWNER}/{collection}/{item_id}/x.EOF"))
    for item_id in lost:
        unpublish(stack, collection, item_id)
    found = audited(context, collection)[1]

    assert sorted(each.item for each in found if each.kind is Kind.PHANTOM) == sorted(gone)
    assert sorted(each.item for each in found if each.kind is Kind.ORPHAN) == sorted(lost)


# The command


@pytest.mark.long
def test_the_command_ends_with_one_object_and_tells_by_its_status_whether_it_found_anything(
    context: Context, collection: str
) -> None:
    target = place(done(context, collection, PLAIN), PLAIN.name)
    well = auxip("audit", collection, "--json")
    assert (well.returncode, last_object(well.stdout)["findings"]) == (0, [])

    context.store.delete(target)
    damaged = auxip("audit", collection, "--json")
    said = last_object(damaged.stdout)
    assert damaged.returncode == 1, damaged.stderr
    assert [said[kind.value] for kind in Kind] == [1, 0, 0, 0, 0]
    finding = Finding.model_validate(said["findings"][0])  # type: ignore[index]
    assert (finding.item, finding.asset, finding.key) == (PLAIN.item_id, PLAIN.name, target.href)
    assert (finding.kind, finding.found) == (Kind.PHANTOM, "nothing")


@pytest.mark.long
def test_the_command_writes_its_report_into_the_store(context: Context, collection: str) -> None:
    said = last_object(auxip("audit", collection, "--owner", OWNER, "--json").stdout)
    report = context.store.get(Location.parse(str(said["report"])), 10**6)

    assert json.loads(report or b"")["audit"] == said["audit"]


def test_a_collection_that_is_not_there_is_neither_well_nor_damaged() -> None:
    ended = auxip("audit", f"none-{uuid.uuid4().hex[:8]}")

    assert ended.returncode == 2
    assert "unknown-collection" in ended.stderr


# Repair, by the command and the workers


@pytest.fixture
def staged(caller: Caller, context: Context) -> Callable[..., Item]:
    """Stages products by the workers, and returns the item as the catalog shows it."""

    def stage(product: samples.Product, **options: object) -> Item:
        caller.stage(of_id(product.item_id), **options).get(timeout=SECONDS)
        item = context.catalog_of(OWNER).get(caller.collection, product.item_id)
        assert item is not None
        return item

    return stage


def repaired(caller: Caller, *options: str) -> dict[tuple[str, str], str]:
    """Audit and repair a collection; returns the outcome of each finding by its kind and the last name of its key."""
    ended = CliRunner().invoke(audit, [caller.collection, "--repair", *options, "--json"])
    assert ended.exit_code == 1, ended.output
    findings = [Finding.model_validate(each) for each in last_object(ended.stdout)["findings"]]  # type: ignore[attr-defined]
    return {(each.kind, each.key.rstrip("/").rpartition("/")[2]): each.outcome for each in findings}


def is_well(caller: Caller) -> bool:
    return CliRunner().invoke(audit, [caller.collection]).exit_code == 0


def location_of(item: Item, key: str) -> Location:
    return Location.parse(item.assets[key].href)


@pytest.mark.long
def test_one_of_each_damage_is_found_and_mended(
    caller: Caller, context: Context, stack: Stack, staged: Callable[..., Item]
) -> None:
    phantom, mismatch, lost = (staged(each) for each in (PLAIN, *PLAINS))
    first, second = (staged(each) for each in (SMALL, ARCHIVE))
    context.store.delete(location_of(phantom, PLAIN.name))
    context.store.put(location_of(mismatch, PLAINS[0].name), b"other")
    unpublish(stack, caller.collection, lost.id)
    (expanded,) = first.assets.values()
    context.store.put(Location.parse(expanded.source.href), SMALL.build())  # type: ignore[union-attr]
    (other,) = second.assets.values()
    prefix = Location.parse(other.href)
    member = next(iter(context.store.list(prefix)))
    context.store.delete(Location(prefix.bucket, member.key))

    assert repaired(caller) == {
        ("phantom", PLAIN.name): "repaired",
        ("mismatch", PLAINS[0].name): "repaired",
        ("orphan", PLAINS[1].name): "published again",
        ("archive", SMALL.name): "deleted",
        ("manifest", member.key.rpartition("/")[2]): "repaired",
    }
    assert is_well(caller)


@pytest.mark.long
def test_an_archive_that_was_kept_is_not_expanded_by_a_repair(
    caller: Caller, context: Context, staged: Callable[..., Item]
) -> None:
    target = location_of(staged(SMALL, decompress=False), SMALL.name)
    context.store.delete(target)

    assert repaired(caller) == {("phantom", SMALL.name): "repaired"}
    assert context.store.head(target) is not None


@pytest.mark.long
def test_an_orphan_is_deleted_only_on_request_and_when_it_is_old(
    caller: Caller, context: Context, staged: Callable[..., Item]
) -> None:
    foreign = Location(context.settings.s3_bucket, f"{caller.env['owner_id']}/{caller.collection}/{PLAIN.item_id}/x")
    staged(PLAIN)
    context.store.put(foreign, b"?")
    for options in ((), ("--delete-orphans",)):
        (outcome,) = repaired(caller, *options).values()
        assert outcome.startswith("left")
        assert context.store.head(foreign) is not None

    assert repaired(caller, "--delete-orphans", "--older-than", "0s") == {("orphan", "x"): "deleted"}
    assert context.store.head(foreign) is None
    assert is_well(caller)


@pytest.mark.long
def test_the_content_of_a_lost_item_is_deleted_with_its_manifest(
    caller: Caller, context: Context, stack: Stack, staged: Callable[..., Item]
) -> None:
    (asset,) = (item := staged(SMALL)).assets.values()
    unpublish(stack, caller.collection, item.id)

    assert set(repaired(caller, "--delete-orphans", "--older-than", "0s").values()) == {"deleted"}
    folder = Location.parse(asset.href).key.rpartition(f"{item.id}/")[0]
    assert list(context.store.list(Location(context.settings.s3_bucket, f"{folder}{item.id}/"))) == []


@pytest.mark.long
def test_content_that_was_not_published_is_published_by_a_repair(
    caller: Caller, context: Context, staged: Callable[..., Item]
) -> None:
    archive = location_of(staged(SMALL, decompress=False), SMALL.name)
    expand(context.store, archive, prefix_beside(archive), Rules.from_settings(context.settings))

    assert [*repaired(caller).values()] == ["published again"]
    assert is_well(caller)


@pytest.mark.long
def test_what_the_station_has_no_more_is_told_to_be_left(caller: Caller, context: Context) -> None:
    root = f"{caller.env['owner_id']}/{caller.collection}"
    context.store.put(Location(context.settings.s3_bucket, f"{root}/UNKNOWN/UNKNOWN.EOF"), b"?")

    assert repaired(caller) == {
        ("orphan", "UNKNOWN.EOF"): "left: the station does not offer the item any more",
    }


def test_deleting_orphans_needs_a_repair() -> None:
    assert auxip("audit", "aux", "--delete-orphans").returncode == 2


# The recurring audit


@pytest.fixture
def one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice is one step."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0)


def slices_of(context: Context, name: str, scope: Scope, tick: float) -> int:
    """Do a recurring audit to its end; returns how many slices that took."""
    count, chain = 1, slices.audit_slice(context, name, scope, tick)
    while chain:
        count, chain = count + 1, slices.audit_slice(context, name, scope, tick, chain)
    return count


@pytest.mark.usefixtures("one_step")
def test_a_recurring_audit_goes_on_slice_by_slice_and_leaves_a_summary_and_a_report(
    apart: Context, context: Context, collection: str
) -> None:
    target = place(done(context, collection, PLAIN), PLAIN.name)
    apart.store.delete(target)

    assert slices_of(apart, "nightly", Scope(OWNER, collection), tick=1) == 2
    last = json.loads(apart.audits.last("nightly"))
    report = json.loads(apart.store.get(Location.parse(last["report"]), 10**6) or b"")
    assert (last["findings"], last["phantom"], last["collection"]) == (1, 1, collection)
    assert [Finding.model_validate(each).key for each in report["findings"]] == [target.href]


@pytest.mark.usefixtures("one_step")
def test_a_page_that_two_slices_have_read_is_counted_once(apart: Context, collection: str) -> None:
    done(apart, collection, PLAIN)

    assert slices_of(apart, "nightly", Scope("somebody-else", collection), tick=1) == 2
    last = json.loads(apart.audits.last("nightly"))
    assert (last["items"], last["others"], last["findings"]) == (0, 1, 0)


@pytest.mark.usefixtures("one_step")
def test_each_tick_is_audited_once_and_none_while_an_audit_goes_on(apart: Context, collection: str) -> None:
    scope = Scope(OWNER, collection)
    chain = slices.audit_slice(apart, "nightly", scope, tick=1)
    assert chain
    assert slices.audit_slice(apart, "nightly", scope, tick=2) == ""
    assert slices.audit_slice(apart, "nightly", scope, tick=1, chain=chain) == ""
    assert apart.audits.last("nightly")

    assert slices.audit_slice(apart, "nightly", scope, tick=1) == ""
    assert slices.audit_slice(apart, "nightly", scope, tick=2)


@pytest.mark.usefixtures("one_step")
def test_an_audit_that_has_come_to_a_halt_is_taken_over_by_the_next_tick(
    apart: Context, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = Scope(OWNER, collection)
    lost = slices.audit_slice(apart, "nightly", scope, tick=1)
    monkeypatch.setattr(slices, "_HALTED", 0)

    assert slices.audit_slice(apart, "nightly", scope, tick=2) == ""
    assert apart.audits.last("nightly")
    assert slices.audit_slice(apart, "nightly", scope, tick=1, chain=lost) == ""


@pytest.mark.long
def test_a_worker_does_the_audits_of_the_sweeps_file(caller: Caller, context: Context, stack: Stack) -> None:
    name = f"audit{uuid.uuid4().hex[:6]}"
    caller.stage(of_id(PLAIN.item_id)).get(timeout=SECONDS)
    table = f'[audit.{name}]\nevery = "1h"\ncollection = "{caller.collection}"\nrequests_per_second = 100\n'
    (stack.folder / "sweeps.toml").write_text(table)
    app.send_task("auxip.audit", (name,))
    wait_for(lambda: bool(context.audits.last(name)), "the audit has ended")
    listed = last_object(auxip("sweeps", "--json").stdout)["audits"]
    (stack.folder / "sweeps.toml").write_text("")

    last = json.loads(context.audits.last(name))
    assert (last["items"], last["findings"]) == (1, 0)
    assert [(each["audit"], each["last"]) for each in listed] == [(name, last)]  # type: ignore[attr-defined]


def test_requests_are_spread_evenly(context: Context, collection: str) -> None:
    begun = time.monotonic()
    audited(context, collection, requests_per_second=10)

    assert time.monotonic() - begun > 0.1
