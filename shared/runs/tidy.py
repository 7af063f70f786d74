"""Remove from S3 what faults have left: unfinished uploads, and archives beside their content. Old reports go as well.

A store that was away may apply a PUT when its sender has long repeated it, and a worker that stood still goes on with
the one that it had begun: so an archive may be there again after it was expanded, published and deleted. No record
tells of that, since the S3 library repeats a request by itself: every archive that was expanded lately is looked for,
with one HEAD for each. Only where it stands are the catalog and its content looked at.
"""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import islice

from shared.archives import Expansion
from shared.context import Context
from shared.errors import Busy, ItemFailed, Rejected
from shared.ledger import lease
from shared.models import ItemRecord, Run
from shared.steps.publish import delete_archive
from shared.steps.standing import Standing, expanded_standing, keeps_archive
from shared.storage.location import Location

_DAY = timedelta(days=1)
_REPORTS = frozenset({"report.json", "report.html", "auxiliary-files.json", "item-collection.json"})
_HEADS_AT_ONCE = 16
_BATCH = 500

_log = logging.getLogger(__name__)


def clean_up(context: Context, older_than: timedelta) -> list[str]:
    """Abort the uploads that began longer ago than that, and remove what runs have left that were closed since then.

    An upload that was taken up again lately stays: its transfer may go on.

    A day is added to that, so that a call each day misses no run.

    Returns:
        The keys that were uploaded to, and those of the archives.

    Raises:
        Retryable: S3 or the catalog could not answer.
        Refused: `s3-denied`.
    """
    control, spared = context.store.control, context.ledger.uploads_in_use(older_than)
    places = context.owners.places
    aborted = [upload.key for place in places for upload in control.abort_uploads(place, older_than, spared)]
    return aborted + remove_leftovers(context, time.time() - (older_than + _DAY).total_seconds())


def remove_leftovers(context: Context, since: float) -> list[str]:
    """Delete archives that stand beside their published content, of runs that were closed since then.

    Args:
        context: where to look.
        since: in seconds since the epoch.

    Returns:
        The keys of the archives that were deleted.

    Raises:
        Retryable: S3 or the catalog could not answer.
    """
    with ThreadPoolExecutor(_HEADS_AT_ONCE, thread_name_prefix="leftovers") as pool:
        return [
            key
            for run in context.ledger.closed_runs(since)
            for record in _with_archives(context, run, pool)
            for key in _remove(context, run, record)
        ]


def remove_old_reports(context: Context) -> int:
    """Delete the reports of runs and audits that are older than `AUXIP_REPORT_DAYS`; returns how many objects it were.

    Raises:
        Retryable: S3 could not answer.
        Refused: `s3-denied`.
    """
    before, count = time.time() - context.settings.report_days * _DAY.total_seconds(), 0
    for place in context.owners.places:
        for folder in ("runs/", "audits/"):
            reports = _old_reports(context, Location(place.bucket, place.prefix + folder), before)
            while batch := list(islice(reports, _BATCH)):
                context.store.control.delete_all(batch)
                count += len(batch)
    if count:
        _log.info("%d objects of reports were deleted: older than %d days", count, context.settings.report_days)
    return count


def _old_reports(context: Context, folder: Location, before: float) -> Iterator[Location]:
    """Yield the reports in a folder that were written before an instant.

    Their names and their depth tell them from assets: an owner may be called `runs`, and its assets are deeper.
    """
    after, more = "", True
    while more:
        listed, more = context.store.control.list_page(folder, after)
        for each in listed:
            after, (_, _, name) = each.key, each.key.removeprefix(folder.key).partition("/")
            if name in _REPORTS and each.modified < before:
                yield Location(folder.bucket, each.key)


def _with_archives(context: Context, run: Run, pool: ThreadPoolExecutor) -> Iterator[ItemRecord]:
    """Yield the items of a run of which an archive that was expanded is there."""

    def has_archives(record: ItemRecord) -> bool:
        return any(_is_there(context, expansion) for expansion in record.expansions.values())

    records = (record for record in context.ledger.items(run.id) if record.expansions)
    while batch := list(islice(records, _BATCH)):
        yield from (record for record, found in zip(batch, pool.map(has_archives, batch), strict=True) if found)


def _is_there(context: Context, expansion: Expansion) -> bool:
    stored = context.store.head(Location.parse(expansion.archive))
    return stored is not None and stored.etag == expansion.archive_etag


def _remove(context: Context, run: Run, record: ItemRecord) -> list[str]:
    """Delete the leftover archives of an item, unless somebody is at work on it."""
    try:
        with lease(context.ledger.redis, record.key, context.settings.lease):
            return _remove_claimed(context, run, record)
    except (Busy, ItemFailed, Rejected) as error:
        _log.warning("what is left of item %s of run %s stays: %s", record.key, run.id, error)
        return []


def _remove_claimed(context: Context, run: Run, record: ItemRecord) -> list[str]:
    shown = context.catalog_of(run.request.owner).get(run.request.collection, record.item_id)
    ours = {(expansion.archive, expansion.archive_etag) for expansion in record.expansions.values()}
    removed: list[str] = []
    if shown is None:
        return []
    for asset in shown.assets.values():
        if asset.source is None or (asset.source.href, asset.source.etag) not in ours:
            continue
        archive = Location.parse(asset.source.href)
        if not keeps_archive(shown, asset) and expanded_standing(context, asset, archive) is Standing.LEFTOVER:
            delete_archive(context, shown, asset)
            removed.append(archive.key)
    return removed
