/* SPDX-License-Identifier: Apache-2.0 */
/* How much is in the models of a slice, counted key by key: what a rebuild is checked by before readers get
 * it. It finds keys that were lost or doubled on the way; that each value is right is `projector verify`'s to
 * say. */
#pragma once

#include "common/redis/redis.h"
#include "readmodel/keys.h"

struct model_counts {
    int64_t position;      /* of the checkpoint */
    int64_t campaigns;     /* in the index */
    int64_t issued;        /* sum of what the campaigns say */
    int64_t coupon_fields; /* of chunks of coupons: two for each, and more for what happened to it */
    int64_t holders;       /* entries of lists in order of issue */
    int64_t holdings;      /* entries in the buckets of users */
};

/* Counts what events up to `up_to` can have left. Pipelined in bounded pages; each exchange by `timeout_ms`.
 * Nothing may be on its way on the connection. A value that is not one counts as nothing. */
enum redis_status model_counts_read(struct redis *redis, struct model model, int64_t up_to,
                                    int64_t timeout_ms, struct model_counts *ret) MUST_USE;
