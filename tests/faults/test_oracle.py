"""The oracle finds what is lost, wrong or hung, and nothing where all is well: else the harness could not fail."""

import hashlib
from datetime import UTC, datetime

import pytest

from shared.archives.manifest import Manifest, Member
from shared.models import Counts, ItemRecord, ItemState, Run, RunRequest, RunState
from shared.selection import PolicySelection
from shared.stac.item import Asset, Item
from tests.faults.offer import File, Offer
from tests.faults.oracle import Finding, Observed, ObservedRun, judge

BASE = "s3://aux/faults/one/"
PLAIN = Offer("plain", (File("plain.EOF", b"an orbit"),))
PACKED = Offer("packed", (File("packed.zip", b"an archive", "packed", {"a.xml": b"<a/>", "b.nc": b"numbers"}),))
REFUSED = Offer("refused", (File("refused.zip", b"a bad archive"),), code="archive-unsafe")
ABSENT = Offer("absent", (File("absent.EOF", b"never there"),), code="station-not-found", stands=False)
OFFERS = [PLAIN, PACKED, REFUSED, ABSENT]
MANIFEST = "packed/packed.manifest.json"
DELIVERED = b'{"headers": {"id": "1"}, "properties": {"delivery_info": {"routing_key": "runs"}}}'


def record(offer: Offer) -> ItemRecord:
    state = ItemState.FAILED if offer.code else ItemState.EXPANDED if offer.expands else ItemState.CATALOGUED
    return ItemRecord(
        run_id="run", key=offer.item_id, item_id=offer.item_id, state=state, code=offer.code, finished=2.0
    )


def asset(href: str, content: bytes, checksum: bool = True) -> Asset:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return Asset(href=BASE + href, size=len(content), checksum=f"d50110{md5}" if checksum else None)


def item(item_id: str, assets: dict[str, Asset]) -> Item:
    return Item(id=item_id, properties={}, assets=assets)


def manifest(members: dict[str, bytes]) -> bytes:
    return (
        Manifest(
            state="complete",
            archive=f"{BASE}packed/packed.zip",
            archive_etag="etag",
            archive_size=10,
            prefix=f"{BASE}packed/packed/",
            layout="flat",
            expanded_at=datetime.now(UTC),
            members=tuple(Member(name, len(c), hashlib.sha256(c).hexdigest(), "etag") for name, c in members.items()),
        )
        .model_dump_json()
        .encode()
    )


def request() -> RunRequest:
    instant = datetime(2024, 3, 25, tzinfo=UTC)
    window = PolicySelection(policies=("ValCover",), product_types=("AUX",), start=instant, end=instant)
    return RunRequest(owner="faults", collection="one", selection=window)


@pytest.fixture
def run() -> ObservedRun:
    counts = Counts(items=4, staged=2, expanded=1, failed=2)
    held = ["packed", "plain", "refused"]
    return ObservedRun(
        id="run",
        record=Run(id="run", request=request(), state=RunState.PARTIAL, counts=counts, created=1, closed=3),
        items=[record(offer) for offer in OFFERS],
        result={"status": "SUCCESS", "result": [False, {"features": [{"id": item_id} for item_id in held]}]},
        first_closed=3,
        report=[offer.item_id for offer in OFFERS],
    )


@pytest.fixture
def seen(run: ObservedRun) -> Observed:
    members = PACKED.files[0].members
    return Observed(
        base=BASE,
        runs=[run],
        objects={
            "plain/plain.EOF": b"an orbit",
            **{f"packed/packed/{name}": content for name, content in members.items()},
            MANIFEST: manifest(members),
            "refused/refused.zip": b"a bad archive",
        },
        catalog={
            "plain": item("plain", {"plain.EOF": asset("plain/plain.EOF", b"an orbit")}),
            "packed": item("packed", {"packed": asset("packed/packed/", b"<a/>numbers", checksum=False)}),
            "refused": item("refused", {"refused.zip": asset("refused/refused.zip", b"a bad archive")}),
        },
        messages={"staging": 0},
    )


def found(seen: Observed, kind: str, text: str) -> bool:
    return any(finding.kind == kind and text in finding.what for finding in judge(OFFERS, seen))


def test_nothing_is_found_where_all_is_well(seen: Observed) -> None:
    assert judge(OFFERS, seen) == []


def test_an_object_that_is_not_there_is_lost(seen: Observed) -> None:
    del seen.objects["plain/plain.EOF"]
    assert found(seen, "lost", "plain/plain.EOF is not there")


def test_an_object_with_other_bytes_is_wrong(seen: Observed) -> None:
    seen.objects["plain/plain.EOF"] = b"AN ORBIT"
    assert judge(OFFERS, seen) == [Finding("wrong", "plain/plain.EOF has other bytes than the station offers (8 of 8)")]


def test_an_archive_that_is_deleted_before_its_content_stands_is_lost(seen: Observed) -> None:
    del seen.objects["packed/packed/b.nc"]
    assert found(seen, "lost", "packed/packed/b.nc is not there, and the archive that held it is deleted")


def test_an_archive_that_stays_beside_its_content_is_wrong(seen: Observed) -> None:
    seen.objects["packed/packed.zip"] = b"an archive"
    assert found(seen, "wrong", "packed/packed.zip stands beside")


def test_a_manifest_that_is_not_there_is_lost(seen: Observed) -> None:
    del seen.objects[MANIFEST]
    assert found(seen, "lost", MANIFEST)


@pytest.mark.parametrize("data", [manifest({"a.xml": b"<a/>"}), b"{}"])
def test_a_manifest_that_tells_something_else_is_wrong(seen: Observed, data: bytes) -> None:
    seen.objects[MANIFEST] = data
    assert found(seen, "wrong", MANIFEST)


@pytest.mark.parametrize("key", ["packed/packed/c.nc", "absent/absent.EOF", "plain/other", "stranger/file"])
def test_an_object_that_nobody_offered_is_an_orphan(seen: Observed, key: str) -> None:
    seen.objects[key] = b"left behind"
    assert found(seen, "wrong", f"{key} is an orphan")


def test_an_item_that_the_catalog_does_not_have_is_lost(seen: Observed) -> None:
    del seen.catalog["plain"]
    assert found(seen, "lost", "the catalog has no plain")


def test_an_item_that_the_catalog_must_not_have_is_wrong(seen: Observed) -> None:
    seen.catalog["absent"] = item("absent", {"absent.EOF": asset("plain/plain.EOF", b"an orbit")})
    seen.catalog["stranger"] = item("stranger", {})
    assert found(seen, "wrong", "the catalog shows absent")
    assert found(seen, "wrong", "the catalog has stranger")


def test_a_catalog_that_shows_the_archive_that_is_gone_is_found_twice(seen: Observed) -> None:
    seen.catalog["packed"] = item("packed", {"packed.zip": asset("packed/packed.zip", b"an archive")})
    assert found(seen, "wrong", "the catalog shows packed with")
    assert found(seen, "lost", "the store has nothing there")


def test_a_catalog_with_another_size_or_checksum_is_wrong(seen: Observed) -> None:
    seen.catalog["plain"].assets["plain.EOF"] = asset("plain/plain.EOF", b"another orbit")
    assert found(seen, "wrong", "the catalog shows plain with")


def test_a_run_that_the_ledger_does_not_have_is_lost(seen: Observed, run: ObservedRun) -> None:
    run.record = None
    assert found(seen, "lost", "the ledger has no run run")


def test_a_run_that_is_not_closed_hangs_and_its_unfinished_items_are_not_judged(
    seen: Observed, run: ObservedRun
) -> None:
    assert run.record is not None
    run.record = run.record.model_copy(update={"closed": None, "state": RunState.WORKING})
    run.items[0] = run.items[0].model_copy(update={"finished": None, "state": ItemState.CLAIMED})
    del seen.objects["plain/plain.EOF"]
    seen.objects["plain/half"] = b"being written"
    assert judge(OFFERS, seen) == [Finding("hung", "run run is working, 3 of 4 items are finished")]


def test_what_is_finished_is_judged_in_a_run_that_hangs(seen: Observed, run: ObservedRun) -> None:
    assert run.record is not None
    run.record = run.record.model_copy(update={"closed": None})
    del seen.objects["plain/plain.EOF"]
    assert found(seen, "lost", "plain/plain.EOF is not there")


def test_an_archive_that_is_deleted_before_its_content_stands_is_lost_also_in_a_run_that_hangs(
    seen: Observed, run: ObservedRun
) -> None:
    assert run.record is not None
    run.record = run.record.model_copy(update={"closed": None})
    run.items[1] = run.items[1].model_copy(update={"finished": None, "state": ItemState.CATALOGUED})
    assert not found(seen, "lost", "")
    del seen.objects["packed/packed/b.nc"]
    assert found(seen, "lost", "packed/packed.zip is deleted before its content stands")


def test_a_run_that_is_closed_twice_is_wrong(seen: Observed, run: ObservedRun) -> None:
    run.first_closed = 2.5
    assert found(seen, "wrong", "run run was closed twice")


def test_an_item_that_is_missing_in_a_closed_run_is_lost(seen: Observed, run: ObservedRun) -> None:
    del run.items[0]
    assert found(seen, "lost", "plain is not in the ledger")


def test_an_item_that_is_not_finished_in_a_closed_run_is_lost(seen: Observed, run: ObservedRun) -> None:
    run.items[0] = run.items[0].model_copy(update={"finished": None, "state": ItemState.STAGED})
    assert found(seen, "lost", "plain is staged and not finished")


@pytest.mark.parametrize("state", [ItemState.FAILED, ItemState.STAGED])
def test_a_sound_item_that_is_not_done_is_wrong(seen: Observed, run: ObservedRun, state: ItemState) -> None:
    run.items[0] = run.items[0].model_copy(update={"state": state, "code": "s3-unavailable"})
    assert found(seen, "wrong", "plain must be done, but is")


def test_an_archive_that_is_only_catalogued_is_wrong(seen: Observed, run: ObservedRun) -> None:
    run.items[1] = run.items[1].model_copy(update={"state": ItemState.CATALOGUED})
    assert found(seen, "wrong", "packed must be done, but is catalogued")


def test_a_faulty_item_that_fails_for_another_reason_is_wrong(seen: Observed, run: ObservedRun) -> None:
    run.items[2] = run.items[2].model_copy(update={"code": "internal-error"})
    assert found(seen, "wrong", "refused must fail with archive-unsafe")


def test_a_run_that_miscounts_is_wrong(seen: Observed, run: ObservedRun) -> None:
    assert run.record is not None
    run.record = run.record.model_copy(update={"counts": Counts(items=4, staged=3, expanded=1, failed=2)})
    assert found(seen, "wrong", "run run counts")


def test_a_caller_without_a_result_hangs(seen: Observed, run: ObservedRun) -> None:
    run.result = None
    assert found(seen, "hung", "its caller has no result")


@pytest.mark.parametrize(
    "result",
    [
        {"status": "FAILURE", "result": {"exc_type": "Retryable"}},
        {
            "status": "SUCCESS",
            "result": [True, {"features": [{"id": "packed"}, {"id": "plain"}, {"id": "refused"}]}],
        },
        {"status": "SUCCESS", "result": [False, {"features": [{"id": "plain"}]}]},
        {"status": "SUCCESS", "result": [False, None]},
    ],
)
def test_a_caller_that_is_told_something_else_is_wrong(
    seen: Observed, run: ObservedRun, result: dict[str, object]
) -> None:
    run.result = result
    assert [finding.kind for finding in judge(OFFERS, seen)] == ["wrong"]


def test_a_report_that_leaves_an_item_out_is_lost(seen: Observed, run: ObservedRun) -> None:
    run.report = ["plain"]
    assert found(seen, "lost", "the report of run run")


def test_a_run_without_failures_must_have_its_artifact(seen: Observed, run: ObservedRun) -> None:
    assert any("artifact" in finding.what for finding in judge([PLAIN, PACKED], seen))


def test_a_message_that_is_left_hangs(seen: Observed) -> None:
    seen.messages["unacked"] = 2
    assert judge(OFFERS, seen) == [Finding("hung", "2 messages are left in unacked")]


def test_a_malformed_message_among_the_dead_letters_is_as_it_must_be(seen: Observed) -> None:
    seen.malformed = [b"no JSON", b"null", DELIVERED]
    seen.letters = [b"null", b"no JSON", b"no JSON", DELIVERED.replace(b"}", b', "redelivered": true}', 1)]
    assert judge(OFFERS, seen) == []


@pytest.mark.parametrize("letters", [[], [b"null"]])
def test_a_malformed_message_that_is_too_seldom_among_the_dead_letters_is_lost(
    seen: Observed, letters: list[bytes]
) -> None:
    seen.malformed, seen.letters = [b"null", b"null"], letters
    assert found(seen, "lost", f"{2 - len(letters)} times this message is not among the dead letters: b'null'")


def test_a_sound_message_among_the_dead_letters_is_wrong(seen: Observed) -> None:
    seen.malformed, seen.letters = [b"null"], [b"null", DELIVERED]
    assert [finding.kind for finding in judge(OFFERS, seen)] == ["wrong"]


def test_an_upload_that_is_left_is_wrong(seen: Observed) -> None:
    seen.uploads.append("plain/plain.EOF")
    assert judge(OFFERS, seen) == [Finding("wrong", "the upload of plain/plain.EOF is unfinished after the clean-up")]
