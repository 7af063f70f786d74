import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from local.stack import Stack

WORLD = {"type": "Polygon", "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]}
EVERYWHERE: dict[str, Any] = {
    "type": "Feature",
    "stac_version": "1.1.0",
    "geometry": WORLD,
    "bbox": [-180, -90, 180, 90],
    "links": [],
    "assets": {},
}
TIMESTAMPS = {
    "datetime": "2024-03-25T09:00:00.1234567Z",
    "created": "2024-03-25T10:00:00+01:00",
    "start_datetime": "2024-03-25T09:00:00Z",
    "end_datetime": "9999-12-31T23:59:59.000Z",
}


def new_item(**properties: object) -> dict[str, Any]:
    return EVERYWHERE | {"id": f"item-{uuid4()}", "collection": "aux", "properties": TIMESTAMPS | properties}


def stored(shown: Any) -> Any:
    """An item as the catalog shows it, without the links that it adds."""
    return {**shown, "links": []}


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
    assert stored(catalog.get(items_url(item)).json()) == item


def test_a_second_item_of_one_id_is_a_conflict(catalog: httpx.Client, item: dict[str, Any]) -> None:
    assert catalog.post(items_url(), json=item).status_code == 409


def test_put_replaces(catalog: httpx.Client, item: dict[str, Any]) -> None:
    other = new_item(platform="sentinel-1a") | {"id": item["id"]}
    assert catalog.put(items_url(item), json=other).status_code == 200
    assert stored(catalog.get(items_url(item)).json()) == other


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
    answer = catalog.post(items_url(), json=new_item() | {"geometry": geometry, "bbox": None})
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
    assert [stored(each) for each in found["features"]] == [item]


def test_a_page_that_nothing_follows_has_no_next_link(catalog: httpx.Client, item: dict[str, Any]) -> None:
    links = catalog.post("/search", json={"ids": [item["id"]], "limit": 1}).json()["links"]
    assert [link["rel"] for link in links] == ["root"]


def test_a_filter_is_applied(catalog: httpx.Client, item: dict[str, Any]) -> None:
    marked = new_item(platform="sentinel-9z")
    catalog.post(items_url(), json=marked)
    wanted = {"op": "=", "args": [{"property": "platform"}, "sentinel-9z"]}
    found = catalog.post("/search", json={"filter": wanted}).json()["features"]
    catalog.delete(items_url(marked))
    assert item["id"] != marked["id"]
    assert [stored(each) for each in found] == [marked]


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


REFUSED: dict[str, tuple[dict[str, Any], int]] = {
    "no geometry": ({"geometry": None, "bbox": None}, 400),
    "a bbox of three": ({"bbox": [0, 0, 1]}, 400),
    "a reserved character": ({"id": "a:b"}, 400),
    "an open end of a station": ({"properties": TIMESTAMPS | {"end_datetime": "99999999T999999"}}, 400),
    "a compact date": ({"properties": TIMESTAMPS | {"created": "20240325T090000"}}, 400),
    "no zone": ({"properties": TIMESTAMPS | {"created": "2024-03-25T09:00:00"}}, 400),
    "no datetime": ({"properties": {"created": TIMESTAMPS["created"]}}, 400),
    "an end before its start": ({"properties": TIMESTAMPS | {"end_datetime": "2023-01-01T00:00:00Z"}}, 500),
    "NUL": ({"properties": TIMESTAMPS | {"note": "\0"}}, 500),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_pgstac_refuses_is_refused_with_its_status_when_created_and_when_replaced(
    catalog: httpx.Client, item: dict[str, Any], case: str
) -> None:
    fields, status = REFUSED[case]
    assert catalog.post(items_url(), json=new_item() | fields).status_code == status
    if "id" not in fields:
        assert catalog.put(items_url(item), json=new_item() | {"id": item["id"]} | fields).status_code == status
        assert stored(catalog.get(items_url(item)).json()) == item


def rels(body: Any) -> dict[str, str]:
    return {link["rel"]: link["href"] for link in body["links"]}


def test_links_lead_to_itself_and_to_what_it_belongs_to(catalog: httpx.Client, item: dict[str, Any]) -> None:
    root = f"{catalog.base_url}"
    collection, own = f"{root}collections/aux", f"{root}collections/aux/items/{item['id']}"
    expected = {"self": own, "parent": collection, "collection": collection, "root": root}
    assert rels(catalog.get(items_url(item)).json()) == expected
    found = catalog.post("/search", json={"ids": [item["id"]]}).json()
    assert [rels(each) for each in found["features"]] == [expected]

    of_collection = {"self": collection, "parent": root, "root": root, "items": f"{collection}/items"}
    assert rels(catalog.get("/collections/aux").json()) == of_collection
    assert of_collection in [rels(each) for each in catalog.get("/collections").json()["collections"]]
    assert rels(catalog.get("/collections").json()) == {"self": f"{root}collections", "root": root, "parent": root}
    of_items = rels(catalog.get(items_url()).json())
    assert (of_items["self"], of_items["root"]) == (f"{collection}/items", root)


def test_links_that_were_sent_stay_beside_those_that_are_made(catalog: httpx.Client, item: dict[str, Any]) -> None:
    sent = [{"rel": "license", "href": "https://example.com/"}, {"rel": "self", "href": "https://example.com/other"}]
    catalog.put(items_url(item), json=item | {"links": sent})
    shown = rels(catalog.get(items_url(item)).json())
    assert shown["license"] == "https://example.com/"
    assert shown["self"].endswith(item["id"])


VALIDITY = {"start_datetime": "2020-01-01T00:00:00Z", "end_datetime": "2020-01-02T00:00:00Z", "datetime": None}
TRIANGLE = {"type": "Polygon", "coordinates": [[[10, 10], [20, 10], [20, 20], [10, 10]]]}


@pytest.fixture
def placed(catalog: httpx.Client) -> Iterator[dict[str, Any]]:
    """An item of two days and a triangle."""
    item = new_item() | {"geometry": TRIANGLE, "bbox": [10, 10, 20, 20], "properties": TIMESTAMPS | VALIDITY}
    assert catalog.post(items_url(), json=item).status_code == 201
    yield item
    catalog.delete(items_url(item))


SEARCHES: list[tuple[dict[str, Any], bool]] = [
    ({"datetime": "2020-01-01T12:00:00Z"}, True),
    ({"datetime": "2020-01-02T00:00:00Z"}, True),
    ({"datetime": "2020-01-02T01:00:00+01:00/.."}, True),
    ({"datetime": "2020-01-02T00:00:01Z/2021-01-01T00:00:00Z"}, False),
    ({"datetime": "../2020-01-01T00:00:00Z"}, True),
    ({"datetime": "../2019-12-31T23:59:59Z"}, False),
    ({"bbox": [0, 0, 15, 15]}, True),
    ({"bbox": [20, 20, 30, 30]}, True),
    ({"bbox": [10, 16, 12, 20]}, False),
    ({"bbox": [170, -10, -170, 10]}, False),
    ({"bbox": [19, 0, -170, 30]}, True),
    ({"bbox": [0, 0, -100, 15, 15, 100]}, True),
    ({"intersects": {"type": "Point", "coordinates": [15, 12]}}, True),
    ({"intersects": {"type": "Point", "coordinates": [12, 18]}}, False),
    ({"intersects": TRIANGLE, "datetime": "2020-01-01T12:00:00Z"}, True),
    ({"intersects": TRIANGLE, "datetime": "2021-01-01T12:00:00Z"}, False),
]


@pytest.mark.parametrize(("search", "found"), SEARCHES, ids=str)
def test_a_search_by_time_and_place_finds_what_meets_it(
    catalog: httpx.Client, placed: dict[str, Any], search: dict[str, Any], found: bool
) -> None:
    body = {"ids": [placed["id"]], **search}
    expected = [placed["id"]] if found else []
    assert ids(catalog.post("/search", json=body)) == expected

    parameters = {name: as_text(value) for name, value in search.items()}
    assert ids(catalog.get("/search", params={"ids": placed["id"], **parameters})) == expected
    if "intersects" not in search:
        assert (placed["id"] in ids(catalog.get(items_url(), params=parameters))) == found


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["features"]]


def as_text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else str(value)


@pytest.mark.parametrize(
    "parameters",
    [
        {"datetime": "yesterday"},
        {"datetime": "../.."},
        {"datetime": "2021-01-01T00:00:00Z/2020-01-01T00:00:00Z"},
        {"bbox": "0,0,1"},
        {"bbox": "0,1,1,0"},
        {"bbox": "a,b,c,d"},
        {"intersects": "POINT(0 0)"},
        {"intersects": "[]"},
        {"intersects": '{"type": "Circle"}'},
        {"intersects": '{"type": "Point", "coordinates": [0, 0]}', "bbox": "0,0,1,1"},
    ],
    ids=str,
)
def test_a_time_or_place_that_is_none_is_refused(catalog: httpx.Client, parameters: dict[str, str]) -> None:
    assert catalog.get("/search", params=parameters).status_code == 400
