"""What catalogs check of an item is refused at the door, with the field named; the rest is taken as it came."""

import json
from typing import Any

import pytest
from pydantic import JsonValue

from shared.errors import ItemFailed
from shared.json_types import Json
from shared.stac.item import offered_item
from tests.unit.making import item_json

WHEN: Json = {"datetime": "2024-01-01T00:00:00Z"}
POINT: Json = {"type": "Point", "coordinates": [0, 0]}


def deep(levels: int) -> Any:
    return json.loads("[" * levels + "]" * levels)


def located(geometry: Any) -> dict[str, Any]:
    return {"geometry": geometry, "bbox": [0, 0, 1, 1]}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "NUL": ({"properties": {**WHEN, "note": "a\0b"}}, r"properties\.note: it has the character NUL"),
    "NUL deep within": ({"properties": {**WHEN, "a": [{"b": "\0"}]}}, r"properties\.a\.0\.b: "),
    "NUL in a name": ({"properties": {**WHEN, "a\0": 1}}, r"properties\.a"),
    "NUL in an asset": ({"assets": {"a": {"href": "h", "title": "\0"}}}, r"assets\.a\.title: "),
    "half a character": ({"properties": {**WHEN, "a": "\ud800"}}, r"properties\.a: its text cannot be encoded"),
    "a number that is none": ({"properties": {**WHEN, "a": float("nan")}}, r"properties\.a: the number is not finite"),
    "infinity": ({"properties": {**WHEN, "a": [float("inf")]}}, r"properties\.a\.0: the number is not finite"),
    "a number that poisons a search": ({"properties": {**WHEN, "a": 10**400}}, r"properties\.a: the number "),
    "too deep": ({"properties": {**WHEN, "a": deep(300)}}, r"properties\.a\.0\.0.*: it is more than 200 "),
    "a bbox of three": ({"bbox": [0, 0, 1]}, r"bbox"),
    "a bbox of five": (located(POINT) | {"bbox": [0, 0, 1, 1, 1]}, r"bbox"),
    "no bbox": ({"geometry": POINT}, r"bbox: it has a geometry"),
    "an unknown geometry": (located({"type": "Circle"}), r"geometry\.type: "),
    "an open ring": (
        located({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}),
        r"geometry\.coordinates\.0: a ring must end where it begins",
    ),
    "a ring of three": (located({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [0, 0]]]}), r"geometry\."),
    "a point of one": (located({"type": "Point", "coordinates": [0]}), r"geometry\.coordinates"),
    "no coordinates": (located({"type": "Point"}), r"geometry\.coordinates"),
    "a wrong member of a collection": (
        located({"type": "GeometryCollection", "geometries": [POINT, {"type": "Point", "coordinates": []}]}),
        r"geometry\.geometries\.1\.coordinates",
    ),
    "heights in a part of a collection": (
        located({"type": "GeometryCollection", "geometries": [POINT, {"type": "Point", "coordinates": [0, 0, 5]}]}),
        r"geometry\.geometries: some of them have heights",
    ),
    "a version with an empty part": ({"stac_version": "1.1.0-beta..1"}, r"stac_version: "),
    "a platform that is a number": ({"properties": {**WHEN, "platform": 1}}, r"properties\.platform: "),
    "instruments in one text": ({"properties": {**WHEN, "instruments": "a"}}, r"properties\.instruments: "),
    "a gsd of nothing": ({"properties": {**WHEN, "gsd": 0}}, r"properties\.gsd: "),
    "a provider without a name": ({"properties": {**WHEN, "providers": [{}]}}, r"properties\.providers\.0\.name: "),
    "roles in one text": ({"assets": {"a": {"href": "h", "roles": "data"}}}, r"assets\.a\.roles: "),
    "a version that is none": ({"stac_version": "1.0"}, r"stac_version: "),
    "no version": ({"stac_version": None}, r"stac_version: "),
    "an extension that is no URL": ({"stac_extensions": ["file"]}, r"stac_extensions\.0: "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_catalogs_refuse_is_refused_with_its_field_and_what_to_do(case: str) -> None:
    fields, said = REFUSED[case]
    with pytest.raises(ItemFailed, match=f"^bad-item: the station's item is malformed: {said}.*ask the station's oper"):
        offered_item(item_json(**{"properties": WHEN, **fields}))


@pytest.mark.parametrize(
    "fields",
    [
        located(POINT),
        located({"type": "Point", "coordinates": [0, 0, 5.5]}),
        located({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}),
        located({"type": "MultiPolygon", "coordinates": []}),
        located({"type": "GeometryCollection", "geometries": [POINT]}),
        located(POINT) | {"bbox": [170, 0, 0, -170, 1, 1]},
        {"stac_version": "1.0.0-beta.2", "stac_extensions": ["https://example.com/v1.0.0/schema.json"]},
        {"properties": {**WHEN, "platform": None, "instruments": ["a"], "note": r"\u0000", "digits": "9" * 400}},
        {"properties": {**WHEN, "a": 10**300, "b": 1.5e308, "c": [None, {"d": {}}], "": deep(100)}},
        {"properties": {**WHEN, "many": [[] for _ in range(300)]}},
    ],
)
def test_what_catalogs_take_is_taken_as_it_came(fields: dict[str, JsonValue]) -> None:
    properties: dict[str, Any] = {"properties": WHEN, **fields}
    feature = item_json(**properties)
    assert offered_item(feature).to_json() == feature
