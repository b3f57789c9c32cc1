/* SPDX-License-Identifier: Apache-2.0 */
/* The script and its arguments.
 *
 * A script in Redis is atomic but not a transaction: a command that fails half way leaves what was done
 * before it. So everything that can be refused is looked at first (and with a shebang, Redis itself refuses a
 * script as a whole when memory is full, the disk is, or it is a replica); what is written can be written
 * twice; and the checkpoint comes last. */
#include "projector/model_script.h"

const char model_script[] =
    "#!lua\n"
    /* KEYS: checkpoint, index of campaigns, ranking, buckets begun, campaigns that must exist, what else the
     * operations name, buckets of the holdings. ARGV: epoch, expected position, next position, at, behind,
     * seen, number of campaigns that must exist, number of holdings, number of buckets; then operations:
     * number of arguments, name, index of its key, arguments; then of each holding its bucket and its bytes.
     */
    "local call, pcall, byte = redis.call, redis.pcall, string.byte\n"
    "local found = call('HMGET', KEYS[1], 'epoch', 'pos', 'ranked', 'life')\n"
    "local pos, life = found[2] or '0', found[4] or '0'\n"
    "local holdings = tonumber(ARGV[8])\n"
    "local last_key, last_arg = #KEYS - holdings, #ARGV - 2 * holdings\n"
    "if found[1] and tonumber(found[1]) > tonumber(ARGV[1]) then return {'fenced', found[1]} end\n"
    "if pos ~= ARGV[2] then return {'moved', pos} end\n"
    /* Past its first event a slice has a campaign, and an event after a campaign's first finds the campaign.
     * What is not there has vanished; adding to it would make a key that looks whole and is not (I7). */
    "if pos ~= '0' and ARGV[3] ~= '0' then\n"
    "  if call('EXISTS', KEYS[2], KEYS[4]) < 2 then return {'hole', pos} end\n"
    "  if found[3] == '1' and call('EXISTS', KEYS[3]) == 0 then return {'hole', pos} end\n"
    "end\n"
    "for i = 5, 4 + tonumber(ARGV[7]) do\n"
    "  if call('HEXISTS', KEYS[i], 'd') == 0 then return {'hole', pos} end\n"
    "end\n"
    /* The same of each bucket that is said to have begun. So one that is there is whole. */
    "local begun = ''\n"
    "if pos ~= '0' and holdings > 0 then\n"
    "  local there, count = {}, 0\n"
    "  begun = pcall('GET', KEYS[4])\n"
    "  if type(begun) ~= 'string' or #begun ~= ARGV[9] + 1 then return {'hole', pos} end\n"
    "  for i = 1, holdings do\n"
    "    if byte(begun, ARGV[last_arg + 2 * i - 1] + 1) == 49 then\n"
    "      count = count + 1\n"
    "      there[count] = KEYS[last_key + i]\n"
    "    end\n"
    "  end\n"
    "  if count > 0 and call('EXISTS', unpack(there)) < count then return {'hole', pos} end\n"
    "end\n"
    "if pos == '0' and ARGV[3] ~= '0' then\n"
    "  local time = call('TIME')\n"
    "  life = time[1] .. string.format('%06d', time[2])\n"
    "  call('UNLINK', KEYS[4])\n"
    "  call('SETRANGE', KEYS[4], ARGV[9], '1')\n"
    "end\n"
    "local i = 10\n"
    "while i <= last_arg do\n"
    "  local op, key, first = ARGV[i + 1], KEYS[tonumber(ARGV[i + 2])], i + 3\n"
    "  local last = first + tonumber(ARGV[i]) - 1\n"
    "  if op == 'CAMPAIGN' then\n"
    "    if tonumber(call('HGET', key, 'pos')) < tonumber(ARGV[first]) then\n"
    "      if ARGV[first + 1] ~= '0' then call('HINCRBY', key, 'released', ARGV[first + 1]) end\n"
    "      call('HSET', key, 'pos', ARGV[first], unpack(ARGV, first + 2, last))\n"
    "    end\n"
    "  elseif op == 'RANK' then\n"
    "    local ranking, former = KEYS[tonumber(ARGV[first])], call('HGET', key, 'rank')\n"
    "    if former then call('ZREM', ranking, former) end\n"
    "    call('ZADD', ranking, ARGV[first + 1], ARGV[first + 2])\n"
    "    call('HSET', key, 'rank', ARGV[first + 2])\n"
    "  else\n"
    "    call(op, key, unpack(ARGV, first, last))\n"
    "  end\n"
    "  i = last + 1\n"
    "end\n"
    /* What adds up comes when nothing else can fail but a bucket that is no string; then the slice starts
     * anew. The first of a bucket replaces what an earlier life may have left. */
    "local first = {}\n"
    "for i = 1, holdings do\n"
    "  local key, bucket, bytes = KEYS[last_key + i], ARGV[last_arg + 2 * i - 1], ARGV[last_arg + 2 * i]\n"
    "  if first[bucket] or byte(begun, bucket + 1) == 49 then\n"
    "    if type(pcall('APPEND', key, bytes)) ~= 'number' then\n"
    "      call('HSET', KEYS[1], 'pos', '0', 'behind', '1')\n"
    "      return {'hole', '0'}\n"
    "    end\n"
    "  else\n"
    "    call('SET', key, bytes)\n"
    "    call('SETRANGE', KEYS[4], bucket, '1')\n"
    "    first[bucket] = true\n"
    "  end\n"
    "end\n"
    "call('HSET', KEYS[1], 'epoch', ARGV[1], 'pos', ARGV[3], 'at', ARGV[4], 'behind', ARGV[5],\n"
    "  'seen', ARGV[6], 'ranked', call('EXISTS', KEYS[3]), 'life', life)\n"
    "return {'applied', ARGV[3]}\n";

static const char *const op_names[] = {
    [MUTATION_CAMPAIGN] = "CAMPAIGN", [MUTATION_RANK] = "RANK",     [MUTATION_HSET] = "HSET",
    [MUTATION_ZADD] = "ZADD",         [MUTATION_UNLINK] = "UNLINK",
};

enum { FIXED_KEYS = 4, OP_ARGS_MAX = 2 * PROJECTION_EVENTS_MAX + 2 }; /* Lua's unpack takes some 8000 */

static size_t keys_of(const struct mutation *mutation)
{
    return mutation->second_key.ptr ? 2 : 1;
}

static void add_keys(struct redis_command *command, const struct model_write *write)
{
    struct buf key;
    size_t count = FIXED_KEYS;
    const struct mutation *first = write->mutations ? write->mutations->first : NULL;
    for (const struct mutation *at = first; at; at = at->next)
        count += keys_of(at);
    redis_arg_i64(command, (int64_t)count);
    buf_init(&key, KEY_TEXT_MAX);
    key_checkpoint(&key, write->model);
    redis_arg(command, buf_span(&key));
    buf_clear(&key);
    key_campaigns(&key, write->model);
    redis_arg(command, buf_span(&key));
    buf_clear(&key);
    key_rank_issued(&key, write->model);
    redis_arg(command, buf_span(&key));
    buf_clear(&key);
    key_users_begun(&key, write->model);
    redis_arg(command, buf_span(&key));
    buf_deinit(&key);
    for (const struct mutation *at = first; at; at = at->next) {
        redis_arg(command, at->key);
        if (at->second_key.ptr)
            redis_arg(command, at->second_key);
    }
}

/* Those of one kind, which are next to each other. */
static int64_t count_kind(const struct mutation *at, enum mutation_kind kind)
{
    int64_t count = 0;
    for (; at; at = at->next)
        count += at->kind == kind;
    return count;
}

static void add_op(struct redis_command *command, const struct mutation *mutation, size_t key)
{
    CHECK(mutation->args_count <= OP_ARGS_MAX);
    if (mutation->kind == MUTATION_HOLD) { /* by far the most, and all alike: nothing but what differs */
        CHECK(mutation->args_count == 2);
        redis_arg(command, mutation->args[0]);
        redis_arg(command, mutation->args[1]);
        return;
    }
    size_t extra = keys_of(mutation) - 1;
    redis_arg_i64(command, (int64_t)(mutation->args_count + extra));
    redis_arg_text(command, op_names[mutation->kind]);
    redis_arg_i64(command, (int64_t)key);
    if (extra)
        redis_arg_i64(command, (int64_t)key + 1);
    for (size_t i = 0; i < mutation->args_count; i++)
        redis_arg(command, mutation->args[i]);
}

void model_script_command(struct redis_command *command, struct span sha, const struct model_write *write)
{
    const struct mutation *first = write->mutations ? write->mutations->first : NULL;
    CHECK(write->next >= write->expected || (write->next == 0 && !first));
    redis_command_reset(command);
    redis_arg_text(command, "EVALSHA");
    redis_arg(command, sha);
    add_keys(command, write);
    redis_arg_i64(command, write->epoch);
    redis_arg_i64(command, write->expected);
    redis_arg_i64(command, write->next);
    redis_arg_i64(command, write->at_us);
    redis_arg_i64(command, write->behind);
    redis_arg_i64(command, write->seen_us);
    redis_arg_i64(command, count_kind(first, MUTATION_CAMPAIGN));
    redis_arg_i64(command, count_kind(first, MUTATION_HOLD));
    redis_arg_i64(command, USER_BUCKETS);
    size_t key = FIXED_KEYS + 1;
    for (const struct mutation *at = first; at; at = at->next) {
        add_op(command, at, key);
        key += keys_of(at);
    }
}
