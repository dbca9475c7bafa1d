-- Reads hashes of one partition in one step. A transaction would be refused where Redis is out of memory.
-- KEYS  hashes
-- Returns  for each of them a list of its fields and values in turn
local found = {}
for i, key in ipairs(KEYS) do found[i] = redis.call('HGETALL', key) end
return found
