-- Renews lifetimes, removes machines, and returns the time and all lifetimes. KEYS: the hash. ARGV: the lifetime in
-- milliseconds, the machine to renew or to end, `end` if that, the machine to renew if it has a lifetime, the machines to remove
-- if they have none. The first number is 1 if the first machine had a lifetime. One that ends later than a lifetime can is of a
-- clock that has stepped back: it ends as if it were renewed now.
if not redis.call('HGET', KEYS[1], 'epoch') then return false end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local list = redis.call('HGET', KEYS[1], 'machines') or ''
local lifetimes = {}
for machine, lifetime in string.gmatch(list, ' (%w+)=(-?%d+)') do lifetimes[machine] = tonumber(lifetime) end
local own, before = ARGV[2], ARGV[4]
local is_changed = own ~= '' or before ~= '' or #ARGV > 4
for machine, lifetime in pairs(lifetimes) do
  if lifetime > now + ARGV[1] then lifetimes[machine], is_changed = now + ARGV[1], true end
end
local had_lifetime = (lifetimes[own] or 0) > now and 1 or 0
if own ~= '' then lifetimes[own] = ARGV[3] == 'end' and -1 or now + ARGV[1] end
if lifetimes[before] then lifetimes[before] = now + ARGV[1] end
for i = 5, #ARGV do
  if (lifetimes[ARGV[i]] or 0) <= now then lifetimes[ARGV[i]] = nil end
end
local out = {}
for machine, lifetime in pairs(lifetimes) do out[#out + 1] = ' ' .. machine .. '=' .. string.format('%.0f', lifetime) end
out = table.concat(out)
if out == '' and list ~= '' then
  redis.call('HDEL', KEYS[1], 'machines')
elseif out ~= list and is_changed then
  redis.call('HSET', KEYS[1], 'machines', out)
end
return {had_lifetime, string.format('%.0f', now), out}
