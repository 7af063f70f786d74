"""An item as it is to be written, with what others have added to it in the catalog."""

from datetime import UTC, datetime
from typing import Final

from pydantic import JsonValue

from shared.stac.item import Asset, Item

_OF_THE_CATALOG: Final = ("published", "expires")
"""Properties that say what the catalog does with the item: its values stay, whatever the station says."""


def with_others(item: Item, shown: Item | None) -> Item:
    """Return an item with the properties, links, fields and extensions that only the catalog's has.

    What the station states is the station's; whatever else the catalog's item has, others have written.

    Args:
        item: as this run would write it, with all its assets.
        shown: as the catalog has it, or None.
    """
    if shown is None:
        return item
    merged = item.model_copy(deep=True)
    merged.properties = {**_kept(shown), **item.properties, **_of_the_catalog(shown)}
    merged.links = [*shown.links, *(link for link in item.links if link.get("rel") not in _rels(shown))]
    merged.geometry = item.geometry or shown.geometry
    merged.assets = {key: _asset(asset, shown.assets.get(key)) for key, asset in item.assets.items()}
    extra = {**(shown.model_extra or {}), **(item.model_extra or {})}
    extra["stac_extensions"] = _extensions(shown, item)
    return Item.model_validate({**merged.to_json(), **extra})


def _kept(shown: Item) -> dict[str, JsonValue]:
    """All but what says that the objects were deleted: they are there again."""
    gone = {"unpublished", *_OF_THE_CATALOG}
    return {name: value for name, value in shown.properties.items() if name not in gone}


def _of_the_catalog(shown: Item) -> dict[str, JsonValue]:
    known: dict[str, JsonValue] = {name: shown.properties[name] for name in _OF_THE_CATALOG if name in shown.properties}
    if _is_past(known.get("expires")):
        del known["expires"]  # else the catalog deletes what was just staged again
    return known


def _is_past(instant: JsonValue) -> bool:
    try:
        expires = datetime.fromisoformat(str(instant))
    except ValueError:
        return False
    return (expires if expires.tzinfo else expires.replace(tzinfo=UTC)) <= datetime.now(UTC)


def _asset(asset: Asset, before: Asset | None) -> Asset:
    """Return an asset with the fields that others have added, as long as it is the same object."""
    if before is None or (before.href, before.etag, before.source) != (asset.href, asset.etag, asset.source):
        return asset
    ours = asset.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return Asset.model_validate({**before.model_dump(mode="json", by_alias=True, exclude_unset=True), **ours})


def _rels(item: Item) -> set[JsonValue]:
    return {link.get("rel") for link in item.links}


def _extensions(*items: Item) -> list[JsonValue]:
    named: dict[str, None] = {}
    for item in items:
        declared = (item.model_extra or {}).get("stac_extensions")
        named |= dict.fromkeys(uri for uri in declared if isinstance(uri, str)) if isinstance(declared, list) else {}
    return [*named]
