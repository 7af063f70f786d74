"""Answers for the senders of task messages that are refused: a FAILURE under the id of the task, never silence."""

import logging
from typing import Any, cast, get_args

from celery import current_app
from celery.app.task import Context as TaskRequest
from celery.backends.redis import RedisBackend

from shared.errors import Rejected
from shared.ledger import run_key
from shared.models import PublicTask
from shared.validation import nearest
from workers.envelope import Sender, sender_of

_log = logging.getLogger(__name__)

ID_TAKEN = "id-taken"
"""The code of what is refused since its id is another's, who waits for the result."""


def unknown_task(name: str) -> Rejected:
    """Return what a message or a request is refused with that asks for a task that there is not."""
    tasks = get_args(PublicTask)
    near = nearest(name, tasks)
    return Rejected("unknown-task", f"there is no task {name[:100]!r}{near}; there are {', '.join(tasks)}")


def answer_refused(raw: bytes, code: str, reason: str) -> None:
    """Answer the sender of a message that goes to the dead letters, where it has an id that can be read.

    The id of a run, or one that is another's, is left alone: somebody waits for its own result.

    Args:
        raw: the message.
        code: for which it is refused.
        reason: for which it is refused.
    """
    sender = sender_of(raw)
    if sender is not None:
        _answer(sender, Rejected(code, reason))


def answer_id(task_id: str, code: str, reason: str) -> None:
    """Answer the sender of a message of which nothing but the id is known; none, if that is empty."""
    if task_id:
        _answer(Sender(task_id, {"id": task_id}, {}), Rejected(code, reason))


def _answer(sender: Sender, error: Rejected) -> None:
    backend = cast("Any", current_app.backend)
    if (
        error.code == ID_TAKEN
        or not isinstance(backend, RedisBackend)
        or backend.client.hexists(run_key(sender.task_id), "request")
    ):
        return
    links = {name: sender.links.get(name) for name in ("errbacks", "chain", "chord")}
    request = TaskRequest(sender.headers, delivery_info={}, **links)
    try:
        backend.mark_as_failure(sender.task_id, error, request=request)
    except Exception:  # noqa: BLE001 - no message may end the worker that refuses it, whatever it contains
        _log.exception("the sender of the refused task %s could not be answered", sender.task_id)
