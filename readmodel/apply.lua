#!lua
-- Applies a batch to the models of one slice: commands, states, holdings and the checkpoint after them, or
-- nothing. readmodel/script.h says what the arguments are. KEYS[1] has the checkpoint; the others are all that the
-- rest touches, named for Redis and not used here.
--
-- A script in Redis is atomic but not a transaction: what was done before a failure stays. With the line above
-- Redis refuses the script as a whole when memory is full, the disk is, or it is a replica. What else can fail is a
-- key of another type: that one is removed, and so is known to be lost (keys.h). All that is written is absolute,
-- but for what is appended to buckets, which comes when nothing after it can fail; the checkpoint comes last.
local call, pcall, number = redis.call, redis.pcall, struct.unpack
local at = call('HMGET', KEYS[1], 'epoch', 'generation', 'pos')
if at[1] and tonumber(at[1]) > tonumber(ARGV[1]) then return {'fenced', at[1]} end
if (at[2] or '0') ~= ARGV[2] or (at[3] or '0') ~= ARGV[3] then return {'moved', at[3] or '0'} end

local function write(verb, key, ...)
  local reply = pcall(verb, key, ...)
  if type(reply) == 'table' and reply.err then call('UNLINK', key) end
end

local fields = 4 + ARGV[4]
local prefix, buckets, grown, holdings = ARGV[fields + 1], ARGV[fields + 2], ARGV[fields + 3], ARGV[fields + 4]
local i = fields + 6 + 3 * ARGV[fields + 5]
while i <= #ARGV do
  local last = i + ARGV[i]
  write(unpack(ARGV, i + 1, last))
  i = last + 1
end

-- A coupon's state says something only beside the coupon. The head of the coupon's chunk says from then on that
-- there are states, so that a hash that was lost is missed, and one that is begun anew has no mark.
for n = fields + 6, fields + 5 + 3 * ARGV[fields + 5], 3 do
  local coupons, states = prefix .. 'p:' .. ARGV[n], prefix .. 's:' .. ARGV[n]
  local head = pcall('GETRANGE', coupons, 0, 0)
  if head == 'c' then
    call('SETRANGE', coupons, 0, 's')
    write('HSET', states, '', '', ARGV[n + 1], ARGV[n + 2])
    local expires = call('EXPIRETIME', coupons)
    if expires > 0 then call('EXPIREAT', states, expires) end
  elseif head == 's' then
    write('HSET', states, ARGV[n + 1], ARGV[n + 2])
  end
end

local users = prefix .. 'u:'
for n = 1, #holdings, 23 do
  local bucket, entry = number('>I4c19', holdings, n)
  if type(pcall('APPEND', users .. bucket, entry)) ~= 'number' then call('UNLINK', users .. bucket) end
end

-- Buckets that come into being take what is theirs from their parents (users.h). Where that was lost there is
-- nothing to take, and they are lost as well.
for bucket = tonumber(buckets), grown - 1 do
  local half = 1
  while 2 * half <= bucket do half = 2 * half end
  local parent = users .. bucket - half
  local all, stay, go = pcall('GET', parent), {'u'}, {'u'}
  if type(all) == 'string' and string.sub(all, 1, 1) == 'u' then
    for n = 2, #all, 19 do
      local to = number('>I4', all, n + 13) % (2 * half) == bucket and go or stay
      to[#to + 1] = string.sub(all, n, n + 18)
    end
    call('SET', parent, table.concat(stay))
    call('SET', users .. bucket, table.concat(go))
  end
end

call('HSET', KEYS[1], unpack(ARGV, 5, fields))
return {'applied', ARGV[3]}
