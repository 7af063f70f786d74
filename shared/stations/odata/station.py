"""Search a station that speaks OData, as ESA's AUXIP interface (ICD ESA-EOPG-EOPGC-IF-10) and the Data Space do."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Final, cast
from urllib.parse import quote

import httpx
from pydantic import JsonValue

from shared.errors import Refused, Rejected, Retryable
from shared.http.api import Answer
from shared.http.probes import Fault, Finding, probe_api
from shared.json_types import Json
from shared.settings import Settings
from shared.stac.item import Found
from shared.stac.matching import compiled
from shared.stac.search import Cql2
from shared.stations.config import ODataConfig
from shared.stations.credentials import TokenOf
from shared.stations.limits import Limits
from shared.stations.odata.dialects import DIALECTS
from shared.stations.odata.filters import odata_filter, with_our_types
from shared.stations.odata.paging import Progress, spelled
from shared.stations.odata.products import item_of
from shared.stations.ordering import in_order
from shared.stations.station import Station

_NOTHING: Final = 404
_SKIPS_TOO_MUCH: Final = 422
"""The Copernicus Data Space answers so to a `$skip` above 10,000."""

_LONGEST_FILTER: Final = 4000
"""Characters of a `$filter` in a URL; servers commonly refuse a request line of more than 8 KiB."""

_LEAST_PAGE: Final = 100
"""Products of a page even where fewer are wanted: some of them may be dropped."""

_ANY: Final = "/Products?$top=1"


class ODataStation(Station):
    """A station that speaks OData.

    The filter of a search is translated as far as the dialect can say it, never narrower than it is, and every product
    that comes is judged by the whole filter once more, as the STAC item that it becomes. So the items are the same
    whatever the station ignores. A filter of which nothing can be said asks for everything that the station has.
    A product of which no item can be made cannot be judged: it is reported, as it may well be one that is wanted.
    """

    def __init__(
        self,
        name: str,
        config: ODataConfig,
        settings: Settings,
        limits: Limits | None = None,
        token_of: TokenOf | None = None,
    ) -> None:
        """Prepare, as `Station` says."""
        super().__init__(name, config, settings, limits, token_of)
        self._dialect = replace(DIALECTS[config.dialect], collections=config.collections, by_name=config.by_name)
        self._download_url = config.download_url or config.url
        self._product_types = config.product_types
        self._page_size = config.page_size

    def probe(self, suspected: Fault) -> Finding | None:
        """Return what is wrong with the station, or None; it is asked for any product.

        Of a host for downloads no question is known that needs no product, but its credentials may be refused already
        where a token is asked for.
        """
        finding = probe_api(self.api, suspected, ("GET", _ANY, None))
        if finding is None and suspected is Fault.REFUSED:
            credentials = self._credentials.keyring.credentials_for(httpx.URL(self._download_url))
            try:
                _ = credentials and credentials.value()
            except Refused as error:
                return Finding(suspected, error.reason)
            except Retryable:
                return None
        return finding

    def search(self, search: Cql2, deadline: float | None = None, tries: int = 1) -> Iterator[Found]:
        """Yield what a search finds, as `Station` says, in the order of publication unless it asks for another one.

        Another order is made here, of at most AUXIP_MAX_ITEMS items.
        """
        wanted = with_our_types(search.filter, self._product_types)
        found = self._found(search.model_copy(update={"filter": wanted}), deadline, tries)
        if search.sortby:
            found = in_order(found, search.sortby[0], search.limit, self._settings.max_items)
        return islice(found, search.limit)

    def _found(self, search: Cql2, deadline: float | None, tries: int) -> Iterator[Found]:
        matches, page_size = compiled(search.filter), self._page_size
        if search.limit is not None and not search.sortby:
            page_size = min(page_size, max(search.limit, _LEAST_PAGE))
        parts = self._parts(search.filter)
        for number, part in enumerate(parts):
            earlier = [compiled(each) for each in parts[:number]]
            for product in self._products(self._translated(part), page_size, deadline, tries):
                found = item_of(product, self._download_url, self._product_types)
                found.station = self.name
                item = found.item
                if item is None or (matches(item) and not any(judge(item) for judge in earlier)):
                    yield found
            tries = self._settings.attempts

    def _translated(self, expression: Json) -> str:
        return odata_filter(expression, self._dialect, self._product_types) or ""

    def _parts(self, expression: Json) -> list[Json]:
        """Return filters that are the given one together, each of them short enough for a URL where that can be."""
        args = expression.get("args")
        if len(quote(self._translated(expression))) <= _LONGEST_FILTER or not isinstance(args, list):
            return [expression]
        halves: list[Json]
        match expression.get("op"), args:
            case "or", [_, _, *_]:
                halves = [{"op": "or", "args": half} for half in _halves(args)]
            case "or", [dict() as only]:
                halves = [only]
            case "in", [name, [_, _, *_] as values]:
                halves = [{"op": "in", "args": [name, half]} for half in _halves(values)]
            case _:
                return [expression]
        return [part for half in halves for part in self._parts(half)]

    def _products(self, wanted: str, page_size: int, deadline: float | None, tries: int) -> Iterator[object]:
        """Yield the products that a `$filter` finds, each once; the next page is asked for when it is needed.

        The station's `@odata.nextLink` is not followed: it pages by `$skip`, which has a limit, and loses or repeats
        products where the station is published to meanwhile.
        """
        progress = Progress(page_size)
        while not progress.is_over:
            answer = self._answer(progress, self._url(progress, wanted, page_size), deadline, tries)
            page = [] if answer.status == _NOTHING else cast("list[object]", answer.body["value"])
            products = progress.take(page, answer.body.get("@odata.count"))
            del answer, page
            products.reverse()
            while products:
                yield products.pop()  # so that no page is in memory beside the next one
            tries = self._settings.attempts

    def _answer(self, progress: Progress, url: str, deadline: float | None, tries: int) -> Answer:
        unread = (_NOTHING, _SKIPS_TOO_MUCH) if progress.skip else (_NOTHING,)
        answer = self._answer_to("GET", url, None, _require_value, deadline=deadline, tries=tries, unread=unread)
        if answer.status == _SKIPS_TOO_MUCH:
            raise Rejected(
                "station-incomplete",
                f"the station skips no {progress.skip} products, and more than that have the instant of publication "
                f"{progress.instant}; narrow the search, by product type or validity for instance",
            )
        if answer.status == _NOTHING and not progress.skip:
            self._require_nothing(progress)
        return answer

    def _require_nothing(self, progress: Progress) -> None:
        """Make sure that a 404 says that nothing is found, as some stations do, and not that the URL is wrong.

        Raises:
            Rejected: `station-not-found`, the station has no list of products at this URL.
            Retryable: `station-bad-answer`, what it has just given is not there any more.
        """
        if progress.instant is not None:
            raise Retryable("station-bad-answer", f"the station answers 404 to a search that {progress.came} fulfil")
        if self.api.probe("GET", _ANY).status == _NOTHING:
            raise Rejected("station-not-found", f"{self.api.url}/Products answered 404; check the station's url")

    def _url(self, progress: Progress, wanted: str, page_size: int) -> str:
        # The instant comes first: RS-Server's mock of a station ignores a third condition.
        since = "" if progress.instant is None else f"PublicationDate ge {spelled(progress.instant)}"
        options = {
            "$filter": " and ".join(filter(None, (since, wanted))),
            "$orderby": "PublicationDate asc",
            "$top": str(page_size),
            "$skip": str(progress.skip or ""),
            "$expand": "Attributes",
            "$count": "" if since or progress.skip else "true",
        }
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items() if value)
        return f"{self.api.url}/Products?{query}"


def _require_value(answer: Answer) -> None:
    if answer.status < 400 and not isinstance(answer.body.get("value"), list):
        raise Retryable("station-bad-answer", "the station answered with something that is not a list of products")


def _halves(values: list[JsonValue]) -> tuple[list[JsonValue], list[JsonValue]]:
    middle = len(values) // 2
    return values[:middle], values[middle:]
