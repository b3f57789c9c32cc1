#!lua
-- Applies a batch to the models of one slice: commands, states, holdings and the checkpoint after them, or
-- nothing. readmodel/script.c says what the arguments are. KEYS[1] has the checkpoint.
--
-- A script in Redis is atomic but not a transaction: what was done before a failure stays. With the line above
-- Redis refuses the script as a whole when memory is full, the disk is, or it is a replica. What else can fail is a
-- key of another type: that one is removed, and so is known to be lost (keys.h). All that is written is absolute,
-- but for what is appended to buckets, which comes when nothing after it can fail; the checkpoint comes last.
--
-- What is done for each coupon takes its key and its bytes as they came: to make a key's name of a number, or to cut
-- a text, costs as much here as the command itself.
local call, pcall, byte, sub = redis.call, redis.pcall, string.byte, string.sub
local at = call('HMGET', KEYS[1], 'epoch', 'generation', 'pos')
if at[1] and tonumber(at[1]) > tonumber(ARGV[1]) then return {'fenced', at[1]} end
if (at[2] or '0') ~= ARGV[2] or (at[3] or '0') ~= ARGV[3] then return {'moved', at[3] or '0'} end

local function write(verb, key, ...)
  local reply = pcall(verb, key, ...)
  if type(reply) == 'table' and reply.err then call('UNLINK', key) end
end

local fields = 4 + ARGV[4]
local buckets, grown, holdings, states = unpack(ARGV, fields + 1, fields + 4)
local entry, state = fields + 4, fields + 4 + holdings
local i, last = state + 2 * states + 1, #ARGV
while i <= last do
  local words = tonumber(ARGV[i])
  write(unpack(ARGV, i + 1, i + words))
  i = i + 1 + words
end

-- A coupon's state says something only beside the coupon. The head of the coupon's chunk says from then on that
-- there are states, so that a hash that was lost is missed, and one that is begun anew has no mark.
for n = 2, 2 * states, 2 do
  local coupons, key = KEYS[holdings + n], KEYS[holdings + n + 1]
  local head = pcall('GETRANGE', coupons, 0, 0)
  if head == 'c' then
    call('SETRANGE', coupons, 0, 's')
    write('HSET', key, '', '', ARGV[state + n - 1], ARGV[state + n])
    local expires = call('EXPIRETIME', coupons)
    if expires > 0 then call('EXPIREAT', key, expires) end
  elseif head == 's' then
    write('HSET', key, ARGV[state + n - 1], ARGV[state + n])
  end
end

for n = 1, holdings do
  local key = KEYS[1 + n]
  if type(pcall('APPEND', key, ARGV[entry + n])) ~= 'number' then call('UNLINK', key) end
end

-- Buckets that come into being take what is theirs from their parents (users.h): one bit of the user's tag tells the
-- two apart. Where a parent was lost there is nothing to take, and the new bucket is lost as well.
local split = 2 + holdings + 2 * states
for bucket = tonumber(buckets), grown - 1 do
  local half, bit, offset = 1, 1, 16
  while 2 * half <= bucket do
    half, bit = 2 * half, 2 * bit
    if bit == 256 then bit, offset = 1, offset - 1 end
  end
  local all, stay, go = pcall('GET', KEYS[split]), {'u'}, {'u'}
  if type(all) == 'string' and sub(all, 1, 1) == 'u' then
    for n = 2, #all, 19 do
      local to = (byte(all, n + offset) or 0) % (2 * bit) < bit and stay or go
      to[#to + 1] = sub(all, n, n + 18)
    end
    call('SET', KEYS[split], table.concat(stay))
    call('SET', KEYS[split + 1], table.concat(go))
  end
  split = split + 2
end

call('HSET', KEYS[1], unpack(ARGV, 5, fields))
return {'applied', ARGV[3]}
