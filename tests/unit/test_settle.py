"""How an item ended: said from its record alone, whatever has become of the steps before."""

from typing import Any

import pytest

from shared.archives import Expansion
from shared.models import ItemRecord, ItemState, Outcome, Run
from shared.runs.settle import outcome
from shared.stac.item import Item
from tests.unit.making import item_of, record_of, run_of

PLAIN = item_of(assets={"a.EOF": {"href": "http://h/a"}})
ARCHIVE = item_of(assets={"a.EOF": {"href": "http://h/a"}, "b.zip": {"href": "http://h/b"}})
SOURCE = {"name": "b.zip", "href": "s3://bucket/b.zip", "etag": "e"}
EXPANDED_BEFORE = item_of(assets={"c.zip": {"href": "s3://bucket/b/", "aux_staging:source": SOURCE}})
RUN = run_of()
WITHOUT = run_of(request=RUN.request.model_copy(update={"decompress": False}))
CANCELLED = run_of(cancelled=1.0)


def record(item: Item, **changes: Any) -> ItemRecord:
    return record_of(stac=item.model_dump_json(by_alias=True, exclude_unset=True), **changes)


@pytest.mark.parametrize(
    ("run", "item", "goal"),
    [
        (RUN, PLAIN, ItemState.CATALOGUED),
        (RUN, ARCHIVE, ItemState.EXPANDED),
        (RUN, EXPANDED_BEFORE, ItemState.CATALOGUED),
        (WITHOUT, ARCHIVE, ItemState.CATALOGUED),
    ],
    ids=["plain", "archive", "expanded before", "not to be expanded"],
)
@pytest.mark.parametrize("state", [state for state in ItemState if state not in (ItemState.FAILED, ItemState.SKIPPED)])
def test_an_item_is_done_when_it_has_come_as_far_as_it_was_to_come(
    run: Run, item: Item, goal: ItemState, state: ItemState
) -> None:
    ended = outcome(run, record(item, state=state))

    assert ended.state is (goal if state is goal else ItemState.FAILED)
    assert ended.code == ("" if state is goal else "not-done")


def test_a_step_that_did_not_happen_is_named_by_how_far_the_item_came() -> None:
    ended = outcome(RUN, record(PLAIN, state=ItemState.STAGED))
    assert "when it was staged" in ended.reason


def test_a_failure_keeps_its_code_and_reason() -> None:
    failed = record(PLAIN, state=ItemState.FAILED, code="size-mismatch", reason="3 bytes")
    assert outcome(RUN, failed) == Outcome(state=ItemState.FAILED, code="size-mismatch", reason="3 bytes")


def test_an_item_that_was_unusable_is_a_failure() -> None:
    unusable = record_of(state=ItemState.FAILED, code="no-assets", reason="nothing to stage")
    assert outcome(RUN, unusable) == Outcome(state=ItemState.FAILED, code="no-assets", reason="nothing to stage")


@pytest.mark.parametrize("state", [ItemState.FOUND, ItemState.CLAIMED, ItemState.CATALOGUED])
def test_an_item_that_was_as_it_should_be_is_skipped(state: ItemState) -> None:
    ended = outcome(RUN, record(ARCHIVE, state=state, intact=True))
    assert (ended.state, ended.code) == (ItemState.SKIPPED, "already-staged")


def test_an_item_that_was_as_it_should_be_is_not_reported_as_unproven() -> None:
    assert outcome(RUN, record(PLAIN, state=ItemState.FOUND, intact=True, unproven="x")).code == "already-staged"


def test_what_is_left_out_and_what_is_unproven_are_both_told() -> None:
    facts = {"archive": "s3://b/b.zip", "archive_etag": "e", "prefix": "s3://b/b/", "manifest": "m"}
    expansion = Expansion.model_validate({**facts, "members": 1, "size": 1, "note": "a link", "reused": False})
    done = record(ARCHIVE, state=ItemState.EXPANDED, unproven="no proof", expansions={"b.zip": expansion})
    ended = outcome(RUN, done)
    assert (ended.code, ended.reason) == ("left-out", "a link | no proof")


def test_a_failure_is_not_hidden_by_what_was_found_before() -> None:
    assert outcome(RUN, record(PLAIN, state=ItemState.FAILED, intact=True)).state is ItemState.FAILED


def test_an_item_that_the_search_has_skipped_says_why() -> None:
    skipped = record_of(state=ItemState.SKIPPED, code="no-such-asset", reason="it has a.EOF")
    assert outcome(RUN, skipped) == Outcome(state=ItemState.SKIPPED, code="no-such-asset", reason="it has a.EOF")
    assert skipped.over


@pytest.mark.parametrize("state", [ItemState.FOUND, ItemState.CLAIMED, ItemState.STAGED, ItemState.CATALOGUED])
def test_an_item_of_a_cancelled_run_is_skipped_and_says_how_far_it_came(state: ItemState) -> None:
    ended = outcome(CANCELLED, record(ARCHIVE, state=state))
    assert (ended.state, ended.code) == (ItemState.SKIPPED, "cancelled")
    assert f"when the item was {state}" in ended.reason


def test_an_item_that_is_finished_has_ended_as_it_is_recorded() -> None:
    finished = record_of(state=ItemState.EXPANDED, code="left-out", reason="a link", finished=5.0)
    assert outcome(CANCELLED, finished) == Outcome(state=ItemState.EXPANDED, code="left-out", reason="a link")


def test_an_item_that_was_done_before_its_run_was_cancelled_is_done() -> None:
    assert outcome(CANCELLED, record(PLAIN, state=ItemState.CATALOGUED)).state is ItemState.CATALOGUED
    assert outcome(CANCELLED, record(ARCHIVE, state=ItemState.EXPANDED)).state is ItemState.EXPANDED
    failed = record(ARCHIVE, state=ItemState.FAILED, code="archive-damaged")
    assert outcome(CANCELLED, failed).code == "archive-damaged"
