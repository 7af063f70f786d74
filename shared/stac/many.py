"""Many items of one collection of the catalog: read by one search, written by one request where the catalog has that.

`POST /collections/{collection}/bulk_items` is the Bulk Transactions extension of stac-fastapi, which names no
conformance class; so the first 404 or 405 says that a catalog does not have it. pgSTAC answers 200 also where it has
left out some items, and an error where it has written none; so nothing is believed that is not read back.

Only new items are written so. To change one that the catalog has is another matter: whoever else writes to it must not
lose anything, and a bulk request, whose other method is `upsert`, knows neither a patch nor a condition.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from shared.errors import Retryable
from shared.http.answers import limited
from shared.json_types import Json
from shared.stac.catalog import Catalog
from shared.stac.item import Item

StillOurs = Callable[[Sequence[Item]], Sequence[Item]]
"""Returns those of some items that we may write at this moment."""

_REFUSALS: Final = (400, 409, 413, 422, 500)
"""Statuses that one item may be the reason of: pgSTAC answers 500 where PostgreSQL refuses a text with a NUL."""

_HAS_NO_BULK: Final = (404, 405)
_MOST_REFUSALS: Final = 16
"""Refused requests after which no smaller one is tried: the search for one bad item of 100 has 7."""

_SAID: Final = 2**20


class ManyItems:
    """Many items of a collection. What it cannot do, it leaves to whoever then does each item by itself.

    Args:
        catalog: that has them.
        collection: of the items.
        until: as of `time.monotonic()`; no request is begun after it.
    """

    def __init__(self, catalog: Catalog, collection: str, until: float) -> None:
        self._catalog = catalog
        self._collection = collection
        self._until = until

    def read(self, ids: Sequence[str]) -> dict[str, Item | None]:
        """Return the items of these ids, None for those that the collection does not have.

        An id is missing where the answer does not say what the catalog has: there are more pages, or the item is
        malformed.

        Raises:
            Retryable: `catalog-bad-answer`; and what `JsonApi` raises.
        """
        searched = self._catalog.flavour.searched(self._collection)
        body: Json = {"collections": [searched], "ids": [*ids], "limit": len(ids)}
        answer = self._catalog.api.call("POST", "/search", body).body
        features = answer.get("features")
        if not isinstance(features, list):
            raise Retryable("catalog-bad-answer", "the catalog answered a search with no FeatureCollection")
        links = answer.get("links")
        is_whole = not any(isinstance(link, dict) and link.get("rel") == "next" for link in _list(links))
        shown: dict[str, Item | None] = dict.fromkeys(ids) if is_whole else {}
        for feature in features:
            item_id = str(feature.get("id")) if isinstance(feature, dict) else ""
            if isinstance(feature, dict) and item_id in ids:
                shown.pop(item_id, None)
                with suppress(Retryable):
                    shown[item_id] = self._catalog.item_of(feature)
        return shown

    def write(self, items: Sequence[Item], still_ours: StillOurs) -> None:
        """Write items that the collection does not have; which of them it has taken is to be read back.

        Where it has one by now, that is not overwritten, since it was not read.

        Args:
            items: in any order.
            still_ours: called right before each request.

        Raises:
            Refused, Rejected, Retryable: what `JsonApi` raises; the items that are not written by then are not written.
        """
        if self._catalog.has_bulk is not False:
            self._write_bulk(items, still_ours)
        if self._catalog.has_bulk is False:
            self._write_each(items, still_ours)

    def _write_bulk(self, items: Sequence[Item], still_ours: StillOurs) -> None:
        """Write items by one request or, where that is refused, by two of half as many, and so on."""
        waiting, refusals = deque([items]), 0
        while waiting and refusals < _MOST_REFUSALS and time.monotonic() < self._until:
            part = still_ours(waiting.popleft())
            if not part or self._takes_bulk(part):
                continue
            if self._catalog.has_bulk is False:
                return
            refusals += 1
            if len(part) > 1:
                waiting += [part[: len(part) // 2], part[len(part) // 2 :]]

    def _takes_bulk(self, items: Sequence[Item]) -> bool:
        path = f"{self._catalog.flavour.path(self._collection)}/bulk_items"
        body: Json = {"items": {item.id: self._catalog.flavour.to_write(item) for item in items}, "method": "insert"}
        status = self._send(path, body, (*_REFUSALS, *_HAS_NO_BULK))
        if status in _HAS_NO_BULK:
            # The collection may be what is not there. Then each item fails by itself, with the code that says so.
            self._catalog.require_collection(self._collection)
            self._catalog.has_bulk = False
            return False
        self._catalog.has_bulk = True
        return status not in _REFUSALS

    def _write_each(self, items: Sequence[Item], still_ours: StillOurs) -> None:
        path = f"{self._catalog.flavour.path(self._collection)}/items"
        for item in items:
            if time.monotonic() >= self._until:
                return
            if still_ours([item]):
                self._send(path, self._catalog.flavour.to_write(item), _REFUSALS)

    def _send(self, path: str, body: Json, expected: tuple[int, ...]) -> int:
        """Send a request and return its status; its answer is read, so that the connection is used again."""
        with self._catalog.api.open("POST", path, body, expected=expected) as response:
            for _ in limited(response, _SAID, self._catalog.api.name):
                pass
            return response.status_code


def _list(value: object) -> Iterable[object]:
    return value if isinstance(value, list) else ()
