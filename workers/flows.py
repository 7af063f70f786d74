"""How the tasks link: the chains and chords, and nothing else. Messages carry ids; the work itself is in the ledger."""

import json
import uuid
from collections.abc import Sequence

from celery import chain, chord
from celery.app.task import Context as TaskRequest
from celery.canvas import Signature

from shared.models import Lane
from workers.app import app
from workers.queues import queue_for

_STEPS = uuid.UUID("b8a4f4f6-4c4e-5b43-9c0b-6f1d1c6c2a55")
_CONTINUATION = ("chain", "chord", "group_index")


def find(run_id: str, lane: Lane = Lane.ON_DEMAND) -> Signature:
    """The first step of a run: what is there to do?"""
    return _step(lane, "find_items", run_id)


def page(run_id: str, number: int, lane: Lane = Lane.ON_DEMAND) -> Signature:
    """One page of a run: a task of its own, so that the fan-out of a large run is spread over the workers."""
    return _step(lane, "open_page", run_id, number)


def page_of_items(run_id: str, number: int, flows: Sequence[Signature], lane: Lane = Lane.ON_DEMAND) -> Signature:
    """A chord of one page's items; a header never raises, so its body always runs."""
    return chord(flows, _step(lane, "close_page", run_id, number))


def staging(run_id: str, key: str, archives: Sequence[str], lane: Lane = Lane.ON_DEMAND) -> Signature:
    """One item: staged, published, and where it has `archives` to expand, expanded and published again."""
    steps = [_step(lane, "stage_item", run_id, key), _step(lane, "publish_item", run_id, key)]
    return chain(*steps, *_expansion(lane, run_id, key, archives), _step(lane, "settle_item", run_id, key))


def decompression(run_id: str, key: str, archives: Sequence[str], lane: Lane = Lane.ON_DEMAND) -> Signature:
    """One item that is in the catalog: its archives expanded and published."""
    return chain(*_expansion(lane, run_id, key, archives), _step(lane, "settle_item", run_id, key))


def close(run_id: str, continuation: str, lane: Lane = Lane.ON_DEMAND) -> Signature:
    """The last step of a run. It takes the id of the task that the caller waits on, and whatever was linked to it."""
    options = json.loads(continuation) if continuation else {}
    name = "auxip.step.close_run"
    queue = queue_for(name, lane)
    return app.signature(name, args=(run_id,), immutable=True, task_id=run_id, queue=queue, **options)


def continuation_of(request: TaskRequest) -> str:
    """Return what the caller has linked to its task (callbacks, the rest of a chain, a chord), as JSON for `close`."""
    options = {name: getattr(request, name, None) for name in _CONTINUATION}
    options |= {"link": request.callbacks, "link_error": request.errbacks, "group_id": request.group}
    return json.dumps({name: value for name, value in options.items() if value is not None})


def _expansion(lane: Lane, run_id: str, key: str, archives: Sequence[str]) -> list[Signature]:
    if not archives:
        return []
    header = [_step(lane, "expand_asset", run_id, key, name) for name in archives]
    return [chord(header, _step(lane, "publish_expanded", run_id, key))]


def _step(lane: Lane, name: str, *args: str | int) -> Signature:
    """A step with an id computed from its work: the same step published twice is the same task."""
    task_id = uuid.uuid5(_STEPS, json.dumps([name, *args]))
    task = f"auxip.step.{name}"
    return app.signature(task, args=args, immutable=True, task_id=str(task_id), queue=queue_for(task, lane))
