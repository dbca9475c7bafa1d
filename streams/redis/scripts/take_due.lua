-- Takes shoppers whose feeds are to be made again; who takes them and dies leaves them to be taken later.
-- KEYS  sorted set of shoppers, by the time ms at which that is due
-- ARGV  the time now, the time at which they are due again, how many to take
-- Returns  {shopper, the time at which it was due, ...}, the earliest first
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[3])
for i = 1, #due, 2 do redis.call('ZADD', KEYS[1], ARGV[2], due[i]) end
return due
