"""Revoking the task that a caller waits on cancels its run: `AsyncResult.revoke()`, Flower's buttons, `celery control`.

Celery alone would discard the messages that bear the id, and nothing else: the run would go on, and never be closed.
"""

from collections.abc import Iterable
from typing import Any, cast

from celery.worker import control

from workers.app import context

_stock = cast("Any", control).revoke


@cast("Any", control).control_command(  # type: ignore[untyped-decorator]  # the stubs lack it
    variadic="task_id", signature="[id1 [id2 [... [idN]]]]", args=[("terminate", bool), ("signal", str)]
)
def revoke(state: Any, task_id: str | Iterable[str], **options: Any) -> object:
    """Revoke tasks as Celery does, and cancel the runs that have their ids."""
    ids = [task_id] if isinstance(task_id, str) else list(task_id or ())
    for run_id in ids:
        context().ledger.cancel_run(str(run_id))
    return _stock(state, ids, **options)
