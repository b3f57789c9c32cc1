/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of generations. */
#include "projector/rebuild/generations.h"

#include "readmodel/keys.h"

static const char *const state_names[] = {
    [GENERATION_BUILDING] = "building", [GENERATION_READY] = "ready", [GENERATION_PAST] = "past"};

/* --- values --- */

bool generation_name_valid(struct span name)
{
    return name.len <= GENERATION_NAME_MAX && slug_valid(name);
}

void generation_write(struct buf *out, const struct generation *generation)
{
    buf_printf(out, "%s %s %s", state_names[generation->state], generation->name, generation->limit);
}

static bool copy_word(struct span word, char *ret, size_t size)
{
    if (word.len == 0 || word.len >= size)
        return false;
    memcpy(ret, word.ptr, word.len);
    ret[word.len] = '\0';
    return true;
}

bool generation_parse(struct span text, struct generation *ret)
{
    struct span limit = text, state = span_cut(&limit, ' '), name = span_cut(&limit, ' ');
    struct generation parsed = {0};
    if (!generation_name_valid(name) || !copy_word(name, parsed.name, sizeof parsed.name) ||
        !copy_word(limit, parsed.limit, sizeof parsed.limit))
        return false;
    for (size_t i = 0; i < COUNT_OF(state_names); i++)
        if (span_is(state, state_names[i])) {
            parsed.state = (enum generation_state)i;
            *ret = parsed;
            return true;
        }
    return false;
}

const struct generation *generations_by_name(const struct generations *generations, const char *name)
{
    for (size_t i = 0; i < generations->count; i++)
        if (strcmp(generations->items[i].name, name) == 0)
            return &generations->items[i];
    return NULL;
}

const struct generation *generations_in_state(const struct generations *generations,
                                              enum generation_state state)
{
    for (size_t i = 0; i < generations->count; i++)
        if (generations->items[i].state == state)
            return &generations->items[i];
    return NULL;
}

bool generations_needed(const struct generations *generations, int64_t number)
{
    bool needed = number == generations->live;
    for (size_t i = 0; i < generations->count; i++)
        needed |= number == generations->items[i].number;
    return needed;
}

int64_t generations_next(const struct generations *generations)
{
    int64_t highest = generations->live;
    for (size_t i = 0; i < generations->count; i++)
        highest = generations->items[i].number > highest ? generations->items[i].number : highest;
    return highest + 1;
}

/* --- Redis --- */

struct call {
    struct redis_command command;
    struct buf key;
};

static void begin(struct call *call, const char *verb)
{
    redis_command_init(&call->command);
    buf_init(&call->key, KEY_TEXT_MAX);
    redis_arg_text(&call->command, verb);
}

static void add_key(struct call *call, void (*write)(struct buf *out))
{
    buf_clear(&call->key);
    write(&call->key);
    redis_arg(&call->command, buf_span(&call->key));
}

static void end(struct call *call)
{
    redis_command_deinit(&call->command);
    buf_deinit(&call->key);
}

static enum redis_status run(struct redis *redis, struct call *call, int64_t deadline_us,
                             const struct redis_reply **ret)
{
    enum redis_status status = redis_call(redis, &call->command, deadline_us, ret);
    end(call);
    return status;
}

static void read_entries(const struct redis_reply *reply, struct generations *ret)
{
    for (size_t i = 0; i + 1 < redis_length(reply) && ret->count < GENERATIONS_MAX; i += 2) {
        struct generation *item = &ret->items[ret->count];
        int64_t number;
        if (!parse_i64(redis_text(redis_at(reply, i)), 1, INT64_MAX, &number) ||
            !generation_parse(redis_text(redis_at(reply, i + 1)), item))
            continue;
        item->number = number;
        ret->count++;
    }
}

enum redis_status generations_read(struct redis *redis, int64_t deadline_us, struct generations *ret)
{
    struct call live, list;
    const struct redis_reply *reply;
    *ret = (struct generations){0};
    begin(&live, "GET");
    add_key(&live, key_live);
    enum redis_status status = run(redis, &live, deadline_us, &reply);
    if (status != REDIS_OK)
        return status;
    if (redis_kind(reply) != REDIS_NIL && !parse_i64(redis_text(reply), 1, INT64_MAX, &ret->live))
        return REDIS_ERROR;
    begin(&list, "HGETALL");
    add_key(&list, key_generations);
    status = run(redis, &list, deadline_us, &reply);
    if (status == REDIS_OK)
        read_entries(reply, ret);
    return status;
}

enum redis_status generations_put(struct redis *redis, const struct generation *generation,
                                  int64_t deadline_us)
{
    struct call call;
    struct buf value;
    const struct redis_reply *reply;
    buf_init(&value, 128);
    generation_write(&value, generation);
    begin(&call, "HSET");
    add_key(&call, key_generations);
    redis_arg_i64(&call.command, generation->number);
    redis_arg(&call.command, buf_span(&value));
    buf_deinit(&value);
    return run(redis, &call, deadline_us, &reply);
}

enum redis_status generations_remove(struct redis *redis, int64_t number, int64_t deadline_us)
{
    struct call call;
    const struct redis_reply *reply;
    begin(&call, "HDEL");
    add_key(&call, key_generations);
    redis_arg_i64(&call.command, number);
    return run(redis, &call, deadline_us, &reply);
}

enum redis_status generations_switch(struct redis *redis, int64_t from, int64_t to, int64_t deadline_us,
                                     int64_t *ret)
{
    static const char script[] = "local live = redis.call('GET', KEYS[1]) or '0'\n"
                                 "if live ~= ARGV[1] then return live end\n"
                                 "redis.call('SET', KEYS[1], ARGV[2])\n"
                                 "return ARGV[2]\n";
    struct call call;
    const struct redis_reply *reply;
    begin(&call, "EVAL");
    redis_arg_text(&call.command, script);
    redis_arg_text(&call.command, "1");
    add_key(&call, key_live);
    redis_arg_i64(&call.command, from);
    redis_arg_i64(&call.command, to);
    enum redis_status status = run(redis, &call, deadline_us, &reply);
    if (status == REDIS_OK && !parse_i64(redis_text(reply), 0, INT64_MAX, ret))
        return REDIS_ERROR;
    return status;
}
