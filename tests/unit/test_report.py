"""The report of a run: whole for a program, and a page on which what went wrong stands first and nothing is HTML."""

import json
import re
from datetime import UTC, datetime

import pytest

from shared.models import Counts, ItemRecord, ItemState, Notice, RunState, Wait
from shared.report import REPORT_TAIL, Excerpt, page_of, report_head, report_items, report_of
from tests.unit.making import record_of, run_of

RECORDS = [
    record_of("b-staged", ItemState.CATALOGUED, size=1_234_567, downloaded=1_234_567, attempts=1),
    record_of("a-skipped", ItemState.SKIPPED, code="already-staged", reason="as it should be"),
    record_of("z-failed", ItemState.FAILED, code="size-mismatch", reason="3 bytes"),
]
COUNTS = Counts(items=3, staged=1, skipped=1, failed=1, bytes_downloaded=1_234_567)


def rows(page: str) -> list[str]:
    return re.findall(r"<tr class=.*?</tr>", page)


def excerpt(*records: ItemRecord, most: int = 100) -> Excerpt:
    made = Excerpt(most)
    for record in records:
        made.add(record)
    return made


def page(*records: ItemRecord, most: int = 100, **run: object) -> str:
    return page_of(report_of(run_of(counts=COUNTS, **run), RunState.PARTIAL), excerpt(*records, most=most))


def test_a_report_says_how_the_run_and_each_item_ended() -> None:
    report = report_of(run_of(counts=COUNTS, created=1711357200.5), RunState.PARTIAL)

    assert (report.run, report.status, report.owner, report.collection) == ("run-1", RunState.PARTIAL, "owner", "aux")
    assert report.started == "2024-03-25T09:00:00.500Z"
    assert report.counts == COUNTS
    first = next(report_items(RECORDS))
    assert json.loads(first) == {
        "id": "b-staged",
        "state": "catalogued",
        "code": "",
        "reason": "",
        "size": 1_234_567,
        "bytes_downloaded": 1_234_567,
        "attempts": 1,
        "evicts": "",
        "warning": "",
    }


EVICTS = datetime(2024, 3, 25, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "code", "seconds_before", "warned"),
    [
        (ItemState.FAILED, "not-done", 1, True),
        (ItemState.SKIPPED, "cancelled", 1, True),
        (ItemState.FAILED, "not-done", 0, False),
        (ItemState.CATALOGUED, "", 1, False),
        (ItemState.SKIPPED, "already-staged", 1, False),
    ],
)
def test_an_item_that_is_not_staged_and_removed_soon_has_a_warning(
    state: ItemState, code: str, seconds_before: float, warned: bool
) -> None:
    record = record_of(state=state, code=code, evicts=EVICTS.timestamp())
    told = json.loads(next(report_items([record], EVICTS.timestamp() + seconds_before)))
    assert told["evicts"] == "2024-03-25T09:00:00Z"
    assert told["warning"] == ("evicted-soon" if warned else "")


def test_a_report_is_json_for_a_program() -> None:
    report = report_of(run_of(counts=COUNTS), RunState.PARTIAL)
    written = json.loads(report_head(report) + ",".join(report_items(RECORDS)) + REPORT_TAIL)

    assert (written["status"], written["counts"]["failed"]) == ("partial", 1)
    assert [item["state"] for item in written["items"]] == ["catalogued", "skipped", "failed"]


def test_the_report_of_a_run_without_items_has_none() -> None:
    assert json.loads(report_head(report_of(run_of(), RunState.SUCCESSFUL)) + REPORT_TAIL)["items"] == []


def test_the_page_shows_failed_items_first_and_the_others_by_name() -> None:
    shown = [re.search(r"<td>(.*?)</td>", row) for row in rows(page(*RECORDS))]
    assert [match[1] for match in shown if match] == ["z-failed", "a-skipped", "b-staged"]


def test_the_page_says_why_an_item_failed() -> None:
    assert "size-mismatch 3 bytes" in rows(page(*RECORDS))[0]


def test_the_page_sums_up_the_run() -> None:
    shown = page(*RECORDS)
    assert "3 items in owner/aux: 1 staged, 0 of them expanded, 1 skipped, 1 failed; 1,234,567 bytes" in shown
    assert "<strong>partial</strong>" in shown


def test_what_a_station_says_is_escaped() -> None:
    hostile = '<script>alert("1")</script>{0}'
    request = run_of().request.model_copy(update={"label": hostile})
    shown = page(record_of(hostile, ItemState.FAILED, code="x", reason=hostile), request=request)

    assert "<script" not in shown
    assert shown.count("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;{0}") == 4


def test_the_page_is_named_for_the_run_and_its_label() -> None:
    labelled = run_of().request.model_copy(update={"label": "sweep orbits"})
    assert "<title>sweep orbits run-1</title>" in page(request=labelled)
    assert "<title>Run run-1</title>" in page()


def test_the_page_of_a_run_without_items_is_a_page() -> None:
    assert rows(page()) == []


def test_a_page_that_has_no_place_for_all_items_shows_those_that_failed_and_says_where_the_others_are() -> None:
    many = [record_of(f"item-{number:04}", ItemState.CATALOGUED) for number in range(1234)]
    shown = page(*many, record_of("z-failed", ItemState.FAILED), most=3)

    assert [re.findall(r"<td>(.*?)</td>", row)[0] for row in rows(shown)] == ["z-failed", "item-0000", "item-0001"]
    assert '1,232 more items are not shown here; all are in <a href="report.json">report.json</a>' in shown
    assert "not shown" not in page(*RECORDS)


def test_an_excerpt_keeps_no_more_than_it_shows_of_failed_items_too() -> None:
    kept = excerpt(*(record_of(f"f{number}", ItemState.FAILED) for number in range(10)), *RECORDS, most=4)

    assert [record.item_id for record in kept.records()] == ["f0", "f1", "f2", "f3"]
    assert (kept.seen, kept.left_out) == (13, 9)


def test_a_report_and_its_page_have_the_notices_of_the_run() -> None:
    notice = Notice(code="unknown-property", reason="finds nothing by <a>")
    report = report_of(run_of(notices=(notice,)), RunState.SUCCESSFUL)

    assert json.loads(report_head(report) + REPORT_TAIL)["notices"] == [notice.model_dump()]
    assert "<p>notice: unknown-property: finds nothing by &lt;a&gt;</p>" in page_of(report, Excerpt(9))


def test_a_report_says_what_the_run_waited_for() -> None:
    wait = Wait(system="catalog", since=1711357200.9, until=1711357260.0, reason="it answered <503>")
    report = report_of(run_of(waits=[wait]), RunState.SUCCESSFUL)
    assert json.loads(report_head(report) + REPORT_TAIL)["waits"] == [
        {
            "system": "catalog",
            "since": "2024-03-25T09:00:00Z",
            "until": "2024-03-25T09:01:00Z",
            "reason": "it answered <503>",
        }
    ]
    shown = page_of(report, excerpt())
    assert "waited for the catalog from 2024-03-25T09:00:00Z to 2024-03-25T09:01:00Z: it answered &lt;" in shown
