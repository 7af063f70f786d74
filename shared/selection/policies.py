"""The selection policies, each one a line of a table: which items it takes, and which of those is the best.

With the window W = [begin, end], margins included, and an item's validity [S, E], all bounds inclusive.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final, Literal

from shared.errors import AuxipError, ItemFailed
from shared.selection.generation import generation_time
from shared.stac.item import Item
from shared.times import OPEN_END, parse_instant

PolicyName = Literal[
    "ValIntersect",
    "LatestValIntersect",
    "ValCover",
    "LatestValCover",
    "LatestValidity",
    "LatestValCoverLatestValidity",
    "LatestValidityClosest",
    "BestCentredCover",
    "LatestValCoverClosest",
    "LargestOverlap",
    "LargestOverlap85",
    "LatestGeneration",
    "ClosestStartValidity",
    "ClosestStopValidity",
    "LatestStopValidity",
]

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Window:
    """What a policy looks at: [begin, end] with its margins, and the reference instant; see `PolicySelection`."""

    begin: datetime
    end: datetime
    reference: datetime


class Facts:
    """What the policies ask of an item, read when it is first asked for."""

    def __init__(self, item: Item) -> None:
        self._item = item

    @cached_property
    def validity(self) -> tuple[datetime, datetime]:
        """Start and end of the validity."""
        return validity(self._item)

    @property
    def start(self) -> datetime:
        """From when the product is valid."""
        return self.validity[0]

    @property
    def end(self) -> datetime:
        """Until when the product is valid."""
        return self.validity[1]

    @cached_property
    def generated(self) -> datetime:
        """When the product was generated.

        Raises:
            ItemFailed: `no-generation-time`, nothing tells.
        """
        generated = generation_time(self._item)
        if generated is None:
            raise ItemFailed(
                "no-generation-time", "neither processing:datetime nor the name nor created tells the generation time"
            )
        return generated


Standing = tuple[timedelta, datetime, str, tuple[str, ...]]
"""What the greatest of is the best: the policy's own measure, then generation time, id and asset keys."""


@dataclass(frozen=True)
class Rule:
    """A policy.

    Attributes:
        needs: what of the window must be given.
        takes: whether an item comes into question; None lets every item in, wherever its validity is. What takes
            an item takes only such that intersect the window.
        measure: what is greatest for the best item, which alone is selected; None selects all that are taken.
    """

    needs: tuple[Literal["start", "end"], ...]
    takes: Callable[[Facts, Window], bool] | None = None
    measure: Callable[[Facts, Window], timedelta] | None = None

    def standing(self, item: Item, window: Window) -> Standing | None:
        """Return how an item stands among those that the policy takes, or None where it does not take it.

        An item without a generation time stands last among equals.

        Raises:
            ItemFailed: `bad-validity` or `no-generation-time`, the policy cannot tell.
        """
        facts = Facts(item)
        if self.takes is not None and not self.takes(facts, window):
            return None
        measured = timedelta(0) if self.measure is None else self.measure(facts, window)
        return measured, generation_time(item) or EARLIEST, item.id, tuple(sorted(item.assets))


def validity(item: Item) -> tuple[datetime, datetime]:
    """Return the validity of an item as two instants in UTC; one that never ends, ends at `OPEN_END`.

    Raises:
        ItemFailed: `bad-validity`, a bound is missing or no instant, or it ends before it begins.
    """
    bounds = item.properties.get("start_datetime"), item.properties.get("end_datetime")
    try:
        start, end = (min(parse_instant(bound), OPEN_END) for bound in bounds if isinstance(bound, str))
    except (AuxipError, ValueError):
        raise ItemFailed("bad-validity", f"start_datetime and end_datetime are {bounds!r}, no instants") from None
    if end < start:
        raise ItemFailed("bad-validity", f"the validity ends ({bounds[1]}) before it begins ({bounds[0]})")
    return start, end


def _intersects(facts: Facts, window: Window) -> bool:
    return facts.start <= window.end and facts.end >= window.begin


def _covers(facts: Facts, window: Window) -> bool:
    return facts.start <= window.begin and facts.end >= window.end


def _covers_85_percent(facts: Facts, window: Window) -> bool:
    # In whole microseconds. A window of no length is covered by whatever intersects it.
    return _intersects(facts, window) and 100 * _overlap(facts, window) >= 85 * (window.end - window.begin)


def _overlap(facts: Facts, window: Window) -> timedelta:
    return min(facts.end, window.end) - max(facts.start, window.begin)


def _start(facts: Facts, _: Window) -> timedelta:
    return facts.start - EARLIEST


def _end(facts: Facts, _: Window) -> timedelta:
    return facts.end - EARLIEST


def _generation(facts: Facts, _: Window) -> timedelta:
    return facts.generated - EARLIEST


def _room(facts: Facts, window: Window) -> timedelta:
    return min(window.begin - facts.start, facts.end - window.end)


def _start_near_middle(facts: Facts, window: Window) -> timedelta:
    # Twice the distance to the middle, which itself may lie between two microseconds.
    return -abs((facts.start - window.begin) - (window.end - facts.start))


def _start_near_reference(facts: Facts, window: Window) -> timedelta:
    return -abs(facts.start - window.reference)


def _end_near_reference(facts: Facts, window: Window) -> timedelta:
    return -abs(facts.end - window.reference)


_WINDOW: Final = ("start", "end")
_INSTANT: Final = ("start",)

POLICIES: Final[dict[PolicyName, Rule]] = {
    "ValIntersect": Rule(_WINDOW, _intersects),
    "LatestValIntersect": Rule(_WINDOW, _intersects, _generation),
    "ValCover": Rule(_WINDOW, _covers),
    "LatestValCover": Rule(_WINDOW, _covers, _generation),
    "LatestValidity": Rule((), None, _start),
    "LatestValCoverLatestValidity": Rule(_WINDOW, _covers, _start),
    "LatestValidityClosest": Rule(_WINDOW, None, _start_near_middle),
    "BestCentredCover": Rule(_WINDOW, _covers, _room),
    "LatestValCoverClosest": Rule(_WINDOW, _covers, _start_near_middle),
    "LargestOverlap": Rule(_WINDOW, _intersects, _overlap),
    "LargestOverlap85": Rule(_WINDOW, _covers_85_percent, _overlap),
    "LatestGeneration": Rule((), None, _generation),
    "ClosestStartValidity": Rule(_INSTANT, None, _start_near_reference),
    "ClosestStopValidity": Rule(_INSTANT, None, _end_near_reference),
    "LatestStopValidity": Rule((), None, _end),
}
"""Every policy, by its name in ESA's ground segment."""
