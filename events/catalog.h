/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue of events: every type, its version, its fields and what they mean, as one table that the
 * structs, the codec, the golden tests and the documentation are made from.
 *
 * Rules of evolution: a key is never reused and never changes its kind; a new field gets the next key and a
 * default (absent = 0, empty); readers skip keys they do not know; what was written is never rewritten. A
 * change that cannot be said this way is a new version of the type. events/golden/ holds the bytes of every
 * type and version for ever.
 *
 * Kinds: INT (int64_t, 0..max), TEXT (span, at most max bytes), TEXTS (at most max texts of at most
 * EVENT_TEXT_MAX bytes), RELEASES (at most max pairs of time and quantity).
 * The envelope (slice, position, campaign, user, coupon, time, trace) are columns of the log, not fields. */
#pragma once

#include <stdint.h>

#include "common/base/bytes.h"

enum { EVENT_TEXT_MAX = 64, EVENT_DATA_MAX = 8192 };

/* F(key, KIND, name, max, meaning) */
#define CAMPAIGN_CREATED_FIELDS(F)                                                                       \
    F(1, TEXT, name, 200, "what people call it")                                                         \
    F(2, INT, discount_type, 1, "0 percent, 1 fixed amount")                                             \
    F(3, INT, discount_value, MONEY_MAX, "whole percent 0..100, or the amount in minor units")           \
    F(4, INT, discount_max, MONEY_MAX, "cap of a percent discount in minor units, 0 none")               \
    F(5, TEXT, currency, 3, "ISO 4217 code")                                                             \
    F(6, INT, min_order_amount, MONEY_MAX, "smallest order it applies to, in minor units")               \
    F(7, INT, quantity, QUANTITY_MAX, "coupons there will ever be")                                      \
    F(8, INT, released, QUANTITY_MAX, "coupons that may be issued from the start")                       \
    F(9, INT, per_user_limit, PER_USER_LIMIT_MAX, "coupons one user may hold")                           \
    F(10, INT, starts_at_us, INT64_MAX, "issuing opens, 0 at once")                                      \
    F(11, INT, ends_at_us, INT64_MAX, "issuing ends (exclusive), 0 never")                               \
    F(12, INT, coupon_valid_days, 36500, "a coupon expires so many days after issue, 0 not by days")     \
    F(13, INT, coupon_expires_at_us, INT64_MAX, "a coupon expires at this instant, 0 not by instant")    \
    F(14, TEXTS, tags, TAGS_MAX, "labels for lists and rankings")                                        \
    F(15, TEXT, code_prefix, CODE_PREFIX_MAX, "put before every code, with a dash")                      \
    F(16, RELEASES, release_plan, RELEASE_PLAN_MAX, "stock released later: when and how much, in order") \
    F(17, TEXT, created_by, EVENT_TEXT_MAX, "name of the API key that asked")                            \
    F(18, INT, discount_hundredths, 99, "hundredths of a percent, in addition to the whole ones")        \
    F(19, INT, utc_offset_code, UTC_OFFSET_CODE_MAX,                                                     \
      "days of coupons end at midnight so many minutes east of UTC, plus 1440; 0 not at midnight")       \
    F(20, INT, reopens_at_us, INT64_MAX,                                                                 \
      "nobody is issued before, because everybody was told sold out; 0 not so")

/* All of the definition as it is from here on, so that it is a function of the last of these events alone. */
#define CAMPAIGN_CHANGED_FIELDS(F)                                                    \
    CAMPAIGN_CREATED_FIELDS(F)                                                        \
    F(21, TEXT, actor, EVENT_TEXT_MAX, "name of the API key that asked")              \
    F(22, TEXT, reason, REASON_MAX, "for people; empty where none was given")         \
    F(23, INT, released_more, QUANTITY_MAX, "coupons that may be issued in addition") \
    F(24, TEXTS, fields, CHANGED_FIELDS_MAX, "what the request named: its fields, as they are there")

#define STOCK_RELEASED_FIELDS(F)                                                                   \
    F(1, INT, quantity, QUANTITY_MAX, "coupons that may be issued in addition")                    \
    F(2, INT, plan_step, RELEASE_PLAN_MAX, "which tranche of the release plan, from 1; 0 by hand") \
    F(3, TEXT, actor, EVENT_TEXT_MAX, "name of the API key that asked, empty for the plan")        \
    F(4, TEXT, reason, REASON_MAX, "for people; empty where none was given")

#define ACTOR_FIELDS(F)                                                 \
    F(1, TEXT, actor, EVENT_TEXT_MAX, "name of the API key that asked") \
    F(2, TEXT, reason, REASON_MAX, "for people; empty where none was given")

#define DUE_FIELDS(F) F(1, INT, due_at_us, INT64_MAX, "when it was over; this event only notes it")

#define RELEASE_PLAN_HALTED_FIELDS(F)                                                                      \
    F(1, INT, plan_step, RELEASE_PLAN_MAX, "the last tranche that was released, 0 the stock of the start") \
    F(2, INT, calls, INT64_MAX, "issue requests since then, as one command service saw them")              \
    F(3, INT, success_permille, 1000, "of them answered, whatever the answer, instead of failed")          \
    F(4, INT, p95_ms, INT64_MAX, "95 % of them were answered within this many milliseconds")

/* What an order does with a coupon. Each of these events says all there is to know of the coupon's state
 * after it, so that the state is a function of CouponIssued and the coupon's last event. */
#define COUPON_RESERVED_FIELDS(F)                                                                         \
    F(1, TEXT, order_id, ORDER_ID_MAX, "the order that holds it")                                         \
    F(2, INT, order_amount, MONEY_MAX, "what the order is worth before the discount, in minor units")     \
    F(3, INT, discount_amount, MONEY_MAX, "what the coupon takes off it, in minor units")                 \
    F(4, INT, reserved_until_us, INT64_MAX, "others may have it again from here on")                      \
    F(5, INT, renewed, 1, "1: it was reserved until now, by the same order or by one whose time is over") \
    F(6, TEXT, actor, EVENT_TEXT_MAX, "name of the API key that asked")

#define COUPON_REDEEMED_FIELDS(F)                                                                     \
    F(1, TEXT, order_id, ORDER_ID_MAX, "the order that used it")                                      \
    F(2, INT, order_amount, MONEY_MAX, "what the order is worth before the discount, in minor units") \
    F(3, INT, discount_amount, MONEY_MAX, "what the coupon took off it, in minor units")              \
    F(4, INT, was_reserved, 1, "1: it was reserved until now")                                        \
    F(5, TEXT, actor, EVENT_TEXT_MAX, "name of the API key that asked")

#define ORDER_FIELDS(F) F(1, TEXT, order_id, ORDER_ID_MAX, "the order that had it")

/* Given back by whoever had it, or by an admin. */
#define GIVEN_BACK_FIELDS(F) \
    ORDER_FIELDS(F)          \
    F(2, TEXT, actor, EVENT_TEXT_MAX, "name of the API key that asked")

#define RESERVATION_EXPIRED_FIELDS(F) \
    ORDER_FIELDS(F)                   \
    F(2, INT, due_at_us, INT64_MAX, "when it was over; this event only notes it")

#define COUPON_REVOKED_FIELDS(F)                                        \
    F(1, TEXT, reason, REASON_MAX, "for people")                        \
    F(2, TEXT, actor, EVENT_TEXT_MAX, "name of the API key that asked") \
    F(3, INT, was_reserved, 1, "1: it was reserved until now")

/* About the service itself, not a campaign: in slice CONTROL_SLICE, with CONTROL_STREAM for a campaign id. */
#define ISSUER_FIELDS(F)                                                  \
    F(1, TEXT, issuer, EVENT_TEXT_MAX, "name of the API key it is about") \
    F(2, TEXT, actor, EVENT_TEXT_MAX, "name of the API key that asked")   \
    F(3, TEXT, reason, REASON_MAX, "for people; empty where none was given")

#define SETTING_CHANGED_FIELDS(F)                                           \
    F(1, TEXT, name, EVENT_TEXT_MAX, "of the setting, events/settings.def") \
    F(2, TEXT, value, EVENT_TEXT_MAX, "empty: the profile's again")         \
    F(3, TEXT, actor, EVENT_TEXT_MAX, "name of the API key that asked")     \
    F(4, TEXT, reason, REASON_MAX, "for people; empty where none was given")

#define COUPON_ISSUED_FIELDS(F)                                                                  \
    F(1, INT, sequence, QUANTITY_MAX, "place in the campaign, dense from 1")                     \
    F(2, INT, nth, PER_USER_LIMIT_MAX, "the user's how-manyeth coupon of this campaign, from 1") \
    F(3, INT, expires_at_us, INT64_MAX, "no longer valid from here on, 0 never")                 \
    F(4, TEXT, code_prefix, CODE_PREFIX_MAX, "the campaign's, so that the code is a function of this event")

/* X(id, version, Name, lower_name, UPPER_FIELDS, meaning) */
#define EVENT_CATALOG(X)                                                                                     \
    X(1, 1, CampaignCreated, campaign_created, CAMPAIGN_CREATED_FIELDS, "a campaign exists")                 \
    X(2, 1, StockReleased, stock_released, STOCK_RELEASED_FIELDS, "more of its quantity may be issued")      \
    X(3, 1, CampaignPaused, campaign_paused, ACTOR_FIELDS, "issuing is refused until resumed")               \
    X(4, 1, CampaignResumed, campaign_resumed, ACTOR_FIELDS, "issuing goes on")                              \
    X(5, 1, CampaignClosed, campaign_closed, ACTOR_FIELDS, "issuing has ended for good")                     \
    X(6, 1, CouponIssued, coupon_issued, COUPON_ISSUED_FIELDS, "a user holds a coupon")                      \
    X(7, 1, CampaignDeleted, campaign_deleted, ACTOR_FIELDS,                                                 \
      "it is gone; nothing was issued, and its id is not used again")                                        \
    X(8, 1, CampaignEnded, campaign_ended, DUE_FIELDS, "its ends_at has passed")                             \
    X(9, 1, ReleasePlanHalted, release_plan_halted, RELEASE_PLAN_HALTED_FIELDS,                              \
      "no further tranche until it is resumed: the last one went badly")                                     \
    X(10, 1, CouponReserved, coupon_reserved, COUPON_RESERVED_FIELDS, "an order holds a coupon for a while") \
    X(11, 1, CouponRedeemed, coupon_redeemed, COUPON_REDEEMED_FIELDS, "an order used a coupon")              \
    X(12, 1, ReservationReleased, reservation_released, GIVEN_BACK_FIELDS,                                   \
      "the order gave a reserved coupon back")                                                               \
    X(13, 1, ReservationExpired, reservation_expired, RESERVATION_EXPIRED_FIELDS,                            \
      "the order did not use a reserved coupon in time")                                                     \
    X(14, 1, CouponRestored, coupon_restored, GIVEN_BACK_FIELDS, "the order gave a used coupon back")        \
    X(15, 1, CouponRevoked, coupon_revoked, COUPON_REVOKED_FIELDS, "a coupon was taken away for good")       \
    X(16, 1, IssuerSuspended, issuer_suspended, ISSUER_FIELDS, "an API key may write nothing until resumed") \
    X(17, 1, IssuerResumed, issuer_resumed, ISSUER_FIELDS, "an API key may write again")                     \
    X(18, 1, SettingChanged, setting_changed, SETTING_CHANGED_FIELDS,                                        \
      "a limit, a time or the profile was set")                                                              \
    X(19, 1, CampaignChanged, campaign_changed, CAMPAIGN_CHANGED_FIELDS,                                     \
      "name, tags, quantity, end or limit were changed; never below what was promised")

/* Limits of the contract. */
#define QUANTITY_MAX INT64_C(100000000)
#define MONEY_MAX    INT64_C(1000000000000)
enum {
    PER_USER_LIMIT_MAX = 100,
    TAGS_MAX = 16,
    CODE_PREFIX_MAX = 12,
    RELEASE_PLAN_MAX = 100,
    CHANGED_FIELDS_MAX = 5,
    CAMPAIGN_ID_MAX = 64,
    ORDER_ID_MAX = 128,
    REASON_MAX = 200,
    USER_ID_MAX = 128,
    UTC_OFFSET_MAX_MIN = 18 * 60,   /* as far as RFC 3339's neighbours go; the world uses -12:00 to +14:00 */
    UTC_OFFSET_CODE_ZERO = 24 * 60, /* utc_offset_code of +00:00: a field of an event is never negative */
    UTC_OFFSET_CODE_MAX = UTC_OFFSET_CODE_ZERO + UTC_OFFSET_MAX_MIN,
};

struct text_list {
    const struct span *items;
    size_t count;
};

struct release {
    int64_t at_us, quantity;
};

struct release_list {
    const struct release *items;
    size_t count;
};

#define EVENT_MEMBER_INT(name)      int64_t name;
#define EVENT_MEMBER_TEXT(name)     struct span name;
#define EVENT_MEMBER_TEXTS(name)    struct text_list name;
#define EVENT_MEMBER_RELEASES(name) struct release_list name;

#define EVENT_MEMBER(key, kind, name, max, meaning) EVENT_MEMBER_##kind(name)
#define EVENT_STRUCT(id, version, Name, lower, FIELDS, meaning) \
    struct lower {                                              \
        FIELDS(EVENT_MEMBER)                                    \
    };
EVENT_CATALOG(EVENT_STRUCT)

#define EVENT_ENUM(id, version, Name, lower, FIELDS, meaning) EVENT_##Name = id,
enum event_type { EVENT_CATALOG(EVENT_ENUM) EVENT_TYPE_END };
