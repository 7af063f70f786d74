"""The item as its station offers it, with those sizes and checksums by which its files can be proven."""

from itertools import islice

from shared.context import Context
from shared.models import ItemRecord
from shared.stac.checksums import algorithm_of
from shared.stac.item import Asset, Item
from shared.storage.digests import checksum_if_known, stated_size

_LISTED = 5


def offered_item(context: Context, record: ItemRecord) -> tuple[Item, str]:
    """Return the item to stage and compare, and a sentence about what of it cannot be proven (empty if all can).

    A size of 0 that means "unknown" is left out; see `stated_size`. So is a checksum that cannot be read, if the
    station's `unreadable_checksums` is `stage`. If it is `refuse`, the checksum stays, and reading it fails the item.
    """
    item = record.stac_item()
    stages = context.station(record.station).stages_unreadable_checksums
    unread = {key: asset.checksum for key, asset in item.assets.items() if stages and _is_unreadable(asset)}
    for key, asset in item.assets.items():
        size = stated_size(asset.size, asset.checksum)
        checksum = None if key in unread else asset.checksum
        if (size, checksum) != (asset.size, asset.checksum):
            item.assets[key] = asset.model_copy(update={"size": size, "checksum": checksum})
    return item, _unproven(unread)


def _is_unreadable(asset: Asset) -> bool:
    return asset.checksum is not None and checksum_if_known(asset.checksum) is None


def _unproven(unread: dict[str, str | None]) -> str:
    if not unread:
        return ""
    listed = "; ".join(
        f"{key!r} states {str(checksum)[:80]!r} ({algorithm_of(str(checksum))})"
        for key, checksum in islice(unread.items(), _LISTED)
    )
    more = len(unread) - _LISTED
    return f"staged without a checksum of the station that can be read: {listed}" + (
        f"; and {more} more" if more > 0 else ""
    )
