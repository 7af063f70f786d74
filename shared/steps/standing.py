"""Whether an asset of the station stands in the catalog and in S3 already, so that nothing need be downloaded."""

from enum import Enum, auto

from shared.archives import is_archive
from shared.context import Context
from shared.errors import ItemFailed
from shared.models import Run
from shared.stac.item import Asset, Item
from shared.storage.digests import checksum_if_known, checksum_of
from shared.storage.objects import Location


class Standing(Enum):
    """What is there of an asset."""

    MISSING = auto()
    STAGED = auto()
    EXPANDED = auto()
    LEFTOVER = auto()
    """Expanded and published, and then something kept the archive from being deleted."""


def standing(context: Context, shown: Item | None, key: str, offered: Asset, target: Location) -> Standing:
    """Compare an asset that the station offers with what the catalog shows and the store holds.

    Args:
        context: where to look.
        shown: the item as the catalog shows it, or None.
        key: of the asset at the station.
        offered: the asset at the station.
        target: where it is to be staged.
    """
    if shown is None:
        return Standing.MISSING
    expanded = expanded_asset(shown, key, offered)
    if expanded is not None:
        return _expanded_standing(context, expanded)
    staged = shown.assets.get(key)
    if staged is None or staged.href != target.href or not same_content(staged, offered):
        return Standing.MISSING
    stored = context.store.head(target)
    return Standing.STAGED if stored is not None and stored.size == staged.size else Standing.MISSING


def expanded_asset(shown: Item, key: str, offered: Asset) -> Asset | None:
    """Return the asset of the catalog's item that was expanded from this very archive, if there is one."""
    for asset in shown.assets.values():
        source = asset.source
        if source is not None and source.name == key:
            was = Asset.model_validate({"href": asset.href, "file:size": source.size, "file:checksum": source.checksum})
            return asset if same_content(was, offered) else None
    return None


def same_content(known: Asset, offered: Asset) -> bool:
    """Whether size and checksum agree, as far as the station states them."""
    if offered.size is not None and known.size != offered.size:
        return False
    stated = checksum_of(offered.checksum)
    return stated is None or checksum_if_known(known.checksum) == stated


def archives_of(item: Item) -> list[str]:
    """Return the keys of an item's assets that are archives still, by their names."""
    return [key for key, asset in item.assets.items() if is_archive(key) and asset.source is None]


def require_owner(run: Run, shown: Item | None) -> None:
    """Make sure that the catalog's item, if there is one, is not another owner's, whose hrefs we would replace.

    Raises:
        ItemFailed: `other-owner`.
    """
    owner = None if shown is None else shown.properties.get("owner")
    if owner is not None and owner != run.request.owner:
        raise ItemFailed(
            "other-owner", f"in this collection the item belongs to {owner!r}; use a collection of your own"
        )


def _expanded_standing(context: Context, expanded: Asset) -> Standing:
    if expanded.manifest is None or context.store.head(Location.parse(expanded.manifest)) is None:
        return Standing.MISSING
    return Standing.LEFTOVER if archive_stands(context, expanded) else Standing.EXPANDED


def archive_stands(context: Context, expanded: Asset) -> bool:
    """Whether the very archive that an asset was expanded from is still in S3."""
    source = expanded.source
    stored = None if source is None else context.store.head(Location.parse(source.href))
    return source is not None and stored is not None and stored.etag == source.etag
