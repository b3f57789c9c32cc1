/* SPDX-License-Identifier: Apache-2.0 */
/* Every rule about the log with a crafted violation: a wrong program's log, or one that was tampered with. */
#include "common/base/clock.h"
#include "verify/testing.h"

static struct world world;
static const struct span campaign = {"drop-1", 6}, alice = {"user-a", 6}, bob = {"user-b", 6};

/* 1 created, 2 and 3 in one batch: alice, bob; 4 released, 5 alice again, 6 paused, 7 resumed, 8 closed. */
static int set_up(void **)
{
    world_init(&world, campaign);
    world_create(&world);
    world_issue(&world, alice, 1, 1);
    world.lines[1].ends_batch = false;
    world_issue(&world, bob, 2, 1);
    world_add(&world, EVENT_StockReleased)->stock_released.quantity = 5;
    world_issue(&world, alice, 3, 2);
    world_add(&world, EVENT_CampaignPaused);
    world_add(&world, EVENT_CampaignResumed);
    world_add(&world, EVENT_CampaignClosed);
    return 0;
}

static int tear_down(void **)
{
    world_deinit(&world);
    return 0;
}

static struct event *event_at(int64_t position)
{
    return &world.lines[position - 1].event;
}

static void seal_and_play(void)
{
    world_seal(&world);
    world_play(&world);
}

static void a_good_log_is_clean(void **)
{
    seal_and_play();
    world_expect_clean(&world);
    assert_int_equal(world.totals.events, 8);
    assert_int_equal(world.totals.batches, 7);
    assert_false(verify_log_again(&world.log));
}

static void an_empty_slice_is_clean(void **)
{
    world.count = 0;
    seal_and_play();
    world_expect_clean(&world);
}

/* --- tampered with --- */

static void a_changed_byte_breaks_the_chain(void **)
{
    world_seal(&world);
    world.lines[0].event.recorded_at_us++; /* the batch's row as well, so that nothing else can tell */
    world.batches[0].recorded_at_us++;
    world_play(&world);
    world_expect(&world, VERIFY_CHAIN);
}

static void every_column_is_in_the_chain(void **)
{
    static const struct span other = {"c15-1", 5};
    world_seal(&world);
    struct event good = *event_at(2);
    void *const at[] = {&event_at(2)->version, &event_at(2)->user_id, &event_at(2)->coupon_id,
                        &event_at(2)->trace};
    const struct span text = other;
    const int16_t version = 9;
    const void *const bad[] = {&version, &text, &text, &text};
    const size_t size[] = {sizeof version, sizeof text, sizeof text, sizeof text};
    for (size_t i = 0; i < COUNT_OF(at); i++) {
        *event_at(2) = good;
        memcpy(at[i], bad[i], size[i]);
        int64_t before = world.report.by_rule[VERIFY_CHAIN];
        world_play(&world);
        assert_int_equal(world.report.by_rule[VERIFY_CHAIN], before + 1);
    }
}

static void a_changed_hash_of_a_batch_is_told_for_it_and_the_next(void **)
{
    world_seal(&world);
    world.batches[1].chain[7] ^= 1;
    world_play(&world);
    assert_int_equal(world.report.differences, 2);
    assert_int_equal(world.report.by_rule[VERIFY_CHAIN], 2);
}

static void a_changed_hash_of_the_slice(void **)
{
    world_seal(&world);
    world.head.chain[31] ^= 1;
    world_play(&world);
    world_expect(&world, VERIFY_CHAIN);
}

static void a_deleted_event_is_a_gap(void **)
{
    world_seal(&world);
    world.lines[3].missing = true; /* the released stock: issued stays below what was there before */
    world_play(&world);
    assert_int_equal(world.report.by_rule[VERIFY_POSITIONS], 1);
    assert_int_equal(world.report.by_rule[VERIFY_CHAIN], 1);
}

static void a_deleted_tail_is_not_the_head(void **)
{
    world_seal(&world);
    world.count--;
    world.batches_count--;
    world_play(&world);
    assert_int_equal(world.report.by_rule[VERIFY_SLICE_ROW], 2); /* position and time */
    assert_int_equal(world.report.by_rule[VERIFY_CHAIN], 1);
}

static void swapped_positions(void **)
{
    world_seal(&world);
    struct line line = world.lines[1];
    world.lines[1] = world.lines[2];
    world.lines[2] = line;
    event_at(2)->position = 2;
    event_at(3)->position = 3;
    event_at(2)->coupon_id.ptr = world.lines[1].id; /* the spans point into the lines that moved */
    event_at(3)->coupon_id.ptr = world.lines[2].id;
    event_at(2)->data.ptr = world.lines[1].data;
    event_at(3)->data.ptr = world.lines[2].data;
    world_play(&world);
    assert_int_equal(world.report.by_rule[VERIFY_CHAIN], 1);
    assert_int_equal(world.report.by_rule[VERIFY_ENVELOPE], 2);
    assert_int_equal(world.report.by_rule[VERIFY_SEQUENCE], 1); /* told once for a campaign */
}

static void a_deleted_batch_leaves_events_uncovered(void **)
{
    world_seal(&world);
    memmove(&world.batches[1], &world.batches[2], (world.batches_count - 2) * sizeof world.batches[0]);
    world.batches_count--;
    world_play(&world);
    assert_int_equal(world.report.by_rule[VERIFY_BATCHES],
                     2); /* the events, and the batch that follows none */
    assert_int_equal(world.report.by_rule[VERIFY_CHAIN], 1);
}

static void the_last_batch_is_missing(void **)
{
    world_seal(&world);
    world.batches_count--;
    world_play(&world);
    assert_int_equal(world.report.by_rule[VERIFY_BATCHES], 2);
}

static void a_batch_beyond_the_head(void **)
{
    world_seal(&world);
    struct verify_batch beyond = world.batches[world.batches_count - 1];
    beyond.first = beyond.last = 9;
    world.batches[world.batches_count++] = beyond;
    world_play(&world);
    assert_int_equal(world.report.by_rule[VERIFY_BATCHES], 2);
}

static void data_that_nobody_writes(void **)
{
    world_seal(&world);
    world.lines[5].status = CODEC_CORRUPT;
    world_play(&world);
    assert_int_equal(world.report.by_rule[VERIFY_BYTES], 1);
    assert_int_equal(world.report.by_rule[VERIFY_LIFE], 1); /* resumed without having been paused */
}

/* The map with its one member twice is read the same, but nobody writes it. */
static void the_same_payload_in_other_bytes(void **)
{
    world_seal(&world);
    static const char twice[] = "\x82\x01\x05\x02\x00"; /* quantity 5, plan_step 0: a default is left out */
    struct line *line = &world.lines[3];
    assert_true(span_equal(line->event.data, SPAN("\x81\x01\x05")));
    line->event.data = (struct span){twice, sizeof twice - 1};
    world_play(&world);
    assert_int_equal(world.report.by_rule[VERIFY_BYTES], 1);
    assert_int_equal(world.report.by_rule[VERIFY_CHAIN], 1);
    assert_int_equal(world.report.differences, 2);
}

static void a_changed_nth_column(void **)
{
    world_seal(&world);
    world.lines[1].nth = 2; /* not in the chain: the data says it too */
    world_play(&world);
    world_expect(&world, VERIFY_ENVELOPE);
}

static void a_column_nth_where_no_coupon_is_issued(void **)
{
    world_seal(&world);
    world.lines[5].nth = 1;
    world_play(&world);
    world_expect(&world, VERIFY_ENVELOPE);
}

static void a_holder_that_is_anothers(void **)
{
    world_seal(&world);
    world.lines[1].wrong_holder = true;
    world_play(&world);
    world_expect(&world, VERIFY_ENVELOPE);
}

/* --- wrong programs --- */

static void a_trace_of_another_length(void **)
{
    event_at(6)->trace = SPAN("short");
    seal_and_play();
    world_expect(&world, VERIFY_ENVELOPE);
}

static void a_user_where_none_is_concerned(void **)
{
    event_at(6)->user_id = alice;
    seal_and_play();
    world_expect(&world, VERIFY_ENVELOPE);
}

static void time_runs_backwards(void **)
{
    event_at(4)->recorded_at_us = 1;
    seal_and_play();
    world_expect(&world, VERIFY_CLOCK);
}

static void one_time_for_a_whole_batch(void **)
{
    world_seal(&world);
    world.batches[1].recorded_at_us--;
    world_play(&world);
    assert_int_equal(world.report.by_rule[VERIFY_CLOCK], 2);
    assert_int_equal(world.report.differences, 2);
}

static void a_campaign_of_another_slice(void **)
{
    world.slice = (int16_t)(world.slice ^ 1);
    for (size_t i = 0; i < world.count; i++)
        world.lines[i].event.slice = world.slice;
    seal_and_play();
    assert_int_equal(world.report.by_rule[VERIFY_ENVELOPE], 8);
}

static void a_campaign_that_was_never_created(void **)
{
    world.lines[0].event.type = EVENT_CampaignEnded;
    world.lines[0].event.campaign_ended.due_at_us = 0;
    seal_and_play();
    assert_int_equal(world.report.by_rule[VERIFY_CREATED], 1);
}

static void a_campaign_created_twice(void **)
{
    world_create(&world);
    seal_and_play();
    world_expect(&world, VERIFY_CREATED);
}

static void more_issued_than_released(void **)
{
    event_at(1)->campaign_created.released = 1;
    seal_and_play();
    world_expect(&world, VERIFY_STOCK);
}

static void more_released_than_there_is(void **)
{
    event_at(4)->stock_released.quantity = 6;
    seal_and_play();
    world_expect(&world, VERIFY_STOCK);
}

static void a_sequence_with_a_hole(void **)
{
    event_at(3)->coupon_issued.sequence = 3;
    event_at(5)->coupon_issued.sequence = 4;
    seal_and_play();
    world_expect(&world, VERIFY_SEQUENCE);
}

static void a_sequence_twice(void **)
{
    event_at(5)->coupon_issued.sequence = 2;
    seal_and_play();
    world_expect(&world, VERIFY_SEQUENCE);
}

/* What the campaign is made into after its third coupon. */
static struct campaign_changed *change(void)
{
    world.count = 5;
    struct campaign_changed *changed = &world_add(&world, EVENT_CampaignChanged)->campaign_changed;
    *changed = campaign_unchanged(&event_at(1)->campaign_created);
    changed->name = SPAN("y");
    changed->quantity = 12;
    changed->per_user_limit = 3;
    changed->released_more = 2;
    return changed;
}

static void expect_change(enum verify_rule rule)
{
    seal_and_play();
    world_expect(&world, rule);
    tear_down(NULL), set_up(NULL);
}

static void a_change_gives_more_and_takes_nothing_back(void **)
{
    (void)change();
    world_issue(&world, alice, 4, 3); /* which the limit before did not allow */
    seal_and_play();
    world_expect_clean(&world);
    tear_down(NULL), set_up(NULL);
    change()->quantity = 9;
    expect_change(VERIFY_STOCK);
    change()->released_more = 3; /* than was added */
    expect_change(VERIFY_STOCK);
    change()->per_user_limit = 1;
    expect_change(VERIFY_LIMIT);
    change()->ends_at_us = 9000000; /* it had no end */
    expect_change(VERIFY_LIFE);
    change()->discount_value = 9;
    expect_change(VERIFY_LIFE);
    change()->code_prefix = SPAN("X");
    expect_change(VERIFY_LIFE);
    change()->reopens_at_us = 9000000; /* it was not sold out */
    expect_change(VERIFY_LIFE);
    (void)change();
    event_at(5)->type = EVENT_CampaignClosed;
    event_at(5)->campaign_closed = (struct campaign_closed){0};
    event_at(5)->user_id = (struct span){0};
    expect_change(VERIFY_LIFE);
}

/* Three coupons of three; more from the sixth second on. */
static void what_was_sold_out_opens_again_in_its_time(void **)
{
    for (int wrong = 0; wrong <= 2; wrong++) {
        event_at(1)->campaign_created.quantity = event_at(1)->campaign_created.released = 3;
        world.count = 3;
        world_add(&world, EVENT_CampaignPaused);
        world_add(&world, EVENT_CampaignResumed);
        world_issue(&world, alice, 3, 2);
        struct campaign_changed *changed = &world_add(&world, EVENT_CampaignChanged)->campaign_changed;
        *changed = campaign_unchanged(&event_at(1)->campaign_created);
        changed->quantity = 5;
        changed->released_more = 2;
        changed->reopens_at_us = wrong == 1 ? 0 : 8000000;
        world_issue(&world, bob, 4, 2);
        if (wrong == 2)
            event_at(8)->recorded_at_us = 7999999;
        seal_and_play();
        if (wrong)
            world_expect(&world, VERIFY_LIFE);
        else
            world_expect_clean(&world);
        tear_down(NULL), set_up(NULL);
    }
}

static void more_than_the_limit(void **)
{
    event_at(1)->campaign_created.per_user_limit = 1;
    seal_and_play();
    world_expect(&world, VERIFY_LIMIT);
}

/* Two coupons that both say they are the user's first: the limit is only as good as the counting. */
static void a_second_coupon_that_says_it_is_the_first(void **)
{
    event_at(5)->coupon_issued.nth = 1;
    seal_and_play();
    world_expect(&world, VERIFY_LIMIT);
}

static void issued_while_paused(void **)
{
    event_at(7)->type = EVENT_CouponIssued;
    event_at(7)->user_id = bob;
    event_at(7)->coupon_issued = (struct coupon_issued){.sequence = 4, .nth = 2};
    seal_and_play();
    world_expect(&world, VERIFY_LIFE);
}

static void issued_before_the_start_or_after_the_end(void **)
{
    event_at(1)->campaign_created.starts_at_us = 2500000; /* the first two come at 2 and 3 seconds */
    world.lines[1].ends_batch = true;
    seal_and_play();
    world_expect(&world, VERIFY_LIFE);
    tear_down(NULL), set_up(NULL);
    event_at(1)->campaign_created.ends_at_us = 5000000; /* exclusive: the third one comes just then */
    seal_and_play();
    world_expect(&world, VERIFY_LIFE);
}

static void an_expiry_that_the_definition_does_not_give(void **)
{
    event_at(1)->campaign_created.coupon_valid_days = 1;
    for (int64_t position = 2; position <= 5; position++)
        if (event_at(position)->type == EVENT_CouponIssued)
            event_at(position)->coupon_issued.expires_at_us =
                event_at(position == 2 ? 3 : position)->recorded_at_us + US_PER_DAY;
    seal_and_play();
    world_expect_clean(&world);
    tear_down(NULL), set_up(NULL);
    event_at(5)->coupon_issued.expires_at_us = 77;
    seal_and_play();
    world_expect(&world, VERIFY_LIFE);
}

static void an_event_after_the_deletion(void **)
{
    world.count = 1;
    world_add(&world, EVENT_CampaignDeleted);
    world_seal(&world);
    world_play(&world);
    world_expect_clean(&world);
    world.count = 2;
    world.batches_count = 0;
    world_add(&world, EVENT_CampaignDeleted);
    seal_and_play();
    world_expect(&world, VERIFY_LIFE);
}

static void deleted_with_coupons(void **)
{
    world.count = 5;
    world_add(&world, EVENT_CampaignDeleted);
    seal_and_play();
    world_expect(&world, VERIFY_LIFE);
}

static void stock_released_after_the_close(void **)
{
    world_add(&world, EVENT_StockReleased);
    seal_and_play();
    world_expect(&world, VERIFY_LIFE);
}

static void created_with_more_released_than_there_is(void **)
{
    world.count = 1;
    event_at(1)->campaign_created.released = 11;
    seal_and_play();
    world_expect(&world, VERIFY_STOCK);
}

static void a_code_prefix_of_another_campaign(void **)
{
    event_at(3)->coupon_issued.code_prefix = SPAN("OTHER");
    seal_and_play();
    world_expect(&world, VERIFY_LIFE);
}

static void a_tranche_out_of_order_or_while_halted(void **)
{
    static const struct release plan[] = {{1, 2}, {2, 3}};
    event_at(1)->campaign_created.release_plan = (struct release_list){plan, 2};
    event_at(4)->stock_released.plan_step = 2;
    seal_and_play();
    world_expect(&world, VERIFY_LIFE);
    tear_down(NULL), set_up(NULL);
    event_at(1)->campaign_created.release_plan = (struct release_list){plan, 2};
    world.count = 1;
    world_add(&world, EVENT_ReleasePlanHalted);
    world_add(&world, EVENT_StockReleased)->stock_released = (struct stock_released){2, 1, {NULL, 0}};
    seal_and_play();
    world_expect(&world, VERIFY_LIFE);
}

/* --- memory --- */

/* Many users on little memory: the log is read more than once, every pass follows its own part, and each
 * violation is reported by exactly one of them. */
static void with_little_memory_the_same_is_found_in_more_passes(void **)
{
    enum { USERS = 3000 };
    verify_log_deinit(&world.log);
    verify_log_init(&world.log, &world.report, &world.totals, 96 * 1024);
    int passes = 0;
    verify_log_begin(&world.log, world.slice);
    do {
        for (int64_t i = 0; i <= USERS; i++) {
            char user[32];
            struct buf id, data;
            int length = snprintf(user, sizeof user, "user-%lld", (long long)(i % (USERS - 2)));
            struct event event = {.slice = world.slice, .position = i + 1, .campaign_id = campaign};
            buf_init(&id, COUPON_ID_MAX), buf_init(&data, DATA_MAX);
            event.type = i ? EVENT_CouponIssued : EVENT_CampaignCreated;
            event.version = 1;
            if (i) {
                event.user_id = (struct span){user, (size_t)length};
                event.coupon_issued = (struct coupon_issued){.sequence = i, .nth = 1};
                coupon_id_write(&id, (struct position){world.slice, i + 1});
                event.coupon_id = buf_span(&id);
            } else {
                event.campaign_created = (struct campaign_created){.quantity = USERS,
                                                                   .released = USERS,
                                                                   .per_user_limit = 1,
                                                                   .name = SPAN("x"),
                                                                   .currency = SPAN("EUR")};
            }
            event_encode(&event, &data);
            event.data = buf_span(&data);
            verify_log_no_batch(&world.log);
            verify_log_event(&world.log, &event, CODEC_OK, (struct verify_columns){.nth = i ? 1 : 0});
            assert_true(world.log.memory.bytes <= world.log.memory.bytes_max);
            buf_deinit(&id), buf_deinit(&data);
        }
        verify_log_end(&world.log, &world.head);
        passes++;
    } while (verify_log_again(&world.log));
    assert_true(passes > 2);
    assert_int_equal(world.totals.events, USERS + 1);
    assert_int_equal(world.report.by_rule[VERIFY_LIMIT],
                     2); /* users 1 and 2 come again as if for the first time */
    assert_int_equal(world.report.by_rule[VERIFY_SEQUENCE], 0);
    assert_int_equal(world.report.by_rule[VERIFY_STOCK], 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_log_is_clean),
        TEST(an_empty_slice_is_clean),
        TEST(a_changed_byte_breaks_the_chain),
        TEST(every_column_is_in_the_chain),
        TEST(a_changed_hash_of_a_batch_is_told_for_it_and_the_next),
        TEST(a_changed_hash_of_the_slice),
        TEST(a_deleted_event_is_a_gap),
        TEST(a_deleted_tail_is_not_the_head),
        TEST(swapped_positions),
        TEST(a_deleted_batch_leaves_events_uncovered),
        TEST(the_last_batch_is_missing),
        TEST(a_batch_beyond_the_head),
        TEST(data_that_nobody_writes),
        TEST(the_same_payload_in_other_bytes),
        TEST(a_changed_nth_column),
        TEST(a_column_nth_where_no_coupon_is_issued),
        TEST(a_holder_that_is_anothers),
        TEST(a_trace_of_another_length),
        TEST(a_user_where_none_is_concerned),
        TEST(time_runs_backwards),
        TEST(one_time_for_a_whole_batch),
        TEST(a_campaign_of_another_slice),
        TEST(a_campaign_that_was_never_created),
        TEST(a_campaign_created_twice),
        TEST(more_issued_than_released),
        TEST(more_released_than_there_is),
        TEST(a_sequence_with_a_hole),
        TEST(a_sequence_twice),
        TEST(a_change_gives_more_and_takes_nothing_back),
        TEST(what_was_sold_out_opens_again_in_its_time),
        TEST(more_than_the_limit),
        TEST(a_second_coupon_that_says_it_is_the_first),
        TEST(issued_while_paused),
        TEST(issued_before_the_start_or_after_the_end),
        TEST(an_expiry_that_the_definition_does_not_give),
        TEST(an_event_after_the_deletion),
        TEST(deleted_with_coupons),
        TEST(stock_released_after_the_close),
        TEST(created_with_more_released_than_there_is),
        TEST(a_code_prefix_of_another_campaign),
        TEST(a_tranche_out_of_order_or_while_halted),
        TEST(with_little_memory_the_same_is_found_in_more_passes),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
