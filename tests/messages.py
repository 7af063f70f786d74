"""Task messages as other systems write them by hand: a good one, and bad ones that end a stock worker."""

import base64
import json
import uuid
from typing import Any

ARGUMENTS = [[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


def envelope(task: str, body: object = ARGUMENTS, queue: str = "runs", **headers: Any) -> dict[str, Any]:
    """A task message that works."""
    task_id = str(uuid.uuid4())
    return {
        "headers": {"task": task, "id": task_id, **headers},
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "properties": {
            "delivery_tag": task_id,
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": queue},
        },
    }


def raw(message: object) -> bytes:
    return json.dumps(message).encode()


def bad_messages(task: str) -> dict[str, tuple[bytes, str]]:
    """What stands on a queue, by its name, with the code that it is to be buried with."""
    good = envelope(task)
    return {name: (text, code) for code, texts in _bad(task, good).items() for name, text in texts.items()}


def _bad(task: str, good: dict[str, Any]) -> dict[str, dict[str, bytes]]:
    return {
        "unknown-task": {"an unknown task": raw(envelope("no.such.task"))},
        "bad-arguments": {
            "wrong arguments": raw(envelope(task, [[], {"no_such_argument": 1}, None])),
            "too many arguments": raw(envelope(task, [[1] * 50, {}, None])),
        },
        "message-too-large": {"more than 8 MiB": b"x" * (8 * 2**20 + 1)},
        "bad-message": {
            "no JSON": b"nonsense",
            "nothing": b"",
            "binary": bytes(range(256)),
            "an array": b"[1, 2]",
            "null": b"null",
            "a number": b"17",
            "nested without end": b"[" * 100_000,
            "an object with a trap": b'{"__type__": "uuid", "__value__": 5}',
            "no headers": raw({**good, "headers": None}),
            "no id": raw({**good, "headers": {"task": task}}),
            "task is a list": raw({**good, "headers": {"task": [task], "id": "x"}}),
            "no properties": raw({name: value for name, value in good.items() if name != "properties"}),
            "no delivery_info": raw({**good, "properties": {"delivery_tag": "x", "body_encoding": "base64"}}),
            "no delivery_tag": raw(
                {
                    **good,
                    "properties": {"delivery_info": good["properties"]["delivery_info"], "body_encoding": "base64"},
                }
            ),
            "body is no base64": raw({**good, "body": "%%%"}),
            "body is no text": raw({**good, "body": 5}),
            "body is no JSON": raw({**good, "body": base64.b64encode(b"{").decode()}),
            "body is an object": raw(envelope(task, {})),
            "body is a pair": raw(envelope(task, [[], {}])),
            "arguments by name are a list": raw(envelope(task, [[], [], None])),
            "pickle": raw(
                {
                    **good,
                    "content-type": "application/x-python-serialize",
                    "content-encoding": "binary",
                    "body": "gAR9lC4=",
                }
            ),
            "compressed": raw(envelope(task, compression="application/x-gzip")),
            "broken timelimit": raw(envelope(task, timelimit="soon")),
            "timelimit of one": raw(envelope(task, timelimit=[1])),
            "timelimit of texts": raw(envelope(task, timelimit=["1", "2"])),
            "broken eta": raw(envelope(task, eta="tomorrow")),
            "eta before all time zones": raw(envelope(task, eta="0001-01-01T00:00:00")),
            "empty eta": raw(envelope(task, eta="")),
            "eta is a number": raw(envelope(task, eta=5)),
            "broken expires": raw(envelope(task, expires=[])),
            "retries is a text": raw(envelope(task, retries="5")),
            "a header that hides a method": raw(envelope(task, update=5)),
            "errbacks are numbers": raw(envelope(task, [[], {}, {"errbacks": [5]}])),
            "embedded settings": raw(envelope(task, [[], {}, {"delivery_info": 5}])),
        },
    }
