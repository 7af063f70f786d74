"""The STAC API of a store: what stac-fastapi calls to read, search and write."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast
from urllib.parse import quote

import attr
from fastapi import Query, Request
from pydantic import Field
from stac_fastapi.api.app import StacApi
from stac_fastapi.api.errors import DEFAULT_STATUS_CODES
from stac_fastapi.api.models import ItemCollectionUri, create_get_request_model, create_post_request_model
from stac_fastapi.extensions.filter import SearchFilterExtension
from stac_fastapi.extensions.filter.client import AsyncBaseFiltersClient
from stac_fastapi.extensions.pagination import TokenPaginationExtension
from stac_fastapi.extensions.pagination.request import GETTokenPagination
from stac_fastapi.extensions.sort import SearchSortExtension
from stac_fastapi.types import stac
from stac_fastapi.types.config import ApiSettings
from stac_fastapi.types.core import AsyncBaseCoreClient
from stac_fastapi.types.extension import ApiExtension
from stac_fastapi.types.links import CollectionLinks, ItemLinks, filter_links
from stac_fastapi.types.requests import get_base_url
from stac_fastapi.types.search import BaseSearchGetRequest, BaseSearchPostRequest, Limit
from stac_pydantic.shared import BBox

from local.stac import extent, query
from local.stac.query import BadQuery, UnknownSortKey
from local.stac.store import Exists, Json, Missing, Store
from local.stac.strict import Broken

_STATUS_CODES: dict[type[Exception], int] = {BadQuery: 400, UnknownSortKey: 404, Missing: 404, Exists: 409, Broken: 500}
_TOKEN = "from-"  # noqa: S105  # the start of a paging token, no secret
_DEFAULT_LIMIT = 1000
_GEOJSON = "application/geo+json"
# pystac-client 0.9 looks for the class of version 1.0, stac-fastapi 7 declares that of version 1.1.
_SORT_CONFORMANCE = [f"https://api.stacspec.org/v1.{minor}.0/item-search#sort" for minor in (0, 1)]


class _PostSearch(BaseSearchPostRequest, extra="forbid"):
    bbox: BBox | None = None  # also beyond the globe, where nothing is, as in a GET
    limit: Limit | None = Field(_DEFAULT_LIMIT)


@attr.s
class _GetSearch(BaseSearchGetRequest):
    limit: Annotated[Limit | None, Query()] = attr.ib(default=_DEFAULT_LIMIT)


@attr.s
class _ItemCollectionUri(ItemCollectionUri, GETTokenPagination):
    limit: Annotated[Limit | None, Query()] = attr.ib(default=_DEFAULT_LIMIT)


@dataclass(frozen=True)
class _Search:
    limit: int
    token: str | None
    in_time: extent.Matches
    in_place: extent.Matches
    collections: list[str] | None = None
    ids: list[str] | None = None
    filter: Json | None = None
    key: str = "created"
    direction: Literal["asc", "desc"] = "desc"


@attr.s
class Reader(AsyncBaseCoreClient):
    """Collections, items and searches.

    Attributes:
        store: where they are.
        next_on_every_page: a page that holds an item always links to a next one, as AUXIP stations do, so that
            the last page is empty; else only a page that others follow has the link.
    """

    store: Store = attr.ib(kw_only=True)
    next_on_every_page: bool = attr.ib(kw_only=True)

    async def post_search(self, search_request: BaseSearchPostRequest, **kwargs: Any) -> stac.ItemCollection:
        """POST /search."""
        request: Request = kwargs["request"]
        body: Json = await request.json()
        fields = cast(Any, search_request)  # its model is put together at run time
        sortby = [(each.field, each.direction.value) for each in fields.sortby or []]
        page, following = self._page(
            _Search(
                limit=fields.limit or _DEFAULT_LIMIT,
                token=fields.token,
                collections=fields.collections,
                ids=fields.ids,
                filter=fields.filter_expr,
                in_time=extent.in_time(fields.datetime),
                in_place=extent.in_place(fields.bbox, cast(Json | None, body.get("intersects"))),
                **_order(sortby),
            )
        )
        return _answer(request, page, _post_link(request, body, following) if following else None)

    async def get_search(  # type: ignore[override]  # the fields of the extensions come as keywords
        self,
        collections: list[str] | None = None,
        ids: list[str] | None = None,
        bbox: Sequence[float] | None = None,
        intersects: str | None = None,
        datetime: str | None = None,
        limit: int | None = None,
        token: str | None = None,
        filter_expr: str | None = None,
        filter_lang: str | None = None,
        sortby: list[str] | None = None,
        **kwargs: Any,
    ) -> stac.ItemCollection:
        """GET /search."""
        request: Request = kwargs["request"]
        read_filter = query.parse_json if filter_lang == "cql2-json" else query.parse_text
        order = [(key.lstrip("+- "), "desc" if key.startswith("-") else "asc") for key in sortby or []]
        page, following = self._page(
            _Search(
                limit=limit or _DEFAULT_LIMIT,
                token=token,
                collections=collections,
                ids=ids,
                filter=read_filter(filter_expr) if filter_expr else None,
                in_time=extent.in_time(datetime),
                in_place=extent.in_place(bbox, extent.parse_geometry(intersects)),
                **_order(order),
            )
        )
        return _answer(request, page, _get_link(request, following) if following else None)

    async def item_collection(
        self,
        collection_id: str,
        bbox: Sequence[float] | None = None,
        datetime: str | None = None,
        limit: int | None = None,
        token: str | None = None,
        **kwargs: Any,
    ) -> stac.ItemCollection:
        """GET /collections/{collection_id}/items."""
        request: Request = kwargs["request"]
        page, following = self._page(
            _Search(
                limit=limit or _DEFAULT_LIMIT,
                token=token,
                collections=[collection_id],
                in_time=extent.in_time(datetime),
                in_place=extent.in_place(bbox, None),
            )
        )
        answer = _answer(request, page, _get_link(request, following) if following else None)
        items, collection = f"collections/{collection_id}/items", f"collections/{collection_id}"
        answer["links"] += [_link(request, "self", items, _GEOJSON), _link(request, "parent", collection)]
        return answer

    async def get_item(self, item_id: str, collection_id: str, **kwargs: Any) -> stac.Item:
        """GET /collections/{collection_id}/items/{item_id}."""
        return cast(stac.Item, _linked_item(kwargs["request"], self.store.item(collection_id, item_id)))

    async def all_collections(self, **kwargs: Any) -> stac.Collections:
        """GET /collections."""
        request: Request = kwargs["request"]
        links = [_link(request, "root", ""), _link(request, "self", "collections"), _link(request, "parent", "")]
        found = [_linked_collection(request, each) for each in self.store.collections()]
        return cast(stac.Collections, {"collections": found, "links": links})

    async def get_collection(self, collection_id: str, **kwargs: Any) -> stac.Collection:
        """GET /collections/{collection_id}."""
        return cast(stac.Collection, _linked_collection(kwargs["request"], self.store.collection(collection_id)))

    def _page(self, search: _Search) -> tuple[list[Json], str | None]:
        first = _first(search.token)
        matches = query.matcher(search.filter)
        held = self.store.items(search.collections, search.ids)
        found = [item for item in held if search.in_time(item) and search.in_place(item) and matches(item)]
        ordered = query.in_order(found, search.key, search.direction)
        end = first + search.limit
        page = ordered[first:end]
        more = bool(page) if self.next_on_every_page else len(ordered) > end
        return page, f"{_TOKEN}{end}" if more else None


@attr.s
class Queryables(AsyncBaseFiltersClient):
    """What a filter may compare."""

    async def get_queryables(self, **_: Any) -> dict[str, Any]:  # type: ignore[override]  # the same in every collection
        """GET /queryables."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {name: {} for name in query.SORT_KEYS if name != "file:size"},
        }


def stac_api(title: str, client: Reader, extensions: list[ApiExtension], settings: ApiSettings) -> StacApi:
    """The web application of a STAC API.

    Args:
        title: what the API is called on its landing page.
        client: what answers.
        extensions: those that add routes; filter, order and paging of searches are always there.
        settings: as stac-fastapi reads them.
    """
    searching: list[ApiExtension] = [
        SearchFilterExtension(client=Queryables()),
        SearchSortExtension(conformance_classes=_SORT_CONFORMANCE),
        TokenPaginationExtension(),
    ]
    return StacApi(
        settings=settings,
        title=title,
        description="For trying out and testing only.",
        client=client,
        extensions=[*searching, *extensions],
        exceptions=DEFAULT_STATUS_CODES | _STATUS_CODES,
        search_get_request_model=create_get_request_model(searching, _GetSearch),
        search_post_request_model=create_post_request_model(searching, _PostSearch),
        items_get_request_model=_ItemCollectionUri,
        middlewares=[],  # no compression, so that an answer declares its length and can be cut short
    )


def _order(sortby: list[tuple[str, str]]) -> dict[str, Any]:
    if len(sortby) > 1:
        raise BadQuery("one sort key only")
    return {"key": sortby[0][0], "direction": sortby[0][1]} if sortby else {}


def _first(token: str | None) -> int:
    if token is None:
        return 0
    digits = token.removeprefix(_TOKEN)
    if not token.startswith(_TOKEN) or not digits.isdecimal():
        raise BadQuery(f"{token!r} is no token of this API")
    return int(digits)


def _answer(request: Request, items: list[Json], following: Json | None) -> stac.ItemCollection:
    answer = {
        "type": "FeatureCollection",
        "features": [_linked_item(request, item) for item in items],
        "links": [_link(request, "root", ""), *([following] if following else [])],
        "numberReturned": len(items),
    }
    return cast(stac.ItemCollection, answer)


def _linked_item(request: Request, item: Json) -> Json:
    links = ItemLinks(quote(str(item["collection"])), get_base_url(request), quote(str(item["id"])))
    return _linked(item, links.create_links())


def _linked_collection(request: Request, collection: Json) -> Json:
    links = CollectionLinks(quote(str(collection["id"])), get_base_url(request)).create_links()
    return _linked(collection, links)


def _linked(body: Json, links: list[Json]) -> Json:
    """Return what is stored with links to itself and what it belongs to in the place of those that were sent."""
    return {**body, "links": [*links, *filter_links(cast(list[Json], body.get("links") or []))]}


def _link(request: Request, rel: str, path: str, media_type: str = "application/json") -> Json:
    return {"rel": rel, "type": media_type, "href": f"{get_base_url(request)}{path}"}


def _post_link(request: Request, body: Json, token: str) -> Json:
    return {
        "rel": "next",
        "type": "application/geo+json",
        "method": "POST",
        "href": str(request.url),
        "body": body | {"token": token},
        "merge": False,
    }


def _get_link(request: Request, token: str) -> Json:
    href = str(request.url.include_query_params(token=token))
    return {"rel": "next", "type": "application/geo+json", "method": "GET", "href": href}
