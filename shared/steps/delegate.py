"""Stage an item through a staging service: ask once, look again without holding a worker, believe what is verified.

The job is recorded under the item's work key and not under a run, so whichever runs want the item wait for one job.
Where the service's answer is lost, or its worker is killed before that is recorded, the item is asked for once more:
the service does not stage a second time what the catalog shows, and should two jobs be at it at once, what they leave
is verified like anything else.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from shared.context import Context
from shared.errors import AuxipError, Busy, ItemFailed, Refused, Retryable
from shared.models import ItemRecord, ItemState, Job, Run
from shared.retries import delay_before_look
from shared.stac.item import Asset, Item
from shared.stac.processes import JobState, StatusInfo
from shared.steps.standing import Standing, is_intact, require_owner, shown_place, standing
from shared.storage.digests import checksum_if_known, checksum_of
from shared.storage.keys import asset_location
from shared.storage.location import Location

_OWN_SEGMENTS = 3  # of a key: <collection>/<item id>/<asset key>; what stands before them is the service's affair
_REMEMBERED = 86_400  # seconds beyond the timeout that a job is remembered, should all workers be away


def delegate_item(context: Context, run: Run, record: ItemRecord, item: Item) -> None:
    """Have the assets of an item that are missing staged and published by the service, and verify what it has done.

    Raises:
        Busy: `job-running`: to be called again after its `delay`. A service that cannot be reached, or answers
            nonsense, ends no waiting; the timeout of a job does.
        ItemFailed: `job-timeout`; `job-dismissed`; `job-mismatch`, the catalog or S3 shows something else than the
            station offers; `unsafe-asset-name`, `unsafe-item-id`, `bad-checksum`, `too-large`, `other-owner`.
        Retryable: `job-failed`; `job-lost`, the service has forgotten it; `catalog-mismatch` or `s3-mismatch`, they
            do not show it yet; or the service, the catalog or S3 could not answer.
        Rejected: one of them refuses.
    """
    job = _job_under_way(context, record)
    if job is not None:
        _follow(context, run, record, item, job)
    else:
        missing = _missing(context, run, record, item)
        if missing is None:
            return
        if missing:
            _begin(context, run, record, item, missing)
    context.ledger.reach(record, ItemState.STAGED)
    context.ledger.forget_job(record.key)


def _job_under_way(context: Context, record: ItemRecord) -> Job | None:
    """The job on an item, unless it was over before this run began: it tells nothing of what is missing now."""
    job = context.ledger.job(record.key)
    over = job is not None and job.ended is not None and record.claimed is not None and record.claimed > job.ended
    return None if over else job


def _missing(context: Context, run: Run, record: ItemRecord, item: Item) -> list[str] | None:
    """The keys of the assets that are to be staged, or None where the item is as it should be, which is recorded."""
    shown = context.catalog_of(run.request.owner).get(run.request.collection, item.id)
    require_owner(run, shown)
    places = {key: _place(context, run, item, key, shown) for key in item.assets}
    stands = {key: standing(context, shown, key, asset, places[key]) for key, asset in item.assets.items()}
    if is_intact(run, item, stands):
        context.ledger.record_intact(record)
        return None
    if Standing.DAMAGED in stands.values():
        context.ledger.record_damaged(record)
    return [key for key, one in stands.items() if one.absent]


def _place(context: Context, run: Run, item: Item, key: str, shown: Item | None) -> Location:
    """Where an asset is: the service chooses the bucket and the folder, but the end of the key tells whose it is.

    Where the catalog has no such asset, or its href is none of this item, it is the place that we would choose.
    """
    ours = context.owners[run.request.owner].place
    own = asset_location(ours, run.request.owner, run.request.collection, item.id, key)
    place = None if shown is None else shown_place(shown, key)
    return place if place is not None and _ending(place) == _ending(own) else own


def _ending(place: Location) -> list[str]:
    return place.key.split("/")[-_OWN_SEGMENTS:]


def _begin(context: Context, run: Run, record: ItemRecord, item: Item, missing: Sequence[str]) -> None:
    """Ask for what is missing; returns only if the service has it done at once."""
    for key in missing:
        _require_verifiable(context, item.assets[key])
    info = context.staging_service.execute(run.request.collection, item, missing)
    job = Job(id=info.job_id, assets=tuple(missing), begun=time.time())
    _record(context, record, job)
    _require_success(context, record, item, job, info)
    _require_staged(context, run, item, job)


def _require_verifiable(context: Context, asset: Asset) -> None:
    """Refuse, before anything is begun, what could never be accepted."""
    checksum_of(asset.checksum)
    limit = context.settings.max_asset_bytes
    if (asset.size or 0) > limit:
        raise ItemFailed("too-large", f"the asset has more than {limit} bytes (AUXIP_MAX_ASSET_BYTES)")


def _record(context: Context, record: ItemRecord, job: Job) -> None:
    context.ledger.record_job(record.key, job, context.settings.staging_job_timeout + _REMEMBERED)


def _follow(context: Context, run: Run, record: ItemRecord, item: Item, job: Job) -> None:
    """Look at a job; returns only if it has come to a good end."""
    info = _look(context, record, job)
    if info is not None:
        _require_success(context, record, item, job, info)
        _require_staged(context, run, item, job)
        return
    # The service was restarted, or has tidied up: what the job has done stands in the catalog, if anywhere.
    context.ledger.forget_job(record.key)
    try:
        _require_staged(context, run, item, job)
    except Retryable as error:
        raise Retryable("job-lost", f"the staging service has forgotten job {job.id}, and {error.reason}") from None


def _look(context: Context, record: ItemRecord, job: Job) -> StatusInfo | None:
    try:
        return context.staging_service.job(job.id)
    except Refused:
        raise
    except Retryable as error:
        _wait(context, record, job, str(error), error.delay)


def _require_success(context: Context, record: ItemRecord, item: Item, job: Job, info: StatusInfo) -> None:
    """Go on only if a job is successful."""
    said = f"job {job.id} of the staging service: {info.status}, {info.progress} %: {info.message}"
    match info.status:
        case JobState.ACCEPTED | JobState.RUNNING:
            _report(context, record, item, job, info.progress)
            _wait(context, record, job, said)
        case JobState.FAILED:
            context.ledger.forget_job(record.key)
            raise Retryable("job-failed", said)
        case JobState.DISMISSED:
            context.ledger.forget_job(record.key)
            raise ItemFailed("job-dismissed", said)
        case JobState.SUCCESSFUL if job.ended is None:
            _record(context, record, job.model_copy(update={"ended": time.time()}))


def _report(context: Context, record: ItemRecord, item: Item, job: Job, percent: int) -> None:
    """Tell the ledger how far a job has come; the bytes crossed the service's network and not ours."""
    coming = sum(asset.size or 0 for key, asset in item.assets.items() if key in job.assets)
    there = item.size - coming + coming * percent // 100
    context.ledger.progress(record, more=0, there=there)


def _wait(context: Context, record: ItemRecord, job: Job, said: str, asked: float | None = None) -> NoReturn:
    """Have the job looked at again later, unless it has taken too long."""
    settings = context.settings
    waited = max(0.0, time.time() - job.begun)
    left = settings.staging_job_timeout - waited
    if left > 0:
        pause = max(delay_before_look(waited, settings), min(asked or 0, settings.backoff_max))
        raise Busy("job-running", said, delay=min(pause, left))
    with suppress(AuxipError):
        context.staging_service.dismiss(job.id)
    context.ledger.forget_job(record.key)
    limit = settings.staging_job_timeout
    raise ItemFailed("job-timeout", f"not done within {limit:g} s (AUXIP_STAGING_JOB_TIMEOUT); the last was: {said}")


def _require_staged(context: Context, run: Run, item: Item, job: Job) -> None:
    """Make sure that the catalog shows every asset, and that S3 holds for each what the station offers."""
    shown = context.catalog_of(run.request.owner).get(run.request.collection, item.id)
    require_owner(run, shown)
    for key, offered in item.assets.items():
        place = _place(context, run, item, key, shown)
        asset = None if shown is None else shown.assets.get(key)
        if key not in job.assets and not standing(context, shown, key, offered, place).absent:
            continue  # it stood there when the job was begun
        if asset is None:
            raise Retryable(
                "catalog-mismatch",
                f"the catalog does not show asset {key!r} of item {item.id!r}, which the staging service has staged",
            )
        if asset.href != place.href:
            raise _mismatch(key, f"the href {asset.href[:200]!r}, which is no s3:// href of this item")
        _require_content(context, key, offered, asset, place)


def _require_content(context: Context, key: str, offered: Asset, asset: Asset, place: Location) -> None:
    stored = context.store.head(place)
    if stored is None:
        raise Retryable("s3-mismatch", f"{place.href} is in the catalog, and the store has nothing there")
    size = asset.size if offered.size is None else offered.size
    if size is not None and stored.size != size:
        raise _mismatch(key, f"{stored.size} bytes where {size} were announced")
    stated = checksum_of(offered.checksum)
    if stated is None:
        return
    if "-" in stored.etag:  # of a multipart upload it is no MD5: what the catalog says must do
        shown = checksum_if_known(asset.checksum)
        same = shown is None or shown.function != stated.function or shown == stated
    else:
        same = context.store.held(place, stored.size, stated) is not None
    if not same:
        raise _mismatch(key, f"another {stated.function.upper()} than {stated.hex}, which was announced")


def _mismatch(key: str, what: str) -> ItemFailed:
    # Asking again would change nothing: the service takes what the catalog shows for staged.
    return ItemFailed("job-mismatch", f"the staging service says that it is done, but asset {key!r} has {what}")
