"""The flavour of RS-Server's catalog, as its version 0.2 is and, where that is known, as it was in 2026.

It checks that an asset's key is the last segment of its href, so the asset of an expanded archive is the manifest, and
not the prefix: `X.SEN3.zip` becomes `X.SEN3.manifest.json`. It moves the objects of new assets into a bucket of its
own, and rewrites their hrefs.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final
from urllib.parse import quote

from pydantic import JsonValue

from shared.errors import ItemFailed, Refused
from shared.json_types import Json
from shared.stac.flavours import Flavour, Holds, mismatch
from shared.stac.item import AUX_STAGING, Asset, Item

_PREFIX: Final = f"{AUX_STAGING}prefix"
_SHORTEST: Final = timedelta(days=1)
_MADE_BY_CATALOG: Final = ("alternate", "file:local_path")
_OF_MANIFEST: Final = (_PREFIX, "type", "roles", "file:size", *_MADE_BY_CATALOG)
_BUCKET: Final = re.compile(r"s3://[^/]+/")
_HREF: Final = re.compile(r"s3://[A-Za-z0-9._-]+/[A-Za-z0-9._/-]+")
"""What the catalog takes for an S3 href (`utils.py`, `S3_KEY_PATTERN`)."""


class RsServer(Flavour):
    """RS-Server's catalog."""

    name: ClassVar[str] = "rs-server"
    moves_objects: ClassVar[bool] = True
    takes_many: ClassVar[bool] = False  # it answers 400 to its own path for bulk items, and moves objects one by one

    def path(self, collection: str) -> str:
        """Return the path of an owner's collection: `owner:collection`."""
        return f"/collections/{quote(self._owner, safe='')}:{quote(collection, safe='')}"

    def no_item(self) -> Json:
        """Return an item without properties, which is answered 400; one without an id has it answer 500."""
        return {"type": "Feature", "id": "no-item"}

    def searched(self, collection: str) -> str:
        """Return the id by which the database knows an owner's collection: `owner_collection`."""
        return f"{self._owner}_{collection}"

    def to_write(self, item: Item) -> Json:
        """Return the body by which an item is created; an expanded archive's asset is its manifest.

        Raises:
            ItemFailed: `catalog-refused-item`, an href has a character that the catalog does not take.
        """
        body = super().to_write(item)
        body.setdefault("stac_extensions", [])
        assets: Json = {}
        for key, asset in item.assets.items():
            name, fields = _written(key, asset)
            if not _HREF.fullmatch(str(fields["href"])):
                raise ItemFailed(
                    "catalog-refused-item",
                    f"RS-Server takes hrefs of letters, digits and . _ - / only, and asset {key[:200]!r} has another; "
                    "ask the station to correct the name",
                )
            assets[name] = fields
        body["assets"] = assets
        properties = body.get("properties")
        if isinstance(properties, dict):
            properties.pop("unpublished", None)
        return body

    def to_replace(self, item: Item, before: Json, holds: Holds) -> Json:
        """Return the body by which an item replaces the one `before`, with what the catalog has made of that.

        An href of this item that the catalog has rewritten is kept if the same object is there: the one that was
        written leads to nothing since the catalog has moved it. `expires` begins anew where it is over, since the
        catalog keeps it and would unpublish the item at its next look.

        Raises:
            ItemFailed: `catalog-other-object`, another object is where the catalog's href leads to.
        """
        body = self.to_write(item)
        known, assets, properties = before.get("assets"), body.get("assets"), body.get("properties")
        if not (isinstance(known, dict) and isinstance(assets, dict) and isinstance(properties, dict)):
            raise mismatch(item)
        for key, asset in item.assets.items():
            name, _ = _written(key, asset)
            old, new = known.get(name), assets[name]
            if isinstance(old, dict) and isinstance(new, dict):
                _keep(key, asset, old, new, holds)
        was = before.get("properties")
        _renew(properties, was if isinstance(was, dict) else {})
        return body

    def from_read(self, body: Json) -> Json:
        """Return what the catalog shows, with the prefix of an expanded archive as its asset, and the plain id."""
        if isinstance(assets := body.get("assets"), dict):
            body["assets"] = dict(_read(key, asset) for key, asset in assets.items())
        body = super().from_read(body)
        if body.get("bbox") is None:
            body.pop("bbox", None)
        if isinstance(collection := body.get("collection"), str):
            body["collection"] = collection.removeprefix(f"{self._owner}_")
        return body

    def require_shown(self, written: Item, shown: Item | None, holds: Holds) -> Item:
        """Return what the catalog shows, if every asset is where it was written, or where it was moved to.

        Raises:
            Retryable: `catalog-mismatch`, an asset is not shown, or its href is none of this item.
            ItemFailed: `catalog-other-object`, another object is where the catalog's href leads to.
        """
        if shown is None or set(shown.assets) != set(written.assets):
            raise mismatch(written)
        for key, asset in written.assets.items():
            href = shown.assets[key].href
            if href == asset.href:
                continue
            if _path(href) != _path(asset.href):
                raise mismatch(written)
            _require_same(key, href, asset, holds)
        return shown

    def explained(self, item: Item, refusal: Refused) -> Exception:
        """Return what a refused write means: RS-Server of 2026 answers 403 where `product:type` is missing."""
        if refusal.code != "catalog-unauthorized" or item.properties.get("product:type"):
            return refusal
        return ItemFailed(
            "catalog-refused-item",
            f"RS-Server refuses an item without product:type as if the key were wrong, and {item.id!r} has none "
            f"({refusal.reason}); ask the station to add it",
        )


def _written(key: str, asset: Asset) -> tuple[str, Json]:
    """Return the key and the fields by which the catalog knows an asset."""
    fields: Json = asset.model_dump(mode="json", by_alias=True, exclude_unset=True)
    # The catalog takes an asset that has an alternate for one that it has made itself, and refuses it if it is new.
    fields.pop("alternate", None)
    if asset.source is None or asset.manifest is None:
        return key, fields
    # The size is that of the members, and the catalog adds the one of the manifest.
    fields.pop("file:size", None)
    fields |= {"href": asset.manifest, "type": "application/json", "roles": ["metadata"], _PREFIX: asset.href}
    return asset.manifest.rpartition("/")[2], fields


def _read(key: str, asset: JsonValue) -> tuple[str, JsonValue]:
    """Return the asset that is meant by one that the catalog shows: by a manifest, the prefix that it is of."""
    prefix = asset.get(_PREFIX) if isinstance(asset, dict) else None
    if not isinstance(asset, dict) or not isinstance(prefix, str):
        return key, asset
    kept = {name: value for name, value in asset.items() if name not in _OF_MANIFEST}
    name = prefix.removesuffix("/").rpartition("/")[2]
    return name, {**kept, "href": prefix, f"{AUX_STAGING}manifest": asset.get("href")}


def _keep(key: str, asset: Asset, old: Json, new: Json, holds: Holds) -> None:
    """Keep what the catalog has made of an asset that it has already."""
    href = str(old.get("href"))
    if href != new["href"] and _path(href) == _path(str(new["href"])):
        _require_same(key, href, asset, holds)
        new["href"] = href
    for name in _MADE_BY_CATALOG:
        if name in old and href == new["href"]:
            new.setdefault(name, old[name])


def _require_same(key: str, href: str, asset: Asset, holds: Holds) -> None:
    if not holds(href, asset):
        raise ItemFailed(
            "catalog-other-object",
            f"the catalog says that asset {key[:200]!r} is {href[:300]}, and size and ETag there are not those of the "
            "staged object; delete that object and run it again",
        )


def _path(href: str) -> str:
    return _BUCKET.sub("", href, count=1)


def _renew(properties: Json, was: Json) -> None:
    """Keep when an item was published, and let its time begin anew where it is over."""
    published, expires = was.get("published"), was.get("expires")
    if isinstance(published, str):
        properties["published"] = published
    if not isinstance(expires, str):
        return
    now, end = datetime.now(UTC), _time(expires)
    begin = _time(published) if isinstance(published, str) else None
    if end is not None and begin is not None and (end <= now or was.get("unpublished")):
        properties["expires"] = (now + max(end - begin, _SHORTEST)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    else:
        properties["expires"] = expires


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
