"""What others have written into an item survives when it is staged again."""

from typing import Any

from shared.json_types import Json
from shared.stac.item import Item
from shared.steps.merging import with_others
from tests.unit.making import item_json

FUTURE, PAST = "2999-01-01T00:00:00Z", "2001-01-01T00:00:00Z"
STAGED: Json = {"href": "s3://bucket/key", "aux_staging:etag": "1"}


def item(properties: Json | None = None, asset: Json | None = None, **more: Any) -> Item:
    return Item.model_validate(
        item_json(properties=properties or {}, assets={"a": {**STAGED, **(asset or {})}}, **more)
    )


def test_an_item_that_the_catalog_has_not_is_written_as_it_is() -> None:
    assert with_others(item({"a": 1}), None) == item({"a": 1})


def test_a_property_that_only_the_catalog_has_stays_and_one_of_the_station_is_renewed() -> None:
    merged = with_others(item({"stated": "new"}), item({"stated": "old", "theirs": 1}))
    assert merged.properties == {"stated": "new", "theirs": 1}


def test_when_it_was_published_and_expires_is_the_catalogs_to_say() -> None:
    shown = item({"published": PAST, "expires": FUTURE})
    assert with_others(item({"published": "2024-01-01T00:00:00Z"}), shown).properties == shown.properties


def test_what_was_deleted_and_is_staged_again_has_not_expired() -> None:
    assert with_others(item(), item({"expires": PAST, "unpublished": PAST})).properties == {}


def test_a_field_that_others_have_added_to_the_same_object_stays() -> None:
    merged = with_others(item(asset={"title": "ours"}), item(asset={"title": "old", "raster:bands": []}))
    assert merged.to_json()["assets"] == {"a": {**STAGED, "title": "ours", "raster:bands": []}}


def test_a_field_that_describes_another_object_is_left_out() -> None:
    shown = item(asset={"aux_staging:etag": "2", "file:header_size": 7})
    assert with_others(item(), shown).to_json()["assets"] == {"a": STAGED}


def test_links_extensions_and_a_geometry_of_others_stay() -> None:
    point: Json = {"type": "Point", "coordinates": [1, 2]}
    derived: Json = {"rel": "derived_from", "href": "h"}
    ours: Json = {"rel": "collection", "href": "c"}
    shown = item(links=[derived], geometry=point, bbox=[1, 2, 1, 2], stac_extensions=["theirs", "both"])
    merged = with_others(item(links=[ours], stac_extensions=["both", "ours"]), shown).to_json()
    assert merged["links"] == [derived, ours]
    assert (merged["geometry"], merged["bbox"]) == (point, [1, 2, 1, 2])
    assert merged["stac_extensions"] == ["theirs", "both", "ours"]
