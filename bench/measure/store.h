/* SPDX-License-Identifier: Apache-2.0 */
/* What the measurements of read models share: a log of coupons in a scratch database, a Redis of its own (so
 * that nobody else's keys, readers or projector are in the figures), `projector rebuild` from one into the
 * other, and the processor time of processes. Not thread-safe; whatever fails ends the process with status 2.
 */
#pragma once

#include "bench/measure/run_bench.h"
#include "common/redis/redis.h"
#include "events/ids.h"

enum { STORE_URL_BYTES = 4096, STORE_BATCH = 1024, STORE_CAMPAIGNS_MAX = 32 };

struct bench_store {
    const struct bench *bench;
    char owner_url[STORE_URL_BYTES], command_url[STORE_URL_BYTES], projector_url[STORE_URL_BYTES];
    char redis_url[64];
    char campaigns[SLICE_COUNT][STORE_CAMPAIGNS_MAX][CAMPAIGN_ID_MAX + 1]; /* of each slice */
    int campaigns_each;                                                    /* that have coupons */
    int64_t each;                                                          /* coupons in a slice */
    int slices;                                                            /* that have any */
    pid_t redis, postmaster;
    struct redis *client;
};

/* A log of at least `coupons` coupons in whole batches, in so many slices. In each the coupons are of
 * `campaigns` campaigns in turns. In place of the log there was. */
void bench_store_init(struct bench_store *store, const struct bench *bench, int64_t coupons, int slices,
                      int campaigns);
void bench_store_deinit(struct bench_store *store);
int64_t bench_store_coupons(const struct bench_store *store);
/* Appends a redemption of each of the coupons, with an order id of 36 bytes. Once. */
void bench_store_redeem(struct bench_store *store);

/* An empty Redis, configured as the stack's but for its limit of memory. Stops the one before. */
void bench_store_redis(struct bench_store *store);
void bench_store_empty(struct bench_store *store); /* FLUSHALL */
int64_t bench_store_redis_info(struct bench_store *store, const char *name);

/* User and system time of a process so far; with that of the children it has waited for, where wanted: those
 * are PostgreSQL's backends once their clients have gone. */
double bench_store_cpu_s(pid_t pid, bool children);
/* A moment for the backends of clients that have gone to be waited for. */
void bench_store_settle(void);

struct bench_store_rebuild {
    double wall_s, build_per_second; /* of the whole run; of the build phase, as it says itself */
    double projector_cpu_s, redis_cpu_s, postgres_cpu_s;
    double projector_peak_mib, redis_peak_mib; /* VmHWM; used_memory_peak */
};
void bench_store_rebuild(struct bench_store *store, struct bench_store_rebuild *ret);
