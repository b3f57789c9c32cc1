/* SPDX-License-Identifier: Apache-2.0 */
/* The crowd: users who each want one coupon of one campaign. Decides who asks when, and again; drives one
 * load engine and records every attempt. Several crowds, each in its own thread with its own share of the
 * users, make a bigger one. */
#pragma once

#include <stdatomic.h>

#include "bench/storm/attempts.h"

struct crowd_options {
    const struct target *target;
    const char *token;
    struct span campaign_id;
    const struct user_names *names;
    const char *key_prefix; /* Idempotency-Key of user 7: "<prefix>00000007" */
    uint32_t first, step,
        users;             /* its users are first, first + step, ... below users; key number = user number */
    int64_t retry_percent; /* of users who send the same once more after they were answered */
    int64_t twin_percent;  /* of users who send the same twice at once */
    bool resend;           /* whoever has no definite answer sends the same again, with back-off */
    int64_t per_second;    /* users who come, evenly; 0: as fast as connections are free */
    const atomic_bool
        *enough;         /* borrowed; once it is true nobody new comes, who came goes on. NULL: everybody */
    int64_t deadline_us; /* monotonic: nobody begins anything after it */
    size_t connections;
    int64_t timeout_ms;
    size_t bodies_max; /* bytes of 201 bodies kept */
};

/* For a progress bar; any thread may read them while the crowd runs. */
struct crowd_counts {
    _Atomic int64_t users_done, issued, refused, failed;
};

struct crowd;
struct crowd *crowd_create(const struct crowd_options *options, struct crowd_counts *counts);
void crowd_destroy(struct crowd *crowd); /* accepts NULL */
/* Blocks until every user is done or the deadline and one timeout have passed. false with errno: no epoll. */
bool crowd_run(struct crowd *crowd) MUST_USE;
/* After crowd_run. */
const struct attempts *crowd_attempts(const struct crowd *crowd);
const struct load_stats *crowd_stats(const struct crowd *crowd);
uint32_t crowd_came(const struct crowd *crowd); /* users who asked at all */
uint32_t
crowd_unresolved(const struct crowd *crowd); /* users who never got a definite answer, or never came */
