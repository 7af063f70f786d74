"""What every task does around its one call: claim, call, record; and what an error means for the message."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn, cast

from celery.exceptions import Reject, Retry, SoftTimeLimitExceeded
from celery.states import READY_STATES
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from shared.context import Context
from shared.errors import AuxipError, Busy, ItemFailed, Rejected, Retryable
from shared.ledger import lease
from shared.ledger.lease import require_starts_left
from shared.logs import Throttle, about
from shared.models import ItemRecord, Run
from shared.retries import delay_before_retry
from shared.runs.close import close_failed
from shared.runs.due import Plan, Step, StepName, closing, due_steps, stopped
from shared.runs.outages import search_waiting_for_systems, waiting_for_systems
from shared.runs.settle import settle_item
from shared.runs.systems import needs_of_step
from workers import flows
from workers.app import UnboundedTask, app, context
from workers.contract import BoundTask
from workers.queues import task_work

_log = logging.getLogger(__name__)

_THROTTLE = Throttle()
_NEARLY = 0.9  # of a pause, so that the message that ends it does not come too early

ItemStep = Callable[[Context, Run, ItemRecord], None]


class _Again(Exception):
    """A step is to be tried again."""

    def __init__(self, delay: float) -> None:
        super().__init__(delay)
        self.delay = delay


def perform(task: BoundTask, step: Step, call: ItemStep) -> None:
    """Do one step of one item and record its outcome; the task itself never fails.

    Celery sends the next link. Where the item ends here, the chain ends, and what that lets begin is published.

    Args:
        task: the bound task.
        step: what the message asks for.
        call: the one call.
    """
    with about(run=step.run_id, item=step.key, step=step.name, archive=step.part):
        _perform(task, step, call)


def _perform(task: BoundTask, step: Step, call: ItemStep) -> None:
    try:
        publish(_done(task, step, call))
    except Busy as error:
        _wait(task, step, error.delay or 0, error)
    except _Again as error:
        _wait(task, step, error.delay, error)
    except Rejected as error:
        _log.warning("%s is dropped, the ledger has no record of it: %s", task.name, error)
        answer_if_lost(step.run_id)
    except RedisError as error:
        _hand_back(error)


class GuardedTask(UnboundedTask):
    """A task that is no step: begun `MOST_STARTS` times at most without an orderly end, by one worker at a time.

    A step has its claim on its item; this one has a claim on its own id.
    """

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Run the task.

        Raises:
            Reject: it has ended its workers too often; the message goes to the dead letters, the sender is answered.
        """
        task = cast("BoundTask", self)
        with retried(task), ExitStack() as stack:
            try:
                work = task_work(str(task.request.id))
                stack.enter_context(lease(context().ledger.redis, work, context().settings.lease))
            except ItemFailed as error:
                raise Reject(error, requeue=False) from error
            return self.run(*args, **kwargs)


def publish(plans: Iterable[Plan], again: bool = False) -> None:
    """Put plans on their queues; the closing of a run goes with what its caller has linked to it.

    The run is the root of all its tasks. If the broker is away for longer than publishing is retried, the reconciler
    publishes later.

    Args:
        plans: to be published.
        again: whether their messages are lost; see `flows.canvas`.
    """
    try:
        for plan in plans:
            (first, *_), *_ = plan
            closes = first.name is StepName.CLOSE
            message = flows.closing(first, context().ledger.continuation(first.run_id)) if closes else None
            (message or flows.canvas(plan, again)).apply_async(root_id=first.run_id)
    except OperationalError as error:
        _log.warning("a plan could not be published, the reconciler will do it: %s", type(error).__name__)


def perform_search(task: BoundTask, run_id: str, call: Callable[[], None]) -> None:
    """Do a step that a whole run depends on: where it fails, the chain ends and the run is closed."""
    with about(run=run_id, step=str(task.name).rpartition(".")[2], attempt=task.request.retries + 1):
        _perform_search(task, run_id, call)


def _perform_search(task: BoundTask, run_id: str, call: Callable[[], None]) -> None:
    try:
        with retried(task), search_waiting_for_systems(context(), context().ledger.run(run_id)):
            call()
    except AuxipError as error:
        if answer_if_lost(run_id):
            _end_chain(task)
            return
        _fail_run(task, run_id, error.code, error.reason)
    except SoftTimeLimitExceeded:
        _fail_run(task, run_id, "step-timeout", f"the search took longer than {context().settings.step_timeout} s")
    except (Retry, Reject):
        raise
    except Exception as error:  # noqa: BLE001 - the caller must learn of it, whatever it is; the log has the traceback
        _log.exception("%s failed for run %s", task.name, run_id)
        _fail_run(task, run_id, "internal-error", f"{task.name}: {type(error).__name__}; see the worker's log")


def answer_if_lost(run_id: str) -> bool:
    """Answer the caller of a run whose record is gone, as after the loss of the ledger's database.

    Returns:
        Whether it is gone.
    """
    ledger = context().ledger
    if ledger.knows_run(run_id):
        return False
    error = Rejected("ledger-lost", f"the record of the run {run_id} is gone; ask for it again, what is done is kept")
    if app.AsyncResult(run_id).state not in READY_STATES:
        app.backend.mark_as_failure(run_id, error)
    return True


@contextmanager
def retried(task: BoundTask) -> Iterator[None]:
    """Try the block again, as a task of its own, while its error is `Retryable` and the budget lasts; then raise it."""
    try:
        yield
    except Busy as error:
        # Celery counts this try, too; the counter goes back, since waiting for another worker uses up none.
        task.request.update(retries=task.request.retries - 1)
        raise task.retry(exc=error, countdown=error.delay) from error
    except Retryable as error:
        delay = delay_before_retry(error, task.request.retries + 1, context().settings)
        if delay is None:
            raise
        raise task.retry(exc=error, countdown=delay) from error
    except RedisError as error:
        _hand_back(error)


def _done(task: BoundTask, step: Step, call: ItemStep) -> list[Plan]:
    """Do a step under its claim; returns the plans that the end of its item lets begin."""
    ledger = context().ledger
    with ledger.claim(step.run_id, step.key, context().settings.lease, step.part) as (run, record):
        due = due_steps(run, record)
        if due and step not in due and step.name is StepName.PUBLISH and record.batched:
            # Done together with others. This message is the one that goes on; its copies end.
            ledger.come(record)
            return []
        if record.finished is not None or (due and step not in due):
            if step.name is StepName.PUBLISH and record.expanded is not None:
                _try(step, call, run, record)  # its worker may have stood still, and written what is outdated
            # Done already. A message that is delivered again goes on: its worker may have died between record and link.
            if record.finished is not None or not _is_redelivered(task):
                _end_chain(task)
            return []
        if due and not stopped(run, record):
            with about(attempt=record.attempts + 1):
                _try(step, call, run, record)
        if step.part or due_steps(run, record):
            ledger.next(record, step.part)
            return []
        _end_chain(task)
        return settle_item(context(), run, record)


def _end_chain(task: BoundTask) -> None:
    """Have Celery send no further link. `Ignore` would do so too, but then a chord never gets its body."""
    task.request.chain = None


def _is_redelivered(task: BoundTask) -> bool:
    return bool((task.request.delivery_info or {}).get("redelivered"))


def _try(step: Step, call: ItemStep, run: Run, record: ItemRecord) -> None:
    """Make the call, and record where it fails for good.

    Raises:
        Busy: the work is being done elsewhere.
        _Again: it has failed, and may well succeed later.
    """
    try:
        require_starts_left(record.claim)
        with waiting_for_systems(context(), needs_of_step(context(), step.name, run, record)):
            call(context(), run, record)
    except Busy:
        raise
    except Retryable as error:
        attempt = context().ledger.attempt(step.run_id, step.key, step.name)
        delay = delay_before_retry(error, attempt, context().settings)
        if delay is not None:
            _log.warning("%s of item %s will be tried again in %.1f s: %s", step.name, step.key, delay, error)
            context().ledger.put_off(step.run_id, step.key, _NEARLY * delay, step.part)
            raise _Again(delay) from error
        _fail(record, error.code, f"{error.reason} (tried {attempt} times)")
    except AuxipError as error:
        _fail(record, error.code, error.reason)
    except SoftTimeLimitExceeded:
        limit = context().settings.step_timeout
        _fail(record, "step-timeout", f"{step.name} took longer than {limit} s (AUXIP_STEP_TIMEOUT)")
    except RedisError:
        raise
    except Exception as error:  # noqa: BLE001 - one bad item must not fail its neighbours; the log has it whole
        _log.exception("%s failed for item %s of run %s", step.name, step.key, step.run_id)
        _fail(record, "internal-error", f"{step.name}: {type(error).__name__}; see the worker's log")


def _wait(task: BoundTask, step: Step, delay: float, error: Exception) -> NoReturn:
    """Have a step tried again after a delay: as a message of its own or, should that be lost, by the reconciler."""
    context().ledger.agenda.postpone_item(step.run_id, step.key, delay)
    shown = cast("Any", task.request).argsrepr  # which Celery leaves out of a retry
    raise cast("Any", task).retry(exc=error, countdown=delay, argsrepr=shown) from error


def _fail(record: ItemRecord, code: str, reason: str) -> None:
    _log.error("item %s of run %s failed: %s: %s", record.key, record.run_id, code, reason)
    context().ledger.fail(record, code, reason)


def _fail_run(task: BoundTask, run_id: str, code: str, reason: str) -> None:
    _log.error("run %s failed: %s: %s", run_id, code, reason)
    _end_chain(task)
    close_failed(context(), run_id, code, reason)
    publish([closing(context().ledger.run(run_id))])


@contextmanager
def handing_back() -> Iterator[None]:
    """Hand the message of a task back to its queue where the ledger is away in the block."""
    try:
        yield
    except RedisError as error:
        _hand_back(error)


def _hand_back(error: RedisError) -> NoReturn:
    """Without the ledger nothing can be done or recorded: the message goes back to its queue."""
    if _THROTTLE.allows("ledger"):
        _log.warning("the ledger cannot be worked with, steps are handed back: %s", error)
    raise Reject(reason="ledger unavailable", requeue=True) from error
