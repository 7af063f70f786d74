"""Decide about a tick of a sweep: its run begins, or is left out because the last one still goes on."""

import logging

from shared.context import Context
from shared.errors import Rejected
from shared.models import SweepRecord, Tick

_log = logging.getLogger(__name__)


def begin_tick(context: Context, tick: Tick) -> str | None:
    """Decide about a tick, unless that is done already.

    Returns:
        The id of the run whose first step is to be put on its queue, or None: also of a run whose beginning was
        recorded by a worker that was killed before it could do that.
    """
    record = context.sweeps.record(tick.sweep)
    if record.tick is None or record.tick < tick.at:
        reason = _busy(context, record)
        if reason is None:
            context.sweeps.begin(tick)
        elif context.sweeps.skip(tick, reason):
            _log.warning("sweep %s is left out this time: %s", tick.sweep, reason)
        record = context.sweeps.record(tick.sweep)
    return record.run if record.run != record.sent else None


def _busy(context: Context, record: SweepRecord) -> str | None:
    """Why the sweep cannot begin now, or None; the reconciler sees to it that every run ends."""
    for run_id in (record.run, record.manual):
        if run_id and _running(context, run_id):
            return f"its run {run_id} still goes on (auxip show {run_id})"
    return None


def _running(context: Context, run_id: str) -> bool:
    try:
        return not context.ledger.run(run_id).state.final
    except Rejected:
        return False  # so long ago that it is forgotten
