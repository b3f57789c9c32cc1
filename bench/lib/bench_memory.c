/* SPDX-License-Identifier: Apache-2.0 */
/* What a coupon weighs in Redis, all models together: one hot campaign, every coupon to another user with an
 * id of 32 bytes. By used_memory before and after, so the empty server and its script cache do not count. */
#include "bench/lib/models.h"

#include <inttypes.h>
#include <stdio.h>

static double bytes_per_coupon(struct models *models)
{
    struct models_rebuild result;
    models_redis(models);
    int64_t before = models_redis_info(models, "used_memory");
    models_rebuild(models, &result);
    return (double)(models_redis_info(models, "used_memory") - before) / (double)models_coupons(models);
}

void bench_memory(struct bench *bench)
{
    static struct models models;
    char what[128];
    struct figure issued = {.metric = "memory", .what = what, .unit = "B", .goal = "<= 250", .baseline = ""};
    struct figure redeemed = {.metric = "memory",
                              .what = "each of them redeemed, order ids of 36 bytes",
                              .unit = "B",
                              .goal = "",
                              .baseline = ""};
    models_init(&models, bench, bench->options.memory_coupons, 1);
    snprintf(what, sizeof what, "Redis per issued coupon, %" PRId64 " in one campaign",
             models_coupons(&models));
    series_add(&issued.series, bytes_per_coupon(&models)); /* the same bytes every time: one round will do */
    models_redeem(&models);
    series_add(&redeemed.series, bytes_per_coupon(&models));
    models_deinit(&models);
    bench_print(bench, &issued);
    bench_print(bench, &redeemed);
}
