-- Notes when the feeds of shoppers are made again.
-- KEYS  sorted set of shoppers, by that time
-- ARGV  ttl s; then per shopper: id, the time ms ('' for never), and the time that must be noted now ('' for any)
for i = 2, #ARGV, 3 do
  local shopper, at, was = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if was == '' or tonumber(redis.call('ZSCORE', KEYS[1], shopper) or '') == tonumber(was) then
    if at == '' then redis.call('ZREM', KEYS[1], shopper) else redis.call('ZADD', KEYS[1], at, shopper) end
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
