-- Check every expectation, then run every operation: all or nothing, in one round trip.
-- KEYS: each key once. ARGV[1]: a JSON list of strings (one long argument costs the client less than thousands of
-- short ones): token key index (0 = none), token TTL in s, number of expectations, then per expectation: kind, key
-- index, number of arguments, arguments; number of operations, then per operation: command, key index, number of
-- arguments, arguments.
-- Returns {1} done, {2} the token was seen before: done earlier, {0, i} expectation i does not hold: nothing done.
local words, at = cjson.decode(ARGV[1]), 0
local function take()
  at = at + 1
  return words[at]
end
local function take_arguments()
  local arguments = {}
  for i = 1, tonumber(take()) do
    arguments[i] = take()
  end
  return arguments
end
local function same(value, present, wanted)
  if present == '0' then
    return not value
  end
  return value == wanted
end
local holds = {
  get = function(key, a) return same(redis.call('GET', key), a[1], a[2]) end,
  hget = function(key, a) return same(redis.call('HGET', key, a[1]), a[2], a[3]) end,
  has = function(key, a) return redis.call('LPOS', key, a[1]) ~= false end,
  exists = function(key) return redis.call('EXISTS', key) == 1 end,
  llen = function(key, a) return redis.call('LLEN', key) == tonumber(a[1]) end,
  list = function(key, a)
    local found = redis.call('LRANGE', key, 0, -1)
    return #found == tonumber(a[1]) and redis.sha1hex(table.concat(found, '\n')) == a[2]
  end,
  scard = function(key, a) return redis.call('SCARD', key) == tonumber(a[1]) end,
  zcard = function(key, a) return redis.call('ZCARD', key) == tonumber(a[1]) end,
  in_set = function(key, a) return redis.call('SISMEMBER', key, a[1]) == 1 end,
  newest = function(key, a) return ((redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1] or {})[1] or '0-0') == a[1] end,
  hlen_below = function(key, a) return redis.call('HLEN', key) < tonumber(a[1]) end,
}

local token, ttl = tonumber(take()), take()
if token > 0 and redis.call('EXISTS', KEYS[token]) == 1 then
  return {2}
end
for i = 1, tonumber(take()) do
  local kind, key = take(), KEYS[tonumber(take())]
  if not holds[kind](key, take_arguments()) then
    return {0, i}
  end
end
-- A command that fails does not undo those before it: everything that can fail is looked at first.
local needs = {
  LPUSH = 'list', RPUSH = 'list', LREM = 'list', LTRIM = 'list', HSET = 'hash', HDEL = 'hash', HINCRBY = 'hash',
  SADD = 'set', SREM = 'set', ZADD = 'zset', ZREM = 'zset', XADD = 'stream',
}
local operations, kinds = {}, {}
for i = 1, tonumber(take()) do
  local command, key = take(), KEYS[tonumber(take())]
  local arguments = take_arguments()
  operations[i] = {command, key, arguments}
  local kind = kinds[key] or redis.call('TYPE', key)['ok']
  kinds[key] = kind
  if needs[command] and kind ~= 'none' and kind ~= needs[command] then
    return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. kind .. ', not a ' .. needs[command])
  end
  if command == 'HINCRBY' and not string.match(redis.call('HGET', key, arguments[1]) or '0', '^-?%d+$') then
    return redis.error_reply('ERR ' .. arguments[1] .. ' of ' .. key .. ' is no number')
  end
end
for _, operation in ipairs(operations) do
  redis.call(operation[1], operation[2], unpack(operation[3]))
end
if token > 0 then
  redis.call('SET', KEYS[token], '1', 'EX', ttl)
end
return {1}
