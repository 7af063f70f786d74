"""What could not be done, kept whole with its reason, until a person replays or drops it.

    auxip:dead                     stream: kind, code, reason, where, size; the entry's id is the letter's
    auxip:dead:payloads            hash: letter -> the bytes themselves
    auxip:dead:bytes               string: their sum
    auxip:dead:due                 sorted set: letter -> when it is to be replayed, where a rule wants that
    auxip:dead:run:RUN             set: keys of the run's items that have, or had, a letter

A payload is never cut: what stands in a letter is what was found. Letters are bounded together instead, by their number
(`AUXIP_DEAD_LETTERS_MAX`) and by their bytes (`MAX_BYTES`); the oldest give way, the newest is always kept. So that a
run in which everything fails does not drive out all others, one run has at most `run_share` letters, and one more.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict
from redis import Redis
from redis.client import NEVER_DECODE

from shared.errors import Rejected
from shared.ledger.records import SHORTEST_PREFIX
from shared.texts import printable

Kind = Literal["message", "request", "item"]
"""`message`: from a task queue; `request`: from an intake list; `item`: of a run, failed for good."""

DEAD = "auxip:dead"
KEYS = (DEAD, f"{DEAD}:payloads", f"{DEAD}:bytes")
"""The keys that the Lua function `park` takes, in its order."""

DUE = f"{DEAD}:due"
MAX_BYTES = 64 * 2**20
RUN_SHARE = 100
WHOLE_RUN = "*"
"""In the place of an item's key: the letter is about the run, and not about one item of it."""

_MAX_REASON = 500
_PAGE = 100
_REMEMBERED = 7 * 86_400  # longer than any step of a run is delivered again
_ID_DIGITS = 13  # milliseconds since the epoch, until the year 2286
_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")

PARK_FUNCTION = """
local function forget(dead, payloads, bytes, id)
  redis.call('DECRBY', bytes, redis.call('HSTRLEN', payloads, id))
  redis.call('HDEL', payloads, id)
  redis.call('ZREM', dead .. ':due', id)
  return redis.call('XDEL', dead, id)
end
local function park(dead, payloads, bytes, max_letters, max_bytes, payload, kind, code, reason, where)
  local id = redis.call('XADD', dead, '*', 'kind', kind, 'code', code, 'reason', reason, 'where', where,
    'size', #payload)
  redis.call('HSET', payloads, id, payload)
  local total = redis.call('INCRBY', bytes, #payload)
  local count = redis.call('XLEN', dead)
  while count > 1 and (count > tonumber(max_letters) or total > tonumber(max_bytes)) do
    forget(dead, payloads, bytes, redis.call('XRANGE', dead, '-', '+', 'COUNT', 1)[1][1])
    total = tonumber(redis.call('GET', bytes))
    count = count - 1
  end
  return id
end
"""
"""Lua that scripts of others begin with, so that what takes work from its place parks it in the same step."""

_PARK = f"""{PARK_FUNCTION}
-- KEYS dead, payloads, bytes; ARGV max_letters, max_bytes, payload, kind, code, reason, where. Returns the id.
return park(KEYS[1], KEYS[2], KEYS[3], unpack(ARGV))
"""

_PARK_ITEM = f"""{PARK_FUNCTION}
-- KEYS dead, payloads, bytes, due, keys of the run
-- ARGV key, share, seconds to remember, seconds until it is due or '', and as park takes
-- Returns 1 if the key, or the whole run, has, or had, a letter; 0, and changes nothing, where the run has its share.
if redis.call('SISMEMBER', KEYS[5], ARGV[1]) == 1 or redis.call('SISMEMBER', KEYS[5], '{WHOLE_RUN}') == 1 then
  return 1
end
if redis.call('SCARD', KEYS[5]) >= tonumber(ARGV[2]) then return 0 end
redis.call('SADD', KEYS[5], ARGV[1])
redis.call('EXPIRE', KEYS[5], ARGV[3])
local id = park(KEYS[1], KEYS[2], KEYS[3], unpack(ARGV, 5))
if ARGV[4] ~= '' then redis.call('ZADD', KEYS[4], redis.call('TIME')[1] + ARGV[4], id) end
return 1
"""

_DROP = f"""{PARK_FUNCTION}
-- KEYS dead, payloads, bytes; ARGV id. Returns 1 if there was such a letter.
return forget(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
"""

_REPLAY = f"""{PARK_FUNCTION}
-- KEYS dead, payloads, bytes, list; ARGV id. Returns 1 if there was such a letter.
local payload = redis.call('HGET', KEYS[2], ARGV[1])
if not payload then return 0 end
redis.call('LPUSH', KEYS[4], payload)
return forget(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
"""


_CODES = """
-- KEYS dead. Returns each code and how many letters have it: code, number, code, number, ...
local counts, order, start = {}, {}, '-'
while true do
  local page = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', 1000)
  for _, letter in ipairs(page) do
    local fields = letter[2]
    for i = 1, #fields, 2 do
      if fields[i] == 'code' then
        local code = fields[i + 1]
        if not counts[code] then order[#order + 1] = code end
        counts[code] = (counts[code] or 0) + 1
      end
    end
  end
  if #page < 1000 then break end
  start = '(' .. page[#page][1]
end
local answer = {}
for _, code in ipairs(order) do
  answer[#answer + 1] = code
  answer[#answer + 1] = counts[code]
end
return answer
"""


class Letter(BaseModel):
    """One dead letter without its payload.

    Attributes:
        id: begins with the time of its parking in milliseconds since the epoch, on the server's clock.
        kind: what it is.
        code: stable, as an error's; `reason` says the same in a sentence, free of secrets.
        where: the list that it was taken from, and goes back to; for an item its run.
        size: bytes of the payload.
        due: when it is replayed without anybody's doing, in seconds since the epoch on the server's clock; None: it
            waits for a person.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    kind: Kind
    code: str
    reason: str
    where: str
    size: int
    due: float | None = None

    @property
    def parked(self) -> float:
        """When it was parked, in seconds since the epoch."""
        return int(self.id.partition("-")[0]) / 1000


class DeadLetters:
    """The dead letters in one Redis or Valkey database, whose client must decode its answers to text."""

    def __init__(self, redis: Redis, maximum: int) -> None:
        self._redis = redis
        self._maximum = maximum
        self._park = redis.register_script(_PARK)
        self._park_item = redis.register_script(_PARK_ITEM)
        self._drop = redis.register_script(_DROP)
        self._replay = redis.register_script(_REPLAY)
        self._codes = redis.register_script(_CODES)

    def park(self, kind: Kind, payload: bytes, code: str, reason: str, where: str) -> str:
        """Keep something that could not be done; returns the letter's id."""
        args = [*limits(self._maximum), payload, kind, code, trimmed(reason), where]
        return str(self._park(keys=KEYS, args=args))

    def park_item(
        self, run_id: str, key: str, payload: bytes, code: str, reason: str, again_in: float | None = None
    ) -> bool:
        """Keep an item of a run, once, however often this is called for it; `park` keeps all else.

        Args:
            run_id: the run.
            key: of the item in the run, or `WHOLE_RUN`.
            payload: what its replay needs.
            code: of its failure.
            reason: of its failure.
            again_in: seconds until it is to be replayed, or None.

        Returns:
            Whether it, or the whole run, has or had a letter; else the run has its share of letters.
        """
        share = self.run_share + (key == WHOLE_RUN)
        args: list[str | int | float | bytes] = [key, share, _REMEMBERED, "" if again_in is None else again_in]
        args += [*limits(self._maximum), payload, "item", code, trimmed(reason), run_id]
        return bool(self._park_item(keys=[*KEYS, DUE, f"{DEAD}:run:{run_id}"], args=args))

    @property
    def run_share(self) -> int:
        """How many items of one run are kept one by one; a letter for all the others is one more."""
        return min(RUN_SHARE, self._maximum // 10)

    def due(self, most: int = _PAGE) -> list[Letter]:
        """Return up to `most` letters whose time has come by the server's clock, the one that was due first before."""
        now, _ = self._redis.time()
        ids = cast("list[str]", self._redis.zrange(DUE, "-inf", now, byscore=True, offset=0, num=most))
        return [found for letter_id in ids if (found := self._find(letter_id)) is not None]

    def leave_to_a_person(self, letter_id: str) -> None:
        """Record that a letter is replayed by nobody but a person, whatever was due."""
        self._redis.zrem(DUE, letter_id)

    def count(self) -> int:
        """Return how many there are."""
        return int(self._redis.xlen(DEAD))

    def codes(self) -> dict[str, int]:
        """Return how many letters have each code; the server counts them, no letter leaves it."""
        answer = cast("list[str]", self._codes(keys=[DEAD]))
        return {code: int(number) for code, number in zip(answer[::2], answer[1::2], strict=True)}

    def page(self, before: str = "", size: int = _PAGE) -> list[Letter]:
        """Return up to `size` letters, newest first, of those older than the letter `before`.

        Raises:
            Rejected: `unknown-letter`, `before` is no letter's id.
        """
        end = f"({_checked(before)}" if before else "+"
        entries = cast("list[tuple[str, dict[str, str]]]", self._redis.xrevrange(DEAD, max=end, count=size))
        return self._letters(entries)

    def letters(self, kind: str = "", code: str = "", where: str = "") -> Iterator[Letter]:
        """Yield the letters of which all that is given is true, newest first."""
        before = ""
        while page := self.page(before):
            before = page[-1].id
            for letter in page:
                if kind in ("", letter.kind) and code in ("", letter.code) and where in ("", letter.where):
                    yield letter

    def letter(self, letter_id: str) -> Letter:
        """Return one letter.

        Raises:
            Rejected: `unknown-letter`.
        """
        found = self._find(_checked(letter_id))
        if found is None:
            raise _unknown(letter_id)
        return found

    def find(self, prefix: str) -> str:
        """Return the id of the letter whose id is `prefix` or, where just one does, begins with it: by six digits.

        Raises:
            Rejected: `unknown-letter`, none does, or the prefix is too short; `ambiguous-id`, several do.
        """
        digits = prefix.removesuffix("-")
        if not (digits.isascii() and digits.isdecimal() and SHORTEST_PREFIX <= len(digits) <= _ID_DIGITS):
            return self.letter(prefix).id
        begin, end = digits.ljust(_ID_DIGITS, "0"), digits.ljust(_ID_DIGITS, "9")
        found = cast("list[tuple[str, dict[str, str]]]", self._redis.xrange(DEAD, begin, end, count=2))
        if not found:
            raise _unknown(prefix)
        if len(found) > 1:
            raise Rejected(
                "ambiguous-id", f"several dead letters begin with {prefix!r}, {found[0][0]} is one; type more"
            )
        return found[0][0]

    def payload(self, letter_id: str) -> bytes:
        """Return the bytes of one letter, as they were found.

        Raises:
            Rejected: `unknown-letter`.
        """
        answer = self._redis.execute_command(  # type: ignore[no-untyped-call]
            "HGET", KEYS[1], _checked(letter_id), **{NEVER_DECODE: True}
        )
        if answer is None:
            raise _unknown(letter_id)
        return cast("bytes", answer)

    def drop(self, letter_id: str) -> None:
        """Forget one letter for good.

        Raises:
            Rejected: `unknown-letter`.
        """
        if not self._drop(keys=KEYS, args=[_checked(letter_id)]):
            raise _unknown(letter_id)

    def replay(self, letter_id: str) -> str:
        """Give a message or a request back to the list that it came from, as the newest there; returns the list's name.

        An item is of no list: `shared.runs.bury.open_replay` has a run of its own for it.

        Raises:
            Rejected: `unknown-letter`, or `not-replayable`, it is of another kind.
        """
        letter = self.letter(letter_id)
        if letter.kind == "item":
            raise Rejected("not-replayable", f"{letter_id} is an item of the run {letter.where}, of no queue")
        if not self._replay(keys=[*KEYS, letter.where], args=[letter_id]):
            raise _unknown(letter_id)
        return letter.where

    def _find(self, letter_id: str) -> Letter | None:
        found = cast("list[tuple[str, dict[str, str]]]", self._redis.xrange(DEAD, letter_id, letter_id, count=1))
        return self._letters(found)[0] if found else None

    def _letters(self, entries: Sequence[tuple[str, dict[str, str]]]) -> list[Letter]:
        if not entries:
            return []
        dues = self._redis.zmscore(DUE, [letter_id for letter_id, _ in entries])
        pairs = zip(entries, dues, strict=True)
        return [Letter.model_validate({"id": letter_id, **fields, "due": due}) for (letter_id, fields), due in pairs]


def limits(maximum: int) -> tuple[int, int]:
    """Return the limits that the Lua function `park` takes, where `maximum` letters are kept."""
    return maximum, MAX_BYTES


def trimmed(reason: str) -> str:
    """Return a reason as it is kept: one line of printable text, not too long."""
    return printable(reason[:_MAX_REASON])[:_MAX_REASON]


def _checked(letter_id: str) -> str:
    if not _ID.fullmatch(letter_id):
        raise _unknown(letter_id)
    return letter_id


def _unknown(letter_id: str) -> Rejected:
    return Rejected("unknown-letter", f"there is no dead letter {letter_id[:50]!r}; `auxip dead` lists them")
