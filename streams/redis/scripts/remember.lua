-- Takes one shopper's new events into memory, counts what they change, and returns what is remembered: one atomic step.
--
-- Every write is a set union cut to its newest members, or is guarded by one, so events may come twice or in any order
-- and leave the same state.
--
-- Demand counts shoppers, not acts. What a shopper counts for in an hour is a set of cells: pairs of an item and a kind
-- of act. A cell counts when it is new in its hour's set, whatever else is remembered. An item weighs as much as the
-- weightiest of its cells, and two items were seen together once in an hour in which the shopper touched both. Of a
-- suspected bot nothing counts.
--
-- An hour's cells are there as long as the hour is open: until the shopper's clock is the kept time past its end. The
-- clock is the wall clock plus the largest difference of an event's time to its arrival: it is never behind an event,
-- and goes on with the wall clock, as the life of a key does. What comes for a closed hour is late, and does not count,
-- whether it is repeated or not. So nothing counts twice.
--
-- KEYS  items, queries, bought, clock     (of one shopper)
-- ARGV  prefix of the shard's keys, ttl s, caps: items, queries, bought, together, and together before it is cut;
--       trend bucket ms, trend ttl s, which is also for how long cells are kept; how many newest items to return; prefix
--       of the shopper's cells by bucket, how many items of one bucket may count; the key that marks the shopper as a
--       bot, s to mark it for from now on (0: as it is); code and weight of each kind of act; then per event: code,
--       time ms, member, item id or query
-- Returns  {items and scores, queries and scores, bought: each newest first; number of late acts, number of acts on
--       items beyond those that may count}

local items, queries, bought, clock = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, ttl = ARGV[1], ARGV[2]
local cap_items, cap_queries, cap_bought = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local cap_together, most_together = tonumber(ARGV[6]), tonumber(ARGV[7])
local bucket_ms, trend_ttl, newest = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local cells, cap_counted, mark, mark_s = ARGV[11], tonumber(ARGV[12]), ARGV[13], tonumber(ARGV[14])
local bits, weights = {}, {}
for code, weight in string.gmatch(ARGV[15], '(%a)(%d+)') do
  bits[code] = 2 ^ #weights
  weights[#weights + 1] = tonumber(weight)
end
local late, beyond = 0, 0

if mark_s > 0 then redis.call('SET', mark, 1, 'EX', mark_s) end
local bot = redis.call('EXISTS', mark) == 1

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ahead = tonumber(redis.call('GET', clock) or '') or -math.huge
if ahead ~= ahead or ahead == math.huge then ahead = -math.huge end

local function remember(key, score, member, cap)
  redis.call('ZADD', key, 'LT', score, member)
  redis.call('ZREMRANGEBYRANK', key, 0, -cap - 1)
end

local function pair(a, b)
  local key = prefix .. 'with:' .. a
  redis.call('ZINCRBY', key, 1, b)
  if redis.call('ZCARD', key) > most_together then
    redis.call('ZREMRANGEBYRANK', key, 0, -cap_together - 1)
  end
  redis.call('EXPIRE', key, ttl)
end

local function holds(mask, bit) return math.floor(mask / bit) % 2 == 1 end

local function weigh(mask)
  local most = 0
  for place, weight in ipairs(weights) do
    if weight > most and holds(mask, 2 ^ (place - 1)) then most = weight end
  end
  return most
end

local function count(at, item, bit)
  local number = math.floor(at / bucket_ms)
  local open_ms = (number + 1) * bucket_ms + trend_ttl * 1000 - (now + ahead)
  if open_ms <= 0 then
    late = late + 1
    return
  end
  local bucket = string.format('%.0f', number)
  local mine = cells .. ':' .. bucket
  local before = tonumber(redis.call('HGET', mine, item) or 0) or 0
  if holds(before, bit) then return end
  if before == 0 then
    local others = redis.call('HKEYS', mine)
    if #others >= cap_counted then
      beyond = beyond + 1
      return
    end
    for _, other in ipairs(others) do
      pair(item, other)
      pair(other, item)
    end
  end
  redis.call('HSET', mine, item, before + bit)
  redis.call('PEXPIRE', mine, string.format('%.0f', open_ms))
  local more = weigh(before + bit) - weigh(before)
  if more > 0 then
    redis.call('ZINCRBY', prefix .. 'trend:' .. bucket, more, item)
    redis.call('EXPIRE', prefix .. 'trend:' .. bucket, trend_ttl)
  end
end

for i = 16, #ARGV, 4 do
  local code, at, member, what = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3]
  ahead = math.max(ahead, at - now)
  if code == 's' then
    remember(queries, at, member, cap_queries)
  else
    remember(items, at, member, cap_items)
    if not bot then count(at, what, bits[code]) end
    if code == 'p' then
      redis.call('ZADD', bought, 'GT', at, what)
      redis.call('ZREMRANGEBYRANK', bought, 0, -cap_bought - 1)
    end
  end
end

if ahead > -math.huge then redis.call('SET', clock, string.format('%.0f', ahead), 'EX', ttl) end
redis.call('EXPIRE', items, ttl)
redis.call('EXPIRE', queries, ttl)
redis.call('EXPIRE', bought, ttl)
return {
  redis.call('ZREVRANGE', items, 0, newest - 1, 'WITHSCORES'),
  redis.call('ZREVRANGE', queries, 0, cap_queries - 1, 'WITHSCORES'),
  redis.call('ZREVRANGE', bought, 0, -1),
  late,
  beyond,
}
