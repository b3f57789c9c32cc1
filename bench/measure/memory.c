/* SPDX-License-Identifier: Apache-2.0 */
/* What a coupon weighs in Redis, all models together: one hot campaign, every coupon to another user with an
 * id of 32 bytes. By used_memory before and after, so the empty server and its script cache do not count. */
#include "bench/measure/store.h"

#include <inttypes.h>
#include <stdio.h>

static double bytes_per_coupon(struct bench_store *store)
{
    struct bench_store_rebuild result;
    bench_store_redis(store);
    int64_t before = bench_store_redis_info(store, "used_memory");
    bench_store_rebuild(store, &result);
    return (double)(bench_store_redis_info(store, "used_memory") - before) /
           (double)bench_store_coupons(store);
}

void bench_memory(struct bench *bench)
{
    static struct bench_store store;
    char what[128];
    struct figure issued = {.metric = "memory", .what = what, .unit = "B", .goal = "<= 110", .baseline = ""};
    struct figure redeemed = {.metric = "memory",
                              .what = "each of them redeemed, order ids of 36 bytes",
                              .unit = "B",
                              .goal = "<= 180",
                              .baseline = ""};
    bench_store_init(&store, bench, bench->options.memory_coupons, 1, 1);
    snprintf(what, sizeof what, "Redis per issued coupon, %" PRId64 " in one campaign",
             bench_store_coupons(&store));
    series_add(&issued.series, bytes_per_coupon(&store)); /* the same bytes every time: one round will do */
    bench_store_redeem(&store);
    series_add(&redeemed.series, bytes_per_coupon(&store));
    bench_store_deinit(&store);
    bench_print(bench, &issued);
    bench_print(bench, &redeemed);
}
