"""A claim on one piece of work: held by one worker at a time, renewed while it lives, lapsing when it dies.

    auxip:lease:WORK        hash: token and holder of the newest claim, until (ms), starts; deleted by an orderly end
    auxip:stopping:HOLDER   string: the holder was told to stop

The token is a fence: who writes an outcome shows it, and is refused if another claim has been made since, or if the
server has forgotten this one. A claim that lapsed without another one being made is taken up again by its renewal.

`starts` counts claims without an orderly end, whoever made them: work that has ended its worker `MOST_STARTS` times is
not begun again. The next claim is exhausted: only to record that. A start does not count whose holder was told to stop:
however it has ended then, the work was not the cause.
"""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from time import monotonic

from redis import Redis
from redis.exceptions import RedisError

from shared.errors import Busy, ItemFailed
from shared.ledger.counters import KEY as COUNTERS
from shared.models import Claim

MOST_STARTS = 3
HOLDER = uuid.uuid4().hex
"""The id of this process and of those that are forked from it, as a worker's are: they are told to stop together."""

_RETRY_AFTER = 2.0
_REMEMBERED = 86_400  # seconds that a claim is known after the last sign of its holder
_STOPPING = "auxip:stopping:"

ACQUIRE_FUNCTION = f"""
local function acquire(lease, token, milliseconds, most, holder)
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  local known = redis.call('HMGET', lease, 'until', 'starts', 'holder')
  if known[1] and tonumber(known[1]) > now then return tonumber(known[1]) - now end
  local starts = tonumber(known[2] or '0')
  local stopped = known[3] and redis.call('EXISTS', '{_STOPPING}' .. known[3]) == 1
  if stopped then starts = math.max(0, starts - 1) end
  if known[1] then -- its holder has not ended it
    redis.call('HINCRBYFLOAT', '{COUNTERS}', '["claims_lapsed", "' .. (stopped and 'stopped' or 'lost') .. '"]', 1)
  end
  local exhausted = starts >= tonumber(most)
  redis.call('HSET', lease, 'token', token, 'until', now + milliseconds, 'starts', exhausted and 1 or starts + 1,
    'holder', holder)
  redis.call('EXPIRE', lease, {_REMEMBERED})
  return exhausted and -1 or 0
end
"""
"""Lua that scripts begin with: 0 if the claim is ours, -1 if ours and exhausted, or the ms that another has left."""

_ACQUIRE = f"""{ACQUIRE_FUNCTION}
-- KEYS lease; ARGV token, milliseconds, most, holder
return acquire(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4])
"""

_RENEW = f"""
-- KEYS lease; ARGV token, milliseconds. Returns 0 if there has been another claim since.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], 'until', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[2])
return redis.call('EXPIRE', KEYS[1], {_REMEMBERED})
"""

_RELEASE = """
-- KEYS lease; ARGV token
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


@contextmanager
def lease(redis: Redis, work: str, seconds: float) -> Iterator[Claim]:
    """Hold the claim on `work` for the length of the block, renewed at a third of `seconds`.

    Raises:
        Busy: `claimed-elsewhere`, another worker holds it.
        ItemFailed: `worker-killed`.
    """
    claim = Claim(work)
    check_acquired(
        claim, int(redis.register_script(_ACQUIRE)(keys=[claim.key], args=[claim.token, *lease_args(seconds)]))
    )
    with held(redis, claim, seconds):
        require_starts_left(claim)
        yield claim


@contextmanager
def held(redis: Redis, claim: Claim, seconds: float) -> Iterator[None]:
    """Renew a claim that was made for the length of the block, and then end it."""
    _KEEPER.keep(redis, claim, seconds)
    try:
        yield
    finally:
        _KEEPER.drop(claim)
        if not claim.ended:
            _release(redis, claim)


def lease_args(seconds: float) -> tuple[int, int, str]:
    """Return what the Lua function `acquire` takes after the token."""
    return int(seconds * 1000), MOST_STARTS, HOLDER


def mark_stopping(redis: Redis) -> None:
    """Record that this process was told to stop: what it does not bring to an end has not killed it."""
    redis.set(f"{_STOPPING}{HOLDER}", "1", ex=_REMEMBERED)


def check_acquired(claim: Claim, answer: int) -> None:
    """Make sure that the Lua function `acquire` has made a claim.

    Raises:
        Busy: `claimed-elsewhere`, another worker holds it.
    """
    if answer > 0:
        delay = min(answer / 1000, _RETRY_AFTER)
        raise Busy(
            "claimed-elsewhere", f"another worker holds the claim on {claim.work}, or it is put off", delay=delay
        )
    claim.exhausted = answer < 0


def require_starts_left(claim: Claim | None) -> None:
    """Make sure that the work of a claim has not ended its workers.

    Raises:
        ItemFailed: `worker-killed`.
    """
    if claim is not None and claim.exhausted:
        raise ItemFailed(
            "worker-killed",
            f"its worker was killed {MOST_STARTS} times while it worked on this (out of memory, a library's crash, the "
            "machine): see the workers' logs and limits, then stage it again",
        )


def _release(redis: Redis, claim: Claim) -> None:
    try:
        redis.register_script(_RELEASE)(keys=[claim.key], args=[claim.token])
    except RedisError:
        return  # it lapses by itself


class _Keeper:
    """Renews the claims of this process, in one thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._kept: dict[str, _Kept] = {}
        self._wakes = inf
        self._thread: threading.Thread | None = None

    def keep(self, redis: Redis, claim: Claim, seconds: float) -> None:
        """Begin to renew a claim at a third of `seconds`."""
        with self._changed:
            kept = self._kept[claim.token] = _Kept(monotonic() + seconds / 3, redis, claim, seconds)
            if self._thread is None or not self._thread.is_alive():  # a forked process has none
                self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
                self._wakes = kept.due
                self._thread.start()
            elif kept.due < self._wakes:
                self._changed.notify()

    def drop(self, claim: Claim) -> None:
        """End the renewing of a claim; the thread is not woken for it."""
        with self._changed:
            self._kept.pop(claim.token, None)

    def _run(self) -> None:
        while True:
            for kept in self._wait():
                self._renew(kept)

    def _wait(self) -> list["_Kept"]:
        with self._changed:
            self._wakes = min((kept.due for kept in self._kept.values()), default=inf)
            self._changed.wait(None if self._wakes == inf else max(0.0, self._wakes - monotonic()))
            return [kept for kept in self._kept.values() if kept.due <= monotonic()]

    def _renew(self, kept: "_Kept") -> None:
        claim = kept.claim
        try:
            milliseconds = int(kept.seconds * 1000)
            lost = not kept.redis.register_script(_RENEW)(keys=[claim.key], args=[claim.token, milliseconds])
        except RedisError:
            lost = False  # the server may be back before the claim lapses
        kept.due = monotonic() + kept.seconds / 3
        if lost:
            self.drop(claim)  # every write of its holder is refused from now on


@dataclass
class _Kept:
    due: float
    redis: Redis
    claim: Claim
    seconds: float


_KEEPER = _Keeper()
