/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the nemesis share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "tests/chaos/nemesis.h"

struct lane_thread {
    struct nemesis *nemesis;
    pthread_t thread;
    struct schedule schedule;
    _Atomic(const char *) now;
};

struct nemesis {
    struct stack *stacks[FLEET_SHARDS_MAX]; /* each with the PostgreSQL of a shard; the first with Redis */
    uint32_t shard;                         /* the one that is struck; of LANE_STORE only */
    struct stack *store;                    /* its stack */
    struct fleet *fleet;
    struct lane_thread lanes[LANE_COUNT];
    pthread_mutex_t servers;  /* starting one of them looks at both, so PostgreSQL must be there for it */
    pthread_mutex_t starting; /* one program at a time: it gets this process's environment */
    pthread_mutex_t mutex;    /* of what follows */
    pthread_cond_t stopped;
    bool stopping;
    uint64_t struck[FAULT_COUNT]; /* each of one lane only */
    _Atomic uint64_t missed;
};

/* Sleeps, unless the run is over. Returns whether it goes on. */
bool nemesis_go_on_after(struct nemesis *nemesis, int64_t ms);
/* One that is LOG_PATRONI, and what heals it; returns when the shard has a primary and a standby again, or
 * does not get them in a minute. false: it could not be done now. */
bool nemesis_strike_patroni(struct nemesis *nemesis, const struct strike *strike);
