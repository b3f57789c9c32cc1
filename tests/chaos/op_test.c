/* SPDX-License-Identifier: Apache-2.0 */
/* A client's operations and the faults are functions of the seed; names can be read back. */
#include "tests/chaos/op.h"

#include "bench/load/http_load.h"
#include "common/base/testing.h"
#include "tests/chaos/schedule.h"

enum { MANY = 5000 };

static void assert_same(const struct operation *a, const struct operation *b)
{
    struct target target = {.authority = "localhost:1"};
    struct op_context context = {.admin_token = "a", .issue_token = "i", .redeem_token = "r"};
    struct buf one, other;
    buf_init(&one, LOAD_REQUEST_MAX), buf_init(&other, LOAD_REQUEST_MAX);
    op_write(a, 0, &context, &target, &one);
    op_write(b, 0, &context, &target, &other);
    assert_string_equal(one.data, other.data);
    assert_int_equal(a->manner, b->manner);
    assert_int_equal(a->slot, b->slot);
    assert_int_equal(a->patience, b->patience);
    assert_int_equal(a->pause_ms, b->pause_ms);
    buf_deinit(&one), buf_deinit(&other);
}

static void the_same_seed_asks_the_same(void **)
{
    struct planner one, same, other_client, other_seed;
    size_t differs_by_client = 0, differs_by_seed = 0;
    planner_init(&one, 7, 3), planner_init(&same, 7, 3);
    planner_init(&other_client, 7, 4), planner_init(&other_seed, 8, 3);
    for (int i = 0; i < MANY; i++) {
        struct operation op = planner_next(&one), again = planner_next(&same);
        assert_same(&op, &again);
        differs_by_client += planner_next(&other_client).user != op.user;
        differs_by_seed += planner_next(&other_seed).user != op.user;
    }
    assert_true(differs_by_client > MANY / 2 && differs_by_seed > MANY / 2);
}

static void every_kind_and_manner_is_asked_for(void **)
{
    struct planner planner;
    size_t kinds[OP_KIND_COUNT] = {0}, manners[MANNER_AT_ONCE + 1] = {0}, liars = 0;
    planner_init(&planner, 1, 0);
    for (uint32_t i = 0; i < MANY; i++) {
        struct operation op = planner_next(&planner);
        assert_int_equal(op.number, i);
        assert_true(op.key == i || op.key == i - 1);
        kinds[op.kind]++;
        manners[op.manner]++;
        liars += op.key != i;
    }
    for (size_t i = 0; i < OP_KIND_COUNT; i++)
        assert_true(kinds[i] > 0);
    for (size_t i = 0; i < COUNT_OF(manners); i++)
        assert_true(manners[i] > 0);
    assert_true(liars > 0);
}

/* What another payload is, is the service's business: method and path stay, something in the body does not.
 */
static void an_ask_told_otherwise_has_another_payload(void **)
{
    struct planner planner;
    struct operation last = {0};
    planner_init(&planner, 2, 1);
    for (uint32_t i = 0; i < MANY; i++) {
        struct operation op = planner_next(&planner);
        if (op.key != op.number) {
            assert_int_equal(op.kind, last.kind);
            assert_int_equal(op.campaign, last.campaign);
            assert_true(op.variant != last.variant || op.quantity != last.quantity || op.user != last.user ||
                        op.amount != last.amount || op.order != last.order);
        }
        last = op;
    }
}

static void the_first_ask_is_its_own(void **)
{
    for (uint64_t seed = 0; seed < MANY; seed++) {
        struct planner planner;
        planner_init(&planner, seed, 2);
        struct operation op = planner_next(&planner);
        assert_int_equal(op.client, 2);
        assert_int_equal(op.number, 0);
        assert_int_equal(op.key, 0);
    }
}

static void definitions_make_sense(void **)
{
    for (uint32_t i = 0; i < MANY; i++) {
        struct definition_room room;
        struct campaign_created is = op_definition(3, i, i % 4, INT64_C(1750000000000000), &room);
        int64_t planned = 0;
        for (size_t step = 0; step < is.release_plan.count; step++)
            planned += is.release_plan.items[step].quantity;
        assert_true(is.released >= 0 && is.released + planned <= is.quantity);
        assert_true(!is.ends_at_us || is.ends_at_us > is.starts_at_us);
        assert_true(!is.coupon_expires_at_us || is.coupon_expires_at_us > is.starts_at_us);
        assert_true(!is.coupon_expires_at_us || is.coupon_expires_at_us >= is.ends_at_us);
        int64_t last_us = is.release_plan.count ? is.release_plan.items[is.release_plan.count - 1].at_us : 0;
        assert_true((!is.ends_at_us || last_us < is.ends_at_us) &&
                    (!is.coupon_expires_at_us || last_us < is.coupon_expires_at_us));
    }
}

static void requests_say_where_they_come_from(void **)
{
    struct target target = {.authority = "localhost:1"};
    struct op_context context = {.admin_token = "a", .issue_token = "i", .redeem_token = "r"};
    struct operation op = {.kind = OP_ISSUE, .client = 5, .number = 17, .key = 16, .campaign = 9};
    struct buf request;
    struct origin origin;
    uint8_t trace[TRACE_BYTES];
    buf_init(&request, LOAD_REQUEST_MAX);
    op_write(&op, 3, &context, &target, &request);
    assert_true(span_starts(buf_span(&request), SPAN("POST /v1/campaigns/chaos-9/coupons HTTP/1.1\r\n")));
    assert_non_null(strstr(request.data, "Idempotency-Key: chaos-5-16\r\n"));
    const char *at = strstr(request.data, "traceparent: 00-");
    assert_non_null(at);
    assert_true(hex_decode((struct span){at + 16, 32}, trace, 16));
    assert_true(hex_decode((struct span){at + 49, 16}, trace + 16, 8));
    assert_true(origin_parse((struct span){(const char *)trace, sizeof trace}, &origin));
    assert_int_equal(origin.client, 5);
    assert_int_equal(origin.number, 17);
    assert_int_equal(origin.attempt, 3);
    trace[0] ^= 1;
    assert_false(origin_parse((struct span){(const char *)trace, sizeof trace}, &origin));
    buf_deinit(&request);
}

static void the_same_seed_strikes_the_same(void **)
{
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        struct schedule one, same;
        schedule_init(&one, 11, (enum lane)lane, 3, false);
        schedule_init(&same, 11, (enum lane)lane, 3, false);
        for (int i = 0; i < MANY; i++) {
            struct strike strike = schedule_next(&one), again = schedule_next(&same);
            assert_int_equal(strike.fault, again.fault);
            assert_int_equal(strike.service, again.service);
            assert_int_equal(strike.pick, again.pick);
            assert_int_equal(strike.gap_ms, again.gap_ms);
            assert_int_equal(strike.hold_ms, again.hold_ms);
            assert_int_equal(fault_lane(strike.fault), lane);
            assert_true(strike.service < 3);
        }
    }
}

static void every_fault_that_fits_strikes_once_a_deal(void **)
{
    for (int lane = 0; lane < 2 * LANE_COUNT; lane++) {
        enum lane of = (enum lane)(lane % LANE_COUNT);
        bool patroni = lane >= LANE_COUNT;
        struct schedule schedule;
        size_t fit = 0, counts[FAULT_COUNT] = {0};
        for (int fault = 0; fault < FAULT_COUNT; fault++)
            fit += fault_lane((enum fault)fault) == of && fault_fits((enum fault)fault, patroni);
        schedule_init(&schedule, 5, of, 1, patroni);
        for (size_t i = 0; i < 3 * fit; i++)
            counts[schedule_next(&schedule).fault]++;
        for (int fault = 0; fault < FAULT_COUNT; fault++)
            assert_int_equal(
                counts[fault],
                fault_lane((enum fault)fault) == of && fault_fits((enum fault)fault, patroni) ? 3 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_asks_the_same),
        cmocka_unit_test(every_kind_and_manner_is_asked_for),
        cmocka_unit_test(an_ask_told_otherwise_has_another_payload),
        cmocka_unit_test(the_first_ask_is_its_own),
        cmocka_unit_test(definitions_make_sense),
        cmocka_unit_test(requests_say_where_they_come_from),
        cmocka_unit_test(the_same_seed_strikes_the_same),
        cmocka_unit_test(every_fault_that_fits_strikes_once_a_deal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
