-- Notes which shelves show which items, in one shard of the index; no set grows beyond its bound, however often noted.
--
-- KEYS  prefix of the shard's keys
-- ARGV  epoch, ttl s, bound, MessagePack of {{item, {shelf number, ...}, ...}, {shelf number, shelf key, ...}}
local prefix, epoch, ttl, bound = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local items, shelves = unpack(cmsgpack.unpack(ARGV[4]))
for i = 1, #shelves, 2 do
  redis.call('SET', prefix .. 'numbered:' .. shelves[i], shelves[i + 1], 'EX', ttl)
end
for i = 1, #items, 2 do
  local key = prefix .. 'shown:' .. epoch .. ':' .. items[i]
  local held = redis.call('SCARD', key)
  if held < bound then
    redis.call('SADD', key, unpack(items[i + 1]))
    if held == 0 then redis.call('EXPIRE', key, 2 * ttl) end
  end
end
