"""An item as it is published: its assets described with pystac's extension classes, `stac_extensions` complete."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

import pystac
from pystac.extensions.eo import EOExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.sar import SarExtension
from pystac.extensions.sat import SatExtension
from pystac.extensions.timestamps import TimestampsExtension

from shared.stac.aux_staging import AuxStagingExtension
from shared.stac.item import Asset, Item, Json

_VERSION: Final = "1.1.0"
_ANY_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)

_SCHEMA_OF_PREFIX: Final = {
    "auxip": "https://home.rs-python.eu/auxip-stac-extension/v1.1.0/schema.json",
    "eo": EOExtension.get_schema_uri(),
    "processing": "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "product": "https://stac-extensions.github.io/product/v1.0.0/schema.json",
    "sar": SarExtension.get_schema_uri(),
    "sat": SatExtension.get_schema_uri(),
}
_SCHEMA_OF_FIELD: Final = {
    **dict.fromkeys(("published", "expires", "unpublished"), TimestampsExtension.get_schema_uri()),
    **dict.fromkeys(
        ("alternate", "alternate:name"), "https://stac-extensions.github.io/alternate-assets/v1.2.0/schema.json"
    ),
}


def composed(item: Item) -> Item:
    """Return an item as it is to be published.

    All fields stay as they are, also those that pystac would spell in another way (timestamps, nulls): pystac describes
    the assets and says which extensions the item has, for 15 us; to read and write the item with it takes 290 us.
    """
    body = item.to_json()
    owner = pystac.Item(item.id, None, None, _ANY_TIME, {}, stac_extensions=_declared(body))
    assets = {key: _described(owner, key, asset) for key, asset in item.assets.items()}
    extensions = [*owner.stac_extensions, *_missing(body, owner.stac_extensions)]
    return Item.model_validate(
        {**body, "stac_version": body.get("stac_version", _VERSION), "stac_extensions": extensions, "assets": assets}
    )


def _described(owner: pystac.Item, key: str, asset: Asset) -> Json:
    """Return an asset with the fields that say what is in the store, each written by its extension's class."""
    body = asset.model_dump(mode="json", by_alias=True, exclude_unset=True)
    described = pystac.Asset.from_dict(dict(body))
    owner.add_asset(key, described)
    if asset.size is not None or asset.checksum is not None:
        file = FileExtension.ext(described, add_if_missing=True)
        file.size, file.checksum = asset.size, asset.checksum
    if asset.etag is not None or asset.source is not None or asset.manifest is not None:
        ours = AuxStagingExtension.ext(described, add_if_missing=True)
        ours.etag, ours.manifest = asset.etag, asset.manifest
        ours.source = None if asset.source is None else asset.source.model_dump(mode="json")
    return {**body, **described.to_dict()}


def _declared(body: Json) -> list[str]:
    declared = body.get("stac_extensions")
    return [uri for uri in declared if isinstance(uri, str)] if isinstance(declared, list) else []


def _missing(body: Json, declared: list[str]) -> Iterator[str]:
    """Yield the URIs of extensions whose fields the item has, and that it does not name in any version."""
    uris = dict.fromkeys(uri for field in _fields(body) if (uri := _schema_of(field)) is not None)
    for uri in uris:
        if not any(_unversioned(uri) == _unversioned(other) for other in declared):
            yield uri


def _fields(body: Json) -> Iterator[str]:
    holders: list[object] = [body.get("properties")]
    assets = body.get("assets")
    holders += assets.values() if isinstance(assets, dict) else []
    for holder in holders:
        if isinstance(holder, dict):
            yield from _names(holder)


def _names(holder: Iterable[object]) -> Iterator[str]:
    return (str(name) for name in holder)


def _schema_of(field: str) -> str | None:
    return _SCHEMA_OF_FIELD.get(field) or _SCHEMA_OF_PREFIX.get(field.partition(":")[0] if ":" in field else "")


def _unversioned(uri: str) -> str:
    return uri.rpartition("/v")[0]
