"""Sweeps by publication: the next window begins when the last one has ended well, until all is searched that is due."""

import logging
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from shared.context import Context
from shared.errors import Rejected
from shared.ledger import watermark_key
from shared.models import PublicationTick, Run, RunRequest, RunState
from shared.selection import Published

_log = logging.getLogger(__name__)


def begin_window(context: Context, tick: PublicationTick) -> str | None:
    """Begin the next window of a sweep by publication if it is due and none goes on.

    It may be called at any time and any number of times: at a tick, when the run of a window has ended, and in between.

    Returns:
        The id of the run whose first step is to be put on its queue, or None.
    """
    key = watermark_key(tick.request)
    _end_window(context, key)
    record = context.watermarks.tick(key, tick)
    if record is None or record.until is not None:
        return None
    window = next_window(record.at, record.target, tick.overlap, tick.longest)
    if window is None:
        return None
    run_id = str(uuid.uuid4())
    begun = context.watermarks.begin(key, record.at, window[1], run_id, within(tick.request, *window))
    return run_id if begun else None


def window_now(context: Context, tick: PublicationTick) -> RunRequest:
    """Return what a run between the ticks is to do: the next window, up to now. The watermark stays where it is."""
    record = context.watermarks.record(watermark_key(tick.request))
    begin = (tick.first if record is None else record.at) - tick.overlap
    now = int(time.time())
    request = within(tick.request, begin, max(begin + 1, min(begin + tick.longest, now)))
    return request.model_copy(update={"sweep": ""})


def next_window(watermark: int, target: int, overlap: int, longest: int) -> tuple[int, int] | None:
    """Return begin and end of the next window, or None where everything before the target is searched.

    All are whole seconds; the end is not part of the window.
    """
    if watermark >= target:
        return None
    begin = watermark - overlap
    return begin, min(begin + longest, target)


def windows_between(begin: int, end: int, longest: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of the windows that together are the time between two instants, in whole seconds."""
    for start in range(begin, end, longest):
        yield start, min(start + longest, end)


def within(request: RunRequest, begin: int, end: int) -> RunRequest:
    """Return what a run is to do for one window of a sweep by publication."""
    selection = request.selection
    assert isinstance(selection, Published)  # noqa: S101 - as `PublicationTick` says
    bounds = [datetime.fromtimestamp(each, UTC) for each in (begin, end)]
    return request.model_copy(update={"selection": selection.within(*bounds)})


def _end_window(context: Context, key: str) -> None:
    record = context.watermarks.record(key)
    if record is None or record.until is None:
        return
    run = _known(context, record.run)
    if run is not None and not run.state.final:
        return
    well = run is not None and _searched_all(run)
    if context.watermarks.end(key, record.run, well) and not well:
        why = f"{run.state}: {run.code} {run.reason}" if run else "the ledger has no record of it"
        _log.warning("the run %s of a window is done again at the next tick: %s", record.run, why)


def _searched_all(run: Run) -> bool:
    """Whether every item that a window has is in the report of its run.

    An item that failed does not hold up those of later windows: it has a dead letter, and is tried again from there.
    """
    return run.state is not RunState.CANCELLED and not run.code


def _known(context: Context, run_id: str) -> Run | None:
    try:
        return context.ledger.run(run_id)
    except Rejected:
        return None
