"""The graph of tasks, in Celery's canvas. What is left of a run or an item is a plan of `shared.runs.due`.

run      chain(find_items, begin_items)                                                     queues search, runs
item     chain(stage_item, publish_and_fetch)                                               staging, catalog
         chain(stage_item, publish_and_fetch, expand_asset, publish_expanded)               one archive: decompress
         chain(stage_item, publish_and_fetch, chord([expand_asset, ...], publish_expanded)) several archives
catalog  chord([expand_asset, ...], publish_expanded)                                       unzip_decompress
end      close_run, which the item that ends last publishes                                 runs

A message carries ids only; the ledger says whether its step is due. The reconciler publishes the same canvas for what
is left after a loss. A task ends its chain where its item ends early.
"""

import json
import uuid
from collections.abc import Iterator

from celery import chain, chord
from celery.app.task import Context as TaskRequest
from celery.canvas import Signature

from shared.runs.due import Plan, Stage, Step
from workers.app import app
from workers.queues import queue_for

_STEPS = uuid.UUID("b8a4f4f6-4c4e-5b43-9c0b-6f1d1c6c2a55")
_CONTINUATION = ("chain", "chord", "group_index")
_SHOWN = 100  # characters of a name in Flower, which a station has chosen


def canvas(plan: Plan, again: bool = False) -> Signature:
    """Return a plan as one message, a chain of messages, or a chain with a chord in it.

    The id of a chord's group is never computed: it counts the parts of one publication, and parts that are published
    again under it would be counted together with those of before.

    Args:
        plan: what is to be done.
        again: whether it is published again. Its steps are new tasks then: the old ones may have been revoked, and
            workers discard what has the id of a revoked task.
    """
    stages = iter(plan)
    links = [_link(stage, stages, again) for stage in stages]
    return chain(*links) if len(links) > 1 else links[0]


def message(step: Step, again: bool = False) -> Signature:
    """Return the message of a step, with an id computed from its work: published twice it is the same task."""
    task_id = uuid.uuid4() if again else uuid.uuid5(_STEPS, json.dumps([step.name, *step.args]))
    return _signature(step, task_id=str(task_id))


def closing(step: Step, continuation: str) -> Signature:
    """Return the last step of a run, with the id of the task that the caller waits on and whatever is linked to it."""
    return _signature(step, task_id=step.run_id, **(json.loads(continuation) if continuation else {}))


def continuation_of(request: TaskRequest) -> str:
    """Return as JSON what the caller has linked to its task: callbacks, the rest of a chain, a chord."""
    options = {name: getattr(request, name, None) for name in _CONTINUATION}
    options |= {"link": request.callbacks, "link_error": request.errbacks, "group_id": request.group}
    return json.dumps({name: value for name, value in options.items() if value is not None})


def _link(stage: Stage, following: Iterator[Stage], again: bool) -> Signature:
    """Return the link of a chain for a stage; a chord takes the stage after it as its body."""
    if len(stage) == 1:
        return message(stage[0], again)
    (body,) = next(following)
    return chord([message(step, again) for step in stage], message(body, again))


def _signature(step: Step, **options: object) -> Signature:
    name = f"auxip.step.{step.name}"
    return app.signature(
        name, args=step.args, immutable=True, queue=queue_for(name, step.lane), argsrepr=_shown(step), **options
    )


def _shown(step: Step) -> str:
    """Return what Flower shows of a step: `run 1b9d6bcd, item S1A_.., archive a.zip`."""
    parts = [f"run {step.run_id[:8]}", f"item {step.item_id or step.key}" if step.key else "", step.part]
    return ", ".join(part[:_SHOWN] for part in parts if part)
