-- Removes a shelf that was made up to a time.
-- KEYS  shelf     ARGV  time ms
-- Returns  1 when removed, else 0.
local made = string.match(redis.call('GETRANGE', KEYS[1], 0, 1023), '"made_at":(%d+)')
if not made or tonumber(made) > tonumber(ARGV[1]) then return 0 end
return redis.call('DEL', KEYS[1])
