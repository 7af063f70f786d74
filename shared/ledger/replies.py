"""Who waits for the end of a request, and the lists that answers are pushed to.

    auxip:request:ID               hash: stamp, task and digest of the first request with this id, and the request
                                   itself until a worker has begun it; `ended` once it has
    auxip:request:ID:replies       hash: stamp -> name of a reply list that waits for the end
    auxip:requests                 sorted set: id of a request that has not ended -> when to look at it
    auxip:reply:NAME               list: answers; the oldest is at the right

Two equal requests of one id are one: only the first is passed on, and both are answered. Who waits is recorded before
the request is passed on, and `ended` before it is looked who waits: either sees the other, so nobody waits for ever.
"""

from enum import StrEnum
from typing import cast

from pydantic import TypeAdapter
from redis import Redis

from shared.ledger.scripts import CLOCK
from shared.ledger.server import server_time
from shared.models import ReplyName

ANSWER_SECONDS = 86_400
"""How long an answer waits on its list, and how long after its end a request is still known."""

ANSWER_LIMITS = (1000, ANSWER_SECONDS)
"""What the Lua function `answer` takes: the most answers on a list, of which the oldest give way; and seconds."""

ANSWER_FUNCTION = """
local function answer(list, text, most, seconds)
  local pushed = redis.pcall('LPUSH', list, text)
  if type(pushed) == 'table' then return end -- an error: the key is no list
  redis.call('LTRIM', list, 0, most - 1)
  redis.call('EXPIRE', list, seconds)
end
"""
"""Lua that scripts of others begin with, so that what ends a request answers it in the same step."""

_REPLY_NAME = TypeAdapter[str](ReplyName)

_OPEN = "auxip:requests"
_MOST_DOUBLINGS = 6

_REGISTER = f"""{CLOCK}
-- KEYS request, replies, open; ARGV stamp, task, reply list or nothing, seconds, digest, request, id, patience
-- Returns what is to do, see `Next`.
local known = redis.call('HGET', KEYS[1], 'digest')
if known and known ~= ARGV[5] then return 'refuse' end
if redis.call('HSETNX', KEYS[1], 'stamp', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'task', ARGV[2], 'digest', ARGV[5], 'request', ARGV[6])
  redis.call('ZADD', KEYS[3], seconds() + ARGV[8], ARGV[7])
end
local ended = redis.call('HEXISTS', KEYS[1], 'ended') == 1
local first = redis.call('HGET', KEYS[1], 'stamp') == ARGV[1]
if first and ended then return 'nothing' end
if not ended then redis.call('EXPIRE', KEYS[1], ARGV[4]) end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
  redis.call('EXPIRE', KEYS[2], ARGV[4])
end
if first then return 'publish' end
return ended and 'answer' or 'nothing'
"""

_AGAIN = f"""{CLOCK}
-- KEYS request, open; ARGV id, patience, most doublings
-- Returns the request for the one caller that is to pass it on again; nil where a worker has begun it.
local again = redis.call('HINCRBY', KEYS[1], 'again', 1)
redis.call('ZADD', KEYS[2], 'XX', seconds() + ARGV[2] * 2 ^ math.min(again, tonumber(ARGV[3])), ARGV[1])
return redis.call('HGET', KEYS[1], 'request')
"""

_POSTPONE = f"""{CLOCK}
-- KEYS open; ARGV id, seconds
return redis.call('ZADD', KEYS[1], 'XX', seconds() + ARGV[2], ARGV[1])
"""

_END = """
-- KEYS request, open; ARGV seconds, id
redis.call('ZREM', KEYS[2], ARGV[2])
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HDEL', KEYS[1], 'request')
redis.call('HSET', KEYS[1], 'ended', redis.call('TIME')[1])
return redis.call('EXPIRE', KEYS[1], ARGV[1])
"""

_SEND = f"""{ANSWER_FUNCTION}
-- KEYS replies, reply list; ARGV stamp, answer, most answers, seconds
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
answer(KEYS[2], ARGV[2], ARGV[3], ARGV[4])
return 1
"""


class Next(StrEnum):
    """What a gate does with a request that is registered."""

    PUBLISH = "publish"
    ANSWER = "answer"
    """An earlier request of its id has ended already."""
    NOTHING = "nothing"
    REFUSE = "refuse"
    """Another request has its id."""


class Requests:
    """What is known of requests by their ids, in one database, whose client must decode its answers to text."""

    def __init__(self, redis: Redis, keep_seconds: int, patience: float) -> None:
        """Work on the requests.

        Args:
            redis: the client.
            keep_seconds: after which a request that never ends is forgotten.
            patience: seconds after which a request that no worker has begun is looked at; doubles each time.
        """
        self._redis = redis
        self._keep = keep_seconds
        self._patience = patience
        self._register = redis.register_script(_REGISTER)
        self._again = redis.register_script(_AGAIN)
        self._postpone = redis.register_script(_POSTPONE)
        self._end = redis.register_script(_END)
        self._send = redis.register_script(_SEND)

    def register(self, request_id: str, stamp: str, task: str, reply: str | None, digest: str, request: str) -> Next:
        """Record a request, and who waits for its end; the same one again changes nothing.

        Args:
            request_id: of the request.
            stamp: unique to this copy of the request.
            task: name of the task that it asks for.
            reply: name of the reply list that waits for the end.
            digest: equal for equal requests.
            request: kept until a worker has begun it, so that it can be passed on again.
        """
        keys = [_request(request_id), _replies(request_id), _OPEN]
        args: list[str | float] = [stamp, task, reply or "", self._keep, digest, request, request_id, self._patience]
        return Next(str(self._register(keys=keys, args=args)))

    def forget(self, request_id: str) -> None:
        """Forget a request that could not be passed on."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(_request(request_id), _replies(request_id))
            pipe.zrem(_OPEN, request_id)
            pipe.execute()

    def digest(self, request_id: str) -> str | None:
        """Return the digest of a request, or None where no request has the id."""
        return cast("str | None", self._redis.hget(_request(request_id), "digest"))

    def record_begun(self, request_id: str) -> None:
        """Record that a run does what a request asks for: from now on the ledger sees to it that it ends."""
        self._redis.hdel(_request(request_id), "request")

    def due(self, most: int) -> list[str]:
        """Return the ids of requests that have not ended and are to be looked at."""
        return cast("list[str]", self._redis.zrangebyscore(_OPEN, 0, server_time(self._redis), start=0, num=most))

    def publish_again(self, request_id: str) -> str | None:
        """Record that a request is passed on again, and return it; None where a worker has begun it."""
        keys = [_request(request_id), _OPEN]
        text = self._again(keys=keys, args=[request_id, self._patience, _MOST_DOUBLINGS])
        return cast("str | None", text)

    def postpone(self, request_id: str) -> None:
        """Have a request looked at again after the patience."""
        self._postpone(keys=[_OPEN], args=[request_id, self._patience])

    def known(self, request_id: str) -> bool:
        """Whether there is such a request."""
        return bool(self._redis.exists(_request(request_id)))

    def end(self, request_id: str, answer: str) -> None:
        """Record that a request has ended, and answer all who wait for that, each once."""
        self._end(keys=[_request(request_id), _OPEN], args=[ANSWER_SECONDS, request_id])
        waiting = cast("dict[str, str]", self._redis.hgetall(_replies(request_id)))
        for stamp, name in waiting.items():
            keys = [_replies(request_id), reply_key(name)]
            self._send(keys=keys, args=[stamp, answer, *ANSWER_LIMITS])


def reply_key(name: str) -> str:
    """Return the key of a reply list.

    Raises:
        ValueError: `name` is none.
    """
    return f"auxip:reply:{_REPLY_NAME.validate_python(name)}"


def _request(request_id: str) -> str:
    return f"auxip:request:{request_id}"


def _replies(request_id: str) -> str:
    return f"{_request(request_id)}:replies"
