"""Search an AUXIP station: one page after the other, each answer checked before it is believed."""

import json
import time
from collections.abc import Iterator

import httpx
from pydantic import ValidationError

from shared.errors import ItemFailed, Rejected, Retryable
from shared.settings import Settings
from shared.stac.api import StacApi, http_client
from shared.stac.auth import api_key_hook, origin
from shared.stac.item import Found, Json, offered_item
from shared.stac.search import Cql2


class Station:
    """The AUXIP station of the settings."""

    def __init__(self, settings: Settings) -> None:
        hook = api_key_hook(settings.station_api_key, settings.station_url, settings.station_trusted_domains)
        client = http_client(settings.station_timeout, [hook])
        self.api = StacApi("station", settings.station_url, client, settings.max_answer_bytes)
        self._collections = settings.station_collections
        self._page_size = settings.station_page_size

    def search(self, search: Cql2, deadline: float | None = None) -> Iterator[Found]:
        """Yield what a search finds, at most `search.limit` items, reading the next page only when it is needed.

        An item that is malformed comes as a `Found` that says so, and its neighbours come as they are.

        Args:
            search: filter, limit and order.
            deadline: instant of `time.monotonic()` after which no further page is asked for.

        Raises:
            Rejected: `search-timeout`, the deadline has passed; `station-foreign-link`, the station sends us to
                another host for the next page; and what `StacApi` raises.
            Retryable: `station-bad-answer`, an answer is no GeoJSON FeatureCollection; and what `StacApi` raises.
        """
        left = search.limit
        for features in self._pages(self._body(search), deadline):
            for feature in features if left is None else features[:left]:
                yield _found(feature)
            if left is not None:
                left -= len(features)
                if left <= 0:
                    return

    def _pages(self, body: Json, deadline: float | None) -> Iterator[list[object]]:
        """Yield pages until one has no `next` link or, as RS-Server ends its searches, one is empty."""
        method, url, payload = "POST", f"{self.api.url}/search", body
        asked: set[int] = set()
        while True:
            request = hash((method, url, json.dumps(payload)))
            if request in asked:
                raise Retryable("station-bad-answer", f"the station's pages lead in a circle, back to {url[:200]}")
            asked.add(request)
            answer = self.api.call(method, url, payload if method == "POST" else None, wait=_left(deadline)).body
            features = _features(answer, url)
            yield features
            link = _next_link(answer)
            if link is None or not features:
                return
            method, url, payload = self._follow(link, url, payload)

    def _follow(self, link: Json, url: str, payload: Json) -> tuple[str, str, Json]:
        try:
            target = str(httpx.URL(url).join(str(link.get("href", ""))))
        except httpx.InvalidURL:
            raise Retryable("station-bad-answer", f"{url} answered with a next link that is no URL") from None
        if origin(target) != origin(self.api.url):
            raise Rejected("station-foreign-link", f"the station's next page is on another host: {target[:200]}")
        body = link.get("body")
        merged = {**payload, **body} if isinstance(body, dict) else payload
        return str(link.get("method", "GET")).upper(), target, merged

    def _body(self, search: Cql2) -> Json:
        page = self._page_size if search.limit is None else min(self._page_size, search.limit)
        body: Json = {"filter-lang": "cql2-json", "filter": search.filter, "limit": page}
        if self._collections:
            body["collections"] = list(self._collections)
        if search.sortby:
            body["sortby"] = [key.model_dump() for key in search.sortby]
        return body


def _features(answer: Json, url: str) -> list[object]:
    features = answer.get("features")
    if answer.get("type") != "FeatureCollection" or not isinstance(features, list):
        raise Retryable("station-bad-answer", f"{url} answered with something that is no GeoJSON FeatureCollection")
    return list(features)


def _next_link(answer: Json) -> Json | None:
    links = answer.get("links")
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict) and link.get("rel") == "next":
            return link
    return None


def _found(feature: object) -> Found:
    name = str(feature.get("id", ""))[:512] if isinstance(feature, dict) else ""
    try:
        item = offered_item(feature)
        json.dumps(feature, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # JSON can escape half a character, which nothing can store
        return Found.unusable(name, "bad-item", "the station's item is malformed: its text cannot be encoded as UTF-8")
    except ItemFailed as error:
        return Found.unusable(name or "(no id)", error.code, error.reason)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Found.unusable(
            name or "(no id)", "bad-item", f"the station's item is malformed: {where}: {first['msg']}"
        )
    if not item.assets:
        return Found.unusable(item.id, "no-assets", "the station's item has no assets: there is nothing to stage")
    return Found(item_id=item.id, item=item)


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise Rejected("search-timeout", "the search took longer than its timeout_seconds")
    return left
