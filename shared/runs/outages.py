"""A system that is away fails no item: its steps wait until it is back, and that uses up none of their tries.

Whether the system or the item is at fault is asked of the system itself: one worker asks it for something that has to
do with no item. If it answers, the item is at fault, and its try counts.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from shared.context import Context
from shared.errors import Busy, Rejected, Retryable
from shared.ledger import Outage
from shared.models import ItemRecord, Run
from shared.retries import delay_before_look_at_system
from shared.runs.due import StepName
from shared.stac.api import LONGEST_LOOK
from shared.storage.location import Location

_log = logging.getLogger(__name__)

_UP_FOR = 1.0  # seconds at most, and less than the pause between two tries, so that one answer charges one try only
_NOTHING = ".auxip-answers"  # an object that is not there: any answer will do


def systems_of(context: Context, step: StepName, run: Run, record: ItemRecord) -> list[str]:
    """Return the systems that a step of an item needs."""
    always = ["catalog", "s3"]
    if step is not StepName.STAGE:
        return always
    if context.settings.staging_backend == "ogc":
        return [*always, "staging"]
    return [*always, *stations_of(context, [record.station] if record.station else run.request.stations)]


def stations_of(context: Context, names: Sequence[str]) -> list[str]:
    """Return the names that stations have as systems; no name means the default station."""
    return [f"station {context.station(name).name}" for name in names or [""]]


@contextmanager
def no_fault_of_outages(
    context: Context, owner: str, needed: Sequence[str], others: Sequence[str] = ()
) -> Iterator[None]:
    """Have the block wait for the systems that it needs.

    Args:
        context: of the process.
        owner: whose catalog it is.
        needed: systems without which the block is not begun.
        others: that it can do without in part; one of several stations, say.

    Raises:
        Busy: `system-away`, for as long as `outage_patience`; then the block's own error is raised.
    """
    if known := context.outages.all():
        for system in needed:
            if system in known:
                _require_up(context, owner, system, known[system])
    try:
        yield
    except Busy:
        raise
    except Retryable as error:
        for system in (*needed, *others):
            if error.code == f"{system.partition(' ')[0]}-unavailable":
                _require_up(context, owner, system, context.outages.of(system), error)
        raise


def look_again(context: Context) -> None:
    """Look at each system that is away and whose turn it is, so that an outage ends also where no step waits for it."""
    for system, outage in context.outages.all().items():
        if context.outages.take_turn(system, _longest_look(context)).ours:
            _look(context, "", system, outage)


def _require_up(
    context: Context, owner: str, system: str, known: Outage | None, cause: Exception | None = None
) -> None:
    if known is not None and _is_too_long(context, known):
        return
    turn = context.outages.take_turn(system, _longest_look(context))
    if turn.is_up:
        return
    wait = _look(context, owner, system, known) if turn.ours else turn.wait
    if wait:
        raise Busy("system-away", f"waiting for the {system}, which does not answer", delay=wait) from cause


def _longest_look(context: Context) -> float:
    return LONGEST_LOOK + context.settings.s3_timeout


def _is_too_long(context: Context, outage: Outage) -> bool:
    patience = context.settings.outage_patience
    return patience is not None and time.time() - outage.since >= patience


def _look(context: Context, owner: str, system: str, known: Outage | None) -> float:
    """Look whether a system answers; returns the seconds to wait, 0 if it does."""
    reason = _silence_of(context, owner, system)
    if reason is None:
        if known is not None:
            _log.warning("the %s is back, after %.0f s", system, time.time() - known.since)
        context.outages.is_up(system, min(_UP_FOR, context.settings.backoff_base / 2))
        return 0
    outage = Outage(since=time.time(), reason=reason) if known is None else known.model_copy()
    outage.looks += known is not None
    outage.reason = reason
    pause = delay_before_look_at_system(outage.looks, context.settings)
    _log.warning("the %s is away, looking again in %.0f s: %s", system, pause, reason)
    context.outages.is_away(system, outage, pause)
    return pause


def _silence_of(context: Context, owner: str, system: str) -> str | None:
    """Return why a system gives no answer, or None if it does, be the answer a refusal."""
    kind, _, name = system.partition(" ")
    match kind:
        case "station":
            return _silence_of_station(context, name)
        case "catalog":
            return context.catalog_of(owner).api.silence()
        case "staging":
            return context.staging_service.api.silence()
        case _:
            return _silence_of_store(context)


def _silence_of_station(context: Context, name: str) -> str | None:
    try:
        return context.station(name).api.silence()
    except Rejected:
        return None  # it is not configured any more: nothing waits for it


def _silence_of_store(context: Context) -> str | None:
    try:
        context.store.head(Location(context.settings.s3_bucket, _NOTHING))
    except Retryable as error:
        return error.reason
    except Rejected:
        return None
    return None
