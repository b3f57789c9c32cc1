/* SPDX-License-Identifier: Apache-2.0 */
/* The records of a coupon in the read models: their bytes are known, they come back, each part has its
 * bounds, and what is not such a record is refused. */
#include "events/codec.h"

#include "events/codec_testing.h"
#include "events/coupon.h"

static struct event issued_event(void)
{
    return (struct event){
        .slice = 3,
        .position = 1234,
        .type = EVENT_CouponIssued,
        .version = 1,
        .campaign_id = SPAN("black-friday"),
        .user_id = SPAN("u-1"),
        .recorded_at_us = 1790000000123456,
        .coupon_issued = {77, 1, 1795000000000000, SPAN("FRI")},
    };
}

/* On a copy without anything behind it, so that a sanitizer sees reads past the end. */
static bool issue_good(struct span bytes)
{
    struct event event;
    char *exact = mem_alloc(bytes.len);
    if (bytes.len)
        memcpy(exact, bytes.ptr, bytes.len);
    bool good = coupon_issue_decode((struct span){exact, bytes.len}, SPAN("u"), &event);
    mem_free(exact);
    return good;
}

static bool state_good(struct span bytes)
{
    struct coupon coupon = {0};
    char *exact = mem_alloc(bytes.len);
    if (bytes.len)
        memcpy(exact, bytes.ptr, bytes.len);
    bool good = coupon_state_decode((struct span){exact, bytes.len}, SPAN(""), &coupon);
    mem_free(exact);
    return good;
}

static void issue_records_come_back(void **state)
{
    (void)state;
    struct event event = issued_event(), read;
    struct buf bytes;
    buf_init(&bytes, EVENT_DATA_MAX);
    coupon_issue_encode(&event, &bytes);
    assert_hex(&bytes, "96ac626c61636b2d6672696461794d01cf00065bfeda27c240cf0006608b015f3000a3465249");
    assert_true(coupon_issue_decode(buf_span(&bytes), event.user_id, &read));
    assert_int_equal(read.type, EVENT_CouponIssued);
    assert_int_equal(read.version, 1);
    assert_true(span_equal(read.campaign_id, event.campaign_id));
    assert_true(span_equal(read.user_id, event.user_id));
    assert_true(read.recorded_at_us == event.recorded_at_us);
    assert_payload_equal(&read, &event);
    assert_null(read.trace.ptr);
    assert_null(read.data.ptr);
    char user[USER_ID_MAX + 1] = {0};
    assert_true(coupon_issue_decode(buf_span(&bytes), (struct span){user, USER_ID_MAX}, &read));
    assert_false(coupon_issue_decode(buf_span(&bytes), (struct span){user, USER_ID_MAX + 1}, &read));
    assert_false(coupon_issue_decode(buf_span(&bytes), SPAN(""), &read));
    assert_false(coupon_issue_decode(buf_span(&bytes), (struct span){NULL, 0}, &read));
    for (size_t len = 0; len < bytes.len; len++)
        assert_false(issue_good((struct span){bytes.data, len}));
    buf_append_char(&bytes, 0);
    assert_false(issue_good(buf_span(&bytes)));
    buf_deinit(&bytes);
}

/* A record of six whose field number `at` is as big as `size` says; the others are small. */
static void put_record(struct buf *out, const char *texts, size_t at, uint64_t size)
{
    buf_clear(out);
    buf_append_char(out, (char)0x96);
    for (size_t i = 0; i < 6; i++) {
        uint64_t value = i == at ? size : 1;
        if (texts[i] == 't')
            put_text(out, value);
        else
            put_uint(out, value);
    }
}

static void records_have_bounds(void **state)
{
    (void)state;
    static const uint64_t issue[] = {CAMPAIGN_ID_MAX, QUANTITY_MAX, PER_USER_LIMIT_MAX,
                                     INT64_MAX,       INT64_MAX,    CODE_PREFIX_MAX};
    static const uint64_t states[] = {COUPON_ISSUED, MONEY_MAX, MONEY_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
    struct buf bytes;
    buf_init(&bytes, EVENT_DATA_MAX);
    for (size_t at = 0; at < 6; at++) {
        put_record(&bytes, "tiiiit", at, issue[at]);
        assert_true(issue_good(buf_span(&bytes)));
        put_record(&bytes, "tiiiit", at, issue[at] + 1);
        assert_false(issue_good(buf_span(&bytes)));
        put_record(&bytes, "iiiiii", at, states[at]);
        assert_true(state_good(buf_span(&bytes)));
        put_record(&bytes, "iiiiii", at, states[at] + (at == 0 ? COUPON_REVOKED : 1));
        assert_false(state_good(buf_span(&bytes)));
    }
    put_record(&bytes, "iiiiii", 0, 0);
    assert_false(state_good(buf_span(&bytes)));
    assert_false(issue_good(SPAN("\x90")));
    assert_false(issue_good(SPAN("\x95\xA1x\x01\x01\x01\x01")));
    assert_false(issue_good(SPAN("\x97\xA1x\x01\x01\x01\x01\xA0\x01")));
    assert_true(issue_good(SPAN("\x96\xA1x\x01\x01\x01\x01\xA0")));
    assert_false(issue_good(SPAN("\x96\x01\x01\x01\x01\x01\xA0")));
    assert_false(issue_good(SPAN("\x96\xA1x\x01\x01\x01\xFF\xA0")));
    assert_false(issue_good(SPAN("\xDD\xFF\xFF\xFF\xFF")));
    assert_false(issue_good(SPAN("\x80")));
    assert_false(state_good(SPAN("\x95\x01\x01\x01\x01\x01")));
    buf_deinit(&bytes);
}

static struct coupon coupon_in(enum coupon_state state)
{
    struct event event = issued_event();
    struct coupon coupon = coupon_from_event(&event);
    coupon.state = state;
    coupon.last = 1235;
    coupon.changed_at_us = 1790000000222222;
    if (state == COUPON_RESERVED || state == COUPON_REDEEMED)
        coupon.order_id = SPAN("order-1"), coupon.order_amount = 20000, coupon.discount_amount = 2000;
    if (state == COUPON_RESERVED)
        coupon.reserved_until_us = 1790000000333333;
    if (state == COUPON_REVOKED)
        coupon.reason = SPAN("fraud");
    return coupon;
}

static void state_records_come_back(void **state)
{
    (void)state;
    static const char *const golden[] = {
        [COUPON_ISSUED] = "9601000000cf00065bfeda29440ecd04d3",
        [COUPON_RESERVED] = "9602cd4e20cd07d0cf00065bfeda2af615cf00065bfeda29440ecd04d3",
        [COUPON_REDEEMED] = "9603cd4e20cd07d000cf00065bfeda29440ecd04d3",
        [COUPON_REVOKED] = "9604000000cf00065bfeda29440ecd04d3",
    };
    for (enum coupon_state is = COUPON_ISSUED; is <= COUPON_REVOKED; is++) {
        struct coupon coupon = coupon_in(is), read = coupon_in(COUPON_ISSUED);
        struct buf bytes;
        buf_init(&bytes, EVENT_DATA_MAX);
        coupon_state_encode(&coupon, &bytes);
        assert_hex(&bytes, golden[is]);
        assert_true(coupon_state_decode(buf_span(&bytes), coupon_note(&coupon), &read));
        assert_int_equal(read.state, is);
        assert_int_equal(read.last, coupon.last);
        assert_true(read.changed_at_us == coupon.changed_at_us);
        assert_true(read.reserved_until_us == coupon.reserved_until_us);
        assert_int_equal(read.order_amount, coupon.order_amount);
        assert_int_equal(read.discount_amount, coupon.discount_amount);
        assert_true(span_equal(read.order_id, coupon.order_id) && span_equal(read.reason, coupon.reason));
        assert_true(!read.order_id.ptr == !coupon.order_id.ptr && !read.reason.ptr == !coupon.reason.ptr);
        read.at.position = read.last; /* nothing happens to a coupon before it was issued */
        assert_false(coupon_state_decode(buf_span(&bytes), coupon_note(&coupon), &read));
        buf_deinit(&bytes);
    }
}

static void notes_belong_to_their_state(void **state)
{
    (void)state;
    char text[REASON_MAX + 1] = {0};
    static const size_t max[] = {[COUPON_ISSUED] = 0,
                                 [COUPON_RESERVED] = ORDER_ID_MAX,
                                 [COUPON_REDEEMED] = ORDER_ID_MAX,
                                 [COUPON_REVOKED] = REASON_MAX};
    for (enum coupon_state is = COUPON_ISSUED; is <= COUPON_REVOKED; is++) {
        struct coupon coupon = coupon_in(is);
        bool needs = is == COUPON_RESERVED || is == COUPON_REDEEMED;
        assert_true(coupon_take_note(&coupon, (struct span){text, max[is]}));
        assert_false(coupon_take_note(&coupon, (struct span){text, max[is] + 1}));
        assert_int_equal(coupon_take_note(&coupon, SPAN("")), !needs);
        assert_int_equal(coupon_take_note(&coupon, (struct span){NULL, 0}), !needs);
    }
}

static void random_bytes_are_survived(void **state)
{
    (void)state;
    char bytes[96];
    uint64_t chance = 3;
    for (size_t round = 0; round < 100000; round++) {
        size_t len = random_next(&chance) % sizeof bytes;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)random_next(&chance);
        if (len && round % 2)
            bytes[0] = (char)0x96; /* an array of six gets further */
        (void)issue_good((struct span){bytes, len});
        (void)state_good((struct span){bytes, len});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(issue_records_come_back),     cmocka_unit_test(state_records_come_back),
        cmocka_unit_test(notes_belong_to_their_state), cmocka_unit_test(records_have_bounds),
        cmocka_unit_test(random_bytes_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
