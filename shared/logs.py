"""What goes into a log: which work each line is about, nothing that cannot be printed, and no outage twice a minute."""

import copy
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from shared.texts import printable, printable_lines

_PAUSE: Final = 60.0
_OURS: Final = ("shared.", "workers.")
_WORK: ContextVar[dict[str, str]] = ContextVar("work")


@contextmanager
def about(**work: object) -> Iterator[None]:
    """Have the lines of the block say what they are about, beside what they say of it already: `run=.. item=..`."""
    before = _WORK.get({})
    token = _WORK.set(before | {name: printable(str(value)) for name, value in work.items() if value not in ("", None)})
    try:
        yield
    finally:
        _WORK.reset(token)


class LineFormatter(logging.Formatter):
    """Formats lines as another formatter does, free of control characters, and with what they are about at the end."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        work = "".join(f" {name}={value}" for name, value in _WORK.get({}).items())
        clean = copy.copy(record)
        # Lines of ours are one line each; those of libraries may be several, such as a banner.
        cleaned = printable if record.name.startswith(_OURS) else printable_lines
        clean.msg, clean.args = cleaned(record.getMessage()) + work, ()
        if record.exc_info and not record.exc_text:
            clean.exc_text = printable_lines(self._inner.formatException(record.exc_info))
        return self._inner.format(clean)


def clean_lines_of(logger: logging.Logger) -> None:
    """Have everything that a logger's handlers write formatted so."""
    for handler in logger.handlers:
        if not isinstance(handler.formatter, LineFormatter):
            handler.setFormatter(LineFormatter(handler.formatter))


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
