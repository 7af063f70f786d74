"""Publish an item: first as it was staged, then as it is once its archives are expanded; only then delete them."""

from shared.archives import Expansion, expanded_name
from shared.context import Context
from shared.errors import Retryable
from shared.models import ItemRecord, ItemState, Run, StagedAsset
from shared.stac.item import Asset, Item, Source
from shared.steps.standing import archive_stands
from shared.storage.objects import Location


def publish_item(context: Context, run: Run, record: ItemRecord) -> None:
    """Write a staged item to the catalog and read it back; an asset that stands there is kept as the catalog has it.

    Raises:
        Retryable: `catalog-mismatch`, `not-staged`, or the catalog could not answer.
        Rejected: the catalog refuses the item.
    """
    if record.catalogued is not None:
        return  # delivered again: by now the catalog may show more than was staged
    offered = context.ledger.stac_item(run.id, record.key)
    staged = context.ledger.staged_assets(run.id, record.key)
    shown = context.catalog.get(run.request.collection, offered.id)
    item = _staged_item(run, offered, staged, shown)
    if shown is None or item.assets != shown.assets:
        context.catalog.publish(item)
    context.ledger.reach(run.id, record.key, ItemState.CATALOGUED)


def publish_expanded(context: Context, run: Run, record: ItemRecord) -> None:
    """Write an item whose archives are expanded to the catalog, read it back, and then delete the archives.

    Raises:
        Retryable: `catalog-mismatch`, or the catalog or S3 could not answer.
    """
    if record.expanded is not None:
        return
    expansions = context.ledger.expansions(run.id, record.key)
    shown = context.catalog.get(run.request.collection, record.item_id)
    if shown is None:
        raise Retryable("catalog-mismatch", f"the catalog does not show item {record.item_id!r} any more")
    item = _expanded_item(shown, expansions)
    if item.assets != shown.assets:
        context.catalog.publish(item)
    for asset in item.assets.values():
        delete_archive(context, asset)
    context.ledger.reach(run.id, record.key, ItemState.EXPANDED)


def delete_archive(context: Context, expanded: Asset) -> None:
    """Delete the archive that an asset was expanded from, unless another object is in its place by now."""
    if expanded.source is not None and archive_stands(context, expanded):
        context.store.delete(Location.parse(expanded.source.href))


def _staged_item(run: Run, offered: Item, staged: dict[str, StagedAsset], shown: Item | None) -> Item:
    item = offered.model_copy(deep=True)
    item.collection = run.request.collection
    item.links = []
    item.properties["owner"] = run.request.owner
    item.assets = {}
    for key, asset in offered.assets.items():
        name, current = _current_asset(key, asset, staged, shown)
        item.assets[name] = current
    return item


def _current_asset(key: str, offered: Asset, staged: dict[str, StagedAsset], shown: Item | None) -> tuple[str, Asset]:
    """An asset as it is by now: staged by this run, expanded, or staged by an earlier one; and its key."""
    if key in staged:
        return key, _with_content(offered, staged[key])
    for name, asset in shown.assets.items() if shown else ():
        if name == key or (asset.source is not None and asset.source.name == key):
            return name, asset
    raise Retryable("not-staged", f"asset {key!r} is neither staged nor in the catalog; staging begins anew")


def _with_content(asset: Asset, staged: StagedAsset) -> Asset:
    return asset.model_copy(update={"href": staged.href, "size": staged.size, "checksum": staged.checksum})


def _expanded_item(shown: Item, expansions: dict[str, Expansion]) -> Item:
    """The item with each expanded archive's asset under its new key, the other assets as they are, in their order."""
    item = shown.model_copy(deep=True)
    item.assets = {}
    for key, asset in shown.assets.items():
        if key in expansions:
            item.assets[expanded_name(key, shown.assets)] = _expanded(key, asset, expansions[key])
        else:
            item.assets[key] = asset
    return item


def _expanded(key: str, asset: Asset, expansion: Expansion) -> Asset:
    """The asset without what described the archive: its type, size and checksum are those of another object."""
    kept = asset.model_dump(by_alias=True, exclude_unset=True, exclude={"type", "checksum", "alternate"})
    source = Source(
        name=key, href=expansion.archive, etag=expansion.archive_etag, size=asset.size, checksum=asset.checksum
    )
    return Asset.model_validate(
        {
            **kept,
            "href": expansion.prefix,
            "file:size": expansion.size,
            "auxip:source": source,
            "auxip:manifest": expansion.manifest,
        }
    )
