"""What an item differs in from what the catalog has shown of it, as a JSON Patch (RFC 6902)."""

from typing import Final

from pydantic import JsonValue

from shared.json_types import Json
from shared.stac.item import Item

_NAMED: Final = ("properties", "assets")
"""Members of an item that others add to: they are changed name by name."""

_GIVEN: Final = frozenset({"id", "type", "collection", "links", *_NAMED})
"""Members that no change of an item changes, or that the catalog itself makes."""


def changes(before: Item, after: Item) -> list[Json]:
    """Return the operations that make one item of another, and touch nothing else.

    A member that is null and one that is missing are the same: pgSTAC shows no nulls.
    """
    old, new = before.to_json(), after.to_json()
    operations = _changed("", *({name: body[name] for name in body if name not in _GIVEN} for body in (old, new)))
    for name in _NAMED:
        operations += _changed(f"/{name}", _object(old[name]), _object(new[name]))
    return operations


def _changed(path: str, old: Json, new: Json) -> list[Json]:
    added: list[Json] = [
        {"op": "add", "path": _pointer(path, name), "value": value}
        for name, value in new.items()
        if value is not None and _without_nulls(old.get(name)) != _without_nulls(value)
    ]
    gone = [name for name, value in old.items() if value is not None and new.get(name) is None]
    return added + [{"op": "remove", "path": _pointer(path, name)} for name in gone]


def _object(value: JsonValue) -> Json:
    return value if isinstance(value, dict) else {}


def _without_nulls(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return value


def _pointer(path: str, name: str) -> str:
    return f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
