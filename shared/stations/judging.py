"""What a station offers, judged here by the filter of a search: for stations that know no CQL2."""

from collections.abc import Iterable, Iterator
from itertools import islice

from pydantic import ValidationError

from shared.errors import ItemFailed
from shared.json_types import Json
from shared.stac.item import Found, offered_item
from shared.stac.matching import compiled
from shared.stac.requirements import bad_item
from shared.stac.search import Cql2
from shared.stations.ordering import in_order
from shared.validation import first_problem


def judged(found: Iterable[Found], search: Cql2, most: int) -> Iterator[Found]:
    """Yield what a search selects of a station's offers, in its order and up to its limit.

    Args:
        found: what the station offers.
        search: filter, limit and order.
        most: how many items may be in memory to be sorted (AUXIP_MAX_ITEMS).
    """
    matches = compiled(search.filter)
    selected: Iterable[Found] = (one for one in found if one.item is None or matches(one.item))
    if search.sortby:
        selected = in_order(selected, search.sortby[0], search.limit, most)
    yield from islice(selected, search.limit)


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
