"""Instants as stations spell them, in UTC; durations as people write them."""

import re
from datetime import UTC, datetime, timedelta

from shared.errors import Rejected

OPEN_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The end of a validity that has none: spelled `99991231T235959` or `99999999T999999` (the second is no date)."""

BEGINNING = datetime.min.replace(tzinfo=UTC)
"""The start of a validity since the beginning of the mission: spelled `0000-00-00T00:00:00`, which is no date."""

_LEAP_SECOND = re.compile(r"(\d{4}-?\d\d-?\d\d[T ]\d\d:?59:?)60(.*)", re.ASCII | re.DOTALL)

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

    A leap second is the second after it, as POSIX and PostgreSQL count.

    Raises:
        Rejected: `bad-datetime`, it is no instant.
    """
    try:
        return _in_utc(text)
    except (ValueError, OverflowError):  # in UTC it may lie beyond the calendar
        instant = _other_spelling(text.upper())
    if instant is None:
        raise Rejected("bad-datetime", f"{text[:80]!r} is no date and time such as 2024-01-31T00:00:00Z")
    return instant


def _in_utc(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _other_spelling(text: str) -> datetime | None:
    """Read what Python's calendar has no date for, and `Z` in lower case."""
    compact = text.replace("-", "").replace(":", "").replace(" ", "T")
    if compact.startswith("99999999T"):
        return OPEN_END
    if compact.startswith("00000000T000000"):
        return BEGINNING
    leap = _LEAP_SECOND.fullmatch(text)
    try:
        return _after_leap_second(_in_utc(f"{leap[1]}59{leap[2]}")) if leap else _in_utc(text)
    except (ValueError, OverflowError):
        return None


def _after_leap_second(last: datetime) -> datetime:
    following = last + timedelta(seconds=1)
    if (following.day, following.hour, following.minute, following.second) != (1, 0, 0, 0):
        raise ValueError("a leap second ends a month")
    return following


def format_instant(instant: datetime) -> str:
    """Spell an instant as RFC 3339 in UTC, with milliseconds where it has any."""
    timespec = "milliseconds" if instant.microsecond else "seconds"
    return instant.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
