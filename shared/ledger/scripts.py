"""The transactions of the ledger where two writers can meet, as Lua: Redis runs each as one step.

What comes next is timed by the server's clock, so that a worker whose clock is wrong does no harm.
"""

from shared.answer import MOST_FAILED
from shared.ledger.counters import COUNT_FUNCTION
from shared.ledger.lease import ACQUIRE_FUNCTION

CLOCK = """
local function seconds() local t = redis.call('TIME') return t[1] + t[2] / 1000000 end
"""

_FENCE = """
local function lost(lease, token) return token ~= '' and redis.call('HGET', lease, 'token') ~= token end
"""

_FEED = """
local function feed(run, order, pending, window, patience)
  local room = tonumber(window) - redis.call('ZCARD', pending)
  if room <= 0 or redis.call('HGET', run, 'state') ~= 'working' then return {} end
  local fed = tonumber(redis.call('HGET', run, 'fed') or '0')
  local keys = redis.call('LRANGE', order, fed, fed + room - 1)
  if #keys == 0 then return keys end
  local check = seconds() + patience
  for _, key in ipairs(keys) do redis.call('ZADD', pending, check, key) end
  redis.call('HINCRBY', run, 'fed', #keys)
  return keys
end
"""

_EVICTS = """
local function evicts(item, run, when)
  if when == '' then return end
  redis.call('HSET', item, 'evicts', when)
  redis.call('HSET', run, 'evicting', '1')
end
"""

ADD_ITEM = f"""{_EVICTS}
-- KEYS item, order, run
-- ARGV key, item_id, state, size, code, reason, stac, station, when it is evicted or '', when it was published or ''.
-- Returns 1 if the item is new.
if redis.call('HSETNX', KEYS[1], 'item_id', ARGV[2]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[3], 'size', ARGV[4], 'code', ARGV[5], 'reason', ARGV[6], 'stac', ARGV[7],
    'station', ARGV[8])
evicts(KEYS[1], KEYS[3], ARGV[9])
if ARGV[10] ~= '' then redis.call('HSET', KEYS[1], 'published', ARGV[10]) end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('HINCRBY', KEYS[3], 'items', 1)
redis.call('HINCRBY', KEYS[3], 'bytes_found', ARGV[4])
return 1
"""

MERGE_ITEM = f"""{_EVICTS}
-- KEYS item, run; ARGV stac as it was read, size, stac, when it is evicted or ''.
-- Returns 0, and changes nothing, where work has begun by now.
if redis.call('HEXISTS', KEYS[1], 'claimed') == 1 or redis.call('HEXISTS', KEYS[1], 'finished') == 1
    or redis.call('HGET', KEYS[1], 'stac') ~= ARGV[1] then return 0 end
redis.call('HINCRBY', KEYS[2], 'bytes_found', ARGV[2] - redis.call('HGET', KEYS[1], 'size'))
redis.call('HSET', KEYS[1], 'state', 'found', 'size', ARGV[2], 'code', '', 'reason', '', 'stac', ARGV[3])
evicts(KEYS[1], KEYS[2], ARGV[4])
return 1
"""

BEGIN = f"""{ACQUIRE_FUNCTION}
-- KEYS lease, item, run
-- ARGV token, milliseconds, most, holder, now, the field that says before when it is not to be begun, the part or ''.
-- Returns what `acquire` does, or the milliseconds to wait; whether a batch has the claim; the run's record, and the
-- item's.
local t = redis.call('TIME')
local early = (tonumber(redis.call('HGET', KEYS[2], ARGV[6]) or '0') or 0) - t[1] * 1000 - math.floor(t[2] / 1000)
if early > 0 then return {{early, 0, {{}}, {{}}}} end
local batch = redis.call('HEXISTS', KEYS[1], 'batch')
local answer = acquire(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4])
if answer <= 0 then redis.call('HDEL', KEYS[2], 'again') end
local state = redis.call('HGET', KEYS[2], 'state')
if answer <= 0 and state == 'found' then
  redis.call('HSET', KEYS[2], 'state', 'claimed', 'claimed', ARGV[5])
elseif answer <= 0 and state == 'staged' then
  redis.call('HSETNX', KEYS[2], 'publishing', ARGV[5])
elseif answer <= 0 and state == 'catalogued' and ARGV[7] ~= '' then
  redis.call('HSETNX', KEYS[2], 'expanding', ARGV[5])
end
if answer > 0 then return {{answer, batch, {{}}, {{}}}} end
redis.call('HDEL', KEYS[1], 'batch')
return {{answer, 0, redis.call('HGETALL', KEYS[3]), redis.call('HGETALL', KEYS[2])}}
"""

PUT_OFF = """
-- KEYS item; ARGV field, milliseconds from now
local t = redis.call('TIME')
return redis.call('HSET', KEYS[1], ARGV[1], t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[2])
"""

RECORD = f"""{_FENCE}
-- KEYS item, lease; ARGV token, field, value, ...
-- Returns -1 if the claim is lost, 0 if the item is finished, and changes nothing then.
if lost(KEYS[2], ARGV[1]) then return -1 end
if redis.call('HEXISTS', KEYS[1], 'finished') == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return 1
"""

RECORD_UPLOAD = f"""{CLOCK}{_FENCE}
-- KEYS lease, uploads of the item, uploads; ARGV token, asset key, id of the upload, upload, seconds that it is known
if lost(KEYS[1], ARGV[1]) then return -1 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('ZADD', KEYS[3], seconds(), ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', seconds() - ARGV[5])
return 1
"""

RECORD_ASSET = f"""{_FENCE}
-- KEYS item, lease, lately staged, unfinished uploads; ARGV token, asset key, asset, seconds that it is known to others
if lost(KEYS[2], ARGV[1]) then return -1 end
redis.call('HDEL', KEYS[4], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[3], ARGV[4])
if redis.call('HEXISTS', KEYS[1], 'finished') == 1 then return 0 end
redis.call('HSET', KEYS[1], 'staged_asset:' .. ARGV[2], ARGV[3])
return 1
"""

NEXT = f"""{CLOCK}{_FENCE}
-- KEYS item, lease, pending; ARGV token, key, patience, the part that has ended or '', field, value, ...
-- Ends the claim. Returns -1 if it was lost already.
if lost(KEYS[2], ARGV[1]) then return -1 end
if redis.call('HEXISTS', KEYS[1], 'finished') == 0 then
  if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'ended:' .. ARGV[4], '1') end
  if #ARGV > 4 then redis.call('HSET', KEYS[1], unpack(ARGV, 5)) end
end
redis.call('ZADD', KEYS[3], 'XX', seconds() + ARGV[3], ARGV[2])
redis.call('DEL', KEYS[2])
return 1
"""

_TIME = """
local function time(run, item, state, now)
  local published = tonumber(redis.call('HGET', item, 'published') or '')
  if not published or state == 'failed' or state == 'skipped' then return end
  local late = math.max(0, now - published)
  redis.call('HINCRBY', run, 'timed', 1)
  redis.call('HINCRBYFLOAT', run, 'late_sum', string.format('%.3f', late))
  if late >= tonumber(redis.call('HGET', run, 'late_max') or '0') then
    redis.call('HSET', run, 'late_max', string.format('%.3f', late))
  end
end
"""

SETTLE = f"""{CLOCK}{_FENCE}{_FEED}{COUNT_FUNCTION}{_TIME}
-- KEYS item, run, in_flight, pending, order, lease, counters, failed
-- ARGV token, key, now, state, code, reason, window, patience, counts of the metrics, how many counters of the run,
-- counter, ..., field, value, ...
-- Returns -1 if the claim is lost; else whether this is the first call for the item, whether the run has no other
-- item left, and keys of items whose turn it is now.
if lost(KEYS[6], ARGV[1]) then return {{-1, 0, {{}}}} end
local first = redis.call('HSETNX', KEYS[1], 'finished', ARGV[3])
if first == 1 then
  count(KEYS[7], ARGV[9])
  local counters = 10 + tonumber(ARGV[10])
  if #ARGV > counters then redis.call('HSET', KEYS[1], unpack(ARGV, counters + 1)) end
  redis.call('HSET', KEYS[1], 'state', ARGV[4], 'code', ARGV[5], 'reason', ARGV[6])
  for i = 11, counters do redis.call('HINCRBY', KEYS[2], ARGV[i], 1) end
  if ARGV[4] == 'failed' and redis.call('LLEN', KEYS[8]) < {MOST_FAILED} then redis.call('RPUSH', KEYS[8], ARGV[2]) end
  time(KEYS[2], KEYS[1], ARGV[4], ARGV[3])
  redis.call('HINCRBY', KEYS[2], 'bytes_finished', redis.call('HGET', KEYS[1], 'size') or 0)
  redis.call('HDEL', KEYS[3], ARGV[2])
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if field == 'stac' or string.find(field, '^staged_asset:') or string.find(field, '^ended:') then
      redis.call('HDEL', KEYS[1], field)
    end
  end
end
redis.call('ZREM', KEYS[4], ARGV[2])
if ARGV[1] ~= '' then redis.call('DEL', KEYS[6]) end
local keys = feed(KEYS[2], KEYS[5], KEYS[4], ARGV[7], ARGV[8])
local c = redis.call('HMGET', KEYS[2], 'items', 'staged', 'repaired', 'skipped', 'failed', 'state')
local finished = (c[2] or 0) + (c[3] or 0) + (c[4] or 0) + (c[5] or 0)
local last = 0
if c[6] == 'working' and finished >= tonumber(c[1] or 0) then last = 1 end
return {{first, last, keys}}
"""

FEED = f"""{CLOCK}{_FEED}
-- KEYS run, order, pending; ARGV window, patience. Returns keys of items whose turn it is now.
return feed(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2])
"""

PROGRESS = f"""{_FENCE}
-- KEYS item, run, in_flight, lease
-- ARGV token, key, bytes come since the last call, bytes of the item that are there by now. Returns -1 if the claim is
-- lost.
if lost(KEYS[4], ARGV[1]) then return -1 end
redis.call('HINCRBY', KEYS[1], 'downloaded', ARGV[3])
redis.call('HINCRBY', KEYS[2], 'bytes_downloaded', ARGV[3])
if redis.call('HEXISTS', KEYS[1], 'finished') == 0 then redis.call('HSET', KEYS[3], ARGV[2], ARGV[4]) end
return 1
"""

OPEN_RUN_FUNCTION = f"""{CLOCK}
-- What follows the keys: id, now, patience, field, value, ... Returns 1 if the run is new; else changes nothing.
local function open_run(run, runs, open, what)
  if redis.call('HEXISTS', run, 'request') == 1 then return 0 end
  redis.call('DEL', run) -- what a step has left there that came after the loss of the run
  redis.call('HSET', run, unpack(what, 4))
  redis.call('ZADD', runs, 'NX', what[2], what[1])
  redis.call('ZADD', open, 'NX', seconds() + what[3], what[1])
  return 1
end
"""

OPEN_RUN = f"""{OPEN_RUN_FUNCTION}
-- KEYS run, runs, open; ARGV as `open_run` takes them
return open_run(KEYS[1], KEYS[2], KEYS[3], ARGV)
"""

BEGIN_WORK = """
-- KEYS run, order; ARGV start of an item's key, now. Returns 0, and changes nothing, if the run is not searching.
-- Items that the station evicts come first, the earliest before the others: none has begun yet.
if redis.call('HGET', KEYS[1], 'state') ~= 'accepted' then return 0 end
redis.call('HSET', KEYS[1], 'state', 'working', 'began', ARGV[2])
if redis.call('HEXISTS', KEYS[1], 'evicting') == 0 then return 1 end
local keys, when, place = redis.call('LRANGE', KEYS[2], 0, -1), {}, {}
for i, key in ipairs(keys) do
  local at = redis.call('HGET', ARGV[1] .. key, 'evicts')
  when[key] = at and tonumber(at) or math.huge
  place[key] = i
end
table.sort(keys, function(a, b)
  if when[a] ~= when[b] then return when[a] < when[b] end
  return place[a] < place[b]
end)
redis.call('DEL', KEYS[2])
for first = 1, #keys, 1000 do redis.call('RPUSH', KEYS[2], unpack(keys, first, math.min(first + 999, #keys))) end
return 1
"""

CANCEL = """
-- KEYS run; ARGV now. Returns 1 for the first caller, if the run is there and still open.
if redis.call('HEXISTS', KEYS[1], 'request') == 0 or redis.call('HEXISTS', KEYS[1], 'closed') == 1 then return 0 end
return redis.call('HSETNX', KEYS[1], 'cancelled', ARGV[1])
"""

CLOSE_RUN = f"""{COUNT_FUNCTION}
-- KEYS run, counters; ARGV now, state, code, reason, artifact, counts of the metrics
-- Returns 1 for the first caller only, if the run is there.
if redis.call('HEXISTS', KEYS[1], 'request') == 0 then return 0 end
if redis.call('HSETNX', KEYS[1], 'closed', ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'code', ARGV[3], 'reason', ARGV[4], 'artifact', ARGV[5])
count(KEYS[2], ARGV[6])
return 1
"""

READ_FIELDS = """
-- KEYS items; ARGV fields. Returns a JSON list with a list of the fields' values for each item; false is none.
local found = {}
for i, item in ipairs(KEYS) do found[i] = redis.call('HMGET', item, unpack(ARGV)) end
return cjson.encode(found)
"""
