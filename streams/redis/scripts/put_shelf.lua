-- Writes a shelf unless the one in place knows a newer event: compare-and-set on event time, one key, one step.
-- KEYS  shelf     ARGV  value (JSON, with event_ts before items), event time ms, ttl s
-- Returns  1 when written, 0 when the shelf in place is newer.
local there = string.match(redis.call('GETRANGE', KEYS[1], 0, 1023), '"event_ts":(%d+)')
if there and tonumber(there) > tonumber(ARGV[2]) then
  -- One of more than a day ahead is no shelf of ours: it would stand there for ever.
  if tonumber(there) <= redis.call('TIME')[1] * 1000 + 86400000 then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
return 1
