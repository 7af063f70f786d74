"""What an item differs in, as a JSON Patch that touches nothing else."""

from typing import Any

import pytest

from shared.json_types import Json
from shared.stac.changes import changes
from shared.stac.item import Item
from tests.unit.making import item_json

ASSETS: Json = {"a/b~c": {"href": "h"}}


def item(**fields: Any) -> Item:
    return Item.model_validate(item_json(**{"assets": ASSETS, **fields}))


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        (item(), item(), []),
        (item(properties={"a": 1}), item(properties={"a": 2}), [{"op": "add", "path": "/properties/a", "value": 2}]),
        (item(properties={"a": 1}), item(properties={}), [{"op": "remove", "path": "/properties/a"}]),
        (item(), item(assets={}), [{"op": "remove", "path": "/assets/a~1b~0c"}]),
        (item(assets={}), item(), [{"op": "add", "path": "/assets/a~1b~0c", "value": {"href": "h"}}]),
        (item(), item(stac_extensions=["u"]), [{"op": "add", "path": "/stac_extensions", "value": ["u"]}]),
        (item(), item(links=[{"rel": "self", "href": "h"}]), []),
        (item(), item(collection="other"), []),
    ],
    ids=["nothing", "value", "gone", "asset gone", "asset", "extensions", "links are the catalog's", "collection"],
)
def test_only_what_differs_is_written(before: Item, after: Item, patch: list[Json]) -> None:
    assert changes(before, after) == patch


@pytest.mark.parametrize("null", [{"a": None}, {"b": {"c": None}}], ids=str)
def test_a_null_that_the_catalog_does_not_show_is_no_difference(null: Json) -> None:
    shown = item(properties={"b": {}} if "b" in null else {})
    assert changes(shown, item(properties=null)) == []
    assert changes(item(properties=null), shown) == []
