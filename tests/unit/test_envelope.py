"""What is let through to Celery: every message that works, and none that Celery fails at."""

import base64
import json
import pickle
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import InvalidTaskError
from celery.worker import state
from celery.worker.strategy import default as strategy_of
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu.transport.virtual import Channel, Message

from shared.errors import Rejected
from tests.messages import ARGUMENTS, bad_messages, envelope, raw
from workers.envelope import MAX_BODY_BYTES, decode
from workers.request import Request

TASK = "any.task"
BAD = {name: text for name, (text, code) in bad_messages(TASK).items() if code == "bad-message"}


def _of_any(*args: object, **kwargs: object) -> object:
    return args, kwargs


def _of_one(one: object) -> object:
    return one


class Receiver:
    """As much of a worker as a message meets before the pool; what the pool would be sent is pickled, as it does."""

    def __init__(self) -> None:
        self.app = Celery("receiver", broker="memory://", set_as_current=False)
        self.app.conf.accept_content = ["json"]
        self.task = self.app.task(name=TASK, shared=False)(_of_any)
        self.task.Request = Request  # type: ignore[assignment]  # a class will do as well
        self.sent = 0

    def receive(self, message: dict[str, Any]) -> None:
        channel: Any = SimpleNamespace(codecs=Channel.codecs, no_ack_consumers=None)
        channel.decode_body = lambda body, encoding: Channel.decode_body(channel, body, encoding)
        built = Message(message, channel=channel)
        ignore = lambda *_: None  # noqa: E731
        handler = strategy_of(self.task, self.app, self._consumer())
        assert isinstance(built.headers["task"], str)
        handler(built, None, ignore, ignore, [])

    def _consumer(self) -> SimpleNamespace:
        pool = SimpleNamespace(apply_async=self._apply)
        return SimpleNamespace(
            hostname="here",
            connection_errors=(),
            event_dispatcher=None,
            timer=SimpleNamespace(call_at=lambda eta, *_, **__: float(eta)),
            apply_eta_task=None,
            disable_rate_limits=True,
            task_buckets={},
            on_task_request=lambda request: request.execute_using_pool(pool),
            _limit_task=None,
            _limit_post_eta=None,
            pool=pool,
            qos=SimpleNamespace(increment_eventually=lambda: None),
            controller=SimpleNamespace(state=state),
        )

    def _apply(self, _: object, args: object, *, soft_timeout: float | None, timeout: float | None, **__: Any) -> None:
        pickle.dumps(args)
        assert all(limit is None or limit > 0 for limit in (soft_timeout, timeout))
        self.sent += 1


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    yield Receiver()
    state.reset_state()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_message_is_refused_with_the_place_of_its_fault(name: str) -> None:
    with pytest.raises(Rejected, match=r"^bad-message: [a-z]"):
        decode(BAD[name])


def test_a_reason_does_not_repeat_what_the_message_holds() -> None:
    message = envelope(TASK, [[], {}, {"errbacks": ["hunter2"]}], timelimit="hunter2")
    with pytest.raises(Rejected) as refused:
        decode(raw(message))
    assert "hunter2" not in refused.value.reason


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"eta": "2024-03-25T09:00:00+00:00", "expires": None, "retries": 3, "timelimit": [None, None], "group": None},
        {"eta": "2024-03-25T09:00:00.123456"},
        {"expires": "2999-03-25T09:00:00Z", "timelimit": [30, 20.5], "ignore_result": True},
        {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "baggage": {"a": 1}},
        {"stamped_headers": ["by"], "stamps": {"by": ["me"]}, "shadow": "other", "argsrepr": "()", "group_index": 0},
    ],
)
def test_what_celery_clients_send_is_let_through_unchanged(receiver: Receiver, headers: dict[str, Any]) -> None:
    message = envelope(TASK, **headers)
    assert decode(raw(message)) == message
    receiver.receive(message)


@pytest.mark.parametrize("encoding", ["utf-8", None])
def test_a_body_may_stand_as_it_is(receiver: Receiver, encoding: str | None) -> None:
    message = envelope(TASK)
    message["body"] = json.dumps(ARGUMENTS)
    message["properties"]["body_encoding"] = encoding
    receiver.receive(decode(raw(message)))


def test_arguments_that_do_not_fit_their_task_make_no_request() -> None:
    receiver = Receiver()
    receiver.task = receiver.app.task(name="of.one", shared=False)(_of_one)
    receiver.task.Request = Request  # type: ignore[assignment]
    with pytest.raises(InvalidTaskError, match=r"of\.one: .*argument"):
        receiver.receive(envelope("of.one", [[1, 2], {}, None]))
    assert receiver.sent == 0


def eta_of(monkeypatch: pytest.MonkeyPatch, task: str, seconds: float) -> float:
    """Seconds that a worker waits with a message that another machine has put off for so many."""
    monkeypatch.setattr("workers.request._longest_wait", lambda: timedelta(seconds=120))
    receiver = Receiver()
    receiver.task = receiver.app.task(name=task, shared=False)(_of_any)
    channel: Any = SimpleNamespace(codecs=Channel.codecs, no_ack_consumers=None)
    channel.decode_body = lambda body, encoding: Channel.decode_body(channel, body, encoding)
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    message = Message(envelope(task, eta=until.isoformat()), channel=channel)
    request = Request(message, app=receiver.app, task=receiver.task)
    assert request.eta is not None
    return float((request.eta - datetime.now(UTC)).total_seconds())


def test_a_step_is_put_off_no_longer_than_any_has_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    assert eta_of(monkeypatch, "auxip.step.stage_item", 3600) == pytest.approx(120, abs=5)
    assert eta_of(monkeypatch, "auxip.step.stage_item", 60) == pytest.approx(60, abs=5)


def test_what_a_caller_puts_off_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert eta_of(monkeypatch, "auxip.staging", 3600) == pytest.approx(3600, abs=5)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["", "1", "é", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
_HEADER = st.sampled_from(
    "task id eta expires retries timelimit group group_index shadow root_id parent_id argsrepr stamps stamped_headers "
    "ignore_result replaced_task_nesting compression get update args kwargs delivery_info _children utc headers".split()
)
_SIGNATURE: dict[str, Any] = {
    "task": TASK,
    "args": [],
    "kwargs": {},
    "options": {},
    "subtask_type": None,
    "immutable": True,
}


def _whole() -> dict[str, Any]:
    embed = {"callbacks": [_SIGNATURE], "errbacks": [_SIGNATURE], "chain": [_SIGNATURE], "chord": _SIGNATURE}
    message = envelope(TASK, [[1], {"a": 2}, embed], retries=1, timelimit=[5, 4], eta="2024-03-25T09:00:00+00:00")
    message["properties"] |= {"priority": 0, "correlation_id": "x", "reply_to": "y"}
    return message


def _places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return (
        [path, *(place for key, each in inner for place in _places(each, (*path, key)))]
        if path
        else [place for key, each in inner for place in _places(each, (key,))]
    )


def _changed(value: Any, place: tuple[Any, ...], new: object, *, gone: bool) -> None:
    for key in place[:-1]:
        value = value[key]
    if gone:
        del value[place[-1]]
    else:
        value[place[-1]] = new


@st.composite
def _mutants(draw: st.DrawFn) -> bytes:
    message = _whole()
    body = json.loads(base64.b64decode(message["body"]))
    for _ in range(draw(st.integers(1, 3))):
        part = draw(st.sampled_from([message, body]))
        places = _places(part)
        if places:
            _changed(part, draw(st.sampled_from(places)), draw(_JSON), gone=draw(st.booleans()))
    if isinstance(message.get("headers"), dict):
        message["headers"].update(draw(st.dictionaries(_HEADER, _JSON, max_size=2)))
    if isinstance(message.get("body"), str) and draw(st.booleans()):
        message["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    return raw(message)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    text = bytearray(raw(_whole()))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(text)))
        text[begin : begin + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(text)


@settings(max_examples=400, deadline=None)
@given(_mutants() | _damaged() | _JSON.map(raw) | st.binary(max_size=100))
def test_whatever_stands_on_a_queue_is_refused_or_does_not_make_celery_fail(receiver: Receiver, text: bytes) -> None:
    try:
        message: Any = decode(text)
    except Rejected as refused:
        assert refused.code == "bad-message"  # noqa: PT017 - both ways are right
        return
    if message["headers"]["task"] == TASK:
        receiver.receive(message)


@pytest.mark.parametrize(("more", "is_taken"), [(0, True), (1, False)])
def test_a_body_may_unpack_to_eight_mebibytes_and_not_to_a_byte_more(more: int, is_taken: bool) -> None:
    body = json.dumps(ARGUMENTS).encode()
    body += b" " * (MAX_BODY_BYTES - len(body) + more)
    message = envelope(TASK, compression="application/x-gzip")
    message["body"] = base64.b64encode(zlib.compress(body)).decode()
    if is_taken:
        assert base64.b64decode(str(decode(raw(message))["body"])) == body
    else:
        with pytest.raises(Rejected, match="message-too-large"):
            decode(raw(message))
