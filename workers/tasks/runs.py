"""Queue `runs`: opening, fanning out and closing runs, and settling their items."""

import time
from datetime import UTC, datetime, timedelta

from celery.exceptions import Ignore

from shared.ledger import lease
from shared.models import RunKind, RunRequest
from shared.stac.item import Json
from shared.steps.close import close
from shared.steps.settle import settle_item
from shared.steps.standing import archives_of
from shared.steps.sweep import begin_tick
from shared.storage.uploads import abort_uploads
from workers import flows
from workers.app import app, context
from workers.base import BoundTask, retried
from workers.contract import OnDemandMessage, RunId, StagingMessage, SweepMessage, UnzipMessage, decode
from workers.queues import lane_of
from workers.sweeps import find_sweep

_CLOCKS_DIFFER = 60.0  # seconds that beat's clock may be ahead; no message moves a sweep further into the future


@app.task(name="auxip.staging", bind=True, ignore_result=False)
def staging(
    self: BoundTask,
    env: Json,
    cql2_filter: Json,
    catalog_collection_identifier: str,
    timeout_seconds: float = -1,
    decompress: bool = True,
    asset_names: list[str] | None = None,
    station: str | list[str] | None = None,
) -> None:
    """Stage what a CQL2 search finds; the result is `[status, ItemCollection or null]`."""
    message = decode(
        StagingMessage,
        env=env,
        cql2_filter=cql2_filter,
        catalog_collection_identifier=catalog_collection_identifier,
        timeout_seconds=timeout_seconds,
        decompress=decompress,
        asset_names=asset_names,
        station=station,
    )
    _open(self, message.request(context().settings.queries_file))


@app.task(name="auxip.on_demand_staging", bind=True, ignore_result=False)
def on_demand_staging(
    self: BoundTask,
    env: Json,
    start_datetime: str | None = None,
    end_datetime: str | None = None,
    product_type: str | list[str] | None = None,
    catalog_collection_identifier: str | None = None,
    timeout_seconds: float = -1,
    decompress: bool = True,
    asset_names: list[str] | None = None,
    station: str | list[str] | None = None,
    policy: str | list[str] = "ValCover",
    platform: str | None = None,
    before: float = 0,
    after: float = 0,
) -> None:
    """Stage what a chain of policies selects; the result is `[status, ItemCollection or null]`.

    The order is that of the reference, whose window is always there; so the two after it, which are always needed,
    have a default, which is refused.
    """
    message = decode(
        OnDemandMessage,
        env=env,
        start_datetime=start_datetime,
        end_datetime=end_datetime,
        product_type=product_type,
        catalog_collection_identifier=catalog_collection_identifier,
        timeout_seconds=timeout_seconds,
        decompress=decompress,
        asset_names=asset_names,
        station=station,
        policy=policy,
        platform=platform,
        before=before,
        after=after,
    )
    _open(self, message.request())


@app.task(name="auxip.unzip_decompress", bind=True, ignore_result=False)
def unzip_decompress(self: BoundTask, env: Json, auxip_item: Json) -> None:
    """Expand the archives of an item that is in the catalog; the result is the item as it is then."""
    _open(self, decode(UnzipMessage, env=env, auxip_item=auxip_item).request())


@app.task(name="auxip.sweep", bind=True)
def sweep(self: BoundTask, name: str, at: float = 0) -> None:
    """Begin the run of a sweep's newest tick, unless that was decided already or its last run still goes on."""
    message = decode(SweepMessage, name=name, at=at)
    found = find_sweep(context().settings, message.name)
    now = time.time()
    tick = found.tick(datetime.fromtimestamp(max(now, min(message.at, now + _CLOCKS_DIFFER)), UTC))
    with retried(self), lease(context().ledger.redis, f"sweep:{name}", context().settings.lease):
        run_id = begin_tick(context(), tick, now)
        if run_id is not None:
            flows.find(run_id, context().ledger.run(run_id).request.lane).apply_async()
            context().sweeps.mark_sent(name, run_id)


@app.task(name="auxip.sweep_now", bind=True, ignore_result=False)
def sweep_now(self: BoundTask, name: str) -> None:
    """Run a sweep now, whatever its schedule says; the result is `[status, ItemCollection or null]`."""
    found = find_sweep(context().settings, decode(SweepMessage, name=name).name)
    now = datetime.now(UTC)
    with retried(self):
        context().sweeps.record_manual(found.tick(now), decode(RunId, run_id=self.request.id).run_id)
    _open(self, found.request(now))


@app.task(name="auxip.clean_uploads", bind=True, ignore_result=False)
def clean_uploads(self: BoundTask) -> list[str]:
    """Abort the uploads into S3 that killed workers have left unfinished; returns the keys that they were for."""
    settings = context().settings
    older_than = timedelta(seconds=settings.uploads_max_age)
    with retried(self):
        places = context().owners.places
        return [upload.key for place in places for upload in abort_uploads(settings, place, older_than)]


@app.task(name="auxip.step.open_page", bind=True)
def open_page(self: BoundTask, run_id: str, number: int) -> None:
    """Fan out one page of a run's items."""
    with retried(self):
        size = context().settings.page_items
        run = context().ledger.run(run_id)
        keys = context().ledger.keys(run_id, number * size, (number + 1) * size)
        items = [(key, _archives(run.id, key, run.request)) for key in keys]
    link = flows.decompression if run.request.kind is RunKind.DECOMPRESS else flows.staging
    lane = run.request.lane
    linked = [link(run_id, key, archives, lane) for key, archives in items]
    flows.page_of_items(run_id, number, linked, lane).apply_async()


@app.task(name="auxip.step.settle_item", bind=True)
def settle(self: BoundTask, run_id: str, key: str) -> None:
    """Say how an item ended."""
    with retried(self):
        settle_item(context(), context().ledger.run(run_id), context().ledger.item(run_id, key))


@app.task(name="auxip.step.close_page", bind=True)
def close_page(self: BoundTask, run_id: str, number: int) -> None:
    """Record that a page is done; the last one closes the run."""
    with retried(self):
        if context().ledger.close_page(run_id, number):
            lane = context().ledger.run(run_id).request.lane
            flows.close(run_id, context().ledger.continuation(run_id), lane).apply_async()


@app.task(name="auxip.step.close_run", bind=True, ignore_result=False)
def close_run(self: BoundTask, run_id: str) -> Json | list[bool | Json | None]:
    """Close a run. This task has the id that the caller waits on: what it returns is the run's result."""
    with retried(self):
        return close(context(), context().ledger.run(run_id))


def _open(task: BoundTask, request: RunRequest) -> None:
    """Open a run under the id of the caller's task, in the lane of its message, and leave the result to `close_run`.

    Raises:
        Ignore: if all is well. Celery then neither stores a result nor goes on with what is linked to the task.
        Rejected: `bad-request`, the caller has given the task an id that cannot be a run's.
    """
    run_id = decode(RunId, run_id=task.request.id).run_id
    lane = lane_of(task.request)
    with retried(task):
        in_lane = request.model_copy(update={"lane": lane})
        context().ledger.open_run(run_id, in_lane, flows.continuation_of(task.request))
        flows.find(run_id, lane).apply_async()
    raise Ignore


def _archives(run_id: str, key: str, request: RunRequest) -> list[str]:
    if not request.decompress or context().ledger.item(run_id, key).over:
        return []
    return archives_of(context().ledger.stac_item(run_id, key))
