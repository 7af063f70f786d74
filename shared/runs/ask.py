"""What a caller may ask of a run that is its owner's: how far it is, and that it be cancelled."""

from shared.answer import Answer
from shared.context import Context
from shared.errors import Rejected
from shared.models import Run
from shared.report import answer_of_run


def answer_of(context: Context, run_id: str) -> Answer:
    """Return what became of a run, or how far it is.

    Raises:
        Rejected: `unknown-run`.
    """
    run = context.ledger.run(run_id)
    return answer_of_run(run, context.ledger.failed_items(run))


def owned_run(context: Context, owner: str, run_id: str) -> Run:
    """Return the record of a run of an owner.

    Raises:
        Rejected: `unknown-run`, there is none, or it is another owner's: a caller does not learn which.
    """
    if context.ledger.knows_run(run_id):
        run = context.ledger.run(run_id)
        if run.request.owner == owner:
            return run
    raise Rejected("unknown-run", f"the owner {owner!r} has no run {run_id!r}, or no worker has begun it yet")


def cancel(context: Context, owner: str, run_id: str) -> None:
    """Record that nothing new of a run is to be begun; what was done stays. A second call changes nothing.

    Raises:
        Rejected: `unknown-run` as by `owned_run`; `not-cancelled`, the run is closed.
    """
    run = owned_run(context, owner, run_id)
    if run.cancelled is None and not context.ledger.cancel_run(run_id):
        run = context.ledger.run(run_id)
        if run.cancelled is None:
            raise Rejected("not-cancelled", f"the run {run_id} is closed: {run.status}")
