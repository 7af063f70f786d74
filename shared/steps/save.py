"""The files of a published item into a folder of this machine, for a person."""

from collections.abc import Iterator
from pathlib import Path

from shared.archives.manifest import load_manifest
from shared.context import Context
from shared.errors import ItemFailed, Rejected
from shared.stac.item import Asset, Item
from shared.storage.digests import Checksum, checksum_if_known
from shared.storage.expected import Expected
from shared.storage.files import save_object
from shared.storage.location import Location


def save_item(context: Context, owner: str, collection: str, item_id: str, folder: Path) -> Iterator[Path]:
    """Copy the files of an item that the catalog has into a folder, and yield the path of each.

    The content of an expanded archive is in a folder of its own, as it is below its prefix in the store. A file is
    verified by its size and its checksum, as far as the catalog or the manifest states them.

    Raises:
        Rejected: `unknown-item`, the catalog has no such item; and as `save_object`.
        ItemFailed: `unsupported-href`, an asset is not in S3; and as `save_object`.
        Retryable: as `save_object`, and where the catalog could not answer.
    """
    item = context.catalog_of(owner).get(collection, item_id)
    if item is None:
        raise Rejected("unknown-item", f"the collection {collection} has no item {item_id[:200]!r}; stage it first")
    for name, asset in item.assets.items():
        if not _is_manifest(item, asset):
            yield from _saved(context, name, asset, folder)


def _is_manifest(item: Item, asset: Asset) -> bool:
    return asset.href in {other.manifest for other in item.assets.values()}


def _saved(context: Context, name: str, asset: Asset, folder: Path) -> Iterator[Path]:
    if not asset.href.startswith("s3://"):
        raise ItemFailed("unsupported-href", f"{asset.href[:200]!r} is no s3:// href: it is not staged")
    location = Location.parse(asset.href)
    if asset.manifest is None:
        expected = Expected(asset.href, asset.size, checksum_if_known(asset.checksum))
        yield save_object(context.store, location, name, folder, expected)
        return
    manifest = load_manifest(context.store, location)
    if manifest is None or manifest.last_complete is None:
        raise ItemFailed("s3-mismatch", f"{asset.href} has no complete manifest; `auxip audit --repair` can mend it")
    parent = location.key.rstrip("/").rpartition("/")[2]
    for member in manifest.last_complete.members:
        place = Location(location.bucket, location.key + member.path)
        expected = Expected(place.href, member.size, Checksum("sha256", member.sha256))
        yield save_object(context.store, place, f"{parent}/{member.path}", folder, expected)
