"""Who waits for the end of a request, and the lists that answers are pushed to.

    auxip:request:ID               hash: stamp and task of the first request with this id; `ended` once it has
    auxip:request:ID:replies       hash: stamp -> name of a reply list that waits for the end
    auxip:reply:NAME               list: answers; the oldest is at the right

Two requests of one id are one: only the first is passed on, and both are answered. Who waits is recorded before the
request is passed on, and `ended` before it is looked who waits: either sees the other, so nobody waits for ever.
"""

from enum import StrEnum
from typing import Annotated, cast

from pydantic import StringConstraints, TypeAdapter
from redis import Redis

ReplyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
"""A reply list, whose key is `auxip:reply:` and this: a request can have no other key written."""

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

_REGISTER = """
-- KEYS request, replies; ARGV stamp, task, reply list or nothing, seconds. Returns what is to do, see `Next`.
redis.call('HSETNX', KEYS[1], 'stamp', ARGV[1])
redis.call('HSETNX', KEYS[1], 'task', ARGV[2])
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

_END = """
-- KEYS request; ARGV seconds
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
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


class Requests:
    """What is known of requests by their ids, in one database, whose client must decode its answers to text."""

    def __init__(self, redis: Redis, keep_seconds: int) -> None:
        """Work on the requests; one that never ends is forgotten after `keep_seconds`."""
        self._redis = redis
        self._keep = keep_seconds
        self._register = redis.register_script(_REGISTER)
        self._end = redis.register_script(_END)
        self._send = redis.register_script(_SEND)

    def register(self, request_id: str, stamp: str, task: str, reply: str | None) -> Next:
        """Record a request, and who waits for its end; the same one again changes nothing."""
        keys = [_request(request_id), _replies(request_id)]
        return Next(str(self._register(keys=keys, args=[stamp, task, reply or "", self._keep])))

    def forget(self, request_id: str) -> None:
        """Forget a request that could not be passed on."""
        self._redis.delete(_request(request_id), _replies(request_id))

    def known(self, request_id: str) -> bool:
        """Whether there is such a request."""
        return bool(self._redis.exists(_request(request_id)))

    def end(self, request_id: str, answer: str) -> None:
        """Record that a request has ended, and answer all who wait for that, each once."""
        self._end(keys=[_request(request_id)], args=[ANSWER_SECONDS])
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
