"""Which systems cannot be used, since when, and whose turn it is to probe them: one answer for all workers.

Keys:

auxip:outages                  hash: system -> JSON of its `Outage`
auxip:probe:SYSTEM             string: `running`, `up` or `down`; nobody probes the system while it exists
"""

from dataclasses import dataclass
from typing import Final, cast

from pydantic import BaseModel
from redis import Redis

_OUTAGES: Final = "auxip:outages"
_RUNNING: Final = "running"
_UP: Final = "up"
_DOWN: Final = "down"


class Outage(BaseModel):
    """A system that cannot be used. Times are in seconds since the epoch.

    Attributes:
        since: when the first probe found it.
        probed: when the last probe found it.
        fault: what is wrong, a `Fault`.
        code: of the failure that led to the first probe.
        reason: what the system answered to the last probe, or that it did not.
        probes: how many have failed.
        collection: of the catalog that is probed.
    """

    since: float
    probed: float
    fault: str
    code: str
    reason: str
    probes: int = 1
    collection: str = ""


@dataclass(frozen=True)
class Turn:
    """Whose turn it is to probe a system.

    Attributes:
        ours: whether it is the caller's.
        is_up: whether somebody has just found it well.
        is_running: whether somebody probes it now.
        left: seconds until the next may probe it.
    """

    ours: bool = False
    is_up: bool = False
    is_running: bool = False
    left: float = 0.0


class Outages:
    """The outages' part of the ledger. A system is named as in `shared.runs.systems`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def all(self) -> dict[str, Outage]:
        """Return the systems that cannot be used."""
        found = cast("dict[str, str]", self._redis.hgetall(_OUTAGES))
        return {system: Outage.model_validate_json(text) for system, text in found.items()}

    def of(self, system: str) -> Outage | None:
        """Return the outage of a system, or None where none is known."""
        text = cast("str | None", self._redis.hget(_OUTAGES, system))
        return None if text is None else Outage.model_validate_json(text)

    def take_turn(self, system: str, seconds: float) -> Turn:
        """Take the turn to probe a system, unless somebody else has it or has just probed it.

        Args:
            system: which.
            seconds: after which another caller gets the turn, should this one die.
        """
        key = _probe(system)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(key, _RUNNING, nx=True, px=_milliseconds(seconds))
            pipe.get(key)
            pipe.pttl(key)
            ours, state, left = cast("tuple[bool | None, str | None, int]", tuple(pipe.execute()))
        if ours:
            return Turn(ours=True)
        return Turn(is_up=state == _UP, is_running=state == _RUNNING, left=max(left, 1) / 1000)

    def record_up(self, system: str, seconds: float) -> None:
        """Record that a probe found a system well, and that nobody need probe it for so many seconds."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hdel(_OUTAGES, system)
            pipe.set(_probe(system), _UP, px=_milliseconds(seconds))
            pipe.execute()

    def record_down(self, system: str, outage: Outage, pause: float) -> None:
        """Record that a system cannot be used, and that nobody is to probe it for `pause` seconds."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(_OUTAGES, system, outage.model_dump_json())
            pipe.set(_probe(system), _DOWN, px=_milliseconds(pause))
            pipe.execute()


def _probe(system: str) -> str:
    return f"auxip:probe:{system}"


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
