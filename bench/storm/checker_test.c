/* SPDX-License-Identifier: Apache-2.0 */
/* The rules about the log alone: each against a small campaign in which all is well, and against one crafted
 * violation of that rule and no other. */
#include "bench/storm/checker_world.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "common/base/mem.h"

/* That rule is violated so many times, and nothing else is. */
static void expect_only(struct world *world, enum rule rule, uint64_t times)
{
    world_play(world);
    if (!world_violates_only(world, rule, times))
        fail_msg("wanted %d violations of this and no other: %s", (int)times, rule_describe(rule)->holds);
    world_deinit(world);
}

/* --- All is well --- */

static void finds_nothing_where_all_is_well(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    world_play(&world);
    const struct verdict *verdict = checker_verdict(world.checker);
    world_print_violations(&world);
    assert_int_equal(verdict->violations, 0);
    for (int rule = 0; rule < RULE_READ_CAMPAIGN; rule++)
        if (verdict->checked[rule] == 0)
            fail_msg("nothing was checked under: %s", rule_describe((enum rule)rule)->holds);
    assert_int_equal(checker_issued(world.checker), 3);
    assert_int_equal(checker_holder(world.checker, 1), 1);
    world_deinit(&world);
}

static void begins_in_the_middle_of_a_slice(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    uint8_t chain[32] = {7, 8, 9};
    struct checked_campaign campaign = {.id = span_of(campaign_id),
                                        .created_at = 101,
                                        .quantity = 3,
                                        .released = 3,
                                        .per_user_limit = 1,
                                        .users = USERS,
                                        .keys = USERS,
                                        .demand = -1,
                                        .names = &names};
    for (size_t i = 0; i < world.lines_count; i++)
        world.lines[i].position += 100;
    world.checker = checker_create(&campaign);
    checker_log_begin(world.checker, 100, chain);
    play_batch(&world, 0, 3, chain);
    checker_log_end(world.checker);
    assert_int_equal(checker_verdict(world.checker)->violations, 0);
    assert_int_equal(checker_verdict(world.checker)->checked[RULE_CHAIN], 1);
    checker_destroy(world.checker);
}

static void keeps_the_first_violations_and_counts_the_rest(void **state)
{
    struct world world;
    struct read_difference why = {"differs"};
    (void)state;
    world_init(&world);
    world_play(&world);
    for (int i = 0; i < VIOLATIONS_KEPT + 5; i++)
        checker_read_done(world.checker, RULE_READ_USER, &why);
    assert_int_equal(checker_verdict(world.checker)->violations, VIOLATIONS_KEPT + 5);
    assert_string_equal(checker_verdict(world.checker)->first[VIOLATIONS_KEPT - 1].text, "differs");
    world_deinit(&world);
}

/* --- The log --- */

static void campaign_created_otherwise(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    world.lines[0].quantity = 4; /* asked for: 3 */
    expect_only(&world, RULE_CREATED, 1);
    world_init(&world);
    world.lines[0].per_user_limit = 2;
    expect_only(&world, RULE_CREATED, 1);
    world_init(&world);
    world.created_at = 2;
    expect_only(&world, RULE_CREATED, 1);
    world_init(&world);
    world.lines[0].released = 2; /* one too many is issued then, too */
    world.demand = -1;
    world_play(&world);
    assert_int_equal(checker_verdict(world.checker)->violated[RULE_CREATED], 1);
    world_deinit(&world);
}

static void campaign_created_twice(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    add_line(&world, world.lines[0]);
    expect_only(&world, RULE_CREATED, 1);
}

static void coupon_before_its_campaign(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    world.lines[0].type = EVENT_CampaignPaused;
    world.lines_count = 1;
    world.said_count = 0;
    world.demand = 0;
    expect_only(&world, RULE_CREATED, 2); /* an event too early, and no creation at all */
}

static void more_issued_than_released(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    world.said_count = 6; /* nobody was told "sold out", which would contradict a fourth coupon */
    add_line(&world, (struct line){.type = EVENT_CouponIssued, .user = 3, .sequence = 4, .nth = 1});
    add_said(&world, (struct said){.user = 3, .line = 4, .sent_us = 100, .done_us = 500});
    world.demand = -1; /* COUNT would say so too */
    expect_only(&world, RULE_STOCK, 1);
}

static void more_released_than_there_are(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    add_line(&world, (struct line){.type = EVENT_StockReleased, .quantity = 1});
    world.demand = 3;
    expect_only(&world, RULE_STOCK, 1);
}

static void fewer_issued_than_wanted(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    world.lines_count = 3; /* the third coupon is not there, and neither is its answer */
    world.said[2].problem = world.said[5].problem = "sold-out";
    expect_only(&world, RULE_COUNT, 1);
}

static void issued_while_paused(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    world.lines[3] = world.lines[2]; /* a pause takes the place of the second coupon, which comes third */
    world.lines[3].position = 4, world.lines[3].time_us = 4000;
    world.lines[2] = (struct line){.type = EVENT_CampaignPaused, .position = 3, .time_us = 3000};
    world.said[1].line = 3;
    world.said[2].problem = world.said[5].problem = "paused";
    world.demand = 2;
    world.lines[0].released = 3;
    world_play(&world);
    assert_int_equal(checker_verdict(world.checker)->violated[RULE_OPEN], 1);
    world_deinit(&world);
}

static void issued_again_after_resuming(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    world.lines_count = 3;
    add_line(&world, (struct line){.type = EVENT_CampaignPaused});
    add_line(&world, (struct line){.type = EVENT_CampaignResumed});
    add_line(&world, (struct line){.type = EVENT_CouponIssued, .user = 2, .sequence = 3, .nth = 1});
    world.said[2].line = world.said[5].line = 5;
    expect_only(&world, RULE_OPEN, 0);
}

static void user_holds_two(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    world.lines[3].user = 1; /* the third coupon too; told so, and user 2 was refused */
    world.lines[3].nth = 2;
    world.said[2] = (struct said){.user = 2, .problem = "sold-out", .sent_us = 100, .done_us = 500};
    world.said[5] = world.said[2];
    add_said(&world, (struct said){
                         .user = 1, .lost = LOAD_LOST, .sent_us = 100, .done_us = 500}); /* not UNANSWERED */
    expect_only(&world, RULE_LIMIT, 1);
    world_init(&world);
    world.lines[3].nth = 2; /* says that it is a second one */
    expect_only(&world, RULE_LIMIT, 1);
}

static void coupon_of_a_stranger(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    world.lines[3].user = USERS;
    world.said[2] = (struct said){.user = 2, .problem = "sold-out", .sent_us = 100, .done_us = 500};
    world.said[5] = world.said[2];
    expect_only(&world, RULE_ASKED, 1);
}

static void sequence_with_a_hole(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    world.lines[3].sequence = 4;
    expect_only(&world, RULE_SEQUENCE, 1);
}

static void position_with_a_hole(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    world.lines[3].position = 5; /* a batch of its own: it begins too late */
    expect_only(&world, RULE_GAPLESS, 1);
    world_init(&world);
    world.lines[2].position = 4, world.lines[3].position = 5; /* inside a batch */
    expect_only(&world, RULE_GAPLESS, 1);
}

static void event_of_another_slice(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    world.lines[2].other_slice = true;
    world.said[1] = (struct said){.user = 1, .lost = LOAD_LOST, .sent_us = 100, .done_us = 200};
    expect_only(&world, RULE_GAPLESS, 1);
}

static void batch_that_says_other_positions(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    world.lines_count = 4;
    world.lines[0].ends_batch = world.lines[2].ends_batch = false; /* one batch of all four */
    world.batch_last_off = 1;
    expect_only(&world, RULE_GAPLESS, 1);
}

static void time_runs_backwards(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    world.lines[1].time_us = 3001; /* the next one says 3000 */
    expect_only(&world, RULE_CLOCK, 1);
    world_init(&world);
    world.last_batch_time_off = -2000; /* recorded before what is in the batch before */
    expect_only(&world, RULE_CLOCK, 1);
}

static void hash_chain_broken(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    world.bad_chain = 2;
    expect_only(&world, RULE_CHAIN, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_nothing_where_all_is_well),
        cmocka_unit_test(begins_in_the_middle_of_a_slice),
        cmocka_unit_test(keeps_the_first_violations_and_counts_the_rest),
        cmocka_unit_test(campaign_created_otherwise),
        cmocka_unit_test(campaign_created_twice),
        cmocka_unit_test(coupon_before_its_campaign),
        cmocka_unit_test(more_issued_than_released),
        cmocka_unit_test(more_released_than_there_are),
        cmocka_unit_test(fewer_issued_than_wanted),
        cmocka_unit_test(issued_while_paused),
        cmocka_unit_test(issued_again_after_resuming),
        cmocka_unit_test(user_holds_two),
        cmocka_unit_test(coupon_of_a_stranger),
        cmocka_unit_test(sequence_with_a_hole),
        cmocka_unit_test(position_with_a_hole),
        cmocka_unit_test(event_of_another_slice),
        cmocka_unit_test(batch_that_says_other_positions),
        cmocka_unit_test(time_runs_backwards),
        cmocka_unit_test(hash_chain_broken),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
