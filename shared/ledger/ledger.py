"""Reads and writes the record of runs and items.

Keys:

auxip:runs                     sorted set: run id -> created
auxip:open                     sorted set: open runs (see agenda.py)
auxip:run:RUN                  hash: request, state, counters, fed, code, reason, artifact, continuation, waits,
                               when it was created, searching, began, cancelled, closed; searches, selected,
                               timed, late_sum and late_max (how late its items were); notices; evicting, where
                               the station evicts one of its items
auxip:search:TASK              string: when a search that is no run began to wait for a system
auxip:run:RUN:order            list: keys of its items in the order they were found; `fed` of them have had their turn
auxip:run:RUN:pending          sorted set: items whose turn it is (see agenda.py)
auxip:run:RUN:item:KEY         hash: the item's record, and the STAC item while there is work to do on it
auxip:run:RUN:failed           list: keys of its first failed items
auxip:run:RUN:in_flight        hash: key -> bytes of the item that have come, while it is being staged
auxip:run:RUN:gathering        string: a worker waits for more items to publish with its own (see batches.py)
auxip:lease:WORK               hash: the claim on a piece of work (see lease.py)
auxip:task:ID                  string: digest of the call of a task that opens no run, for a day
auxip:shown:KEY                string: what the catalog has shown of an item some seconds ago (see answers.py)
auxip:job:KEY                  string: the staging service's job on an item, whatever runs want that
auxip:staged:KEY               hash: asset key -> what any run has lately put into S3 of the item
auxip:upload:KEY               hash: asset key -> the unfinished upload of the asset, whatever run has begun it
auxip:uploads                  sorted set: id of an unfinished upload -> when it was begun or taken up again
auxip:sweep:NAME               hash: the record of a sweep (see sweeps.py)
auxip:counters                 hash: counters of what was done (see counters.py)
auxip:watermark:SELECTION      hash: how far a sweep by publication has come (see watermarks.py)
"""

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import cast

from redis import Redis
from redis.client import Pipeline

from shared.answer import MOST_FAILED, Selected
from shared.archives import Expansion
from shared.errors import Busy, Rejected
from shared.ledger import scripts
from shared.ledger.agenda import OPEN, Agenda, pending_of
from shared.ledger.answers import Answers, shown_of
from shared.ledger.batches import Batches
from shared.ledger.counters import KEY as COUNTERS
from shared.ledger.counters import NOTHING, Counts, counts_json
from shared.ledger.lease import check_acquired, held, lease_args
from shared.ledger.records import (
    EXPANSION,
    NOTICED,
    SHORTEST_PREFIX,
    WAITED,
    WAITED_SINCE,
    Fields,
    evicts_field,
    flat,
    item_fields,
    item_json,
    item_record,
    paired,
    run_record,
)
from shared.ledger.server import server_time
from shared.models import (
    Claim,
    ItemRecord,
    ItemState,
    Job,
    Notice,
    Outcome,
    Run,
    RunRequest,
    RunState,
    Settled,
    StagedAsset,
    Wait,
    claimed_as,
    work_key,
)
from shared.stac.item import Found, Item
from shared.storage.uploads import Unfinished

_RUNS = "auxip:runs"
_LISTS = ("order", "in_flight", "pending", "failed")
_UPLOADS = "auxip:uploads"
_SEARCH = "auxip:search:"
_ENDS = ("staged", "repaired", "skipped", "failed")
_BATCH = 500
_BATCH_PAUSES = (0.02, 0.04, 0.08, 0.16, 0.3, 0.4)
_FRESH = 2.0  # seconds of a batch's claim in which it is worth waiting for: one that has died is not
_LATELY = 86_400  # longer than a queue is full; afterwards the catalog tells, or an MD5


class Ledger:
    """The ledger in one Redis or Valkey database, whose client must decode its answers to text.

    Args:
        redis: the client.
        keep_days: for which a closed run is remembered.
        window: items of one run that have their turn at once.
        patience: seconds after which a step that nobody has begun is looked at.
    """

    def __init__(self, redis: Redis, keep_days: int, window: int, patience: float) -> None:
        self.redis = redis
        self.keep_seconds = keep_days * 86_400
        self.patience = patience
        self.agenda = Agenda(redis, patience)
        self.batches = Batches(redis, patience)
        self.answers = Answers(redis)
        self._window = window
        self._open_run = redis.register_script(scripts.OPEN_RUN)
        self._add_item = redis.register_script(scripts.ADD_ITEM)
        self._merge = redis.register_script(scripts.MERGE_ITEM)
        self._begin_work = redis.register_script(scripts.BEGIN_WORK)
        self._begin = redis.register_script(scripts.BEGIN)
        self._put_off = redis.register_script(scripts.PUT_OFF)
        self._record_upload = redis.register_script(scripts.RECORD_UPLOAD)
        self._record_asset = redis.register_script(scripts.RECORD_ASSET)
        self._record = redis.register_script(scripts.RECORD)
        self._next = redis.register_script(scripts.NEXT)
        self._settle = redis.register_script(scripts.SETTLE)
        self._feed = redis.register_script(scripts.FEED)
        self._progress = redis.register_script(scripts.PROGRESS)
        self._cancel = redis.register_script(scripts.CANCEL)
        self._close_run = redis.register_script(scripts.CLOSE_RUN)

    # Runs

    def open_run(self, run_id: str, request: RunRequest, continuation: str = "", asked: str = "") -> bool:
        """Record a new run. Returns False, and changes nothing, where the run is there already.

        Args:
            run_id: the id of the task that the caller waits on.
            request: what is to be done.
            continuation: what the task queue must do with the result; opaque here.
            asked: digest of the call that asks for it.
        """
        names, args = self.opening(run_id, request, continuation, asked)
        return bool(self._open_run(keys=names, args=args))

    def write_run(self, pipe: Pipeline, run_id: str, request: RunRequest) -> None:
        """Add to a transaction what `open_run` does."""
        names, args = self.opening(run_id, request)
        self._open_run(keys=names, args=args, client=pipe)

    def opening(
        self, run_id: str, request: RunRequest, continuation: str = "", asked: str = ""
    ) -> tuple[list[str], list[str | float]]:
        """Return the keys and the arguments of the script that opens a run, for `open_run` and for other scripts."""
        now = repr(time.time())
        fields = {
            "request": request.model_dump_json(),
            "state": RunState.ACCEPTED.value,
            "created": now,
            "continuation": continuation,
            "asked": asked,
        }
        return [run_key(run_id), _RUNS, OPEN], [run_id, now, self.patience, *flat(fields)]

    def run(self, run_id: str) -> Run:
        """Return the record of a run.

        Raises:
            Rejected: `unknown-run`.
        """
        return run_record(run_id, self._hash(run_key(run_id)))

    def knows_run(self, run_id: str) -> bool:
        """Whether there is a record of a run."""
        return bool(self.redis.hexists(run_key(run_id), "request"))

    def find_run(self, prefix: str) -> Run:
        """Return the run whose id is `prefix` or, where just one does, begins with it: by six characters or more.

        Raises:
            Rejected: `unknown-run`, none does, or the prefix is too short; `ambiguous-id`, several do.
        """
        ids = [run_id for run_id in self._run_ids() if run_id.startswith(prefix)]
        if prefix in ids or not ids:
            return self.run(prefix)
        if len(prefix) < SHORTEST_PREFIX:
            reason = f"{prefix!r} is too short: type {SHORTEST_PREFIX} characters of a run's id, or more"
            raise Rejected("unknown-run", reason)
        if len(ids) > 1:
            raise Rejected("ambiguous-id", f"{len(ids)} runs begin with {prefix!r}: {', '.join(ids[:3])}; type more")
        return self.run(ids[0])

    def runs(self, newest: int, since: float = 0, wanted: Callable[[Run], bool] = lambda _: True) -> list[Run]:
        """Return the newest runs, newest first; those whose record is gone are left out.

        Args:
            newest: how many.
            since: only those that were created since then, in seconds since the epoch.
            wanted: only those for which it is true.
        """
        hashes = ((run_id, self._hash(run_key(run_id))) for run_id in self._run_ids())
        records = (run_record(run_id, fields) for run_id, fields in hashes if "request" in fields)
        young = itertools.takewhile(lambda run: run.created >= since, records)
        return list(itertools.islice(filter(wanted, young), newest))

    def closed_runs(self, since: float) -> Iterator[Run]:
        """Yield the runs that were closed since then, in seconds since the epoch; those that were begun last first."""
        for run_id in self._run_ids():
            fields = self._hash(run_key(run_id))
            if float(fields.get("closed", "0")) >= since:
                yield run_record(run_id, fields)

    def open_since(self) -> list[float]:
        """Return when the runs were created that are not closed, in seconds since the epoch."""
        opened = cast("list[str]", self.redis.zrange(OPEN, 0, -1))
        created = self.redis.zmscore(_RUNS, opened) if opened else []
        return [each for each in created if each is not None]

    def open_items(self) -> Counter[str]:
        """Return the items of the runs that are not closed: `items`, and how many of them have ended in which way."""
        opened, names = cast("list[str]", self.redis.zrange(OPEN, 0, -1)), ["items", *_ENDS]
        with self.redis.pipeline(transaction=False) as pipe:
            for run_id in opened:
                pipe.hmget(run_key(run_id), ["closed", *names])
            answers = cast("list[list[str | None]]", pipe.execute())
        total: Counter[str] = Counter()
        for closed, *numbers in answers:
            if closed is None:  # a closed run is listed until its caller has the result
                total.update({name: int(number or 0) for name, number in zip(names, numbers, strict=True)})
        return total

    def continuation(self, run_id: str) -> str:
        """Return what was given to `open_run` as the run's continuation."""
        return str(self.redis.hget(run_key(run_id), "continuation") or "")

    def call_of_run(self, run_id: str) -> str:
        """Return what was given to `open_run` as the digest of the call that asks for the run."""
        return str(self.redis.hget(run_key(run_id), "asked") or "")

    def register_call(self, task_id: str, digest: str) -> str:
        """Record what is asked for under the id of a task that opens no run; returns what was recorded first."""
        name = f"auxip:task:{task_id}"
        if self.redis.set(name, digest, nx=True, ex=_LATELY):
            return digest
        return str(self.redis.get(name) or digest)

    def begin_search(self, run_id: str) -> float:
        """Return when the search of a run was begun first, in seconds since the epoch: now, unless it was before."""
        self.redis.hsetnx(run_key(run_id), "searching", repr(time.time()))
        return float(str(self.redis.hget(run_key(run_id), "searching")))

    def begin_wait(self, task_id: str, seconds: float) -> float:
        """Return when a search that is no run began to wait, in seconds since the epoch: now, unless it did before.

        Args:
            task_id: of the search.
            seconds: that this is remembered.
        """
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.set(f"{_SEARCH}{task_id}", repr(time.time()), nx=True, px=int(seconds * 1000))
            pipe.get(f"{_SEARCH}{task_id}")
            return float(str(pipe.execute()[1]))

    def record_wait(self, run_id: str, wait: Wait) -> None:
        """Record that a run waits for a system; of several outages of one system the first and the last count."""
        told = wait.model_dump_json(include={"until", "reason"})
        with self.redis.pipeline(transaction=False) as pipe:
            pipe.hsetnx(run_key(run_id), f"{WAITED_SINCE}{wait.system}", repr(wait.since))
            pipe.hset(run_key(run_id), f"{WAITED}{wait.system}", told)
            pipe.execute()

    def record_notice(self, run_id: str, notice: Notice) -> None:
        """Record what the caller of a run should know; the same notice again changes nothing."""
        self.redis.hset(run_key(run_id), f"{NOTICED}{notice.reason}", notice.code)

    def record_selected(self, run_id: str, selected: Iterable[Selected]) -> None:
        """Record what a search has selected of each product type; what an earlier search has recorded is replaced."""
        text = json.dumps([each.model_dump() for each in selected])
        self.redis.hset(run_key(run_id), "selected", text)

    def record_searches(self, run_id: str, lines: Sequence[str]) -> None:
        """Record the requests that the search of a run has sent; those of an earlier try are replaced."""
        self.redis.hset(run_key(run_id), "searches", json.dumps(lines))

    def begin_work(self, run_id: str) -> bool:
        """Record that the search is over, so that its items may have their turn; returns whether it was not before.

        Items that their station evicts have it first, the earliest eviction before the others.
        """
        return bool(
            self._begin_work(
                keys=[run_key(run_id), f"{run_key(run_id)}:order"], args=[_item(run_id, ""), repr(time.time())]
            )
        )

    def cancel_run(self, run_id: str) -> bool:
        """Record that nothing new of a run is to be begun. Returns False where it was cancelled or closed already."""
        return bool(self._cancel(keys=[run_key(run_id)], args=[repr(time.time())]))

    def is_cancelled(self, run_id: str) -> bool:
        """Whether a run has been cancelled."""
        return bool(self.redis.hexists(run_key(run_id), "cancelled"))

    def close_run(
        self,
        run_id: str,
        state: RunState,
        artifact: str = "",
        code: str = "",
        reason: str = "",
        counts: Counts = NOTHING,
    ) -> bool:
        """Record how a run ended, and let it expire; `counts` are added to the counters of the metrics then.

        Returns:
            Whether this call was the first to close it.
        """
        args = [repr(time.time()), state.value, code, reason, artifact, counts_json(counts)]
        first = bool(self._close_run(keys=[run_key(run_id), COUNTERS], args=args))
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
                names = [_item(run_id, key), f"{run_key(run_id)}:order", run_key(run_id)]
                self._add_item(keys=names, args=item_fields(key, one), client=pipe)
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
        args: list[str | int] = [fields["stac"], merged.size, item_json(merged), evicts_field(merged)]
        self._merge(keys=[_item(run_id, key), run_key(run_id)], args=args)

    def keys(self, run_id: str, start: int = 0, stop: int | None = None) -> list[str]:
        """Return the keys of a run's items, in the order they were found, from `start` to before `stop`."""
        return cast("list[str]", self.redis.lrange(f"{run_key(run_id)}:order", start, -1 if stop is None else stop - 1))

    def item(self, run_id: str, key: str) -> ItemRecord:
        """Return the record of an item.

        Raises:
            Rejected: `unknown-item`.
        """
        return item_record(run_id, key, self._hash(_item(run_id, key)))

    def items(self, run_id: str) -> Iterator[ItemRecord]:
        """Yield the records of all items of a run, in the order they were found."""
        start = 0
        while keys := self.keys(run_id, start, start + _BATCH):
            with self.redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.hgetall(_item(run_id, key))
                for key, fields in zip(keys, pipe.execute(), strict=True):
                    yield item_record(run_id, key, fields)
            start += _BATCH

    def failed_items(self, run: Run) -> list[ItemRecord]:
        """Return the records of the first `MOST_FAILED` items of a run that failed.

        The failed items of a run that was closed before the ledger kept a list of them are looked for.
        """
        keys = cast("list[str]", self.redis.lrange(f"{run_key(run.id)}:failed", 0, -1))
        if keys or not run.counts.failed:
            return [self.item(run.id, key) for key in keys]
        failed = (record for record in self.items(run.id) if record.state is ItemState.FAILED)
        return list(itertools.islice(failed, MOST_FAILED))

    def feed(self, run_id: str, most: int | None = None) -> list[str]:
        """Return the keys of items whose turn it is now, as many as the window has room for.

        They count as in work from then on: where their first step is not published, they are looked at again.

        Args:
            run_id: the run.
            most: a smaller window, for now.
        """
        keys = [run_key(run_id), f"{run_key(run_id)}:order", pending_of(run_id)]
        return cast("list[str]", self._feed(keys=keys, args=[self._window_of(most), self.patience]))

    # Steps: what one comes to in its end is written together with the end of its claim, what it fails with at once

    @contextmanager
    def claim(self, run_id: str, key: str, seconds: float, part: str = "") -> Iterator[tuple[Run, ItemRecord]]:
        """Hold the claim on an item, or on a part of it, for the length of the block; yields the run and the record.

        The first claim of an item in a run is recorded as its beginning. A batch that has the item ends within a
        second, mostly, so it is waited for here: to send the message anew costs more.

        Raises:
            Busy: `claimed-elsewhere`, or it is put off.
            Rejected: `unknown-run`, `unknown-item`.
        """
        claim = Claim(claimed_as(key, part))
        code, in_batch, run_fields, fields = self._begun(claim, run_id, key, seconds, part)
        for pause in _BATCH_PAUSES:
            if not in_batch or code < 1000 * (seconds - _FRESH):
                break
            time.sleep(pause)
            code, in_batch, run_fields, fields = self._begun(claim, run_id, key, seconds, part)
        check_acquired(claim, code)
        with held(self.redis, claim, seconds):
            run = run_record(run_id, paired(run_fields))
            yield run, item_record(run_id, key, paired(fields)).model_copy(update={"claim": claim})

    def _begun(
        self, claim: Claim, run_id: str, key: str, seconds: float, part: str
    ) -> tuple[int, bool, list[str], list[str]]:
        names = [claim.key, _item(run_id, key), run_key(run_id)]
        args: list[str | float] = [claim.token, *lease_args(seconds), repr(time.time()), _not_before(part), part]
        return cast("tuple[int, bool, list[str], list[str]]", self._begin(keys=names, args=args))

    def attempt(self, run_id: str, key: str, step: str) -> int:
        """Count a failed try of a step of an item; returns how many there were, this one included."""
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.hincrby(_item(run_id, key), "attempts", 1)
            pipe.hincrby(_item(run_id, key), f"attempts:{step}", 1)
            return int(pipe.execute()[1])

    def put_off(self, run_id: str, key: str, seconds: float, part: str = "") -> None:
        """Let nobody claim an item, or a part of it, before so many seconds: a copy of a message uses up no try."""
        self._put_off(keys=[_item(run_id, key)], args=[_not_before(part), int(seconds * 1000)])

    def progress(self, record: ItemRecord, more: int, there: int) -> None:
        """Record that `more` bytes have come from the station, and `there` bytes of the item are in S3 by now.

        Raises:
            Busy: `claim-lost`: a transfer that was thought dead ends here.
        """
        claim, run = record.claim or Claim("", token=""), run_key(record.run_id)
        names = [_item(record.run_id, record.key), run, f"{run}:in_flight", claim.key]
        if int(self._progress(keys=names, args=[claim.token, record.key, more, there])) < 0:
            raise _lost(record)

    def require_claim(self, record: ItemRecord) -> None:
        """Make sure, before what cannot be undone, that the claim on an item is still its holder's.

        What the catalog has shown of the item is forgotten.

        Raises:
            Busy: `claim-lost`.
        """
        if record.claim is not None and not self.still_claimed([record]):
            raise _lost(record)

    def still_claimed(self, records: Sequence[ItemRecord]) -> list[ItemRecord]:
        """Return those of some records whose claim is still their holder's, as `require_claim` asks of one."""
        with self.redis.pipeline(transaction=False) as pipe:
            for record in records:
                pipe.hget(_claim(record).key, "token")
            pipe.delete(*(shown_of(record.key) for record in records))
            *tokens, _ = pipe.execute()
        return [record for record, token in zip(records, tokens, strict=True) if _claim(record).token == token]

    def bytes_in_flight(self, run_id: str) -> int:
        """Return the bytes that have come of items that are not finished."""
        return sum(int(value) for value in cast("list[str]", self.redis.hvals(f"{run_key(run_id)}:in_flight")))

    def record_intact(self, record: ItemRecord) -> None:
        """Record that an item was found as it should be: nothing is to be done."""
        self._conclude(record, {"intact": "1"})
        record.intact = True

    def record_damaged(self, record: ItemRecord) -> None:
        """Record that objects are missing or wrong that the catalog has; at once, before anything is mended.

        Raises:
            Busy: `claim-lost`.
        """
        self._advance(record, {"damaged": "1"})
        record.damaged = True

    def record_unproven(self, record: ItemRecord, reason: str) -> None:
        """Record that assets of an item are staged without a checksum of the station, and why."""
        self._conclude(record, {"unproven": reason})
        record.unproven = reason

    def record_asset(self, record: ItemRecord, name: str, asset: StagedAsset) -> None:
        """Record that an asset is in S3, verified: for this run, and for whichever comes to the item within a day."""
        claim, text = record.claim or Claim("", token=""), asset.model_dump_json()
        names = [_item(record.run_id, record.key), claim.key, _lately(record.key), _uploads(record.key)]
        if int(self._record_asset(keys=names, args=[claim.token, name, text, _LATELY])) < 0:
            raise _lost(record)
        record.staged_assets[name] = asset

    def record_upload(self, record: ItemRecord, name: str, upload: Unfinished) -> None:
        """Record that the upload of an asset has begun, or is taken up again; what was known of another is forgotten.

        Raises:
            Busy: `claim-lost`.
        """
        claim = record.claim or Claim("", token="")
        args: list[str | float] = [claim.token, name, upload.id, upload.model_dump_json(), _LATELY]
        if int(self._record_upload(keys=[claim.key, _uploads(record.key), _UPLOADS], args=args)) < 0:
            raise _lost(record)

    def upload_left(self, record: ItemRecord, name: str) -> Unfinished | None:
        """Return the upload of an asset that is not finished, or None; to be used under the claim on the item."""
        text = self.redis.hget(_uploads(record.key), name)
        return Unfinished.model_validate_json(str(text)) if text else None

    def uploads_in_use(self, within: timedelta) -> frozenset[str]:
        """Return the ids of uploads that were begun or taken up within this time."""
        found = self.redis.zrangebyscore(_UPLOADS, server_time(self.redis) - within.total_seconds(), "+inf")
        return frozenset(cast("list[str]", found))

    def lately_staged(self, key: str) -> dict[str, StagedAsset]:
        """Return what runs have lately put into S3 of an item, by asset key; the catalog may not show it yet."""
        found = self._hash(_lately(key))
        return {name: StagedAsset.model_validate_json(text) for name, text in found.items()}

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

    def record_expansion(self, record: ItemRecord, name: str, expansion: Expansion) -> None:
        """Record that an archive's members stand in S3, verified."""
        self._conclude(record, {EXPANSION + name: expansion.model_dump_json()})
        record.expansions[name] = expansion

    def reach(self, record: ItemRecord, state: ItemState) -> None:
        """Record that an item has come to `staged`, `catalogued` or `expanded`, and when."""
        now = time.time()
        self._conclude(record, {"state": state.value, state.value: repr(now)})
        record.state = state
        setattr(record, state.value, now)

    def fail(self, record: ItemRecord, code: str, reason: str) -> None:
        """Record that an item cannot be done, and why."""
        self._advance(record, {"state": ItemState.FAILED.value, "code": code, "reason": reason})
        record.state, record.code, record.reason = ItemState.FAILED, code, reason

    def next(self, record: ItemRecord, ended: str = "") -> None:
        """End the claim of a record whose item goes on.

        Args:
            record: as it was claimed.
            ended: the part of the item whose work has ended, successfully or not.

        Raises:
            Busy: `claim-lost`.
        """
        claim = _claim(record)
        names = [_item(record.run_id, record.key), claim.key, pending_of(record.run_id)]
        args: list[str | float] = [claim.token, record.key, self.patience, ended, *flat(claim.facts)]
        answer = int(self._next(keys=names, args=args))
        claim.ended = True
        if answer < 0:
            raise _lost(record)

    def come(self, record: ItemRecord) -> None:
        """End the claim of a record whose item was published in a batch, and whose own message has come now.

        Raises:
            Busy: `claim-lost`.
        """
        self._conclude(record, {"batched": ""})
        self.next(record)

    def settle(
        self, record: ItemRecord, outcome: Outcome, most: int | None = None, counts: Counts = NOTHING
    ) -> Settled:
        """Finish an item, whatever has become of it, count it, and let the next ones have their turn.

        Args:
            record: of the item.
            outcome: how it ended.
            most: a smaller window than usual, for now.
            counts: added to the counters of the metrics, by the first call for the item.

        Raises:
            Busy: `claim-lost`.
        """
        claim = record.claim or Claim("", token="")
        run = run_key(record.run_id)
        names = [_item(record.run_id, record.key), run, f"{run}:in_flight"]
        names += [pending_of(record.run_id), f"{run}:order", claim.key, COUNTERS, f"{run}:failed"]
        args = [claim.token, record.key, repr(time.time()), outcome.state.value, outcome.code, outcome.reason]
        counters = _counters(outcome.state)
        args += [str(self._window_of(most)), str(self.patience), counts_json(counts)]
        args += [str(len(counters)), *counters, *flat(claim.facts)]
        answer = self._settle(keys=names, args=args)
        first, last, keys = cast("tuple[int, int, list[str]]", answer)
        claim.ended = True
        if first < 0:
            raise _lost(record)
        if last:
            self.agenda.postpone_run(record.run_id, self.patience)
        return Settled(first=bool(first), last=bool(last), fed=tuple(keys))

    def _window_of(self, most: int | None) -> int:
        return self._window if most is None else min(most, self._window)

    def _conclude(self, record: ItemRecord, fields: Fields) -> None:
        if record.claim is None:
            self._advance(record, fields)
        else:
            record.claim.facts |= fields

    def _advance(self, record: ItemRecord, fields: Fields) -> None:
        claim = record.claim or Claim("", token="")
        args = [claim.token, *flat(fields)]
        if int(self._record(keys=[_item(record.run_id, record.key), claim.key], args=args)) < 0:
            raise _lost(record)

    def _hash(self, name: str) -> Fields:
        return cast("Fields", self.redis.hgetall(name))

    def _run_ids(self) -> list[str]:
        # No older ones: their records may have expired, and the list is trimmed only when a run is closed.
        return cast("list[str]", self.redis.zrevrangebyscore(_RUNS, "+inf", time.time() - self.keep_seconds))

    def _expire(self, run_id: str) -> None:
        names = [run_key(run_id), *(f"{run_key(run_id)}:{part}" for part in _LISTS)]
        self._expire_all(names)
        for start in range(0, int(self.redis.llen(f"{run_key(run_id)}:order")), _BATCH):
            self._expire_all([_item(run_id, key) for key in self.keys(run_id, start, start + _BATCH)])
        self.redis.zremrangebyscore(_RUNS, 0, time.time() - self.keep_seconds)

    def _expire_all(self, names: list[str]) -> None:
        with self.redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.expire(name, self.keep_seconds)
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
            answer = json.loads(str(self.redis.eval(scripts.READ_FIELDS, len(items), *items, *names)))
            told = [{name: value for name, value in zip(names, each, strict=True) if value} for each in answer]
            yield [ItemRecord(run_id=run_id, key=key, **fields) for key, fields in zip(keys, told, strict=True)]


def run_key(run_id: str) -> str:
    """Return the key of a run's record."""
    return f"auxip:run:{run_id}"


def _item(run_id: str, key: str) -> str:
    return f"auxip:run:{run_id}:item:{key}"


def _not_before(part: str) -> str:
    return f"not_before:{part}"


def _job(key: str) -> str:
    return f"auxip:job:{key}"


def _lately(key: str) -> str:
    return f"auxip:staged:{key}"


def _uploads(key: str) -> str:
    return f"auxip:upload:{key}"


def _claim(record: ItemRecord) -> Claim:
    if record.claim is None:
        raise ValueError(f"item {record.key} of run {record.run_id} has not been claimed")
    return record.claim


def _lost(record: ItemRecord) -> Busy:
    # At once: whoever holds the claim now makes the next try wait.
    return Busy("claim-lost", f"another worker has claimed item {record.key} meanwhile, or the claim lapsed", delay=0)


def _counters(state: ItemState) -> list[str]:
    if state is ItemState.EXPANDED:
        return ["staged", "expanded"]
    return [state.value if state in (ItemState.FAILED, ItemState.SKIPPED, ItemState.REPAIRED) else "staged"]
