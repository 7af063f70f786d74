"""Stage an item: its assets' bytes into S3, verified; what stands there already is left alone.

We transfer them ourselves, or have a staging service do it (see `delegate`), as the settings say.
"""

from shared.context import Context
from shared.models import ItemRecord, ItemState, Run, StagedAsset
from shared.stac.catalog import is_unpublished, require_id
from shared.stac.item import Asset, Item
from shared.steps.delegate import delegate_item
from shared.steps.offered import offered_item
from shared.steps.reading import shown_lately
from shared.steps.standing import Standing, holds, is_intact, place_of, require_owner, same_content, standing
from shared.storage.digests import checksum_of
from shared.storage.keys import asset_location
from shared.storage.location import Location
from shared.storage.uploads import Unfinished


def stage_item(context: Context, run: Run, record: ItemRecord) -> None:
    """Put every asset of an item that is missing into S3, and record each as it is verified.

    Raises:
        ItemFailed: `unsafe-asset-name`, `unsafe-item-id`, `reserved-item-id`, `other-owner`, `prefix-taken`,
            `unsupported-href`, `bad-checksum`, `too-large`; and what `delegate_item` raises.
        Retryable: `size-mismatch`, `checksum-mismatch`, or a fault of the network, the station, the catalog or S3.
        Rejected: the station or the store refuses.
    """
    if record.staged is not None:
        return
    item, unproven = offered_item(context, record)
    if unproven:
        context.ledger.record_unproven(record, unproven)
    if context.settings.staging_backend == "ogc":
        delegate_item(context, run, record, item)
        return
    own = {key: _target(context, run, item, key) for key in item.assets}
    require_id(item.id)
    shown = shown_lately(context, run, record)
    require_owner(run, shown)
    targets = {key: place_of(context, run, key, place, shown) for key, place in own.items()}
    stands = {key: standing(context, shown, key, asset, targets[key]) for key, asset in item.assets.items()}
    if shown is not None and not is_unpublished(shown) and is_intact(run, item, stands):
        context.ledger.record_intact(record)
        return
    if shown is not None and not is_unpublished(shown) and Standing.DAMAGED in stands.values():
        context.ledger.record_damaged(record)
    _stage_missing(context, record, item, {key: targets[key] for key, one in stands.items() if one.absent})
    context.ledger.reach(record, ItemState.STAGED)


def _target(context: Context, run: Run, item: Item, key: str) -> Location:
    place = context.owners[run.request.owner].place
    return asset_location(place, run.request.owner, run.request.collection, item.id, key)


def _stage_missing(context: Context, record: ItemRecord, item: Item, targets: dict[str, Location]) -> None:
    there = item.size - sum(item.assets[key].size or 0 for key in targets)
    lately = context.ledger.lately_staged(record.key) if targets else {}
    for key, target in targets.items():
        asset = item.assets[key]
        staged = _already_in_s3(context, asset, target, lately.get(key))
        if staged is None:
            staged = _fetch(context, record, key, asset, target, there)
        else:
            context.ledger.progress(record, more=0, there=there + staged.size)
        context.ledger.record_asset(record, key, staged)
        there += staged.size


def _already_in_s3(context: Context, asset: Asset, target: Location, lately: StagedAsset | None) -> StagedAsset | None:
    """The asset as an earlier try or another run left it, where its ETag or MD5 proves that it is the station's."""
    fits = lately is not None and lately.href == target.href and same_content(lately, asset)
    if lately is not None and fits and holds(context, target, lately):
        return lately
    checksum = checksum_of(asset.checksum)
    stored = None if checksum is None else context.store.held(target, asset.size, checksum)
    if checksum is None or stored is None:
        return None
    return StagedAsset(href=target.href, size=stored.size, checksum=checksum.multihash, etag=stored.etag)


def _fetch(context: Context, record: ItemRecord, key: str, asset: Asset, target: Location, there: int) -> StagedAsset:
    noted = _Noted(context, record, key, there)
    transfer = context.transfer(record.station)
    written = transfer.fetch(asset, target, noted.came, noted)
    return StagedAsset(href=target.href, size=written.size, checksum=written.checksum.multihash, etag=written.etag)


class _Noted:
    """Tells the ledger how far the transfer of an asset has come, and what the next try can go on with."""

    def __init__(self, context: Context, record: ItemRecord, key: str, there: int) -> None:
        self._ledger = context.ledger
        self._record = record
        self._key = key
        self._there = there

    def came(self, more: int) -> None:
        self._there += more
        self._ledger.progress(self._record, more=max(0, more), there=self._there)

    def kept(self, size: int) -> None:
        self._there += size
        self._ledger.progress(self._record, more=0, there=self._there)

    def left(self) -> Unfinished | None:
        return self._ledger.upload_left(self._record, self._key)

    def begun(self, upload: Unfinished) -> None:
        self._ledger.record_upload(self._record, self._key, upload)
