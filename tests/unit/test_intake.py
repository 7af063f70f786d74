"""Requests of other systems: what they may be, what they are refused with, and what is answered."""

import json

import pytest
from celery.exceptions import TaskRevokedError
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.answer import Answer, Status
from shared.codes import ADVICE
from shared.errors import Rejected
from tests.requests import BAD, ON_DEMAND, nested, raw, request
from tests.unit.making import item_json
from workers.contract import MESSAGES
from workers.intake import (
    MAX_ANSWER_BYTES,
    IntakeRequest,
    answer_of_error,
    answer_of_result,
    decode_request,
    return_address,
)

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
REFUSED_HERE = {name: case for name, case in BAD.items() if case[1] != "message-too-large"}


def test_a_request_needs_a_task_and_its_arguments_only() -> None:
    decoded = decode_request(raw(request()))
    assert (decoded.task, decoded.arguments, decoded.priority) == ("auxip.on_demand_staging", ON_DEMAND, "on-demand")
    assert (decoded.id, decoded.reply, decoded.traceparent) == (None, None, None)


def test_a_request_may_have_an_id_a_reply_list_a_priority_and_a_trace() -> None:
    decoded = decode_request(raw(request(id="a.b-c_1", reply="me-1", priority="bulk", traceparent=TRACE)))
    assert (decoded.id, decoded.reply, decoded.priority, decoded.traceparent) == ("a.b-c_1", "me-1", "bulk", TRACE)


def test_fields_that_may_be_left_out_may_be_null() -> None:
    assert decode_request(raw(request(id=None, reply=None, traceparent=None))).id is None


def test_arguments_are_passed_on_as_they_were_sent() -> None:
    arguments = {"env": {"owner_id": "a"}, "auxip_item": item_json(collection="aux", extra=nested(40))}
    assert decode_request(raw(request(task="auxip.unzip_decompress", arguments=arguments))).arguments == arguments


@pytest.mark.parametrize("name", REFUSED_HERE)
def test_a_bad_request_is_refused_with_its_code(name: str) -> None:
    text, code = REFUSED_HERE[name]
    with pytest.raises(Rejected) as refused:
        decode_request(text)
    assert refused.value.code == code
    assert refused.value.reason


def test_a_reason_names_the_field_and_not_what_it_holds() -> None:
    with pytest.raises(Rejected, match=r"^bad-message: traceparent: ") as refused:
        decode_request(raw(request(traceparent="hunter2")))
    assert "hunter2" not in refused.value.reason


def test_what_is_wrong_with_the_request_and_with_its_arguments_is_told_at_once() -> None:
    wrong = request(prioity="bulk", id=5, arguments={**ON_DEMAND, "plattform": "x", "before": "soon"})
    with pytest.raises(Rejected, match=r"^bad-message: ") as refused:
        decode_request(raw(wrong))
    for told in ("id: ", "the nearest is priority", "plattform: ", "the nearest is platform", "before: "):
        assert told in refused.value.reason


def test_an_unknown_task_is_told_with_the_nearest_one() -> None:
    with pytest.raises(Rejected, match=r"'auxip\.stagin', the nearest is auxip\.staging; there are auxip.search, "):
        decode_request(raw(request(task="auxip.stagin")))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (b"nonsense", (None, None)),
        (b"[1]", (None, None)),
        (b"[" * 9999, (None, None)),
        (raw(request(task=5, id="x", reply="me")), ("x", "me")),
        (raw(request(id="../x", reply="me")), (None, "me")),
        (raw(request(id="x", reply="auxip:runs")), ("x", None)),
        (raw(request(id=5, reply=[])), (None, None)),
    ],
)
def test_a_refused_request_is_answered_where_that_can_be_made_out(
    text: bytes, address: tuple[str | None, str | None]
) -> None:
    assert return_address(text) == address


def test_a_result_is_answered_whole() -> None:
    answer = json.loads(answer_of_result("x", {"id": "item"}))
    assert (answer["version"], answer["id"], answer["run"]) == (1, "x", None)
    assert (answer["status"], answer["result"], answer["error"]) == ("successful", {"id": "item"}, None)
    assert "items" not in answer


@pytest.mark.parametrize(
    ("result", "status"),
    [(None, "empty"), ([True, None], "empty"), ([False, None], "failed"), ([True, {"a": 1}], "successful")],
)
def test_the_status_of_an_answer_is_true_also_without_a_record_of_the_run(result: object, status: str) -> None:
    assert json.loads(answer_of_result("x", result))["status"] == status


def test_the_answer_to_a_run_is_what_became_of_the_run_and_its_result() -> None:
    run = Answer(id="x", run="x", status=Status.PARTIAL)
    answer = json.loads(answer_of_result("x", [False, None], run))
    assert (answer["run"], answer["status"], answer["result"]) == ("x", "partial", [False, None])


def test_a_result_that_is_too_large_is_left_out_and_the_answer_says_where_it_is() -> None:
    text = answer_of_result("x", "y" * MAX_ANSWER_BYTES)
    answer = json.loads(text)
    assert len(text) < 1000
    assert (answer["id"], answer["status"], answer["result"]) == ("x", "successful", None)
    assert "celery-task-meta-x" in answer["left_out"]


def test_an_error_is_answered_with_its_code_its_reason_and_what_to_do() -> None:
    answer = json.loads(answer_of_error("x", Rejected("bad-window", "it ends before it begins")))
    assert (answer["id"], answer["status"], answer["result"]) == ("x", "failed", None)
    assert answer["error"] == {
        "code": "bad-window",
        "reason": "it ends before it begins",
        "what_to_do": ADVICE["bad-window"],
    }


def test_an_error_that_is_not_ours_is_answered_without_what_it_says() -> None:
    text = answer_of_error("x", ValueError("hunter2"))
    assert json.loads(text)["error"]["code"] == "internal-error"
    assert "hunter2" not in text


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["\ud800", "x\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
_NAMES = st.sampled_from([*IntakeRequest.model_fields, *ON_DEMAND, "kwargs", "message", "self", "__type__"])


@st.composite
def _mutants(draw: st.DrawFn) -> bytes:
    whole = request(id="x", reply="me", priority="bulk", traceparent=TRACE)
    whole["arguments"] = dict(ON_DEMAND)
    for _ in range(draw(st.integers(1, 3))):
        part = draw(st.sampled_from([whole, whole.get("arguments")]))
        if not isinstance(part, dict):
            continue
        if draw(st.booleans()):
            part[draw(_NAMES)] = draw(_JSON)
        else:
            part.pop(draw(_NAMES), None)
    return raw(whole)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    text = bytearray(raw(request(id="x", reply="me")))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(text)))
        text[begin : begin + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(text)


@settings(max_examples=400, deadline=None)
@given(_mutants() | _damaged() | _JSON.map(raw) | st.binary(max_size=100))
def test_whatever_is_pushed_is_refused_or_can_be_passed_on(text: bytes) -> None:
    request_id, reply = return_address(text)
    assert all(part is None or ":" not in part for part in (request_id, reply))
    try:
        decoded = decode_request(text)
    except Rejected as refused:
        assert refused.reason  # noqa: PT017 - both ways are right
        return
    MESSAGES[decoded.task].model_validate(decoded.arguments)
    json.dumps(decoded.arguments, allow_nan=False, ensure_ascii=False).encode()


def test_a_task_that_was_revoked_is_answered_as_cancelled() -> None:
    answer = json.loads(answer_of_error("id", TaskRevokedError("revoked")))
    assert (answer["status"], answer["error"]["code"]) == ("cancelled", "cancelled")
