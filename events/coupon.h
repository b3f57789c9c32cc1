/* SPDX-License-Identifier: Apache-2.0 */
/* A coupon as a value: the fold of its events, whether it may be used for an order, and how it reads as JSON
 * (design §9): the same bytes from the write API, from the read models and from the log. Pure; the structs
 * are plain values that borrow their texts. */
#pragma once

#include "events/campaign.h"
#include "events/ids.h"

/* As in the log. What time alone does (a reservation or the coupon itself is over) is no state:
 * coupon_status() says it for an instant. */
enum coupon_state { COUPON_ISSUED = 1, COUPON_RESERVED = 2, COUPON_REDEEMED = 3, COUPON_REVOKED = 4 };

struct coupon {
    struct position at; /* its CouponIssued */
    struct span campaign_id, user_id, code_prefix;
    int64_t sequence, nth;
    int64_t issued_at_us, expires_at_us; /* expires 0: never */

    /* Of the last event, and nothing else. */
    enum coupon_state state;
    int64_t last;                          /* its position */
    int64_t changed_at_us;                 /* its time */
    struct span order_id;                  /* RESERVED, REDEEMED; absent otherwise */
    int64_t order_amount, discount_amount; /* RESERVED, REDEEMED */
    int64_t reserved_until_us;             /* RESERVED */
    struct span actor;  /* RESERVED, REDEEMED, REVOKED: the API key that asked, where that is known */
    struct span reason; /* REVOKED */
};

/* From a decoded CouponIssued event; borrows its texts. */
struct coupon coupon_from_event(const struct event *event);
/* Whether coupon_apply knows what the event does to a coupon (10 to 15 in the catalogue). */
bool coupon_concerned(const struct event *event);
/* Folds one of its later events in; borrows its texts. Each says all of the state after it, so applying only
 * the last one gives the same (I7). */
void coupon_apply(struct coupon *coupon, const struct event *event);

/* The text that belongs to its state: order id or reason; absent where there is none. */
struct span coupon_note(const struct coupon *coupon);
/* Puts it back, borrowed, where the state is there already; empty means absent. False where this state cannot
 * have this note. */
bool coupon_take_note(struct coupon *coupon, struct span note) MUST_USE;

/* The coupon as it is at that instant: a reservation whose time is over is none, whether or not the log says
 * so yet. */
struct coupon coupon_at(const struct coupon *coupon, int64_t now_us);
/* issued, reserved, redeemed, revoked or expired at that instant; by the log alone where now_us is 0. */
const char *coupon_status(const struct coupon *coupon, int64_t now_us);
bool coupon_expired(const struct coupon *coupon, int64_t now_us);
/* Whether an order holds it at that instant. */
bool coupon_reserved_at(const struct coupon *coupon, int64_t now_us);

/* --- Using it --- */

/* What somebody wants to use a coupon for. */
struct coupon_use {
    struct span user_id;  /* absent: not asked who (GET validity) */
    struct span order_id; /* absent: no order yet, so any reservation is in the way */
    int64_t order_amount; /* minor units; < 0: not known yet, the minimum is not looked at */
    struct span currency; /* of the order; absent: not said, then it is not compared */
};

/* Why a coupon may not be used so at that instant, NULL when it may: the one rule behind reserve, redeem and
 * GET validity (I6). */
const struct problem *coupon_check(const struct coupon *coupon, const struct campaign_created *campaign,
                                   const struct coupon_use *use, int64_t now_us);

/* What it takes off an order, in minor units, never more than the order is worth. A percentage is rounded
 * down to a whole minor unit, and then capped. */
int64_t coupon_discount(const struct campaign_created *campaign, int64_t order_amount);

/* --- JSON --- */

/* Without the code where there is no key for it, and without a user where the coupon says none. now_us 0: by
 * the log alone (the answers of the write API, which must not change with time, I4). */
void coupon_write_json(struct buf *out, const char *key, const struct coupon *coupon,
                       const struct code_key *code_key, int64_t now_us);
