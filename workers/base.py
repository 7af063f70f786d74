"""What every task does around its one call: claim, call, record; and what an error means for the message."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeAlias

from celery import Task
from celery.exceptions import Reject, Retry, SoftTimeLimitExceeded
from redis.exceptions import RedisError

from shared.context import Context
from shared.errors import AuxipError, Busy, Retryable
from shared.ledger import lease
from shared.models import ItemRecord, Run
from shared.retries import delay_before_retry
from shared.steps.close import close_failed
from workers import flows
from workers.app import context

_log = logging.getLogger(__name__)

BoundTask: TypeAlias = "Task[..., object]"

ItemStep = Callable[[Context, Run, ItemRecord], None]


def perform(task: BoundTask, run_id: str, key: str, step: ItemStep, part: str = "") -> None:
    """Do one step of one item, and record whatever comes of it: the task itself never fails.

    Args:
        task: the bound task, for its retry.
        run_id: the run.
        key: of the item in the run.
        step: the one call.
        part: what of the item is worked on, where parts of it may be worked on at once.
    """
    ledger = context().ledger
    try:
        if ledger.item(run_id, key).over:
            return
        with lease(ledger.redis, f"{key}:{part}" if part else key, context().settings.lease):
            ledger.claim(run_id, key)
            step(context(), ledger.run(run_id), ledger.item(run_id, key))
    except Busy as error:
        raise task.retry(exc=error, countdown=error.delay) from error
    except Retryable as error:
        _try_again(task, run_id, key, error)
    except AuxipError as error:
        _fail(run_id, key, error.code, error.reason)
    except SoftTimeLimitExceeded:
        limit = context().settings.step_timeout
        _fail(run_id, key, "step-timeout", f"{task.name} took longer than {limit} s (AUXIP_STEP_TIMEOUT)")
    except RedisError as error:
        _hand_back(error)
    except Exception as error:  # noqa: BLE001 - one bad item must not fail its neighbours; the log has it whole
        _log.exception("%s failed for item %s of run %s", task.name, key, run_id)
        _fail(run_id, key, "internal-error", f"{task.name}: {type(error).__name__}; see the worker's log")


def perform_search(task: BoundTask, run_id: str, step: Callable[[], None]) -> None:
    """Do a step that a whole run depends on: what fails for good closes the run, and the caller is told."""
    try:
        with retried(task):
            step()
    except AuxipError as error:
        _fail_run(run_id, error.code, error.reason)
    except SoftTimeLimitExceeded:
        _fail_run(run_id, "step-timeout", f"the search took longer than {context().settings.step_timeout} s")
    except (Retry, Reject):
        raise
    except Exception as error:  # noqa: BLE001 - the caller must be told, whatever it is; the log has it whole
        _log.exception("%s failed for run %s", task.name, run_id)
        _fail_run(run_id, "internal-error", f"{task.name}: {type(error).__name__}; see the worker's log")


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


def _try_again(task: BoundTask, run_id: str, key: str, error: Retryable) -> None:
    attempt = context().ledger.attempt(run_id, key, task.name)
    delay = delay_before_retry(error, attempt, context().settings)
    if delay is None:
        _fail(run_id, key, error.code, f"{error.reason} (tried {attempt} times)")
        return
    _log.warning("%s of item %s will be tried again in %.1f s: %s", task.name, key, delay, error)
    raise task.retry(exc=error, countdown=delay) from error


def _fail(run_id: str, key: str, code: str, reason: str) -> None:
    _log.error("item %s of run %s failed: %s: %s", key, run_id, code, reason)
    context().ledger.fail(run_id, key, code, reason)


def _fail_run(run_id: str, code: str, reason: str) -> None:
    _log.error("run %s failed: %s: %s", run_id, code, reason)
    close_failed(context(), run_id, code, reason)
    lane = context().ledger.run(run_id).request.lane
    flows.close(run_id, context().ledger.continuation(run_id), lane).apply_async()


def _hand_back(error: RedisError) -> NoReturn:
    """Without the ledger nothing can be done or recorded: the message goes back to its queue."""
    _log.warning("the ledger cannot be reached, the step is handed back: %s", type(error).__name__)
    raise Reject(reason="ledger unavailable", requeue=True) from error
