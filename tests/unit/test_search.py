"""CQL2 filters: what stations understand is let through, what is none is refused before anything is sent."""

import pytest
from pydantic import ValidationError

from shared.errors import Rejected
from shared.json_types import Json
from shared.stac.search import Cql2, SortKey, check_cql2, values_of
from tests.unit.making import ANY

TYPE: Json = {"property": "product:type"}
VALIDITY: Json = {"interval": [{"property": "start_datetime"}, {"property": "end_datetime"}]}


@pytest.mark.parametrize(
    "expression",
    [
        ANY,
        {"op": "and", "args": [ANY, ANY]},
        {"op": "not", "args": [ANY]},
        {"op": "in", "args": [TYPE, ["A", "B"]]},
        {"op": "like", "args": [TYPE, "OPER_%"]},
        {"op": "isNull", "args": [TYPE]},
        {"op": "between", "args": [{"property": "file:size"}, 1, 2]},
        {"op": "t_contains", "args": [VALIDITY, {"interval": ["2024-01-01T00:00:00Z", ".."]}]},
        {"op": "t_intersects", "args": [VALIDITY, {"interval": ["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"]}]},
        {"op": "=", "args": [{"op": "casei", "args": [TYPE]}, {"op": "casei", "args": ["a"]}]},
        {"op": ">", "args": [{"op": "+", "args": [{"property": "file:size"}, 1]}, 2]},
    ],
    ids=lambda expression: str(expression["op"]),
)
def test_a_cql2_filter_is_let_through_as_it_is(expression: Json) -> None:
    assert Cql2(filter=expression).filter == expression


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ({}, "it has no `op`"),
        ({"filter": ANY}, "it has no `op`"),
        ({"property": "id"}, "it has no `op`"),
        ({"op": "="}, "is no CQL2-JSON"),
        ({"op": "=", "args": TYPE}, "is no CQL2-JSON"),
        ({"op": "equals", "args": [TYPE, "A"]}, "does not know: equals"),
        ({"op": "AND", "args": [ANY, ANY]}, "does not know: AND"),
        ({"op": 5, "args": [TYPE, "A"]}, "does not know: 5"),
        ({"op": "and", "args": [ANY, {"op": "t_covers", "args": [TYPE, "A"]}]}, "does not know: t_covers"),
        ({"op": "x" * 10_000, "args": []}, "does not know: xxx"),
    ],
)
def test_what_is_no_cql2_filter_is_refused(expression: Json, said: str) -> None:
    with pytest.raises(Rejected, match="bad-filter") as raised:
        check_cql2(expression)
    assert said in raised.value.reason
    assert len(raised.value.reason) < 500


def test_a_filter_may_be_nested_fifty_levels_deep() -> None:
    expression: Json = {"op": "isNull", "args": [TYPE]}  # its deepest value is on level 3
    for _ in range(23):
        expression = {"op": "not", "args": [expression]}
    check_cql2(expression)

    with pytest.raises(Rejected, match="deeper than 50 levels"):
        check_cql2({"op": "not", "args": [expression]})


def test_a_filter_nested_beyond_measure_is_refused_and_harms_nothing() -> None:
    expression: Json = {"op": "isNull", "args": [TYPE]}
    for _ in range(100_000):
        expression = {"op": "not", "args": [expression]}
    try:
        with pytest.raises(Rejected, match="deeper than 50 levels"):
            check_cql2(expression)
    finally:
        while isinstance(args := expression.get("args"), list) and isinstance(args[0], dict):
            expression = args[0]  # freed level by level


def test_a_bare_expression_is_a_search_without_limit() -> None:
    assert Cql2.model_validate(ANY) == Cql2(filter=ANY)


def test_a_search_takes_one_sort_key_only() -> None:
    key = {"field": "created", "direction": "desc"}
    assert Cql2.model_validate({"filter": ANY, "sortby": [key]}).sortby == (SortKey(field="created", direction="desc"),)
    with pytest.raises(ValidationError, match="sortby"):
        Cql2.model_validate({"filter": ANY, "sortby": [key, key]})


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 0}, {"limit": "all"}, {"sortby": [{"field": ""}]}, {"sortby": [{"direction": "up"}]}, {"fields": []}],
)
def test_a_wrong_part_of_a_search_is_refused(wrong: Json) -> None:
    with pytest.raises(ValidationError):
        Cql2.model_validate({"filter": ANY, **wrong})


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ({"op": "=", "args": [TYPE, "A"]}, ["A"]),
        ({"op": "=", "args": ["A", {"property": "properties.product:type"}]}, ["A"]),
        ({"op": "in", "args": [TYPE, ["A", "B"]]}, ["A", "B"]),
        ({"op": "or", "args": [{"op": "=", "args": [TYPE, "A"]}, {"op": "=", "args": [TYPE, "B"]}]}, ["A", "B"]),
        ({"op": "and", "args": [{"op": "=", "args": [{"property": "id"}, "A"]}]}, []),
        ({"op": "not", "args": [{"op": "=", "args": [TYPE, "A"]}]}, []),
        ({"op": "=", "args": [TYPE, 5]}, []),
        ({"op": "=", "args": 5}, []),
        ("A", []),
    ],
)
def test_the_values_that_a_filter_demands_of_a_property_are_known(expression: object, values: list[str]) -> None:
    assert values_of("product:type", expression) == values
