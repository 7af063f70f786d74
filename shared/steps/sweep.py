"""Decide about a tick of a sweep: its run begins, or is left out because the last one still goes on."""

import logging

from shared.context import Context
from shared.errors import Rejected
from shared.models import Run, SweepRecord, Tick
from shared.settings import Settings

_log = logging.getLogger(__name__)


def begin_tick(context: Context, tick: Tick, now: float) -> str | None:
    """Decide about a tick, unless that is done already.

    Returns:
        The id of the run whose first step is to be put on its queue, or None: also of a run whose beginning was
        recorded by a worker that was killed before it could do that.
    """
    record = context.sweeps.record(tick.sweep)
    if record.tick is None or record.tick < tick.at:
        reason = _busy(context, record, now)
        if reason is None:
            context.sweeps.begin(tick)
        elif context.sweeps.skip(tick, reason):
            _log.warning("sweep %s is left out this time: %s", tick.sweep, reason)
        record = context.sweeps.record(tick.sweep)
    return record.run if record.run != record.sent else None


def quiet_after(settings: Settings) -> float:
    """Return the seconds after which a run that shows no sign of life is taken for dead.

    No step takes longer, all its tries and the waits between them included, and each records how it ended.
    """
    return settings.attempts * (settings.step_timeout + settings.backoff_max)


def _busy(context: Context, record: SweepRecord, now: float) -> str | None:
    """Why the sweep cannot begin now, or None."""
    for run_id in (record.run, record.manual):
        run = _running(context, run_id) if run_id else None
        if run is None:
            continue
        if now - _last_sign(context, run) <= quiet_after(context.settings):
            return f"its run {run_id} still goes on (auxip show {run_id})"
        _log.error("run %s shows no sign of life and does not hold its sweep up any more", run_id)
    return None


def _running(context: Context, run_id: str) -> Run | None:
    try:
        run = context.ledger.run(run_id)
    except Rejected:
        return None  # so long ago that it is forgotten
    return None if run.state.final else run


def _last_sign(context: Context, run: Run) -> float:
    """When something of the run was last recorded, in seconds since the epoch."""
    signs = [run.created]
    for item in context.ledger.items(run.id):
        times = (item.claimed, item.staged, item.catalogued, item.expanded, item.finished)
        signs.append(max((each for each in times if each is not None), default=0.0))
    return max(signs)
