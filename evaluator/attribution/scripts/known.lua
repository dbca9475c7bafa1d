-- Looks up shelves in one bucket, if it has all that were made before a time: then a shelf that it lacks is not ours.
-- KEYS  marks (hash), then a key for each shelf
-- ARGV  the time (ms); number of partitions of the topic of shelves
-- Returns  for each shelf its value or nil; an empty list where the bucket lacks shelves of some partition
if ARGV[2] == '0' then return {} end
for partition = 0, tonumber(ARGV[2]) - 1 do
  if (tonumber(redis.call('HGET', KEYS[1], partition .. '.until') or 0) or 0) < tonumber(ARGV[1]) then return {} end
end
local found = {}
for i = 2, #KEYS do found[i - 1] = redis.call('GET', KEYS[i]) end
return found
