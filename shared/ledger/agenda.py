"""What is looked at again, and when: the reconciler's to-do list. Its times are those of the server's clock.

auxip:open                     sorted set: run id -> when; until the run is closed and its caller has the result
auxip:run:RUN:pending          sorted set: key of an item whose turn it is -> when; until the item is settled

An entry is moved whenever a step is published or put off; one that is due tells of a step that nobody has begun in
time. Each time in a row that it is published again, twice as long is waited: it may stand on a long queue.
"""

from typing import cast

from redis import Redis

from shared.ledger.server import server_time
from shared.models import Claim

OPEN = "auxip:open"
_MOST_DOUBLINGS = 6

_POSTPONE = """
-- KEYS agenda; ARGV what, seconds from now. Moves what is on the agenda; what is not stays off it.
local t = redis.call('TIME')
return redis.call('ZADD', KEYS[1], 'XX', 'CH', t[1] + t[2] / 1000000 + ARGV[2], ARGV[1])
"""

_AGAIN = """
-- KEYS agenda, record; ARGV what, seconds waited at first, most doublings
-- Returns 1 for the one caller that is to publish it: it was due until now.
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due or tonumber(due) > now then return 0 end
local again = redis.call('HINCRBY', KEYS[2], 'again', 1)
redis.call('ZADD', KEYS[1], now + ARGV[2] * 2 ^ math.min(again, tonumber(ARGV[3])), ARGV[1])
return 1
"""


class Agenda:
    """The agenda in one Redis or Valkey database.

    Args:
        redis: the client.
        patience: seconds that are waited at first for a step to be begun.
    """

    def __init__(self, redis: Redis, patience: float) -> None:
        self._redis = redis
        self._patience = patience
        self._postpone = redis.register_script(_POSTPONE)
        self._again = redis.register_script(_AGAIN)

    def due_runs(self, most: int) -> list[str]:
        """Return open runs that are to be looked at, those first that have waited longest."""
        return self._due(OPEN, most)

    def due_items(self, run_id: str, most: int) -> list[str]:
        """Return the keys of a run's items that are to be looked at, those first that have waited longest."""
        return self._due(pending_of(run_id), most)

    def postpone_run(self, run_id: str, seconds: float) -> None:
        """Have an open run looked at again after so many seconds."""
        self._postpone(keys=[OPEN], args=[run_id, seconds])

    def postpone_item(self, run_id: str, key: str, seconds: float) -> None:
        """Have an item looked at again after so many seconds, and those that a step may be waited for."""
        self._postpone(keys=[pending_of(run_id)], args=[key, seconds + self._patience])

    def publish_run_again(self, run_id: str) -> bool:
        """Record that a step of a run is published again; returns False where it is not due, or not any more."""
        return self._publish_again(OPEN, f"auxip:run:{run_id}", run_id)

    def publish_item_again(self, run_id: str, key: str) -> bool:
        """Record that a step of an item is published again; its next claim begins the count anew.

        Returns:
            False where it is not due, or not any more.
        """
        return self._publish_again(pending_of(run_id), f"auxip:run:{run_id}:item:{key}", key)

    def is_open(self, run_id: str) -> bool:
        """Whether a run goes on, or is closed and its caller does not have the result yet."""
        return self._redis.zscore(OPEN, run_id) is not None

    def reopen_run(self, run_id: str) -> None:
        """Record that a caller wants the result of a closed run again."""
        self._redis.zadd(OPEN, {run_id: server_time(self._redis) + self._patience})

    def forget_run(self, run_id: str) -> None:
        """Record that the caller of a closed run has its result."""
        self._redis.zrem(OPEN, run_id)

    def claim_left(self, work: str) -> float:
        """Return the seconds that the claim on a piece of work is still good for; 0 where there is none."""
        until = self._redis.hget(Claim(work).key, "until")
        return 0.0 if until is None else max(0.0, int(str(until)) / 1000 - server_time(self._redis))

    def _publish_again(self, agenda: str, record: str, what: str) -> bool:
        return bool(self._again(keys=[agenda, record], args=[what, self._patience, _MOST_DOUBLINGS]))

    def _due(self, name: str, most: int) -> list[str]:
        return cast("list[str]", self._redis.zrangebyscore(name, 0, server_time(self._redis), start=0, num=most))


def pending_of(run_id: str) -> str:
    """Return the key of the agenda of a run's items."""
    return f"auxip:run:{run_id}:pending"
