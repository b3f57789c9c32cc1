/* SPDX-License-Identifier: Apache-2.0 */
/* SCAN and UNLINK. */
#include "projector/rebuild/sweep.h"

#include "projector/rebuild/generations.h"

enum { STEP_KEYS = 500, KEYS_BYTES_MAX = 4 * 1024 * 1024 };

void sweep_begin(struct sweep *sweep)
{
    *sweep = (struct sweep){.cursor = "0"};
}

int64_t sweep_generation_of(struct span key)
{
    struct span rest = key;
    int64_t generation;
    if (!span_is(span_cut(&rest, ':'), "fc") || !rest.ptr)
        return 0;
    struct span number = span_cut(&rest, ':');
    return rest.ptr && rest.len > 0 && rest.ptr[0] == '{' && parse_i64(number, 1, INT64_MAX, &generation)
               ? generation
               : 0;
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
        if (sweep_generation_of(key) == 0 || text_has_control(key))
            continue;
        buf_append_span(out, key);
        buf_append_char(out, '\n');
    }
}

/* Queues an UNLINK for each key that is not needed; returns how many. One key per command: each is in a slot
 * of its own. */
static size_t send_unlinks(struct redis *redis, struct span keys, const struct generations *generations)
{
    struct redis_command command;
    size_t sent = 0;
    redis_command_init(&command);
    while (keys.ptr && keys.len > 0) {
        struct span key = span_cut(&keys, '\n');
        if (generations_needed(generations, sweep_generation_of(key)))
            continue;
        redis_command_reset(&command);
        redis_arg_text(&command, "UNLINK");
        redis_arg(&command, key);
        redis_send(redis, &command);
        sent++;
    }
    redis_command_deinit(&command);
    return sent;
}

static enum redis_status receive_unlinks(struct sweep *sweep, struct redis *redis, size_t count,
                                         int64_t deadline_us)
{
    enum redis_status first = REDIS_OK;
    for (; count > 0; count--) {
        const struct redis_reply *reply;
        enum redis_status status = redis_receive(redis, deadline_us, &reply);
        if (status == REDIS_LOST)
            return status;
        if (status == REDIS_OK)
            sweep->dropped += redis_integer(reply);
        else if (first == REDIS_OK)
            first = status;
    }
    return first;
}

static enum redis_status scan(struct sweep *sweep, struct redis *redis, int64_t deadline_us,
                              struct buf *ret_keys)
{
    struct redis_command command;
    const struct redis_reply *reply;
    redis_command_init(&command);
    write_scan(&command, sweep->cursor);
    enum redis_status status = redis_call(redis, &command, deadline_us, &reply);
    redis_command_deinit(&command);
    if (status != REDIS_OK)
        return status;
    if (redis_length(reply) != 2)
        return REDIS_ERROR;
    struct span cursor = redis_text(redis_at(reply, 0));
    if (cursor.len == 0 || cursor.len >= sizeof sweep->cursor)
        return REDIS_ERROR;
    memcpy(sweep->cursor, cursor.ptr, cursor.len);
    sweep->cursor[cursor.len] = '\0';
    sweep->done = span_is(cursor, "0");
    keep_keys(ret_keys, redis_at(reply, 1));
    return REDIS_OK;
}

/* The keys first, then what is needed: a generation is written down before its first key is made, so a key
 * that was found and is nobody's then has been nobody's since. */
enum redis_status sweep_step(struct sweep *sweep, struct redis *redis, int64_t deadline_us)
{
    struct generations generations;
    struct buf keys;
    buf_init(&keys, KEYS_BYTES_MAX);
    enum redis_status status = scan(sweep, redis, deadline_us, &keys);
    if (status == REDIS_OK)
        status = generations_read(redis, deadline_us, &generations);
    if (status == REDIS_OK && generations.live > 0 && !keys.overflow) { /* nothing live: emptied just now */
        size_t sent = send_unlinks(redis, buf_span(&keys), &generations);
        status = receive_unlinks(sweep, redis, sent, deadline_us);
    }
    buf_deinit(&keys);
    return status;
}
