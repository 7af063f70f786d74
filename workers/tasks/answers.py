"""Queue `runs`: what callers ask about their runs."""

from shared.json_types import Json
from shared.report import NOT_IN_REPORT
from shared.runs import ask
from workers.app import app, context
from workers.base import GuardedTask
from workers.contract import BoundTask, CancelMessage, StatusMessage, takes
from workers.identity import require_own_id


@app.task(name="auxip.status", bind=True, base=GuardedTask, ignore_result=False)
@takes(StatusMessage)
def status(self: BoundTask, message: StatusMessage) -> Json:
    """Return what became of a run of the caller's owner, or how far it is."""
    require_own_id(context(), self)
    ask.owned_run(context(), message.env.owner_id, message.run)
    return _answer(message.run)


@app.task(name="auxip.cancel", bind=True, base=GuardedTask, ignore_result=False)
@takes(CancelMessage)
def cancel(self: BoundTask, message: CancelMessage) -> Json:
    """Begin nothing new of a run of the caller's owner; returns how far it is."""
    require_own_id(context(), self)
    ask.cancel(context(), message.env.owner_id, message.run)
    return _answer(message.run)


def _answer(run_id: str) -> Json:
    return ask.answer_of(context(), run_id).model_dump(mode="json", exclude=NOT_IN_REPORT)
