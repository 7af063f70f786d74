"""Finding the items of a run and closing it, against the real station, catalog and store."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from local import samples
from local.samples import Defect
from local.stack import Stack
from shared.context import Context
from shared.errors import ItemFailed, NothingFound, Refused, Rejected, Retryable, UnsupportedArchive
from shared.json_types import Json
from shared.models import ItemRecord, ItemState, Run, RunKind, RunRequest, RunState
from shared.runs.close import close, close_failed
from shared.runs.settle import settle_item
from shared.selection import Given, PolicySelection, Selection
from shared.stac.search import Cql2
from shared.steps.expand import expand_asset, process_asset
from shared.steps.find import find_items, search_items
from shared.steps.publish import publish_and_fetch, publish_expanded
from shared.steps.stage import stage_item
from shared.storage.keys import run_location
from shared.storage.location import Location
from tests.integration.conftest import of_id, of_type
from tests.integration.test_steps import Work

PLAIN = samples.product(samples.AS_LONG_AS_WINDOW).item_id
ARCHIVE = samples.product(samples.UPPER_CASE_ARCHIVE).item_id
VALID: Json = {"start_datetime": "2024-03-25T00:00:00Z", "end_datetime": "99999999T999999"}


def opened(
    context: Context,
    collection: str,
    selection: Selection,
    kind: RunKind = RunKind.STAGING,
    timeout_seconds: float = -1,
) -> Run:
    run_id = str(uuid.uuid4())
    request = RunRequest(
        kind=kind, owner="steps", collection=collection, selection=selection, timeout_seconds=timeout_seconds
    )
    context.ledger.open_run(run_id, request)
    return context.ledger.run(run_id)


def records(context: Context, run: Run) -> list[ItemRecord]:
    return list(context.ledger.items(run.id))


def offer(stack: Stack, *features: Json) -> None:
    """Let the station answer every search with these features."""
    body = json.dumps({"type": "FeatureCollection", "features": features, "links": []})
    stack.set_station_faults([{"path": "/search", "body": body}])


def feature(item_id: str, **changes: object) -> Json:
    asset: Json = {"href": "http://h/x"}
    return {"type": "Feature", "id": item_id, "properties": VALID, "assets": {"x.EOF": asset}, **changes}  # type: ignore[dict-item]


def window(context: Context, collection: str) -> Run:
    types = ("OPER_MPL_ORBPRE",)
    selection = PolicySelection(product_types=types, start=samples.DEMO_START, end=samples.DEMO_END)
    return opened(context, collection, selection)


# Found


def test_what_a_search_finds_is_in_the_ledger_before_any_work_begins(context: Context, collection: str) -> None:
    run = opened(context, collection, Cql2(filter=of_type("OPER_MPL_ORBPRE")))
    count = find_items(context, run)

    assert count == len(records(context, run)) >= 4
    assert {record.state for record in records(context, run)} == {ItemState.FOUND}


def test_a_search_that_is_begun_anew_adds_nothing(context: Context, collection: str) -> None:
    run = opened(context, collection, Cql2(filter=of_type("OPER_MPL_ORBPRE")))
    assert find_items(context, run) == find_items(context, run) == len(records(context, run))


def test_a_window_selects_what_covers_it_and_leaves_what_the_station_offers_beside(
    context: Context, collection: str, stack: Stack
) -> None:
    late: Json = {**VALID, "start_datetime": "2025-01-01T00:00:00Z"}
    offer(stack, feature("covers"), feature("too-late", properties=late))
    run = window(context, collection)
    find_items(context, run)

    assert [record.item_id for record in records(context, run)] == ["covers"]


def test_an_item_without_a_validity_or_without_a_form_is_a_failure_of_its_own(
    context: Context, collection: str, stack: Stack
) -> None:
    momentary: Json = {"datetime": "2024-03-25T09:00:00Z"}
    offer(stack, feature("covers"), feature("timeless", properties=momentary), feature("malformed", assets=None))
    run = window(context, collection)
    find_items(context, run)

    assert {record.item_id: record.code for record in records(context, run)} == {
        "covers": "",
        "timeless": "bad-validity",
        "malformed": "bad-item",
    }


def test_a_run_of_more_items_than_the_limit_is_refused(context: Context, collection: str) -> None:
    few = Context(context.settings.model_copy(update={"max_items": 2}))
    run = opened(context, collection, Cql2(filter=of_type("OPER_MPL_ORBPRE")))
    with pytest.raises(Rejected, match="too-many-items"):
        find_items(few, run)
    few.close()


def test_a_search_that_has_no_time_is_not_begun(context: Context, collection: str, stack: Stack) -> None:
    searches = stack.station_traffic().searches
    run = opened(context, collection, Cql2(filter=of_id(PLAIN)), timeout_seconds=0)
    with pytest.raises(Rejected, match="search-timeout"):
        find_items(context, run)
    assert stack.station_traffic().searches == searches


def test_a_given_item_is_taken_from_the_catalog(context: Context, collection: str) -> None:
    Work(context, collection, PLAIN).do(stage_item, publish_and_fetch)
    run = opened(context, collection, Given(item_id=PLAIN), RunKind.DECOMPRESS)

    assert find_items(context, run) == 1
    assert [record.item_id for record in records(context, run)] == [PLAIN]


def test_a_given_item_that_the_catalog_has_not_is_refused(context: Context, collection: str) -> None:
    with pytest.raises(Rejected, match="unknown-item"):
        find_items(context, opened(context, collection, Given(item_id="nothing"), RunKind.DECOMPRESS))


# Searched at once


def test_a_plain_search_answers_with_the_items(context: Context) -> None:
    (item,) = search_items(context, Cql2(filter=of_id(PLAIN)), error_if_empty=True)
    assert item.id == PLAIN


def test_a_plain_search_that_finds_nothing_is_an_error_only_if_asked(context: Context) -> None:
    nothing = Cql2(filter=of_type("NO_SUCH_TYPE"))
    assert search_items(context, nothing, error_if_empty=False) == []
    with pytest.raises(NothingFound, match="NO_SUCH_TYPE"):
        search_items(context, nothing, error_if_empty=True)


def test_a_plain_search_does_not_pass_over_a_malformed_item(context: Context, stack: Stack) -> None:
    offer(stack, feature("good"), feature("malformed", assets=None))
    with pytest.raises(Rejected, match="bad-item: malformed"):
        search_items(context, Cql2(filter=of_id("any")), error_if_empty=False)


def test_a_plain_search_leaves_out_an_item_without_assets(context: Context) -> None:
    without = samples.faulty(Defect.NO_ASSETS).item_id
    assert search_items(context, Cql2(filter=of_id(without)), error_if_empty=False) == []


def test_a_plain_search_of_more_bytes_than_a_result_may_have_is_refused(context: Context) -> None:
    one_item = Context(context.settings.model_copy(update={"max_result_bytes": 3000}))
    assert len(search_items(one_item, Cql2(filter=of_id(PLAIN)), error_if_empty=False)) == 1
    with pytest.raises(Rejected, match=r"too-many-items: .* 3000 bytes of items \(AUXIP_MAX_RESULT_BYTES\)"):
        search_items(one_item, Cql2(filter=of_type("OPER_MPL_ORBPRE")), error_if_empty=False)
    one_item.close()


# Closed


def test_a_run_whose_items_all_failed_is_failed(context: Context, collection: str) -> None:
    work = Work(context, collection, PLAIN)
    work.do(settle_item)

    assert close(context, work.run) == [False, None]
    assert work.run.state is RunState.FAILED


def test_a_run_some_of_whose_items_failed_answers_with_the_others(context: Context, collection: str) -> None:
    run = opened(context, collection, Cql2(filter=of_type("OPER_MPL_ORBPRE")))
    find_items(context, run)
    first, *others = context.ledger.keys(run.id)
    for step in (stage_item, publish_and_fetch):
        step(context, run, context.ledger.item(run.id, first))
    for key in (first, *others):
        settle_item(context, run, context.ledger.item(run.id, key))

    status, items = close(context, context.ledger.run(run.id))
    assert status is False
    assert isinstance(items, dict)
    assert len(items["features"] or []) == 1  # type: ignore[arg-type]
    assert context.ledger.run(run.id).state is RunState.PARTIAL


def test_a_run_that_failed_as_a_whole_is_closed_with_its_reason(context: Context, collection: str) -> None:
    work = Work(context, collection, PLAIN)
    close_failed(context, work.run_id, "station-unavailable", "answered 500")

    with pytest.raises(Rejected, match="station-unavailable: answered 500"):
        close(context, work.run)
    assert work.run.state is RunState.FAILED


def decompression(context: Context, collection: str) -> Run:
    """A run over an item of the catalog that is an archive still."""
    Work(context, collection, ARCHIVE).do(stage_item, publish_and_fetch)
    run = opened(context, collection, Given(item_id=ARCHIVE), RunKind.DECOMPRESS)
    find_items(context, run)
    return run


def test_a_run_that_expanded_an_item_answers_with_the_item(context: Context, collection: str) -> None:
    run = decompression(context, collection)
    (record,) = records(context, run)
    expand_asset(context, run, record, samples.UPPER_CASE_ARCHIVE)
    publish_expanded(context, run, record)
    expand_asset(context, run, record, samples.UPPER_CASE_ARCHIVE)  # delivered again: there is nothing left to do
    settle_item(context, run, records(context, run)[0])

    catalog, answer = context.catalog_of("steps"), close(context, run)
    assert isinstance(answer, dict)
    item = catalog.item_of(answer)
    assert item == catalog.get(collection, ARCHIVE)
    assert all(asset.href.endswith("/") for asset in item.assets.values())
    assert context.ledger.run(run.id).state is RunState.SUCCESSFUL


def test_a_run_that_could_not_expand_an_item_says_why(context: Context, collection: str) -> None:
    run = decompression(context, collection)
    (record,) = records(context, run)
    context.ledger.fail(record, "archive-damaged", "a checksum is wrong")
    settle_item(context, run, records(context, run)[0])

    with pytest.raises(Rejected, match="archive-damaged"):
        close(context, run)
    assert context.ledger.run(run.id).state is RunState.FAILED


def test_a_catalog_that_cannot_answer_closes_nothing(context: Context, collection: str, stack: Stack) -> None:
    work = Work(context, collection, PLAIN)
    work.do(stage_item, publish_and_fetch, settle_item)
    stack.set_catalog_faults([{"path": "/search", "status": 503}])

    with pytest.raises(Retryable, match="catalog-unavailable"):
        close(context, work.run)
    assert work.run.closed is None


# One archive that a caller names


@pytest.fixture
def place(context: Context, collection: str) -> Location:
    return Location(context.settings.s3_bucket, f"me/{collection}/{samples.UPPER_CASE_ARCHIVE}")


def test_an_archive_is_replaced_by_its_content(context: Context, place: Location) -> None:
    context.store.put(place, samples.product(samples.UPPER_CASE_ARCHIVE).build())
    prefix = process_asset(context, "me", place.href)

    assert prefix == place.href.removesuffix(".TGZ") + "/"
    assert list(context.store.list(Location.parse(prefix)))
    assert context.store.head(place) is None


def test_an_archive_that_is_damaged_stays(context: Context, place: Location) -> None:
    content = samples.product(samples.UPPER_CASE_ARCHIVE).build()[:-20]
    context.store.put(place, content)
    with pytest.raises(ItemFailed, match="archive-"):
        process_asset(context, "me", place.href)
    assert context.store.get(place, limit=len(content)) == content


def test_what_is_no_archive_by_its_name_is_not_touched(context: Context) -> None:
    with pytest.raises(UnsupportedArchive):
        process_asset(context, "me", f"s3://{context.settings.s3_bucket}/orbit.EOF")


@pytest.mark.parametrize("href", ["http://host/a.zip", "s3://bucket/../a.zip", "s3://bucket/a\nb.zip"])
def test_an_href_that_is_no_place_in_s3_is_refused(context: Context, href: str) -> None:
    with pytest.raises(Rejected, match=r"bad-href|foreign-place"):
        process_asset(context, "me", href)


def test_what_is_not_staged_and_soon_removed_by_its_station_is_in_the_report_and_the_log(
    context: Context, stack: Stack, collection: str, caplog: pytest.LogCaptureFixture
) -> None:
    soon = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    evicting: Json = {"x.EOF": {"href": "http://h/x", "eviction_datetime": soon}}
    offer(stack, feature("LATER"), feature("SOON", assets=evicting))
    run = opened(context, collection, Cql2(filter=of_type("ANY")))
    find_items(context, run)
    context.ledger.begin_work(run.id)
    for record in records(context, run):
        context.ledger.fail(record, "not-done", "the test says so")
        settle_item(context, run, record)
    run = context.ledger.run(run.id)
    close(context, run)

    place = context.owners[run.request.owner].place
    report = json.loads(context.store.get(run_location(place, run.id, "report.json"), 2**20) or b"")
    assert [(item["id"], item["warning"]) for item in report["items"]] == [("SOON", "evicted-soon"), ("LATER", "")]
    (said,) = [entry.getMessage() for entry in caplog.records if "evicted-soon" in entry.getMessage()]
    assert said == (
        f"evicted-soon: the run {run.id} has not staged 1 items that their station removes soon, among them SOON"
    )


# The requests


def test_a_run_has_the_first_request_of_each_search_without_the_stations_key(
    context: Context, collection: str, stack: Stack
) -> None:
    types = ("OPER_MPL_ORBPRE", "MISSPELT")
    selection = PolicySelection(product_types=types, start=samples.DEMO_START, end=samples.DEMO_END)
    run = opened(context, collection, selection)
    find_items(context, run)

    first, second = context.ledger.run(run.id).searches
    assert first.startswith("curl ")
    assert f"{stack.station_url}/search" in first
    assert "OPER_MPL_ORBPRE" in first
    assert "MISSPELT" in second
    assert '--header "x-api-key: $LOCAL_X_API_KEY"' in first
    assert stack.station_key not in first + second


def test_a_search_that_fails_leaves_its_request_too(context: Context, collection: str, stack: Stack) -> None:
    stack.set_station_faults([{"path": "/search", "status": 400}])
    run = opened(context, collection, Cql2(filter=of_type("OPER_MPL_ORBPRE")))
    with pytest.raises(Refused, match="station-refused"):
        find_items(context, run)

    (line,) = context.ledger.run(run.id).searches
    assert "OPER_MPL_ORBPRE" in line
