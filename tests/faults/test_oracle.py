"""The oracle finds what is lost, wrong or hung, and nothing where all is well: else the harness could not fail."""

import hashlib
from datetime import UTC, datetime

import pytest
from pydantic import JsonValue

from shared.archives.manifest import Manifest, Member
from shared.models import Counts, ItemRecord, ItemState, Run, RunRequest, RunState
from shared.selection import PolicySelection
from shared.stac.item import Asset, Item
from tests.faults.offer import File, Offer
from tests.faults.oracle import Finding, ItemLetter, Observed, ObservedRun, judge

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
    return Item(id=item_id, properties={**Offer(item_id, ()).properties, "owner": "faults"}, assets=assets)


def collection(*items: Item) -> dict[str, object]:
    return {"type": "FeatureCollection", "features": [each.to_json() for each in items]}


CATALOG = {
    "plain": item("plain", {"plain.EOF": asset("plain/plain.EOF", b"an orbit")}),
    "packed": item(
        "packed",
        {
            "packed": asset("packed/packed/", b"<a/>numbers", checksum=False),
            "packed.manifest.json": Asset(href=f"{BASE}packed/packed.manifest.json"),
        },
    ),
    "refused": item("refused", {"refused.zip": asset("refused/refused.zip", b"a bad archive")}),
}
RESULT = [False, collection(*CATALOG.values())]
BAD_REQUEST = b'{"id": "bad", "task": "auxip.nothing", "reply": "one"}'


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
    return ObservedRun(
        id="run",
        record=Run(id="run", request=request(), state=RunState.PARTIAL, counts=counts, created=1, closed=3),
        items=[record(offer) for offer in OFFERS],
        answers=1,
        result={"status": "SUCCESS", "result": RESULT},
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
        catalog={name: each.model_copy(deep=True) for name, each in CATALOG.items()},
        messages={"staging": 0},
        elsewhere={"runs/run/report.json", "runs/run/report.html"},
        item_letters=[ItemLetter("run", offer.item_id, offer.code) for offer in (REFUSED, ABSENT)],
        refused={BAD_REQUEST: "unknown-task"},
        request_letters=[BAD_REQUEST],
        answers=[
            {"id": "run", "status": "successful", "result": RESULT},
            {"id": "bad", "status": "failed", "error": {"code": "unknown-task", "reason": "there is no task"}},
        ],
        results=[("search", ["plain"], ["plain"])],
        history={"packed": [{"packed.zip"}, {"packed"}]},
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
    seen.answers = [answer for answer in seen.answers if answer["id"] != "run"]
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
    run.result, run.answers, seen.answers = result, 0, seen.answers[1:]
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


def test_an_object_outside_the_prefix_of_the_items_is_wrong(seen: Observed) -> None:
    seen.elsewhere.add("faults/other/plain.EOF")
    assert found(seen, "wrong", "faults/other/plain.EOF was written outside the prefix of the items")


def test_an_archive_that_only_the_clean_up_has_removed_is_wrong_unless_a_fault_explains_it(seen: Observed) -> None:
    seen.leftovers.add("packed/packed.zip")
    assert found(seen, "wrong", "packed/packed.zip was left for the clean-up")
    seen.may_leave = frozenset({"archives"})
    assert judge(OFFERS, seen) == []


def test_an_upload_that_only_the_clean_up_has_aborted_is_wrong_unless_a_fault_explains_it(seen: Observed) -> None:
    seen.unfinished.append("plain/plain.EOF")
    assert found(seen, "wrong", "the upload of plain/plain.EOF was left")
    seen.may_leave = frozenset({"uploads"})
    assert judge(OFFERS, seen) == []


def test_a_claim_that_is_held_hangs(seen: Observed) -> None:
    seen.claims.append("plain")
    assert judge(OFFERS, seen) == [Finding("hung", "somebody still has the claim on plain")]


def test_a_claim_that_has_lapsed_is_wrong_unless_a_fault_explains_it(seen: Observed) -> None:
    seen.lapsed.append("plain")
    assert found(seen, "wrong", "the claim on plain was never ended")
    seen.may_leave = frozenset({"claims"})
    assert judge(OFFERS, seen) == []


def test_an_outage_that_is_over_and_still_known_hangs(seen: Observed) -> None:
    seen.outages.append("catalog")
    assert found(seen, "hung", "the ledger has the catalog as away")


def test_a_run_that_nobody_asked_for_is_wrong(seen: Observed) -> None:
    seen.unasked.append("stranger")
    assert found(seen, "wrong", "the ledger has run stranger")


def test_a_failed_item_without_a_dead_letter_is_lost(seen: Observed) -> None:
    del seen.item_letters[0]
    assert judge(OFFERS, seen) == [Finding("lost", "refused of run run failed (archive-unsafe) and has no dead letter")]


def test_a_broker_that_has_lost_what_it_said_it_keeps_may_forget_letters_and_answers(seen: Observed) -> None:
    del seen.item_letters[0], seen.answers[0]
    seen.may_leave = frozenset({"forgotten"})
    assert judge(OFFERS, seen) == []


@pytest.mark.parametrize("letter", [ItemLetter("run", "refused", "archive-unsafe"), ItemLetter("run", "plain", "x")])
def test_a_dead_letter_that_no_failure_accounts_for_is_wrong(seen: Observed, letter: ItemLetter) -> None:
    seen.item_letters.append(letter)
    assert [finding.kind for finding in judge(OFFERS, seen)] == ["wrong"]


def test_the_letter_of_an_item_that_was_replayed_must_be_gone(seen: Observed) -> None:
    seen.replayed.append(seen.item_letters[0])
    assert found(seen, "wrong", "refused of run run (archive-unsafe) is 1 times among the dead letters, 0 are due")
    del seen.item_letters[0]
    assert judge(OFFERS, seen) == []


@pytest.mark.parametrize(("letters", "kind"), [([], "lost"), ([BAD_REQUEST, BAD_REQUEST], "wrong"), ([b"{}"], "wrong")])
def test_each_request_that_is_refused_has_one_dead_letter(seen: Observed, letters: list[bytes], kind: str) -> None:
    seen.request_letters = letters
    assert found(seen, kind, "among the dead letters")


@pytest.mark.parametrize("place", [0, 1])
def test_an_answer_that_is_not_there_is_lost(seen: Observed, place: int) -> None:
    del seen.answers[place]
    assert [(finding.kind, finding.check) for finding in judge(OFFERS, seen)] == [("lost", "answers")]


@pytest.mark.parametrize("place", [0, 1])
def test_an_answer_that_is_there_twice_is_wrong(seen: Observed, place: int) -> None:
    seen.answers.append(seen.answers[place])
    assert found(seen, "wrong", "is answered 2 times")


def test_a_request_that_was_made_twice_has_two_answers(seen: Observed, run: ObservedRun) -> None:
    run.answers = 2
    assert found(seen, "lost", "request run is answered 1 times, 2 are due")
    seen.answers.append(seen.answers[0])
    assert judge(OFFERS, seen) == []


def test_what_a_task_must_have_written_outside_the_prefix_is_lost_where_it_is_not_there(seen: Observed) -> None:
    seen.known_elsewhere.add("archives/1/a.xml")
    assert judge(OFFERS, seen) == [Finding("lost", "archives/1/a.xml is not there")]


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "failed", "error": {"code": "internal-error", "reason": "KeyError"}},
        {"status": "successful", "result": [True, None]},
        {"status": "successful"},
        {},
    ],
)
def test_an_answer_that_tells_something_else_is_wrong(seen: Observed, answer: dict[str, object]) -> None:
    seen.answers[0] = {"id": "run", **answer}
    assert found(seen, "wrong", "the answer to request run is")


def test_an_answer_to_nobody_is_wrong(seen: Observed) -> None:
    seen.answers.append({"id": "stranger", "status": "successful", "result": None})
    assert found(seen, "wrong", "request stranger is answered 1 times, 0 are due")


@pytest.mark.parametrize(("result", "kind"), [(None, "hung"), (["packed"], "wrong")])
def test_a_task_that_is_no_run_must_have_its_result(seen: Observed, result: object, kind: str) -> None:
    seen.results = [("search", ["plain"], result)]
    assert found(seen, kind, "task search")


@pytest.mark.parametrize(
    "properties", [{"owner": None}, {"owner": "other"}, {"note": "another"}, {"more": 1}, {"datetime": None}]
)
def test_an_item_with_other_properties_than_the_station_offers_is_wrong(
    seen: Observed, properties: dict[str, JsonValue]
) -> None:
    seen.catalog["plain"].properties |= properties
    assert any(finding.check == "catalog" for finding in judge(OFFERS, seen))


def test_a_result_that_has_another_item_than_the_catalog_is_wrong(seen: Observed) -> None:
    seen.catalog["plain"].collection = "another"
    assert found(seen, "wrong", "the result of run run has another plain than the catalog")


def test_what_the_catalog_showed_without_its_object_is_lost_unless_a_fault_explains_it(seen: Observed) -> None:
    seen.dangling.append("the catalog showed packed/packed.zip, and the store did not have it")
    assert found(seen, "lost", "while the round went on, the catalog showed packed/packed.zip")
    seen.may_leave = frozenset({"stale"})
    assert judge(OFFERS, seen) == []


def test_an_item_that_is_set_back_to_its_archive_is_wrong_unless_a_fault_explains_it(seen: Observed) -> None:
    seen.history["packed"] += [{"packed.zip"}, {"packed"}]
    assert judge(OFFERS, seen) == [Finding("wrong", "the catalog's item packed was set back to ['packed.zip']")]
    seen.may_leave = frozenset({"stale"})
    assert judge(OFFERS, seen) == []


def test_a_cancelled_run_may_leave_items_undone_and_tells_so(seen: Observed, run: ObservedRun) -> None:
    assert run.record is not None
    left = {"state": ItemState.SKIPPED, "code": "cancelled"}
    run.items[0] = run.items[0].model_copy(update=left)
    run.items[1] = run.items[1].model_copy(update={"catalogued": 1.5})
    run.items[2] = run.items[2].model_copy(update={"catalogued": 1.5})
    counts = Counts(items=4, staged=1, expanded=1, skipped=1, failed=2)
    run.record = run.record.model_copy(update={"cancelled": 1.0, "state": RunState.CANCELLED, "counts": counts})
    del seen.catalog["plain"], seen.objects["plain/plain.EOF"]
    assert run.result is not None
    run.result["result"] = seen.answers[0]["result"] = [False, collection(CATALOG["packed"], CATALOG["refused"])]
    assert judge(OFFERS, seen) == []
    run.record = run.record.model_copy(update={"cancelled": None, "state": RunState.PARTIAL})
    assert found(seen, "wrong", "plain must be done, but is skipped")


def test_a_search_may_be_refused_where_a_fault_of_the_round_explains_it(seen: Observed) -> None:
    seen.results = [("search", ["plain"], {"code": "station-unauthorized", "exc_type": "AuxipError"})]
    assert found(seen, "wrong", "the caller of task search got")
    seen.may_refuse = frozenset({"station-unauthorized"})
    assert judge(OFFERS, seen) == []


def test_an_item_may_fail_where_a_fault_of_the_round_explains_it(seen: Observed, run: ObservedRun) -> None:
    assert run.record is not None
    run.items[0] = run.items[0].model_copy(update={"state": ItemState.FAILED, "code": "s3-full"})
    run.record = run.record.model_copy(update={"counts": Counts(items=4, staged=1, expanded=1, failed=3)})
    del seen.catalog["plain"], seen.objects["plain/plain.EOF"]
    assert run.result is not None
    run.result["result"] = seen.answers[0]["result"] = [False, collection(CATALOG["packed"], CATALOG["refused"])]
    seen.item_letters.append(ItemLetter("run", "plain", "s3-full"))
    assert found(seen, "wrong", "plain must be done")
    seen.may_fail = frozenset({"s3-full"})
    assert judge(OFFERS, seen) == []


def test_a_run_that_was_asked_for_some_items_has_no_others(seen: Observed, run: ObservedRun) -> None:
    run.wanted = frozenset({"plain", "packed", "refused"})
    assert found(seen, "wrong", "run run has absent, which nobody offered")
