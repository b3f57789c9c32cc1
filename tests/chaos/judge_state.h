/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the judge share; nobody else includes this. A model remembers every state that a campaign
 * or a coupon was ever in, with the position from which it held, so that an answer can be compared with any
 * moment of its request. */
#pragma once

#include "tests/chaos/judge.h"

enum model_campaign_state { MODEL_ACTIVE = 1, MODEL_PAUSED, MODEL_CLOSED, MODEL_ENDED, MODEL_DELETED };
enum model_coupon_state { MODEL_ISSUED = 1, MODEL_RESERVED, MODEL_REDEEMED, MODEL_REVOKED };

struct campaign_moment {
    int64_t position; /* of the event after which this held */
    int64_t released, issued, reserved, redeemed, plan_done;
    int64_t quantity, limit; /* as the last change has them, not as the definition */
    int64_t reopens_us;      /* nobody is issued before */
    enum model_campaign_state state;
    bool halted;
};

struct model_campaign {
    struct campaign_created definition; /* of its creation, borrowed; moments_count 0: was never created */
    int64_t created_us;
    int16_t slice;
    struct campaign_moment *moments;
    size_t moments_count, moments_capacity;
    uint32_t held[CHAOS_USERS];
    size_t *coupons; /* indices of its coupons, in order of issue */
    size_t coupons_count, coupons_capacity;
};

struct coupon_moment {
    int64_t position, recorded_us;
    enum model_coupon_state state;
    uint32_t order; /* RESERVED, REDEEMED */
    int64_t amount, discount, until_us;
};

struct model_coupon {
    struct position at;
    uint32_t campaign, user;
    int64_t sequence, issued_us, expires_us;
    struct span code_prefix;
    struct coupon_moment *moments;
    size_t moments_count, moments_capacity;
};

/* A key was suspended or resumed. */
struct issuer_moment {
    int64_t recorded_us;
    bool suspended;
};
struct model_issuer {
    struct issuer_moment *moments;
    size_t moments_count, moments_capacity;
};

/* The events that an attempt left. */
struct effect {
    size_t events;
    struct position first, last; /* position 0: none */
};

/* Something acknowledged at `at_us` in this slice, or asked then and in the log at `position`. */
struct mark {
    int64_t at_us, position;
};
struct marks {
    struct mark *list; /* by time; answered: position is the highest so far, asked: the lowest from here on */
    size_t count;
};

struct judge {
    struct judge_input in;
    struct judgement *verdict;
    struct model_campaign *campaigns; /* by number */
    uint32_t campaigns_count;
    struct model_coupon *coupons; /* in order of slice and position */
    size_t coupons_count, coupons_capacity;
    struct held {
        size_t *coupons; /* indices of a user's coupons, in order of slice and position */
        size_t count, capacity;
    } held[CHAOS_USERS];
    struct model_issuer issuers[ISSUER_COUNT];
    int64_t *commits_us; /* when each event was recorded that is in one store with slice 0, in order */
    size_t commits_count;
    size_t *attempts_from;  /* per operation: where its attempts begin in `attempts` */
    uint32_t *attempts;     /* indices of attempts, by operation and number */
    struct effect *effects; /* per attempt */
    struct marks answered[SLICE_COUNT], asked[SLICE_COUNT];
};

/* Counts one more thing looked at under that rule, and a violation where it does not hold. Returns `holds`.
 */
bool judge_expect(struct judge *judge, enum judge_rule rule, bool holds, const char *format, ...)
    PRINTF_LIKE(4, 5);
/* For a text of a violation; valid until the next call but three. One thread. */
const char *judge_name(const struct judge *judge, uint32_t op);

/* NULL where there is none. */
struct model_coupon *judge_coupon(const struct judge *judge, struct position at);
const struct campaign_moment *campaign_moment_at(const struct model_campaign *campaign, int64_t position);
/* Room for one more in a growing list; its new address. */
void *judge_grow(void *list, size_t count, size_t *capacity, size_t size);
/* UINT32_MAX where there is none. */
uint32_t judge_attempt(const struct judge *judge, uint32_t op, uint32_t number);

/* Between which positions of a slice an attempt was decided: not before what had been answered when it was
 * sent, before what was asked after it was answered. */
struct window {
    int64_t low, high;
};
struct window judge_window(const struct judge *judge, const struct attempt *attempt, int16_t slice);
/* The same between any two instants: not before what had been answered by the first, before what was sent
 * after the second. */
struct window judge_window_between(const struct judge *judge, int16_t slice, int64_t from_us,
                                   int64_t until_us);

/* Whether a key was suspended at some moment between two instants (or, `always`, at every moment). */
bool judge_suspended(const struct judge *judge, enum issuer issuer, int64_t from_us, int64_t until_us,
                     bool always);

/* When something was last committed before an instant; 0: nothing was. */
int64_t judge_last_commit_us(const struct judge *judge, int64_t before_us);

/* The parts, in the order they are called. */
void judge_log(struct judge *judge);   /* folds every slice, fills models and effects */
void judge_marks(struct judge *judge); /* answered and asked */
void judge_keys(struct judge *judge);
void judge_answers(struct judge *judge);
void judge_refusals(struct judge *judge);
void judge_rows(struct judge *judge);
void judge_reads(struct judge *judge);

/* Of judge_log: one event of a coupon after its issue. `op` is what asked for it, NULL for a sweep. */
void judge_coupon_event(struct judge *judge, struct model_campaign *campaign, const struct event *event,
                        const struct operation *op);
/* From when on nothing is issued any more: the campaign's end, or when its coupons expire. 0: never. */
int64_t judge_end_us(const struct campaign_created *campaign);
int64_t judge_discount(const struct campaign_created *campaign, int64_t amount);
