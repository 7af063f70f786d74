"""Queue `runs`: opening and closing runs, and the upkeep."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from celery import states
from celery.exceptions import Ignore
from kombu.exceptions import OperationalError

from shared.errors import AuxipError, Busy, Refused, Retryable
from shared.json_types import Json
from shared.ledger import lease
from shared.models import Lane, PublicationTick, Run, RunRequest
from shared.runs import tidy
from shared.runs.close import close, close_failed, close_work
from shared.runs.due import searching
from shared.runs.outages import probe_systems, waiting_for_systems
from shared.runs.reconcile import reconcile
from shared.runs.settle import begin_items
from shared.runs.sweep import begin_tick
from shared.runs.systems import needs_of_closing
from shared.runs.windows import begin_window, window_now
from workers import flows
from workers.app import UnboundedTask, app, context
from workers.base import GuardedTask, answer_if_lost, publish, retried
from workers.contract import (
    AuxMessage,
    BoundTask,
    OnDemandMessage,
    OrbitMessage,
    RunId,
    StagingMessage,
    SweepMessage,
    UnzipMessage,
    decode,
    takes,
)
from workers.forwarding import forward_lost
from workers.identity import digest_of_call, require_own_run
from workers.queues import lane_of, queue_for
from workers.replays import replay_due
from workers.sweeps import Sweep, find_sweep, load_sweeps
from workers.sweeps.recurring import newest_due

_CLOSING_PAUSES = 10
_FOLLOWS_WITHIN = 3600  # seconds, by when the reconciler has begun it long since


@app.task(name="auxip.staging", bind=True, base=GuardedTask, ignore_result=False)
@takes(StagingMessage)
def staging(self: BoundTask, message: StagingMessage) -> None:
    """Stage what a CQL2 search finds; the result is `[status, ItemCollection or null]`."""
    _open(self, message.request(context().settings.queries_file))


@app.task(name="auxip.on_demand_staging", bind=True, base=GuardedTask, ignore_result=False)
@takes(OnDemandMessage)
def on_demand_staging(self: BoundTask, message: OnDemandMessage) -> None:
    """Stage what a chain of policies selects; the result is `[status, ItemCollection or null]`."""
    _open(self, message.request())


@app.task(name="auxip.orbit", bind=True, base=GuardedTask, ignore_result=False)
@takes(OrbitMessage)
def orbit(self: BoundTask, message: OrbitMessage) -> None:
    """Stage the orbit file of a scene; the result is `[status, ItemCollection or null]`."""
    _open(self, message.request())


@app.task(name="auxip.aux", bind=True, base=GuardedTask, ignore_result=False)
@takes(AuxMessage)
def aux(self: BoundTask, message: AuxMessage) -> None:
    """Stage auxiliary files by their names; the result is `[status, ItemCollection or null]`."""
    _open(self, message.request())


@app.task(name="auxip.unzip_decompress", bind=True, base=GuardedTask, ignore_result=False)
@takes(UnzipMessage)
def unzip_decompress(self: BoundTask, message: UnzipMessage) -> None:
    """Expand the archives of an item that is in the catalog; the result is the item as it is then."""
    _open(self, message.request())


@app.task(name="auxip.sweep", bind=True, base=GuardedTask)
@takes(SweepMessage)
def sweep(_self: BoundTask, message: SweepMessage) -> None:
    """Begin the run of a sweep's newest tick, unless that was decided already or its last run still goes on.

    Of a sweep by publication: begin its next window, if it is due and none goes on.
    """
    name = message.name
    found = find_sweep(context().settings, name)
    if found.by:
        _begin_window(found, newest_due(message.at))
        return
    tick = found.tick(newest_due(message.at))
    with lease(context().ledger.redis, f"sweep:{name}", context().settings.lease):
        run_id = begin_tick(context(), tick)
        if run_id is not None:
            publish([searching(context().ledger.run(run_id))])
            context().sweeps.mark_sent(name, run_id)


@app.task(name="auxip.sweep_now", bind=True, base=GuardedTask, ignore_result=False)
def sweep_now(self: BoundTask, name: str) -> None:
    """Run a sweep now, whatever its schedule says; the result is `[status, ItemCollection or null]`."""
    found = find_sweep(context().settings, decode(SweepMessage, name=name).name)
    now = datetime.now(UTC)
    next_tick = found.next_due(now).timestamp()
    context().sweeps.record_manual(found.name, next_tick, decode(RunId, run_id=self.request.id).run_id)
    _open(self, window_now(context(), _publication_tick(found, now)) if found.by else found.request(now))


@app.task(name="auxip.clean_up", base=GuardedTask, ignore_result=False)
def clean_up() -> list[str]:
    """Remove what killed workers and late writes have left in S3, whose keys it returns, and old reports."""
    removed = tidy.clean_up(context(), timedelta(seconds=context().settings.uploads_max_age))
    tidy.remove_old_reports(context())
    return removed


@app.task(name="auxip.reconcile")
def reconcile_runs() -> None:
    """Publish what was lost, replay what is due, probe systems that cannot be used; unless another worker is at it.

    Then begin the windows of sweeps by publication whose message was lost.
    """
    with suppress(Busy), lease(context().ledger.redis, "reconcile", context().settings.lease):
        publish(reconcile(context()), again=True)
        forward_lost(context())
        replay_due(context())
        probe_systems(context())
        for found in load_sweeps(context().settings).values():
            if found.by:
                _begin_window(found, datetime.now(UTC))


@app.task(name="auxip.step.begin_items", base=GuardedTask)
def begin(run_id: str) -> None:
    """Let the first items of a run have their turn; the others begin as these end."""
    if not answer_if_lost(run_id):
        publish(begin_items(context(), run_id))


class _Closing(UnboundedTask):
    """The last step of a run, which is open until its result is there for the caller."""

    def after_return(self, status: str, retval: object, task_id: str, *_: object) -> None:
        """Forget the run once the result is stored and what the caller linked to it is sent.

        A run that could not be closed has failed by then: its caller was told so.
        """
        if status == states.FAILURE:
            error = retval if isinstance(retval, AuxipError) else _unforeseen(retval)
            close_failed(context(), task_id, error.code, error.reason)
        if status in (states.SUCCESS, states.FAILURE):
            context().ledger.agenda.forget_run(task_id)


@app.task(name="auxip.step.close_run", bind=True, base=_Closing, ignore_result=False)
def close_run(self: BoundTask, run_id: str) -> Json | list[bool | Json | None]:
    """Close a run. This task has the id that the caller waits on: what it returns is the run's result."""
    with retried(self), _retry_forever(), lease(context().ledger.redis, close_work(run_id), context().settings.lease):
        if answer_if_lost(run_id) or not context().ledger.agenda.is_open(run_id):
            raise Ignore  # or it is a copy: the caller has its result
        run = context().ledger.run(run_id)
        with waiting_for_systems(context(), needs_of_closing(context(), run)):
            result = close(context(), run)
        _begin_what_follows(run)
        return result


def _begin_what_follows(run: Run) -> None:
    """Have the next window of a sweep by publication begin; where this message is lost, the reconciler begins it."""
    if run.request.sweep:
        args, queue = (run.request.sweep, time.time()), queue_for("auxip.sweep", Lane.BULK)
        with suppress(OperationalError):
            sweep.apply_async(args, queue=queue, expires=_FOLLOWS_WITHIN)


def _begin_window(found: Sweep, now: datetime) -> None:
    """Begin the next window of a sweep by publication; while another worker is at it, there is nothing to do."""
    with suppress(Busy), lease(context().ledger.redis, f"sweep:{found.name}", context().settings.lease):
        run_id = begin_window(context(), _publication_tick(found, now))
        if run_id is not None:
            publish([searching(context().ledger.run(run_id))])


def _publication_tick(found: Sweep, now: datetime) -> PublicationTick:
    return found.publication_tick(now, context().station().name)


@contextmanager
def _retry_forever() -> Iterator[None]:
    """Let a catalog or a store that is away for a night not fail a run whose items are all done.

    Where they answer, and refuse us or show something else than was written, there is nothing to wait for.
    """
    try:
        yield
    except Busy:
        raise
    except Retryable as error:
        if isinstance(error, Refused) or error.code.endswith("-mismatch"):
            raise
        settings = context().settings
        delay = min(_CLOSING_PAUSES * settings.backoff_base, settings.backoff_max)
        raise Busy(error.code, error.reason, delay=delay) from error


def _unforeseen(error: object) -> AuxipError:
    return AuxipError("internal-error", f"the closing of the run: {type(error).__name__}; see the worker's log")


def _open(task: BoundTask, request: RunRequest) -> None:
    """Open a run under the id of the caller's task, in the lane of its message, and leave the result to `close_run`.

    Raises:
        Reject: `id-taken`, the id is that of another run.
        Ignore: if all is well. Celery then neither stores a result nor goes on with what is linked to the task.
        Rejected: `bad-request`, the caller has given the task an id that cannot be a run's.
    """
    run_id = decode(RunId, run_id=task.request.id).run_id
    lane = lane_of(task.request)
    in_lane = request.model_copy(update={"lane": lane})
    ledger = context().ledger
    if not ledger.open_run(run_id, in_lane, flows.continuation_of(task.request), digest_of_call(task)):
        require_own_run(context(), task, in_lane)
        if _has_no_result(run_id):
            ledger.agenda.reopen_run(run_id)
    context().requests.record_begun(run_id)
    publish([searching(ledger.run(run_id))])
    raise Ignore


def _has_no_result(run_id: str) -> bool:
    """Whether a run is closed, and its result was kept for as long as results are."""
    return context().ledger.run(run_id).closed is not None and app.AsyncResult(run_id).state == states.PENDING
