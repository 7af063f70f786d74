"""How often and how much at once a station is asked, counted for all workers on all machines, in Redis.

Requests: a shared clock says when the next may go. Whoever asks takes the next instant and sleeps until then, once:
first come, first served, evenly spaced, so that no minute holds more than allowed. A 429 pushes the clock on for all.

Connections: a holder has a lease, which lapses if its worker dies. Whoever finds all of them held waits in a queue,
blocked on a list of its own (BLPOP), until a holder that leaves hands its place on, or the first lease lapses.

No library was found that does either: those for rates poll or have no order among those who wait, those for
semaphores poll, and none lets a server's Retry-After slow all of them.
"""

import contextlib
import math
import random
import time
import uuid
from typing import Final

from redis import Redis
from redis.commands.core import Script
from redis.exceptions import RedisError

from shared.errors import Busy

LONGEST_WAIT: Final = 20.0
"""Seconds that a worker waits for its turn; then the message goes back, and the worker is free for other work."""

_LEASE: Final = 90.0
"""Seconds for which the connection of a dead worker stays taken; more than a slow write between two reads may take."""

_KEEP_MS: Final = 3_600_000

_RESERVE = """
-- KEYS clock; ARGV interval, longest wait (microseconds). Returns how long to wait, or minus that where it is too long.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local at = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
if at - now > tonumber(ARGV[2]) then return now - at end
local after = at + ARGV[1]
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000) + 1)
return at - now
"""

_HOLD_OFF = """
-- KEYS clock, pause; ARGV microseconds in which nobody may go.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local after = math.max(now + ARGV[1], tonumber(redis.call('GET', KEYS[1]) or '0'))
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000) + 1)
redis.call('SET', KEYS[2], '1', 'PX', math.ceil((after - now) / 1000))
return 1
"""

_HAND_ON = f"""
-- KEYS held, queue, waiting; ARGV token, limit, prefix of the lists that are waited on, lease. Times are in ms.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function hold(token)
    redis.call('ZADD', KEYS[1], now + ARGV[4], token)
    redis.call('PEXPIRE', KEYS[1], {_KEEP_MS})
end
local function hand_on()
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
    while redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[2]) do
        local next = redis.call('LPOP', KEYS[2])
        if not next then return end
        local patience = redis.call('ZSCORE', KEYS[3], next)
        redis.call('ZREM', KEYS[3], next)
        if patience and tonumber(patience) > now then
            hold(next)
            redis.call('RPUSH', ARGV[3] .. next, '1')
            redis.call('PEXPIRE', ARGV[3] .. next, ARGV[4])
        end
    end
end
"""

_ACQUIRE = (
    _HAND_ON
    + f"""
-- ARGV[5] ms that the caller waits at most. Returns -1 if it holds a connection, else the ms until a lease may lapse.
hand_on()
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then
    redis.call('DEL', ARGV[3] .. ARGV[1])
    return -1
end
if not redis.call('ZSCORE', KEYS[3], ARGV[1]) then
    if redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[2]) then
        hold(ARGV[1])
        return -1
    end
    redis.call('RPUSH', KEYS[2], ARGV[1])
    redis.call('ZADD', KEYS[3], now + ARGV[5], ARGV[1])
    redis.call('PEXPIRE', KEYS[2], {_KEEP_MS})
    redis.call('PEXPIRE', KEYS[3], {_KEEP_MS})
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return math.max(0, tonumber(first[2]) - now)
"""
)

_RELEASE = (
    _HAND_ON
    + """
redis.call('ZREM', KEYS[1], ARGV[1])
if redis.call('ZREM', KEYS[3], ARGV[1]) == 1 then redis.call('LREM', KEYS[2], 1, ARGV[1]) end
redis.call('DEL', ARGV[3] .. ARGV[1])
hand_on()
return 1
"""
)

_RENEW = _HAND_ON + "hold(ARGV[1]) return 1"


class Limits:
    """The limits of one station. Whatever is None is not limited, and costs nothing.

    Args:
        redis: shared by all workers; its answers are text.
        station: its name.
        requests_per_minute: that may begin.
        connections: that may be open at once.
        longest_hold_off: seconds that a station's Retry-After may stop everybody.
        lease: seconds after which a connection is free that its holder has said nothing of.
    """

    def __init__(
        self,
        redis: Redis,
        station: str,
        requests_per_minute: int | None,
        connections: int | None,
        longest_hold_off: float,
        lease: float = _LEASE,
    ) -> None:
        self._redis = redis
        self._station = station
        self._interval = math.ceil(60_000_000 / requests_per_minute) if requests_per_minute else 0
        self._connections = connections or 0
        self._longest_hold_off = longest_hold_off
        self.lease = lease
        prefix = f"auxip:station:{station}"
        self._clock, self._pause = f"{prefix}:clock", f"{prefix}:pause"
        self._lists = f"{prefix}:wake:"
        self._keys = [f"{prefix}:{part}" for part in ("held", "queue", "waiting")]
        self._reserve, self._push, self._acquire, self._release, self._renew = (
            redis.register_script(script) for script in (_RESERVE, _HOLD_OFF, _ACQUIRE, _RELEASE, _RENEW)
        )

    def turn(self, longest: float = LONGEST_WAIT) -> "Turn":
        """Wait until a request may begin; whoever is given the turn ends it.

        Args:
            longest: seconds to wait, `LONGEST_WAIT` at most.

        Raises:
            Busy: `station-busy`, it would take longer; with the seconds after which to ask again.
        """
        deadline = time.monotonic() + min(longest, LONGEST_WAIT)
        turn = Turn(self, uuid.uuid4().hex)
        try:
            if self._connections:
                self._wait_for_connection(turn.token, deadline)
            self._wait_for_clock(deadline)
        except BaseException:
            turn.end()
            raise
        return turn

    def hold_off(self, seconds: float) -> None:
        """Let nobody begin a request for some seconds: the station has asked for it."""
        self._push(keys=[self._clock, self._pause], args=[int(min(seconds, self._longest_hold_off) * 1_000_000)])

    def renew(self, token: str) -> None:
        """Lengthen the lease of a connection."""
        self._hand(self._renew, token)

    def release(self, token: str) -> None:
        """Hand a connection on, or leave the queue."""
        if self._connections:
            self._hand(self._release, token)

    def _hand(self, script: Script, token: str) -> None:
        with contextlib.suppress(RedisError):  # the lease lapses by itself
            script(keys=self._keys, args=self._arguments(token))

    def _arguments(self, token: str) -> list[str | int]:
        return [token, self._connections, self._lists, int(self.lease * 1000)]

    def _wait_for_connection(self, token: str, deadline: float) -> None:
        patience = int((deadline - time.monotonic() + 1) * 1000)
        while True:
            lapse = int(self._acquire(keys=self._keys, args=[*self._arguments(token), patience]))
            if lapse < 0:
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise Busy(
                    "station-busy",
                    f"all {self._connections} connections of station {self._station!r} are in use",
                    random.uniform(LONGEST_WAIT / 2, LONGEST_WAIT),  # noqa: S311 - spreads load, guards nothing
                )
            self._redis.blpop([self._lists + token], max(0.01, min(left, lapse / 1000)))

    def _wait_for_clock(self, deadline: float) -> None:
        while True:
            longest = int(max(0.0, deadline - time.monotonic()) * 1_000_000)
            wait = int(self._reserve(keys=[self._clock], args=[self._interval, longest])) / 1_000_000
            if wait < 0:
                at = f"the next request to station {self._station!r} may go in {-wait:.0f} s"
                raise Busy("station-busy", at, -wait)
            if wait == 0:
                return
            time.sleep(wait)
            if not self._redis.exists(self._pause):  # else the station has asked for a pause in the meantime
                return


class Turn:
    """Leave to make one request, and to hold its connection until the turn is ended."""

    def __init__(self, limits: Limits, token: str) -> None:
        self.token = token
        self._limits = limits
        self._renewed = time.monotonic()

    def keep(self) -> None:
        """Say that the connection is still in use; to be called as its bytes come."""
        now = time.monotonic()
        if now - self._renewed > self._limits.lease / 3:
            self._renewed = now
            self._limits.renew(self.token)

    def end(self) -> None:
        """Hand the connection on."""
        self._limits.release(self.token)
