/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of what happens to a coupon after its issue: every command in every situation against the rules
 * written down once more, each accepted event folded, and random histories that must keep I6 and come out
 * the same twice. */
#include "command-service/core/decide.h"

#include "common/base/clock.h"
#include "common/base/testing.h"
#include "events/problems.h"

enum { ISSUED_AT = 10, LAST_AT = 20, MINIMUM = 1000, PERCENT = 15, CAP = 200 };
#define UNTIL   (INT64_C(500) * US_PER_S)
#define EXPIRES (INT64_C(900) * US_PER_S)

static const enum command_kind kinds[] = {COMMAND_RESERVE, COMMAND_REDEEM, COMMAND_FREE,
                                          COMMAND_RESTORE, COMMAND_REVOKE, COMMAND_LAPSE};
static const enum coupon_state states[] = {COUPON_ISSUED, COUPON_RESERVED, COUPON_REDEEMED, COUPON_REVOKED};
/* With the shortest life a reservation ends one before, at, and one after the coupon's own end. */
static const int64_t instants[] = {1,
                                   UNTIL - 1,
                                   UNTIL,
                                   UNTIL + 1,
                                   EXPIRES - US_PER_S - 1,
                                   EXPIRES - US_PER_S,
                                   EXPIRES - US_PER_S + 1,
                                   EXPIRES - 1,
                                   EXPIRES,
                                   EXPIRES + 1};
static const int64_t amounts[] = {0, MINIMUM - 1, MINIMUM, MINIMUM + 1, MONEY_MAX};
static const int64_t lives_s[] = {1, 100, 7 * 86400};
static const char *const users[] = {"ann", "bob"}; /* the first holds it */
static const char *const orders[] = {"o1", "o2"};  /* the first has it, where one has */

struct situation {
    struct campaign campaign;
    struct coupon coupon;
    struct command command;
    int64_t now_us;
    bool holder, same_order;
};

static size_t pick(size_t *index, size_t count)
{
    size_t picked = *index % count;
    *index /= count;
    return picked;
}

static struct coupon coupon_in(enum coupon_state state, int64_t expires_at_us)
{
    bool used = state == COUPON_RESERVED || state == COUPON_REDEEMED;
    return (struct coupon){
        .at = {3, ISSUED_AT},
        .campaign_id = SPAN("spring"),
        .user_id = span_of(users[0]),
        .sequence = 1,
        .nth = 1,
        .expires_at_us = expires_at_us,
        .state = state,
        .last = state == COUPON_ISSUED ? ISSUED_AT : LAST_AT,
        .order_id = used ? span_of(orders[0]) : (struct span){NULL, 0},
        .order_amount = used ? 7000 : 0,
        .discount_amount = used ? 70 : 0,
        .reserved_until_us = state == COUPON_RESERVED ? UNTIL : 0,
        .reason = state == COUPON_REVOKED ? SPAN("fraud") : (struct span){NULL, 0},
    };
}

static struct campaign campaign_of(void)
{
    return (struct campaign){
        .id = SPAN("spring"),
        .first = 1,
        .position = LAST_AT,
        .released = 5,
        .issued = 3,
        .state = CAMPAIGN_CLOSED, /* that issuing has ended takes nothing away from who has a coupon */
        .definition = {.quantity = 5,
                       .per_user_limit = 1,
                       .discount_value = PERCENT,
                       .discount_max = CAP,
                       .min_order_amount = MINIMUM},
    };
}

/* What is given to all commands, also to those that should not look at it. */
static struct command command_of(enum command_kind kind)
{
    return (struct command){
        .kind = kind,
        .coupon = {.at = {3, ISSUED_AT}},
        .reason = SPAN("stolen"),
        .actor = SPAN("shop"),
        .trace = SPAN("t"),
    };
}

static struct situation situation_at(size_t index)
{
    struct situation is = {.campaign = campaign_of(),
                           .command = command_of(kinds[pick(&index, COUNT_OF(kinds))])};
    enum coupon_state state = states[pick(&index, COUNT_OF(states))];
    size_t user = pick(&index, COUNT_OF(users)), order = pick(&index, COUNT_OF(orders));
    is.coupon = coupon_in(state, pick(&index, 2) ? EXPIRES : 0);
    is.campaign.reserved = state == COUPON_RESERVED;
    is.campaign.redeemed = state == COUPON_REDEEMED;
    is.now_us = instants[pick(&index, COUNT_OF(instants))];
    is.holder = user == 0;
    is.same_order = order == 0;
    is.command.coupon.user_id = span_of(users[user]);
    is.command.coupon.order_id = span_of(orders[order]);
    is.command.coupon.order_amount = amounts[pick(&index, COUNT_OF(amounts))];
    is.command.coupon.ttl_s = lives_s[pick(&index, COUNT_OF(lives_s))];
    assert_int_equal(index, 0);
    return is;
}

/* --- the rules once more --- */

static bool held_by_another(const struct situation *is)
{
    return is->coupon.state == COUPON_RESERVED && is->now_us < UNTIL && !is->same_order;
}

/* From the weakest reason to the strongest: the last that applies is given. */
static const struct problem *why_not_use(const struct situation *is)
{
    const struct problem *why = NULL;
    if (is->command.coupon.order_amount < MINIMUM)
        why = &problem_below_minimum;
    if (held_by_another(is))
        why = &problem_reserved;
    if (is->coupon.expires_at_us && is->now_us >= EXPIRES)
        why = &problem_expired;
    if (is->coupon.state == COUPON_REDEEMED)
        why = &problem_already_redeemed;
    if (is->coupon.state == COUPON_REVOKED)
        why = &problem_revoked;
    if (!is->holder)
        why = &problem_not_holder;
    return why;
}

struct expected {
    const struct problem *refusal;
    enum event_type event; /* 0: none */
    enum coupon_state after;
};

static struct expected expect_use(const struct situation *is, enum event_type event, enum coupon_state after)
{
    const struct problem *why = why_not_use(is);
    return why ? (struct expected){.refusal = why} : (struct expected){NULL, event, after};
}

static struct expected expectation(const struct situation *is)
{
    const struct expected unchanged = {NULL, 0, is->coupon.state};
    switch (is->command.kind) {
    case COMMAND_RESERVE:
        return expect_use(is, EVENT_CouponReserved, COUPON_RESERVED);
    case COMMAND_REDEEM:
        return expect_use(is, EVENT_CouponRedeemed, COUPON_REDEEMED);
    case COMMAND_FREE:
        if (is->coupon.state == COUPON_REVOKED)
            return (struct expected){.refusal = &problem_revoked};
        if (is->coupon.state == COUPON_REDEEMED)
            return (struct expected){.refusal = &problem_already_redeemed};
        if (held_by_another(is))
            return (struct expected){.refusal = &problem_reserved};
        return is->coupon.state == COUPON_RESERVED && is->same_order
                   ? (struct expected){NULL, EVENT_ReservationReleased, COUPON_ISSUED}
                   : unchanged;
    case COMMAND_RESTORE:
        if (is->coupon.state == COUPON_REVOKED)
            return (struct expected){.refusal = &problem_revoked};
        return is->coupon.state == COUPON_REDEEMED && is->same_order
                   ? (struct expected){NULL, EVENT_CouponRestored, COUPON_ISSUED}
                   : (struct expected){.refusal = &problem_not_redeemed};
    case COMMAND_REVOKE:
        if (is->coupon.state == COUPON_REDEEMED)
            return (struct expected){.refusal = &problem_already_redeemed};
        return is->coupon.state == COUPON_REVOKED
                   ? unchanged
                   : (struct expected){NULL, EVENT_CouponRevoked, COUPON_REVOKED};
    default: /* LAPSE */
        return is->coupon.state == COUPON_RESERVED && is->now_us >= UNTIL
                   ? (struct expected){NULL, EVENT_ReservationExpired, COUPON_ISSUED}
                   : unchanged;
    }
}

/* 15 % rounded down, at most CAP, and never more than the order. */
static int64_t discount_of(int64_t amount)
{
    int64_t off = amount / 100 * PERCENT + amount % 100 * PERCENT / 100;
    if (off > CAP)
        off = CAP;
    return off > amount ? amount : off;
}

/* --- what is decided --- */

static void decide_in(const struct situation *is, struct decision *ret)
{
    struct subject subject = {.campaign = &is->campaign, .coupon = &is->coupon};
    decide(&is->command, &subject, is->now_us, ret);
}

static void expect_payload(const struct situation *is, const struct event *event)
{
    int64_t amount = is->command.coupon.order_amount,
            until_us = is->now_us + is->command.coupon.ttl_s * US_PER_S;
    bool reserved = is->coupon.state == COUPON_RESERVED;
    if (is->coupon.expires_at_us && until_us > EXPIRES)
        until_us = EXPIRES;
    switch (event->type) {
    case EVENT_CouponReserved:
        assert_true(span_equal(event->coupon_reserved.order_id, is->command.coupon.order_id));
        assert_int_equal(event->coupon_reserved.order_amount, amount);
        assert_int_equal(event->coupon_reserved.discount_amount, discount_of(amount));
        assert_true(event->coupon_reserved.reserved_until_us == until_us && until_us > is->now_us);
        assert_int_equal(event->coupon_reserved.renewed, reserved);
        break;
    case EVENT_CouponRedeemed:
        assert_true(span_equal(event->coupon_redeemed.order_id, is->command.coupon.order_id));
        assert_int_equal(event->coupon_redeemed.order_amount, amount);
        assert_int_equal(event->coupon_redeemed.discount_amount, discount_of(amount));
        assert_int_equal(event->coupon_redeemed.was_reserved, reserved);
        break;
    case EVENT_ReservationExpired:
        assert_true(event->reservation_expired.due_at_us == UNTIL);
        assert_span(event->reservation_expired.order_id, orders[0]);
        break;
    case EVENT_CouponRevoked:
        assert_span(event->coupon_revoked.reason, "stolen");
        assert_span(event->coupon_revoked.actor, "shop");
        assert_int_equal(event->coupon_revoked.was_reserved, reserved);
        break;
    default: /* of the order that had it */
        assert_span(event->reservation_released.order_id, orders[0]);
        assert_span(event->coupon_restored.order_id, orders[0]);
    }
}

/* The event is of this coupon, and after it coupon and campaign agree (I6). */
static void expect_event(const struct situation *is, const struct decision *decision,
                         const struct expected *expected)
{
    struct event event = decision->event;
    struct coupon coupon = is->coupon;
    struct campaign campaign = is->campaign;
    assert_int_equal(event.type, expected->event);
    assert_int_equal(event.version, event_describe((int)event.type)->version);
    assert_span(event.campaign_id, "spring");
    assert_span(event.user_id, users[0]); /* the holder, whoever asked */
    assert_span(event.trace, "t");
    expect_payload(is, &event);
    event.position = LAST_AT + 1;
    event.recorded_at_us = is->now_us;
    coupon_apply(&coupon, &event);
    campaign_apply(&campaign, &event);
    assert_int_equal(coupon.state, expected->after);
    assert_int_equal(campaign.reserved, expected->after == COUPON_RESERVED);
    assert_int_equal(campaign.redeemed, expected->after == COUPON_REDEEMED);
    assert_int_equal(campaign.issued, is->campaign.issued); /* nothing gives stock back */
    assert_int_equal(campaign.released, is->campaign.released);
}

static void every_command_in_every_situation(void **)
{
    enum { SPACE = 6 * 4 * 2 * 2 * 2 * 10 * 5 * 3 };
    size_t refused = 0, changed = 0;
    for (size_t index = 0; index < SPACE; index++) {
        struct situation is = situation_at(index);
        struct expected expected = expectation(&is);
        struct decision decision;
        decide_in(&is, &decision);
        if (decision.refusal != expected.refusal)
            fail_msg("%s, state %d at %lld s, order %s: %s, not %s", command_name(is.command.kind),
                     is.coupon.state, (long long)(is.now_us / US_PER_S), is.same_order ? "same" : "other",
                     decision.refusal ? decision.refusal->code : "accepted",
                     expected.refusal ? expected.refusal->code : "accepted");
        assert_int_equal(decision.has_event, expected.event != 0);
        if (decision.has_event)
            expect_event(&is, &decision, &expected);
        refused += decision.refusal != NULL;
        changed += decision.has_event;
    }
    assert_true(refused > SPACE / 4 && changed > SPACE / 20); /* neither everything nor nothing */
}

static void a_coupon_that_is_not_there_is_unknown(void **)
{
    struct campaign campaign = campaign_of();
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct command command = command_of(kinds[i]);
        struct decision decision;
        decide(&command, &(struct subject){.campaign = &campaign}, 1, &decision);
        assert_ptr_equal(decision.refusal, &problem_unknown_coupon);
        assert_false(decision.has_event);
    }
}

static void discounts_are_rounded_down_and_capped(void **)
{
    static const struct {
        int64_t type, value, max, amount, off;
    } cases[] = {
        {0, 15, 0, 99, 14},
        {0, 15, 0, 100, 15},
        {0, 33, 0, 10, 3},
        {0, 100, 0, 777, 777},
        {0, 1, 0, 99, 0},
        {0, 50, 20, 39, 19},
        {0, 50, 20, 40, 20},
        {0, 50, 20, 41, 20},
        {1, 500, 0, 500, 500},
        {1, 500, 0, 499, 499},
        {1, 500, 0, 501, 500},
        {1, 500, 0, 0, 0},
        {0, 99, 0, MONEY_MAX, MONEY_MAX / 100 * 99},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct situation is = {.campaign = campaign_of(), .coupon = coupon_in(COUPON_ISSUED, 0), .now_us = 1};
        struct decision decision;
        is.campaign.definition.discount_type = cases[i].type;
        is.campaign.definition.discount_value = cases[i].value;
        is.campaign.definition.discount_max = cases[i].max;
        is.campaign.definition.min_order_amount = 0;
        is.command = command_of(COMMAND_REDEEM);
        is.command.coupon.user_id = span_of(users[0]);
        is.command.coupon.order_id = span_of(orders[0]);
        is.command.coupon.order_amount = cases[i].amount;
        decide_in(&is, &decision);
        assert_ptr_equal(decision.refusal, cases[i].off == 0 ? &problem_no_discount : NULL);
        if (cases[i].off)
            assert_int_equal(decision.event.coupon_redeemed.discount_amount, cases[i].off);
    }
}

/* --- random histories --- */

enum { COUPONS = 8, STEPS = 100000, REVOKED_ONE_IN = 2000 };

/* Who has a coupon by the test's own book, which knows nothing of the fold. */
struct entry {
    const char *used_by, *held_by; /* orders */
    int64_t held_until_us;
    bool revoked;
};

struct history {
    struct campaign campaign;
    struct coupon coupons[COUPONS];
    struct entry book[COUPONS];
    int64_t now_us, position;
    uint64_t hash, events[EVENT_TYPE_END];
};

static const char *order_named(struct span id)
{
    for (size_t i = 0; i < COUNT_OF(orders); i++)
        if (span_is(id, orders[i]))
            return orders[i];
    fail();
    return NULL;
}

/* What each event may follow, and what it does to the book (I6). */
static void book(struct history *history, struct entry *entry, const struct event *event)
{
    bool held = entry->held_by && history->now_us < entry->held_until_us;
    assert_false(entry->revoked); /* for good */
    switch (event->type) {
    case EVENT_CouponReserved:
        assert_null(entry->used_by);
        assert_true(!held || entry->held_by == order_named(event->coupon_reserved.order_id));
        entry->held_by = order_named(event->coupon_reserved.order_id);
        entry->held_until_us = event->coupon_reserved.reserved_until_us;
        return;
    case EVENT_CouponRedeemed:
        assert_null(entry->used_by); /* once */
        assert_true(!held || entry->held_by == order_named(event->coupon_redeemed.order_id));
        entry->used_by = order_named(event->coupon_redeemed.order_id);
        break;
    case EVENT_CouponRestored:
        assert_ptr_equal(entry->used_by, order_named(event->coupon_restored.order_id));
        entry->used_by = NULL;
        break;
    case EVENT_ReservationReleased:
        assert_ptr_equal(entry->held_by, order_named(event->reservation_released.order_id));
        break;
    case EVENT_ReservationExpired:
        assert_true(entry->held_by && !held);
        break;
    default:
        assert_int_equal(event->type, EVENT_CouponRevoked);
        assert_null(entry->used_by);
        entry->revoked = true;
    }
    entry->held_by = NULL;
}

static void note(struct history *history, const struct event *event)
{
    struct buf bytes;
    buf_init(&bytes, EVENT_DATA_MAX);
    buf_append_i64(&bytes, event->type);
    event_encode(event, &bytes);
    history->hash = (history->hash ^ span_hash(buf_span(&bytes))) * 1099511628211u;
    history->events[event->type]++;
    buf_deinit(&bytes);
}

static void expect_counts(const struct history *history)
{
    int64_t reserved = 0, redeemed = 0;
    for (size_t i = 0; i < COUPONS; i++) {
        reserved += history->book[i].held_by != NULL;
        redeemed += history->book[i].used_by != NULL;
    }
    assert_int_equal(history->campaign.reserved, reserved);
    assert_int_equal(history->campaign.redeemed, redeemed);
}

static void step(struct history *history, uint64_t *chance)
{
    size_t nth = random_next(chance) % COUPONS;
    struct coupon *coupon = &history->coupons[nth];
    struct command command = command_of(kinds[random_next(chance) % COUNT_OF(kinds)]);
    struct decision decision;
    if (command.kind == COMMAND_REVOKE && random_next(chance) % REVOKED_ONE_IN != 0)
        command.kind = COMMAND_LAPSE;
    command.coupon.user_id = random_next(chance) % 8 ? coupon->user_id : SPAN("eve");
    command.coupon.order_id = span_of(orders[random_next(chance) % COUNT_OF(orders)]);
    command.coupon.order_amount = (int64_t)(random_next(chance) % (3 * MINIMUM));
    command.coupon.ttl_s = 1 + (int64_t)(random_next(chance) % 10);
    history->now_us += (int64_t)(random_next(chance) % US_PER_S);
    decide(&command, &(struct subject){.campaign = &history->campaign, .coupon = coupon}, history->now_us,
           &decision);
    if (!decision.has_event)
        return;
    bool uses = decision.event.type == EVENT_CouponRedeemed || decision.event.type == EVENT_CouponReserved;
    if (uses) { /* only by its holder, only while valid */
        assert_true(span_equal(command.coupon.user_id, coupon->user_id));
        assert_true(history->now_us < coupon->expires_at_us && command.coupon.order_amount >= MINIMUM);
    }
    decision.event.position = ++history->position;
    decision.event.recorded_at_us = history->now_us;
    book(history, &history->book[nth], &decision.event);
    coupon_apply(coupon, &decision.event);
    campaign_apply(&history->campaign, &decision.event);
    note(history, &decision.event);
    expect_counts(history);
}

static void live(uint64_t seed, struct history *ret)
{
    uint64_t chance = seed;
    *ret = (struct history){.campaign = campaign_of(), .position = LAST_AT};
    ret->campaign.definition.quantity = ret->campaign.released = ret->campaign.issued = COUPONS;
    for (size_t i = 0; i < COUPONS; i++) {
        ret->coupons[i] = coupon_in(COUPON_ISSUED, (INT64_C(5000) + (int64_t)i * 10000) * US_PER_S);
        ret->coupons[i].at.position = (int64_t)i + 2;
        ret->coupons[i].user_id = span_of(users[i % COUNT_OF(users)]);
    }
    for (size_t i = 0; i < STEPS; i++)
        step(ret, &chance);
}

static void random_histories_keep_i6(void **)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        static struct history once, again;
        live(seed, &once);
        live(seed, &again);
        assert_true(once.hash == again.hash && once.position == again.position); /* no clock, no chance */
        for (int type = EVENT_CouponReserved; type <= EVENT_CouponRevoked; type++)
            assert_true(once.events[type] > (type == EVENT_CouponRevoked ? 0 : 200)); /* it went everywhere */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_in_every_situation),
        cmocka_unit_test(a_coupon_that_is_not_there_is_unknown),
        cmocka_unit_test(discounts_are_rounded_down_and_capped),
        cmocka_unit_test(random_histories_keep_i6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
