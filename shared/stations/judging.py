"""What a station offers, judged here by the filter of a search: for stations that know no CQL2."""

import heapq
from collections.abc import Iterable, Iterator
from itertools import islice

from pydantic import ValidationError

from shared.errors import ItemFailed
from shared.json_types import Json
from shared.stac.item import Found, offered_item
from shared.stac.matching import compiled
from shared.stac.requirements import bad_item
from shared.stac.search import Cql2, SortKey
from shared.validation import first_problem


def judged(found: Iterable[Found], search: Cql2) -> Iterator[Found]:
    """Yield what a search selects of a station's offers, in its order and up to its limit.

    What cannot be read as an item comes last where there is an order, since it has no place in it.
    """
    matches = compiled(search.filter)
    selected = (one for one in found if one.item is None or matches(one.item))
    yield from islice(_sorted(selected, search), search.limit)


def found_of(feature: Json, station: str) -> Found:
    """Return an item that we have made of what a station says, or what is wrong with it."""
    name = str(feature["id"])
    try:
        return Found(item_id=name, station=station, item=offered_item(feature))
    except ItemFailed as error:
        return Found.unusable(name, error.code, error.reason, station)
    except ValidationError as error:
        malformed = bad_item(first_problem(error))
        return Found.unusable(name, malformed.code, malformed.reason, station)


def _sorted(found: Iterator[Found], search: Cql2) -> Iterable[Found]:
    """Sort; with a limit no more than so many items are in memory."""
    if not search.sortby:
        return found
    (key,) = search.sortby
    if search.limit is None:
        return sorted(found, key=lambda one: _place(one, key), reverse=key.direction == "desc")
    best = heapq.nsmallest if key.direction == "asc" else heapq.nlargest
    return best(search.limit, found, key=lambda one: _place(one, key))


def _place(found: Found, key: SortKey) -> tuple[bool, str]:
    """Return where an item is in an order; those without the property come last in both directions."""
    name = key.field.removeprefix("properties.")
    value = None if found.item is None else found.item_id if name == "id" else found.item.properties.get(name)
    return (value is None) == (key.direction == "asc"), "" if value is None else str(value)
