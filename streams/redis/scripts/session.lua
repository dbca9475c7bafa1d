-- Reads all that is remembered of a session, to be brought to the user that it logged in as; writes nothing.
--
-- KEYS  items, queries, bought, clock, profile, users that it logged in as, seen
-- ARGV  prefix of its cells by bucket, bucket ms, for how long cells are kept s, the most cells to return
-- Returns  {users, the first one first; items and scores, queries and scores, bought and scores, profile, pages seen and
--       scores; then the cells: bucket and {item, kinds of acts, ...}, the newest bucket first}
local users = redis.call('ZRANGE', KEYS[6], 0, -1)
if #users == 0 then return {users, {}, {}, {}, {}, {}} end
local found = {
  users,
  redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'),
  redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES'),
  redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES'),
  redis.call('HGETALL', KEYS[5]),
  redis.call('ZRANGE', KEYS[7], 0, -1, 'WITHSCORES'),
}
local ahead = tonumber(redis.call('GET', KEYS[4]) or '')
if not ahead or ahead ~= ahead or math.abs(ahead) == math.huge then return found end
local bucket_ms, left = tonumber(ARGV[2]), tonumber(ARGV[4])
local time = redis.call('TIME')
local newest = math.floor((time[1] * 1000 + math.floor(time[2] / 1000) + ahead) / bucket_ms)
for age = 0, math.min(math.ceil(tonumber(ARGV[3]) * 1000 / bucket_ms) + 1, 4096) do
  local bucket = string.format('%.0f', newest - age)
  local mine = redis.call('HGETALL', ARGV[1] .. ':' .. bucket)
  if #mine > 0 and left > 0 then
    left = left - #mine / 2
    found[#found + 1] = bucket
    found[#found + 1] = mine
  end
end
return found
