"""The STAC API of a store: what stac-fastapi calls to read, search and write."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

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
from stac_fastapi.types.search import BaseSearchGetRequest, BaseSearchPostRequest, Limit

from local.stac import query
from local.stac.query import BadQuery, UnknownSortKey
from local.stac.store import Exists, Json, Missing, Store

_STATUS_CODES: dict[type[Exception], int] = {BadQuery: 400, UnknownSortKey: 404, Missing: 404, Exists: 409}
_TOKEN = "from-"  # noqa: S105  # the start of a paging token, no secret
_DEFAULT_LIMIT = 1000
# pystac-client 0.9 looks for the class of version 1.0, stac-fastapi 7 declares that of version 1.1.
_SORT_CONFORMANCE = [f"https://api.stacspec.org/v1.{minor}.0/item-search#sort" for minor in (0, 1)]


class _PostSearch(BaseSearchPostRequest, extra="forbid"):
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
        body: Json = await kwargs["request"].json()
        _refuse_unsupported(body)
        fields = cast(Any, search_request)  # its model is put together at run time
        sortby = [(each.field, each.direction.value) for each in fields.sortby or []]
        search = _search(fields.limit, fields.token, fields.collections, fields.ids, fields.filter_expr, sortby=sortby)
        page, following = self._page(search)
        return _answer(page, _post_link(kwargs["request"], body, following) if following else None)

    async def get_search(  # type: ignore[override]  # the fields of the extensions come as keywords
        self,
        collections: list[str] | None = None,
        ids: list[str] | None = None,
        limit: int | None = None,
        token: str | None = None,
        filter_expr: str | None = None,
        filter_lang: str | None = None,
        sortby: list[str] | None = None,
        **kwargs: Any,
    ) -> stac.ItemCollection:
        """GET /search."""
        _refuse_unsupported(kwargs)
        read_filter = query.parse_json if filter_lang == "cql2-json" else query.parse_text
        wanted = read_filter(filter_expr) if filter_expr else None
        order = [(key.lstrip("+- "), "desc" if key.startswith("-") else "asc") for key in sortby or []]
        page, following = self._page(_search(limit, token, collections, ids, wanted, sortby=order))
        return _answer(page, _get_link(kwargs["request"], following) if following else None)

    async def item_collection(  # type: ignore[override]  # bbox and datetime are refused below
        self, collection_id: str, limit: int | None = None, token: str | None = None, **kwargs: Any
    ) -> stac.ItemCollection:
        """GET /collections/{collection_id}/items."""
        _refuse_unsupported(kwargs)
        page, following = self._page(_search(limit, token, [collection_id]))
        return _answer(page, _get_link(kwargs["request"], following) if following else None)

    async def get_item(self, item_id: str, collection_id: str, **_: Any) -> stac.Item:
        """GET /collections/{collection_id}/items/{item_id}."""
        return cast(stac.Item, self.store.item(collection_id, item_id))

    async def all_collections(self, **_: Any) -> stac.Collections:
        """GET /collections."""
        return cast(stac.Collections, {"collections": self.store.collections(), "links": []})

    async def get_collection(self, collection_id: str, **_: Any) -> stac.Collection:
        """GET /collections/{collection_id}."""
        return cast(stac.Collection, self.store.collection(collection_id))

    def _page(self, search: _Search) -> tuple[list[Json], str | None]:
        first = _first(search.token)
        matches = query.matcher(search.filter)
        found = [item for item in self.store.items(search.collections, search.ids) if matches(item)]
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


def _search(
    limit: int | None,
    token: str | None,
    collections: list[str] | None = None,
    ids: list[str] | None = None,
    filter_expression: Json | None = None,
    *,
    sortby: list[tuple[str, str]] | None = None,
) -> _Search:
    if sortby and len(sortby) > 1:
        raise BadQuery("one sort key only")
    key, direction = sortby[0] if sortby else ("created", "desc")
    return _Search(
        limit=limit or _DEFAULT_LIMIT,
        token=token,
        collections=collections,
        ids=ids,
        filter=filter_expression,
        key=key,
        direction="desc" if direction == "desc" else "asc",
    )


def _refuse_unsupported(arguments: Json) -> None:
    for name in ("bbox", "intersects", "datetime"):
        if arguments.get(name) is not None:
            raise BadQuery(f"{name!r} is not supported; use a filter")


def _first(token: str | None) -> int:
    if token is None:
        return 0
    digits = token.removeprefix(_TOKEN)
    if not token.startswith(_TOKEN) or not digits.isdecimal():
        raise BadQuery(f"{token!r} is no token of this API")
    return int(digits)


def _answer(items: list[Json], following: Json | None) -> stac.ItemCollection:
    answer = {
        "type": "FeatureCollection",
        "features": items,
        "links": [following] if following else [],
        "numberReturned": len(items),
    }
    return cast(stac.ItemCollection, answer)


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
