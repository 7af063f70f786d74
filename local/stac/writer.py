"""The Transactions extension over a store. Items are kept exactly as they were sent."""

import copy
from typing import Any, cast

import attr
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from stac_fastapi.extensions.bulk_transactions import (
    AsyncBaseBulkTransactionsClient,
    BulkTransaction,
    BulkTransactionMethod,
    Items,
)
from stac_fastapi.extensions.transaction import AsyncBaseTransactionsClient
from stac_fastapi.types import stac

from local.stac.query import BadQuery
from local.stac.store import Json, Store
from local.stac.strict import require_taken


@attr.s
class Writer(AsyncBaseTransactionsClient):
    """Creates, replaces, patches and deletes items and collections.

    Attributes:
        store: where they are.
    """

    store: Store = attr.ib(kw_only=True)

    async def create_item(self, collection_id: str, **kwargs: Any) -> stac.Item | Response | None:  # type: ignore[override]
        """POST /collections/{collection_id}/items: 201; 409 if the id is taken."""
        body = await _posted(kwargs["request"])
        if body["type"] == "FeatureCollection":
            self.store.add_items(
                collection_id, [_of(collection_id, item) for item in cast(list[Json], body["features"])]
            )
            return Response(status_code=201)
        item = _of(collection_id, body)
        self.store.add_items(collection_id, [item])
        return cast(stac.Item, item)

    async def update_item(self, collection_id: str, item_id: str, **kwargs: Any) -> stac.Item | Response | None:  # type: ignore[override]
        """PUT /collections/{collection_id}/items/{item_id}: 404 if there is none."""
        item = _of(collection_id, await _posted(kwargs["request"]))
        return self._replace(collection_id, item_id, item)

    async def patch_item(self, collection_id: str, item_id: str, **kwargs: Any) -> stac.Item | Response | None:  # type: ignore[override]
        """PATCH /collections/{collection_id}/items/{item_id}: a merge patch, or a JSON Patch that adds and removes."""
        request: Request = kwargs["request"]
        if request.headers.get("content-type") == "application/json-patch+json":
            operations = await request.json()
            patched = _patched(self.store.item(collection_id, item_id), operations)
        else:
            patch = await _posted(request)
            patched = _merge(self.store.item(collection_id, item_id), patch)
        return self._replace(collection_id, item_id, patched)

    async def delete_item(self, item_id: str, collection_id: str, **_: Any) -> stac.Item | Response | None:
        """DELETE /collections/{collection_id}/items/{item_id}: 404 if there is none."""
        self.store.delete_item(collection_id, item_id)
        return JSONResponse({"deleted item": item_id})

    async def create_collection(self, *_: Any, **kwargs: Any) -> stac.Collection | Response | None:
        """POST /collections: 201; 409 if the id is taken."""
        body = await _posted(kwargs["request"])
        self.store.add_collection(body)
        return cast(stac.Collection, body)

    async def update_collection(self, collection_id: str, **kwargs: Any) -> stac.Collection | Response | None:  # type: ignore[override]
        """PUT /collections/{collection_id}: 404 if there is none."""
        body = await _posted(kwargs["request"])
        self._replace_collection(collection_id, body)
        return cast(stac.Collection, body)

    async def patch_collection(self, collection_id: str, **kwargs: Any) -> stac.Collection | Response | None:  # type: ignore[override]
        """PATCH /collections/{collection_id}: a merge patch."""
        body = _merge(self.store.collection(collection_id), await _posted(kwargs["request"]))
        self._replace_collection(collection_id, body)
        return cast(stac.Collection, body)

    async def delete_collection(self, collection_id: str, **_: Any) -> stac.Collection | Response | None:
        """DELETE /collections/{collection_id}: with its items; 404 if there is none."""
        self.store.delete_collection(collection_id)
        return JSONResponse({"deleted collection": collection_id})

    def _replace(self, collection_id: str, item_id: str, item: Json) -> stac.Item:
        _same_id(item, item_id)
        self.store.replace_item(collection_id, item_id, item)
        return cast(stac.Item, item)

    def _replace_collection(self, collection_id: str, body: Json) -> None:
        _same_id(body, collection_id)
        self.store.replace_collection(collection_id, body)


@attr.s
class BulkWriter(AsyncBaseBulkTransactionsClient):
    """Writes many items at once, as pgSTAC does.

    Attributes:
        store: where they are.
    """

    store: Store = attr.ib(kw_only=True)

    async def bulk_item_insert(self, items: Items, **kwargs: Any) -> BulkTransaction | Response:
        """POST /collections/{collection_id}/bulk_items: 200, also where items were left out; 409 if an id is taken."""
        collection_id = kwargs["request"].path_params["collection_id"]
        good, errors = [], []
        for item_id, item in items.items.items():
            try:
                _same_id(item, item_id)
                good.append(_of(collection_id, item))
            except BadQuery as error:
                errors.append({"id": item_id, "msg": str(error)})
        if items.method is BulkTransactionMethod.UPSERT:
            self.store.put_items(collection_id, good)
        else:
            self.store.add_items(collection_id, good)
        told = {"received": len(items.items), "success": len(good), "skipped": 0, "errors": errors}
        return cast(BulkTransaction, told)


async def _posted(request: Request) -> Json:
    body: object = await request.json()  # and not the checked model, which spells timestamps anew
    if not isinstance(body, dict):
        raise BadQuery("only merge patches (RFC 7396) are supported")
    return body


def _of(collection_id: str, item: Json) -> Json:
    if item.get("collection", collection_id) != collection_id:
        raise BadQuery(f"the item says that it is in the collection {item['collection']!r}, not {collection_id!r}")
    require_taken(item)
    return item | {"collection": collection_id}


def _same_id(body: Json, expected: str) -> None:
    if body.get("id") != expected:
        raise BadQuery(f"the body has the id {body.get('id')!r}, the URL {expected!r}")


def _patched(target: Json, operations: object) -> Json:
    """Return an item after the operations `add` and `remove` of a JSON Patch (RFC 6902)."""
    patched = copy.deepcopy(target)
    try:
        for each in cast("list[Json]", operations):
            *path, name = (part.replace("~1", "/").replace("~0", "~") for part in str(each["path"]).split("/")[1:])
            holder: Any = patched
            for part in path:
                holder = holder[part]
            if each["op"] == "add":
                holder[name] = each["value"]
            elif each["op"] == "remove":
                del holder[name]
            else:
                raise BadQuery(f"only additions and removals are supported, not {each['op']!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise BadQuery(f"the patch does not fit the item: {error}") from error
    return patched


def _merge(target: Json, patch: Json) -> Json:
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            present = merged.get(key)
            merged[key] = _merge(present if isinstance(present, dict) else {}, value)
        else:
            merged[key] = value
    return merged
