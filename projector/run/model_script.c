/* SPDX-License-Identifier: Apache-2.0 */
/* The script and its arguments.
 *
 * A script in Redis is atomic but not a transaction: a command that fails half way leaves what was done
 * before it. So everything that can be refused is looked at first (and with a shebang, Redis itself refuses a
 * script as a whole when memory is full, the disk is, or it is a replica); what is written can be written
 * twice; and the checkpoint comes last. */
#include "projector/run/model_script.h"

/* The same windows as readmodel/activity.h, which says what marks are. */
#define WINDOW_ROW(name, label, grain, grains) "{" #grain "," #grains "},"
#define WINDOW_ROWS                            WINDOWS(WINDOW_ROW)
#define HOLDING_SIZE                           "22" /* as the script sees one */
enum { BUCKET_BYTES = 2 };
_Static_assert(BUCKET_BYTES + HOLDING_BYTES == 22 && USER_BUCKETS <= 65536, "written out in the script");
_Static_assert(ACTIVITY_SLACK == 2 && WINDOW_MARKED == 3 && INDEX_COUNT == 5, "written out in the script");

const char model_script[] =
    "#!lua\n"
    /* KEYS: checkpoint, buckets begun, the INDEX_COUNT sorted sets, campaigns that must exist, what else the
     * operations name, buckets of the holdings. ARGV: epoch, expected position, next position, at, behind,
     * seen, number of campaigns that must exist, number of holdings, number of buckets; then operations:
     * number of arguments, name, index of its key, arguments (of a ROW: its end, its fields in one); last the
     * holdings in one: of each its bucket (2 bytes, big-endian) and its bytes. */
    "local call, pcall, byte, sub = redis.call, redis.pcall, string.byte, string.sub\n"
    "local number, pack = struct.unpack, struct.pack\n"
    "local windows = {" WINDOW_ROWS "}\n"
    /* activity_mark() and activity_write(). The count is `base` before the batch. */
    "local function marked(record, count, base, first, last)\n"
    "  local at, lists = 8, {}\n"
    "  for w = 1, 3 do\n"
    "    local size = 8 * byte(record, 4 + w)\n"
    "    lists[w] = sub(record, at, at + size - 1)\n"
    "    at = at + size\n"
    "  end\n"
    "  for i = first, last, 2 do\n"
    "    for w = 1, 3 do\n"
    "      local list, grain, old = lists[w], math.floor(ARGV[i] / windows[w][1]), 1\n"
    "      if list == '' or number('>I4', list, #list - 7) < grain then\n"
    "        local keep = grain - windows[w][2] - 2\n"
    "        while old < #list and number('>I4', list, old) < keep do old = old + 8 end\n"
    "        lists[w] = sub(list, old) .. pack('>I4I4', grain, base + ARGV[i + 1])\n"
    "      end\n"
    "    end\n"
    "  end\n"
    "  local sizes = pack('BBB', #lists[1] / 8, #lists[2] / 8, #lists[3] / 8)\n"
    "  return pack('>I4', count) .. sizes .. table.concat(lists)\n"
    "end\n"
    "local found = call('HMGET', KEYS[1], 'epoch', 'pos', 'has', 'life')\n"
    "local pos, has, life = found[2] or '0', found[3] or '', found[4] or '0'\n"
    "local holdings = tonumber(ARGV[8])\n"
    "local last_key, last_arg, packed, size = #KEYS - holdings, #ARGV - 1, ARGV[#ARGV], " HOLDING_SIZE "\n"
    "if found[1] and tonumber(found[1]) > tonumber(ARGV[1]) then return {'fenced', found[1]} end\n"
    "if pos ~= ARGV[2] then return {'moved', pos} end\n"
    /* Past its first event a slice has what its checkpoint says it has, and an event after a campaign's first
     * finds the campaign. What is not there has vanished; adding to it would make a key that looks whole and
     * is not (I7). */
    "if pos ~= '0' and ARGV[3] ~= '0' then\n"
    "  local must = {KEYS[2]}\n"
    "  for i = 1, 5 do\n"
    "    if byte(has, i) == 49 then must[#must + 1] = KEYS[2 + i] end\n"
    "  end\n"
    "  if #has ~= 5 or call('EXISTS', unpack(must)) < #must then return {'hole', pos} end\n"
    "end\n"
    "for i = 8, 7 + tonumber(ARGV[7]) do\n"
    "  if call('HEXISTS', KEYS[i], 'd') == 0 then return {'hole', pos} end\n"
    "end\n"
    /* The same of each bucket that is said to have begun. So one that is there is whole. */
    "local begun, buckets = '', {}\n"
    "for i = 1, holdings do\n"
    "  local high, low = byte(packed, size * i - size + 1, size * i - size + 2)\n"
    "  buckets[i] = 256 * high + low\n"
    "end\n"
    "if pos ~= '0' and holdings > 0 then\n"
    "  local there, count = {}, 0\n"
    "  begun = pcall('GET', KEYS[2])\n"
    "  if type(begun) ~= 'string' or #begun ~= ARGV[9] + 1 then return {'hole', pos} end\n"
    "  for i = 1, holdings do\n"
    "    if byte(begun, buckets[i] + 1) == 49 then\n"
    "      count = count + 1\n"
    "      there[count] = KEYS[last_key + i]\n"
    "    end\n"
    "  end\n"
    "  if count > 0 and call('EXISTS', unpack(there)) < count then return {'hole', pos} end\n"
    "end\n"
    "if pos == '0' and ARGV[3] ~= '0' then\n"
    "  local time = call('TIME')\n"
    "  life = time[1] .. string.format('%06d', time[2])\n"
    "  call('UNLINK', KEYS[2])\n"
    "  call('SETRANGE', KEYS[2], ARGV[9], '1')\n"
    "end\n"
    "local i = 10\n"
    "while i <= last_arg do\n"
    "  local op, key, first = ARGV[i + 1], KEYS[tonumber(ARGV[i + 2])], i + 3\n"
    "  local last = first + tonumber(ARGV[i]) - 1\n"
    "  if op == 'CAMPAIGN' then\n"
    "    if tonumber(call('HGET', key, 'pos')) < tonumber(ARGV[first]) then\n"
    "      for n, field in ipairs({'released', 'redeemed', 'reserved'}) do\n"
    "        if ARGV[first + n] ~= '0' then call('HINCRBY', key, field, ARGV[first + n]) end\n"
    "      end\n"
    "      call('HSET', key, 'pos', ARGV[first], unpack(ARGV, first + 4, last))\n"
    "    end\n"
    "  elseif op == 'RANK' then\n"
    "    local ranking, active = KEYS[tonumber(ARGV[first])], KEYS[tonumber(ARGV[first + 1])]\n"
    "    local counted, id, member = ARGV[first + 2], ARGV[first + 3], ARGV[first + 4]\n"
    "    local had = call('HMGET', key, counted, 'r:' .. counted, 'a:' .. counted)\n"
    "    local count = tonumber(had[1])\n"
    "    local record, base = had[3] or string.rep('\\0', 7), count - ARGV[first + 6]\n"
    "    record = marked(record, count, base, first + 7, last)\n"
    "    if had[2] then call('ZREM', ranking, had[2]) end\n"
    "    if had[3] then call('ZREM', active, had[3] .. id) end\n"
    "    if count > 0 then call('ZADD', ranking, count, member) end\n"
    "    call('ZADD', active, ARGV[first + 5], record .. id)\n"
    "    call('HSET', key, 'r:' .. counted, member, 'a:' .. counted, record)\n"
    "  elseif op == 'ROW' then\n"
    "    call('HSET', key, unpack(cmsgpack.unpack(ARGV[last])))\n"
    "    call('EXPIREAT', key, ARGV[first])\n"
    "  elseif op == 'STATE' then\n"
    "    if call('HEXISTS', key, ARGV[first]) == 1 then\n"
    "      call('HSET', key, unpack(ARGV, first + 1, last))\n"
    "    end\n"
    "  else\n"
    "    call(op, key, unpack(ARGV, first, last))\n"
    "  end\n"
    "  i = last + 1\n"
    "end\n"
    /* What adds up comes when nothing else can fail but a bucket that is no string; then the slice starts
     * anew. Buckets that begin replace what an earlier life may have left, all with one command, because each
     * command costs more than what it writes. They are written before `ub` says so: a bucket that it names
     * is there. */
    "local fresh, begins, values = {}, {}, {}\n"
    "for i = 1, holdings do\n"
    "  local key, bucket, bytes = KEYS[last_key + i], buckets[i], sub(packed, size * i - size + 3, size * "
    "i)\n"
    "  local at = fresh[bucket]\n"
    "  if at then\n"
    "    values[at] = values[at] .. bytes\n"
    "  elseif byte(begun, bucket + 1) == 49 then\n"
    "    if type(pcall('APPEND', key, bytes)) ~= 'number' then\n"
    "      call('HSET', KEYS[1], 'pos', '0', 'behind', '1')\n"
    "      return {'hole', '0'}\n"
    "    end\n"
    "  else\n"
    "    local n = #values\n"
    "    values[n + 1], values[n + 2] = key, bytes\n"
    "    n = #begins\n"
    "    begins[n + 1], begins[n + 2], begins[n + 3], begins[n + 4] = 'SET', 'u8', '#' .. bucket, '49'\n"
    "    fresh[bucket] = #values\n"
    "  end\n"
    "end\n"
    "if #values > 0 then\n"
    "  call('MSET', unpack(values))\n"
    "  call('BITFIELD', KEYS[2], unpack(begins))\n"
    "end\n"
    "has = ''\n"
    "for i = 3, 7 do has = has .. call('EXISTS', KEYS[i]) end\n"
    "call('HSET', KEYS[1], 'epoch', ARGV[1], 'pos', ARGV[3], 'at', ARGV[4], 'behind', ARGV[5],\n"
    "  'seen', ARGV[6], 'has', has, 'life', life)\n"
    "return {'applied', ARGV[3]}\n";

static const char *const op_names[] = {
    [MUTATION_CAMPAIGN] = "CAMPAIGN", [MUTATION_RANK] = "RANK",
    [MUTATION_HSET] = "HSET",         [MUTATION_ROW] = "ROW",
    [MUTATION_STATE] = "STATE",       [MUTATION_ZADD] = "ZADD",
    [MUTATION_ZREM] = "ZREM",         [MUTATION_ZREMRANGEBYSCORE] = "ZREMRANGEBYSCORE",
    [MUTATION_UNLINK] = "UNLINK",
};

/* Lua's unpack takes some 8000. */
enum { FIXED_KEYS = 2 + INDEX_COUNT, OP_ARGS_MAX = 2 * PROJECTION_EVENTS_MAX + RANK_MARKS + 1 };

static size_t keys_of(const struct mutation *mutation)
{
    size_t count = 1;
    while (count < MUTATION_KEYS_MAX && mutation->more_keys[count - 1].ptr)
        count++;
    return count;
}

/* Those that every call names. */
static void add_fixed_keys(struct redis_command *command, struct model model)
{
    struct buf key;
    buf_init(&key, KEY_TEXT_MAX);
    key_checkpoint(&key, model);
    redis_arg(command, buf_span(&key));
    buf_clear(&key);
    key_users_begun(&key, model);
    redis_arg(command, buf_span(&key));
    for (enum model_index index = 0; index < INDEX_COUNT; index++) {
        buf_clear(&key);
        key_index(&key, model, index);
        redis_arg(command, buf_span(&key));
    }
    buf_deinit(&key);
}

static void add_keys(struct redis_command *command, const struct model_write *write)
{
    size_t count = FIXED_KEYS;
    const struct mutation *first = write->mutations ? write->mutations->first : NULL;
    for (const struct mutation *at = first; at; at = at->next)
        count += keys_of(at);
    redis_arg_i64(command, (int64_t)count);
    add_fixed_keys(command, write->model);
    for (const struct mutation *at = first; at; at = at->next) {
        redis_arg(command, at->key);
        for (size_t i = 1; i < keys_of(at); i++)
            redis_arg(command, at->more_keys[i - 1]);
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

static void add_u16(struct buf *out, size_t value)
{
    CHECK(value <= UINT16_MAX);
    buf_append_char(out, (char)(value >> 8));
    buf_append_char(out, (char)(value & 0xff));
}

/* An array of strings as MessagePack: Redis comes with a reader of that for scripts. */
static void add_packed(struct redis_command *command, const struct mutation *mutation)
{
    struct buf packed;
    size_t bytes = 3;
    for (size_t i = 0; i < mutation->args_count; i++)
        bytes += 3 + mutation->args[i].len;
    buf_init(&packed, bytes);
    buf_append_char(&packed, (char)0xdc); /* array 16 */
    add_u16(&packed, mutation->args_count);
    for (size_t i = 0; i < mutation->args_count; i++) {
        buf_append_char(&packed, (char)0xda); /* str 16 */
        add_u16(&packed, mutation->args[i].len);
        buf_append_span(&packed, mutation->args[i]);
    }
    CHECK(!packed.overflow);
    redis_arg(command, buf_span(&packed));
    buf_deinit(&packed);
}

/* By far the most arguments are those of rows and holdings, and each argument costs Redis more than its
 * bytes: it is parsed, kept, and made a string of Lua's. So these are packed. */
static void add_row(struct redis_command *command, const struct mutation *mutation, size_t key)
{
    redis_arg_i64(command, 2);
    redis_arg_text(command, op_names[MUTATION_ROW]);
    redis_arg_i64(command, (int64_t)key);
    redis_arg_i64(command, mutation->expires_at_s);
    add_packed(command, mutation);
}

static void add_op(struct redis_command *command, const struct mutation *mutation, size_t key)
{
    CHECK(mutation->args_count <= OP_ARGS_MAX);
    if (mutation->kind == MUTATION_HOLD)
        return; /* add_holdings() */
    if (mutation->kind == MUTATION_ROW) {
        add_row(command, mutation, key);
        return;
    }
    size_t more_keys = keys_of(mutation) - 1;
    redis_arg_i64(command, (int64_t)(mutation->args_count + more_keys));
    redis_arg_text(command, op_names[mutation->kind]);
    redis_arg_i64(command, (int64_t)key);
    for (size_t i = 1; i <= more_keys; i++)
        redis_arg_i64(command, (int64_t)(key + i));
    for (size_t i = 0; i < mutation->args_count; i++)
        redis_arg(command, mutation->args[i]);
}

/* All of them in one argument. */
static void add_holdings(struct redis_command *command, const struct mutation *at)
{
    struct buf packed;
    buf_init(&packed, PROJECTION_EVENTS_MAX * (BUCKET_BYTES + HOLDING_BYTES));
    for (; at; at = at->next) {
        int64_t bucket;
        if (at->kind != MUTATION_HOLD)
            continue;
        CHECK(at->args_count == 2 && at->args[1].len == HOLDING_BYTES);
        CHECK(parse_i64(at->args[0], 0, USER_BUCKETS - 1, &bucket));
        add_u16(&packed, (size_t)bucket);
        buf_append_span(&packed, at->args[1]);
    }
    CHECK(!packed.overflow);
    redis_arg(command, packed.len ? buf_span(&packed) : SPAN(""));
    buf_deinit(&packed);
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
    add_holdings(command, first);
}
