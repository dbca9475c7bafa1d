-- Keeps what is under watch: only on top of what it was computed from, or where nothing is there any more.
-- KEYS  where it stands (hash), what it is compared with (hash)
-- ARGV  the name that it must have; the new one; where it stands; the ttl s; then pairs of a field and a value to be
--       compared with
-- Returns  1 when it is kept, 2 when it is kept and what was before is lost, 0 when another has gone on: load again.
for _, key in ipairs(KEYS) do redis.call('HLEN', key) end
local there = redis.call('HGET', KEYS[1], 'name')
if there and there ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'name', ARGV[2], 'state', ARGV[3])
for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[4]) end
return (there or ARGV[1] == '') and 1 or 2
