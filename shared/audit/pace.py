"""Spaces requests evenly, so that an audit takes no more of the store and the catalog than it is allowed."""

import threading
import time


class Pace:
    """At most so many requests a second, of all threads together; None means no limit."""

    def __init__(self, requests_per_second: float | None) -> None:
        self._interval = 0.0 if requests_per_second is None else 1 / requests_per_second
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait for the turn of one request."""
        if not self._interval:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._interval
        time.sleep(turn - now)
