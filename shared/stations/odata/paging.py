"""How far a search has come through the products of a station, in the order of their publication.

A station gives pages by `$skip`, up to a limit, and is published to while it is searched. So the next page is asked for
by `PublicationDate ge INSTANT`, the last instant that was seen, and those of its products that are known are dropped.
Only while a whole page has one instant is `$skip` used as well. No more than the ids of one instant are remembered.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from shared.errors import Rejected, Retryable
from shared.json_types import Json
from shared.times import parse_instant

_STEP = timedelta(milliseconds=1)


class Progress:
    """Where a search is.

    Instants are cut to milliseconds, as ESA's interface writes them: a station may sort and compare by less digits
    than it shows.

    Attributes:
        instant: of the publication that the next page begins with; None for the first page.
        skip: products from that instant on that the next page leaves out.
        came: how many products came.
        is_over: whether there is no next page.
    """

    def __init__(self, page_size: int) -> None:
        """Begin; a page of `page_size` products may be followed by more, whatever the station's count is."""
        self._page_size = page_size
        self.instant: datetime | None = None
        self.skip = 0
        self.came = 0
        self.is_over = False
        self._known: set[str] = set()
        self._largest = 0
        self._total: int | None = None

    def take(self, page: Sequence[object], total: object) -> list[object]:
        """Return the products of the next page that are new, and move on.

        Args:
            page: of the answer.
            total: `@odata.count` of the first answer, where it is there: how many products the search finds.

        Raises:
            Retryable: `station-bad-answer`, the page is not in the order that was asked for, or begins before it;
                `station-incomplete`, the pages have ended, and there should be more.
        """
        is_first = self.instant is None and not self.skip
        if is_first:
            self._total = _number(total)
        instants = self._instants(page)
        fresh = [product for product in page if _id_of(product) not in self._known]
        self.came += len(fresh)
        self._move(page, instants, bool(fresh))
        if is_first and self._total == len(page) < self._page_size:
            self.is_over = True
        if self.is_over:
            self._require_all()
        self._largest = max(self._largest, len(page))
        return fresh

    def _instants(self, page: Sequence[object]) -> list[datetime | None]:
        """Return when each product was published; one that does not say so was with the one before it."""
        instants, last = [], self.instant
        for product in page:
            published = _published(product)
            if last is not None and published is not None and published < last:
                reason = "the station does not keep to $orderby=PublicationDate or to PublicationDate in a $filter"
                raise Retryable("station-bad-answer", f"{reason}: after {last} comes {published}")
            last = published or last
            instants.append(last)
        return instants

    def _move(self, page: Sequence[object], instants: Sequence[datetime | None], is_fresh: bool) -> None:
        if not page:
            self.is_over = True
            return
        last = instants[-1]
        latest = {_id_of(product) for product, instant in zip(page, instants, strict=True) if instant == last}
        if last != self.instant:
            self.instant, self.skip, self._known = last, 0, latest
            return
        if self.skip and not is_fresh:
            # Either all has come, or the station ignores $skip; then there is more if it gave as much as it can.
            self.is_over = True
            if self._total is None and len(page) >= self._largest:
                raise _incomplete(f"it ignores $skip, and {len(page)} products have one instant of publication")
        self._known |= latest
        self.skip += len(page)

    def _require_all(self) -> None:
        if self._total is not None and self.came < self._total:
            raise _incomplete(f"it counts {self._total} products, and {self.came} came")


def spelled(instant: datetime) -> str:
    """Return an instant as ESA's interface writes it: with milliseconds, in UTC."""
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"


def _incomplete(reason: str) -> Retryable:
    return Retryable("station-incomplete", f"the station has not given all that it has: {reason}")


def _published(product: object) -> datetime | None:
    text = product.get("PublicationDate") if isinstance(product, dict) else None
    try:
        instant = parse_instant(text) if isinstance(text, str) else None
    except Rejected:
        return None
    return None if instant is None else instant - (instant - datetime.min.replace(tzinfo=instant.tzinfo)) % _STEP


def _id_of(product: object) -> str:
    found: Json = product if isinstance(product, dict) else {}
    return str(found["Id"]) if found.get("Id") else json.dumps(product, sort_keys=True)


def _number(value: object) -> int | None:
    """Return a count, which some stations give as a string."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() else None
