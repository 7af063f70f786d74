"""Items of one run that a worker publishes together: gathered, claimed, and recorded all at once.

    auxip:run:RUN:gathering        string: a worker waits for more of the run's items to be staged
    auxip:run:RUN:item:KEY alone   1: a batch could not publish it, so it is published by its own message alone

Whoever takes the message of an item in a batch finds it published, and has its chain go on. If the batch's worker dies,
the claims lapse. An item whose worker died is in no batch again: so one that kills its workers kills three, and its
neighbours none.
"""

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final, cast

from redis import Redis

from shared.ledger import scripts
from shared.ledger.agenda import pending_of
from shared.ledger.lease import ACQUIRE_FUNCTION, held, lease_args
from shared.ledger.records import flat, item_record, paired
from shared.models import Claim, ItemRecord

MOST: Final = 100
"""Items of a batch: pgSTAC writes one in 0.8 ms then, and the whole batch within a tenth of a second."""

_MOST_BYTES: Final = 4 * 2**20
_LOOKED_AT: Final = 500  # of those whose turn it is; the default window is 200
_GATHERING: Final = 0.2  # seconds; as PostgreSQL's commit_delay, which also waits only where others are under way
_LOOK: Final = 0.02
_FORGOTTEN: Final = 0.4  # should who gathers find that its item is not to be published

_GATHER = """
-- KEYS gathering, item, lease, pending; ARGV milliseconds. Returns 1 if the caller is to gather others, 2 if it is to
-- wait for whoever does, 0 if its item goes into no batch by now, or is the only one.
local known = redis.call('HMGET', KEYS[2], 'state', 'alone', 'not_before:', 'finished')
if known[1] ~= 'staged' or known[2] or known[3] or known[4] then return 0 end
if redis.call('EXISTS', KEYS[3]) == 1 or redis.call('ZCARD', KEYS[4]) < 2 then return 0 end
if redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return 1 end
return 2
"""

_PICK = f"""{ACQUIRE_FUNCTION}
-- KEYS gathering, run, pending, lease, item
-- ARGV milliseconds, most starts, holder, start of a token, of an item's key, of a lease's key, most items, most bytes,
-- how many to look at, now
-- Claims items that are staged, have not been tried, and that nobody has claimed, or had when he died. Returns the key
-- and the record of each.
redis.call('DEL', KEYS[1])
local first = redis.call('HMGET', KEYS[5], 'alone', 'not_before:')
if first[1] or first[2] or redis.call('HGET', KEYS[4], 'starts') ~= '1' then return {{}} end
if redis.call('HEXISTS', KEYS[2], 'cancelled') == 1 then return {{}} end
local found, bytes = {{}}, redis.call('HSTRLEN', KEYS[5], 'stac')
for _, key in ipairs(redis.call('ZREVRANGE', KEYS[3], 0, ARGV[9] - 1)) do
  local item, lease = ARGV[5] .. key, ARGV[6] .. key
  local known = redis.call('HMGET', item, 'state', 'alone', 'not_before:', 'finished')
  if known[1] == 'staged' and not (known[2] or known[3] or known[4]) and redis.call('EXISTS', lease) == 0 then
    bytes = bytes + redis.call('HSTRLEN', item, 'stac')
    if bytes > tonumber(ARGV[8]) or #found >= tonumber(ARGV[7]) then break end
    acquire(lease, ARGV[4] .. key, ARGV[1], ARGV[2], ARGV[3])
    redis.call('HSET', lease, 'batch', '1')
    redis.call('HDEL', item, 'again')
    redis.call('HSETNX', item, 'publishing', ARGV[10])
    found[#found + 1] = {{key, redis.call('HGETALL', item)}}
  end
end
return found
"""

_ALONE = """
-- KEYS item, lease; ARGV token. Ends the claim on an item that the batch has not published.
if redis.call('HGET', KEYS[2], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'alone', '1')
return redis.call('DEL', KEYS[2])
"""


class Batches:
    """The batches of one Redis or Valkey database.

    Args:
        redis: the client.
        patience: seconds after which a step that nobody has begun is looked at.
    """

    def __init__(self, redis: Redis, patience: float) -> None:
        self._redis = redis
        self._patience = patience
        self._gather = redis.register_script(_GATHER)
        self._pick = redis.register_script(_PICK)
        self._next = redis.register_script(scripts.NEXT)
        self._alone = redis.register_script(_ALONE)

    def gather(self, run_id: str, key: str) -> None:
        """Wait until more items of a run are staged, before an item is claimed to be published.

        One worker waits a fifth of a second and then publishes them together; the others wait for it. An item that has
        no others beside it in its run, or that is published by now, waits for nobody.
        """
        names = [_gathering(run_id), _item(run_id, key), Claim(key).key, pending_of(run_id)]
        until = time.monotonic() + _FORGOTTEN
        match int(self._gather(keys=names, args=[int(_FORGOTTEN * 1000)])):
            case 1:
                time.sleep(_GATHERING)
            case 2:
                while time.monotonic() < until and self._redis.exists(_gathering(run_id)):
                    time.sleep(_LOOK)

    @contextmanager
    def gathered(self, record: ItemRecord, seconds: float) -> Iterator[list[ItemRecord]]:
        """Hold the claims on further items of a run that are to be published, for the length of the block.

        What the block has not recorded then (see `record`) is published by its own message, alone.

        Args:
            record: of the item that is claimed already; where it was tried before, it gets no others.
            seconds: after which a dead worker's claim lapses.
        """
        records = self._picked(record, seconds)
        with ExitStack() as stack:
            for one in records:
                stack.enter_context(held(self._redis, _claim(one), seconds))
            try:
                yield records
            finally:
                self._leave_alone([one for one in records if not _claim(one).ended])

    def record(self, records: Sequence[ItemRecord]) -> None:
        """End the claims of a batch on items that it has done; what they have come to is written then."""
        with self._redis.pipeline(transaction=False) as pipe:
            for one in records:
                claim = _claim(one)
                names = [_item(one.run_id, one.key), claim.key, pending_of(one.run_id)]
                args: list[str | float] = [
                    claim.token,
                    one.key,
                    self._patience,
                    "",
                    *flat({**claim.facts, "batched": "1"}),
                ]
                self._next(keys=names, args=args, client=pipe)
            pipe.execute()
        for one in records:
            _claim(one).ended = True

    def _picked(self, record: ItemRecord, seconds: float) -> list[ItemRecord]:
        run_id, token = record.run_id, f"{uuid.uuid4().hex}-"
        names = [_gathering(run_id), _run(run_id), pending_of(run_id), _claim(record).key, _item(run_id, record.key)]
        starts = [token, _item(run_id, ""), Claim("").key]
        args: list[str | float] = [*lease_args(seconds), *starts, MOST - 1, _MOST_BYTES, _LOOKED_AT, repr(time.time())]
        answer = cast("list[tuple[str, list[str]]]", self._pick(keys=names, args=args))
        return [
            item_record(run_id, key, paired(fields)).model_copy(update={"claim": Claim(key, token=f"{token}{key}")})
            for key, fields in answer
        ]

    def _leave_alone(self, records: Sequence[ItemRecord]) -> None:
        if not records:
            return
        with self._redis.pipeline(transaction=False) as pipe:
            for one in records:
                claim = _claim(one)
                self._alone(keys=[_item(one.run_id, one.key), claim.key], args=[claim.token], client=pipe)
            pipe.execute()
        for one in records:
            _claim(one).ended = True


def _claim(record: ItemRecord) -> Claim:
    if record.claim is None:
        raise ValueError(f"item {record.key} of run {record.run_id} has not been claimed")
    return record.claim


def _run(run_id: str) -> str:
    return f"auxip:run:{run_id}"


def _item(run_id: str, key: str) -> str:
    return f"auxip:run:{run_id}:item:{key}"


def _gathering(run_id: str) -> str:
    return f"auxip:run:{run_id}:gathering"
