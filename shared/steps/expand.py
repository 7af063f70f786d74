"""Expand one archive: of an item in the catalog, or any object in S3 that a caller names."""

from collections.abc import Callable

from shared.archives import (
    ArchiveFailed,
    Inspection,
    Rules,
    expand,
    inspect_object,
    is_data_block,
    prefix_beside,
    prefix_for,
)
from shared.archives.manifest import load_manifest
from shared.archives.rules import AS_SET, Choice
from shared.context import Context
from shared.errors import Rejected, Retryable
from shared.ledger import lease
from shared.models import ItemRecord, Run, work_key
from shared.steps.standing import original_names
from shared.storage.digests import md5_if_known
from shared.storage.location import Location

_ITEM_PATH = 3  # collection, item and asset; see `shared.storage.keys`


def expand_asset(context: Context, run: Run, record: ItemRecord, name: str) -> None:
    """Expand the archive that the catalog's item has under the asset key `name`; it stays until that is published.

    Raises:
        ItemFailed: the archive is unsafe, damaged or too large, or is not what the catalog's MD5 says (codes
            `archive-...`).
        Retryable: S3 or the catalog could not answer; `s3-changed`, another attempt came between.
        Busy: `claim-lost`.
    """
    shown = context.catalog_of(run.request.owner).get(run.request.collection, record.item_id)
    if shown is None:
        raise Retryable("catalog-mismatch", f"the catalog does not show item {record.item_id!r} any more")
    if name not in shown.assets:
        return  # expanded and published by another run
    asset = shown.assets[name]
    archive = Location.parse(asset.href)
    rules = _rules(context, run.request.choice)
    prefix = prefix_beside(archive, original_names(shown))

    def still_ours() -> None:
        context.ledger.require_claim(record)

    _delete_left_members(context, run, prefix, still_ours)
    try:
        expansion = expand(context.store, archive, prefix, rules, md5_if_known(asset.checksum), still_ours)
    except ArchiveFailed as failure:
        if is_data_block(name) and failure.is_of_another_type:
            return  # it is no archive, as most of these are, and stays as it is
        raise
    context.ledger.record_expansion(record, name, expansion)


def _delete_left_members(context: Context, run: Run, prefix: Location, still_ours: Callable[[], None]) -> None:
    """Delete the members that RS-Server's catalog has left of an item that has expired.

    It deletes what it knows as assets, and of an expanded archive that is the manifest alone. Without it the members
    would be taken for somebody else's; the folder of an item is its own.
    """
    if not context.catalog_of(run.request.owner).flavour.moves_objects or load_manifest(context.store, prefix):
        return
    for member in context.store.list(prefix):
        still_ours()
        context.store.delete(Location(prefix.bucket, member.key))


def process_asset(context: Context, owner: str, href: str, choice: Choice = AS_SET) -> str:
    """Replace an archive object of an owner by its content: expand it, verify that, and then delete the archive.

    An archive of which only some members were expanded stays.

    Returns:
        The href of the new prefix.

    Raises:
        UnsupportedArchive: by its name the object is no archive; nothing is touched.
        Rejected: `foreign-place`, it is not the owner's; `in-catalog`, an item would be left with a dead link.
        ItemFailed: the archive is unsafe, damaged or too large; it stays.
        Busy: `claimed-elsewhere`, another worker works on it, or stages the item that it belongs to.
    """
    archive = Location.parse(href)
    prefix = prefix_for(archive)
    path = _require_owned(context, owner, archive)
    collection, item_id = path[:2] if len(path) == _ITEM_PATH else ("", "")
    work = work_key(owner, collection, item_id) if item_id else href
    with lease(context.ledger.redis, work, context.settings.lease):
        if item_id:
            _require_unreferenced(context, owner, collection, item_id, href)
        expansion = expand(context.store, archive, prefix, _rules(context, choice))
        if not expansion.partial:
            context.store.control.delete(archive, expansion.archive_etag)  # unless it is another one by now
    return expansion.prefix


def _require_owned(context: Context, owner: str, archive: Location) -> list[str]:
    """Return the path of an archive below the prefix of its owner."""
    place = context.owners[owner].place
    prefix = f"{place.prefix}{owner}/"
    if archive.bucket != place.bucket or not archive.key.startswith(prefix):
        raise Rejected(
            "foreign-place", f"{archive.href} is not below s3://{place.bucket}/{prefix}, where {owner}'s are"
        )
    return archive.key.removeprefix(prefix).split("/")


def _require_unreferenced(context: Context, owner: str, collection: str, item_id: str, href: str) -> None:
    shown = context.catalog_of(owner).get(collection, item_id)
    if shown is not None and href in {asset.href for asset in shown.assets.values()}:
        raise Rejected(
            "in-catalog", f"item {item_id!r} of {collection!r} references {href}: use auxip.unzip_decompress"
        )


def inspect_asset(context: Context, href: str, choice: Choice = AS_SET) -> Inspection:
    """Read an archive object as `process_asset` would, and write nothing.

    Raises:
        UnsupportedArchive: by its name the object is no archive.
        ItemFailed: `archive-missing`; `prefix-taken`, its content has no place.
    """
    archive = Location.parse(href)
    return inspect_object(context.store, archive, prefix_for(archive), _rules(context, choice))


def _rules(context: Context, choice: Choice) -> Rules:
    return Rules.from_settings(context.settings).with_choice(choice)
