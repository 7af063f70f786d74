"""Requests as other systems push them onto the intake: a good one, and bad ones with what each is refused with."""

import json
from typing import Any

from shared.json_types import Json

ON_DEMAND: Json = {
    "env": {"owner_id": "operations"},
    "product_type": "NO_SUCH_TYPE",
    "policy": "LatestGeneration",
    "catalog_collection_identifier": "aux",
}


def request(**fields: object) -> dict[str, Any]:
    return {"task": "auxip.on_demand_staging", "arguments": ON_DEMAND, **fields}


def raw(value: object) -> bytes:
    return json.dumps(value).encode()


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in request().items() if key != name}


def argument(**fields: object) -> bytes:
    return raw(request(arguments={**ON_DEMAND, **fields}))


def nested(levels: int) -> Json:
    value: Json = {}
    for _ in range(levels):
        value = {"a": value}
    return value


BAD: dict[str, tuple[bytes, str]] = {
    name: (text, code)
    for code, texts in {
        "bad-message": {
            "nothing": b"",
            "no JSON": b"nonsense",
            "binary": bytes(range(256)),
            "an array": b"[1, 2]",
            "null": b"null",
            "nested without end": b"[" * 100_000,
            "nested deep": raw(request(arguments=nested(60))),
            "NaN": b'{"task": NaN}',
            "a number that is too large": raw(request()).replace(b'"NO_SUCH_TYPE"', b"1e999"),
            "an integer without end": raw(request()).replace(b'"NO_SUCH_TYPE"', b"9" * 5000),
            "half a character": raw(request()).replace(b"NO_SUCH_TYPE", b"\\ud800"),
            "a trap": argument(env={"__type__": "uuid", "__value__": 5}),
            "a value of another type": argument(env={"__type__": "bytes", "__value__": "x"}),
            "no task": raw(without("task")),
            "task is a list": raw(request(task=["auxip.search"])),
            "no arguments": raw(without("arguments")),
            "arguments are a list": raw(request(arguments=[1])),
            "a field that there is not": raw(request(kwargs={})),
            "id is a number": raw(request(id=5)),
            "id is a path": raw(request(id="../x")),
            "id is empty": raw(request(id="")),
            "id ends its line": raw(request(id="x\n")),
            "id is too long": raw(request(id="x" * 129)),
            "reply is a key": raw(request(reply="a:b")),
            "reply is a list": raw(request(reply=["a"])),
            "priority is a number": raw(request(priority=9)),
            "an unknown priority": raw(request(priority="urgent")),
            "no trace": raw(request(traceparent="00-1-2-3")),
        },
        "unknown-task": {
            "an unknown task": raw(request(task="no.such.task")),
            "a task of ours": raw(request(task="auxip.clean_uploads")),
            "a step": raw(request(task="auxip.step.close_run", arguments={"run_id": "x"})),
        },
        "bad-request": {
            "an argument that there is not": argument(no_such_argument=1),
            "an argument with a name of ours": argument(message="x", self="y", fields={}),
            "an argument is missing": raw(request(arguments={})),
            "an owner that is a path": argument(env={"owner_id": "../x"}),
        },
        "bad-window": {"a policy without its window": argument(policy="ValCover")},
        "bad-filter": {
            "a filter that is none": raw(
                {
                    "task": "auxip.search",
                    "arguments": {"env": {"owner_id": "a"}, "auxip_cql2": {"op": "~", "args": []}},
                }
            )
        },
        "message-too-large": {"more than 1 MiB": argument(platform="x" * 2**20)},
    }.items()
    for name, text in texts.items()
}
