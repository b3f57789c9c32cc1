/* SPDX-License-Identifier: Apache-2.0 */
/* For the judge's tests only: the run in which all is well, and expecting a violation once it was bent. One
 * campaign, two coupons: the first is reserved, redeemed and restored, the second revoked. */
#pragma once

#include "tests/chaos/judge.h"

#include "common/base/testing.h"
#include "tests/chaos/judge_world.h"

/* Numbers of the operations, and which line or which attempt is theirs. */
enum { CREATE, ISSUE_0, LIAR, ISSUE_1, PAUSE, WHILE_PAUSED, RESUME, RESERVE, REDEEM, AGAIN, RESTORE, REVOKE };
enum { RELEASE = REVOKE + 1, CLOSE, AFTER_CLOSE, DELETE, OPS };
enum { AMOUNT = 9000, ORDER = 7 };
enum {
    L_CREATED,
    L_ISSUED_0,
    L_ISSUED_1,
    L_PAUSED,
    L_RESUMED,
    L_RESERVED,
    L_REDEEMED,
    L_RESTORED,
    L_REVOKED
};
enum { L_RELEASED = L_REVOKED + 1, L_CLOSED };
enum { S_REPEAT = 2 }; /* attempt 0 is of operation 0, 1 of 1, 2 of 1 again, then one for each */

static struct world world;

static inline int64_t discount(void)
{
    return coupon_discount(&world.definition, AMOUNT);
}

static inline const char *use_json(const char *more)
{
    static char text[512];
    snprintf(text, sizeof text, ",\"order_id\":\"order-%d\",\"order_amount\":%d,\"discount_amount\":%lld%s",
             ORDER, AMOUNT, (long long)discount(), more);
    return text;
}

static inline const char *time_json(const char *name, int64_t at_us)
{
    static char text[128];
    struct buf at;
    buf_init(&at, 64);
    time_format(&at, at_us);
    snprintf(text, sizeof text, ",\"%s\":\"%s\"", name, at.data);
    buf_deinit(&at);
    return text;
}

static inline struct reply *done(uint32_t op, int status, int64_t position)
{
    return add_reply(&world, (struct reply){.op = op, .status = status, .token = here(&world, position)});
}

static inline struct reply *refused(uint32_t op, int status, const char *problem)
{
    return add_reply(&world, (struct reply){.op = op, .status = status, .problem = problem});
}

static inline void make_ops(void)
{
    const struct operation ops[OPS] = {
        [CREATE] = {.kind = OP_CREATE},
        [ISSUE_0] = {.kind = OP_ISSUE, .user = 0},
        [LIAR] = {.kind = OP_ISSUE, .user = 1, .key = ISSUE_0},
        [ISSUE_1] = {.kind = OP_ISSUE, .user = 1, .by_issuer = true},
        [PAUSE] = {.kind = OP_PAUSE},
        [WHILE_PAUSED] = {.kind = OP_ISSUE, .user = 2},
        [RESUME] = {.kind = OP_RESUME},
        [RESERVE] = {.kind = OP_RESERVE, .user = 0, .order = ORDER, .amount = AMOUNT, .ttl_s = 3},
        [REDEEM] = {.kind = OP_REDEEM, .user = 0, .order = ORDER, .amount = AMOUNT},
        [AGAIN] = {.kind = OP_REDEEM, .user = 0, .order = ORDER + 1, .amount = AMOUNT},
        [RESTORE] = {.kind = OP_RESTORE, .order = ORDER},
        [REVOKE] = {.kind = OP_REVOKE},
        [RELEASE] = {.kind = OP_RELEASE, .quantity = 1},
        [CLOSE] = {.kind = OP_CLOSE},
        [AFTER_CLOSE] = {.kind = OP_ISSUE, .user = 2},
        [DELETE] = {.kind = OP_DELETE},
    };
    for (size_t i = 0; i < OPS; i++) {
        struct operation *op = add_op(&world, ops[i]);
        if (op_kind_has_coupon(op->kind))
            op->coupon = here(&world, op->kind == OP_REVOKE ? 3 : 2);
    }
}

static inline void make_lines(void)
{
    const struct position first = here(&world, 2), second = here(&world, 3);
    const struct line use = {.coupon = first, .order = ORDER, .amount = AMOUNT, .discount = discount()};
    struct line line = use;
    add_line(&world, (struct line){.type = EVENT_CampaignCreated, .op = CREATE});
    add_line(&world, (struct line){EVENT_CouponIssued, .op = ISSUE_0, .sequence = 1, .nth = 1});
    add_line(&world, (struct line){EVENT_CouponIssued, .op = ISSUE_1, .user = 1, .sequence = 2, .nth = 1});
    add_line(&world, (struct line){EVENT_CampaignPaused, .op = PAUSE});
    add_line(&world, (struct line){EVENT_CampaignResumed, .op = RESUME});
    line.type = EVENT_CouponReserved, line.op = RESERVE;
    add_line(&world, line);
    line.type = EVENT_CouponRedeemed, line.op = REDEEM, line.flag = true;
    add_line(&world, line);
    line.type = EVENT_CouponRestored, line.op = RESTORE;
    add_line(&world, line);
    add_line(&world, (struct line){EVENT_CouponRevoked, .op = REVOKE, .user = 1, .coupon = second});
    add_line(&world, (struct line){EVENT_StockReleased, .op = RELEASE, .quantity = 1});
    add_line(&world, (struct line){EVENT_CampaignClosed, .op = CLOSE});
}

static inline void make_replies(void)
{
    int64_t released = world.definition.released;
    say_campaign(&world, done(CREATE, 201, 1), "active", 0, released, 0);
    say_coupon(&world, done(ISSUE_0, 201, 2), 2, 0, 1, "issued", "");
    struct reply *repeat = done(ISSUE_0, 201, 2);
    repeat->number = 1, repeat->replayed = true;
    say_coupon(&world, repeat, 2, 0, 1, "issued", "");
    refused(LIAR, 422, "idempotency-key-reused");
    say_coupon(&world, done(ISSUE_1, 201, 3), 3, 1, 2, "issued", "");
    say_campaign(&world, done(PAUSE, 200, 4), "paused", 2, released, 0);
    refused(WHILE_PAUSED, 409, "paused");
    say_campaign(&world, done(RESUME, 200, 5), "active", 2, released, 0);
    const char *more = time_json("reserved_until", world.lines[L_RESERVED].time_us + 3 * US_PER_S);
    say_coupon(&world, done(RESERVE, 200, 6), 2, 0, 1, "reserved", use_json(more));
    more = time_json("redeemed_at", world.lines[L_REDEEMED].time_us);
    say_coupon(&world, done(REDEEM, 200, 7), 2, 0, 1, "redeemed", use_json(more));
    refused(AGAIN, 409, "already-redeemed");
    say_coupon(&world, done(RESTORE, 200, 8), 2, 0, 1, "issued", "");
    say_coupon(&world, done(REVOKE, 200, 9), 3, 1, 2, "revoked", "");
    say_campaign(&world, done(RELEASE, 200, 10), "active", 2, released + 1, 0);
    say_campaign(&world, done(CLOSE, 200, 11), "closed", 2, released + 1, 0);
    refused(AFTER_CLOSE, 410, "ended");
    refused(DELETE, 409, "has-coupons");
}

static inline void make_rows(void)
{
    world.row = (struct image_campaign){.id = span_of(world.id),
                                        .released = world.definition.released + 1,
                                        .issued = 2,
                                        .status = CAMPAIGN_CLOSED,
                                        .position = 11};
    world.coupon_rows[0] = (struct image_coupon){.at = here(&world, 2), .state = COUPON_ISSUED, .last = 8};
    world.coupon_rows[1] = (struct image_coupon){.at = here(&world, 3), .state = COUPON_REVOKED, .last = 9};
    world.coupon_rows_count = 2;
    world.idempotency_rows = 11;
}

static inline int begin(void **state)
{
    (void)state;
    world = (struct world){0};
    choose_definition(&world);
    make_ops();
    make_lines();
    make_replies();
    make_rows();
    readings_init(&world.reads);
    return 0;
}

static inline struct reply *reply_of(uint32_t op)
{
    for (size_t i = 0; i < world.replies_count; i++)
        if (world.replies[i].op == op)
            return &world.replies[i];
    fail_msg("nobody asked that");
    return NULL;
}

static inline void expect_violation(enum judge_rule rule)
{
    judge_world(&world);
    if (world.judgement.violated[rule] == 0) {
        for (uint64_t i = 0; i < world.judgement.violations && i < JUDGE_KEPT; i++)
            print_message("%s\n", world.judgement.first[i].text);
        fail_msg("not found: %s", judge_rule_text(rule)->holds);
    }
}

#define BENT(test) cmocka_unit_test_setup(test, begin)
