-- The highest members of sorted sets of one shard, with their scores; reads only.
--
-- KEYS  the sorted sets
-- ARGV  how many members of each
-- Returns  per set {member, score, member, score, ...}, highest first.

local found = {}
for i, key in ipairs(KEYS) do
  found[i] = redis.call('ZREVRANGE', key, 0, ARGV[1] - 1, 'WITHSCORES')
end
return found
