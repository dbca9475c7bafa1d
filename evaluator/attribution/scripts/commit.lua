-- Commits one batch of one partition: all of it or nothing, and only on top of the commit that it was computed from.
-- KEYS  state (hash), meta (hash), examples to be sent (hash), shoppers' fields for the recognition of bots (hash),
--       the experiment (hash), then one hash of rates for each hour touched
-- ARGV  offset and name of the last commit that the meta must have; offset and name of this one; watermark; the
--       state's ttl s; the rates' ttl s; then eight lists and one for each hour, each after its length: state to set,
--       state to remove, totals to set, examples to add, shoppers to set, shoppers to remove, "1" where the
--       experiment is a new one, the experiment's fields to set, and each hour's rates. Lists to remove have fields;
--       the others have pairs of a field and a value.
-- Returns  1 when committed, 0 when another evaluator has committed in the meantime: load again.
-- A key of a wrong type raises its error in this loop, before anything is written.
for _, key in ipairs(KEYS) do redis.call('HLEN', key) end
local there = redis.call('HMGET', KEYS[2], 'offset', 'commit')
if (there[1] or '-1') ~= ARGV[1] or (there[2] or '') ~= ARGV[2] then return 0 end
local at = 8
-- A value that is no finite number was not written here: the sum starts again.
local function add(key, field, value)
  local sum = redis.pcall('HINCRBYFLOAT', key, field, value)
  if type(sum) == 'table' or math.abs(tonumber(sum)) == math.huge then redis.call('HSET', key, field, value) end
end
local function each(step, write)
  local last = at + tonumber(ARGV[at])
  for i = at + 1, last, step do write(ARGV[i], ARGV[i + 1]) end
  at = last + 1
end
each(2, function(name, value) redis.call('HSET', KEYS[1], name, value) end)
each(1, function(name) redis.call('HDEL', KEYS[1], name) end)
redis.call('HSET', KEYS[2], 'offset', ARGV[3], 'commit', ARGV[4], 'watermark', ARGV[5])
each(2, function(name, value) redis.call('HSET', KEYS[2], name, value) end)
each(2, function(name, value) redis.call('HSET', KEYS[3], name, value) end)
each(2, function(name, value) redis.call('HSET', KEYS[4], name, value) end)
each(1, function(name) redis.call('HDEL', KEYS[4], name) end)
each(1, function() redis.call('DEL', KEYS[5]) end)
each(2, function(name, value) redis.call('HSET', KEYS[5], name, value) end)
redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.call('EXPIRE', KEYS[4], ARGV[6])
redis.call('EXPIRE', KEYS[5], ARGV[6])
for hour = 6, #KEYS do
  each(2, function(name, value) add(KEYS[hour], name, value) end)
  redis.call('EXPIRE', KEYS[hour], ARGV[7])
end
return 1
