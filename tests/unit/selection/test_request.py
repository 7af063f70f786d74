"""What a policy selection may ask for, and the searches that it sends: wide enough, and known to every station."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.errors import Rejected
from shared.json_types import Json
from shared.selection import Given, PolicyName, PolicySelection, Selection
from shared.stac.search import Cql2, check_cql2
from shared.times import OPEN_END
from tests.unit.making import ANY

START = datetime(2024, 3, 25, 9, tzinfo=UTC)
END = datetime(2024, 3, 25, 9, 25, tzinfo=UTC)
NAMES: tuple[PolicyName, ...] = get_args(PolicyName)
WINDOWLESS: tuple[PolicyName, ...] = ("LatestValidity", "LatestGeneration", "LatestStopValidity")
AT_AN_INSTANT: tuple[PolicyName, ...] = ("ClosestStartValidity", "ClosestStopValidity")
TYPE_ONLY = {*WINDOWLESS, *AT_AN_INSTANT, "LatestValidityClosest"}
OF_TYPE: Json = {"op": "=", "args": [{"property": "product:type"}, "A"]}
VALIDITY: Json = {"interval": [{"property": "start_datetime"}, {"property": "end_datetime"}]}


def by(*policies: PolicyName, **changes: Any) -> PolicySelection:
    fields = {"policies": policies, "product_types": ("A",), "start": START, "end": END, **changes}
    return PolicySelection.model_validate(fields)


def interval_asked(selection: PolicySelection) -> object:
    expression: Any = selection.search("ValCover", "A").filter
    return expression["args"][-1]["args"][1]["interval"]


@pytest.mark.parametrize("name", sorted(set(NAMES) - TYPE_ONLY))
def test_a_policy_that_takes_what_touches_its_window_asks_for_what_intersects_it(name: PolicyName) -> None:
    window: Json = {"interval": ["2024-03-25T09:00:00Z", "2024-03-25T09:25:00Z"]}
    touches: Json = {"op": "t_intersects", "args": [VALIDITY, window]}
    search = by(name).search(name, "A")

    assert search.filter == {"op": "and", "args": [OF_TYPE, touches]}
    assert (search.limit, search.sortby) == (None, ())


@pytest.mark.parametrize("name", sorted(TYPE_ONLY))
def test_a_policy_whose_best_item_may_lie_anywhere_asks_for_the_whole_product_type(name: PolicyName) -> None:
    assert by(name).search(name, "A").filter == OF_TYPE


def test_a_platform_narrows_the_search() -> None:
    search = by("LatestValidity", platform="sentinel-1a").search("LatestValidity", "A")
    platform: Json = {"op": "=", "args": [{"property": "platform"}, "sentinel-1a"]}
    assert search.filter == {"op": "and", "args": [OF_TYPE, platform]}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_policy_asks_is_cql2(name: PolicyName) -> None:
    for end in (END, OPEN_END):
        check_cql2(by(name, end=end, platform="sentinel-1a").search(name, "A").filter)


def test_the_search_is_widened_by_the_margins() -> None:
    selection = by("ValCover", before=timedelta(seconds=6000), after=timedelta(seconds=7000))
    assert interval_asked(selection) == ["2024-03-25T07:20:00Z", "2024-03-25T11:21:40Z"]


def test_parts_of_a_second_are_rounded_outwards() -> None:
    part = timedelta(microseconds=500)
    selection = by("ValCover", start=START + part, end=END + part)
    assert interval_asked(selection) == ["2024-03-25T09:00:00Z", "2024-03-25T09:25:01Z"]


@pytest.mark.parametrize(
    "end", ["99991231T235959", "99999999T999999", "9999-12-31T23:59:59.9Z", "9999-12-31T23:00:00Z"]
)
def test_a_window_that_never_ends_is_asked_with_an_open_bound(end: str) -> None:
    assert interval_asked(by("ValCover", end=end, after=7000)) == ["2024-03-25T09:00:00Z", ".."]


@pytest.mark.parametrize("name", sorted({*NAMES} - {*WINDOWLESS}))
def test_a_policy_that_looks_at_a_window_needs_it(name: PolicyName) -> None:
    needs = "start" if name in AT_AN_INSTANT else "start and end"
    with pytest.raises(Rejected, match=f"bad-window: the policy {name} needs {needs}$"):
        by(name, start=None, end=None)


@pytest.mark.parametrize("name", AT_AN_INSTANT)
def test_a_policy_at_an_instant_needs_no_end(name: PolicyName) -> None:
    assert by(name, end=None).window().reference == START


def test_the_reference_instant_is_the_start_and_no_margin_moves_it() -> None:
    assert by("ClosestStartValidity", before=6000).window().reference == START


@pytest.mark.parametrize("name", WINDOWLESS)
def test_a_policy_without_a_window_needs_none_and_ignores_one(name: PolicyName) -> None:
    assert by(name, start=None, end=None).search(name, "A") == by(name).search(name, "A")


def test_one_policy_of_a_chain_that_needs_a_window_is_enough() -> None:
    with pytest.raises(Rejected, match="bad-window: the policy ValCover needs"):
        by("LatestValidity", "ValCover", start=None, end=None)


def test_a_window_may_be_one_instant() -> None:
    assert by("ValCover", end=START).window().begin == by("ValCover", end=START).window().end


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(Rejected, match="bad-window"):
        by("ValCover", start=END, end=START)


def test_a_window_that_begins_before_the_calendar_is_refused() -> None:
    with pytest.raises(Rejected, match="bad-window: the window begins before the year 1"):
        by("ValCover", start="0001-01-01T01:00:00Z", before=7200)


def test_a_window_is_compared_in_utc_and_not_as_it_is_spelled() -> None:
    window = by("ValCover", start="2024-03-25T11:00:00+02:00", end="2024-03-25T09:25:00Z")
    assert (window.start, window.end) == (START, END)


@pytest.mark.parametrize("wrong", [{"start": "soon"}, {"end": "9999-12-31T23:59:59-01:00"}])
def test_a_bound_that_is_no_instant_is_refused_with_its_code(wrong: dict[str, str]) -> None:
    with pytest.raises(Rejected, match="bad-datetime"):
        by("ValCover", **wrong)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("product_types", types) for types in ([], [""], ["x" * 129], ["A"] * 101, "A")),
        *(("policies", names) for names in ([], ["NoPolicy"], ["valcover"], ["ValCover"] * 16)),
        *(("before", margin) for margin in (-1, float("inf"), float("nan"), 4e9, "long")),
        ("after", -1),
        ("platform", ""),
    ],
)
def test_a_wrong_field_is_refused_and_named(field: str, wrong: object) -> None:
    with pytest.raises(ValidationError, match=field):
        by("ValCover", **{field: wrong})


@pytest.mark.parametrize(
    "selection",
    [
        by("LatestValCover", "LatestValIntersect", platform="sentinel-1a", before=6000, after=0.5),
        by("LatestValidity", start=None, end=None),
        Cql2(filter=ANY, limit=3),
        Given(item_id="X"),
    ],
)
def test_a_selection_is_read_as_it_was_written(selection: Selection) -> None:
    adapter: TypeAdapter[Selection] = TypeAdapter(Selection)
    assert adapter.validate_json(adapter.dump_json(selection)) == selection
