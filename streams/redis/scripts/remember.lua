-- Takes one shopper's new events into memory, counts what they change, and returns what is remembered: one atomic step.
--
-- Every write is either a set union cut to its newest members or guarded by one, so events may come twice, late or in
-- any order and leave the same state.
--
-- Demand counts shoppers, not acts. What a shopper has counted for in an hour is kept item by item: an item counts as
-- much as the weightiest act upon it in the hour, however often it was done, and two items were seen together once in
-- an hour in which the shopper touched both. An act that neither enters the history nor belongs to an hour that is
-- still known is taken for an old one repeated. Of a suspected bot nothing counts.
--
-- KEYS  items, queries, bought            (of one shopper)
-- ARGV  prefix of the shard's keys, ttl s, caps: items, queries, bought, together; trend bucket ms, trend ttl s,
--       how many newest items to return; prefix of what the shopper has counted for by bucket, how many items of one
--       bucket may count; the key that marks the shopper as a bot, s to mark it for from now on (0: as it is); then per
--       event: code, time ms, member, item id or query, weight
-- Returns  {items and scores, queries and scores, bought, number of events that entered the history}, newest first.

local items, queries, bought = KEYS[1], KEYS[2], KEYS[3]
local prefix, ttl = ARGV[1], ARGV[2]
local cap_items, cap_queries, cap_bought, cap_together =
  tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local bucket_ms, trend_ttl, newest = tonumber(ARGV[7]), ARGV[8], tonumber(ARGV[9])
local counted, cap_counted, mark, mark_s = ARGV[10], tonumber(ARGV[11]), ARGV[12], tonumber(ARGV[13])
local entered = 0

if mark_s > 0 then redis.call('SET', mark, 1, 'EX', mark_s) end
local bot = redis.call('EXISTS', mark) == 1

local function enters(key, score, member, cap)
  if redis.call('ZADD', key, 'LT', score, member) == 0 then return false end
  redis.call('ZREMRANGEBYRANK', key, 0, -cap - 1)
  if redis.call('ZSCORE', key, member) == false then return false end
  entered = entered + 1
  return true
end

local function pair(a, b)
  local key = prefix .. 'with:' .. a
  redis.call('ZINCRBY', key, 1, b)
  if redis.call('ZCARD', key) > 2 * cap_together then
    redis.call('ZREMRANGEBYRANK', key, 0, -cap_together - 1)
  end
  redis.call('EXPIRE', key, ttl)
end

local function demand(time, item, weight, new)
  local bucket = string.format('%.0f', math.floor(time / bucket_ms))
  local mine = counted .. ':' .. bucket
  local before = tonumber(redis.call('HGET', mine, item) or 0) or 0
  if weight <= before then return end
  if before == 0 then
    local others = redis.call('HKEYS', mine)
    if #others >= cap_counted or (#others == 0 and not new) then return end
    for _, other in ipairs(others) do
      pair(item, other)
      pair(other, item)
    end
  end
  redis.call('HSET', mine, item, weight)
  redis.call('EXPIRE', mine, trend_ttl)
  redis.call('ZINCRBY', prefix .. 'trend:' .. bucket, weight - before, item)
  redis.call('EXPIRE', prefix .. 'trend:' .. bucket, trend_ttl)
end

for i = 14, #ARGV, 5 do
  local code, time, member, what, weight = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  if code == 's' then
    enters(queries, time, member, cap_queries)
  else
    local new = enters(items, time, member, cap_items)
    if not bot then demand(time, what, tonumber(weight), new) end
    if new and code == 'p' then
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
  entered,
}
