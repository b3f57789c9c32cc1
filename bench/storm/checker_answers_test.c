/* SPDX-License-Identifier: Apache-2.0 */
/* Each rule against a small campaign in which all is well, and against one crafted violation of that rule and
 * no other. */
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

/* --- The coupons --- */

static void finds_nothing_where_all_is_well(void **)
{
    struct world world;
    world_init(&world);
    world_play(&world);
    const struct verdict *verdict = checker_verdict(world.checker);
    world_print_violations(&world);
    assert_int_equal(verdict->violations, 0);
    for (int rule = 0; rule < RULE_COUNT_OF; rule++)
        if (verdict->checked[rule] == 0)
            fail_msg("nothing was checked under: %s", rule_describe((enum rule)rule)->holds);
    world_deinit(&world);
}

static void keeps_the_first_violations_and_counts_the_rest(void **)
{
    struct world world;
    world_init(&world);
    for (size_t i = world.replies_count; i < REPLIES_MAX; i++)
        add_reply(&world, (struct reply){.user = 0, .problem = "paused", .sent_us = 300, .done_us = 400});
    world_play(&world);
    assert_true(checker_verdict(world.checker)->violations == REPLIES_MAX - 8);
    assert_true(checker_verdict(world.checker)->first[0].text[0] != '\0');
    world_deinit(&world);
}

static void fewer_issued_than_wanted(void **)
{
    struct world world;
    world_init(&world);
    world.lines_count = 2; /* the third coupon is not there, and neither is its answer */
    world.replies[2].problem = world.replies[5].problem = "sold-out";
    expect_only(&world, RULE_COUNT, 1);
}

static void coupon_of_a_stranger(void **)
{
    struct world world;
    world_init(&world);
    world.lines[2].user = USERS;
    world.replies[2] = (struct reply){.user = 2, .problem = "sold-out", .sent_us = 100, .done_us = 500};
    world.replies[5] = world.replies[2];
    expect_only(&world, RULE_ASKED, 1);
}

/* --- 201s --- */

static void answer_that_is_not_in_the_log(void **)
{
    struct world world;
    world_init(&world);
    world.lines_count = 2; /* user 2's coupon was promised twice and never kept */
    world.replies_count = 6;
    world.demand = 2;
    expect_only(&world, RULE_ANSWER, 2);
}

/* User 0's answer is altered: said[0], with the repeat taken away. */
static void expect_answer_refused(const char *from, const char *to)
{
    struct world world;
    world_init(&world);
    world.replies[3] = world.replies[7];
    world.replies[0].from = from;
    world.replies[0].to = to;
    world_play(&world);
    assert_int_equal(checker_verdict(world.checker)->violated[RULE_ANSWER], 1);
    assert_int_equal(checker_verdict(world.checker)->violated[RULE_UNANSWERED],
                     1); /* its coupon was not told */
    assert_int_equal(checker_verdict(world.checker)->violations, 2);
    world_deinit(&world);
}

static void answer_that_differs_from_the_log(void **)
{
    expect_answer_refused("\"sequence\":1", "\"sequence\":2");
    expect_answer_refused("test-00000000", "test-00000001");
    expect_answer_refused("test-00000000", "nobody");
    expect_answer_refused("storm-test", "storm-other");
    expect_answer_refused("-2\"", "-3\"");
    expect_answer_refused("\"position\":2", "\"position\":3");
    expect_answer_refused("\"slice\":", "\"slice\":1");
    expect_answer_refused("1970-01-01", "1970-01-02");
    expect_answer_refused("\"code\":", "\"cold\":");
    expect_answer_refused("{", "[");
}

static void answer_that_names_another_slice(void **)
{
    char from[32], to[32];
    int slice = slice_of(span_of(campaign_id));
    snprintf(from, sizeof from, "\"c%d-", slice);
    snprintf(to, sizeof to, "\"c%d-", slice ^ 1);
    expect_answer_refused(from, to);
    snprintf(from, sizeof from, "\"slice\":%d", slice);
    for (int off = -65536; off <= 65536; off += 65536 * 2) {
        snprintf(to, sizeof to, "\"slice\":%d", slice + off);
        expect_answer_refused(from, to);
    }
}

static void answer_with_somebody_elses_coupon(void **)
{
    struct world world;
    world_init(&world);
    world.replies[3] = world.replies[7];
    world.replies[0].line = 1; /* user 0 is shown user 1's, which is in the log just so */
    world_play(&world);
    assert_int_equal(checker_verdict(world.checker)->violated[RULE_ANSWER], 1);
    assert_int_equal(checker_verdict(world.checker)->violated[RULE_UNANSWERED], 1);
    world_deinit(&world);
}

static void answer_without_its_token(void **)
{
    struct world world;
    world_init(&world);
    world.replies[3].token_off = 1; /* the repeat's: before the coupon */
    expect_only(&world, RULE_ANSWER, 1);
    world_init(&world);
    world.replies[3].token_elsewhere = true;
    expect_only(&world, RULE_ANSWER, 1);
}

static void coupon_nobody_was_told_of(void **)
{
    struct world world;
    world_init(&world);
    world.replies[1] = (struct reply){.user = 1, .problem = "in-flight", .sent_us = 100, .done_us = 200};
    expect_only(&world, RULE_UNANSWERED, 1);
}

static void coupon_whose_answer_was_lost(void **)
{
    static const enum load_outcome losses[] = {LOAD_LOST, LOAD_TIMED_OUT, LOAD_MALFORMED};
    for (size_t i = 0; i < COUNT_OF(losses); i++) {
        struct world world;
        world_init(&world);
        world.replies[1] = (struct reply){.user = 1, .lost = losses[i], .sent_us = 100, .done_us = 200};
        expect_only(&world, RULE_UNANSWERED, 0);
    }
}

static void same_key_other_bytes(void **)
{
    struct world world;
    world_init(&world);
    world.replies[3].from = "\"status\":\"issued\"";
    world.replies[3].to = "\"status\":\"ISSUED\"";
    expect_only(&world, RULE_SAME_BYTES, 1);
}

static void repeat_that_does_not_say_so(void **)
{
    struct world world;
    world_init(&world);
    world.replies[3].replayed = false;
    expect_only(&world, RULE_REPLAYED, 1);
    world_init(&world);
    world.replies[3].replayed =
        false; /* also where it is the only one unmarked: it was sent after the other came */
    world.replies[0].replayed = true;
    expect_only(&world, RULE_REPLAYED, 1);
    world_init(&world);
    world.replies[3].replayed = false; /* two at the same time: only one of them can have been the first */
    world.replies[3].sent_us = 100;
    expect_only(&world, RULE_REPLAYED, 1);
    world_init(&world);
    world.replies[3].replayed = false; /* the first one may arrive last */
    world.replies[3].sent_us = 100;
    world.replies[0].replayed = true;
    expect_only(&world, RULE_REPLAYED, 0);
}

static void first_answer_that_calls_itself_a_repeat(void **)
{
    struct world world;
    world_init(&world);
    world.replies[1].replayed = true;
    expect_only(&world, RULE_REPLAYED, 1);
}

/* --- Refusals --- */

static void refused_after_it_was_answered(void **)
{
    struct world world;
    world_init(&world);
    world.replies[3] = (struct reply){.user = 0, .problem = "paused", .sent_us = 300, .done_us = 400};
    expect_only(&world, RULE_REFUSED, 1);
}

static void refused_beside_a_lost_answer(void **)
{
    struct world world;
    world_init(&world);
    world.replies[1] = (struct reply){.user = 1, .lost = LOAD_LOST, .sent_us = 100, .done_us = 200};
    add_reply(&world, (struct reply){.user = 1, .problem = "sold-out", .sent_us = 450, .done_us = 500});
    expect_only(&world, RULE_REFUSED, 1);
}

static void twin_refused_at_the_same_time(void **)
{
    struct world world;
    world_init(&world);
    world.replies[4].problem = "already-issued"; /* user 2 got its coupon by the other one */
    expect_only(&world, RULE_REFUSED, 1);
    world_init(&world);
    world.replies[4].problem = "paused"; /* may have been so a moment before */
    expect_only(&world, RULE_REFUSED, 0);
}

/* --- Order --- */

static void asked_after_a_later_one_was_answered(void **)
{
    struct world world;
    world_init(&world);
    world.replies[0].sent_us = 204; /* sequence 1, after sequence 2 (201) and 3 (202) were answered */
    world.replies[0].done_us = 210;
    expect_only(&world, RULE_ORDER, 1);
}

static void order_counts_from_the_first_try(void **)
{
    struct world world;
    world_init(&world);
    world.replies[0].sent_us = 204;
    world.replies[0].replayed = true;
    add_reply(&world, (struct reply){.user = 0, .lost = LOAD_LOST, .sent_us = 100, .done_us = 203});
    expect_only(&world, RULE_ORDER, 0);
}

static void order_goes_by_the_key_that_took_effect(void **)
{
    struct world world;
    world_init(&world);
    world.replies[0].sent_us = 204; /* too late for sequence 1; an earlier try had another key */
    world.replies[0].done_us = 210;
    add_reply(&world, (struct reply){
                          .user = 0, .problem = "paused", .sent_us = 50, .done_us = 60, .other_key = true});
    expect_only(&world, RULE_ORDER, 1);
}

static void lost_answers_are_ordered_too(void **)
{
    struct world world;
    world_init(&world);
    world.replies[0] = (struct reply){.user = 0, .lost = LOAD_LOST, .sent_us = 203, .done_us = 204};
    world.replies[3] = world.replies[7];
    expect_only(&world, RULE_ORDER, 1);
}

static void got_one_after_sold_out(void **)
{
    struct world world;
    world_init(&world);
    world.replies[6].done_us = 150; /* user 3 hears "sold out" before user 2 asks */
    world.replies[2].sent_us = world.replies[4].sent_us = 160;
    expect_only(&world, RULE_SOLD_OUT, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_nothing_where_all_is_well),
        cmocka_unit_test(keeps_the_first_violations_and_counts_the_rest),
        cmocka_unit_test(fewer_issued_than_wanted),
        cmocka_unit_test(coupon_of_a_stranger),
        cmocka_unit_test(answer_that_is_not_in_the_log),
        cmocka_unit_test(answer_that_differs_from_the_log),
        cmocka_unit_test(answer_that_names_another_slice),
        cmocka_unit_test(answer_with_somebody_elses_coupon),
        cmocka_unit_test(answer_without_its_token),
        cmocka_unit_test(coupon_nobody_was_told_of),
        cmocka_unit_test(coupon_whose_answer_was_lost),
        cmocka_unit_test(same_key_other_bytes),
        cmocka_unit_test(repeat_that_does_not_say_so),
        cmocka_unit_test(first_answer_that_calls_itself_a_repeat),
        cmocka_unit_test(refused_after_it_was_answered),
        cmocka_unit_test(refused_beside_a_lost_answer),
        cmocka_unit_test(twin_refused_at_the_same_time),
        cmocka_unit_test(asked_after_a_later_one_was_answered),
        cmocka_unit_test(order_counts_from_the_first_try),
        cmocka_unit_test(order_goes_by_the_key_that_took_effect),
        cmocka_unit_test(lost_answers_are_ordered_too),
        cmocka_unit_test(got_one_after_sold_out),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
