"""Runs that tests open in the ledger themselves, and workers that die in the middle of them."""

import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from redis import Redis

from shared.ledger import Ledger
from shared.ledger.agenda import OPEN, pending_of
from shared.models import Claim, Counts, ItemRecord, ItemState, Outcome, Run, RunRequest
from shared.selection import Given
from shared.stac.item import Found, Item

REQUEST = RunRequest(owner="owner", collection="aux", selection=Given(item_id="X"))
DONE = Outcome(state=ItemState.CATALOGUED)
THREADS = 16
Answer = TypeVar("Answer")


def at_once(call: Callable[[], Answer]) -> list[Answer]:
    """Call something from many threads, all at the same moment."""
    barrier = threading.Barrier(THREADS)

    def one(_: int) -> Answer:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, range(THREADS)))


def found(item_id: str = "X", size: int = 3, assets: Sequence[str] = ("a",)) -> Found:
    described = {name: {"href": "http://h/x", "file:size": size} for name in assets}
    return Found(item_id=item_id, item=Item.model_validate({"id": item_id, "properties": {}, "assets": described}))


class Opened:
    """A run of its own in the ledger."""

    def __init__(self, ledger: Ledger, *items: Found, request: RunRequest = REQUEST) -> None:
        self.ledger = ledger
        self.id = f"run-{uuid.uuid4()}"
        ledger.open_run(self.id, request)
        ledger.add_items(self.id, items)
        self.keys = ledger.keys(self.id)

    @property
    def key(self) -> str:
        """Of its first item."""
        return self.keys[0]

    @property
    def run(self) -> Run:
        return self.ledger.run(self.id)

    @property
    def counts(self) -> Counts:
        return self.run.counts

    def item(self, number: int = 0) -> ItemRecord:
        return self.ledger.item(self.id, self.keys[number])

    def begin(self) -> list[str]:
        """End the search; returns the keys of the items whose turn it is."""
        self.ledger.begin_work(self.id)
        return self.ledger.feed(self.id)

    def die_at(self, number: int = 0, part: str = "", seconds: float = 60) -> ItemRecord:
        """Claim an item as a worker does that is killed then: nothing ends the claim, nothing renews it."""
        with self.ledger.claim(self.id, self.keys[number], seconds, part) as (_, record):
            claim_of(record).ended = True
        return record

    def fall_due(self) -> None:
        """Let everything about the run be looked at now."""
        redis = self.ledger.redis
        redis.zadd(OPEN, {self.id: 1}, xx=True)
        if self.keys:
            redis.zadd(pending_of(self.id), dict.fromkeys(self.keys, 1), xx=True)


def claim_of(record: ItemRecord) -> Claim:
    assert record.claim is not None
    return record.claim


def lapse(redis: Redis, claim: Claim) -> None:
    """Let the time of a claim be over."""
    redis.hset(claim.key, "until", 1)
