"""Which tick of a sweep was decided, and how: so that any number of beats and workers begin its run once.

Keys:

auxip:sweep:NAME               hash: tick, run, sent, skipped, reason, manual; expires when the sweep is no more
"""

from collections.abc import Callable
from typing import cast

from redis.client import Pipeline
from redis.exceptions import WatchError

from shared.ledger.ledger import Ledger
from shared.models import SweepRecord, Tick


class Sweeps:
    """The sweeps' part of the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._redis = ledger.redis

    def record(self, name: str) -> SweepRecord:
        """Return what is known of a sweep; an empty record where nothing is."""
        return SweepRecord.model_validate(cast("dict[str, str]", self._redis.hgetall(_sweep(name))))

    def begin(self, tick: Tick) -> bool:
        """Open the run of a tick and record it, in one step: no crash comes between.

        Returns whether the tick was not decided yet; nothing is changed where it or a later one was.
        """
        return self._decide(
            tick, {"run": tick.run_id}, lambda pipe: self._ledger.write_run(pipe, tick.run_id, tick.request)
        )

    def skip(self, tick: Tick, reason: str) -> bool:
        """Record that a tick has no run, and why. Returns whether the tick was not decided yet."""
        return self._decide(tick, {"skipped": repr(tick.at), "reason": reason}, lambda _: None)

    def mark_sent(self, name: str, run_id: str) -> None:
        """Record that the first step of a run was put on its queue: whoever comes now need not do it again."""
        self._redis.hset(_sweep(name), "sent", run_id)

    def record_manual(self, name: str, next_tick: float, run_id: str) -> None:
        """Record a run that a person has begun between the ticks."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(_sweep(name), "manual", run_id)
            self._forget(pipe, name, next_tick)
            pipe.execute()

    def _decide(self, tick: Tick, fields: dict[str, str], also: Callable[[Pipeline], None]) -> bool:
        name = _sweep(tick.sweep)
        with self._redis.pipeline(transaction=True) as pipe:
            while True:
                pipe.watch(name)  # type: ignore[no-untyped-call]  # redis-py has no types for it
                decided = pipe.hget(name, "tick")
                if decided is not None and float(str(decided)) >= tick.at:
                    return False
                pipe.multi()
                for field, value in {"tick": repr(tick.at), **fields}.items():
                    pipe.hset(name, field, value)
                self._forget(pipe, tick.sweep, tick.next)
                also(pipe)
                try:
                    pipe.execute()
                except WatchError:
                    continue  # another writer has decided meanwhile: read what
                return True

    def _forget(self, pipe: Pipeline, name: str, next_tick: float) -> None:
        # Beyond the next tick, however far: a record that is gone would have its last tick run again.
        pipe.expireat(_sweep(name), int(next_tick) + self._ledger.keep_seconds)


def _sweep(name: str) -> str:
    return f"auxip:sweep:{name}"
