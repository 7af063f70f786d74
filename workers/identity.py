"""One id is one piece of work: under an id that is known, only the same work may be asked for again."""

import hashlib
import inspect
import json
from collections.abc import Mapping
from typing import NoReturn

from celery.exceptions import Reject

from shared.context import Context
from shared.errors import Rejected
from shared.models import RunRequest
from workers.contract import BoundTask
from workers.intake import answer_of_error
from workers.refusals import ID_TAKEN


def digest_of(task: str, arguments: Mapping[str, object]) -> str:
    """Return what is equal for two calls of a task with the same arguments; these name the owner."""
    return hashlib.sha256(json.dumps([task, arguments], sort_keys=True).encode()).hexdigest()


def digest_of_call(task: BoundTask) -> str:
    """Return the digest of a running task, however its arguments were given."""
    bound = inspect.signature(task.run).bind(*task.request.args or (), **task.request.kwargs or {})
    return digest_of(str(task.name), bound.arguments)


def require_own_id(context: Context, task: BoundTask) -> None:
    """Make sure that a task that opens no run has an id of its own.

    Its result would otherwise take the place of that of a run, or of another task.

    Raises:
        Reject: `id-taken`.
    """
    task_id, digest = str(task.request.id), digest_of_call(task)
    if context.ledger.knows_run(task_id) or context.ledger.register_call(task_id, digest) != digest:
        _refuse(context, task)


def require_own_run(context: Context, task: BoundTask, request: RunRequest) -> None:
    """Make sure that the run of a task's id is the one that the task asks for.

    Raises:
        Reject: `id-taken`.
    """
    run_id = str(task.request.id)
    asked = context.ledger.call_of_run(run_id)
    known = context.ledger.run(run_id).request.model_copy(update={"lane": request.lane})
    if asked != digest_of_call(task) if asked else known != request:
        _refuse(context, task)


def _refuse(context: Context, task: BoundTask) -> NoReturn:
    """Refuse a task. Its result is that of the first caller, so only who waits on a reply list is answered."""
    task_id = str(task.request.id)
    error = Rejected(ID_TAKEN, f"something else was asked for under the id {task_id}; send this under an id of its own")
    if context.requests.digest(task_id) == digest_of_call(task):
        context.requests.end(task_id, answer_of_error(task_id, error))
    raise Reject(error, requeue=False)
