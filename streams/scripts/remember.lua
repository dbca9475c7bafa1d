-- Takes one shopper's new events into memory, counts what they change, and returns what is remembered: one atomic step.
--
-- Every write is either a set union cut to its newest members or guarded by one, so events may come twice, late or in
-- any order and leave the same state: an event counts when it enters the shopper's history, which it can do only once;
-- one older than all the history holds is not counted, first time or repeated.
--
-- KEYS  items, queries, bought            (of one shopper)
-- ARGV  prefix of the shard's keys, ttl s, caps: items, queries, bought, together; together window ms,
--       trend bucket ms, trend ttl s, how many newest items to return, then per event:
--       code, time ms, member, item id or query, weight
-- Returns  {items and scores, queries and scores, bought, number of events counted}, newest first.

local items, queries, bought = KEYS[1], KEYS[2], KEYS[3]
local prefix, ttl = ARGV[1], ARGV[2]
local cap_items, cap_queries, cap_bought, cap_together =
  tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local window, bucket_ms, trend_ttl, newest = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9], tonumber(ARGV[10])
local counted = 0

local function enters(key, score, member, cap)
  if redis.call('ZADD', key, 'LT', score, member) == 0 then return false end
  redis.call('ZREMRANGEBYRANK', key, 0, -cap - 1)
  return redis.call('ZSCORE', key, member) ~= false
end

local function pair(a, b, weight)
  local key = prefix .. 'with:' .. a
  redis.call('ZINCRBY', key, weight, b)
  if redis.call('ZCARD', key) > 2 * cap_together then
    redis.call('ZREMRANGEBYRANK', key, 0, -cap_together - 1)
  end
  redis.call('EXPIRE', key, ttl)
end

for i = 11, #ARGV, 5 do
  local code, time, member, what, weight = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  if code == 's' then
    if enters(queries, time, member, cap_queries) then counted = counted + 1 end
  elseif enters(items, time, member, cap_items) then
    counted = counted + 1
    local trend = prefix .. 'trend:' .. math.floor(time / bucket_ms)
    redis.call('ZINCRBY', trend, weight, what)
    redis.call('EXPIRE', trend, trend_ttl)
    for _, other in ipairs(redis.call('ZRANGEBYSCORE', items, time - window, time + window)) do
      local with = string.match(other, '^.\31(.*)\31')
      if with ~= what then
        pair(what, with, 1)
        pair(with, what, 1)
      end
    end
    if code == 'p' then
      redis.call('ZADD', bought, 'GT', time, what)
      redis.call('ZREMRANGEBYRANK', bought, 0, -cap_bought - 1)
    end
  end
end

redis.call('EXPIRE', items, ttl)
redis.call('EXPIRE', queries, ttl)
redis.call('EXPIRE', bought, ttl)
return {
  redis.call('ZREVRANGE', items, 0, newest - 1, 'WITHSCORES'),
  redis.call('ZREVRANGE', queries, 0, cap_queries - 1, 'WITHSCORES'),
  redis.call('ZREVRANGE', bought, 0, -1),
  counted,
}
