#!lua
-- Makes the generation whose checkpoint is KEYS[2] the one that readers of the slice use, by putting that
-- checkpoint into the root, KEYS[1]. ARGV: the generation that must be live until then; '1' where readers may be
-- taken back, because what they see is of another log.
local live = redis.call('HMGET', KEYS[1], 'generation', 'pos', 'epoch')
local next = redis.call('HMGET', KEYS[2], 'pos', 'epoch')
if (live[1] or '0') ~= ARGV[1] or not next[1] then return {'moved', live[2] or '0'} end
if ARGV[2] ~= '1' and tonumber(live[2] or '0') > tonumber(next[1]) then return {'behind', live[2]} end
redis.call('HSET', KEYS[1], unpack(redis.call('HGETALL', KEYS[2])))
if live[3] and tonumber(live[3]) > tonumber(next[2]) then redis.call('HSET', KEYS[1], 'epoch', live[3]) end
redis.call('UNLINK', KEYS[2])
return {'switched', next[1]}
