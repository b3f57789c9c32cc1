/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the query service for everything it says about a campaign, again and again until it agrees with the
 * log or its time is up, and tells the checker. */
#pragma once

#include "bench/load/target.h"
#include "bench/storm/checker.h"

struct read_models {
    const struct target *target;
    const char *token;
    struct span campaign_id;
    const struct user_names *names;
    uint32_t users, sample; /* how many users to ask about at most */
    int64_t deadline_us; /* monotonic: what differs before may be asked again, what differs after is wrong */
};

/* Blocks. Returns how long it took until the campaign itself agreed (or was given up), in ms. */
int64_t read_models_check(const struct read_models *reads, struct checker *checker);
