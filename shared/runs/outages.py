"""A system that cannot be used fails no item: what needs it waits until it can, and that uses up no try.

Whether the system or the item is at fault is asked of the system itself: one worker probes it with a question that has
nothing to do with an item. If the probe fails as the item did, the system has an outage. Else the item is at fault, and
its try counts.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from shared.context import Context
from shared.errors import Busy, Rejected, Retryable
from shared.http.api import LONGEST_PROBE
from shared.http.probes import Fault
from shared.ledger import Outage
from shared.models import Lane, Run, Wait
from shared.retries import delay_before_probe, delay_until_probe_ends, delay_until_probed, longest_search
from shared.runs.systems import Needs, needs_of_run_search, needs_of_search, probe, suspected_fault
from shared.steps.find import require_time_left

_log = logging.getLogger(__name__)

_UP_FOR = 1.0  # seconds at most, and less than the pause between two tries, so that one answer charges one try only
_QUESTIONS = 2  # of a probe
_REFUSALS_TOLD = 2


@contextmanager
def waiting_for_systems(context: Context, needs: Needs) -> Iterator[None]:
    """Have the block wait for the systems that it needs.

    Raises:
        Busy: `system-unavailable`, for as long as `outage_patience`; then the block's own error is raised.
    """
    if known := context.outages.all():
        for system in needs.missing(known):
            _require_up(context, needs, system, Fault(known[system].fault), known[system])
    try:
        yield
    except Busy:
        raise
    except Retryable as error:
        fault = suspected_fault(error)
        if fault is not None:
            for system in needs.concerned(context, error, fault):
                _require_up(context, needs, system, fault, context.outages.of(system), error)
        raise


@contextmanager
def search_waiting_for_systems(context: Context, run: Run) -> Iterator[None]:
    """Have the search of a run wait for the systems that it needs, until its own time is over.

    Raises:
        Busy: `system-unavailable`.
        Rejected: `search-timeout`; or, where somebody waits for the run and has set no timeout, the code with which a
            system refuses our credentials, once two probes have confirmed it.
    """
    needs = needs_of_run_search(context, run)
    try:
        with waiting_for_systems(context, needs):
            yield
    except Busy:
        require_time_left(context, run)
        if run.request.lane is Lane.ON_DEMAND and run.request.timeout_seconds < 0 and not run.request.replays:
            require_accepted(context, needs, context.ledger.begin_search(run.id))
        raise


@contextmanager
def plain_task_waiting_for_systems(context: Context, task_id: str, needs: Needs) -> Iterator[None]:
    """Have a task that is no run wait for the systems that it needs.

    Raises:
        Busy: `system-unavailable`.
        Rejected: the code with which a system refuses our credentials, once two probes have confirmed it.
    """
    try:
        with waiting_for_systems(context, needs):
            yield
    except Busy:
        since = context.ledger.begin_wait(task_id, 2 * longest_search(context.settings))
        require_accepted(context, needs, since)
        raise


@contextmanager
def plain_search_waiting_for_systems(context: Context, task_id: str, stations: Sequence[str]) -> Iterator[None]:
    """Have a search that is no run wait for its stations, for as long as a search may take.

    Raises:
        Busy: `system-unavailable`.
        Rejected: `search-timeout`, and as `plain_task_waiting_for_systems`.
    """
    longest = longest_search(context.settings)
    try:
        with plain_task_waiting_for_systems(context, task_id, needs_of_search(context, stations)):
            yield
    except Busy as error:
        if time.time() - context.ledger.begin_wait(task_id, 2 * longest) >= longest:
            raise Rejected("search-timeout", f"{error.reason}, for {longest:g} s (AUXIP_STEP_TIMEOUT)") from error
        raise


def require_accepted(context: Context, needs: Needs, since: float) -> None:
    """Make sure that no system that is needed refuses our credentials, as two probes have found, one of them since.

    Raises:
        Rejected: with the code of the refusal.
    """
    known = context.outages.all()
    for system in (*needs.systems, *needs.others):
        outage = known.get(system)
        if outage is None or outage.fault != Fault.REFUSED:
            continue
        if outage.probes >= _REFUSALS_TOLD and outage.probed >= since:
            raise Rejected(outage.code, f"the {system} refuses our credentials: {outage.reason}")


def probe_systems(context: Context) -> None:
    """Probe each system that has an outage and is due, so that an outage ends also where no step waits for it."""
    for system, outage in context.outages.all().items():
        if context.outages.take_turn(system, _longest_probe(context)).ours:
            _probe(context, system, Fault(outage.fault), outage.collection, outage, None)


def _require_up(
    context: Context, needs: Needs, system: str, fault: Fault, known: Outage | None, cause: Retryable | None = None
) -> None:
    if known is not None and _is_too_long(context, known):
        return
    turn = context.outages.take_turn(system, _longest_probe(context))
    if turn.is_up:
        return
    if turn.ours:
        delay = _probe(context, system, fault, needs.collection, known, cause)
    elif turn.is_running:
        delay = delay_until_probe_ends(turn.left, context.settings)
    else:
        delay = delay_until_probed(turn.left, context.settings)
    if delay:
        _record_wait(context, needs.run_id, system, delay)
        raise Busy("system-unavailable", f"waiting for the {system}, which cannot be used", delay=delay) from cause


def _record_wait(context: Context, run_id: str, system: str, delay: float) -> None:
    outage = context.outages.of(system) if run_id else None
    if outage is not None:
        until = time.time() + delay
        context.ledger.record_wait(run_id, Wait(system=system, since=outage.since, until=until, reason=outage.reason))


def _longest_probe(context: Context) -> float:
    return _QUESTIONS * (LONGEST_PROBE + context.settings.s3_timeout)


def _is_too_long(context: Context, outage: Outage) -> bool:
    patience = context.settings.outage_patience
    return patience is not None and time.time() - outage.since >= patience


def _probe(
    context: Context, system: str, suspected: Fault, collection: str, known: Outage | None, cause: Retryable | None
) -> float:
    """Probe a system and record what comes of it; returns the seconds to wait, 0 if the system is well."""
    finding, now = probe(context, system, suspected, collection), time.time()
    if finding is None:
        if known is not None:
            _log.warning("the %s can be used again, after %.0f s", system, now - known.since)
        context.outages.record_up(system, min(_UP_FOR, context.settings.backoff_base / 2))
        return 0
    outage = Outage(
        since=known.since if known else now,
        probed=now,
        fault=finding.fault,
        code=_code_of(system, finding.fault, known, cause),
        reason=finding.reason,
        probes=known.probes + 1 if known else 1,
        collection=collection,
    )
    pause = delay_before_probe(outage.probes, context.settings)
    _log.warning("the %s cannot be used, the next probe is in %.0f s: %s", system, pause, finding.reason)
    context.outages.record_down(system, outage, pause)
    return pause


def _code_of(system: str, fault: Fault, known: Outage | None, cause: Retryable | None) -> str:
    """Return the code that tells of a fault: that of the failure which the probe confirms, if it does."""
    is_of_item = cause is not None and cause.code.endswith("-refused-item")
    if cause is not None and suspected_fault(cause) is fault and not is_of_item:
        return cause.code
    if known is not None and known.fault == fault:
        return known.code
    kind = system.partition(" ")[0]
    if fault is Fault.REFUSED:
        return "s3-denied" if kind == "s3" else f"{kind}-unauthorized"
    return f"{kind}-{fault}"
