"""Items in the order that a search asks for, from a station that gives them in an order of its own."""

import heapq
from collections.abc import Iterable, Iterator
from functools import total_ordering

from shared.errors import Rejected
from shared.stac.item import Found
from shared.stac.search import SortKey
from shared.times import parse_instant


def in_order(found: Iterable[Found], key: SortKey, limit: int | None, most: int) -> Iterator[Found]:
    """Yield the first items by a key; those without it come last, and what cannot be used comes at once.

    Args:
        found: all that the search finds.
        key: to sort by.
        limit: how many are wanted; None for all.
        most: how many may be in memory (AUXIP_MAX_ITEMS).

    Raises:
        Rejected: `too-many-items`, there are more to sort than may be in memory.
    """
    wanted = min(most + 1, most + 1 if limit is None else limit)
    kept: list[_Ranked] = []
    for number, one in enumerate(found):
        if one.item is None:
            yield one
            continue
        ranked = _Ranked(one, _rank(one, key.field), number, key.direction == "desc")
        if len(kept) < wanted:
            heapq.heappush(kept, ranked)
        else:
            heapq.heappushpop(kept, ranked)
        if len(kept) > most:
            raise Rejected("too-many-items", f"there are more than {most} items (AUXIP_MAX_ITEMS) to sort; narrow it")
    for ranked in sorted(kept, reverse=True):
        yield ranked.found


@total_ordering
class _Ranked:
    """An item in a heap whose least one is the last of the order."""

    def __init__(self, found: Found, rank: tuple[str, object] | None, number: int, descending: bool) -> None:
        self.found = found
        self._rank = rank
        self._number = number
        self._descending = descending

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]

    def __lt__(self, other: "_Ranked") -> bool:
        """Whether this one comes after the other."""
        if self._rank == other._rank:
            return self._number > other._number
        if self._rank is None or other._rank is None:
            return self._rank is None
        return (self._rank < other._rank) if self._descending else (self._rank > other._rank)


def _rank(found: Found, field: str) -> tuple[str, object] | None:
    """Return what an item is sorted by: values of one kind among themselves, instants as such."""
    assert found.item is not None  # noqa: S101 - the caller has looked
    name = field.removeprefix("properties.")
    value = getattr(found.item, name) if name in ("id", "collection") else found.item.properties.get(name)
    if isinstance(value, str):
        try:
            return "instant", parse_instant(value)
        except Rejected:
            return "text", value
    return ("number", value) if isinstance(value, int | float) else None
