"""Publish an item: first as it was staged, then as it is once its archives are expanded; only then delete them."""

from collections.abc import Iterable
from functools import partial
from urllib.parse import quote

from shared.archives import Expansion, stands
from shared.context import Context
from shared.errors import Retryable
from shared.models import ItemRecord, ItemState, Run, StagedAsset
from shared.stac.catalog import is_unpublished, public_of
from shared.stac.item import Asset, Item, Source
from shared.stac.publication import composed
from shared.steps.merging import with_others
from shared.steps.standing import (
    archive_stands,
    expanded_standing,
    holds,
    holds_at,
    keeps_archive,
    original_name,
    require_owner,
    shown_place,
)
from shared.storage.location import Location


def publish_and_fetch(context: Context, run: Run, record: ItemRecord) -> None:
    """Write a staged item to the catalog and read it back; an asset that stands there is kept as the catalog has it.

    So are assets that the station does not offer, or that this run was not asked for.

    Raises:
        ItemFailed: `other-owner`.
        Retryable: `catalog-mismatch`, `not-staged`, or the catalog could not answer.
        Rejected: the catalog refuses the item.
    """
    if record.expanded is not None:
        _restore_expanded(context, run, record)
    if record.catalogued is not None:
        return  # delivered again: by now the catalog may show more than was staged
    catalog = context.catalog_of(run.request.owner)
    shown = catalog.get(run.request.collection, record.item_id)
    item = item_to_write(context, run, record, shown)
    if item is not None:
        _write(context, run, record, item, shown)
    context.ledger.reach(record, ItemState.CATALOGUED)


def item_to_write(context: Context, run: Run, record: ItemRecord, shown: Item | None) -> Item | None:
    """Return a staged item as it is to be written; None where the catalog shows it so already.

    Raises:
        ItemFailed: `other-owner`.
        Retryable: `not-staged`, or S3 could not answer.
    """
    require_owner(run, shown)
    offered = record.stac_item()
    item = _staged_item(context, run, offered, record.staged_assets, shown)
    if shown is not None and item.assets == shown.assets and not is_unpublished(shown):
        return None
    item = _where_moved(context, run, item, shown)
    _require_objects(context, [one for one in item.assets.items() if original_name(*one) in offered.assets])
    return composed(item, public_of(context.settings))


def publish_expanded(context: Context, run: Run, record: ItemRecord) -> None:
    """Write an item whose archives are expanded to the catalog, read it back, and then delete the archives.

    An archive of which only some members were expanded stays an asset of the item, and is not deleted.

    Raises:
        Retryable: `catalog-mismatch`, `not-staged`, or the catalog or S3 could not answer.
    """
    if record.expanded is not None:
        return
    catalog = context.catalog_of(run.request.owner)
    shown = catalog.get(run.request.collection, record.item_id)
    if shown is None:
        raise Retryable("catalog-mismatch", f"the catalog does not show item {record.item_id!r} any more")
    item = _expanded_item(shown, record.expansions)
    if item.assets != shown.assets:
        made = [one for one in item.assets.items() if one[1].source and original_name(*one) in record.expansions]
        _require_objects(context, made)
        _write(context, run, record, composed(item, public_of(context.settings)), shown)
    context.ledger.require_claim(record)
    for asset in item.assets.values():
        delete_archive(context, item, asset)
    context.ledger.reach(record, ItemState.EXPANDED)


def _restore_expanded(context: Context, run: Run, record: ItemRecord) -> None:
    """Publish an item as it is expanded once more, where the catalog shows its archives instead.

    A worker that stood still may have written it as it was staged, after another one had expanded it and deleted the
    archives. It learns that its claim is lost only then, and its message is delivered again.
    """
    catalog, expansions = context.catalog_of(run.request.owner), record.expansions
    shown = catalog.get(run.request.collection, record.item_id)
    archives = shown.assets.items() if shown is not None else ()
    if shown and any(key in expansions and asset.href == expansions[key].archive for key, asset in archives):
        item = _expanded_item(shown, expansions)
        if item.assets != shown.assets:
            _write(context, run, record, composed(item, public_of(context.settings)), shown)


def _write(context: Context, run: Run, record: ItemRecord, item: Item, shown: Item | None) -> None:
    still_ours = partial(context.ledger.require_claim, record)
    context.catalog_of(run.request.owner).write(item, shown, still_ours, partial(holds_at, context))


def _where_moved(context: Context, run: Run, item: Item, shown: Item | None) -> Item:
    """Return an item with the hrefs of what the catalog has moved since: its answer to a write may have been lost."""
    if shown is None or not context.catalog_of(run.request.owner).flavour.moves_objects:
        return item
    for key, asset in item.assets.items():
        place = shown_place(shown, key)
        if place is not None and place.key == Location.parse(asset.href).key and holds_at(context, place.href, asset):
            item.assets[key] = asset.model_copy(update={"href": place.href})
    return item


def delete_archive(context: Context, item: Item, expanded: Asset) -> None:
    """Delete the archive that an asset was expanded from, unless another object is in its place by now.

    An archive that is an asset of the item itself stays: the item has only some of its members beside it.
    """
    if expanded.source is not None and not keeps_archive(item, expanded) and archive_stands(context, expanded):
        context.store.control.delete(Location.parse(expanded.source.href), str(expanded.source.etag))


def _staged_item(context: Context, run: Run, offered: Item, staged: dict[str, StagedAsset], shown: Item | None) -> Item:
    item = offered.model_copy(deep=True)
    item.collection = run.request.collection
    # STAC requires this link of an item that has a collection; whatever else a station links to is its own.
    href = f"{context.settings.catalog_url}/collections/{quote(run.request.collection, safe='')}"
    item.links = [{"rel": "collection", "type": "application/json", "href": href}]
    item.properties["owner"] = run.request.owner
    item.assets = {}
    before = _by_original(shown)
    for key, asset in offered.assets.items():
        name, current = _current_asset(context, key, asset, staged.get(key), before.get(key))
        item.assets[name] = current
    for name, asset in shown.assets.items() if shown else ():
        if original_name(name, asset) not in offered.assets or (shown and _is_part(context, shown, item, asset)):
            item.assets.setdefault(name, asset)
    return with_others(item, shown)


def _by_original(shown: Item | None) -> dict[str, tuple[str, Asset]]:
    """Return the catalog's assets by the keys of the station: the archive, where part of it is there too."""
    found: dict[str, tuple[str, Asset]] = {}
    for key, asset in shown.assets.items() if shown else ():
        if asset.source is None:
            found[key] = (key, asset)
        else:
            found.setdefault(asset.source.name, (key, asset))
    return found


def _is_part(context: Context, shown: Item, item: Item, expanded: Asset) -> bool:
    """Whether an asset has some members, whole, of an archive that the item had beside it, and has in that version."""
    source = expanded.source
    archive = None if source is None else item.assets.get(source.name)
    if source is None or archive is None or archive.etag != source.etag or not keeps_archive(shown, expanded):
        return False
    return not expanded_standing(context, expanded, Location.parse(archive.href)).absent


def _current_asset(
    context: Context, key: str, offered: Asset, staged: StagedAsset | None, before: tuple[str, Asset] | None
) -> tuple[str, Asset]:
    """An asset as it is by now, and its key: staged by this run, expanded, or `before`, as the catalog has it."""
    if staged is not None and (before is None or before[1].source is None):
        return key, _with_content(offered, staged)
    if before is None:
        raise _not_staged(key)
    if staged is None or _was_expanded(context, before[1], staged):
        return before
    if not holds(context, Location.parse(staged.href), staged):
        raise _not_staged(key)
    return key, _with_content(offered, staged)


def _was_expanded(context: Context, expanded: Asset, staged: StagedAsset) -> bool:
    """Whether another run has meanwhile expanded the archive that this one has staged; then that may be deleted."""
    if expanded.source is None or expanded.source.etag != staged.etag:
        return False
    return not expanded_standing(context, expanded, Location.parse(staged.href)).absent


def _require_objects(context: Context, assets: Iterable[tuple[str, Asset]]) -> None:
    """Make sure that what an item is about to reference is in S3 by now, every member of what was expanded too.

    Raises:
        Retryable: `not-staged`.
    """
    for key, asset in assets:
        location = Location.parse(asset.href)
        if not (
            stands(context.store, location, asset.source.etag) if asset.source else holds(context, location, asset)
        ):
            raise _not_staged(key)


def _not_staged(key: str) -> Retryable:
    return Retryable("not-staged", f"asset {key!r} stands neither in S3 nor in the catalog any more")


def _with_content(asset: Asset, staged: StagedAsset) -> Asset:
    return asset.model_copy(update=staged.model_dump())


def _expanded_item(shown: Item, expansions: dict[str, Expansion]) -> Item:
    """The item with each expanded archive's asset under its new key, the other assets as they are, in their order.

    An archive of which only some members were expanded stays, with these beside it.
    """
    item = shown.model_copy(deep=True)
    item.assets = {}
    for key, asset in shown.assets.items():
        if key not in expansions or expansions[key].partial:
            item.assets[key] = asset
        if key in expansions:
            name = expansions[key].prefix.removesuffix("/").rpartition("/")[2]
            item.assets[name] = _expanded(key, asset, expansions[key])
    return item


def _expanded(key: str, asset: Asset, expansion: Expansion) -> Asset:
    """The asset without what described the archive: its type, size and checksum are those of another object."""
    kept = asset.model_dump(by_alias=True, exclude_unset=True, exclude={"type", "checksum", "etag", "alternate"})
    source = Source(
        name=key, href=expansion.archive, etag=expansion.archive_etag, size=asset.size, checksum=asset.checksum
    )
    return Asset.model_validate(
        {
            **kept,
            "href": expansion.prefix,
            "file:size": expansion.size,
            "aux_staging:source": source,
            "aux_staging:manifest": expansion.manifest,
        }
    )
