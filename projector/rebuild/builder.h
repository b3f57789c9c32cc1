/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the models of one slice anew from the log, as a generation beside the one that readers use, and makes
 * that the live one: in bulk up to where the log is, then, as the log goes on, by the same script that
 * follows it, until it shows at least what readers see. Readers notice nothing; whoever leads notices at the
 * next batch that the root is another one, and goes on from there. Nothing of it is remembered: one that was
 * interrupted is begun again, and what it left is dropped (generations.h).
 *
 * PostgreSQL, this process and Redis work at the same time: while one page is folded, the next is read and
 * the last one written. One thread. */
#pragma once

#include <stdatomic.h>

#include "events/shards.h"
#include "projector/rebuild/bulk_writer.h"
#include "projector/run/log_reader.h"

/* X(name, label): what a build is doing. */
#define BUILD_PHASES(X)              \
    X(BUILD_READING, "build")        \
    X(BUILD_CATCHING_UP, "catch up") \
    X(BUILD_SWITCHING, "switch")
#define BUILD_PHASE_ENUM(name, label) name,
enum build_phase { BUILD_PHASES(BUILD_PHASE_ENUM) BUILD_PHASE_COUNT };
const char *build_phase_label(enum build_phase phase);

struct build {
    int16_t slice;
    int64_t generation;
    int64_t limit;    /* the last event; 0: as far as the log goes, and then it becomes the live one */
    bool may_go_back; /* what readers see is of another log */
    int64_t beside;   /* events that others are about to write, for which there must be room as well */
    /* Told how far it is; NULL: nobody. False: stop. */
    bool (*progress)(void *context, enum build_phase phase, int64_t position, int64_t limit);
    void *context;
};

enum build_result {
    BUILD_DONE,
    BUILD_NO_ROOM, /* Redis has not, or had not half way, the memory for it */
    BUILD_BAD_LOG, /* it has an event that cannot be folded: it would stop there again */
    BUILD_STOPPED, /* progress() said so */
    BUILD_FAILED,  /* a store did not do its part: worth trying again */
};

struct builder;
/* For slices of one shard, which is borrowed. NULL with the reason when the URL of Redis does not parse. Does
 * not connect. */
struct builder *builder_create(const struct shard *shard, const char *redis_url, char *reason,
                               size_t reason_size);
void builder_destroy(struct builder *builder); /* accepts NULL */
enum build_result builder_run(struct builder *builder, const struct build *build);
/* Whether the slice's server has room for so many events more, and leaves whoever follows the log enough. Its
 * Redis is connected. */
enum build_result builder_room(struct builder *builder, int16_t slice, int64_t events);
const char *builder_error(const struct builder *builder); /* why the last one was not BUILD_DONE */
struct redis_writer *builder_writer(struct builder *builder);
/* What it has written of a generation that will not be used goes, as does what is left of others. */
enum redis_status builder_drop(struct builder *builder, int64_t *ret_dropped);
/* Takes the lock that only one rebuild of this database has, kept until builder_destroy or the session is
 * lost. *ret: got it. */
enum pg_status builder_lock(struct builder *builder, bool *ret) MUST_USE;
/* Its session, for questions to the log; connected after builder_lock. */
struct pg *builder_pg(struct builder *builder);
