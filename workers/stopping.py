"""How a worker stops on SIGTERM: as soon as its last step ends or, when its grace is nearly over, without it.

SIGTERM is Celery's warm shutdown, which takes no more messages and waits for running tasks without limit. Here the
waiting has an end: `HAND_BACK_SECONDS` before the engine kills what is left, the processes of running steps get a
signal of their own, which raises `SystemExit`: parts that are being sent arrive, uploads of no use are aborted, and
claims are ended. The messages of these steps go back to their queues, and the worker ends with status 0. That signal is
not SIGTERM: with this billiard ends a step that does not heed its time limit, and such a step has killed its worker.

Celery has a setting for this (`worker_soft_shutdown_timeout`, with REMAP_SIGTERM=SIGQUIT). It sleeps in the signal's
handler, so it neither sees that the last step ends nor acknowledges it; its pool's processes ignore the SIGQUIT that is
to end them; and behind it the event loop asks the pool that it has stopped for its size (see `TakeNoMore`).

With the first SIGTERM the ledger is told. Whatever ends a step of this worker from then on, also the engine's SIGKILL,
does not count as the step's fault.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final, NoReturn

from billiard.pool import TERMINATE
from celery import bootsteps
from celery.signals import celeryd_after_setup, worker_process_init, worker_shutdown, worker_shutting_down
from celery.worker import WorkController, state
from celery.worker.components import Pool
from celery.worker.consumer import Tasks
from redis.exceptions import RedisError

from shared.ledger.lease import mark_stopping
from workers.app import app, context
from workers.queues import grace_of

_TESTED: Final = "5.7."
if not version("celery").startswith(_TESTED):
    raise ImportError(f"workers.stopping adds to parts of Celery {_TESTED}x, and this is Celery {version('celery')}")

HAND_BACK_SECONDS: Final = 10.0
"""Of the grace, for the ending of what has not ended by itself: half of it in order, the rest after SIGKILL."""

_HAND_BACK: Final = signal.SIGUSR2

_log = logging.getLogger(__name__)


class TakeNoMore(bootsteps.StartStopStep):
    """Takes no message once the worker is to stop.

    Celery 5.7 replaces `can_consume` of the channel by a function that reads `pool.num_processes`
    (`worker_disable_prefetch`, celery/worker/consumer/tasks.py). A stopped pool has none: the loop's next look at the
    broker then ended the worker with a traceback and status 1.
    """

    requires = (Tasks,)

    def start(self, parent: Any) -> None:
        """Put a question before Celery's; at each connection there is a new channel."""
        qos = parent.task_consumer.channel.qos
        may_take: Callable[[], bool] = qos.can_consume
        qos.can_consume = lambda: not _is_stopping() and may_take()


class KeepSent(bootsteps.StartStopStep):
    """Has the pool of a worker that is to stop forget only the tasks that it has not sent to a process.

    As its consumer closes, Celery 5.7 forgets every task that no process has accepted (`AsynPool.flush`), also those
    that are on their way. Their processes do them nevertheless, for nobody: without an acknowledgement, without an end
    to the waiting for them and, after a short task, with 30 s of waiting for the pool to count it (7 of 12 stops while
    messages came).
    """

    requires = (Pool,)

    def include_if(self, parent: Any) -> bool:
        """Only a pool of processes sends tasks."""
        return bool(parent.pool_cls.uses_semaphore)

    def close(self, parent: Any) -> None:
        """Put another flush in place; closing comes before anything is stopped, but after a pool is terminated."""
        pool = parent.pool._pool
        if pool is not None:
            parent.pool.flush = lambda: _forget_unsent(pool)


def _forget_unsent(pool: Any) -> None:
    """Forget the tasks that wait for a process, and end the sending of what is sent in part."""
    if pool._state == TERMINATE:
        return
    for job in pool.outbound_buffer:
        job.discard()
    pool.outbound_buffer.clear()
    for job in list(pool._cache.values()):
        writer = getattr(job, "_writer", lambda: None)()  # a weak reference
        if writer in pool._active_writers:
            pool._flush_writer(job._scheduled_for, writer)


def _is_stopping() -> bool:
    flags: tuple[object, ...] = (state.should_stop, state.should_terminate)
    return any(flag is not None and flag is not False for flag in flags)  # a flag that is set may be the status 0


class _Stop:
    """The stop of this process's worker."""

    def __init__(self, worker: WorkController) -> None:
        self._worker: Any = worker
        self._grace = grace_of(app.amqp.queues.consume_from, context().settings.step_timeout)
        self._ended = threading.Event()
        self._handed_back = 0
        self._begun = 0.0

    def begin(self, how: str) -> None:
        """Begin, in a thread, since the signal has interrupted who knows what; but once."""
        if not self._begun:
            self._begun = time.monotonic()
            threading.Thread(target=self._wait, args=(how,), name="stopping", daemon=True).start()

    def end(self) -> None:
        """Log how it went."""
        self._ended.set()
        if self._begun:
            seconds = time.monotonic() - self._begun
            _log.info("stopped after %.1f s, steps handed back: %d", seconds, self._handed_back)

    def _wait(self, how: str) -> None:
        try:
            mark_stopping(context().ledger.redis)
        except RedisError as error:
            _log.warning("the ledger cannot be told that this worker stops: %s", type(error).__name__)
        if how == "Warm" and not self._ended.wait(max(0.0, self._grace - HAND_BACK_SECONDS)):
            self._hand_back()

    def _hand_back(self) -> None:
        left = [each for each in state.active_requests if not each.acknowledged]
        left = [each for each in left if each.id not in state.successful_requests]
        self._handed_back = len(left)
        for request in left:
            request.cancel(self._worker.pool, signal=_HAND_BACK, emit_retry=False)
        if not self._ended.wait(HAND_BACK_SECONDS / 2):
            for request in left:
                self._worker.pool.terminate_job(request.worker_pid, signal.SIGKILL)


_stops: list[_Stop] = []


@celeryd_after_setup.connect
def _prepare(instance: WorkController, **_: object) -> None:
    _stops[:] = [_Stop(instance)]


@worker_shutting_down.connect
def _begin(how: str, **_: object) -> None:
    for stop in _stops:
        stop.begin(how)


@worker_shutdown.connect
def _end(**_: object) -> None:
    for stop in _stops:
        stop.end()


@worker_process_init.connect
def _end_in_order(**_: object) -> None:
    signal.signal(_HAND_BACK, _exit)


def _exit(*_: object) -> NoReturn:
    signal.signal(_HAND_BACK, signal.SIG_IGN)  # once: the ending is not to be interrupted
    raise SystemExit


app.steps["consumer"].add(TakeNoMore)
app.steps["worker"].add(KeepSent)
