/* SPDX-License-Identifier: Apache-2.0 */
/* The shadow: what it holds does not depend on how many events come at once nor on how little memory it has.
 * That it equals what Redis holds after the real script is shown on real servers
 * (tests/projector/verify_test.c). */
#include "verify/shadow.h"

#include "common/base/testing.h"
#include "events/codec.h"
#include "events/ids.h"

enum { CAMPAIGNS = 3, EVENTS = 4000, USED = 600, BACK = 1500, MUCH = 64 * 1024 * 1024, LITTLE = 256 * 1024 };

static const struct model model = {.generation = 1, .slice = 3};

struct log {
    struct event events[EVENTS];
    struct buf data[EVENTS], users[EVENTS], coupons[EVENTS];
};
static struct log history;

static void add(size_t at, struct event event)
{
    static const char *const ids[CAMPAIGNS] = {"alpha", "beta", "gamma"};
    event.slice = model.slice;
    event.position = (int64_t)at + 1;
    event.version = 1;
    event.campaign_id = span_of(ids[at % CAMPAIGNS]);
    event.recorded_at_us = 1800000000000000 + (int64_t)at * 1000;
    buf_init(&history.data[at], EVENT_DATA_MAX);
    event_encode(&event, &history.data[at]);
    event.data = buf_span(&history.data[at]);
    history.events[at] = event;
}

/* The coupon that was issued BACK events before is redeemed, or given back by the order that has it. */
static void add_use(size_t at)
{
    size_t issued = at - BACK;
    struct event event = {.type = EVENT_CouponRedeemed, .user_id = history.events[issued].user_id};
    buf_init(&history.coupons[at], COUPON_ID_MAX);
    coupon_id_write(&history.coupons[at], (struct position){model.slice, (int64_t)issued + 1});
    event.coupon_id = buf_span(&history.coupons[at]);
    event.coupon_redeemed = (struct coupon_redeemed){SPAN("order-1"), 1000, 100, 0};
    add(at, event);
}

/* Three campaigns, then their coupons in turns; the last USED events use coupons. */
static int make_history(void **state)
{
    (void)state;
    for (size_t i = 0; i < CAMPAIGNS; i++)
        add(i, (struct event){.type = EVENT_CampaignCreated,
                              .campaign_created = {.name = SPAN("x"),
                                                   .currency = SPAN("EUR"),
                                                   .quantity = EVENTS,
                                                   .released = EVENTS,
                                                   .per_user_limit = 1}});
    _Static_assert(BACK % CAMPAIGNS == 0 && BACK > USED, "an issued coupon of the same campaign");
    for (size_t i = CAMPAIGNS; i < EVENTS - USED; i++) {
        buf_init(&history.users[i], USER_ID_MAX);
        buf_printf(&history.users[i], "user-%zu", i);
        add(i, (struct event){.type = EVENT_CouponIssued,
                              .user_id = buf_span(&history.users[i]),
                              .coupon_issued = {.sequence = (int64_t)(i / CAMPAIGNS), .nth = 1}});
    }
    for (size_t i = EVENTS - USED; i < EVENTS; i++)
        add_use(i);
    return 0;
}

static int drop_history(void **state)
{
    (void)state;
    for (size_t i = 0; i < EVENTS; i++) {
        buf_deinit(&history.data[i]);
        buf_deinit(&history.users[i]);
        buf_deinit(&history.coupons[i]);
    }
    return 0;
}

static void fold(struct shadow *shadow, size_t batch)
{
    for (size_t i = 0; i < EVENTS; i++) {
        assert_true(shadow_add(shadow, &history.events[i]));
        if ((i + 1) % batch == 0)
            shadow_apply(shadow);
    }
    shadow_apply(shadow);
    assert_int_equal(shadow->position, EVENTS);
}

static void assert_same_fields(const struct shadow_key *a, const struct shadow_key *b)
{
    assert_int_equal(shadow_fields(a), shadow_fields(b));
    for (size_t at = 0; at < a->len;) {
        uint32_t lengths[2]; /* of name and value, before each field */
        memcpy(lengths, a->bytes + at, sizeof lengths);
        struct span name = {a->bytes + at + sizeof lengths, lengths[0]};
        assert_true(span_equal(shadow_field(a, name), shadow_field(b, name)));
        at += sizeof lengths + lengths[0] + lengths[1];
    }
}

static void assert_same_key(const struct shadow_key *a, const struct shadow_key *b)
{
    assert_non_null(b);
    assert_int_equal(a->type, b->type);
    if (a->type == SHADOW_HASH) {
        assert_same_fields(a, b);
    } else if (a->type == SHADOW_STRING) {
        assert_true(span_equal((struct span){a->bytes, a->len}, (struct span){b->bytes, b->len}));
    } else {
        assert_int_equal(a->members.count, b->members.count);
        for (size_t i = 0; i < a->members.capacity; i++) {
            const struct map_entry *entry = &a->members.entries[i];
            const struct shadow_member *other = entry->key.ptr ? map_get(&b->members, entry->key) : NULL;
            if (entry->key.ptr &&
                (!other || other->score != ((const struct shadow_member *)entry->value)->score))
                fail_msg("a member differs");
        }
    }
}

/* Returns how many keys it holds. */
static size_t assert_all_in(const struct shadow *part, const struct shadow *whole)
{
    size_t count = 0;
    for (size_t i = 0; i < part->keys_count; i++) {
        if (!part->keys[i])
            continue;
        count++;
        assert_true(shadow_has(part, part->keys[i]->name));
        assert_same_key(part->keys[i], shadow_get(whole, part->keys[i]->name));
    }
    return count;
}

static void any_batches_make_the_same(void **state)
{
    static const size_t batches[] = {1, 7, 1000};
    struct shadow whole, other;
    (void)state;
    shadow_init(&whole, MUCH);
    shadow_init(&other, MUCH);
    shadow_begin(&whole, model);
    fold(&whole, 100);
    for (size_t i = 0; i < COUNT_OF(batches); i++) {
        shadow_begin(&other, model);
        fold(&other, batches[i]);
        assert_int_equal(assert_all_in(&other, &whole), assert_all_in(&whole, &other));
        assert_false(shadow_again(&other));
    }
    shadow_deinit(&other);
    shadow_deinit(&whole);
}

/* Bulk keys are each in one part; the few others in all. */
static void little_memory_makes_parts(void **state)
{
    struct shadow whole, part;
    size_t bulk = 0, in_parts = 0, parts = 0;
    (void)state;
    shadow_init(&whole, MUCH);
    shadow_init(&part, LITTLE);
    shadow_begin(&whole, model);
    fold(&whole, 1000);
    for (size_t i = 0; i < whole.keys_count; i++)
        bulk += whole.keys[i]->bulk;
    assert_true(bulk > 1000 && bulk < whole.keys_count);
    shadow_begin(&part, model);
    do {
        fold(&part, 1000);
        assert_true(part.bytes <= LITTLE);
        in_parts += assert_all_in(&part, &whole) - (whole.keys_count - bulk);
        parts++;
    } while (shadow_again(&part));
    assert_true(parts > 2);
    assert_int_equal(in_parts, bulk);
    shadow_deinit(&part);
    shadow_deinit(&whole);
}

/* Chunks that were over when more came into them may lack what they had; the others may not. */
static void what_is_over_may_be_gone(void **state)
{
    static const int64_t instants[] = {0, INT64_MAX};
    struct shadow shadow;
    (void)state;
    shadow_init(&shadow, MUCH);
    for (size_t i = 0; i < COUNT_OF(instants); i++) {
        size_t over = 0, lacking = 0, expiring = 0;
        shadow.now_s = instants[i];
        shadow_begin(&shadow, model);
        fold(&shadow, 100);
        for (size_t at = 0; at < shadow.keys_count; at++) {
            const struct shadow_key *key = shadow.keys[at];
            if (!key)
                continue;
            expiring += key->expires_at_s != 0;
            over += shadow_is_over(&shadow, key);
            lacking += key->may_lack;
        }
        assert_true(expiring > 100);
        assert_int_equal(over, instants[i] ? expiring : 0);
        assert_int_equal(lacking > 0, instants[i] > 0);
    }
    shadow_deinit(&shadow);
}

static void what_no_program_writes_is_refused(void **state)
{
    struct shadow shadow;
    struct event event = history.events[0];
    (void)state;
    shadow_init(&shadow, MUCH);
    shadow_begin(&shadow, model);
    event.campaign_id.len = 0;
    assert_false(shadow_add(&shadow, &event));
    assert_null(shadow_get(&shadow, SPAN("fc:1:{3}:cs")));
    shadow_deinit(&shadow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_batches_make_the_same),
        cmocka_unit_test(little_memory_makes_parts),
        cmocka_unit_test(what_is_over_may_be_gone),
        cmocka_unit_test(what_no_program_writes_is_refused),
    };
    return cmocka_run_group_tests(tests, make_history, drop_history);
}
