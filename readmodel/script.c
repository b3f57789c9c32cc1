/* SPDX-License-Identifier: Apache-2.0 */
/* The scripts as bytes, and their arguments. */
#include "readmodel/script.h"

#define EMBED(name, file)                                                      \
    __asm__(".pushsection .rodata\n"                                           \
            ".global " #name "_start\n" #name "_start: .incbin \"" file "\"\n" \
            ".global " #name "_end\n" #name "_end: .byte 0\n"                  \
            ".popsection\n");                                                  \
    extern const char name##_start[], name##_end[]
EMBED(readmodel_apply, "readmodel/apply.lua");
EMBED(readmodel_switch, "readmodel/switch.lua");

_Static_assert(HOLDING_BYTES == 19, "written out in apply.lua, as is where the user's tag is");
_Static_assert(CHUNK_HEAD_PLAIN == 'c' && CHUNK_HEAD_STATES == 's', "written out in apply.lua");

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

static void add_key(struct script_batch *batch, struct redis_command *keys)
{
    redis_arg(keys, buf_span(&batch->key));
    buf_clear(&batch->key);
}

static void take_holding(void *context, uint64_t user_hash, const char entry[HOLDING_BYTES])
{
    struct script_batch *batch = context;
    key_users(&batch->key, batch->model, users_bucket(user_hash, batch->buckets));
    add_key(batch, &batch->bucket_keys);
    redis_arg(&batch->holdings, (struct span){entry, HOLDING_BYTES});
}

static void take_state(void *context, int64_t position, struct span record)
{
    struct script_batch *batch = context;
    key_coupons(&batch->key, batch->model, position);
    add_key(batch, &batch->state_keys);
    key_states(&batch->key, batch->model, position);
    add_key(batch, &batch->state_keys);
    redis_arg_i64(&batch->states, position % COUPON_CHUNK);
    redis_arg(&batch->states, record);
}

/* All of a batch's arguments, and its keys. */
static void each_command(struct script_batch *batch, void (*act)(struct redis_command *))
{
    act(&batch->commands);
    act(&batch->holdings);
    act(&batch->states);
    act(&batch->bucket_keys);
    act(&batch->state_keys);
    act(&batch->other_keys);
}

void script_batch_init(struct script_batch *batch)
{
    *batch = (struct script_batch){.sink = {batch, take_command, take_holding, take_state, NULL}};
    each_command(batch, redis_command_init);
    buf_init(&batch->key, KEY_TEXT_MAX);
}

void script_batch_deinit(struct script_batch *batch)
{
    each_command(batch, redis_command_deinit);
    buf_deinit(&batch->key);
}

void script_batch_begin(struct script_batch *batch, struct model model, int64_t buckets)
{
    each_command(batch, redis_command_reset);
    batch->model = model;
    batch->buckets = buckets;
}

/* --- arguments --- */

static void add_all(struct redis_command *to, const struct redis_command *from)
{
    const char *at = from->data.data;
    for (size_t i = 0; i < from->count; at += from->lengths[i++])
        redis_arg(to, (struct span){at, from->lengths[i]});
}

/* Of each command the key, which follows the verb. Commands about the same key come together. */
static void add_command_keys(struct script_batch *batch)
{
    const struct redis_command *commands = &batch->commands;
    const char *at = commands->data.data;
    struct span last = {0};
    for (size_t i = 0; i < commands->count;) {
        int64_t words = 0;
        CHECK(parse_i64((struct span){at, commands->lengths[i]}, 2, INT32_MAX, &words));
        size_t end = i + 1 + (size_t)words;
        at += commands->lengths[i++];
        at += commands->lengths[i++];
        struct span key = {at, commands->lengths[i]};
        if (!span_equal(key, last))
            redis_arg(&batch->other_keys, key);
        last = key;
        while (i < end)
            at += commands->lengths[i++];
    }
}

/* Of each bucket that comes into being the one that it takes from, and its own. */
static void add_split_keys(struct script_batch *batch, int64_t grown)
{
    for (int64_t bucket = batch->buckets; bucket < grown; bucket++) {
        key_users(&batch->key, batch->model, users_parent(bucket));
        add_key(batch, &batch->other_keys);
        key_users(&batch->key, batch->model, bucket);
        add_key(batch, &batch->other_keys);
    }
}

static void begin(struct redis_command *command, struct span sha, size_t keys)
{
    redis_command_reset(command);
    redis_arg_text(command, "EVALSHA");
    redis_arg(command, sha);
    redis_arg_i64(command, (int64_t)keys);
}

/* KEYS: the checkpoint; a bucket for each holding; the coupons and the states for each state; parent and
 * child for each split; those of the commands. ARGV: epoch, and of the expected checkpoint generation and
 * position; the fields of the next one and how many words they are; numbers of buckets before and after, of
 * holdings, of states; the holdings; the states, field and record of each; the commands. */
void script_apply(struct redis_command *command, struct span sha, struct span key,
                  const struct checkpoint *expected, const struct checkpoint *next,
                  struct script_batch *batch)
{
    redis_command_reset(&batch->other_keys);
    add_split_keys(batch, next->buckets);
    add_command_keys(batch);
    begin(command, sha, 1 + batch->bucket_keys.count + batch->state_keys.count + batch->other_keys.count);
    redis_arg(command, key);
    add_all(command, &batch->bucket_keys);
    add_all(command, &batch->state_keys);
    add_all(command, &batch->other_keys);
    redis_arg_i64(command, next->epoch);
    redis_arg_i64(command, expected->generation);
    redis_arg_i64(command, expected->position);
    redis_arg_i64(command, (int64_t)checkpoint_args_count());
    checkpoint_args(command, next);
    redis_arg_i64(command, batch->buckets);
    redis_arg_i64(command, next->buckets);
    redis_arg_i64(command, (int64_t)batch->holdings.count);
    redis_arg_i64(command, (int64_t)(batch->states.count / 2));
    add_all(command, &batch->holdings);
    add_all(command, &batch->states);
    add_all(command, &batch->commands);
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
