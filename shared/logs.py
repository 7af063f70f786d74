"""What goes into a log: which work each line is about, nothing that cannot be printed, and no outage twice a minute."""

import copy
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, Literal

from shared.texts import printable, printable_lines

LogFormat = Literal["text", "json"]

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


def _work_of(record: logging.LogRecord) -> dict[str, str]:
    """Return what a line is about: what its record has in a field `work`, and what the code around it says."""
    return getattr(record, "work", {}) | _WORK.get({})


class LineFormatter(logging.Formatter):
    """Formats lines as another formatter does, free of control characters, and with what they are about at the end."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        work = "".join(f" {name}={value}" for name, value in _work_of(record).items())
        clean = copy.copy(record)
        # Lines of ours are one line each; those of libraries may be several, such as a banner.
        cleaned = printable if record.name.startswith(_OURS) else printable_lines
        clean.msg, clean.args = cleaned(record.getMessage()) + work, ()
        if record.exc_info and not record.exc_text:
            clean.exc_text = printable_lines(self._inner.formatException(record.exc_info))
        return self._inner.format(clean)


class JsonFormatter(logging.Formatter):
    """Formats each record as one JSON object in one line, with what it is about as fields of it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object of a record: `time` (RFC 3339), `level`, `logger`, `process`, `message` and its work."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": printable_lines(record.getMessage()),
            **_work_of(record),
        }
        if record.exc_info:
            fields["exception"] = printable_lines(self.formatException(record.exc_info))
        return json.dumps(fields, ensure_ascii=False)


def format_lines_of(logger: logging.Logger, form: LogFormat) -> None:
    """Have everything that a logger's handlers write formatted so: text as by now, but clean, or JSON."""
    for handler in logger.handlers:
        if form == "json":
            handler.setFormatter(JsonFormatter())
        elif not isinstance(handler.formatter, LineFormatter):
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
