"""The transactions of the ledger where two writers can meet, as Lua: Redis runs each as one step."""

ADD_ITEM = """
-- KEYS item, order, run; ARGV key, item_id, state, size, code, reason, stac, station. Returns 1 if the item is new.
if redis.call('HSETNX', KEYS[1], 'item_id', ARGV[2]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[3], 'size', ARGV[4], 'code', ARGV[5], 'reason', ARGV[6], 'stac', ARGV[7],
    'station', ARGV[8])
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('HINCRBY', KEYS[3], 'items', 1)
redis.call('HINCRBY', KEYS[3], 'bytes_found', ARGV[4])
return 1
"""

MERGE_ITEM = """
-- KEYS item, run; ARGV stac as it was read, size, stac. Returns 0, and changes nothing, where work has begun by now.
if redis.call('HEXISTS', KEYS[1], 'claimed') == 1 or redis.call('HEXISTS', KEYS[1], 'finished') == 1
    or redis.call('HGET', KEYS[1], 'stac') ~= ARGV[1] then return 0 end
redis.call('HINCRBY', KEYS[2], 'bytes_found', ARGV[2] - redis.call('HGET', KEYS[1], 'size'))
redis.call('HSET', KEYS[1], 'state', 'found', 'size', ARGV[2], 'code', '', 'reason', '', 'stac', ARGV[3])
return 1
"""

RECORD = """
-- KEYS item; ARGV field, value, ... Returns 0, and changes nothing, once the item is finished.
if redis.call('HEXISTS', KEYS[1], 'finished') == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""

SETTLE = """
-- KEYS item, run, in_flight; ARGV key, now, state, code, reason, counter, ... Returns 1 for the first caller only.
if redis.call('HSETNX', KEYS[1], 'finished', ARGV[2]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[3], 'code', ARGV[4], 'reason', ARGV[5])
for i = 6, #ARGV do redis.call('HINCRBY', KEYS[2], ARGV[i], 1) end
redis.call('HINCRBY', KEYS[2], 'bytes_finished', redis.call('HGET', KEYS[1], 'size') or 0)
redis.call('HDEL', KEYS[3], ARGV[1])
if ARGV[3] ~= 'failed' then redis.call('HDEL', KEYS[1], 'stac') end
return 1
"""

PROGRESS = """
-- KEYS item, run, in_flight; ARGV key, bytes come since the last call, bytes of the item that are there by now.
redis.call('HINCRBY', KEYS[1], 'downloaded', ARGV[2])
redis.call('HINCRBY', KEYS[2], 'bytes_downloaded', ARGV[2])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
return 1
"""

CLOSE_PAGE = """
-- KEYS closed_pages, run; ARGV page. Returns 1 if every page of the run is closed now.
redis.call('SADD', KEYS[1], ARGV[1])
local pages = tonumber(redis.call('HGET', KEYS[2], 'pages') or '-1')
if redis.call('SCARD', KEYS[1]) >= pages and pages >= 0 then return 1 end
return 0
"""

CLOSE_RUN = """
-- KEYS run; ARGV now, state, code, reason, artifact. Returns 1 for the first caller only.
if redis.call('HSETNX', KEYS[1], 'closed', ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'code', ARGV[3], 'reason', ARGV[4], 'artifact', ARGV[5])
return 1
"""
