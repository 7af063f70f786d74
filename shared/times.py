"""Instants as stations spell them, in UTC; durations as people write them."""

import re
from datetime import UTC, datetime, timedelta

from shared.errors import Rejected

OPEN_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The end of a validity that has none: spelled `99991231T235959` or `99999999T999999` (the second is no date)."""


_UNITS = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=36_525)  # so that few sums with an instant leave the calendar


def parse_duration(value: object) -> timedelta:
    """Read a number of seconds, or a number with its unit: 90s, 15m, 6h, 1d; a sign may stand before it.

    Raises:
        ValueError: it is none. No error of ours, so that pydantic and click tell it with the name of the field.
    """
    match = re.fullmatch(r"([+-]?\d+(?:\.\d+)?)\s*([smhd]?)", str(value).strip())
    if match is None:
        raise ValueError("is no duration such as 90s, 15m, 6h or 1d")
    try:
        duration = timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError:
        duration = timedelta.max
    if abs(duration) > _LONGEST:
        raise ValueError("is too long a duration")
    return duration


def parse_instant(text: str) -> datetime:
    """Read an RFC 3339 instant, or a station's compact spelling, as UTC; an offset is converted, none means UTC.

    Raises:
        Rejected: `bad-datetime`, it is no instant.
    """
    if text.replace("-", "").replace(":", "").startswith("99999999T"):
        return OPEN_END
    try:
        instant = datetime.fromisoformat(text)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):  # in UTC it may lie beyond the calendar
        raise Rejected("bad-datetime", f"{text[:80]!r} is no date and time such as 2024-01-31T00:00:00Z") from None


def format_instant(instant: datetime) -> str:
    """Spell an instant as RFC 3339 in UTC, with milliseconds where it has any."""
    timespec = "milliseconds" if instant.microsecond else "seconds"
    return instant.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
