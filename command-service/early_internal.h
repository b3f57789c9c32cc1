/* SPDX-License-Identifier: Apache-2.0 */
/* What early.c (the table that is asked) and early_keeper.c (the thread that renews it) share. For nobody
 * else. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "command-service/early.h"
#include "common/base/bloom.h"

struct early_entry {
    char id[CAMPAIGN_ID_MAX];
    size_t id_len; /* 0: free */
    uint64_t hash;
    uint64_t version;              /* moves with every change this process makes to the campaign */
    const struct problem *problem; /* what everybody without a coupon is told */
    int64_t valid_until_us;        /* monotonic; past it nobody is told anything */
    struct bloom *holders;         /* NULL: none yet */
    int64_t covered, capacity;     /* holders that are in it, and that it is made for */
    _Atomic int64_t used_us;       /* monotonic: when it was last followed for a reason */
};

/* Keys that took effect in this process: the last KEYS_KEPT to 2 * KEYS_KEPT of them. */
enum { KEYS_KEPT = 1 << 19 };
struct recent_keys {
    struct bloom *now, *before; /* swapped when `now` is full; both live as long as this */
    size_t count;
};

struct early {
    pthread_rwlock_t lock; /* guards the table and the keys */
    struct early_entry entries[EARLY_MAX];
    atomic_size_t count; /* of entries; what is looked at first */
    struct recent_keys keys;

    struct early_options options;
    pthread_t keeper;
    atomic_bool stopping;
    pthread_mutex_t wake_lock;
    pthread_cond_t wake; /* there is something to keep, or it is time to stop */
};

void *early_keeper_main(void *early);

/* For the keeper, which alone removes entries and makes filters. Under the lock: */
struct early_entry *early_find(struct early *early, struct span campaign_id);
void early_drop(struct early *early, struct early_entry *entry);
