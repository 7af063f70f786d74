"""Find what has come to a halt, whatever the reason, and have it go on: no run hangs, and none is closed twice.

The ledger is the to-do list and messages are hints to it: a message that was lost, a claim that has lapsed and a kill
between two records leave an item or a run on the agenda, where it comes due.
"""

import logging
import time
from collections.abc import Iterator

from shared.context import Context
from shared.errors import Rejected
from shared.models import Run, RunState
from shared.runs.close import close_failed, close_work
from shared.runs.due import Plan, closing, rest_of, searching
from shared.runs.settle import feed, settle_item
from shared.steps.find import find_work

_MOST_RUNS = 1_000
_MOST_ITEMS = 1_000

_log = logging.getLogger(__name__)


def reconcile(context: Context) -> Iterator[Plan]:
    """Yield the plans that are to be published again, of every run in turn."""
    for run_id in context.ledger.agenda.due_runs(_MOST_RUNS):
        yield from reconcile_run(context, run_id)


def reconcile_run(context: Context, run_id: str) -> Iterator[Plan]:
    """Yield the plans of one run that are to be published again."""
    agenda = context.ledger.agenda
    try:
        run = context.ledger.run(run_id)
    except Rejected:
        agenda.forget_run(run_id)  # its record has expired
        return
    if not run.state.final and time.time() - run.created > context.ledger.keep_seconds:
        days = context.settings.keep_runs_days
        close_failed(context, run_id, "run-expired", f"not done within {days} days (AUXIP_KEEP_RUNS_DAYS)")
        run = context.ledger.run(run_id)
    if run.state is RunState.WORKING and run.counts.finished < run.counts.items:
        agenda.postpone_run(run_id, 0)  # the last in the round
        yield from feed(context, run)
        for key in agenda.due_items(run_id, _MOST_ITEMS):
            yield from _of_item(context, run, key)
    else:
        yield from _of_run(context, run)


def _of_run(context: Context, run: Run) -> Iterator[Plan]:
    """Yield the plan of a run that is neither searched nor closed, unless a worker works on it."""
    agenda, searched = context.ledger.agenda, run.state is not RunState.ACCEPTED
    plan, work = (closing(run), close_work(run.id)) if searched else (searching(run), find_work(run.id))
    left = agenda.claim_left(work)
    if left:
        agenda.postpone_run(run.id, left)
        return
    if agenda.publish_run_again(run.id):
        _log.warning("%s of run %s is published again", plan[0][0].name, run.id)
        yield plan


def _of_item(context: Context, run: Run, key: str) -> Iterator[Plan]:
    """Yield the whole rest of an item that no worker works on, or settle it where nothing is left.

    The rest includes an archive that a worker works on: what follows the archives must count all of them, so its copy
    waits for that worker.
    """
    agenda, record = context.ledger.agenda, context.ledger.item(run.id, key)
    if record.finished is not None:
        return  # settled since the agenda was read
    plan = tuple(rest_of(run, record))
    # Whoever claims an item that this run has never begun, works for another run.
    works = [step.work for step in plan[0]] if plan else ([key] if record.claimed is not None else [])
    left = [agenda.claim_left(work) for work in works]
    if left and all(left):
        agenda.postpone_item(run.id, key, max(left))
    elif not plan:
        yield from settle_item(context, run, record)
    elif agenda.publish_item_again(run.id, key):
        _log.warning("%s of item %s of run %s is published again", plan[0][0].name, key, run.id)
        yield plan
