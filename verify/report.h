/* SPDX-License-Identifier: Apache-2.0 */
/* What `projector verify` found: differences one by one, up to a limit, then how many there were of each
 * rule. Writes lines, to whom is the caller's business. Names campaigns, positions and keys, never users,
 * orders or codes (I10). One thread. */
#pragma once

#include <stdbool.h>

#include "common/base/bytes.h"

/* X(NAME, "label", "invariant", "what holds") */
#define VERIFY_RULES(X)                                                                                   \
    X(POSITIONS, "positions", "I5", "positions run from 1 to the slice's head without a gap")             \
    X(BATCHES, "batches", "I12", "the rows of table batch cover the positions exactly, in order")         \
    X(CHAIN, "chain", "I12", "the events make the hash of their batch, and the last one is the slice's")  \
    X(CLOCK, "clock", "I5", "recorded_at never runs backwards, and is one for a whole batch")             \
    X(BYTES, "bytes", "I12", "every event can be read, and would be written with the same bytes")         \
    X(ENVELOPE, "envelope", "I12", "the columns of an event agree with its place and its data")           \
    X(CREATED, "created", "I5", "a campaign begins with CampaignCreated and has one")                     \
    X(STOCK, "stock", "I1", "issued <= released <= quantity after every event")                           \
    X(SEQUENCE, "sequence", "I5", "the coupons of a campaign are numbered from 1 without a gap")          \
    X(LIMIT, "limit", "I2", "nobody holds more coupons of a campaign than allowed, each counted right")   \
    X(LIFE, "life", "I1", "a campaign does only what its state and its definition allow")                 \
    X(COUPON, "coupon", "I6", "a coupon does only what its state, its holder and its time allow")         \
    X(SLICE_ROW, "slice-row", "I5", "table slice says what the log says")                                 \
    X(CAMPAIGN_ROW, "campaign-row", "I7", "table campaign says what the log says")                        \
    X(COUPON_ROW, "coupon-row", "I7", "table coupon says what the log says")                              \
    X(RUN_ROW, "run-row", "I7", "table issue_run says what the log says")                                 \
    X(CONTROL_ROW, "control-row", "I7", "table control says what the log says")                           \
    X(QUOTA_ROW, "quota-row", "I7", "table creation_quota says what the log says")                        \
    X(REQUEST_ROW, "request-row", "I4", "an idempotency row names an event that it can be the answer of") \
    X(MODEL, "model", "I7", "a key in Redis says what the log says, and no key says more")

enum verify_rule {
#define VERIFY_RULE_ENUM(name, label, invariant, holds) VERIFY_##name,
    VERIFY_RULES(VERIFY_RULE_ENUM)
#undef VERIFY_RULE_ENUM
        VERIFY_RULE_COUNT
};

struct verify_rule_description {
    const char *label, *invariant, *holds;
};
const struct verify_rule_description *verify_rule_describe(enum verify_rule rule);

/* Where a difference is. What does not apply is left 0 or absent; but slice -1 is "no slice". */
struct verify_place {
    int16_t slice;
    int64_t position;
    struct span campaign, key;
};

enum { VERIFY_LINE_MAX = 1024 };

struct verify_report {
    bool json;
    int64_t limit;                                  /* differences written; the others are only counted */
    void (*write)(void *context, struct span line); /* a whole line with its newline, borrowed */
    void *context;
    int64_t differences, by_rule[VERIFY_RULE_COUNT];
};

/* Notes a difference and, below the limit, writes it. The text must not name a user, an order or a code. */
void verify_differ(struct verify_report *report, enum verify_rule rule, const struct verify_place *place,
                   const char *format, ...) PRINTF_LIKE(4, 5);

/* How much was looked at. */
struct verify_totals {
    int64_t events, batches, rows, keys;
    int64_t slices, passes;
    int64_t log_us, models_us; /* how long the log and the models took; 0: were not looked at */
};
/* The last lines: counts by rule and how much was looked at. `trouble` NULL: all of it; otherwise why not. */
void verify_summary(struct verify_report *report, const struct verify_totals *totals, const char *trouble);
