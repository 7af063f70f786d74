"""Selection: ValCover takes what covers the window, bounds included, whatever the station's operators think."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.errors import ItemFailed, Rejected
from shared.selection import Given, Selection, ValCover, validity
from shared.stac.item import Item
from shared.stac.search import Cql2, check_cql2
from tests.unit.making import ANY, item_of

START = datetime(2024, 3, 25, 9, tzinfo=UTC)
END = datetime(2024, 3, 25, 9, 25, tzinfo=UTC)
SECOND = timedelta(seconds=1)
WINDOW = ValCover(product_types=("A",), start=START, end=END)


def valid(start: object, end: object) -> Item:
    return item_of(properties={"start_datetime": start, "end_datetime": end})


def text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("start", "end", "taken"),
    [
        (START, END, True),
        (START - SECOND, END + SECOND, True),
        (START + SECOND, END, False),
        (START, END - SECOND, False),
        (START + timedelta(milliseconds=1), END, False),
        (START, END - timedelta(milliseconds=1), False),
        (END, END + SECOND, False),
    ],
)
def test_valcover_includes_both_bounds_of_the_window(start: datetime, end: datetime, taken: bool) -> None:
    assert WINDOW.accepts(valid(text(start), text(end))) is taken


@pytest.mark.parametrize("end", ["99991231T235959", "99999999T999999", "9999-12-31T23:59:59Z"])
def test_valcover_takes_a_validity_that_never_ends(end: str) -> None:
    assert WINDOW.accepts(valid("2016-02-16T19:24:04Z", end))


MINUTES = st.integers(0, 60).map(lambda minute: START + timedelta(minutes=minute))


@given(window=st.tuples(MINUTES, MINUTES).map(sorted), item=st.tuples(MINUTES, MINUTES).map(sorted))
def test_valcover_takes_just_the_validities_that_every_instant_of_the_window_lies_in(
    window: list[datetime], item: list[datetime]
) -> None:
    minutes = range(int((window[1] - window[0]) / timedelta(minutes=1)) + 1)
    every = all(item[0] <= window[0] + timedelta(minutes=minute) <= item[1] for minute in minutes)

    policy = ValCover(product_types=("A",), start=window[0], end=window[1])
    assert policy.accepts(valid(text(item[0]), text(item[1]))) is every


def test_valcover_asks_once_for_each_product_type_for_whatever_touches_the_window() -> None:
    first, second = ValCover(product_types=("A", "B"), start=START, end=END).searches()

    assert first.filter == {
        "op": "and",
        "args": [
            {"op": "=", "args": [{"property": "product:type"}, "A"]},
            {
                "op": "t_intersects",
                "args": [
                    {"interval": [{"property": "start_datetime"}, {"property": "end_datetime"}]},
                    {"interval": ["2024-03-25T09:00:00Z", "2024-03-25T09:25:00Z"]},
                ],
            },
        ],
    }
    assert "B" in str(second.filter)
    assert first.limit is second.limit is None


def test_what_valcover_asks_is_cql2() -> None:
    for search in WINDOW.searches():
        check_cql2(search.filter)


def test_a_window_may_be_one_instant() -> None:
    assert ValCover(product_types=("A",), start=START, end=START).accepts(valid(text(START), text(START)))


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(Rejected, match="bad-window"):
        ValCover(product_types=("A",), start=END, end=START)


def test_a_window_is_compared_in_utc_and_not_as_it_is_spelled() -> None:
    window = ValCover.model_validate(
        {"product_types": ["A"], "start": "2024-03-25T11:00:00+02:00", "end": "2024-03-25T09:25:00Z"}
    )
    assert (window.start, window.end) == (START, END)


@pytest.mark.parametrize("wrong", [{"start": "soon"}, {"end": "9999-12-31T23:59:59-01:00"}])
def test_a_bound_that_is_no_instant_is_refused_with_its_code(wrong: dict[str, str]) -> None:
    with pytest.raises(Rejected, match="bad-datetime"):
        ValCover.model_validate({"product_types": ["A"], "start": text(START), "end": text(END), **wrong})


@pytest.mark.parametrize("types", [[], [""], ["x" * 129], ["A"] * 101, "A"])
def test_product_types_are_one_to_a_hundred_names(types: object) -> None:
    with pytest.raises(ValidationError, match="product_types"):
        ValCover.model_validate({"product_types": types, "start": text(START), "end": text(END)})


@pytest.mark.parametrize(
    "bounds",
    [
        (None, "2024-03-26T00:00:00Z"),
        ("2024-03-26T00:00:00Z", None),
        (None, None),
        ("soon", "2024-03-26T00:00:00Z"),
        (1711324800, "2024-03-26T00:00:00Z"),
        ("2024-03-26T00:00:00Z", "9999-12-31T23:59:59-01:00"),
    ],
)
def test_an_item_without_a_validity_fails_alone(bounds: tuple[object, object]) -> None:
    with pytest.raises(ItemFailed, match="bad-validity"):
        WINDOW.accepts(valid(*bounds))


def test_a_validity_with_an_offset_is_converted() -> None:
    assert validity(valid("2024-03-25T12:00:00+02:00", "2024-03-25T12:00:00-02:00")) == (
        datetime(2024, 3, 25, 10, tzinfo=UTC),
        datetime(2024, 3, 25, 14, tzinfo=UTC),
    )


@pytest.mark.parametrize("selection", [WINDOW, Cql2(filter=ANY, limit=3), Given(item_id="X")])
def test_a_selection_is_read_as_it_was_written(selection: Selection) -> None:
    adapter: TypeAdapter[Selection] = TypeAdapter(Selection)
    assert adapter.validate_json(adapter.dump_json(selection)) == selection
