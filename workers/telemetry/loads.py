"""How much each queue has to do: what waits on its lists, and what its workers have taken and not ended yet."""

from dataclasses import dataclass
from typing import Final, cast

from redis import Redis

from shared.models import Lane
from workers.queues import QUEUES, queue_name

_LOADS: Final = """
-- KEYS unacked, list, ...
-- Returns for each list how many messages it has, how many of its messages workers hold, and the first that is to go.
-- What workers hold is `[MESSAGE,"EXCHANGE","LIST"]`, as kombu records it.
local held = {}
for _, text in ipairs(redis.call('HVALS', KEYS[1])) do
  local list = string.match(text, '"([^"]*)"%]$') or ''
  held[list] = (held[list] or 0) + 1
end
local loads = {}
for i = 2, #KEYS do
  local first = redis.call('LINDEX', KEYS[i], -1)
  loads[#loads + 1] = {redis.call('LLEN', KEYS[i]), held[KEYS[i]] or 0, first and redis.sha1hex(first) or ''}
end
return loads
"""


@dataclass(frozen=True)
class Load:
    """What one list of a queue has.

    Attributes:
        queue: of the table of queues.
        lane: of the list.
        waiting: messages that no worker has taken.
        in_work: messages that workers hold: those that run, and those that wait for their time to be tried again.
        first: digest of the message that is to be taken next; empty where there is none.
    """

    queue: str
    lane: Lane
    waiting: int
    in_work: int
    first: str


def loads_of(redis: Redis) -> list[Load]:
    """Return the loads of all lists of the table of queues, as of one moment.

    Args:
        redis: a client of the broker that decodes its answers to text.
    """
    lists = [(queue.name, lane) for queue in QUEUES for lane in Lane]
    names = [queue_name(*one) for one in lists]
    answer = redis.eval(_LOADS, 1 + len(names), "unacked", *names)
    found = cast("list[tuple[int, int, str]]", answer)
    return [Load(queue, lane, *load) for (queue, lane), load in zip(lists, found, strict=True)]
