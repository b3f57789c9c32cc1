/* SPDX-License-Identifier: Apache-2.0 */
/* The scripts as bytes, and their arguments. */
#include "readmodel/script.h"

#include "readmodel/varint.h"

#define EMBED(name, file)                                                      \
    __asm__(".pushsection .rodata\n"                                           \
            ".global " #name "_start\n" #name "_start: .incbin \"" file "\"\n" \
            ".global " #name "_end\n" #name "_end: .byte 0\n"                  \
            ".popsection\n");                                                  \
    extern const char name##_start[], name##_end[]
EMBED(readmodel_apply, "readmodel/apply.lua");
EMBED(readmodel_switch, "readmodel/switch.lua");

/* Written out in apply.lua. */
enum { BUCKET_BYTES = 4 };
_Static_assert(HOLDING_BYTES == 19 && BUCKET_BYTES + HOLDING_BYTES == 23, "written out in apply.lua");
_Static_assert(CHUNK_HEAD_PLAIN == 'c' && CHUNK_HEAD_STATES == 's', "written out in apply.lua");

enum { HOLDINGS_MAX = 64 * 1024 };

struct span script_text(enum script script)
{
    return script == SCRIPT_APPLY
               ? (struct span){readmodel_apply_start, (size_t)(readmodel_apply_end - readmodel_apply_start)}
               : (struct span){readmodel_switch_start,
                               (size_t)(readmodel_switch_end - readmodel_switch_start)};
}

bool script_result(const struct redis_reply *reply, enum script_result *ret, int64_t *ret_value)
{
    static const char *const names[] = {[SCRIPT_APPLIED] = "applied",
                                        [SCRIPT_FENCED] = "fenced",
                                        [SCRIPT_MOVED] = "moved",
                                        [SCRIPT_BEHIND] = "behind"};
    struct span text = redis_text(redis_at(reply, 0));
    if (redis_length(reply) != 2 || !parse_i64(redis_text(redis_at(reply, 1)), 0, INT64_MAX, ret_value))
        return false;
    *ret = SCRIPT_APPLIED;
    if (span_is(text, "switched"))
        return true;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (span_is(text, names[i])) {
            *ret = (enum script_result)i;
            return true;
        }
    return false;
}

/* --- a batch --- */

static void take_command(void *context, const struct redis_command *command)
{
    struct script_batch *batch = context;
    const char *at = command->data.data;
    redis_arg_i64(&batch->commands, (int64_t)command->count);
    for (size_t i = 0; i < command->count; at += command->lengths[i++])
        redis_arg(&batch->commands, (struct span){at, command->lengths[i]});
}

static void take_holding(void *context, uint64_t user_hash, const char entry[HOLDING_BYTES])
{
    struct script_batch *batch = context;
    char bucket[BUCKET_BYTES];
    big_endian_write(bucket, sizeof bucket, (uint64_t)users_bucket(user_hash, batch->buckets));
    buf_append(&batch->holdings, bucket, sizeof bucket);
    buf_append(&batch->holdings, entry, HOLDING_BYTES);
}

static void take_state(void *context, int64_t position, struct span record)
{
    struct script_batch *batch = context;
    redis_arg_i64(&batch->states, position / COUPON_CHUNK);
    redis_arg_i64(&batch->states, position % COUPON_CHUNK);
    redis_arg(&batch->states, record);
}

void script_batch_init(struct script_batch *batch)
{
    *batch = (struct script_batch){.sink = {batch, take_command, take_holding, take_state, NULL}};
    redis_command_init(&batch->commands);
    redis_command_init(&batch->states);
    redis_command_init(&batch->keys);
    buf_init(&batch->holdings, HOLDINGS_MAX);
}

void script_batch_deinit(struct script_batch *batch)
{
    redis_command_deinit(&batch->commands);
    redis_command_deinit(&batch->states);
    redis_command_deinit(&batch->keys);
    buf_deinit(&batch->holdings);
}

void script_batch_begin(struct script_batch *batch, int64_t buckets)
{
    redis_command_reset(&batch->commands);
    redis_command_reset(&batch->states);
    buf_clear(&batch->holdings);
    batch->buckets = buckets;
}

/* --- arguments --- */

static void add_all(struct redis_command *to, const struct redis_command *from)
{
    const char *at = from->data.data;
    for (size_t i = 0; i < from->count; at += from->lengths[i++])
        redis_arg(to, (struct span){at, from->lengths[i]});
}

/* --- the keys that a script touches --- */

/* Commands about the same key come together. */
static void add_key(struct script_batch *batch, struct span key)
{
    struct redis_command *keys = &batch->keys;
    size_t last = keys->count ? keys->lengths[keys->count - 1] : 0;
    if (last != key.len || memcmp(keys->data.data + keys->data.len - last, key.ptr, last) != 0)
        redis_arg(keys, key);
}

static void add_command_keys(struct script_batch *batch)
{
    const struct redis_command *commands = &batch->commands;
    const char *at = commands->data.data;
    for (size_t i = 0; i < commands->count;) {
        int64_t words = 0;
        CHECK(parse_i64((struct span){at, commands->lengths[i]}, 2, INT32_MAX, &words));
        size_t end = i + 1 + (size_t)words;
        at += commands->lengths[i++];
        at += commands->lengths[i++]; /* the verb */
        add_key(batch, (struct span){at, commands->lengths[i]});
        while (i < end)
            at += commands->lengths[i++];
    }
}

static void add_state_keys(struct script_batch *batch, struct model model, struct buf *key)
{
    const struct redis_command *states = &batch->states;
    const char *at = states->data.data;
    for (size_t i = 0; i < states->count; i += 3) {
        for (const char *kind = "ps"; *kind; kind++) {
            buf_clear(key);
            key_begin(key, model);
            buf_append_char(key, *kind);
            buf_append_char(key, ':');
            buf_append(key, at, states->lengths[i]);
            add_key(batch, buf_span(key));
        }
        at += states->lengths[i] + states->lengths[i + 1] + states->lengths[i + 2];
    }
}

static void add_bucket_key(struct script_batch *batch, struct model model, int64_t bucket, struct buf *key)
{
    buf_clear(key);
    key_users(key, model, bucket);
    add_key(batch, buf_span(key));
}

static void add_bucket_keys(struct script_batch *batch, struct model model, int64_t grown, struct buf *key)
{
    for (size_t at = 0; at < batch->holdings.len; at += BUCKET_BYTES + HOLDING_BYTES)
        add_bucket_key(batch, model, (int64_t)big_endian_read(batch->holdings.data + at, BUCKET_BYTES), key);
    for (int64_t bucket = batch->buckets; bucket < grown; bucket++) {
        add_bucket_key(batch, model, users_parent(bucket), key);
        add_bucket_key(batch, model, bucket, key);
    }
}

static void collect_keys(struct script_batch *batch, struct model model, int64_t grown)
{
    struct buf key;
    buf_init(&key, KEY_TEXT_MAX);
    redis_command_reset(&batch->keys);
    add_command_keys(batch);
    add_state_keys(batch, model, &key);
    add_bucket_keys(batch, model, grown, &key);
    buf_deinit(&key);
}

static void begin(struct redis_command *command, struct span sha, size_t keys)
{
    redis_command_reset(command);
    redis_arg_text(command, "EVALSHA");
    redis_arg(command, sha);
    redis_arg_i64(command, (int64_t)keys);
}

static void add_batch(struct redis_command *command, const struct checkpoint *next, struct model model,
                      const struct script_batch *batch)
{
    struct buf prefix;
    int64_t before = batch ? batch->buckets : next->buckets;
    CHECK(!batch || !batch->holdings.overflow);
    buf_init(&prefix, KEY_TEXT_MAX);
    key_begin(&prefix, model);
    redis_arg(command, buf_span(&prefix));
    buf_deinit(&prefix);
    redis_arg_i64(command, before);
    redis_arg_i64(command, next->buckets);
    redis_arg(command, batch && batch->holdings.len ? buf_span(&batch->holdings) : SPAN(""));
    redis_arg_i64(command, batch ? (int64_t)(batch->states.count / 3) : 0);
    if (batch) {
        add_all(command, &batch->states);
        add_all(command, &batch->commands);
    }
}

void script_apply(struct redis_command *command, struct span sha, struct span key,
                  const struct checkpoint *expected, const struct checkpoint *next, struct model model,
                  struct script_batch *batch)
{
    if (batch)
        collect_keys(batch, model, next->buckets);
    begin(command, sha, 1 + (batch ? batch->keys.count : 0));
    redis_arg(command, key);
    if (batch)
        add_all(command, &batch->keys);
    redis_arg_i64(command, next->epoch);
    redis_arg_i64(command, expected->generation);
    redis_arg_i64(command, expected->position);
    redis_arg_i64(command, (int64_t)checkpoint_args_count());
    checkpoint_args(command, next);
    add_batch(command, next, model, batch);
}

void script_switch(struct redis_command *command, struct span sha, struct model model, int64_t live,
                   bool may_go_back)
{
    struct buf key;
    buf_init(&key, KEY_TEXT_MAX);
    begin(command, sha, 2);
    key_root(&key, model.slice);
    redis_arg(command, buf_span(&key));
    buf_clear(&key);
    key_checkpoint(&key, model);
    redis_arg(command, buf_span(&key));
    buf_deinit(&key);
    redis_arg_i64(command, live);
    redis_arg_text(command, may_go_back ? "1" : "0");
}
