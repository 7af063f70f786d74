"""Requests of other systems on their way to a worker: put on the queue, and put there again where that was in vain."""

import logging

from celery.states import READY_STATES

from shared.context import Context
from shared.errors import Rejected
from workers.app import app
from workers.intake import IntakeRequest, answer_of_error, decode_request
from workers.queues import queue_for, task_work

_MOST = 1_000  # requests in one round

_log = logging.getLogger(__name__)


def forward(request_id: str, request: IntakeRequest) -> None:
    """Put the task that a request asks for on its queue; done twice it is one task."""
    reply = app.signature("auxip.reply", args=(request_id,), immutable=True)
    app.send_task(
        request.task,
        kwargs=request.arguments,
        task_id=request_id,
        link=reply,
        link_error=reply,
        queue=queue_for(request.task, request.priority),
        headers={"traceparent": request.traceparent} if request.traceparent else None,
        retry_policy={"max_retries": 2, "interval_start": 0, "interval_step": 0.2},
    )


def send_reply(request_id: str) -> None:
    """Have those answered who wait for the end of a request."""
    app.signature("auxip.reply", args=(request_id,), immutable=True).apply_async()


def forward_lost(context: Context) -> None:
    """Go on with the requests that were accepted, and of which neither a worker nor a run knows anything.

    Their message was lost on the way, or that which answers them.
    """
    for request_id in context.requests.due(_MOST):
        if not context.requests.known(request_id):
            context.requests.forget(request_id)
        elif app.AsyncResult(request_id).state in READY_STATES:
            _log.warning("the answer to request %s is sent again", request_id)
            context.requests.postpone(request_id)
            send_reply(request_id)
        elif context.ledger.agenda.is_open(request_id) or context.ledger.agenda.claim_left(task_work(request_id)):
            context.requests.postpone(request_id)
        else:
            _forward_again(context, request_id)


def _forward_again(context: Context, request_id: str) -> None:
    text = context.requests.publish_again(request_id)
    if text is not None:
        _log.warning("request %s is passed on again: no worker has begun it", request_id)
        forward(request_id, decode_request(text.encode()))
        return
    try:
        context.ledger.run(request_id)
    except Rejected:
        lost = Rejected("ledger-lost", "its record is gone; ask for the same again, what is done is kept")
        context.requests.end(request_id, answer_of_error(request_id, lost))
    else:
        context.ledger.agenda.reopen_run(request_id)  # closed, and its result has expired before it was sent
