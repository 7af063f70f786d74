import hashlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from local import samples
from local.samples import Defect
from local.stack import Stack

WINDOW = ("2024-03-25T09:00:00Z", "2024-03-25T09:25:00Z")
COVERS_WINDOW = {
    "op": "and",
    "args": [
        {"op": "in", "args": [{"property": "product:type"}, list(samples.DEMO_PRODUCT_TYPES)]},
        {"op": "<=", "args": [{"property": "start_datetime"}, {"timestamp": WINDOW[0]}]},
        {"op": ">=", "args": [{"property": "end_datetime"}, {"timestamp": WINDOW[1]}]},
    ],
}
SCENARIOS = {"op": "=", "args": [{"property": "product:type"}, "OPER_MPL_ORBSCT"]}


def search(station: httpx.Client, **body: object) -> Any:
    return station.post("/search", json=body).raise_for_status().json()


def pages(station: httpx.Client, **body: object) -> Iterator[list[str]]:
    answer = search(station, **body)
    while True:
        yield [item["id"] for item in answer["features"]]
        following = [link for link in answer["links"] if link["rel"] == "next"]
        if not following:
            return
        answer = station.post(following[0]["href"], json=following[0]["body"]).raise_for_status().json()


def href(station: httpx.Client, name: str) -> str:
    item_id = samples.product(name).item_id
    item = station.get(f"/collections/{samples.STATION_COLLECTION}/items/{item_id}").raise_for_status().json()
    return str(item["assets"][name]["href"])


@pytest.mark.parametrize("path", ["/", "/search", "/collections", "/faults", "/traffic"])
def test_a_request_without_the_key_is_refused(stack: Stack, path: str) -> None:
    assert httpx.get(stack.station_url + path).status_code == 401


def test_the_catalogs_key_is_not_the_stations(stack: Stack) -> None:
    environ = stack.environment()
    headers = {"x-api-key": environ["AUXIP_CATALOG_API_KEY"]}
    assert httpx.get(stack.station_url, headers=headers).status_code == 401


def test_a_download_without_the_key_is_refused(station: httpx.Client) -> None:
    assert httpx.get(href(station, samples.OPEN_ENDED)).status_code == 401


def test_the_demos_search_finds_what_covers_its_window(station: httpx.Client) -> None:
    covering = {each.item_id for each in samples.catalogue() if each.covers(samples.DEMO_START, samples.DEMO_END)}
    assert {item["id"] for item in search(station, filter=COVERS_WINDOW)["features"]} == covering


def test_every_page_with_an_item_links_to_a_next_one_so_the_last_is_empty(station: httpx.Client) -> None:
    assert [len(page) for page in pages(station, filter=SCENARIOS, limit=1)] == [1, 1, 0]


def test_pages_hold_every_item_once(station: httpx.Client) -> None:
    whole = [item["id"] for item in search(station, filter=COVERS_WINDOW)["features"]]
    assert [name for page in pages(station, filter=COVERS_WINDOW, limit=7) for name in page] == whole


def test_the_newest_publication_comes_first(station: httpx.Client) -> None:
    created = [item["properties"]["created"] for item in search(station)["features"]]
    assert created == sorted(created, reverse=True)


def test_items_are_sorted_as_asked(station: httpx.Client) -> None:
    ids = [item["id"] for item in search(station, sortby=[{"field": "id", "direction": "asc"}])["features"]]
    assert ids == sorted(ids)


def test_a_get_search_takes_cql2_text(station: httpx.Client) -> None:
    found = station.get("/search", params={"filter": "\"product:type\" = 'OPER_MPL_ORBSCT'", "sortby": "+created"})
    assert [item["properties"]["created"][:4] for item in found.json()["features"]] == ["2014", "2024"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"filter": {"op": "like", "args": [{"property": "id"}, "S1A%"]}}, 400),
        ({"sortby": [{"field": "cloud_cover", "direction": "asc"}]}, 404),
        ({"sortby": [{"field": "id", "direction": "asc"}, {"field": "created", "direction": "asc"}]}, 400),
        ({"sortby": [{"field": "id", "direction": "sideways"}]}, 400),
        ({"collections": ["nowhere"]}, 404),
        ({"token": "page2"}, 400),
        ({"limit": 0}, 400),
        ({"bbox": [0, 0, 1]}, 400),
        ({"datetime": "yesterday"}, 400),
        ({"sortBy": []}, 400),
    ],
)
def test_what_the_station_does_not_know_is_an_error(station: httpx.Client, body: object, status: int) -> None:
    answer = station.post("/search", json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/collections/nowhere", "/collections/nowhere/items", "/collections/adgs/items/none"])
def test_what_is_not_there_is_not_found(station: httpx.Client, path: str) -> None:
    assert station.get(path).status_code == 404


def test_the_station_cannot_be_written_to(station: httpx.Client) -> None:
    assert station.post("/collections/adgs/items", json={}).status_code == 405


def test_a_download_has_the_size_and_checksum_of_its_item(station: httpx.Client) -> None:
    for item in search(station, filter=SCENARIOS)["features"]:
        for asset in item["assets"].values():
            content = station.get(asset["href"]).raise_for_status().content
            assert len(content) == asset["file:size"]
            assert hashlib.md5(content, usedforsecurity=False).hexdigest() == asset["file:checksum"]


def test_a_range_of_a_download(station: httpx.Client) -> None:
    whole = samples.product(samples.OPEN_ENDED).build()
    answer = station.get(href(station, samples.OPEN_ENDED), headers={"range": "bytes=1000-1999"})
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes 1000-1999/{len(whole)}"
    assert answer.content == whole[1000:2000]


def test_a_range_beyond_the_end_cannot_be_satisfied(station: httpx.Client) -> None:
    answer = station.get(href(station, samples.OPEN_ENDED), headers={"range": "bytes=999999999-"})
    assert answer.status_code == 416


def test_a_dead_link_is_not_found(station: httpx.Client) -> None:
    sample = samples.faulty(Defect.NOT_FOUND)
    item = station.get(f"/collections/{samples.STATION_COLLECTION}/items/{sample.item_id}").json()
    assert station.get(item["assets"][sample.product.name]["href"]).status_code == 404


def test_the_traffic_is_counted(stack: Stack, station: httpx.Client) -> None:
    before = stack.station_traffic()
    search(station)
    content = station.get(href(station, samples.OPEN_ENDED)).content
    after = stack.station_traffic()
    assert after.searches - before.searches == 1
    assert after.downloads - before.downloads == 1
    assert after.download_bytes - before.download_bytes == len(content)
