-- What the scripts of demand share: cells, weights that grow forward, and the values of items and of shoppers' items.
-- The scripts that include it have `bucket_ms`, and `acts`: code and weight of each kind of act.

local DAY, ORIGIN = 86400000, 1577836800000 -- ms; 2020-01-01
local MOST = 1000 -- half-lives that a double can hold

-- An item's statistics: see streams/features/items.py for the columns.
local ITEM = '<dddddddddddddd'
local WEEK, MONTH, QUARTER, NEW_WEEK, NEW_MONTH, VISITS = 3, 4, 5, 6, 7, 8
local BUYERS, REPEATS, DAYS, FIRST = 11, 12, 13, 14
local SHORT = { { 1, 1 / 24, 9 }, { 2, 1, 10 } } -- column, half-life in days, column of its origin

-- What a shopper did with an item: purchases, decayed demand, first and last purchase, last touch, s.
local OWN = '<I4dI4I4I4'

local bits, weights, top = {}, {}, 0
for code, weight in string.gmatch(acts, '(%a)(%d+)') do
  bits[code] = 2 ^ #weights
  weights[#weights + 1] = tonumber(weight)
  top = math.max(top, tonumber(weight))
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function forward(at, days, origin)
  return 2 ^ math.max(-MOST, math.min(MOST, (at - (origin or ORIGIN)) / (days * DAY)))
end

-- A power of two, so that sums are exact and held as integers: sorted sets of fractions take several times as long.
local function visit_weight(at) return 2 ^ math.max(0, math.floor((at - ORIGIN) / (90 * DAY))) end

local function middle_of(number) return math.max(0, (number + 0.5) * bucket_ms) end

local function holds(mask, bit) return math.floor(mask / bit) % 2 == 1 end

local function weigh(mask)
  local most = 0
  for place, weight in ipairs(weights) do
    if weight > most and holds(mask, 2 ^ (place - 1)) then most = weight end
  end
  return most
end

-- Nil where nothing is held, or what is not ours.
local function item_row(held) return held and #held == 112 and { struct.unpack(ITEM, held) } or nil end

local function no_item() return { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 } end

local function own_row(held) return held and #held == 24 and { struct.unpack(OWN, held) } or { 0, 0, 0, 0, 0 } end

-- The segment that a shopper's profile names.
local function segment_of(profile)
  local held = string.match(redis.call('HGET', profile, 'segment') or '', '^%d+:(".*")$')
  local known, segment = pcall(cjson.decode, held or 'null')
  return known and type(segment) == 'string' and segment or nil
end
