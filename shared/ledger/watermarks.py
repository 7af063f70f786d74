"""How far the windows of each sweep by publication have come, so that a stop of any length loses nothing.

A window that has begun is in the record until its run has ended; no other window begins meanwhile. The watermark is
moved only when the run has ended well, so after a kill at any point the same window is searched again.

Keys:

auxip:watermark:SELECTION      hash: at, target, tick, run, until (see `shared.models.Watermark`)
"""

import hashlib
import json
from typing import Final, cast

from shared.ledger import scripts
from shared.ledger.ledger import Ledger
from shared.models import PublicationTick, RunRequest, Watermark

_CLOCKS_DIFFER: Final = 60  # seconds that the clock of a beat or a worker may be ahead of the server's
_KEPT: Final = 366 * 86_400
"""Seconds after its last tick that a watermark is kept: one that is lost begins anew by `since`, and what was published
between is not searched."""

_TICK = f"""{scripts.CLOCK}
-- KEYS watermark; ARGV tick, target, first, how far ahead a clock may be, seconds that the record is kept.
-- Raises the target, once for each tick, never beyond now; then returns the record.
local now = math.floor(seconds())
if tonumber(ARGV[1]) > now + ARGV[4] then return redis.call('HGETALL', KEYS[1]) end
if redis.call('HSETNX', KEYS[1], 'at', ARGV[3]) == 1 then redis.call('HSET', KEYS[1], 'target', ARGV[3]) end
local known = redis.call('HMGET', KEYS[1], 'tick', 'target')
if tonumber(ARGV[1]) > tonumber(known[1] or 0) then
  local target = math.max(known[2], math.min(ARGV[2], now))
  redis.call('HSET', KEYS[1], 'tick', ARGV[1], 'target', string.format('%d', target))
end
redis.call('EXPIRE', KEYS[1], ARGV[5])
return redis.call('HGETALL', KEYS[1])
"""

_BEGIN = f"""{scripts.OPEN_RUN_FUNCTION}
-- KEYS watermark, run, runs, open; ARGV the watermark as it was read, end of the window, then as OPEN_RUN.
-- Returns 0, and changes nothing, where a window goes on or the watermark has moved.
if redis.call('HEXISTS', KEYS[1], 'until') == 1 or redis.call('HGET', KEYS[1], 'at') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'run', ARGV[3], 'until', ARGV[2])
return open_run(KEYS[2], KEYS[3], KEYS[4], {{unpack(ARGV, 3)}})
"""

_END = """
-- KEYS watermark; ARGV run, whether it has ended well. Returns 0, and changes nothing, where another run goes on.
-- After a run that has not ended well no window begins before the next tick.
local known = redis.call('HMGET', KEYS[1], 'run', 'until', 'at')
if known[1] ~= ARGV[1] or not known[2] then return 0 end
redis.call('HDEL', KEYS[1], 'until')
if ARGV[2] == '1' then
  redis.call('HSET', KEYS[1], 'at', known[2])
else
  redis.call('HSET', KEYS[1], 'target', known[3])
end
return 1
"""


class Watermarks:
    """The watermarks' part of the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._redis = ledger.redis
        self._tick = ledger.redis.register_script(_TICK)
        self._begin = ledger.redis.register_script(_BEGIN)
        self._end = ledger.redis.register_script(_END)

    def record(self, key: str) -> Watermark | None:
        """Return the watermark of a key (see `watermark_key`), or None where the ledger has none."""
        fields = cast("dict[str, str]", self._redis.hgetall(key))
        return Watermark.model_validate(fields) if fields else None

    def tick(self, key: str, tick: PublicationTick) -> Watermark | None:
        """Record that a tick has come, once, and return the watermark.

        Returns:
            None where there is no watermark yet, and the tick is further ahead than any clock is wrong.
        """
        args: list[str | float] = [repr(tick.at), tick.target, tick.first, _CLOCKS_DIFFER, _KEPT]
        answer = cast("list[str]", self._tick(keys=[key], args=args))
        fields = dict(zip(answer[::2], answer[1::2], strict=True))
        return Watermark.model_validate(fields) if fields else None

    def begin(self, key: str, at: int, until: int, run_id: str, request: RunRequest) -> bool:
        """Open the run of a window and record it, in one step; returns whether this call has done it.

        Args:
            key: of the watermark.
            at: the watermark as it was read.
            until: the end of the window.
            run_id: of a new run.
            request: what the run is to do.
        """
        names, args = self._ledger.opening(run_id, request)
        return bool(self._begin(keys=[key, *names], args=[at, until, *args]))

    def end(self, key: str, run_id: str, well: bool) -> bool:
        """Record that the run of a window has ended; returns whether this call has done it.

        Args:
            key: of the watermark.
            run_id: of the window that goes on.
            well: whether the watermark moves to the end of the window; else the window is searched again.
        """
        return bool(self._end(keys=[key], args=[run_id, int(well)]))


def watermark_key(request: RunRequest) -> str:
    """Return the ledger's key of the watermark of what a run is to do: of what it searches, and for whom.

    Another name of the sweep, or another length of its windows, leaves it as it is.
    """
    selection = request.selection.model_dump(mode="json", exclude={"begin", "end"})
    selection["product_types"] = sorted(set(selection["product_types"]))
    parts = [request.owner, request.collection, *request.stations, selection]
    return f"auxip:watermark:{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]}"
