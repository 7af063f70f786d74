"""When a sweep is due: its ticks, either the multiples of a period since 1970 or the moments of a cron line, in UTC."""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import count, pairwise
from typing import Protocol, Self

from celery.schedules import ParseException, crontab_parser

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)

# Celery's parser reads a range up to its end and overlooks what follows; so the shape is held before it is asked.
_NUMBERS = re.compile(r"(\*|\d+(-\d+)?)(/[1-9]\d*)?(,(\*|\d+(-\d+)?)(/[1-9]\d*)?)*")
_NAMES = re.compile(r"[a-z]{3}(-[a-z]{3})?(,[a-z]{3}(-[a-z]{3})?)*")
_FIELDS = (
    ("minute", 0, 60, ""),
    ("hour", 0, 24, ""),
    ("day of the month", 1, 31, ""),
    ("month", 1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"),
    ("weekday", 0, 7, "sun mon tue wed thu fri sat"),
)
"""What a field says, its first number, how many there are, and their names."""

_LEAP_YEAR = 2000


class Schedule(Protocol):
    """The ticks of a sweep."""

    @property
    def shortest(self) -> timedelta:
        """No two ticks are closer to each other."""

    def last(self, at: datetime) -> datetime:
        """Return the newest tick at or before an instant in UTC."""

    def next(self, at: datetime) -> datetime:
        """Return the first tick after an instant in UTC."""


@dataclass(frozen=True)
class Period:
    """A tick at every multiple of a period since 1970."""

    shortest: timedelta

    def last(self, at: datetime) -> datetime:
        """Return the newest tick at or before an instant in UTC."""
        return _EPOCH + (at - _EPOCH) // self.shortest * self.shortest

    def next(self, at: datetime) -> datetime:
        """Return the first tick after an instant in UTC."""
        return self.last(at) + self.shortest

    def __str__(self) -> str:
        return f"every {self.shortest}"


@dataclass(frozen=True)
class Cron:
    """The moments of a cron line: minute, hour, day of the month, month, weekday (0 or sun to 6 or sat).

    As in Celery, and unlike cron itself, a day must match both the day of the month and the weekday.
    """

    line: str
    times: tuple[time, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @classmethod
    def parse(cls, line: object) -> Self:
        """Read a cron line.

        Raises:
            ValueError: it is none, or names a day that never comes.
        """
        fields = line.lower().split() if isinstance(line, str) else []
        if len(fields) != len(_FIELDS):
            raise ValueError('is no cron line of five fields such as "30 3 * * mon-fri"')
        minutes, hours, days, months, weekdays = (
            _numbers(text, *field) for text, field in zip(fields, _FIELDS, strict=True)
        )
        if all(day > monthrange(_LEAP_YEAR, month)[1] for month in months for day in days):
            raise ValueError("names a day that never comes")
        return cls(
            line=" ".join(fields),
            times=tuple(time(hour, minute) for hour in sorted(hours) for minute in sorted(minutes)),
            days=days,
            months=months,
            weekdays=weekdays,
        )

    @property
    def shortest(self) -> timedelta:
        """No two ticks are closer to each other; days are taken to follow each other."""
        moments = [datetime.combine(_EPOCH, each) for each in self.times]
        return min(later - earlier for earlier, later in pairwise([*moments, moments[0] + _DAY]))

    def last(self, at: datetime) -> datetime:
        """Return the newest tick at or before an instant in UTC."""
        for back in count():
            day = at.date() - back * _DAY
            times = self.times if back else [each for each in self.times if each <= at.time()]
            if times and self._holds(day):
                return datetime.combine(day, times[-1], UTC)
        raise AssertionError  # a day that never comes was refused

    def next(self, at: datetime) -> datetime:
        """Return the first tick after an instant in UTC."""
        for ahead in count():
            day = at.date() + ahead * _DAY
            times = self.times if ahead else [each for each in self.times if each > at.time()]
            if times and self._holds(day):
                return datetime.combine(day, times[0], UTC)
        raise AssertionError

    def __str__(self) -> str:
        return f"cron {self.line}"

    def _holds(self, day: date) -> bool:
        return day.day in self.days and day.month in self.months and day.isoweekday() % 7 in self.weekdays


def _numbers(text: str, what: str, first: int, count: int, names: str) -> frozenset[int]:
    named = _NAMES.fullmatch(text) and set(re.findall("[a-z]+", text)) <= set(names.split())
    if not named and not _NUMBERS.fullmatch(text):
        raise ValueError(f"has {text!r} as {what}")
    try:
        return frozenset(crontab_parser(count, first).parse(text))
    except (ParseException, ValueError) as error:
        raise ValueError(f"has {text!r} as {what}: {error}") from None
