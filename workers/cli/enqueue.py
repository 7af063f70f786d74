"""Puts a run on its queue, as any other Python program would."""

import uuid

from shared.errors import AuxipError
from shared.json_types import Json


def enqueue(task: str, message: Json) -> str:
    """Send a public task; returns the run's id, which is the task's.

    Args:
        task: public name.
        message: its arguments, by name.
    """
    from workers.app import app  # Celery takes half a second to import: not for `--help`

    run_id = str(uuid.uuid4())
    app.send_task(task, kwargs=message, task_id=run_id)
    return run_id


def raise_if_refused(run_id: str) -> None:
    """Raise what a worker has refused the run's message with, if it has."""
    from workers.app import app

    result = app.AsyncResult(run_id)
    if result.state == "FAILURE" and isinstance(result.result, AuxipError):
        raise result.result


def workers_answer() -> bool:
    """Whether any worker answers on the broker within a second."""
    from workers.app import app

    return bool(app.control.ping(timeout=1, limit=1))
