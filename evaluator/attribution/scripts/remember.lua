-- Keeps shelves of one bucket, and tells up to where it has those of each partition: only on top of what it has.
-- KEYS  marks (hash), then a key for each shelf
-- ARGV  the shelves' ttl s; how many stretches; of each its partition, the offset it begins at, the offset behind it,
--       and up to when (ms) its partition's shelves are known with it, empty where it does not tell; then the shelves
-- Returns  for each stretch the offset before which the bucket has all of the partition; -1 where nothing is told
local has, at = {}, 3
for i = 1, tonumber(ARGV[2]) do
  local offset, time = ARGV[at] .. '.offset', ARGV[at] .. '.until'
  local there = tonumber(redis.call('HGET', KEYS[1], offset) or -1) or -1
  if there >= tonumber(ARGV[at + 1]) then
    there = tonumber(ARGV[at + 2])
    redis.call('HSET', KEYS[1], offset, ARGV[at + 2])
    if ARGV[at + 3] ~= '' then redis.call('HSET', KEYS[1], time, ARGV[at + 3]) end
  end
  has[i] = there
  at = at + 4
end
for i = 2, #KEYS do redis.call('SET', KEYS[i], ARGV[at + i - 2], 'EX', ARGV[1]) end
return has
