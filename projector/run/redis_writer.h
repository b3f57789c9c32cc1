/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to Redis of whoever writes models: the scripts, checkpoints, and batches with their
 * checkpoint, a few of them on the way at once. Knows nothing of what is in them. Whatever goes wrong, the
 * next thing to do is to read the checkpoints again: what Redis holds is never remembered. One thread. */
#pragma once

#include "readmodel/script.h"

#define ALL_SLICES ((1U << SLICE_COUNT) - 1)

struct redis_writer;

/* `slices`: whose models it may write and drop, as bits; others are somebody else's, in the same Redis. NULL
 * with reason when the URL does not parse. Does not connect. */
struct redis_writer *redis_writer_create(const char *url, unsigned slices, char *reason, size_t reason_size);
unsigned redis_writer_slices(const struct redis_writer *writer);
void redis_writer_destroy(struct redis_writer *writer);            /* accepts NULL */
const char *redis_writer_error(const struct redis_writer *writer); /* of the last failure, one line */
struct redis *redis_writer_redis(struct redis_writer *writer);     /* nothing of its own may be pending */
/* A command on one key: write the key, begin, add arguments, call or send. Both are there until the next. */
struct buf *redis_writer_key(struct redis_writer *writer);
struct redis_command *redis_writer_begin(struct redis_writer *writer, const char *verb);

/* Connects where it is not connected, and loads the scripts. Nothing may be pending. */
enum redis_status redis_writer_connect(struct redis_writer *writer, int64_t deadline_us) MUST_USE;

/* Of a cluster the server that a slice is on, as redis_server_of says, and the slices on the same one: what
 * fails for one of them fails for all. Otherwise there is one server. */
size_t redis_writer_server_of(const struct redis_writer *writer, int16_t slice);
unsigned redis_writer_slices_beside(const struct redis_writer *writer, int16_t slice);

struct slice_roots {
    struct checkpoint roots[SLICE_COUNT];
    enum redis_status found[SLICE_COUNT]; /* not REDIS_OK: why that root is not known */
};
/* The root of every slice; one of another type is none. Needs no right to write. Not REDIS_OK where some are
 * not known. */
enum redis_status redis_writer_roots(struct redis_writer *writer, int64_t deadline_us,
                                     struct slice_roots *ret) MUST_USE;
/* The same, and removes those of another type, which are in the way of the next. */
enum redis_status redis_writer_clean_roots(struct redis_writer *writer, int64_t deadline_us,
                                           struct slice_roots *ret) MUST_USE;
/* A command of the caller's and its reply, for what there are not many of. */
enum redis_status redis_writer_call(struct redis_writer *writer, const struct redis_command *command,
                                    int64_t deadline_us, const struct redis_reply **ret) MUST_USE;
/* Removes the key that was written. */
enum redis_status redis_writer_unlink(struct redis_writer *writer, int64_t deadline_us) MUST_USE;

/* --- batches --- */

struct model_write {
    struct model model;
    bool live; /* the checkpoint is the root; otherwise it is the generation's own */
    struct checkpoint expected, next;
    struct script_batch *batch; /* borrowed during the call */
    int64_t oldest_us;          /* recorded_at of its first event; comes back with the outcome */
};

struct model_outcome {
    struct model model;
    struct checkpoint expected, next;
    int64_t oldest_us;
    enum script_result result;
    int64_t value;
};

enum { WRITES_PENDING_MAX = 32 };
size_t redis_writer_pending(const struct redis_writer *writer);
/* Queues a write; at most WRITES_PENDING_MAX may be pending. */
void redis_writer_send(struct redis_writer *writer, const struct model_write *write);
/* The outcome of the oldest pending write, which is then no longer pending. After REDIS_LOST none is. */
enum redis_status redis_writer_receive(struct redis_writer *writer, int64_t deadline_us,
                                       struct model_outcome *ret) MUST_USE;
/* Makes a generation of a slice the live one where `live` is until then. */
enum redis_status redis_writer_switch(struct redis_writer *writer, struct model model, int64_t live,
                                      bool may_go_back, int64_t deadline_us,
                                      enum script_result *ret) MUST_USE;

enum { REDIS_HISTORY_MAX = 40 };
/* What Redis says of itself. */
struct redis_health {
    int64_t used, max;   /* bytes; max 0: no limit */
    bool evicts;         /* it has a limit, and drops keys where it is reached: no place for models */
    bool cannot_persist; /* the last write of its append-only file or its last snapshot failed */
    int64_t replicas,
        replica_lag_s; /* how many are connected; how long ago the slowest last said something */
    char history[REDIS_HISTORY_MAX + 1];
    char former[REDIS_HISTORY_MAX + 1]; /* of a server that was promoted: the history it had as a replica */
};
/* A server's own clock, ms since 1970. */
enum redis_status redis_writer_clock(struct redis_writer *writer, size_t server, int64_t deadline_us,
                                     int64_t *ret_ms) MUST_USE;
enum redis_status redis_writer_health(struct redis_writer *writer, size_t server, int64_t deadline_us,
                                      struct redis_health *ret) MUST_USE;
