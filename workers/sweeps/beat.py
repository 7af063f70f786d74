"""What beat sends, and when. Beat decides nothing and keeps nothing: which tick is run stands in the ledger.

All of it goes into the bulk lane: nobody waits for it.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from celery.beat import BeatLazyFunc
from celery.schedules import BaseSchedule, schedstate

from shared.models import Lane
from shared.settings import Settings
from workers.queues import queue_for
from workers.sweeps.file import load_audits, load_sweeps
from workers.sweeps.recurring import Recurring

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

# Longer than any clock is wrong: a worker drops what has expired by its own.
_KEPT = timedelta(days=1)

# A broker that is away is waited for: a message that is given up would be a tick that is missed.
_PATIENT = {"max_retries": None, "interval_start": 0, "interval_step": 0.5, "interval_max": 5}


class Ticks(BaseSchedule):
    """Beat's view of a sweep: due once after each tick, and at beat's start, for what was missed meanwhile."""

    def __init__(self, sweep: Recurring, nowfun: Callable[[], datetime] | None = None) -> None:
        super().__init__(nowfun=nowfun)
        self.sweep = sweep

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:  # type: ignore[override]  # celery-types says datetime
        """Return whether the sweep is due, and the seconds until it is due next."""
        now = self.now().astimezone(UTC)
        due = self.sweep.due(self.sweep.newest(now)) > last_run_at
        return schedstate(due, (self.sweep.next_due(now) - now).total_seconds())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ticks) and other.sweep == self.sweep

    def __hash__(self) -> int:
        return hash(self.sweep.name)

    def __repr__(self) -> str:
        return f"<ticks: {self.sweep.schedule}>"


def beat_schedule(settings: Settings) -> dict[str, object]:
    """Return beat's schedule: the sweeps and audits of the settings' file, and the daily upkeep.

    Raises:
        SettingsError: the file is missing or wrong.
    """
    sweeps = {f"sweep {name}": _entry("auxip.sweep", sweep) for name, sweep in load_sweeps(settings).items()}
    audits = {f"audit {name}": _entry("auxip.audit", audit) for name, audit in load_audits(settings).items()}
    upkeep = {
        "reconcile": _upkeep("auxip.reconcile", timedelta(seconds=settings.reconcile_every)),
        "clean up": _upkeep("auxip.clean_up", timedelta(days=1)),
    }
    return {**upkeep, **sweeps, **audits}


def _upkeep(task: str, every: timedelta) -> dict[str, object]:
    return {"task": task, "schedule": every, "last_run_at": _NEVER, "options": _options(task, _KEPT)}


def _entry(task: str, sweep: Recurring) -> dict[str, object]:
    return {
        "task": task,
        "schedule": Ticks(sweep),
        # Beat's clock goes with the message: by a worker's, a little behind, the tick would not be due yet.
        "args": (sweep.name, BeatLazyFunc(time.time)),
        "last_run_at": _NEVER,
        "options": _options(task, sweep.message_expires),
    }


def _options(task: str, expires: timedelta) -> dict[str, object]:
    return {"queue": queue_for(task, Lane.BULK), "expires": expires.total_seconds(), "retry_policy": _PATIENT}
