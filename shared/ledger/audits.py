"""What audits need of the ledger: which items are in work, how far an audit has come, and what the last one found.

Keys:

auxip:audit:NAME               hash: of one audit: id, begun, position, counts; last: the summary of the one before
auxip:audit:NAME:findings      list: the first findings of the audit that goes on, as JSON
"""

from collections.abc import Sequence
from typing import cast

from redis import Redis

from shared.ledger.agenda import OPEN
from shared.ledger.ledger import run_key
from shared.ledger.server import server_time
from shared.models import Claim, Job


class Audits:
    """The audits' part of the ledger."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

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
