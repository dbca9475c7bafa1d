-- The statistics of items in one shard; reads only.
-- KEYS  prefix of the shard's keys     ARGV  MessagePack of the items
-- Returns  per item its value; nothing where there is none, or one of another kind.
local found, keys = {}, {}
local items = cmsgpack.unpack(ARGV[1])
for i, item in ipairs(items) do
  keys[#keys + 1] = KEYS[1] .. 'stats:' .. item
  if #keys == 1000 or i == #items then
    for _, value in ipairs(redis.call('MGET', unpack(keys))) do found[#found + 1] = value end
    keys = {}
  end
end
return found
