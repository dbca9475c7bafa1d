-- Keeps the newest value of each attribute of a shopper's profile, in any order, any number of times. Of two values of
-- one time the greater bytes stay; beyond the bound the attributes that were set longest ago go.
--
-- KEYS  profile, forgotten     (of one shopper)
-- ARGV  ttl s, how many attributes to keep, then per value: attribute, time ms, value as JSON
local profile, cap = KEYS[1], tonumber(ARGV[2])
local forgotten = tonumber(redis.call('HGET', KEYS[2], 'at') or '') or -1

local function parted(kept)
  local at, value = string.match(kept or '', '^(%d+):(.*)$')
  return tonumber(at or '') or -1, value or ''
end

for i = 3, #ARGV, 3 do
  local name, at, value = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  local since, there = parted(redis.call('HGET', profile, name))
  if at > forgotten and (at > since or (at == since and value > there)) then
    redis.call('HSET', profile, name, string.format('%.0f', at) .. ':' .. value)
  end
end
local beyond = redis.call('HLEN', profile) - cap
if beyond > 0 then
  local ages, kept = {}, redis.call('HGETALL', profile)
  for i = 1, #kept, 2 do ages[#ages + 1] = {(parted(kept[i + 1])), kept[i]} end
  table.sort(ages, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
  for i = 1, beyond do redis.call('HDEL', profile, ages[i][2]) end
end
redis.call('EXPIRE', profile, ARGV[1])
