"""What Celery makes of a message for one task: its arguments are checked, and refusals are recorded.

Revoking the task that a caller waits on cancels its run: `workers.revoking` does that. The run is then closed by a task
of the same id, which therefore ignores that its id is revoked.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, cast

from billiard.einfo import ExceptionWithTraceback  # type: ignore[attr-defined]  # the stubs lack it
from celery.exceptions import InvalidTaskError, Reject
from celery.worker import request as celery_request
from celery.worker import state
from kombu.message import Message

from shared.errors import AuxipError, Rejected
from shared.retries import longest_wait
from shared.settings import load_settings

_STEPS = "auxip.step."
_CLOSING = "auxip.step.close_run"


class Request(celery_request.Request):
    """A request whose arguments fit its task: others would only fail in the pool, and be gone with their message.

    A step is never put off for longer than it ever has to wait: its time was told by the clock of another machine,
    which may be hours off.
    """

    _context: Any
    _eta: datetime | None

    def __init__(self, message: Message, **options: Any) -> None:
        super().__init__(message, **options)
        if self._eta is not None and str(self.task.name).startswith(_STEPS):
            self._eta = min(self._eta, datetime.now(UTC) + _longest_wait())
        fault = self._misfit()
        if fault is not None:
            cast("Any", message).fault = (fault.code, fault.reason)
            raise InvalidTaskError(str(fault))

    def revoked(self) -> bool:
        """Return whether the task must not run: it is revoked, or has expired."""
        return self.task.name != _CLOSING and super().revoked()

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """Move a message to the dead letters whose task has rejected it with an error of ours.

        Celery alone would store its own `Reject` as the result; the sender is answered with our error instead.
        """
        error = exc_info.exception
        error = error.exc if isinstance(error, ExceptionWithTraceback) else error
        reason, requeue = error.args if isinstance(error, Reject) else (None, False)
        if isinstance(reason, AuxipError) and not requeue:
            state.task_ready(self)
            cast("Any", self.message).fault = (reason.code, reason.reason)
            self.reject(requeue=False)
            return
        super().on_failure(exc_info, send_failed_event, return_ok)

    def _misfit(self) -> Rejected | None:
        """Return what the arguments are refused with that the task cannot be called with; None if it can.

        A task that takes a message refuses them in the words in which the gate does.
        """
        task = cast("Any", self.task)
        try:
            task.__header__(*self.args, **self.kwargs)
        except TypeError as error:
            refusal = getattr(task.run, "refusal", lambda *_: None)(self.args, self.kwargs)
            return refusal or Rejected("bad-arguments", f"{task.name}: {error}")
        return None


@cache
def _longest_wait() -> timedelta:
    return timedelta(seconds=longest_wait(load_settings()))
