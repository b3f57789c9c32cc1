/* SPDX-License-Identifier: Apache-2.0 */
/* Judges one campaign: its events in the log, what every user was told, and what the read models say, against
 * the invariants of the design. Pure: it reads nothing by itself, so that each rule can be tested with a
 * crafted violation. Texts of violations name users by number, never by id.
 *
 * Call in this order: create; log_begin, { batch_begin, event..., batch_end }..., log_end; attempts; any
 * reads; verdict. */
#pragma once

#include "bench/storm/attempts.h"
#include "common/json.h"
#include "events/event.h"

/* X(name, invariant, what holds, what is counted) */
#define CHECKER_RULES(X)                                                                             \
    X(CREATED, "I5", "the campaign is in the log once, first, as it was asked for", "campaigns")     \
    X(STOCK, "I1", "never more coupons than released, never more released than there are", "events") \
    X(COUNT, "I1", "as many coupons as there are, or as there were users for", "campaigns")          \
    X(OPEN, "I1", "no coupon while paused or closed", "coupons")                                     \
    X(LIMIT, "I2", "nobody holds more coupons than allowed", "coupons")                              \
    X(ASKED, "I2", "every coupon belongs to somebody who asked", "coupons")                          \
    X(SEQUENCE, "I5", "sequences are dense from 1 in log order", "coupons")                          \
    X(GAPLESS, "I5", "positions are gapless, and batches cover them exactly", "events")              \
    X(CLOCK, "I5", "recorded times never run backwards", "events")                                   \
    X(CHAIN, "I12", "the hash chain over the log verifies", "batches")                               \
    X(ANSWER, "I3", "every 201 is in the log, exactly as answered", "answers")                       \
    X(UNANSWERED, "I3", "every coupon in the log was answered, or an answer was lost", "coupons")    \
    X(SAME_BYTES, "I4", "same key, same answer, byte for byte", "repeated answers")                  \
    X(REPLAYED, "I4", "a repeated 201 says that it is one, a first one does not", "answers")         \
    X(REFUSED, "I4", "no key that took effect was refused", "refusals")                              \
    X(ORDER, "I5", "who was answered before another asked has the lower sequence", "coupons")        \
    X(SOLD_OUT, "I5", "nobody who asked after a sold-out answer got a coupon", "coupons")            \
    X(READ_CAMPAIGN, "I7", "the campaign reads as the log says", "reads")                            \
    X(READ_HOLDERS, "I7", "the list of holders reads as the log says", "lists")                      \
    X(READ_USER, "I7", "users read as the log says", "users")                                        \
    X(READ_RANKING, "I7", "the ranking counts what the log says", "reads")

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
    int64_t created_at; /* position of CampaignCreated, from the answer */
    int64_t quantity, released, per_user_limit;
    uint32_t users, keys; /* numbers in the history are below these */
    int64_t
        demand; /* coupons that would be taken if there were enough; -1: not known, COUNT is not checked */
    const struct user_names *names;
};

struct checker;
struct checker *checker_create(const struct checked_campaign *campaign);
void checker_destroy(struct checker *checker); /* accepts NULL */

/* --- The log: every event of the campaign's slice, from the batch that created it --- */

struct checked_batch {
    int64_t first, last, recorded_at_us;
    uint8_t chain[32];
};

/* What was there before the first batch to come: chain zeros and position 0 at the beginning of the slice. */
void checker_log_begin(struct checker *checker, int64_t position, const uint8_t chain[32]);
void checker_batch_begin(struct checker *checker, const struct checked_batch *batch);
void checker_event(struct checker *checker, const struct event *event); /* decoded, of the open batch */
void checker_batch_end(struct checker *checker);
void checker_log_end(struct checker *checker);

int64_t checker_issued(const struct checker *checker);        /* coupons of the campaign in the log so far */
int64_t checker_last_position(const struct checker *checker); /* of its last event; 0 before the first */
uint32_t checker_holder(const struct checker *checker,
                        int64_t index); /* user of a coupon; UINT32_MAX: nobody's */

/* --- What users were told --- */

void checker_answers(struct checker *checker, const struct attempts *attempts);

/* --- What the read models say. Each compares and, where it differs, says why; nothing is recorded, because a
 * read may be repeated until it agrees. checker_read_done records the outcome. --- */

struct read_difference {
    char text[VIOLATION_TEXT_MAX];
};
bool checker_campaign_agrees(const struct checker *checker, const struct json_value *campaign,
                             struct read_difference *why);
/* `index` counts from 0 in order of issue; item NULL: the list ended before it. */
bool checker_holder_agrees(const struct checker *checker, int64_t index, const struct json_value *item,
                           struct read_difference *why);
bool checker_user_agrees(const struct checker *checker, uint32_t user, const struct json_value *membership,
                         struct read_difference *why);
/* The whole first page. A campaign that is not on a full page is no difference where it need not be there. */
bool checker_ranking_agrees(const struct checker *checker, const struct json_value *ranking, size_t page_size,
                            struct read_difference *why);
/* NULL: it agreed. */
void checker_read_done(struct checker *checker, enum rule rule, const struct read_difference *why);

const struct verdict *checker_verdict(const struct checker *checker);
