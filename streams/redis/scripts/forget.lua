-- Removes all that is remembered of a shopper, and marks until when events are ignored: one atomic step.
--
-- What came after the time of the forgetting stays: one that is read again later removes nothing. What a forgetting has
-- removed is kept under its mark, so that it can be told after a kill.
--
-- KEYS  forgotten, users that the session logged in as, sessions that logged in as the user, items, queries, bought,
--       profile, clock, bot, own, visits, seen     (of one shopper); when feeds are made again, of the shard
-- ARGV  time ms, event id, ttl s; prefix of the shopper's cells by bucket, bucket ms, for how long cells are kept s; the
--       user that is forgotten, where this is a session of the user: it is left alone if it logged in as another first;
--       time now ms; what was removed of the user's sessions before, to be told again; the shopper
-- Returns  {number of items, queries, bought, attributes, hours, sessions, pages; when it was removed, ms; users that the
--       session had logged in as; what was removed of the sessions}; nothing where it is left alone
local forgotten, users, sessions = KEYS[1], KEYS[2], KEYS[3]
local items, queries, bought, profile, clock, bot = KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local at, event, of = tonumber(ARGV[1]), ARGV[2], ARGV[7]
-- What is of another kind shows now, before anything is removed and counted.
for _, key in ipairs({users, sessions, items, queries, bought, KEYS[12], KEYS[13]}) do redis.call('ZCARD', key) end
redis.call('HLEN', profile)
local names = {'items', 'queries', 'bought', 'attributes', 'hours', 'sessions', 'pages'}
local there = redis.call('HMGET', forgotten, 'at', 'event', 'removed_at')
local since = tonumber(there[1] or '') or -1
if of ~= '' and not (since >= at and there[2] == event) and redis.call('ZRANGE', users, 0, 0)[1] ~= of then
  redis.call('ZREM', users, of)
  return {}
end
if since < at then
  local upto = string.format('%.0f', at)
  local found, hours = {}, 0
  for i, key in ipairs({items, queries, bought}) do found[i] = redis.call('ZREMRANGEBYSCORE', key, '-inf', upto) end
  local kept, gone = redis.call('HGETALL', profile), 0
  for i = 1, #kept, 2 do
    local set = tonumber(string.match(kept[i + 1], '^(%d+):') or '') or -1
    if set <= at then gone = gone + redis.call('HDEL', profile, kept[i]) end
  end
  local ahead = tonumber(redis.call('GET', clock) or '')
  if ahead and ahead == ahead and math.abs(ahead) ~= math.huge then
    local bucket_ms, time = tonumber(ARGV[5]), redis.call('TIME')
    local newest = math.floor((time[1] * 1000 + math.floor(time[2] / 1000) + ahead) / bucket_ms)
    for age = 0, math.min(math.ceil(tonumber(ARGV[6]) * 1000 / bucket_ms) + 1, 4096) do
      local number = newest - age
      if number * bucket_ms <= at then
        hours = hours + redis.call('DEL', ARGV[4] .. ':' .. string.format('%.0f', number))
      end
    end
  end
  local linked = redis.call('ZRANGEBYSCORE', users, '-inf', upto)
  local count = redis.call('ZREMRANGEBYSCORE', sessions, '-inf', upto)
  redis.call('ZREMRANGEBYSCORE', users, '-inf', upto)
  local pages = redis.call('ZREMRANGEBYSCORE', KEYS[12], '-inf', upto)
  redis.call('DEL', clock, bot, KEYS[10], KEYS[11])
  if redis.call('EXISTS', bought) == 0 then redis.call('ZREM', KEYS[13], ARGV[10]) end
  redis.call('DEL', forgotten)
  redis.call('HSET', forgotten, 'at', upto, 'event', event, 'removed_at', ARGV[8], 'sessions_removed', ARGV[9])
  for i, number in ipairs({found[1], found[2], found[3], gone, hours, count, pages}) do
    redis.call('HSET', forgotten, names[i], number)
  end
  redis.call('EXPIRE', forgotten, ARGV[3])
  return {found[1], found[2], found[3], gone, hours, count, pages, tonumber(ARGV[8]), linked, ARGV[9]}
end
local removed_at = tonumber(there[3] or '') or 0
if there[2] ~= event then return {0, 0, 0, 0, 0, 0, 0, removed_at, {}, ''} end
local told = redis.call('HMGET', forgotten, unpack(names))
for i = 1, #names do told[i] = tonumber(told[i] or '') or 0 end
told[#names + 1] = removed_at
told[#names + 2] = {}
told[#names + 3] = redis.call('HGET', forgotten, 'sessions_removed') or ''
return told
