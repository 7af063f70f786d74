"""Celery's Redis results, changed in five places. Selected in `workers.config`; measured and read with Celery 5.7.

An error of ours is stored so that a caller gets a class that it can import. Celery looks the class of a stored error up
in the modules that the caller has loaded, and makes one up where it finds none, `celery.exceptions.Rejected`. So the
class that is named is that of the client, which has `code` and `reason`; where the reference raises a ValueError, it is
Python's own, which every caller has. Readers without Celery find `code` and `reason` beside it.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from celery._state import task_join_will_block  # type: ignore[attr-defined]  # the stubs lack it
from celery.backends.redis import RedisBackend
from redis import Connection, SSLConnection

from shared.errors import AuxipError
from shared.ledger.connection import PlainConnection, TlsConnection

CLIENT: Final = "auxip_workers.client"
"""The module of the client's error, `AuxipError`, by its name in the distribution of the client."""


class Backend(RedisBackend):
    """Results in Redis, for workers that send chords."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take Celery's arguments; a server that cannot serve is tried again, as one that cannot be reached is."""
        super().__init__(*args, **kwargs)
        parameters = cast("Any", self).connparams
        secured = issubclass(parameters.get("connection_class", Connection), SSLConnection)
        parameters["connection_class"] = TlsConnection if secured else PlainConnection

    def prepare_exception(self, exc: BaseException, serializer: str | None = None) -> object:
        """Return an error as it is stored: as our callers may import it and, in `own`, as our processes know it."""
        own = cast("Any", super()).prepare_exception(exc, serializer)
        if not isinstance(exc, AuxipError):
            return own
        told = {"code": exc.code, "reason": exc.reason, "own": own}
        if isinstance(exc, ValueError):
            return {"exc_type": "ValueError", "exc_module": "builtins", "exc_message": [str(exc)], **told}
        return {"exc_type": "AuxipError", "exc_module": CLIENT, "exc_message": [exc.code, exc.reason], **told}

    def exception_to_python(self, exc: object) -> Exception:
        """Return a stored error: one of ours as it was raised."""
        stored = exc.get("own", exc) if isinstance(exc, Mapping) else exc
        return cast("Exception", cast("Any", super()).exception_to_python(stored))

    def on_task_call(self, producer: object, task_id: str) -> None:
        """Subscribe to nothing where a task is sent: whoever waits for its result does that, and few ever do.

        Celery would subscribe and, when the sender forgets the result, take that back: two more requests for each task
        that a gate passes on. And after an outage of the server it would say that the process must be restarted.
        """

    def add_pending_result(self, result: object, **options: Any) -> object:  # type: ignore[override]
        """Subscribe to a result, but not within a task, which never waits for one.

        A chord that a worker sends would subscribe to the result of each of its parts, for as long as the worker lives:
        450 chords of two left 900 channels at the server.
        """
        if task_join_will_block():
            return result
        return cast("Any", super()).add_pending_result(result, **options)

    def on_chord_part_return(self, request: Any, state: str, result: object, *args: Any, **options: Any) -> None:
        """Count a part of a chord; tried again as the setting `result_backend_always_retry` has other writes.

        Counting twice is harmless: the server's script knows a part by its task id.
        """
        count = cast("Any", super()).on_chord_part_return
        cast("Any", self)._ensure_retryable(count, request, state, result, *args, **options)
