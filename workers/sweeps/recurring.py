"""What recurs: when it is due, by a period or a cron line, and how long the message about it is worth being taken."""

import hashlib
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from shared.times import parse_duration
from workers.sweeps.schedule import Cron, Period, Schedule

_JITTER = timedelta(minutes=1)
_CLOCKS_DIFFER = 60.0  # seconds that beat's clock may be ahead; no message moves a sweep further into the future

Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class Recurring(BaseModel):
    """Something that beat has done again and again.

    Attributes:
        name: of its table.
        every: the period, or
        cron: the cron line, in UTC: one of both.
        jitter: it begins up to this much after its tick, so that those of one minute are spread; None means a tenth of
            the period, a minute at most.
        expires: after this time a message that no worker took is dropped; None means the period.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
    every: Annotated[Duration, Field(ge=timedelta(seconds=1))] | None = None
    cron: Annotated[Cron, BeforeValidator(Cron.parse)] | None = None
    jitter: Annotated[Duration, Field(ge=timedelta(0))] | None = None
    expires: Annotated[Duration, Field(ge=timedelta(seconds=1))] | None = None

    @model_validator(mode="after")
    def _has_ticks(self) -> Self:
        if (self.every is None) == (self.cron is None):
            raise ValueError("give one of every and cron")
        if self.jitter is not None and self.jitter >= self.schedule.shortest:
            raise ValueError(f"the jitter must be shorter than the time between two runs, {self.schedule.shortest}")
        return self

    @property
    def schedule(self) -> Schedule:
        """Its ticks."""
        return self.cron or Period(self.every or timedelta.max)

    @property
    def message_expires(self) -> timedelta:
        """How long the message that beat sends is worth being taken."""
        return self.expires or self.schedule.shortest

    def due(self, tick: datetime) -> datetime:
        """Return when the run of a tick is to begin: the same for every beat, and before the next tick."""
        longest = min(self.schedule.shortest / 10, _JITTER) if self.jitter is None else self.jitter
        digest = hashlib.sha256(f"{self.name} {tick.isoformat()}".encode()).digest()
        return tick + longest * (int.from_bytes(digest[:4]) / 2**32)

    def newest(self, now: datetime) -> datetime:
        """Return the newest tick that is due."""
        tick = self.schedule.last(now)
        return tick if self.due(tick) <= now else self.schedule.last(tick - timedelta.resolution)

    def next_due(self, now: datetime) -> datetime:
        """Return when the sweep is due next."""
        return self.due(self.schedule.next(self.newest(now)))


def newest_due(at: float) -> datetime:
    """Return the moment for which a message of beat holds.

    Args:
        at: what beat's clock said, in seconds since the epoch; a worker's may be behind it.
    """
    now = time.time()
    return datetime.fromtimestamp(max(now, min(at, now + _CLOCKS_DIFFER)), UTC)
