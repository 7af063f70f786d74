from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from local.stack import Stack

NOWHERE: dict[str, Any] = {"type": "Feature", "stac_version": "1.1.0", "geometry": None, "links": [], "assets": {}}
TIMESTAMPS = {
    "datetime": "2024-03-25T09:00:00.1234567Z",
    "created": "2024-03-25T10:00:00+01:00",
    "start_datetime": "2024-03-25T09:00:00Z",
    "end_datetime": "9999-12-31T23:59:59.000Z",
}


def new_item(**properties: object) -> dict[str, Any]:
    return NOWHERE | {"id": f"item-{uuid4()}", "collection": "aux", "properties": TIMESTAMPS | properties}


def items_url(item: dict[str, Any] | None = None) -> str:
    return "/collections/aux/items" + (f"/{item['id']}" if item else "")


@pytest.fixture
def item(catalog: httpx.Client) -> Iterator[dict[str, Any]]:
    posted = new_item()
    assert catalog.post(items_url(), json=posted).status_code == 201
    yield posted
    catalog.delete(items_url(posted))


def test_a_request_without_the_key_is_refused(stack: Stack) -> None:
    assert httpx.post(stack.environment()["AUXIP_CATALOG_URL"] + items_url(), json=new_item()).status_code == 401


def test_the_stacks_collection_exists(stack: Stack, catalog: httpx.Client) -> None:
    assert catalog.get(f"/collections/{stack.collection}").json()["id"] == stack.collection


def test_an_item_is_stored_exactly_as_posted(catalog: httpx.Client, item: dict[str, Any]) -> None:
    assert catalog.get(items_url(item)).json() == item


def test_a_second_item_of_one_id_is_a_conflict(catalog: httpx.Client, item: dict[str, Any]) -> None:
    assert catalog.post(items_url(), json=item).status_code == 409


def test_put_replaces(catalog: httpx.Client, item: dict[str, Any]) -> None:
    other = new_item(platform="sentinel-1a") | {"id": item["id"]}
    assert catalog.put(items_url(item), json=other).status_code == 200
    assert catalog.get(items_url(item)).json() == other


def test_put_of_another_id_is_refused(catalog: httpx.Client, item: dict[str, Any]) -> None:
    assert catalog.put(items_url(item), json=new_item()).status_code == 400


def test_put_of_an_unknown_item_is_not_found(catalog: httpx.Client) -> None:
    item = new_item()
    assert catalog.put(items_url(item), json=item).status_code == 404


def test_patch_merges(catalog: httpx.Client, item: dict[str, Any]) -> None:
    patch = {"properties": {"created": None, "platform": "sentinel-1a"}}
    assert catalog.patch(items_url(item), json=patch).status_code == 200
    expected = {name: value for name, value in TIMESTAMPS.items() if name != "created"} | {"platform": "sentinel-1a"}
    assert catalog.get(items_url(item)).json()["properties"] == expected


def test_delete_removes(catalog: httpx.Client, item: dict[str, Any]) -> None:
    assert catalog.delete(items_url(item)).status_code == 200
    assert catalog.get(items_url(item)).status_code == 404


def test_an_unknown_collection_is_not_found(catalog: httpx.Client) -> None:
    item = new_item() | {"collection": "nowhere"}
    assert catalog.post("/collections/nowhere/items", json=item).status_code == 404


def test_an_item_of_another_collection_is_refused(catalog: httpx.Client) -> None:
    assert catalog.post(items_url(), json=new_item() | {"collection": "other"}).status_code == 400


def test_a_geometry_without_a_bounding_box_is_refused(catalog: httpx.Client) -> None:
    geometry = {"type": "Point", "coordinates": [1, 2]}
    answer = catalog.post(items_url(), json=new_item() | {"geometry": geometry})
    assert answer.status_code == 400
    assert "bbox is required" in answer.text


def test_several_items_are_posted_at_once(catalog: httpx.Client) -> None:
    items = [new_item(), new_item()]
    body = {"type": "FeatureCollection", "features": items, "links": []}
    assert catalog.post(items_url(), json=body).status_code == 201
    assert [catalog.delete(items_url(item)).status_code for item in items] == [200, 200]


def test_several_items_are_posted_all_or_none(catalog: httpx.Client, item: dict[str, Any]) -> None:
    other = new_item()
    body = {"type": "FeatureCollection", "features": [other, item], "links": []}
    assert catalog.post(items_url(), json=body).status_code == 409
    assert catalog.get(items_url(other)).status_code == 404


def test_a_search_by_ids_finds_what_is_there(catalog: httpx.Client, item: dict[str, Any]) -> None:
    found = catalog.post("/search", json={"ids": [item["id"], "none"], "collections": ["aux"]}).json()
    assert found["features"] == [item]


def test_a_page_that_nothing_follows_has_no_next_link(catalog: httpx.Client, item: dict[str, Any]) -> None:
    assert catalog.post("/search", json={"ids": [item["id"]], "limit": 1}).json()["links"] == []


def test_a_filter_is_applied(catalog: httpx.Client, item: dict[str, Any]) -> None:
    marked = new_item(platform="sentinel-9z")
    catalog.post(items_url(), json=marked)
    wanted = {"op": "=", "args": [{"property": "platform"}, "sentinel-9z"]}
    found = catalog.post("/search", json={"filter": wanted}).json()["features"]
    catalog.delete(items_url(marked))
    assert item["id"] != marked["id"]
    assert found == [marked]


def test_a_collection_lives_from_post_to_delete(catalog: httpx.Client) -> None:
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
    collection = {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": f"collection-{uuid4()}",
        "description": "x",
        "license": "other",
        "extent": extent,
        "links": [],
    }
    url = f"/collections/{collection['id']}"
    assert catalog.post("/collections", json=collection).status_code == 201
    assert catalog.post("/collections", json=collection).status_code == 409
    assert catalog.put(url, json=collection | {"description": "y"}).status_code == 200
    assert catalog.get(url).json()["description"] == "y"
    assert catalog.delete(url).status_code == 200
    assert catalog.get(url).status_code == 404
