/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds a checker from the event store: the campaign's coupons, from its creation to the slice's head at that
 * moment. Blocks. */
#pragma once

#include "bench/storm/checker.h"

struct coupons_range {
    const char *database_url;
    struct span campaign_id;
    struct position created_at;
};

/* false with the reason where the log cannot be read to its end. */
bool coupons_source_feed(const struct coupons_range *range, struct checker *checker, char *reason,
                         size_t reason_size) MUST_USE;
