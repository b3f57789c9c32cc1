/* SPDX-License-Identifier: Apache-2.0 */
/* Judges a chaos run: everything the clients asked and were told, against the whole log and the state rows.
 * The rules are written anew from the design and share nothing with command-service/; from events/ come only
 * names, codec and the definition of the hash chain. Pure: no clock, no I/O, so that each rule can be tested
 * with a crafted violation. Texts of violations name clients, operations and campaigns by number. */
#pragma once

#include "tests/chaos/history.h"
#include "tests/chaos/log_image.h"
#include "tests/chaos/read.h"

/* X(NAME, invariant, what holds, what is counted) */
#define JUDGE_RULES(X)                                                                                      \
    X(STOCK, "I1", "never more coupons than released, never more released than there are", "events")        \
    X(COUNTERS, "I1", "the rows of campaigns and coupons say what their events say", "rows")                \
    X(OPEN, "I1", "nothing is issued before the start, while paused, or after the end", "coupons")          \
    X(PLAN, "I1", "tranches come as planned, in time, and not after a halt", "events")                      \
    X(DELETED, "I1", "what is deleted had no coupons, and nothing happens to it afterwards", "events")      \
    X(STATE, "I1", "campaigns change as they may", "events")                                                \
    X(LIMIT, "I2", "nobody holds more coupons than allowed", "coupons")                                     \
    X(LOGGED, "I3", "every 2xx is in the log, exactly as answered", "answers")                              \
    X(ANSWERED, "I3", "once all was healed, everything with a key got an answer", "operations")             \
    X(SENSE, "I3", "every answer is one that the API has", "attempts")                                      \
    X(ASKED, "I4", "every event was asked for, as it stands in the log", "events")                          \
    X(ONCE, "I4", "one Idempotency-Key, one effect", "keys")                                                \
    X(SAME_BYTES, "I4", "one Idempotency-Key, one answer, byte for byte", "repeated answers")               \
    X(MARKED, "I4", "a repeated answer says that it is one", "repeated answers")                            \
    X(PAYLOAD, "I4", "another payload under a used key is refused as such, and only that", "attempts")      \
    X(REFUSED, "I4", "what was refused left nothing, and what had taken effect is not refused", "refusals") \
    X(REMEMBERED, "I4", "as many idempotency rows as keys that took effect", "keys")                        \
    X(SUSPENDED, "I10", "a suspended key writes nothing, from a second on", "effects")                      \
    X(GAPLESS, "I5", "positions are gapless, and batches cover them exactly", "events")                     \
    X(SEQUENCE, "I5", "sequences are dense from 1 in log order", "coupons")                                 \
    X(CLOCK, "I5", "recorded times never run backwards", "events")                                          \
    X(ORDER, "I5", "what was answered before another was asked comes first", "effects")                     \
    X(JUSTIFIED, "I5", "every refusal was right at some moment of its request", "refusals")                 \
    X(REDEEMED, "I6", "no coupon is redeemed twice without a restore between", "redemptions")               \
    X(HOLDER, "I6", "coupons are used by their holders only", "uses")                                       \
    X(VALID, "I6", "coupons are used only while valid, and while no other order holds them", "uses")        \
    X(AMOUNT, "I6", "minimum and discount are those of the campaign", "uses")                               \
    X(LIFE, "I6", "coupons change as they may", "events")                                                   \
    X(CHAIN, "I12", "the hash chain over the log verifies", "batches")                                      \
    X(READ_TRUE, "I7", "what a read says of a slice is true of one moment of its log", "reads")             \
    X(READ_AGE, "I7", "and of no older one than its Age allows", "reads")                                   \
    X(READ_TOKEN, "I9", "and of none before its Consistency-Token", "reads")                                \
    X(READ_INSTANT, "I13", "what the clock changes is told as of the instant that Age names", "reads")      \
    X(READ_ORDER, "I7", "lists come in their order, and no longer than was asked for", "lists")             \
    X(READ_FEED, "I5", "the feed is the log, position by position", "pages")

enum judge_rule {
#define JUDGE_ENUM(name, invariant, holds, counted) JUDGE_##name,
    JUDGE_RULES(JUDGE_ENUM)
#undef JUDGE_ENUM
        JUDGE_RULE_COUNT
};
struct judge_rule_text {
    const char *invariant, *holds, *counted;
};
const struct judge_rule_text *judge_rule_text(enum judge_rule rule);

enum { JUDGE_KEPT = 20, JUDGE_TEXT_MAX = 900 };

struct judgement {
    uint64_t checked[JUDGE_RULE_COUNT], violated[JUDGE_RULE_COUNT];
    uint64_t violations;
    struct {
        enum judge_rule rule;
        char text[JUDGE_TEXT_MAX];
    } first[JUDGE_KEPT];
};

struct judge_input {
    const struct history *history; /* joined */
    const struct log_image *log;
    const struct readings *reads; /* NULL: nobody read */
    uint64_t seed;
    uint32_t elsewhere_from; /* slices from here on are in another store than slice 0; 0: none is */
    int64_t base_us;         /* as the clients had it, for definitions */
    int64_t wall_offset_us;  /* wall clock minus monotonic clock; database and clients share a machine */
    const struct code_key *code_key; /* NULL: codes are not looked at */
};

void judge(const struct judge_input *input, struct judgement *ret);
