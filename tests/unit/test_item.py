"""Items: reading and writing one changes nothing that we do not mean to change."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from shared.errors import ItemFailed
from shared.json_types import Json
from shared.stac.item import Asset, Found, Item, Source, offered_item
from tests.unit.making import item_json, item_of

FULL: Json = {
    "type": "Feature",
    "stac_version": "1.1.0",
    "stac_extensions": ["https://stac-extensions.github.io/file/v2.1.0/schema.json"],
    "id": "S1A_OPER_MPL_ORBPRE",
    "collection": "adgs",
    "geometry": None,
    "bbox": None,
    "properties": {
        "datetime": None,
        "start_datetime": "2024-03-25T00:00:00.000000Z",
        "end_datetime": "99999999T999999",
        "created": "2024-03-25T02:00:00+02:00",
        "file:size": 1.0,
        "auxip:id": {"deep": [1, None, {"x": "y"}]},
    },
    "links": [{"rel": "self", "href": "http://station/items/1", "method": "GET"}],
    "assets": {
        "a.EOF": {
            "href": "http://station/Products(1)/$value",
            "roles": ["data"],
            "file:size": 10,
            "file:checksum": "D41D8CD98F00B204E9800998ECF8427E",
            "alternate": {"https": {"href": "https://elsewhere"}},
        },
        "b.EOF": {"href": "relative/b.EOF", "title": None},
    },
    "assets_more": {},
}


def test_a_round_trip_changes_nothing() -> None:
    assert Item.model_validate(FULL).to_json() == FULL


def test_a_round_trip_through_text_changes_nothing() -> None:
    item = Item.model_validate(FULL)
    text = item.model_dump_json(by_alias=True, exclude_unset=True)
    assert json.loads(text) == FULL
    assert Item.model_validate_json(text) == item


def test_fields_that_were_never_there_stay_away() -> None:
    bare: Json = {"id": "X", "properties": {}, "assets": {"a": {"href": "h"}}}
    assert Item.model_validate(bare).to_json() == bare


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8"), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    properties=st.dictionaries(st.sampled_from(["created", "file:size", "x", "size", "checksum"]), VALUES), more=VALUES
)
def test_whatever_a_station_adds_to_an_item_is_kept(properties: Json, more: JsonValue) -> None:
    given_item = item_json(properties=properties, assets={"a": {"href": "h", "x:more": more}})
    given_item["auxip:more"] = more
    assert Item.model_validate(given_item).to_json() == given_item


@pytest.mark.parametrize("size", [0, 7, "0", "7", 2**45, None])
def test_a_size_is_a_number_or_a_string_of_digits(size: object) -> None:
    asset = Asset.model_validate({"href": "h", "file:size": size})
    assert asset.size == (None if size is None else int(str(size)))


@pytest.mark.parametrize("size", [-1, "-1", "7 MB", "", 1.5, 2**63, "9" * 30, "9" * 5000, [], {}])
def test_a_size_that_no_file_has_is_malformed(size: object) -> None:
    with pytest.raises(ValidationError, match="file:size"):
        Asset.model_validate({"href": "h", "file:size": size})


def test_the_size_of_an_item_is_that_of_its_assets_as_far_as_they_are_stated() -> None:
    item = item_of(
        assets={"a": {"href": "h", "file:size": 3}, "b": {"href": "h"}, "c": {"href": "h", "file:size": "4"}}
    )
    assert item.size == 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": 5},
        {"id": "x" * 513},
        {"type": "FeatureCollection"},
        {"properties": None},
        {"assets": None},
        {"assets": []},
        {"assets": {"a": {}}},
        {"assets": {"a": {"href": ""}}},
        {"assets": {"a": {"href": None}}},
        {"assets": {"a": {"href": "h", "file:checksum": 5}}},
        {"geometry": []},
    ],
    ids=str,
)
def test_an_item_that_is_none_is_refused(wrong: Json) -> None:
    with pytest.raises(ValidationError):
        Item.model_validate({**item_json(), **wrong})


def test_what_an_asset_was_expanded_from_is_kept_with_it() -> None:
    source = Source(name="a.zip", href="s3://bucket/a.zip", etag="e", size=5, checksum="c")
    asset = Asset(href="s3://bucket/a/", source=source, manifest="s3://bucket/a.manifest.json")
    written = asset.model_dump(mode="json", by_alias=True, exclude_unset=True)

    assert written["aux_staging:source"]["name"] == "a.zip"
    assert Asset.model_validate(written) == asset


def test_an_unusable_item_says_why_and_holds_nothing() -> None:
    assert Found.unusable("X", "bad-item", "no properties") == Found(
        item_id="X", item=None, code="bad-item", reason="no properties"
    )


def test_of_an_item_the_named_assets_are_chosen_and_the_item_stays_as_it_was() -> None:
    item = item_of(assets={"a": {"href": "h"}, "b": {"href": "h"}})
    chosen = Found(item_id="X", item=item).with_assets(("b", "c")).item

    assert chosen is not None
    assert (list(chosen.assets), list(item.assets)) == (["b"], ["a", "b"])


def test_an_item_with_none_of_the_named_assets_is_skipped_with_what_it_has() -> None:
    skipped = Found(item_id="X", item=item_of(assets={"a": {"href": "h"}})).with_assets(("b",))

    assert (skipped.item, skipped.skipped, skipped.code) == (None, True, "no-such-asset")
    assert skipped.reason.endswith("it has a")


def test_an_unusable_item_stays_so_whatever_assets_are_named() -> None:
    found = Found.unusable("X", "bad-item", "no properties")
    assert found.with_assets(("a",)) == found


def test_what_is_ours_to_say_of_an_asset_is_not_taken_from_a_station() -> None:
    ours = {
        "aux_staging:etag": "e",
        "aux_staging:manifest": "m",
        "aux_staging:source": {"name": "n", "href": "h", "etag": "e"},
    }
    offered = offered_item(item_json(assets={"a": {"href": "h", "title": "t", **ours}}))
    assert offered.to_json()["assets"] == {"a": {"href": "h", "title": "t"}}


POINT: Json = {"type": "Point", "coordinates": [0, 0]}


@pytest.mark.parametrize("bbox", [{}, {"bbox": None}])
def test_an_item_with_a_geometry_and_no_bbox_is_refused(bbox: dict[str, Any]) -> None:
    with pytest.raises(ItemFailed, match=r"bad-item: .* bbox"):
        offered_item(item_json(geometry=POINT, **bbox))


@pytest.mark.parametrize("fields", [{"geometry": POINT, "bbox": [0, 0, 0, 0]}, {"geometry": None}])
def test_an_item_with_both_or_neither_is_taken(fields: dict[str, Any]) -> None:
    assert offered_item(item_json(**fields)).to_json().items() >= fields.items()


def evicting(properties: Json, *assets: Json) -> Item:
    described = {f"a{number}": {"href": "http://h/x", **fields} for number, fields in enumerate(assets)}
    return item_of(properties=properties, assets=described)


def test_an_item_is_evicted_with_the_first_of_its_assets() -> None:
    item = evicting(
        {}, {"eviction_datetime": "2024-04-02T00:00:00Z"}, {"eviction_datetime": "2024-04-01T02:00:00+02:00"}
    )
    assert item.evicted == datetime(2024, 4, 1, tzinfo=UTC)
    assert evicting({"eviction_datetime": "2024-03-31T00:00:00Z"}, {}).evicted == datetime(2024, 3, 31, tzinfo=UTC)


@pytest.mark.parametrize("stated", [None, "", "soon", 5, "9999-12-31T23:59:59.999999Z", "99999999T999999"])
def test_an_item_whose_station_states_no_eviction_is_never_evicted(stated: JsonValue) -> None:
    assert evicting({}, {"eviction_datetime": stated}).evicted is None
