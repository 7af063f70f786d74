"""The report of a run for programs, and how many of its items a person is shown."""

import json
from datetime import UTC, datetime

import pytest

from shared.answer import Answer, Selected, Status
from shared.codes import ADVICE
from shared.models import Counts, ItemRecord, ItemState, Notice, RunState, Wait
from shared.report import REPORT_TAIL, Excerpt, answer_of_run, report_head, report_items
from tests.unit.making import record_of, run_of

RECORDS = [
    record_of("b-staged", ItemState.CATALOGUED, size=1_234_567, downloaded=1_234_567, attempts=1),
    record_of("a-skipped", ItemState.SKIPPED, code="already-staged", reason="as it should be"),
    record_of("z-failed", ItemState.FAILED, code="size-mismatch", reason="3 bytes"),
]
COUNTS = Counts(items=3, staged=1, skipped=1, failed=1, bytes_downloaded=1_234_567)


def excerpt(*records: ItemRecord, most: int = 100) -> Excerpt:
    made = Excerpt(most)
    for record in records:
        made.add(record)
    return made


def test_a_report_says_how_the_run_and_each_item_ended() -> None:
    answer = answer_of_run(run_of(counts=COUNTS, created=1711357200.5, closed=1711357203.0, state=RunState.PARTIAL))

    assert (answer.version, answer.run, answer.status) == (1, "run-1", Status.PARTIAL)
    assert (answer.owner, answer.collection) == ("owner", "aux")
    assert (answer.started, answer.ended) == ("2024-03-25T09:00:00.500Z", "2024-03-25T09:00:03Z")
    assert (answer.counts, answer.seconds) == (COUNTS, 2.5)
    published = record_of("b", ItemState.CATALOGUED, published=1711357200.0, finished=1711357201.0, size=5, attempts=1)
    assert json.loads(next(report_items([published]))) == {
        "id": "b",
        "status": "catalogued",
        "station": "",
        "code": "",
        "reason": "",
        "what_to_do": "",
        "size": 5,
        "bytes_downloaded": 0,
        "attempts": 1,
        "published": "2024-03-25T09:00:00Z",
        "available": "2024-03-25T09:00:01Z",
        "evicts": None,
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


@pytest.mark.parametrize(
    ("state", "items", "status"),
    [
        (RunState.SUCCESSFUL, 1, "successful"),
        (RunState.SUCCESSFUL, 0, "empty"),
        (RunState.FAILED, 0, "failed"),
        (RunState.CANCELLED, 0, "cancelled"),
        (RunState.PARTIAL, 2, "partial"),
        (RunState.WORKING, 0, "working"),
    ],
)
def test_a_run_that_found_nothing_is_empty(state: RunState, items: int, status: str) -> None:
    assert answer_of_run(run_of(state=state, counts=Counts(items=items))).status == status


def test_a_run_that_failed_as_a_whole_says_why_and_what_to_do() -> None:
    answer = answer_of_run(run_of(state=RunState.FAILED, code="unknown-collection", reason="there is no aux"))
    assert answer.error is not None
    assert answer.error.model_dump() == {
        "code": "unknown-collection",
        "reason": "there is no aux",
        "what_to_do": ADVICE["unknown-collection"],
    }


def test_an_answer_lists_failed_items_with_what_to_do_and_counts_those_that_it_does_not() -> None:
    failed = [record_of("x", ItemState.FAILED, code="size-mismatch", reason="r" * 5000)]
    answer = answer_of_run(run_of(counts=Counts(items=9, failed=3)), failed)
    (item,) = answer.failed
    assert (item.id, item.code, item.reason) == ("x", "size-mismatch", "r" * 500)
    assert item.what_to_do == ADVICE["size-mismatch"]
    assert answer.failed_left_out == 2


def test_an_answer_says_what_was_selected() -> None:
    selected = (Selected(product_type="MISSPELT"), Selected(product_type="A", policy="ValCover", offered=3, selected=1))
    assert answer_of_run(run_of(selected=selected)).selected == selected


def test_a_report_is_an_answer_with_its_items() -> None:
    answer = answer_of_run(run_of(counts=COUNTS, state=RunState.PARTIAL))
    text = report_head(answer) + ",".join(report_items(RECORDS)) + REPORT_TAIL

    read = Answer.model_validate_json(text)
    assert (read.status, read.counts) == (Status.PARTIAL, COUNTS)
    assert [item.status for item in read.items or ()] == ["catalogued", "skipped", "failed"]
    assert not {"result", "left_out"} & json.loads(text).keys()


def test_the_report_of_a_run_without_items_has_none() -> None:
    assert json.loads(report_head(answer_of_run(run_of())) + REPORT_TAIL)["items"] == []


def test_an_excerpt_keeps_no_more_than_it_shows_of_failed_items_too() -> None:
    kept = excerpt(*(record_of(f"f{number}", ItemState.FAILED) for number in range(10)), *RECORDS, most=4)

    assert [record.item_id for record in kept.records()] == ["f0", "f1", "f2", "f3"]
    assert (kept.seen, kept.left_out) == (13, 9)


def test_a_report_has_the_notices_of_the_run() -> None:
    notice = Notice(code="unknown-property", reason="finds nothing by <a>")
    report = answer_of_run(run_of(notices=(notice,)))

    assert json.loads(report_head(report) + REPORT_TAIL)["notices"] == [notice.model_dump()]


def test_a_report_says_what_the_run_waited_for() -> None:
    wait = Wait(system="catalog", since=1711357200.9, until=1711357260.0, reason="it answered <503>")
    report = answer_of_run(run_of(waits=[wait], state=RunState.SUCCESSFUL))
    assert json.loads(report_head(report) + REPORT_TAIL)["waits"] == [
        {
            "system": "catalog",
            "since": "2024-03-25T09:00:00Z",
            "until": "2024-03-25T09:01:00Z",
            "reason": "it answered <503>",
        }
    ]
