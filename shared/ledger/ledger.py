"""Reads and writes the record of runs and items.

Keys:

auxip:runs                     sorted set: run id -> created
auxip:run:RUN                  hash: request, state, counters, code, reason, artifact, continuation
auxip:run:RUN:order            list: keys of its items in the order they were found
auxip:run:RUN:item:KEY         hash: the item's record, and the STAC item while there is work to do on it
auxip:run:RUN:in_flight        hash: key -> bytes of the item that have come, while it is being staged
auxip:run:RUN:closed_pages     set: pages of the fan-out that are done
auxip:lease:WORK               string: the claim on a piece of work (see lease.py)
auxip:job:KEY                  string: the staging service's job on an item, whatever runs want that
auxip:staged:KEY               hash: asset key -> what any run has lately put into S3 of the item
auxip:sweep:NAME               hash: the record of a sweep (see sweeps.py)
"""

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from typing import cast

from redis import Redis
from redis.client import Pipeline

from shared.archives import Expansion
from shared.errors import Rejected
from shared.ledger import scripts
from shared.models import (
    Counts,
    ItemRecord,
    ItemState,
    Job,
    Outcome,
    Run,
    RunRequest,
    RunState,
    StagedAsset,
    work_key,
)
from shared.stac.item import Found, Item
from shared.stac.search import RECORDED

_RUNS = "auxip:runs"
_BATCH = 500
_STAGED = "staged_asset:"
_EXPANSION = "expansion:"
_LATELY = 86_400  # longer than a queue is full; afterwards the catalog tells, or an MD5


class Ledger:
    """The ledger in one Redis or Valkey database, whose client must decode its answers to text."""

    def __init__(self, redis: Redis, keep_days: int) -> None:
        self.redis = redis
        self.keep_seconds = keep_days * 86_400
        self._add_item = redis.register_script(scripts.ADD_ITEM)
        self._merge = redis.register_script(scripts.MERGE_ITEM)
        self._record = redis.register_script(scripts.RECORD)
        self._settle = redis.register_script(scripts.SETTLE)
        self._progress = redis.register_script(scripts.PROGRESS)
        self._close_page = redis.register_script(scripts.CLOSE_PAGE)
        self._close_run = redis.register_script(scripts.CLOSE_RUN)

    # Runs

    def open_run(self, run_id: str, request: RunRequest, continuation: str = "") -> bool:
        """Record a new run. Returns False, and changes nothing, where the run is there already.

        Args:
            run_id: the id of the task that the caller waits on.
            request: what is to be done.
            continuation: what the task queue must do with the result; opaque here.
        """
        with self.redis.pipeline(transaction=True) as pipe:
            self.write_run(pipe, run_id, request, continuation)
            return bool(pipe.execute()[0])

    def write_run(self, pipe: Pipeline, run_id: str, request: RunRequest, continuation: str = "") -> None:
        """Add to a transaction what `open_run` does."""
        now = time.time()
        fields = {
            "request": request.model_dump_json(),
            "state": RunState.ACCEPTED.value,
            "created": repr(now),
            "continuation": continuation,
        }
        for name, value in fields.items():
            pipe.hsetnx(_run(run_id), name, value)
        pipe.zadd(_RUNS, {run_id: now}, nx=True)

    def run(self, run_id: str) -> Run:
        """Return the record of a run.

        Raises:
            Rejected: `unknown-run`.
        """
        fields = self._hash(_run(run_id))
        if "request" not in fields:
            raise Rejected("unknown-run", f"the ledger has no run {run_id!r}; `auxip runs` lists them")
        counts = Counts.model_validate({name: fields[name] for name in Counts.model_fields if name in fields})
        request = RunRequest.model_validate_json(fields["request"], context=RECORDED)
        return Run.model_validate({**fields, "id": run_id, "request": request, "counts": counts})

    def find_run(self, prefix: str) -> Run:
        """Return the run whose id is `prefix` or, where just one does, begins with it.

        Raises:
            Rejected: `unknown-run`, none or several do.
        """
        ids = [run_id for run_id in self._run_ids() if run_id.startswith(prefix)]
        if prefix in ids or len(ids) != 1:
            return self.run(prefix)
        return self.run(ids[0])

    def runs(self, newest: int) -> list[Run]:
        """Return the newest runs, newest first."""
        return [self.run(run_id) for run_id in self._run_ids()[:newest]]

    def continuation(self, run_id: str) -> str:
        """Return what was given to `open_run` as the run's continuation."""
        return str(self.redis.hget(_run(run_id), "continuation") or "")

    def begin_search(self, run_id: str) -> float:
        """Return when the search of a run was begun first, in seconds since the epoch: now, unless it was before."""
        self.redis.hsetnx(_run(run_id), "searching", repr(time.time()))
        return float(str(self.redis.hget(_run(run_id), "searching")))

    def begin_work(self, run_id: str, pages: int) -> None:
        """Record that the search is over and how many pages of items it has filled."""
        self.redis.hset(_run(run_id), mapping={"state": RunState.WORKING.value, "pages": pages})

    def close_page(self, run_id: str, page: int) -> bool:
        """Record that a page is done; returns whether now all pages are."""
        return bool(self._close_page(keys=[f"{_run(run_id)}:closed_pages", _run(run_id)], args=[page]))

    def close_run(self, run_id: str, state: RunState, artifact: str = "", code: str = "", reason: str = "") -> bool:
        """Record how a run ended, and let it expire. Returns whether this call was the first to close it."""
        first = bool(
            self._close_run(keys=[_run(run_id)], args=[repr(time.time()), state.value, code, reason, artifact])
        )
        self._expire(run_id)
        return first

    # Items

    def add_items(self, run_id: str, found: Sequence[Found]) -> int:
        """Record items that a search has found; returns the number of new ones.

        An item that is there already is left alone, but for assets that it has not: an AUXIP station names an item by
        its product without the last extension, so `X.zip` and `X.EOF` are two items of one id.
        """
        request = self.run(run_id).request
        keys = [work_key(request.owner, request.collection, one.item_id) for one in found]
        with self.redis.pipeline(transaction=False) as pipe:
            for key, one in zip(keys, found, strict=True):
                names = [_item(run_id, key), f"{_run(run_id)}:order", _run(run_id)]
                self._add_item(keys=names, args=_item_fields(key, one), client=pipe)
            new = [bool(answer) for answer in pipe.execute()]
        for key, one, is_new in zip(keys, found, new, strict=True):
            if one.item is not None and not is_new:
                self._merge_item(run_id, key, one.station, one.item)
        return sum(new)

    def _merge_item(self, run_id: str, key: str, station: str, item: Item) -> None:
        fields = self._hash(_item(run_id, key))
        if fields.get("station") != station or "stac" not in fields:
            return
        known = Item.model_validate_json(fields["stac"]) if fields["stac"] else item.model_copy(update={"assets": {}})
        if not item.assets.keys() - known.assets.keys():
            return
        merged = known.model_copy(update={"assets": {**item.assets, **known.assets}})
        self._merge(keys=[_item(run_id, key), _run(run_id)], args=[fields["stac"], merged.size, _json(merged)])

    def keys(self, run_id: str, start: int = 0, stop: int | None = None) -> list[str]:
        """Return the keys of a run's items, in the order they were found, from `start` to before `stop`."""
        return cast("list[str]", self.redis.lrange(f"{_run(run_id)}:order", start, -1 if stop is None else stop - 1))

    def item(self, run_id: str, key: str) -> ItemRecord:
        """Return the record of an item.

        Raises:
            Rejected: `unknown-item`.
        """
        fields = self._hash(_item(run_id, key))
        if not fields:
            raise Rejected("unknown-item", f"the run {run_id!r} has no item {key!r}")
        return _record(run_id, key, fields)

    def items(self, run_id: str) -> Iterator[ItemRecord]:
        """Yield the records of all items of a run, in the order they were found."""
        start = 0
        while keys := self.keys(run_id, start, start + _BATCH):
            with self.redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.hgetall(_item(run_id, key))
                for key, fields in zip(keys, pipe.execute(), strict=True):
                    yield _record(run_id, key, fields)
            start += _BATCH

    def stac_item(self, run_id: str, key: str) -> Item:
        """Return the STAC item that the station gave, for as long as there is work to do on it.

        Raises:
            Rejected: `unknown-item`.
        """
        text = self.redis.hget(_item(run_id, key), "stac")
        if not text:
            raise Rejected("unknown-item", f"the run {run_id!r} has no work on item {key!r}")
        return Item.model_validate_json(str(text))

    # Steps

    def claim(self, run_id: str, key: str) -> None:
        """Record that work on an item begins, once."""
        if self.redis.hsetnx(_item(run_id, key), "claimed", repr(time.time())):
            self._advance(run_id, key, {"state": ItemState.CLAIMED.value})

    def attempt(self, run_id: str, key: str, step: str) -> int:
        """Count a failed try of a step of an item; returns how many there were, this one included."""
        self.redis.hincrby(_item(run_id, key), "attempts", 1)
        return int(self.redis.hincrby(_item(run_id, key), f"attempts:{step}", 1))

    def progress(self, run_id: str, key: str, more: int, there: int) -> None:
        """Record that `more` bytes have come from the station, and `there` bytes of the item are in S3 by now."""
        keys = [_item(run_id, key), _run(run_id), f"{_run(run_id)}:in_flight"]
        self._progress(keys=keys, args=[key, more, there])

    def bytes_in_flight(self, run_id: str) -> int:
        """Return the bytes that have come of items that are not finished."""
        return sum(int(value) for value in cast("list[str]", self.redis.hvals(f"{_run(run_id)}:in_flight")))

    def record_intact(self, run_id: str, key: str) -> None:
        """Record that an item was found as it should be: nothing is to be done."""
        self._advance(run_id, key, {"intact": "1"})

    def record_asset(self, run_id: str, key: str, name: str, asset: StagedAsset) -> None:
        """Record that an asset is in S3, verified: for this run, and for whichever comes to the item within a day."""
        self._advance(run_id, key, {_STAGED + name: asset.model_dump_json()})
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.hset(_lately(key), name, asset.model_dump_json())
            pipe.expire(_lately(key), _LATELY)
            pipe.execute()

    def lately_staged(self, key: str) -> dict[str, StagedAsset]:
        """Return what runs have lately put into S3 of an item, by asset key; the catalog may not show it yet."""
        found = self._hash(_lately(key))
        return {name: StagedAsset.model_validate_json(text) for name, text in found.items()}

    def staged_assets(self, run_id: str, key: str) -> dict[str, StagedAsset]:
        """Return the assets of an item that the run has staged, by asset key."""
        return {name: StagedAsset.model_validate_json(text) for name, text in self._facts(run_id, key, _STAGED)}

    def record_job(self, key: str, job: Job, seconds: float) -> None:
        """Record the job that a staging service does on an item, for so many seconds; to be called under its lease."""
        self.redis.set(_job(key), job.model_dump_json(), px=int(seconds * 1000))

    def job(self, key: str) -> Job | None:
        """Return the job that a staging service does on an item, or None."""
        text = self.redis.get(_job(key))
        return Job.model_validate_json(str(text)) if text else None

    def forget_job(self, key: str) -> None:
        """Record that no job is done on an item any more."""
        self.redis.delete(_job(key))

    def record_expansion(self, run_id: str, key: str, name: str, expansion: Expansion) -> None:
        """Record that an archive's members stand in S3, verified."""
        self._advance(run_id, key, {_EXPANSION + name: expansion.model_dump_json()})

    def expansions(self, run_id: str, key: str) -> dict[str, Expansion]:
        """Return the archives of an item that the run has expanded, by asset key."""
        return {name: Expansion.model_validate_json(text) for name, text in self._facts(run_id, key, _EXPANSION)}

    def reach(self, run_id: str, key: str, state: ItemState) -> None:
        """Record that an item has come to `staged`, `catalogued` or `expanded`, and when."""
        self._advance(run_id, key, {"state": state.value, state.value: repr(time.time())})

    def fail(self, run_id: str, key: str, code: str, reason: str) -> None:
        """Record that an item cannot be done, and why."""
        self._advance(run_id, key, {"state": ItemState.FAILED.value, "code": code, "reason": reason})

    def settle(self, run_id: str, key: str, outcome: Outcome) -> bool:
        """Finish an item, whatever has become of it, and count it. Returns whether this call was the first to."""
        keys = [_item(run_id, key), _run(run_id), f"{_run(run_id)}:in_flight"]
        args = [key, repr(time.time()), outcome.state.value, outcome.code, outcome.reason, *_counters(outcome.state)]
        return bool(self._settle(keys=keys, args=args))

    def _advance(self, run_id: str, key: str, fields: dict[str, str]) -> None:
        self._record(keys=[_item(run_id, key)], args=[part for pair in fields.items() for part in pair])

    def _facts(self, run_id: str, key: str, prefix: str) -> list[tuple[str, str]]:
        fields = self._hash(_item(run_id, key))
        return [(name.removeprefix(prefix), text) for name, text in fields.items() if name.startswith(prefix)]

    def _hash(self, name: str) -> dict[str, str]:
        return cast("dict[str, str]", self.redis.hgetall(name))

    def _run_ids(self) -> list[str]:
        # No older ones: their records may have expired, and the list is trimmed only when a run is closed.
        return cast("list[str]", self.redis.zrevrangebyscore(_RUNS, "+inf", time.time() - self.keep_seconds))

    def _expire(self, run_id: str) -> None:
        names = [_run(run_id), *(f"{_run(run_id)}:{part}" for part in ("order", "in_flight", "closed_pages"))]
        names += [_item(run_id, key) for key in self.keys(run_id)]
        with self.redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.expire(name, self.keep_seconds)
            pipe.zremrangebyscore(_RUNS, 0, time.time() - self.keep_seconds)
            pipe.execute()

    def record_batches(self, run_id: str) -> Iterator[list[ItemRecord]]:
        """Yield the records of all items of a run, in the order they were found, some hundred at a time.

        Nothing else of the items is read, and each batch is one answer: a quarter of the cost of `items`.
        """
        names = [name for name in ItemRecord.model_fields if name not in ("run_id", "key")]
        for start in itertools.count(0, _BATCH):
            keys = self.keys(run_id, start, start + _BATCH)
            if not keys:
                return
            items = [_item(run_id, key) for key in keys]
            answer = json.loads(str(self.redis.eval(_READ_FIELDS, len(items), *items, *names)))
            told = [{name: value for name, value in zip(names, each, strict=True) if value} for each in answer]
            yield [ItemRecord(run_id=run_id, key=key, **fields) for key, fields in zip(keys, told, strict=True)]


_READ_FIELDS = """
-- KEYS items; ARGV fields. Returns a JSON list with a list of the fields' values for each item; false is none.
local found = {}
for i, item in ipairs(KEYS) do found[i] = redis.call('HMGET', item, unpack(ARGV)) end
return cjson.encode(found)
"""


def _run(run_id: str) -> str:
    return f"auxip:run:{run_id}"


def _item(run_id: str, key: str) -> str:
    return f"auxip:run:{run_id}:item:{key}"


def _job(key: str) -> str:
    return f"auxip:job:{key}"


def _lately(key: str) -> str:
    return f"auxip:staged:{key}"


def _json(item: Item) -> str:
    return item.model_dump_json(by_alias=True, exclude_unset=True)


def _item_fields(key: str, found: Found) -> list[str | int]:
    state = ItemState.FOUND if found.item else ItemState.SKIPPED if found.skipped else ItemState.FAILED
    size = found.item.size if found.item else 0
    stac = _json(found.item) if found.item else ""
    return [key, found.item_id, state.value, size, found.code, found.reason, stac, found.station]


def _record(run_id: str, key: str, fields: dict[str, str]) -> ItemRecord:
    known = {name: value for name, value in fields.items() if name in ItemRecord.model_fields}
    return ItemRecord.model_validate({**known, "run_id": run_id, "key": key})


def _counters(state: ItemState) -> list[str]:
    if state is ItemState.EXPANDED:
        return ["staged", "expanded"]
    return [state.value if state in (ItemState.FAILED, ItemState.SKIPPED) else "staged"]
