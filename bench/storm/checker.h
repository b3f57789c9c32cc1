/* SPDX-License-Identifier: Apache-2.0 */
/* Judges what the users of one campaign were told, against the coupons that the log has. That the log itself
 * keeps the rules (stock, limits, order, hash chain), and that rows and models say the same, is for
 * `projector verify` to prove (verify_call.h). Pure: it reads nothing by itself, so that each rule can be
 * tested with a crafted violation. Texts of violations name users by number, never by id.
 *
 * Call in this order: create; a checker_coupon for each; answers; verdict. */
#pragma once

#include "bench/storm/attempts.h"
#include "common/json.h"
#include "events/event.h"

/* X(name, invariant, what holds, what is counted) */
#define CHECKER_RULES(X)                                                                          \
    X(COUNT, "I1", "as many coupons as there are, or as there were users for", "campaigns")       \
    X(ASKED, "I2", "every coupon belongs to somebody who asked", "coupons")                       \
    X(ANSWER, "I3", "every 201 is in the log, exactly as answered", "answers")                    \
    X(UNANSWERED, "I3", "every coupon in the log was answered, or an answer was lost", "coupons") \
    X(SAME_BYTES, "I4", "same key, same answer, byte for byte", "repeated answers")               \
    X(REPLAYED, "I4", "a repeated 201 says that it is one, a first one does not", "answers")      \
    X(REFUSED, "I4", "no key that took effect was refused", "refusals")                           \
    X(ORDER, "I5", "who was answered before another asked has the lower sequence", "coupons")     \
    X(SOLD_OUT, "I5", "nobody who asked after a sold-out answer got a coupon", "coupons")

enum rule {
#define RULE_ENUM(name, invariant, holds, counted) RULE_##name,
    CHECKER_RULES(RULE_ENUM)
#undef RULE_ENUM
        RULE_COUNT_OF
};

struct rule_description {
    const char *invariant, *holds, *counted;
};
const struct rule_description *rule_describe(enum rule rule);

enum { VIOLATIONS_KEPT = 20, VIOLATION_TEXT_MAX = 160 };

struct violation {
    enum rule rule;
    char text[VIOLATION_TEXT_MAX];
};

struct verdict {
    uint64_t checked[RULE_COUNT_OF], violated[RULE_COUNT_OF];
    uint64_t violations;
    struct violation first[VIOLATIONS_KEPT];
};

/* What was asked for. Spans and names are borrowed for the checker's life. */
struct checked_campaign {
    struct span id;
    int64_t quantity;     /* all of it is released, and nothing else happens to it */
    uint32_t users, keys; /* numbers in the attempts are below these */
    int64_t demand;       /* coupons that would be taken if there were enough */
    const struct user_names *names;
};

struct checker;
struct checker *checker_create(const struct checked_campaign *campaign);
void checker_destroy(struct checker *checker); /* accepts NULL */

/* A decoded CouponIssued of the campaign; in log order. */
void checker_coupon(struct checker *checker, const struct event *event);
/* After the last coupon: what users were told. */
void checker_answers(struct checker *checker, const struct attempts *attempts);

const struct verdict *checker_verdict(const struct checker *checker);
