/* SPDX-License-Identifier: Apache-2.0 */
/* The conversation with Redis about models and checkpoints. */
#include "projector/run/redis_writer.h"

#include "common/base/clock.h"
#include "common/base/mem.h"

enum { SHA_LEN = 40, REPLICAS_MAX = 16 };

struct redis_writer {
    struct redis *redis;
    unsigned slices;
    struct redis_command command;
    struct buf key;
    char shas[SCRIPT_COUNT][SHA_LEN];
    struct model_outcome pending[WRITES_PENDING_MAX]; /* ring: the writes on their way */
    size_t pending_first, pending_count;
    char error[160];
};

struct redis_writer *redis_writer_create(const char *url, unsigned slices, char *reason, size_t reason_size)
{
    struct redis *redis = redis_create(url, reason, reason_size);
    if (!redis)
        return NULL;
    struct redis_writer *writer = mem_zalloc(sizeof *writer);
    writer->redis = redis;
    writer->slices = slices;
    redis_command_init(&writer->command);
    buf_init(&writer->key, KEY_TEXT_MAX);
    return writer;
}

unsigned redis_writer_slices(const struct redis_writer *writer)
{
    return writer->slices;
}

void redis_writer_destroy(struct redis_writer *writer)
{
    if (!writer)
        return;
    redis_destroy(writer->redis);
    redis_command_deinit(&writer->command);
    buf_deinit(&writer->key);
    mem_free(writer);
}

const char *redis_writer_error(const struct redis_writer *writer)
{
    return writer->error;
}

struct redis *redis_writer_redis(struct redis_writer *writer)
{
    CHECK(writer->pending_count == 0);
    return writer->redis;
}

struct buf *redis_writer_key(struct redis_writer *writer)
{
    buf_clear(&writer->key);
    return &writer->key;
}

struct redis_command *redis_writer_begin(struct redis_writer *writer, const char *verb)
{
    redis_command_reset(&writer->command);
    redis_arg_text(&writer->command, verb);
    redis_arg(&writer->command, buf_span(&writer->key));
    return &writer->command;
}

/* What Redis says here is not what this program understands: a version of Redis or of ours that does not fit.
 */
static enum redis_status misunderstood(struct redis_writer *writer, const char *what)
{
    snprintf(writer->error, sizeof writer->error, "%s", what);
    return REDIS_ERROR;
}

static enum redis_status noted(struct redis_writer *writer, enum redis_status status)
{
    if (status != REDIS_OK)
        snprintf(writer->error, sizeof writer->error, "%s", redis_error(writer->redis));
    return status;
}

static enum redis_status receive(struct redis_writer *writer, int64_t deadline_us,
                                 const struct redis_reply **ret)
{
    return noted(writer, redis_receive(writer->redis, deadline_us, ret));
}

enum redis_status redis_writer_call(struct redis_writer *writer, const struct redis_command *command,
                                    int64_t deadline_us, const struct redis_reply **ret)
{
    CHECK(writer->pending_count == 0);
    return noted(writer, redis_call(writer->redis, command, deadline_us, ret));
}

/* --- connecting --- */

static enum redis_status load_script(struct redis_writer *writer, enum script script, int64_t deadline_us)
{
    const struct redis_reply *reply;
    redis_command_reset(&writer->command);
    redis_arg_text(&writer->command, "SCRIPT");
    redis_arg_text(&writer->command, "LOAD");
    redis_arg(&writer->command, script_text(script));
    enum redis_status status = redis_writer_call(writer, &writer->command, deadline_us, &reply);
    if (status != REDIS_OK)
        return status;
    struct span sha = redis_text(reply);
    if (sha.len != SHA_LEN)
        return misunderstood(writer, "SCRIPT LOAD does not answer with a hash");
    memcpy(writer->shas[script], sha.ptr, SHA_LEN);
    return REDIS_OK;
}

/* Servers of a cluster that do not answer get the scripts when they do: their slices are asked for again
 * then.
 */
enum redis_status redis_writer_connect(struct redis_writer *writer, int64_t deadline_us)
{
    enum redis_status status = REDIS_OK, failure = REDIS_OK;
    size_t servers[REDIS_SERVERS_MAX];
    bool loaded = false;
    CHECK(writer->pending_count == 0);
    if (!redis_connected(writer->redis))
        status = noted(writer, redis_connect(writer->redis, deadline_us));
    if (status != REDIS_OK)
        return status;
    size_t count = redis_servers(writer->redis, servers);
    for (size_t i = 0; i < count; i++) {
        redis_aim(writer->redis, servers[i]);
        for (enum script script = 0; status == REDIS_OK && script < SCRIPT_COUNT; script++)
            status = load_script(writer, script, deadline_us);
        loaded |= status == REDIS_OK;
        failure = status == REDIS_OK ? failure : status;
        status = REDIS_OK;
    }
    return loaded ? REDIS_OK : failure;
}

/* --- servers --- */

size_t redis_writer_server_of(const struct redis_writer *writer, int16_t slice)
{
    struct buf key;
    buf_init(&key, KEY_TEXT_MAX);
    key_root(&key, slice);
    size_t server = redis_server_of(writer->redis, buf_span(&key));
    buf_deinit(&key);
    return server;
}

unsigned redis_writer_slices_beside(const struct redis_writer *writer, int16_t slice)
{
    unsigned beside = 0;
    size_t server = redis_writer_server_of(writer, slice);
    for (int16_t other = 0; other < SLICE_COUNT; other++)
        if (redis_writer_server_of(writer, other) == server)
            beside |= 1U << other;
    return beside;
}

/* --- checkpoints --- */

enum redis_status redis_writer_unlink(struct redis_writer *writer, int64_t deadline_us)
{
    const struct redis_reply *reply;
    return redis_writer_call(writer, redis_writer_begin(writer, "UNLINK"), deadline_us, &reply);
}

/* A root of another type, for which Redis has an error of no class, is lost. */
static enum redis_status remove_roots(struct redis_writer *writer, unsigned slices, int64_t deadline_us)
{
    enum redis_status status = REDIS_OK;
    for (int16_t slice = 0; slice < SLICE_COUNT && status == REDIS_OK; slice++) {
        if (!(slices >> slice & 1))
            continue;
        key_root(redis_writer_key(writer), slice);
        status = redis_writer_unlink(writer, deadline_us);
    }
    return status;
}

static enum redis_status read_roots(struct redis_writer *writer, int64_t deadline_us, struct slice_roots *ret,
                                    unsigned *ret_foreign)
{
    enum redis_status first = REDIS_OK;
    *ret_foreign = 0;
    *ret = (struct slice_roots){0};
    CHECK(writer->pending_count == 0);
    if (!redis_connected(writer->redis))
        first = noted(writer, redis_connect(writer->redis, deadline_us));
    for (int16_t slice = 0; slice < SLICE_COUNT && first == REDIS_OK; slice++) {
        key_root(redis_writer_key(writer), slice);
        checkpoint_command(&writer->command, buf_span(&writer->key));
        redis_send(writer->redis, &writer->command);
    }
    for (int slice = 0; slice < SLICE_COUNT; slice++) { /* all replies, so that none is left over */
        const struct redis_reply *reply = NULL;
        enum redis_status status = first != REDIS_OK && !redis_connected(writer->redis)
                                       ? first
                                       : receive(writer, deadline_us, &reply);
        ret->roots[slice] = checkpoint_from_reply(reply);
        if (status == REDIS_ERROR)
            *ret_foreign |= 1U << slice;
        else
            ret->found[slice] = status;
        first = first == REDIS_OK ? ret->found[slice] : first;
    }
    return first;
}

enum redis_status redis_writer_roots(struct redis_writer *writer, int64_t deadline_us,
                                     struct slice_roots *ret)
{
    unsigned foreign;
    return read_roots(writer, deadline_us, ret, &foreign);
}

enum redis_status redis_writer_clean_roots(struct redis_writer *writer, int64_t deadline_us,
                                           struct slice_roots *ret)
{
    unsigned foreign;
    enum redis_status status = read_roots(writer, deadline_us, ret, &foreign);
    if (!foreign || status == REDIS_LOST)
        return status;
    enum redis_status removed = remove_roots(writer, foreign, deadline_us);
    return status == REDIS_OK ? removed : status;
}

enum redis_status redis_writer_switch(struct redis_writer *writer, struct model model, int64_t live,
                                      bool may_go_back, int64_t deadline_us, enum script_result *ret)
{
    const struct redis_reply *reply;
    int64_t value;
    script_switch(&writer->command, (struct span){writer->shas[SCRIPT_SWITCH], SHA_LEN}, model, live,
                  may_go_back);
    enum redis_status status = redis_writer_call(writer, &writer->command, deadline_us, &reply);
    if (status == REDIS_OK && !script_result(reply, ret, &value))
        return misunderstood(writer, "the script does not answer as it should");
    return status;
}

/* --- batches --- */

size_t redis_writer_pending(const struct redis_writer *writer)
{
    return writer->pending_count;
}

void redis_writer_send(struct redis_writer *writer, const struct model_write *write)
{
    CHECK(writer->pending_count < WRITES_PENDING_MAX);
    (void)redis_writer_key(writer);
    if (write->live)
        key_root(&writer->key, write->model.slice);
    else
        key_checkpoint(&writer->key, write->model);
    script_apply(&writer->command, (struct span){writer->shas[SCRIPT_APPLY], SHA_LEN}, buf_span(&writer->key),
                 &write->expected, &write->next, write->batch);
    redis_send(writer->redis, &writer->command);
    size_t at = (writer->pending_first + writer->pending_count++) % WRITES_PENDING_MAX;
    writer->pending[at] = (struct model_outcome){
        .model = write->model,
        .expected = write->expected,
        .next = write->next,
        .oldest_us = write->oldest_us,
    };
}

enum redis_status redis_writer_receive(struct redis_writer *writer, int64_t deadline_us,
                                       struct model_outcome *ret)
{
    const struct redis_reply *reply;
    CHECK(writer->pending_count > 0);
    *ret = writer->pending[writer->pending_first];
    writer->pending_first = (writer->pending_first + 1) % WRITES_PENDING_MAX;
    writer->pending_count--;
    enum redis_status status = receive(writer, deadline_us, &reply);
    if (status == REDIS_LOST)
        writer->pending_count = 0;
    if (status == REDIS_OK && !script_result(reply, &ret->result, &ret->value))
        return misunderstood(writer, "the script does not answer as it should");
    return status;
}

/* --- Redis itself --- */

enum redis_status redis_writer_clock(struct redis_writer *writer, size_t server, int64_t deadline_us,
                                     int64_t *ret_ms)
{
    const struct redis_reply *reply;
    int64_t seconds, micros;
    redis_aim(writer->redis, server);
    redis_command_reset(&writer->command);
    redis_arg_text(&writer->command, "TIME");
    enum redis_status status = redis_writer_call(writer, &writer->command, deadline_us, &reply);
    if (status != REDIS_OK)
        return status;
    if (redis_length(reply) != 2 ||
        !parse_i64(redis_text(redis_at(reply, 0)), 0, INT64_MAX / US_PER_S, &seconds) ||
        !parse_i64(redis_text(redis_at(reply, 1)), 0, US_PER_S - 1, &micros))
        return misunderstood(writer, "TIME does not say what time it is");
    *ret_ms = seconds * 1000 + micros / US_PER_MS;
    return REDIS_OK;
}

/* The value of a line "name:value" of INFO; absent where there is none. */
static struct span info_value(struct span info, const char *name)
{
    while (info.ptr && info.len > 0) {
        struct span value = span_cut(&info, '\n');
        if (value.len > 0 && value.ptr[value.len - 1] == '\r')
            value.len--;
        if (span_is(span_cut(&value, ':'), name))
            return value;
    }
    return (struct span){NULL, 0};
}

/* The largest lag= of the lines slave0, slave1 and so on. */
static int64_t replica_lag_s(struct span info)
{
    char name[24];
    int64_t most = 0, lag;
    for (int i = 0; i < REPLICAS_MAX; i++) {
        (void)snprintf(name, sizeof name, "slave%d", i);
        for (struct span rest = info_value(info, name), field; rest.ptr;) {
            field = span_cut(&rest, ',');
            if (span_is(span_cut(&field, '='), "lag") && parse_i64(field, 0, INT64_MAX, &lag) && lag > most)
                most = lag;
        }
    }
    return most;
}

static void copy_history(struct span value, char ret[REDIS_HISTORY_MAX + 1])
{
    size_t len = value.len < REDIS_HISTORY_MAX ? value.len : REDIS_HISTORY_MAX;
    memset(ret, 0, REDIS_HISTORY_MAX + 1);
    if (len > 0)
        memcpy(ret, value.ptr, len);
}

enum redis_status redis_writer_health(struct redis_writer *writer, size_t server, int64_t deadline_us,
                                      struct redis_health *ret)
{
    const struct redis_reply *reply;
    redis_aim(writer->redis, server);
    *ret = (struct redis_health){0};
    redis_command_reset(&writer->command);
    redis_arg_text(&writer->command, "INFO");
    redis_arg_text(&writer->command, "memory");
    redis_arg_text(&writer->command, "persistence");
    redis_arg_text(&writer->command, "replication");
    enum redis_status status = redis_writer_call(writer, &writer->command, deadline_us, &reply);
    if (status != REDIS_OK)
        return status;
    struct span info = redis_text(reply);
    if (!parse_i64(info_value(info, "used_memory"), 0, INT64_MAX, &ret->used) ||
        !parse_i64(info_value(info, "maxmemory"), 0, INT64_MAX, &ret->max))
        return misunderstood(writer, "INFO does not say how much memory is used");
    ret->evicts = ret->max > 0 && !span_is(info_value(info, "maxmemory_policy"), "noeviction");
    ret->cannot_persist = span_is(info_value(info, "aof_last_write_status"), "err") ||
                          span_is(info_value(info, "rdb_last_bgsave_status"), "err");
    if (!parse_i64(info_value(info, "connected_slaves"), 0, INT64_MAX, &ret->replicas))
        ret->replicas = 0;
    ret->replica_lag_s = replica_lag_s(info);
    copy_history(info_value(info, "master_replid"), ret->history);
    copy_history(info_value(info, "master_replid2"), ret->former);
    return REDIS_OK;
}
