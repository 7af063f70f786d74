"""Two files that a worker touches, for health checks: one while it lives, one while it consumes.

`auxip-NODE.alive` in the folder of temporary files is touched while the event loop of the worker moves, or waits for
its broker, and none of its processes is stopped by a signal. `auxip-NODE.ready` is touched while the worker consumes
all its queues and the broker answers its polls. A look at a file costs no interpreter and no message.

A restart mends what makes the first file old. It does not mend a broker that is away, or a consumer that an operator
has cancelled: the second file is for those.
"""

import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

from celery import bootsteps
from celery.worker.consumer import Tasks

from workers.app import app
from workers.health import touch

ALIVE: Final = ".alive"
READY: Final = ".ready"
EVERY: Final = 5.0
_LOOP_MOVES_WITHIN: Final = 60.0


class Presence(bootsteps.StartStopStep):
    """Touches the files of one worker."""

    requires = (Tasks,)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        folder = Path(tempfile.gettempdir())
        self.alive = folder / f"auxip-{parent.hostname}{ALIVE}"
        self.ready = folder / f"auxip-{parent.hostname}{READY}"
        self._queues = frozenset(parent.app.amqp.queues.consume_from)
        self._moved_at: float | None = None
        self._stopped = False
        self._timer: Any = None
        # A thread, since the event loop does not run while the worker waits for its broker.
        threading.Thread(target=self._keep_alive, name="presence", daemon=True).start()

    def start(self, parent: Any) -> None:
        """Begin to look at the worker; at each connection anew."""
        self._moved_at = time.monotonic()
        self._timer = parent.timer.call_repeatedly(EVERY, self.look, (parent,))

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Stop looking: the connection is lost, or the worker stops and waits for its last step."""
        self._moved_at = None
        if self._timer is not None:
            self._timer.cancel()

    def look(self, parent: Any) -> None:
        """Look at the worker, from within its event loop, and touch the file `ready` if it consumes."""
        self._moved_at = time.monotonic()
        self._stopped = any(map(is_stopped, parent.pool.info.get("processes", ())))
        consumer = parent.task_consumer
        if not self._stopped and all(map(consumer.consuming_from, self._queues)) and consumer.channel.is_consuming():
            touch(self.ready)

    def is_alive(self) -> bool:
        """Return whether the event loop moves, or waits for the broker, and all processes can run."""
        moves = self._moved_at is None or time.monotonic() - self._moved_at < _LOOP_MOVES_WITHIN
        return moves and not self._stopped

    def _keep_alive(self) -> None:
        while True:
            if self.is_alive():
                touch(self.alive)
            time.sleep(EVERY)


def is_stopped(pid: int) -> bool:
    """Return whether a signal has stopped a process, as Linux shows it; False where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


app.steps["consumer"].add(Presence)
