"""How the tasks link: which message a step is, and nothing else. Messages carry ids; what is due is in the ledger."""

import json
import uuid

from celery.app.task import Context as TaskRequest
from celery.canvas import Signature

from shared.steps.due import Step
from workers.app import app
from workers.queues import queue_for

_STEPS = uuid.UUID("b8a4f4f6-4c4e-5b43-9c0b-6f1d1c6c2a55")
_CONTINUATION = ("chain", "chord", "group_index")


def message(step: Step) -> Signature:
    """Return the message of a step, with an id computed from its work: published twice it is the same task."""
    task_id = uuid.uuid5(_STEPS, json.dumps([step.name, *step.args]))
    return _signature(step, task_id=str(task_id))


def closing(step: Step, continuation: str) -> Signature:
    """Return the last step of a run, with the id of the task that the caller waits on and whatever is linked to it."""
    return _signature(step, task_id=step.run_id, **(json.loads(continuation) if continuation else {}))


def continuation_of(request: TaskRequest) -> str:
    """Return as JSON what the caller has linked to its task: callbacks, the rest of a chain, a chord."""
    options = {name: getattr(request, name, None) for name in _CONTINUATION}
    options |= {"link": request.callbacks, "link_error": request.errbacks, "group_id": request.group}
    return json.dumps({name: value for name, value in options.items() if value is not None})


def _signature(step: Step, **options: object) -> Signature:
    name = f"auxip.step.{step.name}"
    return app.signature(name, args=step.args, immutable=True, queue=queue_for(name, step.lane), **options)
