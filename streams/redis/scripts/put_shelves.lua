-- Writes shelves, each unless the one in place knows a newer event: compare-and-set on event time, in one step.
-- KEYS  one of the shelves, which are all in its slot
-- ARGV  MessagePack of {per shelf: key, value (JSON, with event_ts before items), event time ms, ttl s, ...}
-- Returns  per shelf 1 when written, 0 when the shelf in place is newer.
local now = redis.call('TIME')[1] * 1000
local shelves, written = cmsgpack.unpack(ARGV[1]), {}
for i = 1, #shelves, 4 do
  local key, value, event_ts, ttl = shelves[i], shelves[i + 1], shelves[i + 2], shelves[i + 3]
  local there = tonumber(string.match(redis.call('GETRANGE', key, 0, 1023), '"event_ts":(%d+)') or '')
  -- One of more than a day ahead is no shelf of ours: it would stand there for ever.
  if there and there > event_ts and there <= now + 86400000 then
    written[#written + 1] = 0
  else
    redis.call('SET', key, value, 'EX', ttl)
    written[#written + 1] = 1
  end
end
return written
