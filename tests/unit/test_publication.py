"""What is published: valid STAC with every extension that it uses named, and nothing of the station's re-spelled."""

import json
from typing import Any

import pystac
import pytest
from pystac.errors import ExtensionNotImplemented, STACValidationError

from local import samples
from shared.json_types import Json
from shared.stac.aux_staging import SCHEMA_URI, AuxStagingExtension, schema
from shared.stac.item import Item
from shared.stac.publication import Public, composed
from tests.benchmarks.shelves import offered
from tests.stac_schemas import require_valid

MULTIHASH = "d50110" + "0" * 32
SOURCE: Json = {"name": "X.zip", "href": "s3://b/o/c/X/X.zip", "etag": "e", "size": 9, "checksum": MULTIHASH}
STAGED: Json = {"href": "s3://b/o/c/X/X.EOF", "file:size": 3, "file:checksum": MULTIHASH, "aux_staging:etag": "e"}
EXPANDED: Json = {
    "href": "s3://b/o/c/X/X/",
    "file:size": 12,
    "aux_staging:source": SOURCE,
    "aux_staging:manifest": "s3://b/o/c/X/X.manifest.json",
}
TIMESTAMPS = "https://stac-extensions.github.io/timestamps/v1.1.0/schema.json"
PROCESSING = "https://stac-extensions.github.io/processing/{}/schema.json"


def item(assets: dict[str, Json], **changes: Any) -> Item:
    feature: Json = {"type": "Feature", "id": "X", "geometry": None, "links": [], "assets": {**assets}}
    return Item.model_validate({**feature, "properties": {"datetime": "2024-03-25T00:00:00.000Z"}, **changes})


def written(item: Item) -> Json:
    return json.loads(json.dumps(composed(item).to_json()))  # type: ignore[no-any-return]


def shown(feature: object) -> Json:
    """An item as a catalog shows it, which adds the links."""
    body = written(Item.model_validate(feature))
    return {**body, "links": [{"rel": "collection", "href": "http://catalog/collections/adgs"}]}


def extensions(body: Json) -> list[str]:
    found = body["stac_extensions"]
    assert isinstance(found, list)
    return [str(each) for each in found]


@pytest.mark.parametrize("asset", [STAGED, EXPANDED, {"href": "s3://b/k"}], ids=["staged", "expanded", "plain"])
def test_what_is_published_is_valid(asset: Json) -> None:
    require_valid(written(item({"X": asset})))


def test_an_item_of_a_real_station_is_valid_once_it_is_published() -> None:
    body = offered(1)
    for asset in body["assets"].values():  # type: ignore[union-attr]
        asset["file:checksum"] = MULTIHASH  # type: ignore[index, call-overload]
    require_valid(shown(body))


@pytest.mark.long
def test_the_sample_products_are_valid(tmp_path: Any) -> None:
    for feature in samples.write_samples(tmp_path, "http://127.0.0.1/auxip")[:20]:
        if feature["assets"]:
            require_valid(shown(feature))


def test_every_extension_that_is_used_is_named_once() -> None:
    used = item(
        {"X": STAGED},
        stac_extensions=[PROCESSING.format("v1.0.0")],
        properties={
            "datetime": "2024-03-25T00:00:00Z",
            "published": "2024-03-25T00:00:00Z",
            "processing:facility": "f",
            "owner": "o",
        },
    )
    body = written(used)
    assert extensions(body) == [
        PROCESSING.format("v1.0.0"),
        "https://stac-extensions.github.io/file/v2.1.0/schema.json",
        SCHEMA_URI,
        TIMESTAMPS,
    ]
    assert written(Item.model_validate(body)) == body


def test_what_the_station_said_is_spelled_as_it_was() -> None:
    given = item(
        {"X": {**STAGED, "title": None, "roles": ["data"], "file:byte_order": "big-endian", "x": {"y": [None]}}},
        properties={"datetime": "2024-03-25T00:00:00.000Z", "created": "2024-03-25 00:00", "auxip:id": None},
        bbox=None,
    )
    body, before = written(given), given.to_json()
    assert {name: body[name] for name in before if name not in ("stac_extensions", "assets")} == {
        name: value for name, value in before.items() if name != "assets"
    }
    assert assets_of(body)["X"].items() >= given.to_json()["assets"]["X"].items()  # type: ignore[index, call-overload, union-attr]


def assets_of(body: Json) -> dict[str, Json]:
    found = body["assets"]
    assert isinstance(found, dict)
    return found  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("asset", "kind", "role"),
    [
        (STAGED, "application/xml", "data"),
        ({**STAGED, "type": None}, "application/xml", "data"),
        ({**STAGED, "type": "text/plain", "roles": ["orbit"]}, "text/plain", "orbit"),
        ({**STAGED, "href": "s3://b/k"}, "application/octet-stream", "data"),
        ({**STAGED, "href": "s3://b/k.TGZ"}, "application/gzip", "data"),
        (EXPANDED, "application/x-directory", "data"),
    ],
)
def test_each_asset_that_we_staged_has_a_type_and_roles(asset: Json, kind: str, role: str) -> None:
    made = assets_of(written(item({"X": asset})))["X"]
    assert (made["type"], made["roles"]) == (kind, [role])


def test_an_asset_of_somebody_else_stays_as_it_is() -> None:
    other: Json = {"href": "https://elsewhere/quicklook.png", "title": "quicklook"}
    assert assets_of(written(item({"X": STAGED, "quicklook": other})))["quicklook"] == other


def test_an_item_of_stac_1_0_is_published_as_one_of_1_1() -> None:
    assert written(item({"X": STAGED}, stac_version="1.0.0"))["stac_version"] == "1.1.0"


def test_an_asset_has_the_url_by_which_people_read_it_beside_those_that_it_had() -> None:
    had: Json = {"https": {"href": "https://old"}, "ftp": {"href": "ftp://x"}}
    given = item({"X": {**STAGED, "href": "s3://b/o/c/X/a b.EOF", "alternate": had}, "Y": {"href": "s3://other/k"}})
    body = composed(given, Public("b", "https://data.example/aux")).to_json()

    assert assets_of(body)["X"]["alternate"] == {
        "https": {"href": "https://data.example/aux/o/c/X/a%20b.EOF"},
        "ftp": {"href": "ftp://x"},
    }
    assert "alternate" not in assets_of(body)["Y"]
    require_valid(body)


# The extension


def test_a_python_caller_reads_our_fields_with_the_extensions_class() -> None:
    read = pystac.Item.from_dict(written(item({"X": EXPANDED})))
    ours = AuxStagingExtension.ext(read.assets["X"])
    assert (ours.manifest, ours.source, ours.etag) == ("s3://b/o/c/X/X.manifest.json", SOURCE, None)


def test_an_item_without_the_extension_is_said_to_have_none() -> None:
    read = pystac.Item.from_dict({**written(item({"X": {"href": "s3://b/k"}}))})
    with pytest.raises(ExtensionNotImplemented):
        AuxStagingExtension.ext(read.assets["X"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"aux_staging:etag": ""},
        {"aux_staging:etag": 1},
        {"aux_staging:other": "x"},
        {"aux_staging:source": {"name": "n", "href": "h"}, "aux_staging:manifest": "m"},
        {"aux_staging:source": {**SOURCE, "more": 1}, "aux_staging:manifest": "m"},
        {"aux_staging:source": SOURCE},
        {"aux_staging:prefix": "s3://b/o/c/X/X/"},
    ],
)
def test_the_schema_refuses_what_the_fields_must_not_be(wrong: Json) -> None:
    body = written(item({"X": STAGED}))
    body["assets"] = {"X": {"href": "s3://b/k", **wrong}}
    with pytest.raises(STACValidationError):
        require_valid(body)


def test_the_schema_has_the_name_by_which_items_name_it() -> None:
    assert schema()["$id"] == SCHEMA_URI
