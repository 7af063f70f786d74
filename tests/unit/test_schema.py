"""The contract as a JSON Schema: it says all that it can, and agrees with the gate."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from shared.answer import Answer, Status
from shared.errors import Rejected
from tests.requests import raw
from tests.unit.making import ANY
from tests.unit.test_contract import VALID
from workers.contract import MESSAGES
from workers.intake import IntakeRequest, decode_request
from workers.schema import contract

SCHEMA: Any = contract()
VALIDATOR = Draft202012Validator(SCHEMA)
BEYOND = {"bad-filter", "bad-datetime", "bad-window", "bad-scene"}
"""What a schema cannot say."""
MEANT = ("auxip_item.collection is missing", "is no path in an archive", "strip removes folders")
"""Nor what is said with the code `bad-request` in these words."""


def definition(name: str) -> Any:
    found = SCHEMA["$defs"][name]
    return definition(found["$ref"].rpartition("/")[2]) if "$ref" in found else found


def test_the_schema_is_one_of_2020_12_with_an_id_and_a_version() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert (SCHEMA["$id"], SCHEMA["version"]) == ("urn:auxip-workers:contract:1", 1)


def test_the_schema_has_the_fields_of_a_request_each_with_its_meaning() -> None:
    assert set(SCHEMA["properties"]) == set(IntakeRequest.model_fields)
    assert all(field["description"] for field in SCHEMA["properties"].values())
    assert SCHEMA["properties"]["task"]["enum"] == [*MESSAGES]
    assert SCHEMA["required"] == ["task", "arguments"]
    assert SCHEMA["additionalProperties"] is False


@pytest.mark.parametrize("task", MESSAGES)
def test_the_schema_has_the_arguments_of_each_task_with_their_meaning(task: str) -> None:
    arguments = definition(task)
    assert set(arguments["properties"]) == set(MESSAGES[task].model_fields)
    assert [name for name, field in arguments["properties"].items() if not field.get("description")] == []
    assert arguments["additionalProperties"] is False
    assert arguments["description"].startswith(f"`{task}`")


def test_the_schema_has_the_answer() -> None:
    answer = definition("Answer")
    assert set(answer["properties"]) == set(Answer.model_fields)
    assert all(field["description"] for field in answer["properties"].values())
    said = Answer(id="x", status=Status.EMPTY).model_dump(mode="json")
    assert Draft202012Validator({**answer, "$defs": SCHEMA["$defs"]}).is_valid(said)


@pytest.mark.parametrize("task", MESSAGES)
def test_a_request_with_the_documented_arguments_is_valid(task: str) -> None:
    assert VALIDATOR.is_valid({"task": task, "arguments": VALID[MESSAGES[task]]})


def test_the_arguments_of_one_task_are_not_valid_for_another() -> None:
    assert not VALIDATOR.is_valid({"task": "auxip.search", "arguments": VALID[MESSAGES["auxip.staging"]]})


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text("aZ9_.-/: ", max_size=5),
    st.sampled_from(
        [
            "60",
            "ValCover",
            "flat",
            "2024-03-25T09:00:00Z",
            1711357200,
            ["ValCover"],
            ["ValCover"] * 16,
            [],
            ["a", ""],
            ["**/a", "../a"],
            5.0,
            {},
            ANY,
            {"filter": ANY},
            {"filter": ANY, "limit": "5"},
            {"filter": ANY, "limit": 5.0},
            {"filter": ANY, "limit": 0},
            {"filter": ANY, "limits": 5},
            {"filter": ANY, "sortby": [{"field": "created", "direction": "up"}]},
            {"filter": ANY, "query": "Q"},
            {"query": "Q", "op": "="},
            {"query": "Q", "parameters": {"a": 1, "b": True, "c": "x"}},
            {"query": "Q", "parameters": {"": 1}},
            {"query": "Q", "parameters": {"a": None}},
            {"owner_id": "a"},
            {"owner_id": "a/b", "span": 1},
            {"owner_id": "a", "span": 1},
        ]
    ),
)


@st.composite
def _requests(draw: st.DrawFn) -> dict[str, Any]:
    task = draw(st.sampled_from([*MESSAGES]))
    message = MESSAGES[task]
    arguments = {**VALID[message]}
    names = st.sampled_from([*message.model_fields, "typing_eror"])
    for _ in range(draw(st.integers(0, 3))):
        name = draw(names)
        if draw(st.integers(0, 3)):
            arguments[name] = draw(_VALUES)
        else:
            arguments.pop(name, None)
    fields = draw(
        st.dictionaries(st.sampled_from(["id", "reply", "priority", "traceparent", "more"]), _VALUES, max_size=1)
    )
    return {"task": task, "arguments": arguments, **fields}


@settings(max_examples=30, deadline=None)
@given(_requests())
def test_the_schema_and_the_gate_agree(request: dict[str, Any]) -> None:
    agree(request)


@pytest.mark.long
@pytest.mark.timeout(600)
@settings(max_examples=600, deadline=None)
@given(_requests())
def test_the_schema_and_the_gate_agree_about_many_requests(request: dict[str, Any]) -> None:
    agree(request)


def agree(request: dict[str, Any]) -> None:
    try:
        decode_request(raw(request))
    except Rejected as error:
        code, reason = error.code, error.reason
    else:
        code, reason = "", ""
    if code in BEYOND or any(each in reason for each in MEANT):
        return
    assert VALIDATOR.is_valid(request) is (not code), f"{code}: {reason}"
