-- Sets another epoch, if the epoch is still the expected one or none is set. Returns 1 if it has. KEYS: the pointer, the stream
-- before, the stream, the state, the set of keys `once`. ARGV: the expected epoch, the layout, the epoch, the key of opaque ids,
-- the reason.
--
-- The first entry of the stream is a marker with the first id: XADD NOMKSTREAM works from then on, and every later id is
-- greater than the origin, wherever Redis' clock goes. The marker is evicted like an entry.
--
-- The state continues if its ids are sequence numbers of the new epoch (`2^40` milliseconds are 35 years), and then the marker
-- is after all of them.
local current = redis.call('HGET', KEYS[1], 'epoch')
if current and current ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local first = time[1] * 1000 + math.floor(time[2] / 1000)
local origin = first
local state = redis.pcall('HMGET', KEYS[4], 'origin', 'last')
local before, last = tonumber(state[1] or ''), tonumber(string.match(state[2] or '', '^%d+') or '')
if before and last and math.max(first, last + 1) - before < 2^40 then
  origin, first = before, math.max(first, last + 1)
else
  redis.call('UNLINK', KEYS[4])
end
origin, first = string.format('%.0f', origin), string.format('%.0f', first)
redis.call('DEL', KEYS[1])
redis.call('UNLINK', KEYS[2], KEYS[5])
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[1], 'layout', ARGV[2], 'epoch', ARGV[3], 'origin', origin, 'cipher', ARGV[4], 'reason', ARGV[5])
redis.call('XADD', KEYS[3], first .. '-0', 'marker', ARGV[3])
redis.call('HSET', KEYS[4], 'epoch', ARGV[3], 'origin', origin)
return 1
