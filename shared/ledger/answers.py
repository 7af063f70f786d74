"""What the catalog shows of items that are to be staged, read for many of them at once and left for their steps.

    auxip:shown:KEY                string, for seconds: `=` and the item, `-` where there is none, or `?` and the token
                                   of whoever is reading it

Whoever writes an item to the catalog makes its answer void first, under the claim on the item, and an item that is
claimed is not read for others. So no answer is older than what we have written.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from redis import Redis

from shared.ledger.agenda import pending_of

MOST: Final = 50
"""Items that are read at once: more are staged in some seconds only where they are small."""

KEPT: Final = 10.0
"""Seconds that an answer is good for."""

_READING: Final = 3.0
_LARGEST: Final = 65_536
_LOOKED_AT: Final = 500

_TAKE = """
-- KEYS shown, pending, order, run
-- ARGV `?` and a token, milliseconds, key, start of an item's key, of a lease's key, of the key of what is shown, most,
-- how many to look at
-- Returns what is known, which is forgotten then; or `?` where another is reading it; or else what the caller is to
-- read, an empty string first: key and id of others that are not begun, those first whose turn it is.
local known = redis.call('GET', KEYS[1])
if known then
  if string.sub(known, 1, 1) == '?' then return {'?'} end
  redis.call('DEL', KEYS[1])
  return {known}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local found = {''}
local function add(keys)
  for _, key in ipairs(keys) do
    if #found >= 2 * tonumber(ARGV[7]) then return end
    local item = redis.call('HMGET', ARGV[4] .. key, 'state', 'item_id')
    if key ~= ARGV[3] and item[1] == 'found' and redis.call('EXISTS', ARGV[5] .. key, ARGV[6] .. key) == 0 then
      redis.call('SET', ARGV[6] .. key, ARGV[1], 'PX', ARGV[2])
      found[#found + 1] = key
      found[#found + 1] = item[2]
    end
  end
end
add(redis.call('ZRANGE', KEYS[2], 0, ARGV[8] - 1))
local fed = tonumber(redis.call('HGET', KEYS[4], 'fed') or '0')
add(redis.call('LRANGE', KEYS[3], fed, fed + ARGV[7]))
return found
"""

_LEAVE = """
-- KEYS shown, ...; ARGV `?` and a token, milliseconds, what is shown of each, or '' where that is not known
for i, shown in ipairs(KEYS) do
  if redis.call('GET', shown) == ARGV[1] then
    if ARGV[i + 2] == '' then redis.call('DEL', shown) else redis.call('SET', shown, ARGV[i + 2], 'PX', ARGV[2]) end
  end
end
"""


@dataclass(frozen=True)
class ToRead:
    """What is to be read from the catalog.

    Attributes:
        token: by which it is left.
        others: by key, the ids of further items.
    """

    token: str
    others: Mapping[str, str]


class Answers:
    """What the catalog has answered lately, in one Redis or Valkey database."""

    def __init__(self, redis: Redis) -> None:
        self._take = redis.register_script(_TAKE)
        self._leave = redis.register_script(_LEAVE)

    def take(self, run_id: str, key: str) -> str | ToRead | None:
        """Return what the catalog shows of an item, as JSON, an empty text where it has none.

        Returns:
            What the caller is to read, where nothing is known; None where another worker is reading it.
        """
        token = f"?{uuid.uuid4().hex}"
        starts = [f"auxip:run:{run_id}:item:", "auxip:lease:", shown_of("")]
        args: list[str | float] = [token, int(_READING * 1000), key, *starts, MOST, _LOOKED_AT]
        names = [shown_of(key), pending_of(run_id), f"auxip:run:{run_id}:order", f"auxip:run:{run_id}"]
        first, *others = cast("list[str]", self._take(keys=names, args=args))
        if not first:
            return ToRead(token, dict(zip(others[::2], others[1::2], strict=True)))
        return None if first == "?" else first[1:]

    def leave(self, read: ToRead, keys: Sequence[str], shown: Mapping[str, str]) -> None:
        """Leave what the catalog shows for the steps of items, unless somebody has begun to write them since.

        Args:
            read: as it was to be read.
            keys: of all items that are not being read any more.
            shown: by key, an item as JSON, or an empty text where the catalog has none.
        """
        texts = [f"={shown[key]}" if shown.get(key) else "-" if key in shown else "" for key in keys]
        args: list[str | float] = [read.token, int(KEPT * 1000)]
        args += [text if len(text) <= _LARGEST else "" for text in texts]
        self._leave(keys=[shown_of(key) for key in keys], args=args)


def shown_of(key: str) -> str:
    """Return the key of what the catalog shows of an item."""
    return f"auxip:shown:{key}"
