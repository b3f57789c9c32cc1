/* SPDX-License-Identifier: Apache-2.0 */
/* The conversation with Redis about models and checkpoints. */
#include "projector/run/model_writer.h"

#include "common/base/mem.h"

enum { SHA_LEN = 40, FIRST_GENERATION = 1 };

struct model_writer {
    struct redis *redis;
    struct redis_command command;
    char sha[SHA_LEN];
    struct model_outcome pending[MODEL_PENDING_MAX]; /* ring: the writes on their way */
    size_t pending_first, pending_count;
    int64_t live; /* the generation that was live last: where Redis was emptied, it is that again */
    char error[160];
};

struct model_writer *model_writer_create(const char *url, char *reason, size_t reason_size)
{
    struct redis *redis = redis_create(url, reason, reason_size);
    if (!redis)
        return NULL;
    struct model_writer *writer = mem_zalloc(sizeof *writer);
    writer->redis = redis;
    writer->live = FIRST_GENERATION;
    redis_command_init(&writer->command);
    return writer;
}

void model_writer_destroy(struct model_writer *writer)
{
    if (!writer)
        return;
    redis_destroy(writer->redis);
    redis_command_deinit(&writer->command);
    mem_free(writer);
}

const char *model_writer_error(const struct model_writer *writer)
{
    return writer->error;
}

struct redis *model_writer_redis(struct model_writer *writer)
{
    CHECK(writer->pending_count == 0);
    return writer->redis;
}

size_t model_writer_pending(const struct model_writer *writer)
{
    return writer->pending_count;
}

/* What Redis says here is not what this program understands: a version of Redis or of ours that does not fit.
 */
static enum redis_status misunderstood(struct model_writer *writer, const char *what)
{
    snprintf(writer->error, sizeof writer->error, "%s", what);
    return REDIS_ERROR;
}

static enum redis_status receive(struct model_writer *writer, int64_t deadline_us,
                                 const struct redis_reply **ret)
{
    enum redis_status status = redis_receive(writer->redis, deadline_us, ret);
    if (status != REDIS_OK)
        snprintf(writer->error, sizeof writer->error, "%s", redis_error(writer->redis));
    return status;
}

static struct redis_command *begin(struct model_writer *writer, const char *name)
{
    redis_command_reset(&writer->command);
    redis_arg_text(&writer->command, name);
    return &writer->command;
}

static enum redis_status connect_if_needed(struct model_writer *writer, int64_t deadline_us)
{
    CHECK(writer->pending_count == 0);
    if (redis_connected(writer->redis))
        return REDIS_OK;
    enum redis_status status = redis_connect(writer->redis, deadline_us);
    if (status != REDIS_OK)
        snprintf(writer->error, sizeof writer->error, "%s", redis_error(writer->redis));
    return status;
}

/* --- generation and checkpoints --- */

static void send_set_live(struct model_writer *writer, int64_t generation)
{
    struct redis_command *command = begin(writer, "SET");
    struct buf key;
    buf_init(&key, KEY_TEXT_MAX);
    key_live(&key);
    redis_arg(command, buf_span(&key));
    redis_arg_i64(command, generation);
    redis_arg_text(command, "NX");
    redis_arg_text(command, "GET");
    redis_send(writer->redis, command);
    buf_deinit(&key);
}

static void send_get_live(struct model_writer *writer)
{
    struct redis_command *command = begin(writer, "GET");
    struct buf key;
    buf_init(&key, KEY_TEXT_MAX);
    key_live(&key);
    redis_arg(command, buf_span(&key));
    redis_send(writer->redis, command);
    buf_deinit(&key);
}

/* The live generation, or `absent` where the key was not there. */
static enum redis_status receive_live(struct model_writer *writer, int64_t absent, int64_t deadline_us,
                                      int64_t *ret)
{
    const struct redis_reply *reply;
    enum redis_status status = receive(writer, deadline_us, &reply);
    if (status != REDIS_OK)
        return status;
    *ret = absent;
    if (redis_kind(reply) == REDIS_NIL || parse_i64(redis_text(reply), 1, INT64_MAX, ret))
        return REDIS_OK;
    return misunderstood(writer, "fc:live is not a generation");
}

enum redis_status model_writer_keep_live(struct model_writer *writer, int64_t generation, int64_t deadline_us,
                                         int64_t *ret)
{
    CHECK(writer->pending_count == 0);
    send_set_live(writer, generation);
    enum redis_status status = receive_live(writer, generation, deadline_us, ret);
    if (status == REDIS_OK)
        writer->live = *ret;
    return status;
}

static void send_checkpoint(struct model_writer *writer, struct model model)
{
    struct redis_command *command = begin(writer, "HMGET");
    struct buf key;
    buf_init(&key, KEY_TEXT_MAX);
    key_checkpoint(&key, model);
    redis_arg(command, buf_span(&key));
    buf_deinit(&key);
    redis_arg_text(command, "pos");
    redis_arg_text(command, "at");
    redis_arg_text(command, "epoch");
    redis_arg_text(command, "seen");
    redis_arg_text(command, "behind");
    redis_send(writer->redis, command);
}

/* A field that is absent is 0. */
static bool read_field(const struct redis_reply *reply, size_t index, int64_t *ret)
{
    const struct redis_reply *field = redis_at(reply, index);
    *ret = 0;
    return redis_kind(field) == REDIS_NIL || parse_i64(redis_text(field), INT64_MIN, INT64_MAX, ret);
}

static enum redis_status receive_checkpoint(struct model_writer *writer, int64_t deadline_us,
                                            struct checkpoint *ret)
{
    const struct redis_reply *reply;
    int64_t behind = 0;
    enum redis_status status = receive(writer, deadline_us, &reply);
    if (status != REDIS_OK)
        return status;
    if (redis_length(reply) != 5 || !read_field(reply, 0, &ret->position) ||
        !read_field(reply, 1, &ret->at_us) || !read_field(reply, 2, &ret->epoch) ||
        !read_field(reply, 3, &ret->seen_us) || !read_field(reply, 4, &behind) || ret->position < 0)
        return misunderstood(writer, "a checkpoint is not a checkpoint");
    ret->behind = behind != 0;
    return REDIS_OK;
}

static enum redis_status read_checkpoints(struct model_writer *writer, int64_t deadline_us,
                                          struct checkpoints *ret)
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        send_checkpoint(writer, (struct model){ret->generation, slice});
    enum redis_status first = REDIS_OK;
    for (int slice = 0; slice < SLICE_COUNT; slice++) { /* all replies, so that none is left over */
        enum redis_status status = receive_checkpoint(writer, deadline_us, &ret->slices[slice]);
        if (status == REDIS_LOST)
            return status;
        if (first == REDIS_OK)
            first = status;
    }
    return first;
}

/* --- loading --- */

static enum redis_status load_script(struct model_writer *writer, int64_t deadline_us)
{
    struct redis_command *command = begin(writer, "SCRIPT");
    const struct redis_reply *reply;
    redis_arg_text(command, "LOAD");
    redis_arg_text(command, model_script);
    redis_send(writer->redis, command);
    enum redis_status status = receive(writer, deadline_us, &reply);
    if (status != REDIS_OK)
        return status;
    struct span sha = redis_text(reply);
    if (sha.len != sizeof writer->sha)
        return misunderstood(writer, "SCRIPT LOAD does not answer with a hash");
    memcpy(writer->sha, sha.ptr, sizeof writer->sha);
    return REDIS_OK;
}

enum redis_status model_writer_load(struct model_writer *writer, int64_t generation, int64_t deadline_us,
                                    struct checkpoints *ret)
{
    enum redis_status status = connect_if_needed(writer, deadline_us);
    ret->generation = generation;
    if (status == REDIS_OK)
        status = load_script(writer, deadline_us);
    if (status == REDIS_OK && generation == 0)
        status = model_writer_keep_live(writer, writer->live, deadline_us, &ret->generation);
    if (status == REDIS_OK)
        status = read_checkpoints(writer, deadline_us, ret);
    return status;
}

enum redis_status model_writer_peek(struct model_writer *writer, int64_t deadline_us, struct checkpoints *ret)
{
    enum redis_status status = connect_if_needed(writer, deadline_us);
    if (status != REDIS_OK)
        return status;
    send_get_live(writer);
    status = receive_live(writer, 0, deadline_us, &ret->generation);
    if (status == REDIS_OK && ret->generation > 0)
        status = read_checkpoints(writer, deadline_us, ret);
    return status;
}

/* --- writing --- */

void model_writer_send(struct model_writer *writer, const struct model_write *write)
{
    CHECK(writer->pending_count < MODEL_PENDING_MAX);
    model_script_command(&writer->command, (struct span){writer->sha, sizeof writer->sha}, write);
    redis_send(writer->redis, &writer->command);
    size_t at = (writer->pending_first + writer->pending_count++) % MODEL_PENDING_MAX;
    writer->pending[at] = (struct model_outcome){
        .model = write->model,
        .expected = write->expected,
        .next = write->next,
        .oldest_us = write->oldest_us,
    };
}

static enum redis_status read_outcome(struct model_writer *writer, const struct redis_reply *reply,
                                      struct model_outcome *ret)
{
    static const char *const names[] = {
        [MODEL_APPLIED] = "applied",
        [MODEL_FENCED] = "fenced",
        [MODEL_MOVED] = "moved",
        [MODEL_HOLE] = "hole",
    };
    if (redis_length(reply) == 2 && parse_i64(redis_text(redis_at(reply, 1)), 0, INT64_MAX, &ret->value))
        for (size_t i = 0; i < COUNT_OF(names); i++)
            if (span_is(redis_text(redis_at(reply, 0)), names[i])) {
                ret->result = (enum model_result)i;
                return REDIS_OK;
            }
    return misunderstood(writer, "the script does not answer as it should");
}

enum redis_status model_writer_receive(struct model_writer *writer, int64_t deadline_us,
                                       struct model_outcome *ret)
{
    const struct redis_reply *reply;
    CHECK(writer->pending_count > 0);
    *ret = writer->pending[writer->pending_first];
    writer->pending_first = (writer->pending_first + 1) % MODEL_PENDING_MAX;
    writer->pending_count--;
    enum redis_status status = receive(writer, deadline_us, &reply);
    if (status == REDIS_LOST)
        writer->pending_count = 0;
    return status == REDIS_OK ? read_outcome(writer, reply, ret) : status;
}
