-- Takes new events of some shoppers of a shard into memory, counts what they change, and returns what is remembered:
-- one atomic step.
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
-- Sums that decay grow forward: what counts at time t adds 2 ^ ((t - origin) / half-life), and a reader divides by the
-- weight of its own time. So the order of events does not matter. docs/behaviour.md has the layout of all values.
--
-- What happened up to the time at which the shopper was forgotten is ignored.
--
-- KEYS  prefix of the shard's keys
-- ARGV  ttl s (0: without events, leaves lives as they are), ttl s of who has bought, caps:
--       items, queries, bought, own, visits, items of the shard with statistics, together, and together before it is
--       cut; trend bucket ms, trend ttl s, which is also for how long cells are kept; how many newest items to return;
--       how many items of one bucket may count; code and weight of each kind of
--       act; how many segments may count in a bucket; how many queries to keep whose shelves are found by them;
--       MessagePack of {{shopper as in keys, s to mark it as a bot for from now on (0: as it is), {per event: code,
--       time ms, member, item id or query, ...}}, ...}. An event
--       without a member counts and does not enter the history. One whose code is a capital enters it and does not
--       count: it was brought from a session, with what it counts for
-- Returns  per shopper {items and scores, queries and scores, bought: each newest first; number of late acts, number of
--       acts on items beyond those that may count; own items and their values; times of visits, s, ascending;
--       profile, first of the users, time up to which events are ignored, clock; pages seen and times, newest first}

local prefix, kept_s, buyer_ttl = KEYS[1], ARGV[1], ARGV[2]
local cap_items, cap_queries, cap_bought = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local cap_own, cap_visits = tonumber(ARGV[6]), tonumber(ARGV[7])
local cap_statistics, cap_together, most_together = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local bucket_ms, trend_ttl, newest = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local cap_counted, acts = tonumber(ARGV[14]), ARGV[15]
local cap_segments, cap_searched = tonumber(ARGV[16]), tonumber(ARGV[17])

-- include layout.lua

local REBASED = 200 -- half-lives after which an origin moves on

local function remembered(name, mark_s, events)
  local function own_key(kind) return prefix .. kind .. ':' .. name end

  local items, queries, bought = own_key('items'), own_key('queries'), own_key('bought')
  local clock, own, visits = own_key('clock'), own_key('own'), own_key('visits')
  local profile, users, searched, seen = own_key('profile'), own_key('users'), own_key('searched'), own_key('seen')
  local cells, mark, ttl = own_key('cells'), own_key('bot'), kept_s
  local forgotten = tonumber(redis.call('HGET', own_key('forgotten'), 'at') or '') or -1
  local late, beyond = 0, 0

  local segment = segment_of(profile)

  if mark_s > 0 then redis.call('SET', mark, 1, 'EX', mark_s) end
  local bot = redis.call('EXISTS', mark) == 1

  local ahead = tonumber(redis.call('GET', clock) or '') or -math.huge
  if ahead ~= ahead or ahead == math.huge then ahead = -math.huge end

  local statistics, changed = {}, {}

  local function of_item(item)
    local row = statistics[item]
    if not row then
      row = item_row(redis.call('GET', prefix .. 'stats:' .. item)) or no_item()
      statistics[item] = row
    end
    return row
  end

  local function demanded(row, at, amount)
    for _, one in ipairs(SHORT) do
      local column, days, origin = one[1], one[2], one[3]
      if row[origin] == 0 then row[origin] = at end
      if (at - row[origin]) / (days * DAY) > REBASED then
        row[column] = row[column] * 2 ^ (-(at - row[origin]) / (days * DAY))
        row[origin] = at
      end
      row[column] = row[column] + amount * forward(at, days, row[origin])
    end
    row[WEEK] = row[WEEK] + amount * forward(at, 7)
    row[MONTH] = row[MONTH] + amount * forward(at, 30)
    row[QUARTER] = row[QUARTER] + amount * forward(at, 91)
  end

  local owned = redis.call('HLEN', own)

  local function of_shopper(item) return own_row(redis.call('HGET', own, item)) end

  -- Keep the items touched last.
  local function cut_own()
    local held, touched = redis.call('HGETALL', own), {}
    for i = 1, #held, 2 do
      touched[#touched + 1] = { held[i], own_row(held[i + 1])[5] }
    end
    table.sort(touched, function(a, b)
      if a[2] ~= b[2] then return a[2] > b[2] end
      return a[1] < b[1]
    end)
    for i = cap_own + 1, #touched do redis.call('HDEL', own, touched[i][1]) end
    owned = math.min(cap_own, #touched)
  end

  -- Cut as soon as there are too many, not at the end of a call: which events come together must make no difference.
  local function keep_own(item, row)
    owned = owned + redis.call('HSET', own, item, struct.pack(OWN, unpack(row)))
    if owned > cap_own * 1.25 then cut_own() end
  end

  local function purchased(row, one, at)
    local s = math.floor(at / 1000)
    if one[1] == 0 then
      row[BUYERS] = row[BUYERS] + 1
      row[NEW_WEEK] = row[NEW_WEEK] + forward(at, 7)
      row[NEW_MONTH] = row[NEW_MONTH] + forward(at, 30)
      one[3], one[4] = s, s
    else
      row[REPEATS] = row[REPEATS] + 1
      row[DAYS] = row[DAYS] + (math.max(0, s - one[4]) + math.max(0, one[3] - s)) / 86400
      if s < one[3] then
        local first = one[3] * 1000
        row[NEW_WEEK] = row[NEW_WEEK] + forward(at, 7) - forward(first, 7)
        row[NEW_MONTH] = row[NEW_MONTH] + forward(at, 30) - forward(first, 30)
      end
      one[3], one[4] = math.min(one[3], s), math.max(one[4], s)
    end
    one[1] = one[1] + 1
  end

  local function remember(key, score, member, cap)
    redis.call('ZADD', key, 'LT', score, member)
    redis.call('ZREMRANGEBYRANK', key, 0, -cap - 1)
  end

  -- Keep those that were seen together most often for how often they were seen at all: of counts alone, what is popular
  -- would stay.
  local function cut(key)
    local held, worth, keys = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES'), {}, {}
    for i = 1, #held, 2 do keys[#keys + 1] = prefix .. 'stats:' .. held[i] end
    local values = redis.call('MGET', unpack(keys))
    for i = 1, #held, 2 do
      local count, visits, value = tonumber(held[i + 1]), 0, values[(i + 1) / 2]
      if statistics[held[i]] then
        visits = statistics[held[i]][VISITS]
      elseif value and #value == 112 then
        visits = struct.unpack('<d', value, 8 * VISITS - 7)
      end
      worth[#worth + 1] = { held[i], count / math.sqrt(math.max(count, visits)) }
    end
    table.sort(worth, function(a, b)
      if a[2] ~= b[2] then return a[2] > b[2] end
      return a[1] < b[1]
    end)
    local gone = {}
    for i = cap_together + 1, #worth do gone[#gone + 1] = worth[i][1] end
    if #gone > 0 then redis.call('ZREM', key, unpack(gone)) end
  end

  local rows = {} -- rows of items seen together that grew

  local function pair(a, b, weight)
    local key = prefix .. 'with:' .. a
    redis.call('ZINCRBY', key, string.format('%.0f', weight), b)
    if redis.call('ZCARD', key) > most_together then cut(key) end
    rows[key] = true
  end

  local function count_segment(bucket, item, more)
    local segments, trend = prefix .. 'segments:' .. bucket, prefix .. 'trend:' .. bucket .. ':' .. segment
    if not redis.call('ZSCORE', segments, segment) and redis.call('ZCARD', segments) >= cap_segments then return end
    redis.call('ZINCRBY', segments, more, segment)
    redis.call('ZINCRBY', trend, more, item)
    redis.call('EXPIRE', segments, trend_ttl)
    redis.call('EXPIRE', trend, trend_ttl)
  end

  local function count(at, item, code)
    local bit = bits[code]
    local number = math.floor(at / bucket_ms)
    local open_ms = (number + 1) * bucket_ms + trend_ttl * 1000 - (now + ahead)
    if open_ms <= 0 then
      late = late + 1
      return
    end
    local bucket = string.format('%.0f', number)
    local hour = cells .. ':' .. bucket
    local before = tonumber(redis.call('HGET', hour, item) or 0) or 0
    if holds(before, bit) then return end
    local middle = middle_of(number)
    local row, one = of_item(item), of_shopper(item)
    if before == 0 then
      local others = redis.call('HKEYS', hour)
      if #others >= cap_counted then
        beyond = beyond + 1
        return
      end
      local weight = visit_weight(middle)
      row[VISITS] = row[VISITS] + weight
      for _, other in ipairs(others) do
        pair(item, other, weight)
        pair(other, item, weight)
      end
      if row[FIRST] == 0 or middle < row[FIRST] then row[FIRST] = middle end
      local s = math.floor(middle / 1000)
      one[5] = math.max(one[5], s)
      redis.call('ZADD', visits, s, string.format('%.0f', s))
      redis.call('ZREMRANGEBYRANK', visits, 0, -cap_visits - 1)
    end
    redis.call('HSET', hour, item, before + bit)
    redis.call('PEXPIRE', hour, string.format('%.0f', open_ms))
    changed[item] = true
    if code == 'p' then purchased(row, one, middle) end
    local more = weigh(before + bit) - weigh(before)
    if more > 0 then
      demanded(row, middle, more / top)
      one[2] = one[2] + more / top * forward(middle, 30)
      redis.call('ZINCRBY', prefix .. 'trend:' .. bucket, more, item)
      redis.call('EXPIRE', prefix .. 'trend:' .. bucket, trend_ttl)
      if segment then count_segment(bucket, item, more) end
    end
    keep_own(item, one)
  end

  -- An act of a session whose hour is closed: it counts for the session for good, and only the user's own items grow.
  local function bring(at, item, code)
    local number = math.floor(at / bucket_ms)
    if (number + 1) * bucket_ms + trend_ttl * 1000 - (now + ahead) > 0 then return end
    local one, middle = of_shopper(item), middle_of(number)
    local s = math.floor(middle / 1000)
    one[2] = one[2] + weights[math.log(bits[code]) / math.log(2) + 1] / top * forward(middle, 30)
    one[5] = math.max(one[5], s)
    if code == 'p' then
      one[3], one[4] = one[1] == 0 and s or math.min(one[3], s), math.max(one[4], s)
      one[1] = one[1] + 1
    end
    redis.call('ZADD', visits, s, string.format('%.0f', s))
    redis.call('ZREMRANGEBYRANK', visits, 0, -cap_visits - 1)
    keep_own(item, one)
  end

  local function act(code, at, member, what)
    ahead = math.max(ahead, at - now)
    if code == 's' then
      remember(queries, at, member, cap_queries)
      redis.call('ZADD', searched, 'GT', at, what)
      redis.call('ZREMRANGEBYRANK', searched, 0, -cap_searched - 1)
      redis.call('EXPIRE', searched, ttl)
      return
    end
    local kind = string.lower(code)
    if member ~= '' then
      local new = code ~= kind and not redis.call('ZSCORE', items, member)
      remember(items, at, member, cap_items)
      if new and bits[kind] and redis.call('ZSCORE', items, member) then bring(at, what, kind) end
    end
    if code == kind and not bot then count(at, what, code) end
    if kind == 'p' then
      redis.call('ZADD', bought, 'GT', at, what)
      redis.call('ZREMRANGEBYRANK', bought, 0, -cap_bought - 1)
    end
  end

  for i = 1, #events, 4 do
    local at = tonumber(events[i + 1])
    if at > forgotten then act(events[i], at, events[i + 2], events[i + 3]) end
  end

  for key in pairs(rows) do redis.call('EXPIRE', key, buyer_ttl) end
  local changes = false
  for item in pairs(changed) do
    changes = true
    redis.call('SET', prefix .. 'stats:' .. item, struct.pack(ITEM, unpack(statistics[item])), 'EX', buyer_ttl)
    redis.call('ZADD', prefix .. 'changed', string.format('%.0f', now), item)
  end
  if changes then
    redis.call('ZREMRANGEBYSCORE', prefix .. 'changed', '-inf', string.format('%.0f', now - buyer_ttl * 1000))
    local held = redis.call('ZRANGE', prefix .. 'changed', 0, -cap_statistics - 1)
    for _, item in ipairs(held) do redis.call('DEL', prefix .. 'stats:' .. item, prefix .. 'with:' .. item) end
    redis.call('ZREMRANGEBYRANK', prefix .. 'changed', 0, -cap_statistics - 1)
    redis.call('EXPIRE', prefix .. 'changed', buyer_ttl)
  end

  if tonumber(ttl) > 0 then
    if redis.call('EXISTS', bought) == 1 then ttl = buyer_ttl end
    if ahead > -math.huge then redis.call('SET', clock, string.format('%.0f', ahead), 'EX', ttl) end
    for _, key in ipairs({ items, queries, bought, own, visits }) do redis.call('EXPIRE', key, ttl) end
  end
  return {
    redis.call('ZREVRANGE', items, 0, newest - 1, 'WITHSCORES'),
    redis.call('ZREVRANGE', queries, 0, cap_queries - 1, 'WITHSCORES'),
    redis.call('ZREVRANGE', bought, 0, -1),
    late,
    beyond,
    redis.call('HGETALL', own),
    redis.call('ZRANGE', visits, 0, -1),
    redis.call('HGETALL', profile),
    redis.call('ZRANGE', users, 0, 0),
    string.format('%.0f', forgotten),
    string.format('%.0f', ahead),
    redis.call('ZREVRANGE', seen, 0, -1, 'WITHSCORES'),
  }
end

local replies = {}
for i, one in ipairs(cmsgpack.unpack(ARGV[18])) do replies[i] = remembered(unpack(one)) end
return replies
