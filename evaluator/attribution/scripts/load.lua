-- What stands in hashes of one partition, all at one moment; a transaction would be refused where memory is full.
-- KEYS  hashes
-- Returns  for each of them its fields and values, one after the other
local found = {}
for i, key in ipairs(KEYS) do found[i] = redis.call('HGETALL', key) end
return found
