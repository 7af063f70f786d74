"""Counters of what was done, for monitoring.

They are in the ledger, since steps run in many processes, each of which ends some day, and are written by the script
that finishes an item or closes a run: each is counted once, whatever is killed or delivered twice.

auxip:counters                 hash: JSON list of a counter's name and the values of its labels -> number
"""

import json
from collections.abc import Mapping
from typing import Final, cast

from redis import Redis

KEY: Final = "auxip:counters"

_MOST: Final = 20_000
"""Counters that are kept. Labels come from stations, too: what is beyond is counted in one that has no labels."""

_LONGEST: Final = 100

COUNT_FUNCTION: Final = f"""
local function count(counters, json)
  for field, amount in pairs(cjson.decode(json)) do
    if redis.call('HEXISTS', counters, field) == 0 and redis.call('HLEN', counters) >= {_MOST} then
      field = '["counts_left_out"]'
    end
    redis.call('HINCRBYFLOAT', counters, field, amount)
  end
end
"""

Label = tuple[str, ...]
"""The name of a counter, and then the values of its labels."""

Counts = Mapping[Label, float]
NOTHING: Final[Counts] = {}


def counts_json(counts: Counts) -> str:
    """Return counts as the scripts take them."""
    return json.dumps({json.dumps([part[:_LONGEST] for part in label]): amount for label, amount in counts.items()})


def read_counters(redis: Redis) -> dict[Label, float]:
    """Return all counters."""
    found = cast("dict[str, str]", redis.hgetall(KEY))
    return {tuple(json.loads(field)): float(amount) for field, amount in found.items()}
