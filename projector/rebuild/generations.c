/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of generations, and what drops them. */
#include "projector/rebuild/generations.h"

#include "common/base/clock.h"

static const char *const state_names[] = {[GENERATION_BUILDING] = "building", [GENERATION_PAST] = "past"};

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

bool generations_need(const struct generations *generations, struct model model)
{
    bool needed =
        model.generation == generations->live[model.slice] || generations->unknown >> model.slice & 1;
    for (size_t i = 0; i < generations->count; i++)
        needed |= model.generation == generations->items[i].number;
    return needed;
}

/* Two for each millisecond. */
int64_t generation_number(enum generation_maker maker, int64_t now_us, int64_t above)
{
    int64_t pair = now_us / US_PER_MS > above / 2 ? now_us / US_PER_MS : above / 2 + 1;
    return 2 * pair + maker;
}

int64_t generations_next(const struct generations *generations, int64_t now_us)
{
    int64_t above = 0;
    for (size_t i = 0; i < generations->count; i++)
        above = generations->items[i].number > above ? generations->items[i].number : above;
    for (size_t i = 0; i < SLICE_COUNT; i++)
        above = generations->live[i] > above ? generations->live[i] : above;
    return generation_number(MADE_BY_REBUILD, now_us, above);
}

/* --- Redis --- */

/* On the registry. */
static struct redis_command *begin(struct redis_writer *writer, const char *verb)
{
    key_generations(redis_writer_key(writer), redis_writer_slices(writer));
    return redis_writer_begin(writer, verb);
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

enum redis_status generations_read(struct redis_writer *writer, int64_t deadline_us, struct generations *ret)
{
    struct slice_roots found;
    const struct redis_reply *reply;
    *ret = (struct generations){0};
    enum redis_status status = redis_writer_clean_roots(writer, deadline_us, &found);
    if (status != REDIS_OK && status != REDIS_AWAY)
        return status;
    for (size_t i = 0; i < SLICE_COUNT; i++) {
        ret->live[i] = found.roots[i].generation;
        if (found.found[i] != REDIS_OK)
            ret->unknown |= 1U << i;
    }
    status = redis_writer_call(writer, begin(writer, "HGETALL"), deadline_us, &reply);
    if (status == REDIS_OK)
        read_entries(reply, ret);
    if (status == REDIS_ERROR) /* of another type, for which Redis has an error of no class: it is none */
        status = redis_writer_unlink(writer, deadline_us);
    return status;
}

enum redis_status generations_put(struct redis_writer *writer, const struct generation *generation,
                                  int64_t deadline_us)
{
    struct redis_command *command = begin(writer, "HSET");
    struct buf value;
    const struct redis_reply *reply;
    buf_init(&value, 128);
    generation_write(&value, generation);
    redis_arg_i64(command, generation->number);
    redis_arg(command, buf_span(&value));
    buf_deinit(&value);
    return redis_writer_call(writer, command, deadline_us, &reply);
}

enum redis_status generations_remove(struct redis_writer *writer, int64_t number, int64_t deadline_us)
{
    struct redis_command *command = begin(writer, "HDEL");
    const struct redis_reply *reply;
    redis_arg_i64(command, number);
    return redis_writer_call(writer, command, deadline_us, &reply);
}

enum redis_status generations_forget_interrupted(struct redis_writer *writer, int64_t deadline_us,
                                                 struct generations *ret)
{
    struct generations all;
    enum redis_status status = generations_read(writer, deadline_us, &all);
    *ret = all;
    ret->count = 0;
    for (size_t i = 0; status == REDIS_OK && i < all.count; i++)
        if (all.items[i].state == GENERATION_BUILDING)
            status = generations_remove(writer, all.items[i].number, deadline_us);
        else
            ret->items[ret->count++] = all.items[i];
    return status;
}

/* --- dropping --- */

enum { STEP_KEYS = 1000, KEYS_BYTES_MAX = 4 * 1024 * 1024 };

void drop_begin(struct drop *drop)
{
    *drop = (struct drop){.cursor = "0"};
}

/* Where a server is through, the next. */
static void go_on(struct drop *drop, struct redis *redis)
{
    size_t servers[REDIS_SERVERS_MAX];
    if (strcmp(drop->cursor, "0") == 0)
        drop->done = ++drop->server >= redis_servers(redis, servers);
}

bool model_of_key(struct span key, struct model *ret)
{
    struct span rest = key;
    int64_t generation, slice;
    if (!span_is(span_cut(&rest, ':'), "fc") || !rest.ptr ||
        !parse_i64(span_cut(&rest, ':'), 1, INT64_MAX, &generation) || !rest.ptr)
        return false;
    struct span tag = span_cut(&rest, ':');
    if (tag.len < 3 || tag.ptr[0] != '{' || tag.ptr[tag.len - 1] != '}' ||
        !parse_i64((struct span){tag.ptr + 1, tag.len - 2}, 0, SLICE_COUNT - 1, &slice))
        return false;
    *ret = (struct model){generation, (int16_t)slice};
    return true;
}

static void write_scan(struct redis_command *command, const char *cursor)
{
    redis_arg_text(command, "SCAN");
    redis_arg_text(command, cursor);
    redis_arg_text(command, "MATCH");
    redis_arg_text(command, "fc:*");
    redis_arg_text(command, "COUNT");
    redis_arg_i64(command, STEP_KEYS);
}

/* The models' keys on a page of SCAN, one a line: they have to outlive the reply. */
static void keep_keys(struct buf *out, const struct redis_reply *keys)
{
    for (size_t i = 0; i < redis_length(keys); i++) {
        struct span key = redis_text(redis_at(keys, i));
        struct model model;
        if (!model_of_key(key, &model) || text_has_control(key))
            continue;
        buf_append_span(out, key);
        buf_append_char(out, '\n');
    }
}

/* Queues an UNLINK for each key that is not needed; returns how many. One key per command: each is in a slot
 * of its own. */
static size_t send_unlinks(struct redis_writer *writer, struct span keys,
                           const struct generations *generations)
{
    struct redis *redis = redis_writer_redis(writer);
    size_t sent = 0;
    while (keys.ptr && keys.len > 0) {
        struct span key = span_cut(&keys, '\n');
        struct model model;
        if (!model_of_key(key, &model) || !(redis_writer_slices(writer) >> model.slice & 1) ||
            generations_need(generations, model))
            continue;
        buf_append_span(redis_writer_key(writer), key);
        redis_send(redis, redis_writer_begin(writer, "UNLINK"));
        sent++;
    }
    return sent;
}

static enum redis_status receive_unlinks(struct drop *drop, struct redis *redis, size_t count,
                                         int64_t deadline_us)
{
    enum redis_status first = REDIS_OK;
    for (; count > 0; count--) {
        const struct redis_reply *reply;
        enum redis_status status = redis_receive(redis, deadline_us, &reply);
        if (status == REDIS_LOST)
            return status;
        if (status == REDIS_OK)
            drop->dropped += redis_integer(reply);
        else if (status == REDIS_AWAY)
            drop->missed = true;
        else if (first == REDIS_OK)
            first = status;
    }
    return first;
}

static enum redis_status scan(struct drop *drop, struct redis *redis, int64_t deadline_us,
                              struct buf *ret_keys)
{
    struct redis_command command;
    const struct redis_reply *reply;
    size_t servers[REDIS_SERVERS_MAX];
    if (drop->server >= redis_servers(redis, servers)) { /* the cluster has fewer of them now */
        drop->done = drop->missed = true;
        return REDIS_OK;
    }
    redis_aim(redis, servers[drop->server]);
    redis_command_init(&command);
    write_scan(&command, drop->cursor);
    enum redis_status status = redis_call(redis, &command, deadline_us, &reply);
    redis_command_deinit(&command);
    if (status == REDIS_AWAY) {
        snprintf(drop->cursor, sizeof drop->cursor, "0");
        drop->missed = true;
        go_on(drop, redis);
        return REDIS_OK;
    }
    if (status != REDIS_OK)
        return status;
    if (redis_length(reply) != 2)
        return REDIS_ERROR;
    struct span cursor = redis_text(redis_at(reply, 0));
    if (cursor.len == 0 || cursor.len >= sizeof drop->cursor)
        return REDIS_ERROR;
    memcpy(drop->cursor, cursor.ptr, cursor.len);
    drop->cursor[cursor.len] = '\0';
    go_on(drop, redis);
    keep_keys(ret_keys, redis_at(reply, 1));
    return REDIS_OK;
}

/* The keys first, then what is needed: a generation is written down before its first key is made, so a key
 * that was found and is nobody's then has been nobody's since. */
enum redis_status drop_step(struct drop *drop, struct redis_writer *writer, int64_t deadline_us)
{
    struct redis *redis = redis_writer_redis(writer);
    struct generations generations;
    struct buf keys;
    buf_init(&keys, KEYS_BYTES_MAX);
    enum redis_status status = scan(drop, redis, deadline_us, &keys);
    if (status == REDIS_OK && keys.len > 0)
        status = generations_read(writer, deadline_us, &generations);
    if (status == REDIS_OK && keys.len > 0 && !keys.overflow) {
        size_t sent = send_unlinks(writer, buf_span(&keys), &generations);
        status = receive_unlinks(drop, redis, sent, deadline_us);
    }
    buf_deinit(&keys);
    return status;
}
