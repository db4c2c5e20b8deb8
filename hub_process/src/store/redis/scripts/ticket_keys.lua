-- Returns the keys of tickets: the one that seals, and the one before. Makes another one if there is none of this epoch, or if it
-- has sealed for long enough. Returns nothing if another epoch has begun. KEYS: the hash, the pointer. ARGV: the epoch; for how
-- many milliseconds a key seals, and opens as long once more; the secret of another key; the number of the first one. That is
-- random, so that hubs notice if Redis has lost the keys.
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then return false end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local current, previous, epoch = unpack(redis.call('HMGET', KEYS[1], 'current', 'previous', 'epoch'))
if epoch ~= ARGV[1] then current, previous = false, false end
local number, since = string.match(current or '', '^(%d+) (%d+) ')
if not number or now >= since + ARGV[2] then
  number, previous = number and (number + 1) % 256 or ARGV[4], current
  current = string.format('%.0f %.0f %s', number, now, ARGV[3])
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'current', current)
  if previous then redis.call('HSET', KEYS[1], 'previous', previous) end
  redis.call('PEXPIRE', KEYS[1], 2 * ARGV[2])
end
return {current, previous}
