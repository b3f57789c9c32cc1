/* SPDX-License-Identifier: Apache-2.0 */
/* The hash chain (I12): one frozen value, and that nothing about an event can be changed, moved or left out
 * without changing the chain. Rows of the log are tested in tests/, where there is a PostgreSQL. */
#include "events/event_log.h"

#include "common/base/testing.h"

static struct event example(void)
{
    return (struct event){
        .slice = 3,
        .position = 128,
        .type = EVENT_CouponIssued,
        .version = 1,
        .campaign_id = SPAN("spring"),
        .user_id = SPAN("u-1"),
        .coupon_id = SPAN("c3-128"),
        .recorded_at_us = 1790000000123456,
        .trace = SPAN("0123456789abcdef01234567"),
        .data = SPAN("\x81\x01\x4D"),
    };
}

struct link {
    uint8_t bytes[32];
};

static struct link chain_of(const struct event *events, size_t count, const struct link *before)
{
    static struct log_chain chain; /* gcc 12 does not align its stand-in stack frames as the hasher needs */
    struct link after;
    log_chain_begin(&chain, before->bytes);
    for (size_t i = 0; i < count; i++)
        log_chain_add(&chain, &events[i]);
    log_chain_end(&chain, after.bytes);
    return after;
}

static struct link chain_of_one(const struct event *event)
{
    const struct link before = {{0}};
    return chain_of(event, 1, &before);
}

static void expect_other(const struct event *changed, const char *what)
{
    struct event original = example();
    struct link before = chain_of_one(&original), after = chain_of_one(changed);
    if (memcmp(&before, &after, sizeof before) == 0)
        fail_msg("the chain does not notice: %s", what);
}

/* Chains that are stored are checked with this code for ever. */
static void chain_is_frozen(void **)
{
    struct event event = example();
    struct link link = chain_of_one(&event);
    struct buf hex;
    buf_init(&hex, 64);
    hex_encode(&hex, link.bytes, sizeof link.bytes);
    assert_string_equal(hex.data, "fae71e16ce0fc6f8f4e65e0db9043b1a274d4f4901abec72592a63df63b77b5c");
    event.position = 129;
    event.user_id = event.coupon_id = event.trace = (struct span){NULL, 0};
    link = chain_of(&event, 1, &link);
    buf_clear(&hex);
    hex_encode(&hex, link.bytes, sizeof link.bytes);
    assert_string_equal(hex.data, "2627d5a67f1b1ebe1e5671179d1a043647859f3e7366a274c8148e9909484832");
    buf_deinit(&hex);
}

#define CHANGED(field, value)             \
    do {                                  \
        struct event changed = example(); \
        changed.field = (value);          \
        expect_other(&changed, #field);   \
    } while (0)

static void notices_every_field(void **)
{
    CHANGED(slice, 4);
    CHANGED(position, 129);
    CHANGED(type, EVENT_CampaignClosed);
    CHANGED(version, 2);
    CHANGED(campaign_id, SPAN("sprinG"));
    CHANGED(user_id, SPAN("u-2"));
    CHANGED(coupon_id, SPAN("c3-129"));
    CHANGED(recorded_at_us, 1790000000123457);
    CHANGED(trace, SPAN("0123456789abcdef01234568"));
    CHANGED(data, SPAN("\x81\x01\x4E"));
    CHANGED(recorded_at_us, 1790000000123456 + (INT64_C(1) << 56));
    CHANGED(position, 128 + (INT64_C(1) << 40));
    CHANGED(slice, 3 + 256);
    CHANGED(version, 1 + 256);
}

/* Two numbers that trade values. */
static void notices_swapped_fields(void **)
{
    struct event changed = example();
    changed.slice = 1;
    changed.version = 3;
    expect_other(&changed, "slice and version swapped");
    changed = example();
    changed.user_id = SPAN("c3-128");
    changed.coupon_id = SPAN("u-1");
    expect_other(&changed, "user and coupon swapped");
    changed = example();
    changed.campaign_id = SPAN("u-1");
    changed.user_id = SPAN("spring");
    expect_other(&changed, "campaign and user swapped");
}

static void absent_is_not_empty(void **)
{
    for (size_t field = 0; field < 3; field++) {
        struct event absent = example(), empty = example();
        struct span *of_absent[] = {&absent.user_id, &absent.coupon_id, &absent.trace};
        struct span *of_empty[] = {&empty.user_id, &empty.coupon_id, &empty.trace};
        *of_absent[field] = (struct span){NULL, 0};
        *of_empty[field] = SPAN("");
        struct link a = chain_of_one(&absent), b = chain_of_one(&empty);
        assert_memory_not_equal(&a, &b, sizeof a);
        expect_other(&absent, "absent");
        expect_other(&empty, "empty");
    }
}

/* The last byte of each text moves to the front of the next one: the concatenation stays the same. */
static void notices_a_byte_that_moves(void **)
{
    for (size_t field = 0; field + 1 < 5; field++) {
        struct event changed = example();
        struct span *texts[] = {&changed.campaign_id, &changed.user_id, &changed.coupon_id, &changed.trace,
                                &changed.data};
        char longer[64];
        struct span *from = texts[field], *to = texts[field + 1];
        longer[0] = from->ptr[from->len - 1];
        memcpy(longer + 1, to->ptr, to->len);
        from->len--;
        *to = (struct span){longer, to->len + 1};
        expect_other(&changed, "a byte in the neighbouring field");
    }
}

static void notices_what_is_moved_or_missing(void **)
{
    const struct link zero = {{0}}, other = {{[31] = 1}};
    struct event events[3] = {example(), example(), example()};
    events[1].position = 129;
    events[2].position = 130;
    struct event swapped[3] = {events[1], events[0], events[2]};
    struct link all = chain_of(events, 3, &zero), moved = chain_of(swapped, 3, &zero);
    struct link missing = chain_of(events, 2, &zero), elsewhere = chain_of(events, 3, &other);
    assert_memory_not_equal(&all, &moved, sizeof all);
    assert_memory_not_equal(&all, &missing, sizeof all);
    assert_memory_not_equal(&all, &elsewhere, sizeof all);
    struct link first = chain_of(events, 1, &zero), two_batches = chain_of(events + 1, 2, &first);
    assert_memory_not_equal(&all, &two_batches, sizeof all); /* where batches end is part of history */
    struct link again = chain_of(events, 3, &zero);
    assert_memory_equal(&all, &again, sizeof all);
}

static void add(void *event)
{
    struct link link = chain_of_one(event);
    (void)link;
}

static void only_places_and_bytes_are_chained(void **)
{
    struct event event = example();
    assert_false(dies(add, &event));
    event.position = 0;
    assert_true(dies(add, &event));
    event = example();
    event.data = (struct span){NULL, 0};
    assert_true(dies(add, &event));
}

/* LOG_READ_SQL's parameters in the order it has them. */
static void reads_by_slice_position_and_limit(void **)
{
    struct pg_args args;
    pg_args_init(&args);
    event_log_read_args(&args, 7, 1000, 50);
    assert_int_equal(args.count, 3);
    assert_int_equal(args.values[0].length, 2);
    assert_memory_equal(args.data.data + args.values[0].offset, "\0\7", 2);
    assert_memory_equal(args.data.data + args.values[1].offset, "\0\0\0\0\0\0\x03\xE8", 8);
    assert_memory_equal(args.data.data + args.values[2].offset, "\0\0\0\0\0\0\0\x32", 8);
    pg_args_deinit(&args);
}

int main(void)
{
    crypto_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chain_is_frozen),
        cmocka_unit_test(notices_every_field),
        cmocka_unit_test(notices_swapped_fields),
        cmocka_unit_test(absent_is_not_empty),
        cmocka_unit_test(notices_a_byte_that_moves),
        cmocka_unit_test(notices_what_is_moved_or_missing),
        cmocka_unit_test(only_places_and_bytes_are_chained),
        cmocka_unit_test(reads_by_slice_position_and_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
