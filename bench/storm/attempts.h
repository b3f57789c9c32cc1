/* SPDX-License-Identifier: Apache-2.0 */
/* What the users of a load did and were told: one fixed-size record per request that was sent, and the bodies
 * of the 201s. Written by one load thread each, read by the checker afterwards. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "bench/load/http_load.h"
#include "events/ids.h"

/* Users are numbers here. The name of user 7 is "<prefix>00000007": of fixed width, so that requests can be
 * made by patching digits. */
enum { USER_DIGITS = 8, USER_COUNT_MAX = 100000000, USER_PREFIX_MAX = USER_ID_MAX - USER_DIGITS };

struct user_names {
    char prefix[USER_PREFIX_MAX + 1];
};
void user_name_write(const struct user_names *names, uint32_t user, struct buf *out);
bool user_name_parse(const struct user_names *names, struct span name, uint32_t *ret) MUST_USE;

enum outcome {
    OUTCOME_ISSUED,     /* 201 */
    OUTCOME_REFUSED,    /* decided against: 404, 409, 410 */
    OUTCOME_IN_FLIGHT,  /* 409 in-flight: another request with this key is under way */
    OUTCOME_LATER,      /* 429, 500, 503: nothing happened, try again */
    OUTCOME_UNKNOWN,    /* 504 */
    OUTCOME_LOST,       /* the connection broke */
    OUTCOME_TIMED_OUT,  /* this client gave up waiting */
    OUTCOME_MALFORMED,  /* what came back is no HTTP answer */
    OUTCOME_UNEXPECTED, /* any other status */
    OUTCOME_COUNT,
};
const char *attempt_outcome_text(enum outcome outcome);
/* The request may have taken effect though nobody was told. */
bool outcome_unsure(enum outcome outcome);
/* The user knows: a coupon, or none. */
bool outcome_definite(enum outcome outcome);

/* One request that was sent, and what became of it. */
struct attempt {
    int64_t intended_us, sent_us, done_us; /* as in struct load_result */
    uint64_t body_at;                      /* OUTCOME_ISSUED: the body's place in attempts.bodies */
    uint32_t body_len;
    uint32_t user, key; /* numbers; requests with one key have one user and one body */
    struct position
        token; /* OUTCOME_ISSUED: the Consistency-Token, position 0 where there was none that is valid */
    uint16_t status; /* 0 without an answer */
    uint8_t outcome;
    uint8_t problem; /* index for attempts_problem, 0 where there is none */
    bool replayed;
    bool retry_after; /* the answer says when to try again */
};

enum { ATTEMPTS_PROBLEMS_MAX = 64, ATTEMPTS_CODE_MAX = 48 };

struct attempts {
    struct attempt *list; /* in the order they ended */
    size_t count, capacity;
    struct buf bodies;
    char problems[ATTEMPTS_PROBLEMS_MAX][ATTEMPTS_CODE_MAX + 1]; /* [0] is "" */
    size_t problems_count;
};

/* bodies_max bounds the bytes of 201 bodies; past it bodies.overflow is set and the history is no proof. */
void attempts_init(struct attempts *attempts, size_t bodies_max);
void attempts_deinit(struct attempts *attempts);
/* Records what became of a request; the returned attempt is valid until the next call. */
const struct attempt *attempts_add(struct attempts *attempts, uint32_t user, uint32_t key,
                                   const struct load_result *result);
/* Appends everything `other` recorded. */
void attempts_merge(struct attempts *attempts, const struct attempts *other);
struct span attempts_body(const struct attempts *attempts, const struct attempt *attempt);
const char *attempts_problem(const struct attempts *attempts, const struct attempt *attempt);
