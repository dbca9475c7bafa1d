-- Takes acts of one shopper out of demand: they count for another shopper now. Undoes what remember.lua has counted.
--
-- After a session was brought to its user, its cells go, since the user has them. What was brought to a user as whom the
-- session did not log in first goes from that user's memory too; what the user did itself counts on. A cell that is not
-- there changes nothing, so all of it may come again. Values are laid out as in layout.lua. The time at which an item
-- was touched first stays: it is the same for whoever has the act.
--
-- KEYS  items, queries, bought, profile, own, visits, seen     (of the shopper who loses them)
-- ARGV  prefix of the shard's keys, prefix of the shopper's cells by bucket, bucket ms, trend ttl s, ttl s of who has
--       bought, code and weight of each kind of act; what goes: cells, or memory too; the clock of who has them now (the
--       difference of an event's time to its arrival, ms): an hour that it has closed stays as it is; then per act: code,
--       time ms, member, item or query. With the code = they are a value and an attribute of the profile, with i a page
--       that was seen.
local items, queries, bought, profile, own, visits = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local prefix, cells, bucket_ms, trend_ttl = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local buyer_ttl, acts, memory, ahead = ARGV[5], ARGV[6], ARGV[7] == 'memory', tonumber(ARGV[8]) or -math.huge

-- include layout.lua

local segment = segment_of(profile)

local function less(key, member, by)
  local score = tonumber(redis.call('ZSCORE', key, member) or '')
  if not score then return end
  if score - by > score * 1e-9 then
    redis.call('ZADD', key, string.format('%.17g', score - by), member)
  else
    redis.call('ZREM', key, member)
  end
end

local function lower(row, column, by)
  row[column] = row[column] - by > row[column] * 1e-9 and row[column] - by or 0
end

-- One purchase less at a time, of a shopper whose other known purchases are at the times ``rest`` (s).
local function unpurchase(row, one, at, rest)
  if one[1] == 0 then return end
  if one[1] == 1 then
    lower(row, BUYERS, 1)
    lower(row, NEW_WEEK, forward(at, 7))
    lower(row, NEW_MONTH, forward(at, 30))
    one[1], one[3], one[4] = 0, 0, 0
    return
  end
  local first, last = one[3], one[4]
  table.sort(rest)
  if #rest >= one[1] - 1 then first = rest[1] end
  last = rest[#rest] or (one[1] == 2 and first) or last
  first, last = math.min(first, last), math.max(first, last)
  lower(row, REPEATS, 1)
  lower(row, DAYS, ((one[4] - one[3]) - (last - first)) / 86400)
  if first ~= one[3] then
    row[NEW_WEEK] = math.max(0, row[NEW_WEEK] + forward(first * 1000, 7) - forward(one[3] * 1000, 7))
    row[NEW_MONTH] = math.max(0, row[NEW_MONTH] + forward(first * 1000, 30) - forward(one[3] * 1000, 30))
  end
  one[1], one[3], one[4] = one[1] - 1, first, last
end

local function own_of(item) return own_row(redis.call('HGET', own, item)) end

local function put_own(item, one)
  if one[1] == 0 and one[2] == 0 then
    redis.call('HDEL', own, item)
  else
    redis.call('HSET', own, item, struct.pack(OWN, unpack(one)))
  end
end

local function uncount(number, item, code, rest)
  local bucket, bit = string.format('%.0f', number), bits[code]
  local hour = cells .. ':' .. bucket
  local before = tonumber(redis.call('HGET', hour, item) or 0) or 0
  if not bit or not holds(before, bit) then return false end
  if (number + 1) * bucket_ms + trend_ttl * 1000 <= now + ahead then return false end
  local after, middle = before - bit, middle_of(number)
  local row, one, by = item_row(redis.call('GET', prefix .. 'stats:' .. item)), own_of(item), weigh(before) - weigh(after)
  local changed = row or no_item()
  if code == 'p' then unpurchase(changed, one, middle, rest) end
  if by > 0 then
    less(prefix .. 'trend:' .. bucket, item, by)
    if segment then
      less(prefix .. 'trend:' .. bucket .. ':' .. segment, item, by)
      less(prefix .. 'segments:' .. bucket, segment, by)
    end
    local amount = by / top
    for _, short in ipairs(SHORT) do lower(changed, short[1], amount * forward(middle, short[2], changed[short[3]])) end
    lower(changed, WEEK, amount * forward(middle, 7))
    lower(changed, MONTH, amount * forward(middle, 30))
    lower(changed, QUARTER, amount * forward(middle, 91))
    lower(one, 2, amount * forward(middle, 30))
  end
  if after > 0 then
    redis.call('HSET', hour, item, after)
  else
    local weight = visit_weight(middle)
    lower(changed, VISITS, weight)
    redis.call('HDEL', hour, item)
    for _, other in ipairs(redis.call('HKEYS', hour)) do
      less(prefix .. 'with:' .. item, other, weight)
      less(prefix .. 'with:' .. other, item, weight)
    end
    if memory and redis.call('EXISTS', hour) == 0 then
      redis.call('ZREM', visits, string.format('%.0f', math.floor(middle / 1000)))
    end
  end
  put_own(item, one)
  if row then redis.call('SET', prefix .. 'stats:' .. item, struct.pack(ITEM, unpack(row)), 'EX', buyer_ttl) end
  redis.call('ZADD', prefix .. 'changed', string.format('%.0f', now), item)
  return true
end

-- The acts on an item that are left in memory: code and time ms of each, the oldest first.
local function left(item)
  local found, acts = redis.call('ZRANGE', items, 0, -1, 'WITHSCORES'), {}
  for i = 1, #found, 2 do
    local start = '\31' .. item .. '\31'
    if string.sub(found[i], 2, #start + 1) == start then
      acts[#acts + 1] = { string.sub(found[i], 1, 1), tonumber(found[i + 1]) }
    end
  end
  return acts
end

local function hour_s(at) return math.floor(middle_of(math.floor(at / bucket_ms)) / 1000) end

local function distinct(times)
  local seen, found = {}, {}
  for _, at in ipairs(times) do
    if not seen[at] then found[#found + 1] = at end
    seen[at] = true
  end
  return found
end

local function take_back(code, at, member, item)
  local number, kind = math.floor(at / bucket_ms), string.lower(code)
  local removed = member ~= '' and redis.call('ZREM', items, member) == 1
  local acts, purchases, there, newest, latest = left(item), {}, false, 0, nil
  for _, one in ipairs(acts) do
    if one[1] == kind and math.floor(one[2] / bucket_ms) == number then there = true end
    if one[1] == 'p' then
      purchases[#purchases + 1] = hour_s(one[2])
      latest = one[2]
    end
    newest = math.max(newest, hour_s(one[2]))
  end
  if removed then
    local rest, counted = distinct(purchases), redis.call('HEXISTS', cells .. ':' .. string.format('%.0f', number), item)
    if counted == 1 and not there then uncount(number, item, kind, rest) end
    local one = own_of(item)
    if one[5] > 0 then
      if counted == 0 then -- only the shopper's own items have grown by it
        if kind == 'p' then unpurchase(no_item(), one, middle_of(number), rest) end
        lower(one, 2, weigh(bits[kind] or 0) / top * forward(middle_of(number), 30))
      end
      one[5] = newest
      put_own(item, one)
    end
  end
  if kind == 'p' and tonumber(redis.call('ZSCORE', bought, item) or '') == at then
    if latest then
      redis.call('ZADD', bought, string.format('%.0f', latest), item)
    else
      redis.call('ZREM', bought, item)
    end
  end
end

local function later_purchases(from, item)
  local found = {}
  for i = from, #ARGV, 4 do
    if ARGV[i] == 'p' and ARGV[i + 3] == item then found[#found + 1] = hour_s(tonumber(ARGV[i + 1])) end
  end
  return found
end

for i = 9, #ARGV, 4 do
  local code, at, member, what = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3]
  if not memory then
    local rest = code == 'p' and distinct(later_purchases(i + 4, what)) or {}
    uncount(math.floor(at / bucket_ms), what, code, rest)
  elseif code == '=' then
    if redis.call('HGET', profile, what) == member then redis.call('HDEL', profile, what) end
  elseif code == 's' then
    redis.call('ZREM', queries, member)
  elseif code == 'i' then
    redis.call('ZREM', KEYS[7], member)
  else
    take_back(code, at, member, what)
  end
end
