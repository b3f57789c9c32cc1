/* SPDX-License-Identifier: Apache-2.0 */
/* Writes to the models in Redis: batches with their checkpoint, a few of them on the way at once. Knows
 * nothing of what is in them. Whatever goes wrong, the next thing to do is model_writer_load: what Redis
 * holds is read from Redis, never remembered. One thread. */
#pragma once

#include "projector/run/model_script.h"
#include "readmodel/keys.h"

struct model_writer;

struct checkpoint {
    int64_t position, at_us;
    int64_t epoch;   /* of the projector that wrote it */
    int64_t seen_us; /* 0: absent */
    bool behind;
};

struct checkpoints {
    int64_t generation; /* of these models */
    struct checkpoint slices[SLICE_COUNT];
};

enum model_result {
    MODEL_APPLIED,
    MODEL_FENCED, /* a projector with a higher epoch was here; value: that epoch */
    MODEL_MOVED,  /* the checkpoint is not the expected one; value: where it is */
    MODEL_HOLE,   /* a key that must be there has vanished: the slice is to be started anew */
};

struct model_outcome {
    struct model model;
    int64_t expected, next, oldest_us; /* of the write */
    enum model_result result;
    int64_t value;
};

/* NULL with reason when the URL does not parse. Does not connect. */
struct model_writer *model_writer_create(const char *url, char *reason, size_t reason_size);
void model_writer_destroy(struct model_writer *writer); /* accepts NULL */

/* Connects where it is not connected, loads the script and reads the checkpoints of a generation. Generation
 * 0 is the live one, and generation 1 is made that where none is. Nothing may be pending. */
enum redis_status model_writer_load(struct model_writer *writer, int64_t generation, int64_t deadline_us,
                                    struct checkpoints *ret) MUST_USE;
/* Only reads, without the right to write: for status. */
enum redis_status model_writer_peek(struct model_writer *writer, int64_t deadline_us,
                                    struct checkpoints *ret) MUST_USE;

enum { MODEL_PENDING_MAX = 32 };
size_t model_writer_pending(const struct model_writer *writer);
/* Queues a write; at most MODEL_PENDING_MAX may be pending. Copies what it needs. */
void model_writer_send(struct model_writer *writer, const struct model_write *write);
/* The outcome of the oldest pending write, which is then no longer pending. After REDIS_LOST none is. */
enum redis_status model_writer_receive(struct model_writer *writer, int64_t deadline_us,
                                       struct model_outcome *ret) MUST_USE;
/* Makes sure that the live generation is still this one: sets it where the key vanished. *ret is what is
 * live. Nothing may be pending. */
enum redis_status model_writer_keep_live(struct model_writer *writer, int64_t generation, int64_t deadline_us,
                                         int64_t *ret) MUST_USE;

/* For what else is to be said on the same connection; connected after a load, and nothing may be pending. */
struct redis *model_writer_redis(struct model_writer *writer);

const char *model_writer_error(const struct model_writer *writer); /* of the last failure, one line */
