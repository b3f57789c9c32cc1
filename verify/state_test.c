/* SPDX-License-Identifier: Apache-2.0 */
/* State rows against the fold: the rows that belong to a small log are clean; each column wrong, each row
 * missing and each row too many is reported. */
#include "common/base/clock.h"
#include "verify/testing.h"

static struct world world;
static const struct span campaign = {"drop-1", 6}, alice = {"user-a", 6}, bob = {"user-b", 6};
static const struct span order = {"order-1", 7};

/* 1 created, 2 and 3 in one batch: alice, bob; 4 alice's is reserved, 5 alice again. */
static struct verify_campaign_row campaign_row;
static struct verify_coupon_row coupon_row;
static struct verify_run_row runs[2];

static void fill_rows(void)
{
    const struct event *created = &world.lines[0].event, *reserved = &world.lines[3].event;
    campaign_row = (struct verify_campaign_row){
        .id = campaign,
        .created_by = SPAN("admin"),
        .definition = created->data,
        .created_at_us = created->recorded_at_us,
        .version = 1,
        .quantity = 10,
        .released = 5,
        .issued = 3,
        .reserved = 1,
        .status = CAMPAIGN_ACTIVE,
        .first = 1,
        .position = 5,
        .due_at_us = 7 * US_PER_DAY,
    };
    coupon_row = (struct verify_coupon_row){
        .position = 2,
        .state = COUPON_RESERVED,
        .last = 4,
        .changed_at_us = reserved->recorded_at_us,
        .order_amount = 1000,
        .discount_amount = 100,
        .reserved_until_us = US_PER_DAY,
        .campaign_id = campaign,
        .order_id = order,
        .event = reserved,
    };
    runs[0] = (struct verify_run_row){campaign, 1, 2, 3};
    runs[1] = (struct verify_run_row){campaign, 3, 5, 5};
}

static int set_up(void **)
{
    world_init(&world, campaign);
    world_create(&world)->campaign_created.ends_at_us = 7 * US_PER_DAY;
    world_issue(&world, alice, 1, 1);
    world.lines[1].ends_batch = false;
    world_issue(&world, bob, 2, 1);
    world_use(&world, EVENT_CouponReserved, 2)->coupon_reserved =
        (struct coupon_reserved){order, 1000, 100, US_PER_DAY, 0};
    world_issue(&world, alice, 3, 2);
    world_seal(&world);
    world_play(&world);
    fill_rows();
    return 0;
}

static int tear_down(void **)
{
    world_deinit(&world);
    return 0;
}

static void play_rows(void)
{
    verify_campaign_row(&world.log, &campaign_row);
    verify_coupon_row(&world.log, &coupon_row);
    verify_run_row(&world.log, &runs[0]);
    verify_run_row(&world.log, &runs[1]);
    verify_state_end(&world.log);
}

static void good_rows_are_clean(void **)
{
    play_rows();
    world_expect_clean(&world);
    assert_int_equal(world.totals.rows, 4);
}

static void every_number_of_a_campaign_counts(void **)
{
    int64_t *const columns[] = {&campaign_row.created_at_us, &campaign_row.version,  &campaign_row.quantity,
                                &campaign_row.released,      &campaign_row.issued,   &campaign_row.redeemed,
                                &campaign_row.reserved,      &campaign_row.status,   &campaign_row.plan_done,
                                &campaign_row.first,         &campaign_row.position, &campaign_row.due_at_us};
    for (size_t i = 0; i < COUNT_OF(columns); i++) {
        tear_down(NULL), set_up(NULL);
        ++*columns[i];
        play_rows();
        /* a version that does not exist cannot be decoded either, so due_at is not looked at then */
        world_expect(&world, VERIFY_CAMPAIGN_ROW);
    }
}

static void every_text_and_flag_of_a_campaign_counts(void **)
{
    campaign_row.created_by = SPAN("admi");
    play_rows();
    world_expect(&world, VERIFY_CAMPAIGN_ROW);
    tear_down(NULL), set_up(NULL);
    campaign_row.plan_halted = true;
    play_rows();
    world_expect(&world, VERIFY_CAMPAIGN_ROW);
    tear_down(NULL), set_up(NULL);
    campaign_row.definition.len--;
    play_rows();
    world_expect(&world, VERIFY_CAMPAIGN_ROW);
}

static void due_at_that_a_migration_left_is_for_the_sweep(void **)
{
    campaign_row.due_at_us = 0;
    campaign_row.due_at_is_epoch = true;
    play_rows();
    world_expect_clean(&world);
}

static void a_campaign_that_the_log_does_not_have(void **)
{
    struct verify_campaign_row stranger = {.id = SPAN("drop-2"), .position = 9};
    verify_campaign_row(&world.log, &stranger);
    play_rows();
    world_expect(&world, VERIFY_CAMPAIGN_ROW);
}

static void a_campaign_without_a_row(void **)
{
    verify_coupon_row(&world.log, &coupon_row);
    verify_run_row(&world.log, &runs[0]);
    verify_run_row(&world.log, &runs[1]);
    verify_state_end(&world.log);
    world_expect(&world, VERIFY_CAMPAIGN_ROW);
}

static void every_column_of_a_coupon_counts(void **)
{
    int64_t *const columns[] = {&coupon_row.state,           &coupon_row.last,
                                &coupon_row.changed_at_us,   &coupon_row.order_amount,
                                &coupon_row.discount_amount, &coupon_row.reserved_until_us};
    struct span *const texts[] = {&coupon_row.campaign_id, &coupon_row.order_id, &coupon_row.reason};
    for (size_t i = 0; i < COUNT_OF(columns) + COUNT_OF(texts); i++) {
        tear_down(NULL), set_up(NULL);
        if (i < COUNT_OF(columns))
            ++*columns[i];
        else
            *texts[i - COUNT_OF(columns)] = SPAN("else");
        play_rows();
        world_expect(&world, VERIFY_COUPON_ROW);
    }
}

static void a_coupon_row_of_an_event_that_is_not_there(void **)
{
    coupon_row.event = NULL;
    play_rows();
    world_expect(&world, VERIFY_COUPON_ROW);
}

static void a_coupon_row_too_many_or_missing(void **)
{
    verify_coupon_row(&world.log, &coupon_row);
    coupon_row.position = 3; /* bob's, to which nothing happened */
    play_rows();
    world_expect(&world, VERIFY_COUPON_ROW);
    tear_down(NULL), set_up(NULL);
    verify_campaign_row(&world.log, &campaign_row);
    verify_run_row(&world.log, &runs[0]);
    verify_run_row(&world.log, &runs[1]);
    verify_state_end(&world.log);
    world_expect(&world, VERIFY_COUPON_ROW);
}

static void every_column_of_a_run_counts(void **)
{
    int64_t *const columns[] = {&runs[1].first_sequence, &runs[1].first_position, &runs[1].last_position};
    for (size_t i = 0; i < COUNT_OF(columns); i++) {
        tear_down(NULL), set_up(NULL);
        ++*columns[i];
        play_rows();
        world_expect(&world, VERIFY_RUN_ROW);
    }
}

static void a_run_too_many_or_missing(void **)
{
    verify_run_row(&world.log, &runs[0]);
    play_rows();
    world_expect(&world, VERIFY_RUN_ROW);
    tear_down(NULL), set_up(NULL);
    verify_campaign_row(&world.log, &campaign_row);
    verify_coupon_row(&world.log, &coupon_row);
    verify_run_row(&world.log, &runs[0]);
    verify_state_end(&world.log);
    world_expect(&world, VERIFY_RUN_ROW);
    tear_down(NULL), set_up(NULL);
    verify_run_row(&world.log, &(struct verify_run_row){SPAN("drop-2"), 1, 1, 1});
    play_rows();
    world_expect(&world, VERIFY_RUN_ROW);
}

/* --- requests --- */

static void request_rows(void **)
{
    struct verify_request_row good = {.position = 2,
                                      .status = 201,
                                      .recorded_at_us = 5,
                                      .event_type = EVENT_CouponIssued,
                                      .event_recorded_at_us = 5};
    verify_request_row(&world.log, &good);
    struct verify_request_row redeemed = good;
    redeemed.status = 200;
    redeemed.event_type = EVENT_CouponRedeemed;
    verify_request_row(&world.log, &redeemed);
    world_expect_clean(&world);
    struct verify_request_row bad[] = {good, good, good, good};
    bad[0].event_type = 0;
    bad[1].event_type = EVENT_CampaignPaused;
    bad[2].event_recorded_at_us++;
    bad[3].status = 200;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        verify_request_row(&world.log, &bad[i]);
        assert_int_equal(world.report.by_rule[VERIFY_REQUEST_ROW], i + 1);
    }
}

/* --- control --- */

static void control_rows(void **)
{
    struct verify_control_row profile = {CONTROL_SETTING, 3, SPAN("profile"), SPAN("normal")};
    struct verify_control_row issuer = {CONTROL_ISSUER, 2, SPAN("generator"), CONTROL_SUSPENDED};
    tear_down(NULL);
    world_init(&world, CONTROL_STREAM);
    world.slice = CONTROL_SLICE;
    world_add(&world, EVENT_SettingChanged)->setting_changed =
        (struct setting_changed){SPAN("profile"), SPAN("spike"), SPAN("admin")};
    world_add(&world, EVENT_IssuerSuspended)->issuer_suspended =
        (struct issuer_suspended){SPAN("generator"), SPAN("admin")};
    world_add(&world, EVENT_SettingChanged)->setting_changed =
        (struct setting_changed){SPAN("profile"), SPAN("normal"), SPAN("admin")};
    world_seal(&world);
    world_play(&world);
    verify_control_row(&world.log, &profile);
    verify_control_row(&world.log, &issuer);
    verify_state_end(&world.log);
    world_expect_clean(&world);
    profile.position = 1;
    verify_control_row(&world.log, &profile);
    assert_int_equal(world.report.by_rule[VERIFY_CONTROL_ROW], 1);
    issuer.value = SPAN("");
    verify_control_row(&world.log, &issuer);
    assert_int_equal(world.report.by_rule[VERIFY_CONTROL_ROW], 2);
    issuer.name = SPAN("nobody");
    verify_control_row(&world.log, &issuer);
    assert_int_equal(world.report.by_rule[VERIFY_CONTROL_ROW], 3);
    world_play(&world);
    verify_state_end(&world.log);
    assert_int_equal(world.report.by_rule[VERIFY_CONTROL_ROW], 5);
}

/* --- quotas --- */

static void play_quota(int64_t head, int64_t counted, int64_t used)
{
    struct verify_quota quota;
    int64_t heads[SLICE_COUNT] = {0};
    heads[world.slice] = head;
    verify_quota_init(&quota, heads);
    world.log.quota = &quota;
    world_play(&world);
    world.log.quota = NULL;
    verify_quota_row(&quota, &(struct verify_quota_row){SPAN("*"), 0, used});
    verify_quota_row(&quota, &(struct verify_quota_row){SPAN("key:admin"), 0, used});
    verify_quota_row(&quota, &(struct verify_quota_row){SPAN("#"), 0, counted});
    assert_true(verify_quota_end(&quota, &world.report));
    verify_quota_deinit(&quota);
}

static void quotas_count_what_was_created_up_to_the_heads(void **)
{
    play_quota(5, 10, 1);
    play_quota(1, 10, 1);
    play_quota(0, 0, 0);
    world_expect_clean(&world);
    play_quota(5, 10, 0);
    assert_int_equal(world.report.by_rule[VERIFY_QUOTA_ROW], 2);
    play_quota(5, 9, 1);
    assert_int_equal(world.report.by_rule[VERIFY_QUOTA_ROW], 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(good_rows_are_clean),
        TEST(every_number_of_a_campaign_counts),
        TEST(every_text_and_flag_of_a_campaign_counts),
        TEST(due_at_that_a_migration_left_is_for_the_sweep),
        TEST(a_campaign_that_the_log_does_not_have),
        TEST(a_campaign_without_a_row),
        TEST(every_column_of_a_coupon_counts),
        TEST(a_coupon_row_of_an_event_that_is_not_there),
        TEST(a_coupon_row_too_many_or_missing),
        TEST(every_column_of_a_run_counts),
        TEST(a_run_too_many_or_missing),
        TEST(request_rows),
        TEST(control_rows),
        TEST(quotas_count_what_was_created_up_to_the_heads),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
