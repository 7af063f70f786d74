"""The contract with other systems as one JSON Schema: a request, the arguments of each task, and the answer."""

from typing import Final, cast

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.answer import Answer
from shared.json_types import Json
from workers.contract import MESSAGES
from workers.intake import IntakeRequest

VERSION: Final = 1
"""A new field or task leaves it as it is. It grows where a request that was accepted is refused, or means another."""

_REF: Final = "#/$defs/{model}"


def contract() -> Json:
    """Return a JSON Schema 2020-12 that is valid for the requests that the gate accepts.

    Under `$defs` it has the arguments of each task by the name of the task, and `Answer`. What a schema cannot say is
    left to the gate: whether a filter is CQL2, a text a date, and a window one.
    """
    models: list[type[BaseModel]] = [IntakeRequest, *dict.fromkeys(MESSAGES.values())]
    _, accepted = models_json_schema([(each, "validation") for each in models], ref_template=_REF)
    _, answer = models_json_schema([(Answer, "serialization")], ref_template=_REF)
    definitions = {**cast("Json", answer["$defs"]), **cast("Json", accepted["$defs"])}
    request = cast("Json", definitions.pop(IntakeRequest.__name__))
    tasks: Json = {task: {"$ref": _REF.format(model=message.__name__)} for task, message in MESSAGES.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:auxip-workers:contract:{VERSION}",
        "version": VERSION,
        **request,
        "title": "A request on the list auxip:intake",
        "allOf": [_tied(task) for task in MESSAGES],
        "$defs": {**definitions, **tasks},
    }


def _tied(task: str) -> Json:
    """The arguments of a request for a task are those of the task."""
    return {
        "if": {"properties": {"task": {"const": task}}, "required": ["task"]},
        "then": {"properties": {"arguments": {"$ref": _REF.format(model=task)}}},
    }
