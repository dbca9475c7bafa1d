-- What one bucket knows of shelves, if it has all that were made before a time: then one that is not there is not ours.
-- KEYS  marks (hash), then a key for each shelf
-- ARGV  the time (ms); how many partitions the shelves have
-- Returns  for each shelf its value or nil; nothing at all where the bucket does not have all of some partition
if ARGV[2] == '0' then return {} end
for partition = 0, tonumber(ARGV[2]) - 1 do
  if (tonumber(redis.call('HGET', KEYS[1], partition .. '.until') or 0) or 0) < tonumber(ARGV[1]) then return {} end
end
local found = {}
for i = 2, #KEYS do found[i - 1] = redis.call('GET', KEYS[i]) end
return found
