"""The report of a run: what went wrong stands first, and nothing that a station says is taken for HTML."""

import json
import re

from shared.models import Counts, ItemRecord, ItemState, RunState
from shared.report import artifact_of, page_of, report_of
from tests.unit.making import item_json, item_of, record_of, run_of

RECORDS = [
    record_of("b-staged", ItemState.CATALOGUED, size=1_234_567, downloaded=1_234_567, attempts=1),
    record_of("a-skipped", ItemState.SKIPPED, code="already-staged", reason="as it should be"),
    record_of("z-failed", ItemState.FAILED, code="size-mismatch", reason="3 bytes"),
]
COUNTS = Counts(items=3, staged=1, skipped=1, failed=1, bytes_downloaded=1_234_567)


def rows(page: str) -> list[str]:
    return re.findall(r"<tr class=.*?</tr>", page)


def page(*records: ItemRecord, **run: object) -> str:
    return page_of(report_of(run_of(counts=COUNTS, **run), RunState.PARTIAL, records))


def test_a_report_says_how_the_run_and_each_item_ended() -> None:
    report = report_of(run_of(counts=COUNTS, created=1711357200.5), RunState.PARTIAL, RECORDS)

    assert (report.run, report.status, report.owner, report.collection) == ("run-1", RunState.PARTIAL, "owner", "aux")
    assert report.started == "2024-03-25T09:00:00.500Z"
    assert report.counts == COUNTS
    first = report.items[0]
    assert (first.id, first.state, first.size, first.bytes_downloaded, first.attempts) == (
        "b-staged",
        "catalogued",
        1_234_567,
        1_234_567,
        1,
    )


def test_a_report_is_json_for_a_program() -> None:
    written = json.loads(report_of(run_of(counts=COUNTS), RunState.PARTIAL, RECORDS).model_dump_json())
    assert written["status"] == "partial"
    assert [item["state"] for item in written["items"]] == ["catalogued", "skipped", "failed"]


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


def test_the_artifact_is_the_list_of_items_as_they_are() -> None:
    assert json.loads(artifact_of([item_of("X"), item_of("Y")])) == [item_json("X"), item_json("Y")]
    assert json.loads(artifact_of([])) == []
