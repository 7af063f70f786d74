"""What differs between catalogs: which one it is, and what RS-Server's does that others do not."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from shared.errors import AuxipError, ItemFailed, Refused, Retryable
from shared.json_types import Json
from shared.stac.catalog import Catalog
from shared.stac.flavours import Flavour, holds_nothing
from shared.stac.item import Asset, Item
from shared.stac.publication import Public, composed
from shared.stac.rs_server import RsServer
from tests.stac_schemas import require_valid
from tests.unit.making import Handler, answered_by, item_of, sent, settings_of

OURS, THEIRS = "s3://bucket/operations/aux/X/", "s3://theirs/operations/aux/X/"
PUBLISHED = "2026-01-01T00:00:00.000000Z"
EXPANDED = {
    "href": f"{OURS}X.SEN3/",
    "file:size": 9,
    "aux_staging:manifest": f"{OURS}X.SEN3.manifest.json",
    "aux_staging:source": {"name": "X.SEN3.zip", "href": f"{OURS}X.SEN3.zip", "etag": "e"},
}


@pytest.fixture
def rs_server() -> RsServer:
    return RsServer("operations")


RS_SERVER_DESCRIBED: Json = {"rel": "service-desc", "href": "https://catalog.example/catalog/api"}


def flavour_of(landing: Json, unknown: str = "", **settings: object) -> tuple[str, list[str]]:
    """The flavour of a catalog with this landing page, and what it was asked for to know it."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path.removeprefix("/stac"))
        if len(asked) == 1:
            return httpx.Response(200, json=landing)
        return httpx.Response(404, json={"code": "NotFoundError", "description": f"{unknown} does not exist."})

    catalog = Catalog(settings_of(**settings), None, "operations")
    answered_by(catalog.api, answer)
    try:
        return catalog.flavour.name, asked
    finally:
        catalog.api.close()


@pytest.mark.parametrize("landing", [{}, {"links": []}, {"links": [{"rel": "service-desc", "href": "https://x/api"}]}])
def test_a_catalog_whose_landing_page_is_not_rs_servers_is_asked_nothing_more(landing: Json) -> None:
    assert flavour_of(landing) == ("plain", ["/"])


@pytest.mark.parametrize(
    ("unknown", "flavour"),
    [("Collection operations_no-such-collection", "rs-server"), ("Collection operations:no-such-collection", "plain")],
)
def test_rs_server_is_known_by_how_it_names_the_collection_of_an_owner(unknown: str, flavour: str) -> None:
    assert flavour_of({"links": [RS_SERVER_DESCRIBED]}, unknown) == (
        flavour,
        ["/", "/collections/operations:no-such-collection"],
    )


@pytest.mark.parametrize("flavour", ["plain", "rs-server"])
def test_a_flavour_that_is_set_is_not_guessed(flavour: str) -> None:
    assert flavour_of({}, catalog_flavour=flavour) == (flavour, [])


def asked_of(handler: Handler, item: Item) -> Item:
    catalog = Catalog(settings_of(catalog_flavour="rs-server", backoff_base=0.0), None, "operations")
    answered_by(catalog.api, handler)
    try:
        return catalog.publish(item)
    finally:
        catalog.api.close()


def staged(**changes: Any) -> Item:
    return item_of(collection="aux", assets={"X.EOF": {"href": f"{OURS}X.EOF", "file:size": 3, **changes}})


def test_an_owner_stands_before_a_collection_and_it_is_plain_again_when_read() -> None:
    paths: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(f"{request.method} {request.url.path}")
        body = staged().to_json() if request.method == "GET" else sent(request)
        return httpx.Response(200, json={**body, "collection": "operations_aux", "bbox": None})

    shown = asked_of(answer, staged())

    assert paths == [
        "POST /stac/collections/operations:aux/items",
        "GET /stac/collections/operations:aux/items/X",
    ]
    assert (shown.collection, "bbox" in shown.to_json()) == ("aux", False)


def test_the_asset_of_an_expanded_archive_is_its_manifest_and_the_prefix_comes_back(rs_server: RsServer) -> None:
    item = item_of(collection="aux", assets={"X.SEN3": EXPANDED})
    body = rs_server.to_write(item)

    assert isinstance(body["assets"], dict)
    assert list(body["assets"]) == ["X.SEN3.manifest.json"]
    written = body["assets"]["X.SEN3.manifest.json"]
    assert isinstance(written, dict)
    assert (written["href"], written["type"]) == (f"{OURS}X.SEN3.manifest.json", "application/json")
    assert "file:size" not in written

    shown = Item.model_validate(rs_server.from_read(body))
    assert {key: asset.href for key, asset in shown.assets.items()} == {"X.SEN3": f"{OURS}X.SEN3/"}
    assert shown.assets["X.SEN3"].source == item.assets["X.SEN3"].source


def test_other_catalogs_have_the_manifest_as_an_asset_beside_the_prefix_and_steps_see_one() -> None:
    plain = Flavour("operations", Public("bucket", "https://data.example"))
    item = composed(item_of(collection="aux", assets={"X.SEN3": EXPANDED}))
    body = plain.to_write(item)

    assert isinstance(body["assets"], dict)
    assert body["assets"]["X.SEN3.manifest.json"] == {
        "href": f"{OURS}X.SEN3.manifest.json",
        "type": "application/json",
        "roles": ["metadata"],
        "aux_staging:manifest": f"{OURS}X.SEN3.manifest.json",
        "alternate": {"https": {"href": "https://data.example/operations/aux/X/X.SEN3.manifest.json"}},
    }
    assert Item.model_validate(plain.from_read(body)).assets == item.assets


@pytest.mark.parametrize("flavour", [Flavour, RsServer])
def test_what_is_written_is_valid_in_each_flavour(flavour: type[Flavour]) -> None:
    multihash = "d50110" + "0" * 32
    staged = {"href": f"{OURS}a.EOF", "file:size": 3, "file:checksum": multihash, "aux_staging:etag": "e"}
    item = item_of(collection="aux", assets={"X.SEN3": EXPANDED, "a.EOF": staged})
    item.properties |= {"datetime": "2024-03-25T00:00:00Z", "product:type": "AUX"}
    item.links = [{"rel": "collection", "href": "https://catalog.example/collections/aux"}]

    body = flavour("operations").to_write(composed(item))

    assert isinstance(body["assets"], dict)
    assert all(isinstance(asset, dict) and asset["roles"] and asset["type"] for asset in body["assets"].values())
    require_valid(json.loads(json.dumps(body)))


def test_a_search_names_the_collection_of_an_owner_with_an_underscore(rs_server: RsServer) -> None:
    assert rs_server.searched("aux") == "operations_aux"


def test_what_the_catalog_has_made_itself_is_not_sent_as_new(rs_server: RsServer) -> None:
    """It refuses a new asset with an alternate, and an item that is written is not unpublished any more."""
    item: Any = staged().to_json()
    item["properties"]["unpublished"] = "2024-03-25T00:00:00Z"
    for asset in item["assets"].values():
        asset["alternate"] = {"https": {"href": "https://catalog.example/x"}}
    body: Any = rs_server.to_write(Item.model_validate(item))

    assert "unpublished" not in body["properties"]
    assert not any("alternate" in asset for asset in body["assets"].values())


def test_an_href_that_the_catalog_does_not_take_is_refused_before_it_is_sent(rs_server: RsServer) -> None:
    with pytest.raises(ItemFailed, match="catalog-refused-item"):
        rs_server.to_write(item_of(assets={"a b": {"href": f"{OURS}a b"}}))


def moved(**properties: str) -> Json:
    return staged(href=f"{THEIRS}X.EOF", alternate={"https": {"href": "https://x"}}).to_json() | {
        "properties": {"published": PUBLISHED, **properties}
    }


def test_an_href_that_the_catalog_has_rewritten_is_kept_if_the_same_object_is_there(rs_server: RsServer) -> None:
    asked: list[str] = []

    def holds(href: str, _asset: Asset) -> bool:
        asked.append(href)
        return True

    body = rs_server.to_replace(staged(), moved(), holds)

    assert isinstance(body["assets"], dict)
    assert body["assets"]["X.EOF"] == {
        "href": f"{THEIRS}X.EOF",
        "file:size": 3,
        "alternate": {"https": {"href": "https://x"}},
    }
    assert asked == [f"{THEIRS}X.EOF"]


def test_an_href_that_leads_to_another_object_fails_the_item(rs_server: RsServer) -> None:
    with pytest.raises(ItemFailed, match="catalog-other-object"):
        rs_server.to_replace(staged(), moved(), holds_nothing)
    with pytest.raises(ItemFailed, match="catalog-other-object"):
        rs_server.require_shown(staged(), Item.model_validate(moved()), holds_nothing)


def test_an_href_of_another_item_is_no_place_of_this_one(rs_server: RsServer) -> None:
    other = staged(href="s3://theirs/operations/aux/Y/X.EOF")
    with pytest.raises(Retryable, match="catalog-mismatch"):
        rs_server.require_shown(staged(), other, lambda _href, _asset: True)


def test_the_time_of_an_item_that_is_over_begins_anew_and_it_stays_published_since_when_it_was(
    rs_server: RsServer,
) -> None:
    before = moved(expires="2026-01-31T00:00:00.000000Z", unpublished="2026-01-31T00:01:00.000000Z")
    body = rs_server.to_replace(staged(), before, lambda _href, _asset: True)

    assert isinstance(body["properties"], dict)
    assert body["properties"]["published"] == PUBLISHED
    assert "unpublished" not in body["properties"]
    left = datetime.fromisoformat(str(body["properties"]["expires"])) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)


def test_the_time_of_an_item_that_is_not_over_stays(rs_server: RsServer) -> None:
    body = rs_server.to_replace(staged(), moved(expires="2999-01-31T00:00:00Z"), lambda _href, _asset: True)
    assert isinstance(body["properties"], dict)
    assert body["properties"]["expires"] == "2999-01-31T00:00:00Z"


@pytest.mark.parametrize(("product_type", "error"), [({}, ItemFailed), ({"product:type": "AUX"}, Refused)])
def test_a_403_for_an_item_without_product_type_is_a_fault_of_the_item(
    product_type: dict[str, str], error: type[AuxipError]
) -> None:
    item = staged()
    item.properties |= product_type
    with pytest.raises(error):
        asked_of(lambda _: httpx.Response(403, json="Forbidden"), item)
