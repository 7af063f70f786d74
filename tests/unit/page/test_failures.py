"""Failures by code: what happened to the run or to a system is apart from what it kept from being done."""

from shared.answer import Answer, Problem, Status, Waited
from shared.codes import ADVICE
from shared.models import ItemRecord, ItemState
from shared.page.failures import Cause, Groups, causes_of
from tests.unit.making import record_of


def failed(code: str, count: int = 1) -> list[ItemRecord]:
    return [record_of(f"{code}-{number}", ItemState.FAILED, code=code, reason=f"{number}") for number in range(count)]


def causes(records: list[ItemRecord], **answer: object) -> list[Cause]:
    groups = Groups()
    for record in records:
        groups.add(record)
    facts = {"id": "run-1", "run": "run-1", "status": Status.FAILED, "collection": "aux", **answer}
    return causes_of(Answer.model_validate(facts), groups)


def away(system: str) -> tuple[Waited, ...]:
    return (Waited(system=system, since="2024-03-25T09:00:00Z", until="2024-03-25T09:10:00Z", reason="503"),)


def dragged(cause: Cause) -> dict[str, int]:
    return {group.code: group.count for group in cause.dragged}


def test_a_run_without_failures_has_no_cause() -> None:
    assert causes([record_of("X", ItemState.SKIPPED, code="already-staged")]) == []


def test_items_are_grouped_by_code_the_largest_group_first_with_what_to_do_and_the_command() -> None:
    first, second = causes([*failed("no-assets"), *failed("size-mismatch", 5)])
    assert (first.code, first.count, first.advice) == ("size-mismatch", 5, ADVICE["size-mismatch"])
    assert first.commands == ["auxip dead replay --where run-1 --code size-mismatch"]
    assert [example.item_id for example in first.examples] == [f"size-mismatch-{number}" for number in range(3)]
    assert (second.code, second.count) == ("no-assets", 1)


def test_what_a_system_that_was_away_kept_from_being_done_is_below_it() -> None:
    records = [*failed("catalog-unavailable", 3), *failed("not-done"), *failed("size-mismatch", 9)]
    outage, other = causes(records, waits=away("catalog"))
    assert (outage.title, outage.count, outage.items) == ("The catalog could not be used", 0, 4)
    assert outage.reason == "from 2024-03-25T09:00:00Z to 2024-03-25T09:10:00Z: 503"
    assert dragged(outage) == {"catalog-unavailable": 3, "not-done": 1}
    assert outage.commands == ["auxip doctor", "auxip dead replay --where run-1 --code catalog-unavailable"]
    assert other.code == "size-mismatch"


def test_what_is_an_items_own_fault_is_no_outages() -> None:
    (cause,) = causes(failed("station-not-found"), waits=away("station adgs"))
    assert cause.code == "station-not-found"
    assert cause.commands[0] == "auxip doctor"


def test_a_system_that_was_waited_for_and_failed_nothing_is_no_cause() -> None:
    assert causes([], waits=away("catalog")) == []


def test_no_item_is_dragged_down_by_another_one() -> None:
    first, last = causes([*failed("not-done", 3), *failed("archive-damaged")])
    assert (first.code, first.dragged) == ("archive-damaged", [])
    assert last.code == "not-done"


def test_a_run_that_failed_as_a_whole_is_the_first_cause() -> None:
    error = Problem(code="unknown-collection", reason="there is no aux", what_to_do="x")
    (cause,) = causes([], error=error, label="sweep it's")
    assert (cause.code, cause.reason, cause.advice) == (
        "unknown-collection",
        "there is no aux",
        ADVICE["unknown-collection"],
    )
    assert cause.commands == ["auxip collection create aux", """auxip sweep 'it'"'"'s'"""]


def test_what_a_cancelled_run_left_is_below_the_cancelling() -> None:
    left = [record_of(f"{number}", ItemState.SKIPPED, code="cancelled") for number in range(2)]
    cancelling, other = causes([*left, *failed("size-mismatch")], cancelled="2024-03-25T09:00:00Z")
    assert (cancelling.title, dragged(cancelling)) == ("The run was cancelled", {"cancelled": 2})
    assert cancelling.commands == []
    assert other.code == "size-mismatch"


def test_more_codes_than_anybody_reads_are_one_group() -> None:
    found = causes([record for number in range(60) for record in failed(f"code-{number}")])
    assert len(found) == 41
    assert (found[0].code, found[0].count) == ("other codes", 20)
    assert found[0].commands == ["auxip dead replay --where run-1"]
