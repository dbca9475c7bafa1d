-- Items of one shard whose statistics changed at or after a time, with the times of their last change; reads only.
--
-- KEYS  sorted set of items by time of change, epoch ms
-- ARGV  the time, epoch ms
-- Returns  {item, time, item, time, ...}, the oldest first.

return redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'WITHSCORES')
