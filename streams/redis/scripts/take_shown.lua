-- Reads and empties what one shard of the index holds of items: what is noted meanwhile is there the next time.
--
-- KEYS  prefix of the shard's keys
-- ARGV  how many epochs, the epochs, items
-- Returns  per item {shelf number, ...}, those of all epochs one after the other.
local prefix, epochs = KEYS[1], tonumber(ARGV[1])
local found = {}
for i = 2 + epochs, #ARGV do
  local numbers = {}
  for epoch = 2, 1 + epochs do
    local key = prefix .. 'shown:' .. ARGV[epoch] .. ':' .. ARGV[i]
    for _, number in ipairs(redis.call('SMEMBERS', key)) do numbers[#numbers + 1] = number end
    redis.call('DEL', key)
  end
  found[#found + 1] = numbers
end
return found
