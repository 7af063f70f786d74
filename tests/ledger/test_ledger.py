"""The ledger on a real server: what is recorded once stays so, whoever else records it at the same time."""

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from shared.answer import MOST_FAILED, Selected
from shared.archives import Expansion
from shared.errors import Rejected
from shared.ledger import Ledger
from shared.models import Counts, ItemRecord, ItemState, Outcome, RunState, StagedAsset, work_key
from shared.stac.item import Found, Item
from tests.ledger.opened import DONE, REQUEST, Opened, at_once, found

DAY = 86_400


@pytest.fixture
def key(run: Opened) -> str:
    return run.keys[0]


# Runs


def product(name: str, station: str = "one") -> Found:
    """An item that is named as AUXIP stations do: without the last extension of its only asset."""
    asset = {"href": f"http://h/{name}", "file:size": 3}
    item_id = name.rpartition(".")[0]
    item = Item.model_validate({"id": item_id, "properties": {}, "assets": {name: asset}})
    return Found(item_id=item_id, station=station, item=item)


def test_products_that_share_an_id_are_one_item_with_the_assets_of_both(ledger: Ledger) -> None:
    run = Opened(ledger, product("X.EOF"), product("X.zip"))
    assert ledger.add_items(run.id, [product("X.EOF"), product("X.zip")]) == 0
    assert sorted(ledger.item(run.id, *run.keys).stac_item().assets) == ["X.EOF", "X.zip"]
    assert (run.counts.items, run.counts.bytes_found) == (1, 6)


def test_an_item_whose_first_product_was_not_wanted_has_the_second_one(ledger: Ledger) -> None:
    run = Opened(ledger, product("X.EOF").with_assets(["X.zip"]), product("X.zip").with_assets(["X.zip"]))
    assert ledger.item(run.id, *run.keys).state is ItemState.FOUND
    assert [*ledger.item(run.id, *run.keys).stac_item().assets] == ["X.zip"]


def test_an_item_that_is_worked_on_gets_no_further_assets(ledger: Ledger) -> None:
    run = Opened(ledger, product("X.EOF"))
    with ledger.claim(run.id, run.key, seconds=30):
        ledger.add_items(run.id, [product("X.zip")])
    assert [*ledger.item(run.id, *run.keys).stac_item().assets] == ["X.EOF"]


def test_an_item_that_has_failed_for_good_is_not_found_again(ledger: Ledger) -> None:
    run = Opened(ledger, Found.unusable("X", "bad-item", "malformed", "one"))
    (key,) = run.keys
    ledger.settle(ledger.item(run.id, key), Outcome(state=ItemState.FAILED, code="bad-item", reason="malformed"))
    ledger.add_items(run.id, [product("X.zip")])
    assert ledger.item(run.id, key).state is ItemState.FAILED


def test_an_item_has_the_assets_of_one_station_only(ledger: Ledger) -> None:
    run = Opened(ledger, product("X.EOF"), product("X.zip", station="two"))
    assert [*ledger.item(run.id, *run.keys).stac_item().assets] == ["X.EOF"]


def test_a_run_that_is_opened_twice_is_one_run(ledger: Ledger) -> None:
    run_id = f"run-{uuid.uuid4()}"
    assert ledger.open_run(run_id, REQUEST, "first") is True
    first = ledger.run(run_id)
    other = REQUEST.model_copy(update={"owner": "other"})
    assert ledger.open_run(run_id, other, "second") is False

    assert ledger.run(run_id) == first
    assert ledger.continuation(run_id) == "first"
    assert [run.id for run in ledger.runs(10_000)].count(run_id) == 1


def test_a_run_that_is_opened_by_many_is_opened_by_one(ledger: Ledger) -> None:
    run_id = f"run-{uuid.uuid4()}"
    assert at_once(lambda: ledger.open_run(run_id, REQUEST)).count(True) == 1


def test_a_run_is_recorded_as_it_was_asked_for(ledger: Ledger, run: Opened) -> None:
    recorded = ledger.run(run.id)
    assert (recorded.request, recorded.state) == (REQUEST, RunState.ACCEPTED)
    assert abs(recorded.created - time.time()) < 60
    assert (recorded.closed, recorded.seconds, recorded.state.final) == (None, None, False)


def test_a_run_that_is_unknown_is_refused(ledger: Ledger) -> None:
    with pytest.raises(Rejected, match="unknown-run"):
        ledger.run("no-such-run")
    assert ledger.continuation("no-such-run") == ""


def test_a_run_is_found_by_the_beginning_of_its_id(ledger: Ledger, run: Opened) -> None:
    assert ledger.find_run(run.id).id == run.id
    assert ledger.find_run(run.id[:20]).id == run.id


def test_a_beginning_that_several_runs_share_is_refused_with_their_ids(ledger: Ledger) -> None:
    stem = f"run-{uuid.uuid4()}"
    for run_id in (f"{stem}-1", f"{stem}-2"):
        ledger.open_run(run_id, REQUEST)
    with pytest.raises(Rejected, match=f"ambiguous-id: 2 runs begin with '{stem}': {stem}-2, {stem}-1; "):
        ledger.find_run(stem)
    with pytest.raises(Rejected, match="unknown-run"):
        ledger.find_run(f"{stem}-3")


def test_a_beginning_of_less_than_six_characters_is_too_short(ledger: Ledger) -> None:
    for run_id in ("xyzabcdef", "xyzab"):
        ledger.open_run(run_id, REQUEST)
    assert ledger.find_run("xyzabc").id == "xyzabcdef"
    assert ledger.find_run("xyzab").id == "xyzab"  # a whole id may be short
    with pytest.raises(Rejected, match="unknown-run: 'xyza' is too short: type 6 characters"):
        ledger.find_run("xyza")


def test_an_id_is_found_though_another_begins_with_it(ledger: Ledger) -> None:
    stem = f"run-{uuid.uuid4()}"
    for run_id in (stem, f"{stem}-1"):
        ledger.open_run(run_id, REQUEST)
    assert ledger.find_run(stem).id == stem


def test_a_run_whose_record_is_gone_is_left_out_of_the_list_and_may_be_asked_for_again(ledger: Ledger) -> None:
    for run_id in ("old", "gone", "new"):
        ledger.open_run(run_id, REQUEST)
    ledger.redis.delete("auxip:run:gone")
    ledger.begin_search("gone")  # what a step writes that comes too late
    assert {run.id for run in ledger.runs(10)} == {"old", "new"}
    assert not ledger.knows_run("gone")
    assert ledger.open_run("gone", REQUEST)
    assert ledger.knows_run("gone")


def test_runs_are_listed_newest_first(ledger: Ledger) -> None:
    opened = [Opened(ledger).id for _ in range(3)]
    assert [run.id for run in ledger.runs(3)] == opened[::-1]
    assert [run.id for run in ledger.runs(1)] == opened[2:]


def test_a_run_that_the_ledger_has_forgotten_is_not_listed(ledger: Ledger, run: Opened, redis: Redis) -> None:
    forgotten = f"run-{uuid.uuid4()}"
    ledger.redis.zadd("auxip:runs", {forgotten: time.time() - 31 * DAY})  # its record has expired since

    assert run.id in [each.id for each in ledger.runs(10_000)]
    with pytest.raises(Rejected, match="unknown-run"):
        ledger.find_run(forgotten)


def test_the_search_of_a_run_ends_once(ledger: Ledger, run: Opened) -> None:
    assert at_once(lambda: ledger.begin_work(run.id)).count(True) == 1
    assert run.run.state is RunState.WORKING


def test_a_run_that_is_closed_does_not_begin_to_work(ledger: Ledger, run: Opened) -> None:
    ledger.close_run(run.id, RunState.FAILED, code="station-unavailable", reason="answered 500")
    assert ledger.begin_work(run.id) is False
    assert run.run.state is RunState.FAILED


def test_a_run_is_cancelled_once_and_only_while_it_is_open(ledger: Ledger, run: Opened) -> None:
    assert ledger.is_cancelled(run.id) is False
    assert at_once(lambda: ledger.cancel_run(run.id)).count(True) == 1
    assert ledger.is_cancelled(run.id) is True
    assert run.run.cancelled is not None

    other = Opened(ledger)
    ledger.close_run(other.id, RunState.SUCCESSFUL)
    assert [ledger.cancel_run(other.id), ledger.cancel_run("no-such-run")] == [False, False]


def test_a_run_is_closed_once(ledger: Ledger, run: Opened) -> None:
    assert ledger.close_run(run.id, RunState.SUCCESSFUL, "s3://bucket/report.json") is True
    first = ledger.run(run.id)
    assert ledger.close_run(run.id, RunState.FAILED, code="late", reason="too late") is False

    assert ledger.run(run.id) == first
    assert (first.state, first.artifact, first.code) == (RunState.SUCCESSFUL, "s3://bucket/report.json", "")
    assert first.seconds is not None
    assert first.seconds >= 0


def test_a_run_that_is_closed_by_many_is_closed_by_one(ledger: Ledger, run: Opened) -> None:
    assert at_once(lambda: ledger.close_run(run.id, RunState.SUCCESSFUL)).count(True) == 1


def test_a_run_that_failed_says_why(ledger: Ledger, run: Opened) -> None:
    ledger.close_run(run.id, RunState.FAILED, code="station-unavailable", reason="answered 500")
    closed = ledger.run(run.id)
    assert (closed.code, closed.reason, closed.state.final) == ("station-unavailable", "answered 500", True)


def test_everything_of_a_run_expires_once_it_is_closed(ledger: Ledger, run: Opened, key: str, redis: Redis) -> None:
    assert run.begin() == [key]
    ledger.progress(ledger.item(run.id, key), 1, 1)
    names = sorted(str(name) for name in redis.scan_iter(f"auxip:run:{run.id}*"))
    assert len(names) == 5
    assert {redis.ttl(name) for name in names} == {-1}

    ledger.close_run(run.id, RunState.SUCCESSFUL)
    days = 30
    assert all(days * DAY - 60 < int(str(redis.ttl(name))) <= days * DAY for name in names)


def test_the_list_forgets_runs_as_their_records_do(ledger: Ledger, run: Opened, redis: Redis) -> None:
    old = f"run-{uuid.uuid4()}"
    redis.zadd("auxip:runs", {old: time.time() - 31 * DAY})
    ledger.close_run(run.id, RunState.SUCCESSFUL)

    assert redis.zscore("auxip:runs", old) is None
    assert redis.zscore("auxip:runs", run.id) is not None


# Items


def test_an_item_that_is_found_twice_is_recorded_once(ledger: Ledger, run: Opened, key: str) -> None:
    before = ledger.item(run.id, key)
    assert ledger.add_items(run.id, [found(size=9), found("Y"), found("Y")]) == 1

    assert ledger.item(run.id, key) == before
    assert (run.counts.items, run.counts.bytes_found) == (2, 6)
    assert len(ledger.keys(run.id)) == 2


def test_an_item_is_recorded_as_it_was_found(ledger: Ledger, run: Opened, key: str) -> None:
    record = ledger.item(run.id, key)
    assert (record.item_id, record.state, record.size, record.over) == ("X", ItemState.FOUND, 3, False)
    assert key == work_key("owner", "aux", "X")
    assert ledger.item(run.id, key).stac_item() == found().item


def test_an_item_that_is_unusable_is_recorded_as_failed(ledger: Ledger) -> None:
    run = Opened(ledger, Found.unusable("X", "no-assets", "nothing to stage"))
    record = ledger.item(run.id, run.keys[0])

    assert (record.state, record.code, record.reason, record.over) == (
        ItemState.FAILED,
        "no-assets",
        "nothing to stage",
        True,
    )
    with pytest.raises(Rejected, match="unknown-item"):
        ledger.item(run.id, run.keys[0]).stac_item()


def test_an_item_that_is_unknown_is_refused(ledger: Ledger, run: Opened) -> None:
    with pytest.raises(Rejected, match="unknown-item"):
        ledger.item(run.id, "no-such-key")
    with pytest.raises(Rejected, match="unknown-item"):
        ledger.item(run.id, "no-such-key").stac_item()


def test_items_come_in_the_order_they_were_found_however_many_there_are(ledger: Ledger) -> None:
    ids = [f"item-{number * 7919 % 1201}" for number in range(1201)]
    run = Opened(ledger, *map(found, ids))

    assert [record.item_id for record in ledger.items(run.id)] == ids
    assert run.counts.items == 1201


def test_items_of_exactly_one_batch_are_all_there_is(ledger: Ledger) -> None:
    assert len(list(ledger.items(Opened(ledger, *(found(f"item-{number}") for number in range(500))).id))) == 500
    assert list(ledger.items(Opened(ledger).id)) == []


def test_keys_are_asked_for_a_page_at_a_time(ledger: Ledger) -> None:
    run = Opened(ledger, *(found(f"item-{number}") for number in range(5)))
    assert ledger.keys(run.id, 0, 2) + ledger.keys(run.id, 2, 4) + ledger.keys(run.id, 4, 6) == run.keys
    assert ledger.keys(run.id, 3) == run.keys[3:]
    assert ledger.keys(run.id, 5, 10) == []


# Steps


def test_a_claim_is_recorded_once_and_does_not_take_an_item_back(ledger: Ledger, run: Opened, key: str) -> None:
    with ledger.claim(run.id, key, seconds=30) as (_, first):
        begun = first.state
        ledger.reach(first, ItemState.STAGED)
        ledger.next(first)
    with ledger.claim(run.id, key, seconds=30) as (_, again):
        pass
    assert begun is ItemState.CLAIMED
    assert (again.state, again.claimed) == (ItemState.STAGED, first.claimed)


@pytest.mark.parametrize("state", [ItemState.STAGED, ItemState.CATALOGUED, ItemState.EXPANDED])
def test_how_far_an_item_came_is_recorded_with_the_time(
    ledger: Ledger, run: Opened, key: str, state: ItemState
) -> None:
    ledger.reach(ledger.item(run.id, key), state)
    record = ledger.item(run.id, key)
    assert record.state is state
    assert abs(getattr(record, state.value) - time.time()) < 60


def test_failed_tries_are_counted_for_each_step_and_for_the_item(ledger: Ledger, run: Opened, key: str) -> None:
    tries = [ledger.attempt(run.id, key, step) for step in ("stage", "stage", "publish")]
    assert tries == [1, 2, 1]
    assert ledger.item(run.id, key).attempts == 3


def test_bytes_that_come_are_counted_for_the_item_and_the_run(ledger: Ledger, run: Opened, key: str) -> None:
    ledger.progress(ledger.item(run.id, key), more=2, there=2)
    ledger.progress(ledger.item(run.id, key), more=1, there=3)

    assert ledger.item(run.id, key).downloaded == 3
    assert (run.counts.bytes_downloaded, ledger.bytes_in_flight(run.id)) == (3, 3)


def test_a_download_that_begins_anew_costs_bytes_and_is_not_further_for_it(
    ledger: Ledger, run: Opened, key: str
) -> None:
    for more, there in ((2, 2), (2, 2), (1, 3)):
        ledger.progress(ledger.item(run.id, key), more, there)
    assert (run.counts.bytes_downloaded, ledger.bytes_in_flight(run.id)) == (5, 3)


def test_bytes_of_an_item_are_in_flight_until_it_is_finished(ledger: Ledger) -> None:
    run = Opened(ledger, found("X", 3), found("Y", 4))
    for key in run.keys:
        ledger.progress(ledger.item(run.id, key), 2, 2)
    assert ledger.bytes_in_flight(run.id) == 4
    ledger.settle(run.item(0), DONE)

    assert (run.counts.bytes_finished, ledger.bytes_in_flight(run.id)) == (3, 2)


def test_assets_and_expansions_are_recorded_by_their_names(ledger: Ledger, run: Opened, key: str) -> None:
    asset = StagedAsset(href="s3://bucket/a.zip", size=3, checksum="c", etag="e")
    expansion = Expansion(
        archive="s3://bucket/a.zip",
        archive_etag="e",
        prefix="s3://bucket/a/",
        manifest="s3://bucket/m",
        members=1,
        size=9,
        reused=False,
    )
    ledger.record_asset(ledger.item(run.id, key), "a.zip", asset)
    ledger.record_expansion(ledger.item(run.id, key), "a.zip", expansion)

    assert ledger.item(run.id, key).staged_assets == {"a.zip": asset}
    assert ledger.item(run.id, key).expansions == {"a.zip": expansion}
    assert ledger.item(run.id, key).item_id == "X"


def test_an_item_that_was_as_it_should_be_is_over(ledger: Ledger, run: Opened, key: str) -> None:
    ledger.record_intact(ledger.item(run.id, key))
    record = ledger.item(run.id, key)
    assert record.intact
    assert record.over


# Outcomes


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        (ItemState.CATALOGUED, {"staged": 1}),
        (ItemState.EXPANDED, {"staged": 1, "expanded": 1}),
        (ItemState.SKIPPED, {"skipped": 1}),
        (ItemState.FAILED, {"failed": 1}),
    ],
)
def test_an_outcome_is_counted_under_its_name(
    ledger: Ledger, run: Opened, key: str, state: ItemState, counts: dict[str, int]
) -> None:
    assert ledger.settle(ledger.item(run.id, key), Outcome(state=state, code="c", reason="r")).first

    assert run.counts == Counts(items=1, bytes_found=3, bytes_finished=3, **counts)
    assert run.counts.finished == 1
    record = ledger.item(run.id, key)
    assert (record.state, record.code, record.reason, record.over) == (state, "c", "r", True)


def test_an_item_that_is_settled_by_many_is_counted_once(ledger: Ledger, run: Opened, key: str) -> None:
    answers = at_once(lambda: ledger.settle(ledger.item(run.id, key), DONE))

    assert [answer.first for answer in answers].count(True) == 1
    assert (run.counts.staged, run.counts.bytes_finished) == (1, 3)


def test_the_first_outcome_stands(ledger: Ledger, run: Opened, key: str) -> None:
    ledger.settle(ledger.item(run.id, key), DONE)
    before = ledger.item(run.id, key)
    assert ledger.settle(ledger.item(run.id, key), Outcome(state=ItemState.FAILED, code="late")).first is False

    assert ledger.item(run.id, key) == before
    assert run.counts.failed == 0


ASSET = StagedAsset(href="h", size=1, checksum="c", etag="e")
RECORDS: dict[str, Callable[[Ledger, ItemRecord], object]] = {
    "reach": lambda ledger, record: ledger.reach(record, ItemState.STAGED),
    "fail": lambda ledger, record: ledger.fail(record, "late", "too late"),
    "intact": lambda ledger, record: ledger.record_intact(record),
    "asset": lambda ledger, record: ledger.record_asset(record, "a", ASSET),
}


@pytest.mark.parametrize("name", RECORDS)
def test_what_is_recorded_after_an_item_is_finished_changes_nothing(
    ledger: Ledger, run: Opened, key: str, name: str
) -> None:
    late = ledger.item(run.id, key)
    ledger.settle(ledger.item(run.id, key), DONE)
    before = ledger.item(run.id, key)
    RECORDS[name](ledger, late)

    assert ledger.item(run.id, key) == before


def test_a_claim_on_a_finished_item_does_not_take_it_back(ledger: Ledger, run: Opened, key: str) -> None:
    ledger.settle(ledger.item(run.id, key), DONE)
    before = ledger.item(run.id, key)
    with ledger.claim(run.id, key, seconds=30):
        assert ledger.item(run.id, key) == before


def test_the_item_itself_is_kept_for_as_long_as_there_is_work_on_it(ledger: Ledger) -> None:
    run = Opened(ledger, found("X"), found("Y"), found("Z"))
    ledger.settle(run.item(0), DONE)
    ledger.settle(run.item(1), Outcome(state=ItemState.FAILED))

    for number in (0, 1):
        with pytest.raises(Rejected, match="unknown-item"):
            run.item(number).stac_item()
    assert run.item(2).stac_item().id == "Z"


# What an answer says of a run


def published(item_id: str, when: str) -> Found:
    one = found(item_id)
    assert one.item is not None
    one.item.properties["published"] = when
    return one


def test_what_a_run_selects_is_what_its_last_search_has_recorded(run: Opened) -> None:
    assert not run.run.selected
    run.ledger.record_selected(run.id, [Selected(product_type="A")])
    later = Selected(product_type="A", policy="ValCover", offered=2, selected=1)
    run.ledger.record_selected(run.id, [later])
    assert run.run.selected == (later,)


def test_the_first_failed_items_are_listed_in_the_order_in_which_they_failed(ledger: Ledger) -> None:
    run = Opened(ledger, *(found(f"item-{number}") for number in range(MOST_FAILED + 3)))
    run.begin()
    for number in reversed(range(MOST_FAILED + 3)):
        ended = DONE if number == 1 else Outcome(state=ItemState.FAILED, code="size-mismatch", reason="3 bytes")
        ledger.settle(run.item(number), ended)
    failed = [record.item_id for record in ledger.failed_items(run.run)]
    assert failed == [f"item-{number}" for number in range(MOST_FAILED + 2, 2, -1)]


def test_the_failed_items_of_a_run_of_before_there_was_a_list_are_found(run: Opened) -> None:
    run.ledger.settle(run.item(), Outcome(state=ItemState.FAILED, code="size-mismatch", reason="3 bytes"))
    run.ledger.redis.delete(f"auxip:run:{run.id}:failed")
    assert [record.key for record in run.ledger.failed_items(run.run)] == [run.key]


def test_a_run_knows_how_late_its_items_were(ledger: Ledger) -> None:
    now = datetime.fromtimestamp(time.time(), UTC)
    ago = [published(f"item-{late}", (now - timedelta(seconds=late)).isoformat()) for late in (100, 300, 900, 901)]
    run = Opened(ledger, *ago, found("unknown"), published("unreadable", "soon"))
    run.begin()
    skipped = Outcome(state=ItemState.SKIPPED, code="already-staged")
    ends = [DONE, DONE, Outcome(state=ItemState.FAILED), skipped, DONE, DONE]
    for number, ended in enumerate(ends):
        ledger.settle(run.item(number), ended)
    timeliness = run.run.timeliness
    assert timeliness is not None
    assert timeliness.items == 2
    assert timeliness.mean_seconds == pytest.approx(200, abs=30)
    assert timeliness.longest_seconds == pytest.approx(300, abs=30)


def test_a_run_whose_items_do_not_say_when_they_were_published_has_no_timeliness(run: Opened) -> None:
    run.ledger.settle(run.item(), DONE)
    assert run.run.timeliness is None
