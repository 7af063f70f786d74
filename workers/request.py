"""What Celery makes of a message for one task, where the arguments are checked as well."""

from typing import Any, cast

from celery.exceptions import InvalidTaskError
from celery.worker import request as celery_request
from kombu.message import Message


class Request(celery_request.Request):
    """A request whose arguments fit its task: others would only fail in the pool, and be gone with their message."""

    _context: Any

    def __init__(self, message: Message, **options: Any) -> None:
        super().__init__(message, **options)
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
