"""Search an AUXIP station: one page after the other, each answer checked before it is believed."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Final, cast
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from shared.errors import AuxipError, ItemFailed, Rejected, Retryable
from shared.http.answers import shown
from shared.http.api import Answer
from shared.http.auth import origin
from shared.http.probes import Fault, Finding, probe_api
from shared.json_types import Json
from shared.settings import Settings
from shared.stac.item import Found, Item, offered_item
from shared.stac.requirements import bad_item
from shared.stac.search import Cql2, properties_of
from shared.stations.config import StacConfig
from shared.stations.credentials import TokenOf
from shared.stations.limits import Limits
from shared.stations.station import Station
from shared.validation import first_problem

_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")

_log = logging.getLogger(__name__)

_INTERNAL_ERROR: Final = 500
_ALWAYS_NAMED: Final = frozenset({"id", "collection", "geometry", "datetime"})


class StacStation(Station):
    """A station that is a STAC API, as RS-Server's."""

    def __init__(
        self,
        name: str,
        config: StacConfig,
        settings: Settings,
        limits: Limits | None = None,
        token_of: TokenOf | None = None,
    ) -> None:
        """Prepare, as `Station` says."""
        super().__init__(name, config, settings, limits, token_of)
        self._collections = config.collections
        self._page_size = config.page_size

    def probe(self, suspected: Fault) -> Finding | None:
        """Return what is wrong with the station, or None; it is asked for what it is sure to let us have: a search."""
        collections: Json = {"collections": list(self._collections)} if self._collections else {}
        return probe_api(self.api, suspected, ("POST", "/search", {**collections, "limit": 1}))

    def search(self, search: Cql2, deadline: float | None = None, tries: int = 1) -> Iterator[Found]:
        """Yield what a search finds, at most `search.limit` items, reading the next page only when it is needed.

        An item that is malformed comes as a `Found` that says so, and its neighbours come as they are. A page in the
        middle that fails is asked for again here, up to `AUXIP_ATTEMPTS` times, so that those before it are not read
        anew; of the first page nothing is lost, so whoever called may wait elsewhere.

        Args:
            search: filter, limit and order.
            deadline: instant of `time.monotonic()` at which the search must be over.
            tries: how often the first page is asked for before the search fails.

        Raises:
            Rejected: `search-timeout`, the deadline has passed; `unknown-property`, it answers 500 to a filter by one;
                `station-foreign-link`, it sends us to another host for the next page; and what `JsonApi` raises.
            Retryable: `station-bad-answer`, an answer is no GeoJSON FeatureCollection; `station-incomplete`, fewer
                items have come than the station says that it has found; and what `JsonApi` raises.
            Busy: `station-busy`, the limits of the station let nothing go soon.
        """
        left = search.limit
        for features in self._described(self._complete(search, deadline, tries), search):
            if left is not None:
                del features[left:]
                left -= len(features)
            features.reverse()
            while features:
                yield self._found(features.pop())  # so that no page is in memory beside the next one
            if left == 0:
                return

    def _described(self, pages: Iterator[list[object]], search: Cql2) -> Iterator[list[object]]:
        """Yield pages; a property that the station does not know is named where it answers 500, as pgSTAC does to it.

        Raises:
            Rejected: `unknown-property`.
        """
        try:
            yield from pages
        except Retryable as error:
            if error.status != _INTERNAL_ERROR or not (unknown := self.unknown_properties(search)):
                raise
            reason = f"{error.reason}, and the queryables of the station {self.name} do not name {unknown}"
            raise Rejected("unknown-property", reason) from error

    def unknown_properties(self, search: Cql2) -> str:
        """Return the properties of a filter that are not among the station's queryables; empty where it lists none."""
        collections = self._collections
        path = f"/collections/{quote(collections[0], safe='')}/queryables" if len(collections) == 1 else "/queryables"
        try:
            named = self.api.call("GET", path).body.get("properties")
        except AuxipError:
            return ""
        unknown = properties_of(search.filter) - _ALWAYS_NAMED - set(named) if isinstance(named, dict) and named else ()
        return ", ".join(sorted(unknown))[:200]

    def _complete(self, search: Cql2, deadline: float | None, tries: int) -> Iterator[list[object]]:
        """Yield the pages of a search, and once more from the first one where fewer items came than it matched.

        The items that came are then yielded twice: whoever stages knows them, and to remember them all takes memory. A
        search with a limit, which counts them, is left to the next try of its step.

        Raises:
            Retryable: `station-incomplete`.
        """
        claim = _Claim()
        for _ in range(2 if search.limit is None else 1):
            claim = _Claim()
            yield from self._pages(self._body(search), deadline, tries, claim)
            if claim.came >= claim.matched:
                return
            _log.warning("the station %s says that it has found %s, and gave %s", self.name, claim.matched, claim.came)
            tries = self._settings.attempts
        raise Retryable(
            "station-incomplete",
            f"the station says that it has found {claim.matched} items, and its pages have ended after {claim.came}",
        )

    def _pages(self, body: Json, deadline: float | None, tries: int, claim: "_Claim") -> Iterator[list[object]]:
        """Yield pages until one has no `next` link or, as RS-Server ends its searches, one is empty."""
        method, url, payload = "POST", f"{self.api.url}/search", body
        asked: set[int] = set()
        while True:
            request = hash((method, url, json.dumps(payload)))
            if request in asked:
                raise Retryable("station-bad-answer", f"the station's pages lead in a circle, back to {shown(url)}")
            asked.add(request)
            sent = payload if method == "POST" else None
            check = partial(_require_features, url)
            answer = self._answer_to(method, url, sent, check, deadline=deadline, tries=tries).body
            tries = self._settings.attempts
            features, link = cast("list[object]", answer["features"]), _next_link(answer)
            claim.add(answer, len(features))
            del answer
            is_last = link is None or not features
            yield features
            if link is None or is_last:
                return
            method, url, payload = self._follow(link, url, payload)

    def _follow(self, link: Json, url: str, payload: Json) -> tuple[str, str, Json]:
        try:
            target = str(self._behind_tls(httpx.URL(url).join(str(link.get("href", "")))))
        except httpx.InvalidURL:
            raise Retryable("station-bad-answer", f"{shown(url)} answered with a next link that is no URL") from None
        if origin(target) != origin(self.api.url):
            raise Rejected("station-foreign-link", f"the station's next page is on another host: {shown(target)}")
        body = link.get("body")
        merged = {**payload, **body} if isinstance(body, dict) else payload
        return str(link.get("method", "GET")).upper(), target, merged

    def _behind_tls(self, url: httpx.URL) -> httpx.URL:
        """Return a link of the station on the origin of its configuration, where it does not know of its own TLS.

        A service behind a proxy that ends TLS writes links that begin with `http://`.
        """
        ours = httpx.URL(self.api.url)
        if (url.scheme, url.host, ours.scheme) == ("http", ours.host, "https"):
            return url.copy_with(scheme=ours.scheme, port=ours.port)
        return url

    def _body(self, search: Cql2) -> Json:
        size = self._page_size
        page = size if search.limit is None else min(size, search.limit)
        body: Json = {"filter-lang": "cql2-json", "filter": search.filter, "limit": page}
        if self._collections:
            body["collections"] = list(self._collections)
        if search.sortby:
            body["sortby"] = [key.model_dump() for key in search.sortby]
        return body

    def _found(self, feature: object) -> Found:
        found = _checked(feature)
        found.station = self.name
        if found.item is not None:
            self._resolve(found.item)
        return found

    def _resolve(self, item: Item) -> None:
        """Make relative hrefs of assets absolute: STAC resolves them against the item's own link."""
        for asset in item.assets.values():
            if _ABSOLUTE.match(asset.href):
                continue
            with suppress(httpx.InvalidURL):  # what is no href is refused where it is fetched
                own = next((str(link.get("href")) for link in item.links if link.get("rel") == "self"), "")
                place = httpx.URL(f"{self.api.url}/").join(own)
                asset.href = str(self._behind_tls(place).join(asset.href))


class _Claim:
    """What a station says that it has found, and what has come.

    Attributes:
        matched: the largest number that any page stated: what is added or deleted during a search changes it.
        came: items on the pages so far.
    """

    def __init__(self) -> None:
        self.matched = 0
        self.came = 0

    def add(self, page: Json, items: int) -> None:
        """Count a page: `numberMatched` as OGC API Features has it, `context.matched` as its forerunner in STAC."""
        context = page.get("context")
        stated = [page.get("numberMatched"), context.get("matched") if isinstance(context, dict) else None]
        self.matched = max([self.matched, *(number for number in stated if isinstance(number, int))])
        self.came += items


def _require_features(url: str, answer: Answer) -> None:
    if answer.body.get("type") != "FeatureCollection" or not isinstance(answer.body.get("features"), list):
        raise Retryable(
            "station-bad-answer", f"{shown(url)} answered with something that is no GeoJSON FeatureCollection"
        )


def _next_link(answer: Json) -> Json | None:
    links = answer.get("links")
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict) and link.get("rel") == "next":
            return link
    return None


def _checked(feature: object) -> Found:
    name = str(feature.get("id", ""))[:512] if isinstance(feature, dict) else ""
    try:
        item = offered_item(feature)
    except ItemFailed as error:
        return Found.unusable(name or "(no id)", error.code, error.reason)
    except ValidationError as error:
        malformed = bad_item(first_problem(error))
        return Found.unusable(name or "(no id)", malformed.code, malformed.reason)
    if not item.assets:
        return Found.unusable(item.id, "no-assets", "the station's item has no assets: there is nothing to stage")
    return Found(item_id=item.id, item=item)
