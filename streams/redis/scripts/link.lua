-- Adds names to a sorted set by time, and keeps the earliest or the newest of them; in any order, any number of times.
--
-- KEYS  sorted set, forgotten     (of one shopper)
-- ARGV  ttl s, how many to keep, LT (each name's earliest time; the earliest stay) or GT (the newest), then name, time ms
local set, ttl, cap, which = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]
local forgotten = tonumber(redis.call('HGET', KEYS[2], 'at') or '') or -1
for i = 4, #ARGV, 2 do
  if tonumber(ARGV[i + 1]) > forgotten then redis.call('ZADD', set, which, ARGV[i + 1], ARGV[i]) end
end
if which == 'LT' then
  redis.call('ZREMRANGEBYRANK', set, cap, -1)
else
  redis.call('ZREMRANGEBYRANK', set, 0, -cap - 1)
end
redis.call('EXPIRE', set, ttl)
