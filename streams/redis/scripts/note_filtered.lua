-- Notes shelves under filters that will be written for a shopper, the newest of which are kept.
-- KEYS  sorted set of the shopper's shelf keys, by time     ARGV  now ms, how many are kept, ttl s, shelf key, ...
-- Returns  the keys of the older ones, which are no longer noted.
local mine, now, most = KEYS[1], ARGV[1], tonumber(ARGV[2])
for i = 4, #ARGV do redis.call('ZADD', mine, now, ARGV[i]) end
local old = redis.call('ZRANGE', mine, 0, -most - 1)
redis.call('ZREMRANGEBYRANK', mine, 0, -most - 1)
redis.call('EXPIRE', mine, ARGV[3])
return old
