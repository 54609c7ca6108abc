-- Copy every key of a town to another prefix, with a time to live: one point in time, in one step.
-- ARGV: the town's prefix, the copies' prefix, their time to live in s, then the kinds that are left out.
-- Returns how many keys were copied.
local from, to, ttl = ARGV[1], ARGV[2], ARGV[3]
local left_out = {}
for i = 4, #ARGV do
  left_out[ARGV[i]] = true
end
local found, cursor = {}, '0'
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', from .. '*', 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    if not left_out[string.match(string.sub(key, #from + 1), '^[^:]*')] then
      found[key] = true
    end
  end
until cursor == '0'
local count = 0
for key in pairs(found) do
  local copy = to .. string.sub(key, #from + 1)
  count = count + redis.call('COPY', key, copy)
  redis.call('EXPIRE', copy, ttl)
end
return count
