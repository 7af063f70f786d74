"""The embedded STAC server as stac-api-validator and pystac-client see it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.samples import STATION_COLLECTION
from local.stack import Stack
from tests.integration.conftest import new_collection
from tests.peers.programs import programs

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
CLASSES = ["core", "collections", "features", "item-search", "filter", "item-search#sort"]
"""What the server claims and stac-api-validator knows.

But Transactions: version 0.6.8 posts an item without `links`, which STAC requires, and wants 204 for the deletion of an
item that is not there. pgSTAC passes as little.
"""


def square(west: float) -> dict[str, Any]:
    east = west + 10
    ring = [[west, west], [east, west], [east, east], [west, east], [west, west]]
    return {"geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": [west, west, east, east]}


@pytest.fixture(scope="module")
def shelf(stack: Stack) -> str:
    """A collection of three items, each at a place and on a day of its own."""
    environ = stack.environment()
    name = new_collection(environ)
    for day, product_type in enumerate("ABA", start=1):
        item = {
            "type": "Feature",
            "stac_version": "1.1.0",
            "id": f"item-{day}",
            "links": [],
            **square(10.0 * (day - 1)),
            "properties": {"datetime": f"2024-01-0{day}T12:00:00Z", "product:type": product_type},
            "assets": {"data": {"href": "https://example.com/a.txt", "type": "text/plain", "roles": ["data"]}},
        }
        url, headers = f"{environ['AUXIP_CATALOG_URL']}/collections/{name}/items", {"x-api-key": catalog_key(stack)}
        httpx.post(url, json=item, headers=headers).raise_for_status()
    return name


def catalog_key(stack: Stack) -> str:
    return stack.environment()["AUXIP_CATALOG_API_KEY"]


def run(script: str, *arguments: str, key: str) -> "subprocess.CompletedProcess[str]":
    """Run a script of this folder with the Python that has the clients."""
    environ = {"PATH": os.environ["PATH"], "STAC_API_KEY": key}
    command = [str(programs("validator") / "python"), str(HERE / script), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=100, check=False)  # noqa: S603


@pytest.mark.parametrize("conformance", CLASSES)
def test_the_catalog_passes_the_validator_for_what_it_claims(stack: Stack, shelf: str, conformance: str) -> None:
    url = stack.environment()["AUXIP_CATALOG_URL"]
    assert_passes(run("validate.py", *asked(url, shelf, conformance), key=catalog_key(stack)))


@pytest.mark.parametrize("conformance", [name for name in CLASSES if name != "item-search"])
def test_the_station_passes_it_too_but_for_a_search_by_place_as_its_items_have_none(
    stack: Stack, conformance: str
) -> None:
    parameters = asked(stack.station_url, STATION_COLLECTION, conformance)
    assert_passes(run("validate.py", *parameters, key=stack.station_key))


def asked(url: str, collection: str, conformance: str) -> list[str]:
    point = '{"type": "Point", "coordinates": [5, 5]}'
    return ["--root-url", url, "--collection", collection, "--geometry", point, "--conformance", conformance]


def assert_passes(done: "subprocess.CompletedProcess[str]") -> None:
    assert "Errors: none" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_pystac_client_opens_searches_pages_sorts_and_lists(stack: Stack, shelf: str) -> None:
    done = run("clients.py", stack.environment()["AUXIP_CATALOG_URL"], shelf, key=catalog_key(stack))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    everything = {"item-1", "item-2", "item-3"}
    assert {name: sorted(ids) for name, ids in found.items() if name not in ("descending", "one", "collections")} == {
        "pages": sorted(everything),
        "filter": ["item-1", "item-3"],
        "filter by GET": ["item-1", "item-3"],
        "datetime": ["item-2", "item-3"],
        "bbox": ["item-1"],
        "intersects": ["item-2", "item-3"],
        "all by GET": sorted(everything),
        "of the collection": sorted(everything),
    }
    assert found["descending"] == ["item-3", "item-2", "item-1"]
    assert found["one"] == found["of the collection"][:1]
    assert {shelf, stack.collection} <= set(found["collections"])
