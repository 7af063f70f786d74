"""Queue `runs`: telling those who wait on a reply list how their request ended."""

from celery.states import READY_STATES

from shared.answer import Answer
from shared.runs.ask import answer_of
from workers.app import app, context
from workers.base import GuardedTask
from workers.contract import BoundTask, RunId, decode
from workers.intake import answer_of_error, answer_of_result

_LONGEST_PAUSE = 60.0


@app.task(name="auxip.reply", bind=True, base=GuardedTask)
def reply(self: BoundTask, request_id: str) -> None:
    """Answer all who wait for the end of a request.

    Celery calls what is linked to a task before it stores the task's result: then this looks again, for as long as the
    request is known.
    """
    request_id = decode(RunId, run_id=request_id).run_id
    requests = context().requests
    if not requests.known(request_id):
        return
    result = app.backend.get_task_meta(request_id, cache=False)
    if result["status"] not in READY_STATES:
        raise self.retry(countdown=min(0.1 * 2 ** min(self.request.retries, 10), _LONGEST_PAUSE))
    failed = isinstance(result["result"], BaseException)
    answer = answer_of_error if failed else answer_of_result
    requests.end(request_id, answer(request_id, result["result"], _run(request_id)))


def _run(request_id: str) -> Answer | None:
    """Return what became of the run of a request; None if it has none, or the ledger has lost it."""
    return answer_of(context(), request_id) if context().ledger.knows_run(request_id) else None
