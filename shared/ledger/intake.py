"""The intake: requests of other systems, from their list into the hands of a gate, and out again when dealt with.

    auxip:intake                   list: requests as they were pushed; the next one is at the right
    auxip:intake:taken             hash: stamp -> a request that a gate has taken and not dealt with
    auxip:intake:leases            sorted set: stamp -> when it was taken, on the server's clock
    auxip:intake:retaken           hash: stamp -> how often it was taken again

One script takes a request from the list, stamps it and records it as taken: there is no moment at which it is nowhere.
The stamp stays with it through every gate that takes it again, so what a gate computes from it is the same each time.
A request that nobody has dealt with within the time of a lease belongs to whoever asks next, alone: one that ends its
gate counts against itself, and not against its neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis import Redis

from shared.ledger.dead_letters import KEYS as DEAD_KEYS
from shared.ledger.dead_letters import PARK_FUNCTION, limits, trimmed
from shared.ledger.replies import ANSWER_FUNCTION, ANSWER_LIMITS, reply_key

INTAKE = "auxip:intake"

MAX_REQUEST_BYTES = 2**20
"""A larger request goes to the dead letters without being sent to a gate, whose memory it could fill."""

_TAKEN, _LEASES, _RETAKEN = _HELD = (f"{INTAKE}:taken", f"{INTAKE}:leases", f"{INTAKE}:retaken")
_RETAKEN_MAX = 5

_TAKE = f"""{PARK_FUNCTION}
-- KEYS dead, payloads, bytes, intake, taken, leases, retaken
-- ARGV max_letters, max_bytes, lease, largest request, most takings, stamp, ...
-- Returns stamp, request, ...: one that nobody holds any more, else as many new ones as there are stamps.
local function refuse(raw, code, reason)
  park(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], raw, 'request', code, reason, KEYS[4])
end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for _, stamp in ipairs(redis.call('ZRANGE', KEYS[6], '-inf', now - ARGV[3], 'BYSCORE', 'LIMIT', 0, 10)) do
  local raw = redis.call('HGET', KEYS[5], stamp)
  if raw and redis.call('HINCRBY', KEYS[7], stamp, 1) <= tonumber(ARGV[5]) then
    redis.call('ZADD', KEYS[6], now, stamp)
    return {{stamp, raw}}
  end
  if raw then refuse(raw, 'message-rejected', 'it was taken ' .. ARGV[5] .. ' times, and no gate has dealt with it') end
  redis.call('HDEL', KEYS[5], stamp)
  redis.call('ZREM', KEYS[6], stamp)
  redis.call('HDEL', KEYS[7], stamp)
end
local found = {{}}
for i = 6, #ARGV do
  local raw = redis.call('RPOP', KEYS[4])
  if not raw then break end
  if #raw > tonumber(ARGV[4]) then
    refuse(raw, 'message-too-large', #raw .. ' bytes, and ' .. ARGV[4] .. ' are the most')
  else
    redis.call('HSET', KEYS[5], ARGV[i], raw)
    redis.call('ZADD', KEYS[6], now, ARGV[i])
    table.insert(found, ARGV[i])
    table.insert(found, raw)
  end
end
return found
"""

_BURY = f"""{PARK_FUNCTION}{ANSWER_FUNCTION}
-- KEYS dead, payloads, bytes, intake, taken, leases, retaken, reply list (none, if nobody waits)
-- ARGV max_letters, max_bytes, stamp, code, reason, most answers, seconds, answer
local raw = redis.call('HGET', KEYS[5], ARGV[3])
if not raw then return 0 end
redis.call('HDEL', KEYS[5], ARGV[3])
redis.call('ZREM', KEYS[6], ARGV[3])
redis.call('HDEL', KEYS[7], ARGV[3])
park(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], raw, 'request', ARGV[4], ARGV[5], KEYS[4])
if KEYS[8] then answer(KEYS[8], ARGV[8], ARGV[6], ARGV[7]) end
return 1
"""


@dataclass(frozen=True)
class Taken:
    """One request that a gate holds.

    Attributes:
        stamp: its own as long as it is held, whoever takes it; what is given to `Intake.take`.
        raw: as it was pushed.
    """

    stamp: str
    raw: bytes


class Intake:
    """The intake of one Redis or Valkey database, as a gate sees it."""

    def __init__(self, redis: Redis, lease: float, dead_letters_max: int) -> None:
        """Work on the intake.

        Args:
            redis: a client whose connections wait for an answer longer than `take` is told to wait.
            lease: seconds after which a request that nobody has dealt with is given to another gate.
            dead_letters_max: dead letters that are kept.
        """
        self._redis = redis
        self._lease = lease
        self._limits = limits(dead_letters_max)
        self._bury = redis.register_script(_BURY)

    def take(self, stamps: Sequence[str], wait: float) -> list[Taken]:
        """Take requests: one that its gate has lost, else the next ones of the list; none, if there is none.

        Args:
            stamps: new and unique, one for each request that is wanted.
            wait: seconds to wait for a request if there is none.
        """
        keys = (*DEAD_KEYS, INTAKE, *_HELD)
        arguments = (*self._limits, self._lease, MAX_REQUEST_BYTES, _RETAKEN_MAX, *stamps)
        # As workers.transport does: the first waits for a request and changes nothing, the script behind it takes it.
        commands: list[tuple[object, ...]] = [
            ("CLIENT", "REPLY", "SKIP"),
            ("BLMOVE", INTAKE, INTAKE, "RIGHT", "RIGHT", wait),
            ("EVAL", _TAKE, len(keys), *keys, *arguments),
        ]
        answer = cast("list[bytes]", self._asked(commands if wait else commands[2:]))
        return [Taken(stamp.decode(), raw) for stamp, raw in zip(answer[::2], answer[1::2], strict=True)]

    def done(self, stamp: str) -> None:
        """Forget a request that has been dealt with."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hdel(_TAKEN, stamp)
            pipe.zrem(_LEASES, stamp)
            pipe.hdel(_RETAKEN, stamp)
            pipe.execute()

    def give_back(self, stamps: Sequence[str]) -> None:
        """Let another gate have requests at once."""
        if stamps:
            self._redis.zadd(_LEASES, dict.fromkeys(stamps, 0), xx=True)

    def bury(self, stamp: str, code: str, reason: str, answer: str, reply: str | None) -> None:
        """Move a request to the dead letters, and tell who waits, in one step.

        Args:
            stamp: of the request; one that is not held any more is left alone.
            code: of the error.
            reason: of the error.
            answer: for the reply list.
            reply: the reply list's name, if there is one.
        """
        keys = (*DEAD_KEYS, INTAKE, *_HELD, *([reply_key(reply)] if reply else []))
        self._bury(keys=keys, args=[*self._limits, stamp, code, trimmed(reason), *ANSWER_LIMITS, answer])

    def _asked(self, commands: list[tuple[object, ...]]) -> object:
        """Send commands at once, and return the answer of the only one that has any, as bytes."""
        pool = self._redis.connection_pool
        connection: Any = pool.get_connection()
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            return connection.read_response(disable_decoding=True)
        except BaseException:
            connection.disconnect()
            raise
        finally:
            pool.release(connection)
