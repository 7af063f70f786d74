"""The scheduler of beat: Celery's own, which touches two files for health checks.

`auxip-beat.ready` is touched after each tick. `auxip-beat.alive` is touched also while a tick waits for a broker that
is away: a restart does not mend that.
"""

import logging
import tempfile
from pathlib import Path
from typing import Any, Final

from celery.beat import Scheduler

from workers.health import touch

BEAT_ALIVE: Final = "auxip-beat.alive"
BEAT_READY: Final = "auxip-beat.ready"

_log = logging.getLogger(__name__)


class TickingScheduler(Scheduler):
    """Keeps no file of its own, and shows that it ticks."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due, and touch the files; returns the seconds until the next tick."""
        seconds: float = super().tick(*args, **kwargs)
        _touch(BEAT_ALIVE)
        _touch(BEAT_READY)
        return seconds

    def apply_async(self, entry: Any, *args: Any, **kwargs: Any) -> Any:
        """Send the message of an entry, and touch the file `alive` at each try while the broker is away."""
        policy = {**entry.options.get("retry_policy", {}), "errback": _wait}
        entry.options = {**entry.options, "retry_policy": policy}
        return super().apply_async(entry, *args, **kwargs)

    def _ensure_connected(self) -> Any:
        return self.connection.ensure_connection(_wait, self.app.conf.broker_connection_max_retries)


def _wait(error: Exception, seconds: float) -> None:
    _touch(BEAT_ALIVE)
    _log.error("the broker is away: %s; the next try is in %s s", error, seconds)


def _touch(name: str) -> None:
    touch(Path(tempfile.gettempdir()) / name)
