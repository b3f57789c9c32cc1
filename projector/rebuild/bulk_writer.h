/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the models of one slice in bulk, for a generation that has no readers yet: no script, no epoch, no
 * atomicity until its checkpoint is written, which comes last. What a fold hands over goes to Redis as it is,
 * but for what is random in the key space: who holds what, and what happened to coupons, are gathered and
 * written sorted, each bucket and each chunk with one command. Memory is bounded whatever the log has. */
#pragma once

#include "projector/run/redis_writer.h"

enum { BULK_PAGE_MAX = 8000 }; /* events between two bulk_turn */

struct bulk_writer {
    struct fold_sink sink;
    struct redis *redis; /* borrowed */
    struct model model;
    size_t sent, due;          /* replies to come; those of what was sent before the last bulk_turn */
    enum redis_status failure; /* the first; nothing is sent after it */
    struct redis_command command;
    struct buf key;
    /* Entries of USERS in log order, HOLDING_BYTES each. */
    char *holdings, *sorted;
    size_t holdings_count;
    int64_t buckets;  /* that were written; 0: none yet */
    int64_t expected; /* coupons of the slice, at most */
    int64_t now_s;    /* what has expired by then is not written */
    /* States in log order. */
    struct buf states;
    struct bulk_state {
        int64_t position;
        uint32_t at, len; /* of the record in `states` */
    } * index;
    size_t states_count;
    struct bulk_chunk {
        int64_t expires_s; /* 0: it is not complete */
        bool has_states;   /* their hash got its mark: never again, or it would seem whole after a loss */
    } * chunks;            /* of coupons, by number */
    size_t chunks_count, chunks_capacity;
};

void bulk_init(struct bulk_writer *bulk);
void bulk_deinit(struct bulk_writer *bulk);

/* Another slice. `expected`: at most so many coupons; `now_s`: the fold's. */
void bulk_begin(struct bulk_writer *bulk, struct redis *redis, struct model model, int64_t expected,
                int64_t now_s);
/* After each page of the log: takes the replies to what was sent before the page, so that Redis works while
 * the next page is folded. False when something failed: bulk->failure. */
bool bulk_turn(struct bulk_writer *bulk, int64_t deadline_us) MUST_USE;
/* Waits for all that was sent. */
bool bulk_settle(struct bulk_writer *bulk, int64_t deadline_us) MUST_USE;
/* Writes what was gathered, and the checkpoint, of which it sets the buckets; waits for all of it. */
bool bulk_end(struct bulk_writer *bulk, struct checkpoint *checkpoint, int64_t deadline_us) MUST_USE;
