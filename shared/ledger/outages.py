"""Which systems are away, since when, and whose turn it is to look whether they are back: one answer for all workers.

Keys:

auxip:outages                  hash: system -> JSON of its `Outage`
auxip:look:SYSTEM              string: `running`, `up` or `away`; while it is there nobody else looks
"""

from dataclasses import dataclass
from typing import Final, cast

from pydantic import BaseModel
from redis import Redis

_OUTAGES: Final = "auxip:outages"
_RUNNING: Final = "running"
_UP: Final = "up"
_AWAY: Final = "away"
_LOOK_AGAIN: Final = 1.0
"""Longest wait, in seconds, for what another worker finds out."""


class Outage(BaseModel):
    """A system that is away.

    Attributes:
        since: when that was found, in seconds since the epoch.
        reason: what the system answered, or did not.
        looks: how often it was looked whether it is back, without success.
    """

    since: float
    reason: str
    looks: int = 1


@dataclass(frozen=True)
class Turn:
    """What is known of a system for the moment.

    Attributes:
        ours: whether the caller is the one that looks now.
        is_up: whether somebody has just had an answer of it.
        wait: seconds until it is looked again.
    """

    ours: bool = False
    is_up: bool = False
    wait: float = 0.0


class Outages:
    """The outages' part of the ledger. A system is `catalog`, `s3`, `staging` or `station NAME`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def all(self) -> dict[str, Outage]:
        """Return the systems that are away."""
        found = cast("dict[str, str]", self._redis.hgetall(_OUTAGES))
        return {system: Outage.model_validate_json(text) for system, text in found.items()}

    def of(self, system: str) -> Outage | None:
        """Return the outage of a system, or None where none is known."""
        text = cast("str | None", self._redis.hget(_OUTAGES, system))
        return None if text is None else Outage.model_validate_json(text)

    def take_turn(self, system: str, seconds: float) -> Turn:
        """Take it on to look whether a system answers, unless somebody else does so, or has done it lately.

        Args:
            system: which.
            seconds: after which another one looks, should the caller die.
        """
        key = _look(system)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(key, _RUNNING, nx=True, px=_milliseconds(seconds))
            pipe.get(key)
            pipe.pttl(key)
            ours, state, left = cast("tuple[bool | None, str | None, int]", tuple(pipe.execute()))
        if ours:
            return Turn(ours=True)
        wait = max(left, 1) / 1000  # 0 would mean that nobody has to wait
        return Turn(is_up=state == _UP, wait=min(wait, _LOOK_AGAIN) if state == _RUNNING else wait)

    def is_up(self, system: str, seconds: float) -> None:
        """Record that a system answers, and let that be known for so many seconds without another look."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hdel(_OUTAGES, system)
            pipe.set(_look(system), _UP, px=_milliseconds(seconds))
            pipe.execute()

    def is_away(self, system: str, outage: Outage, pause: float) -> None:
        """Record that a system does not answer, and let nobody look again for `pause` seconds."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(_OUTAGES, system, outage.model_dump_json())
            pipe.set(_look(system), _AWAY, px=_milliseconds(pause))
            pipe.execute()


def _look(system: str) -> str:
    return f"auxip:look:{system}"


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
