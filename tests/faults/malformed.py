"""Messages that no worker can read, as a fault, a broken client or another version may leave them on a task queue."""

import base64
import json
import pickle
import uuid

_Message = dict[str, object]


def _body(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def _whole() -> _Message:
    tag = str(uuid.uuid4())
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return {
        "body": _body([["no-such-run", "no-such-item"], {}, embed]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": "auxip.step.settle_item", "id": tag},
        "properties": {
            "delivery_tag": tag,
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "runs"},
        },
    }


def _without(part: str, name: str) -> _Message:
    message = _whole()
    inner = message[part]
    assert isinstance(inner, dict)
    return {**message, part: {key: value for key, value in inner.items() if key != name}}


def _with_header(name: str, value: object) -> _Message:
    message = _whole()
    headers = message["headers"]
    assert isinstance(headers, dict)
    return {**message, "headers": {**headers, name: value}}


_ENVELOPES: list[_Message] = [
    _with_header("task", "auxip.no_such_task"),
    _with_header("task", ["auxip.staging"]),
    _with_header("eta", "soon"),
    _with_header("timelimit", "never"),
    {**_whole(), "body": _body([[1, 2, 3, 4, 5, 6, 7], {}, {}])},
    {**_whole(), "body": base64.b64encode(b"no JSON").decode()},
    {**_whole(), "body": "no base64 !"},
    {**_whole(), "body": _body({"run_id": "no list"})},
    {
        **_whole(),
        "content-type": "application/x-python-serialize",
        "content-encoding": "binary",
        "body": base64.b64encode(pickle.dumps([[], {}, {}])).decode(),
    },
    {**_whole(), "headers": None},
    _without("headers", "id"),
    _without("properties", "delivery_tag"),
    _without("properties", "delivery_info"),
    {key: value for key, value in _whole().items() if key != "properties"},
]

MALFORMED: tuple[bytes, ...] = (
    *(json.dumps(envelope).encode() for envelope in _ENVELOPES),
    b"no JSON",
    b"[]",
    b"null",
    b"\x80\x04\x95\xff\x00",
    b"",
)
"""One for each way to be malformed."""
