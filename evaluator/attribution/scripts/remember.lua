-- Keeps shelves of one bucket, and moves its marks by ranges of offsets: each only where it continues the mark.
-- KEYS  marks (hash), then a key for each shelf
-- ARGV  the shelves' ttl s; number of ranges; for each its partition, its first offset, the offset after its last, and
--       up to when (ms) the partition's shelves are known with it, empty where that is unknown; then the shelves
-- Returns  for each range the offset before which the bucket has all of the partition; -1 where it has no mark
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
