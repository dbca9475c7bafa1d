-- Takes items out of a shelf that is in place, in one step; the others keep their order, the shelf its id, time and TTL.
-- A shelf that has no item left goes, so that a frontend falls back.
-- KEYS  shelf     ARGV  ids as they stand in the JSON, quoted
-- Returns  how many were taken out.
local shelf = redis.call('GET', KEYS[1])
if not shelf then return 0 end
local taken = 0
for _, id in ipairs(ARGV) do
  -- Within a string a quote is escaped, so this is found where an item begins and nowhere else; after its id an item
  -- has numbers and names of sources, none of which holds a brace.
  local first, last = string.find(shelf, '{"item_id":' .. id .. ',', 1, true)
  local ending = first and string.find(shelf, '}', last, true)
  if ending then
    local before, after = string.sub(shelf, 1, first - 1), string.sub(shelf, ending + 1)
    if string.sub(after, 1, 1) == ',' then
      after = string.sub(after, 2)
    elseif string.sub(before, -1) == ',' then
      before = string.sub(before, 1, -2)
    end
    shelf, taken = before .. after, taken + 1
  end
end
if taken == 0 then return 0 end
if string.find(shelf, '"items":[]', 1, true) then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], shelf, 'KEEPTTL')
end
return taken
