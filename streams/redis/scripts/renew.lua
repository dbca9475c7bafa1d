-- Notes when the feeds of shoppers are made again.
-- KEYS  sorted set of shoppers, by that time
-- ARGV  ttl s; MessagePack of {{shopper, the time ms (nil for never), the time that must be noted now (nil for any)},
--       ...}
for _, one in ipairs(cmsgpack.unpack(ARGV[2])) do
  local shopper, at, was = one[1], one[2], one[3]
  if not was or tonumber(redis.call('ZSCORE', KEYS[1], shopper) or '') == was then
    if at then redis.call('ZADD', KEYS[1], at, shopper) else redis.call('ZREM', KEYS[1], shopper) end
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
