"""Expand one archive: of an item in the catalog, or any object in S3 that a caller names."""

from dataclasses import replace

from shared.archives import Inspection, Rules, expand, inspect_object, prefix_beside, prefix_for
from shared.archives.rules import Layout
from shared.context import Context
from shared.errors import Retryable
from shared.models import ItemRecord, Run
from shared.steps.standing import original_names
from shared.storage.digests import md5_if_known
from shared.storage.location import Location


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
    rules = _rules(context, run.request.layout)
    prefix = prefix_beside(archive, original_names(shown))

    def still_ours() -> None:
        context.ledger.require_claim(record)

    expansion = expand(context.store, archive, prefix, rules, md5_if_known(asset.checksum), still_ours)
    context.ledger.record_expansion(record, name, expansion)


def process_asset(context: Context, href: str) -> str:
    """Replace an archive object by its content: expand it, verify that, and then delete the archive.

    Returns:
        The href of the new prefix.

    Raises:
        UnsupportedArchive: by its name the object is no archive; nothing is touched.
        ItemFailed: the archive is unsafe, damaged or too large; it stays.
    """
    archive = Location.parse(href)
    expansion = expand(context.store, archive, prefix_for(archive), _rules(context))
    context.store.control.delete(archive, expansion.archive_etag)  # unless it is another one by now
    return expansion.prefix


def inspect_asset(context: Context, href: str) -> Inspection:
    """Read an archive object as `process_asset` would, and write nothing.

    Raises:
        UnsupportedArchive: by its name the object is no archive.
        ItemFailed: `archive-missing`; `prefix-taken`, its content has no place.
    """
    archive = Location.parse(href)
    return inspect_object(context.store, archive, prefix_for(archive), _rules(context))


def _rules(context: Context, layout: Layout | None = None) -> Rules:
    rules = Rules.from_settings(context.settings)
    return rules if layout is None else replace(rules, layout=layout)
