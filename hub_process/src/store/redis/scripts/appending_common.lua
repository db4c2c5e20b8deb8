-- What the scripts share that append an event and change the state. KEYS: the stream, the hash, the set of keys `once`.
-- ARGV: the most entries of the stream, their age in milliseconds, the field of the hash, then the entry's fields: `c` with
-- the channel, `r` or `x` with the key, perhaps `o` with the key `once` or `m` with what the hub needs to continue a member,
-- `f` with the event's fields, `p` with the producer and its count.

local producer, count = string.match(ARGV[#ARGV], '^(.*):(%d+)$')
producer = 'p:' .. producer

-- The stream is not that of the state: another epoch has begun, or the state is gone. The stream of the epoch before may be
-- there still, for the hub that has begun the next one did not know of it.
local function is_of_other_epoch()
  return redis.call('HGET', KEYS[2], 'epoch') ~= string.match(KEYS[1], '%w*$')
end

-- The producer has done this, or something later. Something is written nevertheless, for a WAIT that follows.
local function is_repeated()
  local seen = redis.call('HGET', KEYS[2], producer)
  if not seen or tonumber(string.match(seen, '^%d+')) < tonumber(count) then return false end
  redis.call('HSET', KEYS[2], producer, seen)
  return true
end

-- Takes note of the key `once` of an event, and of when another one was added with it. Returns true if the history has that.
local function is_known(once, added_at, id)
  local ms = tonumber(string.match(id, '^%d+'))
  local known = added_at and tonumber(added_at) >= ms - ARGV[2]
  if not known then redis.call('ZADD', KEYS[3], ms, once) end
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. ms - ARGV[2])
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - ARGV[1])
  return known
end

-- Appends the event and changes the state. The value of a retained event is its id, then what comes before its fields, then
-- these. Returns the id; false if the stream is gone.
local function append(before_fields)
  local once = ARGV[8] == 'o' and ARGV[9]
  -- It may fail, so it comes before XADD.
  local added_at = once and redis.call('ZSCORE', KEYS[3], once)
  local id = redis.call('XADD', KEYS[1], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 4))
  if not id then return id end
  local known = once and is_known(once, added_at, id)
  local field, value = 'last', id
  if ARGV[6] == 'r' and not known then
    field, value = ARGV[3], id .. before_fields .. ARGV[#ARGV - 2]
  elseif not known then
    redis.call('HDEL', KEYS[2], ARGV[3])
  end
  redis.call('HSET', KEYS[2], producer, count .. ' ' .. id, 'last', id, field, value)
  return id
end
