"""What Celery makes of a message for one task, where the arguments are checked as well."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, cast

from celery.exceptions import InvalidTaskError
from celery.worker import request as celery_request
from kombu.message import Message

from shared.retries import longest_wait
from shared.settings import load_settings

_STEPS = "auxip.step."


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
        if fault:
            cast("Any", message).fault = ("bad-arguments", fault)
            self.task.backend.mark_as_failure(
                self.id, InvalidTaskError(fault), request=self._context, store_result=self.store_errors
            )
            raise InvalidTaskError(fault)

    def _misfit(self) -> str:
        try:
            cast("Any", self.task).__header__(*self.args, **self.kwargs)
        except TypeError as error:
            return f"{self.task.name}: {error}"
        return ""


@cache
def _longest_wait() -> timedelta:
    return timedelta(seconds=longest_wait(load_settings()))
