-- Reads the whole hash, the stream's description and its first entries at one moment. KEYS: the hash, the stream. ARGV: the
-- most entries.
local fields, cursor = {}, '0'
repeat
  local part = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', 1000)
  cursor = part[1]
  for i = 1, #part[2] do fields[#fields + 1] = part[2][i] end
until cursor == '0'
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', ARGV[1])
return {{cursor, fields}, redis.call('XINFO', 'STREAM', KEYS[2]), first}
