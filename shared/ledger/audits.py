"""What audits need of the ledger: which items are in work, how far an audit has come, and what the last one found.

Keys:

auxip:audit:NAME               hash: of a recurring audit: tick, the newest that was begun; state, of the one that goes
                               on; last, the summary of the newest that has ended. Expires when it is no more.
auxip:audit:NAME:findings      list: the first findings of the one that goes on, as JSON
"""

from collections.abc import Sequence
from typing import cast

from redis import Redis

from shared.ledger.agenda import OPEN
from shared.ledger.ledger import run_key
from shared.ledger.server import server_time
from shared.models import Claim, Job


class Audits:
    """The audits' part of the ledger.

    Args:
        redis: the client.
        keep_seconds: that an audit is remembered which nobody goes on with.
    """

    def __init__(self, redis: Redis, keep_seconds: int) -> None:
        self._redis = redis
        self._keep_seconds = keep_seconds

    def tick(self, name: str) -> float:
        """Return the newest tick of a recurring audit that was begun, in seconds since the epoch; 0 for none."""
        return float(str(self._redis.hget(_audit(name), "tick") or 0))

    def state(self, name: str) -> str:
        """Return the state of the audit that goes on, opaque here; empty where none does."""
        return str(self._redis.hget(_audit(name), "state") or "")

    def last(self, name: str) -> str:
        """Return the summary of the newest audit that has ended, as JSON; empty where none has."""
        return str(self._redis.hget(_audit(name), "last") or "")

    def findings(self, name: str) -> list[str]:
        """Return the findings of the audit that goes on, as JSON."""
        return cast("list[str]", self._redis.lrange(_findings(name), 0, -1))

    def save(self, name: str, tick: float, state: str, findings: Sequence[str]) -> None:
        """Record how far an audit has come, and what it has found since the last call."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(_audit(name), mapping={"tick": repr(tick), "state": state})
            pipe.expire(_audit(name), self._keep_seconds)
            if findings:
                pipe.rpush(_findings(name), *findings)
                pipe.expire(_findings(name), self._keep_seconds)
            pipe.execute()

    def end(self, name: str, summary: str) -> None:
        """Record that an audit has ended; its findings are in its report."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(_audit(name), "last", summary)
            pipe.hdel(_audit(name), "state")
            pipe.delete(_findings(name))
            pipe.execute()

    def in_work(self, keys: Sequence[str]) -> set[str]:
        """Return those work keys of items that a worker has claimed, an open run has not ended, or a job stages."""
        if not keys:
            return set()
        runs = cast("list[str]", self._redis.zrange(OPEN, 0, -1))
        now = server_time(self._redis) * 1000
        with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hget(Claim(key).key, "until")
                pipe.get(f"auxip:job:{key}")
                for run_id in runs:
                    pipe.hmget(f"{run_key(run_id)}:item:{key}", "item_id", "finished")
            answers = iter(pipe.execute())
        busy: set[str] = set()
        for key in keys:
            until, job = next(answers), next(answers)
            open_items = [next(answers) for _ in runs]
            claimed = until is not None and float(until) > now
            staged_by_service = job is not None and Job.model_validate_json(job).ended is None
            if claimed or staged_by_service or any(known and not finished for known, finished in open_items):
                busy.add(key)
        return busy


def _audit(name: str) -> str:
    return f"auxip:audit:{name}"


def _findings(name: str) -> str:
    return f"{_audit(name)}:findings"
