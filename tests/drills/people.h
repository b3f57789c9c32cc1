/* SPDX-License-Identifier: Apache-2.0 */
/* The clients of a drill: a crowd that is issued coupons of one campaign and whose answers are compared with
 * the log, streams that redeem and that read, and one that asks a service with nothing in it, at the same
 * moments, while a thread writes to the disk: what these need is what an answer and a commit cost on this
 * machine, whatever else runs on it. One in a process. */
#pragma once

#include "tests/lib/api.h"
#include "tests/lib/siege.h"
#include "tests/lib/stream.h"

enum { PEOPLE_COUPONS = 10000 };

struct people_options {
    struct stack *stack; /* borrowed */
    /* Services to talk to; NULL: the stack's own. */
    const char *command_url, *query_url;
    int64_t issues_per_second, redeems_per_second, reads_per_second;
    size_t issue_connections;
    uint64_t read_coupons; /* how many are asked about, each in three ways; 0: half of all */
};

struct people {
    struct people_options options;
    struct api_client api;
    struct siege *siege;
    char till[64]; /* the campaign whose coupons are redeemed and read */
    char (*coupons)[48];
    struct stream redeems, reads, nothing;
    struct stream disk; /* not of requests: each "answer" is a block written and synced */
    pthread_t disk_thread;
    atomic_bool cold;             /* readers ask for what nobody asked for before; may be set at any time */
    struct siege_outcome outcome; /* after people_stop */
    pid_t empty_handler;
};

/* From one moment to another, monotonic: of what was asked then. */
struct window {
    int64_t from_us, to_us;
};

/* Returns when all are being served. */
struct people *people_start(const struct people_options *options);
/* Everybody is answered, the log is read, and the outcome is there. */
void people_stop(struct people *people);
void people_free(struct people *people);

/* Percentiles of what was asked in the window, in µs; 0 of nothing. */
int64_t people_stream_us(const struct stream *stream, struct window window, unsigned per_mille);
int64_t people_issue_us(const struct people *people, struct window window, unsigned per_mille); /* stopped */
/* What the machine needs for an answer that passes through several hands: the same percentile of answers by a
 * service with nothing in it, a few times over. */
int64_t people_machine_us(const struct people *people, struct window window, unsigned per_mille);
/* The same for one that is committed: after its own sync of the disk, and that of the batch before it. */
int64_t people_machine_commit_us(const struct people *people, struct window window, unsigned per_mille);
/* Answers that were no success, of those asked in the window; `least`: only with this status or above, or
 * none at all. */
uint64_t people_stream_bad(const struct stream *stream, struct window window, int least);
/* Attempts to be issued a coupon that ended in neither a coupon nor a decision against it; stopped. */
uint64_t people_issue_errors(const struct people *people, struct window window);

/* The rows that every drill has: double, lost and out of order are 0. */
void people_expect_exact(const struct people *people, const char *doubled, const char *order);
/* `projector verify` of everything, models included: no difference. Its words are in the results folder. */
void people_expect_models(struct stack *stack, const char *redis_url, const char *incident);
