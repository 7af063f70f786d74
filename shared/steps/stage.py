"""Stage an item: its assets' bytes into S3, verified; what stands there already is left alone."""

from collections.abc import Callable

from shared.context import Context
from shared.models import ItemRecord, ItemState, Run, StagedAsset
from shared.stac.item import Asset, Item
from shared.steps.standing import Standing, archives_of, require_owner, standing
from shared.storage.digests import checksum_of
from shared.storage.keys import asset_location
from shared.storage.objects import Location


def stage_item(context: Context, run: Run, record: ItemRecord) -> None:
    """Put every asset of an item that is missing into S3, and record each as it is verified.

    Raises:
        ItemFailed: `unsafe-asset-name`, `unsafe-item-id`, `unsupported-href`, `bad-checksum`, `too-large`,
            `other-owner`.
        Retryable: `size-mismatch`, `checksum-mismatch`, or a fault of the network, the station, the catalog or S3.
        Rejected: the station or the store refuses.
    """
    if record.staged is not None:
        return
    item = context.ledger.stac_item(run.id, record.key)
    targets = {key: _target(context, run, item, key) for key in item.assets}
    shown = context.catalog.get(run.request.collection, item.id)
    require_owner(run, shown)
    stands = {key: standing(context, shown, key, asset, targets[key]) for key, asset in item.assets.items()}
    if _intact(run, item, stands):
        context.ledger.record_intact(run.id, record.key)
        return
    _stage_missing(context, record, item, {key: targets[key] for key, one in stands.items() if one is Standing.MISSING})
    context.ledger.reach(run.id, record.key, ItemState.STAGED)


def _target(context: Context, run: Run, item: Item, key: str) -> Location:
    return asset_location(context.settings, run.request.owner, run.request.collection, item.id, key)


def _intact(run: Run, item: Item, stands: dict[str, Standing]) -> bool:
    to_expand = archives_of(item) if run.request.decompress else []
    wanted = {key: {Standing.EXPANDED} if key in to_expand else {Standing.STAGED, Standing.EXPANDED} for key in stands}
    return all(one in wanted[key] for key, one in stands.items())


def _stage_missing(context: Context, record: ItemRecord, item: Item, targets: dict[str, Location]) -> None:
    there = item.size - sum(item.assets[key].size or 0 for key in targets)
    for key, target in targets.items():
        asset = item.assets[key]
        staged = _already_in_s3(context, asset, target) or _fetch(context, record, asset, target, there)
        context.ledger.record_asset(record.run_id, record.key, key, staged)
        there += staged.size
        context.ledger.progress(record.run_id, record.key, more=0, there=there)


def _already_in_s3(context: Context, asset: Asset, target: Location) -> StagedAsset | None:
    """The asset as an earlier try left it, where its checksum proves that it is the station's."""
    checksum = checksum_of(asset.checksum)
    stored = context.store.held(target, asset.size, checksum) if checksum is not None else None
    if checksum is None or stored is None:
        return None
    return StagedAsset(href=target.href, size=stored.size, checksum=checksum.multihash)


def _fetch(context: Context, record: ItemRecord, asset: Asset, target: Location, there: int) -> StagedAsset:
    written = context.transfer.fetch(asset, target, _report(context, record, there))
    return StagedAsset(href=target.href, size=written.size, checksum=written.checksum.multihash)


def _report(context: Context, record: ItemRecord, there: int) -> Callable[[int], None]:
    """Return what tells the ledger how far a transfer has come."""
    received = 0

    def report(more: int) -> None:
        nonlocal received
        received += more
        context.ledger.progress(record.run_id, record.key, more=more, there=there + received)

    return report
