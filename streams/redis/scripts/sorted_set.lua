-- Removes what somebody else has put where a sorted set is about to be read or written by a plain command.
-- KEYS  the sorted set
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'zset' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
return 1
