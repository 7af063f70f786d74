"""Whether an asset of the station stands in the catalog and in S3 already, so that nothing need be downloaded.

What it costs: a HEAD for an asset, and for an expanded archive its manifest, one listing of its prefix (a request for
each 1,000 members) and a HEAD for the archive, which must be gone. No object but the manifest is read.
"""

import re
from enum import Enum, auto

from shared.archives import is_archive, is_data_block, stands
from shared.context import Context
from shared.errors import ItemFailed, Rejected
from shared.models import Run, StagedAsset
from shared.stac.item import Asset, Item
from shared.storage.digests import checksum_if_known, checksum_of, md5_if_known, stated_size
from shared.storage.location import Location, Stored


class Standing(Enum):
    """What is there of an asset."""

    MISSING = auto()
    DAMAGED = auto()
    """The catalog has it as the station offers it, and what the store holds is not that, or nothing."""
    STAGED = auto()
    EXPANDED = auto()
    LEFTOVER = auto()
    """Expanded and published, and then something kept the archive from being deleted."""

    @property
    def absent(self) -> bool:
        """Whether it is to be staged."""
        return self in (Standing.MISSING, Standing.DAMAGED)


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
    staged = shown.assets.get(key)  # where it is there, an asset that was expanded from it has only some of its members
    expanded = expanded_asset(shown, key, offered) if staged is None else None
    if expanded is not None:
        return expanded_standing(context, expanded, target)
    if staged is None or staged.href != target.href or not same_content(staged, offered):
        return Standing.MISSING
    stored = context.store.head(target)
    if _proves(stored, staged):
        return Standing.STAGED
    return Standing.DAMAGED if _contradicts(stored, staged) else Standing.MISSING


def holds(context: Context, target: Location, known: Asset | StagedAsset) -> bool:
    """Whether the store holds the very bytes that are known of an asset, by their size and ETag.

    The ETag is the one that was recorded, or the MD5, as it is of an object that came in one PUT. An object that
    neither proves is not taken for the asset.
    """
    return _proves(context.store.head(target), known)


def _proves(stored: Stored | None, known: Asset | StagedAsset) -> bool:
    proofs = {known.etag, md5_if_known(known.checksum)} - {None}
    return stored is not None and stored.size == known.size and stored.etag in proofs


def _contradicts(stored: Stored | None, known: Asset | StagedAsset) -> bool:
    """Whether an object that is not proven is certainly wrong: a multipart ETag says nothing of a known MD5."""
    if stored is None or stored.size != known.size or known.etag is not None:
        return True
    return md5_if_known(known.checksum) is not None and "-" not in stored.etag


def holds_at(context: Context, href: str, known: Asset) -> bool:
    """Whether an href that the catalog shows leads to the very bytes that are known of an asset."""
    try:
        return holds(context, Location.parse(href), known)
    except Rejected:
        return False


def place_of(context: Context, run: Run, key: str, own: Location, shown: Item | None) -> Location:
    """Return where an asset is to be staged: at our own place, or where the catalog has moved it.

    A catalog that moves objects into a bucket of its own says where that is: what is staged anew goes there, as such a
    catalog replaces no href. The key must be that of our own place, as it tells whose the object is.
    """
    if shown is None or not context.catalog_of(run.request.owner).flavour.moves_objects:
        return own
    place = shown_place(shown, key)
    return place if place is not None and place.key == own.key else own


def shown_place(shown: Item, key: str) -> Location | None:
    """Return where the catalog says that an asset is or, where it is expanded by now, its archive was."""
    for name, asset in shown.assets.items():
        if original_name(name, asset) == key:
            try:
                return Location.parse(asset.href if asset.source is None else asset.source.href)
            except Rejected:
                return None
    return None


def is_intact(run: Run, item: Item, stands: dict[str, Standing]) -> bool:
    """Whether nothing of an item is left to do for a run: all is staged, and expanded where the run wants that."""
    to_expand = archives_of(item, run.request.dbl) if run.request.decompress else []
    wanted = {key: {Standing.EXPANDED} if key in to_expand else {Standing.STAGED, Standing.EXPANDED} for key in stands}
    return all(one in wanted[key] for key, one in stands.items())


def expanded_asset(shown: Item, key: str, offered: Asset) -> Asset | None:
    """Return the asset of the catalog's item that was expanded from this very archive, if there is one."""
    for asset in shown.assets.values():
        source = asset.source
        if source is not None and source.name == key:
            was = Asset.model_validate({"href": asset.href, "file:size": source.size, "file:checksum": source.checksum})
            return asset if same_content(was, offered) else None
    return None


def same_content(known: Asset | StagedAsset, offered: Asset) -> bool:
    """Whether size and checksum agree, as far as the station states them."""
    if stated_size(offered.size, offered.checksum) not in (None, known.size):
        return False
    stated = checksum_of(offered.checksum)
    return stated is None or checksum_if_known(known.checksum) == stated


def archives_of(item: Item, dbl: bool = False) -> list[str]:
    """Return the keys of an item's assets that are archives still, by their names; with `dbl` those that may be."""
    return [
        key
        for key, asset in item.assets.items()
        if asset.source is None and (is_archive(key) or (dbl and is_data_block(key)))
    ]


def original_name(key: str, asset: Asset) -> str:
    """Return the key that an asset has at the station: of an expanded one, that of the archive."""
    return key if asset.source is None else asset.source.name


def original_names(item: Item) -> list[str]:
    """Return the keys that the assets of a catalog's item have at the station: by these, prefixes are named."""
    return [original_name(key, asset) for key, asset in item.assets.items()]


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


def expanded_standing(context: Context, expanded: Asset, target: Location) -> Standing:
    """Say what is there of an asset that was expanded from the archive at `target`.

    Raises:
        ItemFailed: `prefix-taken`, there is something else in the place of the manifest.
    """
    source, folder = expanded.source, target.href.rpartition("/")[0]
    beside = re.fullmatch(rf"{re.escape(folder)}/[^/]+/", expanded.href, re.DOTALL)
    if source is None or source.href != target.href or beside is None:
        return Standing.MISSING
    if not stands(context.store, Location.parse(expanded.href), source.etag):
        return Standing.DAMAGED
    return Standing.LEFTOVER if archive_stands(context, expanded) else Standing.EXPANDED


def keeps_archive(item: Item, expanded: Asset) -> bool:
    """Whether the archive that an asset was expanded from is an asset of the item too: then it is not left over."""
    source = expanded.source
    return source is not None and any(asset.href == source.href for asset in item.assets.values())


def archive_stands(context: Context, expanded: Asset) -> bool:
    """Whether the very archive that an asset was expanded from is still in S3."""
    source = expanded.source
    stored = None if source is None else context.store.head(Location.parse(source.href))
    return source is not None and stored is not None and stored.etag == source.etag
