-- Put copies in the place of all keys of a town, in one step.
-- ARGV: the town's prefix, the copies' prefix, how many copies there must be, '1' to replace a town that is not empty,
-- the event, the number of kinds that stay, those, then the kinds that do not make a town full.
-- Returns {1} done; {0, n} the town has n keys that would be lost; {2} an agent is wanted; {3} copies are missing.
-- In the last three cases nothing was done.
local town, copies, wanted, force, event = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1', ARGV[5]
local stays, light, last = {}, {}, 6 + tonumber(ARGV[6])
for i = 7, #ARGV do
  (i <= last and stays or light)[ARGV[i]] = true
end
local old, new, cursor = {}, {}, '0'
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', town .. '*', 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    if string.sub(key, 1, #copies) == copies then
      new[key] = true
    else
      local kind = string.match(string.sub(key, #town + 1), '^[^:]*')
      if not stays[kind] then
        old[key] = kind
      end
    end
  end
until cursor == '0'
local count, full = 0, 0
for _ in pairs(new) do
  count = count + 1
end
for _, kind in pairs(old) do
  full = full + (light[kind] and 0 or 1)
end
if redis.call('HLEN', town .. 'wanted') > 0 then
  return {2}
elseif full > 0 and not force then
  return {0, full}
elseif count ~= wanted then
  return {3}
end
-- First what may fail (a stream can have no id left); an error ends the script with the town as it was.
redis.call('XADD', copies .. 'events', '*', 'event_type', 'town_restored', 'data', event)
new[copies .. 'events'] = true
for key in pairs(old) do
  redis.call('DEL', key)
end
for key in pairs(new) do
  local home = town .. string.sub(key, #copies + 1)
  redis.call('RENAME', key, home)
  redis.call('PERSIST', home)
end
return {1}
