"""Which step of an item is due, by its record alone."""

from typing import Any

import pytest

from shared.models import ItemRecord, ItemState, Run, RunKind
from shared.runs.due import Plan, Step, StepName, closing, due_steps, rest_of, searching, stopped
from shared.stac.item import Item
from tests.unit.making import item_of, record_of, run_of

PLAIN = item_of(assets={"a.EOF": {"href": "http://h/a"}})
ARCHIVES = item_of(assets={name: {"href": "http://h/a"} for name in ("a.EOF", "b.zip", "c.TGZ")})
SOURCE = {"name": "b.zip", "href": "s3://bucket/b.zip", "etag": "e"}
EXPANDED_BEFORE = item_of(assets={"b": {"href": "s3://bucket/b/", "aux_staging:source": SOURCE}})
BOTH = ("b.zip", "c.TGZ")

STAGING = run_of()
CANCELLED = run_of(cancelled=9.0)
AS_IT_IS = run_of(request=STAGING.request.model_copy(update={"decompress": False}))
_EXPAND_ONLY = STAGING.request.model_copy(update={"kind": RunKind.DECOMPRESS})
DECOMPRESS = run_of(request=_EXPAND_ONLY)
DECOMPRESS_CANCELLED = run_of(request=_EXPAND_ONLY, cancelled=9.0)

FOUND: dict[str, Any] = {}
CLAIMED = {"state": ItemState.CLAIMED, "claimed": 1.0}
STAGED = {**CLAIMED, "state": ItemState.STAGED, "staged": 2.0}
CATALOGUED = {**STAGED, "state": ItemState.CATALOGUED, "catalogued": 3.0}
ONE_ENDED = {**CATALOGUED, "ended": frozenset({"b.zip"})}
ALL_ENDED = {**CATALOGUED, "ended": frozenset(BOTH)}
EXPANDED = {**ALL_ENDED, "state": ItemState.EXPANDED, "expanded": 4.0}
ENDED = {"ended": frozenset(BOTH)}
FAILED = {"state": ItemState.FAILED}
FINISHED = {"finished": 5.0, "stac": ""}


def record(item: Item, *facts: dict[str, Any]) -> ItemRecord:
    merged: dict[str, Any] = {"stac": item.model_dump_json(by_alias=True, exclude_unset=True)}
    for each in facts:
        merged |= each
    return record_of(**merged)


def step(name: StepName, part: str = "") -> Step:
    return Step(name, "run-1", "k-X", part)


STAGE, PUBLISH = (step(StepName.STAGE),), (step(StepName.PUBLISH),)
EXPAND_B, EXPAND_C = step(StepName.EXPAND, "b.zip"), step(StepName.EXPAND, "c.TGZ")
PUBLISH_EXPANDED = (step(StepName.PUBLISH_EXPANDED),)

DUE: dict[str, tuple[Run, ItemRecord, tuple[Step, ...]]] = {
    "found": (STAGING, record(PLAIN), STAGE),
    "claimed": (STAGING, record(PLAIN, CLAIMED), STAGE),
    "staged": (STAGING, record(PLAIN, STAGED), PUBLISH),
    "catalogued without archives": (STAGING, record(PLAIN, CATALOGUED), ()),
    "archives not before the item is catalogued": (STAGING, record(ARCHIVES, STAGED), PUBLISH),
    "archives, all at once": (STAGING, record(ARCHIVES, CATALOGUED), (EXPAND_B, EXPAND_C)),
    "one archive ended": (STAGING, record(ARCHIVES, ONE_ENDED), (EXPAND_C,)),
    "all archives ended": (STAGING, record(ARCHIVES, ALL_ENDED), PUBLISH_EXPANDED),
    "expanded": (STAGING, record(ARCHIVES, EXPANDED), ()),
    "archives that are to stay": (AS_IT_IS, record(ARCHIVES, CATALOGUED), ()),
    "expanded by another run before": (STAGING, record(EXPANDED_BEFORE, CATALOGUED), ()),
    "of the catalog": (DECOMPRESS, record(ARCHIVES), (EXPAND_B, EXPAND_C)),
    "of the catalog, begun": (DECOMPRESS, record(ARCHIVES, CLAIMED), (EXPAND_B, EXPAND_C)),
    "of the catalog, all ended": (DECOMPRESS, record(ARCHIVES, CLAIMED, ENDED), PUBLISH_EXPANDED),
    "of the catalog, without archives": (DECOMPRESS, record(PLAIN), ()),
    "of the catalog, expanded": (DECOMPRESS, record(ARCHIVES, EXPANDED), ()),
    "unusable as found": (STAGING, record_of(state=ItemState.FAILED), ()),
    "skipped as found": (STAGING, record_of(state=ItemState.SKIPPED), ()),
    "failed while staged": (STAGING, record(ARCHIVES, CLAIMED, FAILED), ()),
    "failed while published": (STAGING, record(ARCHIVES, STAGED, FAILED), ()),
    "failed, an archive still to end": (STAGING, record(ARCHIVES, ONE_ENDED, FAILED), (EXPAND_C,)),
    "failed, all archives ended": (STAGING, record(ARCHIVES, ALL_ENDED, FAILED), ()),
    "of the catalog, failed before it was begun": (DECOMPRESS, record(ARCHIVES, FAILED), ()),
    "of the catalog, failed, one to end": (
        DECOMPRESS,
        record(ARCHIVES, CLAIMED, FAILED, {"ended": frozenset({"b.zip"})}),
        (EXPAND_C,),
    ),
    "as it should be": (STAGING, record(ARCHIVES, CLAIMED, {"intact": True}), ()),
    "cancelled before it was begun": (CANCELLED, record(ARCHIVES), ()),
    "cancelled while staged": (CANCELLED, record(ARCHIVES, CLAIMED), ()),
    "cancelled before it was published": (CANCELLED, record(ARCHIVES, STAGED), ()),
    "cancelled before its archives": (CANCELLED, record(ARCHIVES, CATALOGUED), (EXPAND_B, EXPAND_C)),
    "cancelled, an archive still to end": (CANCELLED, record(ARCHIVES, ONE_ENDED), (EXPAND_C,)),
    "cancelled, all archives ended": (CANCELLED, record(ARCHIVES, ALL_ENDED), ()),
    "of the catalog, cancelled before": (DECOMPRESS_CANCELLED, record(ARCHIVES), ()),
    "of the catalog, cancelled, begun": (DECOMPRESS_CANCELLED, record(ARCHIVES, CLAIMED), (EXPAND_B, EXPAND_C)),
    "finished": (STAGING, record(ARCHIVES, EXPANDED, FINISHED), ()),
    "finished early": (STAGING, record(PLAIN, FINISHED), ()),
    "of the catalog, finished": (DECOMPRESS, record(ARCHIVES, CLAIMED, FINISHED), ()),
}


@pytest.mark.parametrize("name", DUE)
def test_what_is_due_follows_from_the_record(name: str) -> None:
    run, item, expected = DUE[name]
    assert due_steps(run, item) == expected


THE_REST: dict[str, tuple[Run, ItemRecord, Plan]] = {
    "plain": (STAGING, record(PLAIN), (STAGE, PUBLISH)),
    "archives": (STAGING, record(ARCHIVES), (STAGE, PUBLISH, (EXPAND_B, EXPAND_C), PUBLISH_EXPANDED)),
    "staged": (STAGING, record(ARCHIVES, STAGED), (PUBLISH, (EXPAND_B, EXPAND_C), PUBLISH_EXPANDED)),
    "one archive ended": (STAGING, record(ARCHIVES, ONE_ENDED), ((EXPAND_C,), PUBLISH_EXPANDED)),
    "all archives ended": (STAGING, record(ARCHIVES, ALL_ENDED), (PUBLISH_EXPANDED,)),
    "archives that are to stay": (AS_IT_IS, record(ARCHIVES), (STAGE, PUBLISH)),
    "expanded by another run before": (STAGING, record(EXPANDED_BEFORE), (STAGE, PUBLISH)),
    "of the catalog": (DECOMPRESS, record(ARCHIVES), ((EXPAND_B, EXPAND_C), PUBLISH_EXPANDED)),
    "failed, an archive still to end": (STAGING, record(ARCHIVES, ONE_ENDED, FAILED), ((EXPAND_C,), PUBLISH_EXPANDED)),
    "cancelled, archives still to end": (
        CANCELLED,
        record(ARCHIVES, CATALOGUED),
        ((EXPAND_B, EXPAND_C), PUBLISH_EXPANDED),
    ),
    "expanded": (STAGING, record(ARCHIVES, EXPANDED), ()),
    "finished": (STAGING, record(ARCHIVES, EXPANDED, FINISHED), ()),
}


@pytest.mark.parametrize("name", THE_REST)
def test_the_rest_of_an_item_is_a_plan_to_its_end(name: str) -> None:
    run, item, expected = THE_REST[name]
    assert tuple(rest_of(run, item)) == expected


@pytest.mark.parametrize("name", DUE)
def test_a_stage_of_several_steps_is_never_the_last(name: str) -> None:
    run, item, _ = DUE[name]
    plan = tuple(rest_of(run, item))
    assert not plan or len(plan[-1]) == 1


def test_the_item_is_not_read_before_its_archives_are_asked_for() -> None:
    unreadable = record_of(stac="{", claimed=1.0)
    assert due_steps(STAGING, unreadable) == STAGE


def test_a_run_is_searched_and_then_begun_and_closed_in_the_end() -> None:
    assert searching(STAGING) == ((Step(StepName.FIND, "run-1"),), (Step(StepName.BEGIN, "run-1"),))
    assert closing(STAGING) == ((Step(StepName.CLOSE, "run-1"),),)


@pytest.mark.parametrize(
    ("run", "item", "nothing_more"),
    [
        (STAGING, record(ARCHIVES), False),
        (STAGING, record(ARCHIVES, CATALOGUED), False),
        (STAGING, record(ARCHIVES, ONE_ENDED, FAILED), True),
        (STAGING, record(ARCHIVES, CLAIMED, {"intact": True}), True),
        (STAGING, record(ARCHIVES, {"state": ItemState.SKIPPED}), True),
        (STAGING, record(ARCHIVES, FINISHED), True),
        (CANCELLED, record(ARCHIVES), True),
        (CANCELLED, record(ARCHIVES, ONE_ENDED), True),
    ],
)
def test_an_item_that_failed_or_whose_run_is_cancelled_only_ends(
    run: Run, item: ItemRecord, nothing_more: bool
) -> None:
    assert stopped(run, item) is nothing_more


def test_a_step_of_an_item_is_claimed_as_the_item_and_an_expansion_as_the_archive() -> None:
    assert PUBLISH[0].work == "k-X"
    assert EXPAND_B.work == "k-X:b.zip"


def test_a_message_is_the_ids_that_there_are() -> None:
    assert Step(StepName.FIND, "run-1").args == ("run-1",)
    assert PUBLISH[0].args == ("run-1", "k-X")
    assert EXPAND_B.args == ("run-1", "k-X", "b.zip")
