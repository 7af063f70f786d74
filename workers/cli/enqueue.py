"""Puts a run on its queue, as any other Python program would."""

import uuid

from shared.stac.item import Json


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


def workers_answer() -> bool:
    """Whether any worker answers on the broker within a second."""
    from workers.app import app

    return bool(app.control.ping(timeout=1, limit=1))
