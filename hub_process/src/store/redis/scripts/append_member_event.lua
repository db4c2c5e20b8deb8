-- Changes the machines on which a member is, and appends the member's event if that is news. ARGV begins with what happened
-- (`here`, `changed`, `gone`; `reap` if the machine's lifetime has ended), the machine, its first lifetime in milliseconds, and
-- its former names, separated by blanks. A member that is here or gone loses the former names. Returns as the script for other
-- events does, and `done` if it was not news.
--
-- A machine has a lifetime from its first member on: it renews that only when it has the answers, for which it waits as long as
-- replicas need. What a machine that is `gone` without having said so is removed from must not count as its own again when the
-- clock goes back: so it has no lifetime from then on.
local mode, machine = table.remove(ARGV, 1), table.remove(ARGV, 1)
local first_lifetime, formers = table.remove(ARGV, 1), table.remove(ARGV, 1)
if is_of_other_epoch() then return false end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lifetimes = redis.call('HGET', KEYS[2], 'machines') or ''
local lifetime = tonumber(string.match(lifetimes, ' ' .. machine .. '=(-?%d+)'))
if mode == 'here' and not lifetime then
  lifetimes = lifetimes .. ' ' .. machine .. '=' .. string.format('%.0f', now + first_lifetime)
  redis.call('HSET', KEYS[2], 'machines', lifetimes)
end
if is_repeated() then return '0-0' end

local id, machines, rest = string.match(redis.call('HGET', KEYS[2], ARGV[3]) or '', '^([^, ]*)([^ ]*)(.*)$')
local function without(name)
  local at = name ~= '' and string.find(machines, ',' .. name, 1, true)
  return at and string.sub(machines, 1, at - 1) .. string.sub(machines, at + 1 + #name) or machines
end
local function without_formers()
  for name in string.gmatch(formers, '%w+') do machines = without(name) end
  return machines
end

local before, is_news = machines, machines ~= ''
if mode == 'here' then
  is_news = not is_news
  machines = without_formers()
  if without(machine) == machines then machines = machines .. ',' .. machine end
elseif mode ~= 'changed' then
  if mode == 'reap' and lifetime and lifetime > 0 then
    if lifetime > now then return 'done' end
    lifetimes = string.gsub(lifetimes, ' ' .. machine .. '=%d+', ' ' .. machine .. '=0')
    redis.call('HSET', KEYS[2], 'machines', lifetimes)
  end
  machines = without_formers()
  machines = without(machine)
  is_news = machines ~= before and machines == ''
end
if not is_news then
  redis.call('HSET', KEYS[2], producer, count .. ' ' .. string.format('%.0f-0', now))
  if machines ~= before then redis.call('HSET', KEYS[2], ARGV[3], id .. machines .. rest) end
  return 'done'
end
return append(machines .. ' ' .. #ARGV[9] .. ':' .. ARGV[9])
