"""What goes into a log: no line twice a minute for one outage."""

import time
from typing import Final

_PAUSE: Final = 60.0


class Throttle:
    """Says whether a line may be logged, at most once in `pause` seconds for each thing that it is about."""

    def __init__(self, pause: float = _PAUSE) -> None:
        self._pause = pause
        self._last: dict[str, float] = {}

    def allows(self, what: str) -> bool:
        """Whether a line about something may be logged now; if so, that counts as done."""
        now = time.monotonic()
        if now - self._last.get(what, -self._pause) < self._pause:
            return False
        self._last[what] = now
        return True
