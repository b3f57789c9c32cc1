/* SPDX-License-Identifier: Apache-2.0 */
/* The whole log of a chaos run in memory, with the state rows that were kept beside it. The struct is plain,
 * so that a test can make one by hand. */
#pragma once

#include "common/pg/pg.h"
#include "events/event_log.h"
#include "events/ids.h"

struct image_batch {
    int64_t first, last, recorded_at_us;
    uint8_t chain[32];
};

struct image_slice {
    struct event *events; /* decoded, in order */
    size_t events_count;
    struct image_batch *batches;
    size_t batches_count;
    int64_t head;
    uint8_t chain[32];
};

/* Rows of tables campaign and coupon. */
struct image_campaign {
    struct span id;
    int64_t released, issued, redeemed, reserved, status, plan_done, position;
    bool plan_halted;
};
struct image_coupon {
    struct position at;
    int64_t state, last, order_amount, discount_amount, reserved_until_us;
    struct span order_id;
};

struct log_image {
    struct image_slice slices[SLICE_COUNT];
    struct image_campaign *campaigns;
    size_t campaigns_count;
    struct image_coupon *coupons;
    size_t coupons_count;
    int64_t idempotency_rows;
    /* what the above borrows from */
    struct pg_rows **pages;
    size_t pages_count, pages_capacity;
    struct arena arena;
};

/* Blocks; nobody may write to the log meanwhile, which is in one database or in several. false with the
 * reason where it cannot be read to its end, or where not each slice is in just one of them. Deinit in either
 * case. */
bool log_image_read(struct log_image *image, const char *const *database_urls, size_t count, char *reason,
                    size_t reason_size) MUST_USE;
void log_image_deinit(struct log_image *image);
