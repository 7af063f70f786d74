"""Named queries: placeholders become values and nothing else, instants are computed, and a wrong file says where."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from shared.errors import Rejected
from shared.json_types import Json
from shared.selection import NamedQuery, fill
from shared.settings import SettingsError
from shared.stac.search import Cql2, SortKey

QUERIES = Path(__file__).parents[2] / "data" / "queries.json"
TYPE: Json = {"property": "product:type"}
CREATED: Json = {"property": "created"}
VALUES: dict[str, object] = {
    "product_type": "AUX",
    "start_datetime": "2024-03-25T11:00:00+02:00",
    "end_datetime": "20240325T092500",
    "dTa": 6000,
    "dTb": "7000s",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "queries.json"


def call(query: str, **parameters: object) -> NamedQuery:
    return NamedQuery.model_validate({"query": query, "parameters": parameters})


def filled(file: Path, expression: JsonValue, **parameters: object) -> Json:
    """What a filter comes to with these parameters."""
    query: Json = {"name": "Q", "parameters": [*parameters], "stac": {"filter": expression}}
    file.write_text(json.dumps([query]))
    return fill(file, call("Q", **parameters)).filter


def equals(value: JsonValue, property_: Json = TYPE) -> Json:
    return {"op": "=", "args": [property_, value]}


def test_a_query_becomes_a_search_with_its_order_and_limit_and_its_instants_in_utc() -> None:
    search = fill(QUERIES, call("Touching", **VALUES))
    validity: Json = {"interval": [{"property": "start_datetime"}, {"property": "end_datetime"}]}
    window: Json = {"interval": ["2024-03-25T07:20:00Z", "2024-03-25T11:21:40Z"]}

    assert search == Cql2(
        filter={"op": "and", "args": [equals("AUX"), {"op": "t_intersects", "args": [validity, window]}]},
        sortby=(SortKey(field="created", direction="desc"),),
        limit=1,
    )


@pytest.mark.parametrize("value", ["S1A", 5, 2.5, True])
def test_a_string_that_is_one_placeholder_becomes_the_value_with_its_type(file: Path, value: JsonValue) -> None:
    answer = filled(file, equals("{a}"), a=value)
    assert answer == equals(value)
    assert type(answer["args"][1]) is type(value)  # type: ignore[index]


def test_within_a_longer_string_a_placeholder_becomes_its_text(file: Path) -> None:
    expression: Json = {"op": "like", "args": [TYPE, "{unit}_{number}_%"]}
    assert filled(file, expression, unit="S1A", number=5) == {"op": "like", "args": [TYPE, "S1A_5_%"]}


def test_a_value_that_looks_like_a_placeholder_stays_as_it_is(file: Path) -> None:
    answer = filled(file, {"op": "and", "args": [equals("{a}"), equals("{a}{b}")]}, a="{b}", b="secret")
    assert answer == {"op": "and", "args": [equals("{b}"), equals("{b}secret")]}


@settings(max_examples=20, deadline=None)  # the CQL2 parser takes its time
@given(value=st.text(max_size=100) | st.sampled_from(['"}', '{"op": "not"}', "'; --", "{a}", "\\", '", "x": "']))
def test_no_value_changes_the_structure_of_a_filter(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    file = tmp_path_factory.getbasetemp() / "injection.json"
    answer = filled(file, {"op": "and", "args": [equals("{a}"), equals("x{a}")]}, a=value)
    assert answer == {"op": "and", "args": [equals(value), equals(f"x{value}")]}


@pytest.mark.parametrize(
    "value", [{"op": "not", "args": []}, ["A"], None, "x" * 1025, float("nan"), float("inf")], ids=lambda v: str(v)[:9]
)
def test_a_value_is_a_text_a_number_or_a_truth(value: object) -> None:
    with pytest.raises(ValidationError, match="parameters"):
        call("Q", a=value)


@pytest.mark.parametrize(
    ("operation", "instant"),
    [
        ({"op": "-", "args": ["{t}", "{d}"]}, "2024-03-25T08:45:00Z"),
        ({"op": "+", "args": ["{t}", "{d}"]}, "2024-03-25T09:15:00Z"),
        ({"op": "+", "args": ["{t}", 1.5]}, "2024-03-25T09:00:01.500Z"),
        ({"op": "+", "args": [{"timestamp": "{t}"}, "1d"]}, "2024-03-26T09:00:00Z"),
        ({"op": "-", "args": [{"op": "+", "args": ["{t}", "{d}"]}, "{d}"]}, "2024-03-25T09:00:00Z"),
    ],
)
def test_an_instant_and_a_duration_are_computed_before_the_search_is_sent(
    file: Path, operation: Json, instant: str
) -> None:
    computed: Json = {"timestamp": instant}
    beyond: Json = {"interval": [operation, ".."]}
    expression: Json = {
        "op": "and",
        "args": [{"op": ">=", "args": [CREATED, operation]}, {"op": "t_intersects", "args": [CREATED, beyond]}],
    }
    assert filled(file, expression, t="2024-03-25T10:00:00+01:00", d="15m") == {
        "op": "and",
        "args": [
            {"op": ">=", "args": [CREATED, computed]},
            {"op": "t_intersects", "args": [CREATED, {"interval": [instant, ".."]}]},
        ],
    }


def test_a_timestamp_goes_out_in_utc(file: Path) -> None:
    answer = filled(file, equals({"timestamp": "{t}"}, CREATED), t="2024-03-25T10:00:00+01:00")
    assert answer == equals({"timestamp": "2024-03-25T09:00:00Z"}, CREATED)


def test_arithmetic_of_properties_is_left_to_the_station(file: Path) -> None:
    size: Json = {"property": "file:size"}
    expression: Json = {"op": ">", "args": [{"op": "+", "args": [size, "{n}"]}, 5]}
    assert filled(file, expression, n=1) == {"op": ">", "args": [{"op": "+", "args": [size, 1]}, 5]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dTa": "long"}, "bad-parameter: 'long' is no duration"),
        ({"dTa": "9999999d"}, "bad-parameter: .*too long a duration"),
        ({"start_datetime": "0001-01-01T00:00:00Z", "dTa": "1d"}, "bad-parameter: .* out of the calendar"),
        ({"dTa": "9" * 30}, "bad-parameter: .* too long a duration"),
        ({"start_datetime": "soon"}, "bad-datetime: 'soon'"),
        ({"dTc": 1}, "bad-parameter: the query 'Touching' does not know dTc"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(Rejected, match=said):
        fill(QUERIES, call("Touching", **{**VALUES, **changes}))


def test_a_parameter_that_is_missing_is_named() -> None:
    given_ = {name: value for name, value in VALUES.items() if name not in ("dTb", "product_type")}
    with pytest.raises(Rejected, match="bad-parameter: the query 'Touching' needs product_type, dTb"):
        fill(QUERIES, call("Touching", **given_))


def test_a_query_that_is_unknown_is_told_with_those_there_are() -> None:
    with pytest.raises(Rejected, match=r"unknown-query: no query 'touching' .* it has: Touching, Published, "):
        fill(QUERIES, call("touching"))


def test_without_a_file_there_are_no_queries() -> None:
    with pytest.raises(Rejected, match=r"unknown-query: .* it has: none"):
        fill(None, call("Touching"))


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ({"name": "Q"}, "0.stac: Field required"),
        ({"stac": {"filter": equals("x")}}, "0.name: Field required"),
        ({"name": "Q", "stac": {"filter": equals("x")}, "sortBy": []}, "0.sortBy: Extra inputs"),
        ({"name": "Q", "stac": {"filter": equals("x"), "limit": 0}}, "0.stac.limit: "),
        ({"name": "Q", "stac": {"filter": equals("{a}")}}, r"Q: \['a'\] are not among its parameters"),
        ({"name": "Q", "stac": {"filter": {"property": "id"}}}, "bad-filter: .* no `op`"),
        ({"name": "Q", "stac": {"filter": {"op": "t_covers", "args": []}}}, "bad-filter: .* t_covers"),
        ({"name": "Q", "parameters": ["op"], "stac": {"filter": {"op": "{op}", "args": []}}}, "bad-filter: .*{op}"),
        (
            {"name": "Q", "parameters": ["p"], "stac": {"filter": equals("x", {"property": "{p}"})}},
            "Q: a placeholder cannot be a key, an op or a property",
        ),
        (
            {"name": "Q", "parameters": ["p"], "stac": {"filter": {"op": "=", "args": [{"{p}": "id"}, "x"]}}},
            "Q: a placeholder cannot be a key, an op or a property",
        ),
    ],
)
def test_a_wrong_definition_is_refused_with_its_place(file: Path, definition: Json, said: str) -> None:
    file.write_text(json.dumps([definition]))
    with pytest.raises(SettingsError, match=f"bad-setting: AUXIP_QUERIES_FILE {file}: .*{said}") as raised:
        fill(file, call("Q"))
    assert "\n" not in raised.value.reason


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ("{not json", "Expecting property name"),
        ("{}", "valid list"),
        ("[" * 100_000, "too deeply"),
        (" " * (2**20 + 1), "larger than 1048576 bytes"),
        ('[{"name": "Q", "stac": {"filter": ' + '{"op": "not", "args": [' * 60 + "1" + "]}" * 60 + "}}]", "50 levels"),
    ],
)
def test_a_file_that_holds_no_queries_is_refused(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError, match=said):
        fill(file, call("Q"))


def test_a_name_that_is_given_twice_is_refused(file: Path) -> None:
    file.write_text(json.dumps([{"name": "Q", "stac": {"filter": equals("x")}}] * 2))
    with pytest.raises(SettingsError, match=r"\['Q'\] are given twice"):
        fill(file, call("Q"))


def test_a_file_that_is_missing_is_named(file: Path) -> None:
    with pytest.raises(SettingsError, match=f"bad-setting: AUXIP_QUERIES_FILE {file}: .*No such file"):
        fill(file, call("Q"))


def test_values_that_make_no_cql2_of_a_query_are_refused(file: Path) -> None:
    with pytest.raises(Rejected, match="bad-filter"):
        filled(file, {"op": "like", "args": [TYPE, "{a}"]}, a=5)
