/* SPDX-License-Identifier: Apache-2.0 */
/* The one script that writes to the models: a batch of mutations and the checkpoint after it, or nothing. */
#pragma once

#include "common/redis/redis.h"
#include "readmodel/projection.h"

extern const char model_script[];

/* One call of the script. */
struct model_write {
    struct model model;
    int64_t epoch;
    int64_t expected, next; /* the checkpoint must be `expected` and becomes `next`; 0 with no mutations
                               starts the slice anew */
    int64_t at_us;          /* recorded_at of event `next` */
    int64_t oldest_us;      /* recorded_at of the first event; comes back with the outcome */
    bool behind;
    int64_t seen_us; /* wall clock before the head was read that `behind` compares with */
    const struct mutation_list *mutations; /* NULL: none; borrowed during the call */
};

/* EVALSHA of the script with that hash, for redis_send. */
void model_script_command(struct redis_command *command, struct span sha, const struct model_write *write);
