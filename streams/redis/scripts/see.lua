-- Adds pages that a shopper saw to those that are remembered, and keeps the newest; in any order, any number of times.
--
-- KEYS  seen, forgotten, users that the session logged in as     (of one shopper)
-- ARGV  ttl s, how many pages to keep, then per page: time ms, member
-- Returns  the first of the users, if any
local seen, cap = KEYS[1], tonumber(ARGV[2])
local forgotten = tonumber(redis.call('HGET', KEYS[2], 'at') or '') or -1
for i = 3, #ARGV, 2 do
  if tonumber(ARGV[i]) > forgotten then redis.call('ZADD', seen, 'LT', ARGV[i], ARGV[i + 1]) end
end
redis.call('ZREMRANGEBYRANK', seen, 0, -cap - 1)
redis.call('EXPIRE', seen, ARGV[1])
return redis.call('ZRANGE', KEYS[3], 0, 0)
