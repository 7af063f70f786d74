"""A station that is a function: it answers a search with those of its items that the strict filter engine lets pass."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import cast

from local.stac.query import matcher
from shared.json_types import Json
from shared.selection import PolicySelection, choose
from shared.stac.item import Found, Item
from shared.stac.search import Cql2
from tests.unit.making import item_of

TYPE = "AUX"
_ASSETS: Json = {"product": {"href": "http://h/x"}}  # the same for all, so that no tie is decided by them


def offered(item_id: str, start: object, end: object, generated: object = None, **properties: object) -> Found:
    """An item as a station offers it."""
    stated = {"start_datetime": start, "end_datetime": end, "processing:datetime": generated, "product:type": TYPE}
    given = {name: value for name, value in {**stated, **properties}.items() if value is not None}
    return Found(item_id=item_id, item=item_of(item_id, properties=given, assets=_ASSETS))


class Offering:
    """A station's items, and the searches that it was asked.

    Attributes:
        searches: in their order.
    """

    def __init__(self, items: Iterable[Found]) -> None:
        self.items = list(items)
        self.searches: list[Cql2] = []

    def __call__(self, search: Cql2) -> Iterator[Found]:
        self.searches.append(search)
        matches = cast("Callable[[object], bool]", matcher(cast("dict[str, object]", search.filter)))
        return (one for one in self.items if one.item is None or matches(_comparable(one.item)))


def _comparable(item: Item) -> Json:
    # As a station holds it: it has parsed the instants, so that it can compare every spelling.
    properties = dict(item.properties)
    for name in ("start_datetime", "end_datetime"):
        if isinstance(text := properties.get(name), str):
            properties[name] = _rfc3339(text)
    return {"id": item.id, "collection": "aux", "properties": properties}


def _rfc3339(text: str) -> str:
    if text.startswith("9999"):
        return "9999-12-31T23:59:59Z"
    instant = datetime.fromisoformat(text)
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def selected(selection: PolicySelection, items: Sequence[Found]) -> list[Found]:
    """What a selection takes of a station's items, failed ones included."""
    return list(choose(selection, Offering(items)))


def ids(found: Iterable[Found]) -> list[str]:
    return [one.item_id for one in found]
