"""The scheduler of beat: Celery's own, which touches a file with each tick, for health checks."""

import tempfile
from pathlib import Path
from typing import Any, Final

from celery.beat import Scheduler

BEAT_ALIVE: Final = "auxip-beat.alive"


class TickingScheduler(Scheduler):
    """Keeps no file of its own, and shows that it ticks.

    While the broker is away, a tick waits for it, and the file gets old: beat keeps nothing that a restart could lose.
    """

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due, and touch the file; returns the seconds until the next tick."""
        seconds: float = super().tick(*args, **kwargs)
        (Path(tempfile.gettempdir()) / BEAT_ALIVE).touch()
        return seconds
