-- Saves the state of the monitors: only on top of the state that it was computed from, or where there is none any more.
-- KEYS  name and state (hash), reference values of the monitors (hash)
-- ARGV  the name that the saved state must have; the new name; the new state; the ttl s; then pairs of a field and a
--       reference value
-- Returns  1 when saved, 2 when saved and the earlier state is lost, 0 when another process has saved its own: load
--          again.
for _, key in ipairs(KEYS) do redis.call('HLEN', key) end
local there = redis.call('HGET', KEYS[1], 'name')
if there and there ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'name', ARGV[2], 'state', ARGV[3])
for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[4]) end
return (there or ARGV[1] == '') and 1 or 2
