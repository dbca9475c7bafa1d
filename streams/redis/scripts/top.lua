-- The highest members of sorted sets of one shard, with their scores; reads only.
--
-- KEYS  prefix of the shard's keys
-- ARGV  how many members of each, MessagePack of the sets' names
-- Returns  per set {member, score, member, score, ...}, highest first.

local found = {}
for i, name in ipairs(cmsgpack.unpack(ARGV[2])) do
  found[i] = redis.call('ZREVRANGE', KEYS[1] .. name, 0, ARGV[1] - 1, 'WITHSCORES')
end
return found
