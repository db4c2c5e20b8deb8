-- Renews leases, removes machines, and returns the time and all leases. KEYS: the hash. ARGV: the lease in milliseconds, the
-- machine to renew or to end, `end` if that, the machine to renew if it has a lease, the machines to remove if they have none.
-- The first number is 1 if the first machine had a lease. One that ends later than a lease can is of a clock that has stepped
-- back: it ends as if it were renewed now.
if not redis.call('HGET', KEYS[1], 'epoch') then return false end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local list = redis.call('HGET', KEYS[1], 'machines') or ''
local leases = {}
for machine, lease in string.gmatch(list, ' (%w+)=(-?%d+)') do leases[machine] = tonumber(lease) end
local own, before = ARGV[2], ARGV[4]
local is_changed = own ~= '' or before ~= '' or #ARGV > 4
for machine, lease in pairs(leases) do
  if lease > now + ARGV[1] then leases[machine], is_changed = now + ARGV[1], true end
end
local had_lease = (leases[own] or 0) > now and 1 or 0
if own ~= '' then leases[own] = ARGV[3] == 'end' and -1 or now + ARGV[1] end
if leases[before] then leases[before] = now + ARGV[1] end
for i = 5, #ARGV do
  if (leases[ARGV[i]] or 0) <= now then leases[ARGV[i]] = nil end
end
local out = {}
for machine, lease in pairs(leases) do out[#out + 1] = ' ' .. machine .. '=' .. string.format('%.0f', lease) end
out = table.concat(out)
if out == '' and list ~= '' then
  redis.call('HDEL', KEYS[1], 'machines')
elseif out ~= list and is_changed then
  redis.call('HSET', KEYS[1], 'machines', out)
end
return {had_lease, string.format('%.0f', now), out}
