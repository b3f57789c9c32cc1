/* SPDX-License-Identifier: Apache-2.0 */
/* One command for many users: each decided as if alone, remembered as one. */
#include "command-service/core/batch.h"

#include "command-service/core/batch_testing.h"
#include "events/problems.h"

static const struct span crowd[] = {{"a", 1}, {"b", 1}, {"a", 1}, {"c", 1}, {"d", 1}};

static struct command *ask_many(size_t name)
{
    struct command *command = ask(COMMAND_ISSUE_MANY, name);
    command->issue_many.user_ids = crowd;
    command->issue_many.count = COUNT_OF(crowd);
    return command;
}

/* "c3": the coupon with this sequence; otherwise the code of a refusal. */
static void expect_results(const char *const *expected)
{
    const struct issue_result *results = batch->verdicts[0].results;
    assert_null(batch->verdicts[0].refusal);
    assert_non_null(results);
    for (size_t i = 0; i < COUNT_OF(crowd); i++) {
        char sequence[24];
        assert_true(span_equal(results[i].user_id, crowd[i]));
        snprintf(sequence, sizeof sequence, "c%lld", (long long)results[i].coupon.sequence);
        assert_string_equal(results[i].refusal ? results[i].refusal->code : sequence, expected[i]);
        assert_true(results[i].refusal || span_equal(results[i].coupon.user_id, crowd[i]));
    }
}
#define EXPECT_RESULTS(...) expect_results((const char *const[]){__VA_ARGS__})

static void many_users_are_each_decided_alone(void **)
{
    ask_many(0);
    begin();
    assert_int_equal(batch->holdings_count, 4);
    loaded(0)->issued = 7;
    holding_of(0, "b")->count = 1;
    batch_decide(batch);
    EXPECT_RESULTS("c8", "already-issued", "already-issued", "c9", "c10");
    assert_int_equal(batch->events_count, 3);
    expect_event(2, EVENT_CouponIssued, "spring");
    assert_int_equal(batch->verdicts[0].token.position, HEAD + 3);
    assert_int_equal(outcome(0)->run_first_sequence, 8);
    assert_int_equal(outcome(0)->run_last_position, HEAD + 3);
    assert_true(batch->verdicts[0].remembered);
    expect_kept(0, "[101,\"already-issued\",\"already-issued\",102,103]");
}

static void many_users_share_what_is_left(void **)
{
    ask_many(0);
    begin();
    loaded(0)->issued = 8;
    batch_decide(batch);
    EXPECT_RESULTS("c9", "c10", "already-issued", "sold-out", "sold-out");
    assert_int_equal(batch->events_count, 2);
}

/* Nobody got one: answered, but not kept, so that the key may be tried again. */
static void many_users_may_all_be_too_late(void **)
{
    ask_many(0);
    begin();
    loaded(0)->issued = 10;
    batch_decide(batch);
    EXPECT_RESULTS("sold-out", "sold-out", "sold-out", "sold-out", "sold-out");
    assert_int_equal(batch->verdicts[0].token.position, 0);
    assert_false(batch_has_writes(batch));
}

static void many_users_of_a_closed_campaign_are_one_refusal(void **)
{
    ask_many(0);
    begin();
    loaded(0)->state = CAMPAIGN_PAUSED;
    batch_decide(batch);
    expect_refusal(0, &problem_paused);
    assert_null(batch->verdicts[0].results);
    batch_reset(batch);
    begin();
    batch_decide(batch);
    expect_refusal(0, &problem_unknown_campaign);
    assert_false(batch_has_writes(batch));
}

static void the_outcome_for_many_is_read_strictly(void **)
{
    static const char *const bad[] = {"",
                                      "{}",
                                      "7",
                                      "[]",
                                      "[101,102,103,104]",
                                      "[101,102,103,104,105,106]",
                                      "[101,102,103,104,0]",
                                      "[101,102,103,104,-1]",
                                      "[101,102,103,104,\"paused\"]",
                                      "[101,102,103,104,null]",
                                      "[101,102,103,104,1.5]"};
    struct issue_result results[COUNT_OF(crowd)];
    ask_many(0);
    begin();
    struct request_record *record = record_for(0);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        record->answer = span_of(bad[i]);
        memset(results, 0, sizeof results);
        if (answer_recall(batch->commands[0], record, results))
            fail_msg("accepted: %s", bad[i]);
    }
    record->answer = SPAN("[101,\"already-issued\",\"sold-out\",102,103]");
    memset(results, 0, sizeof results);
    assert_true(answer_recall(batch->commands[0], record, results));
    assert_int_equal(results[0].coupon.at.position, 101);
    assert_int_equal(results[0].coupon.at.slice, batch->slice);
    assert_ptr_equal(results[1].refusal, &problem_already_issued);
    assert_ptr_equal(results[2].refusal, &problem_sold_out);
    assert_span(results[4].user_id, "d");
    record->position = 103;
    batch_decide(batch);
    assert_true(batch->verdicts[0].replayed);
    assert_ptr_equal(batch->verdicts[0].results, results);
    assert_int_equal(batch->verdicts[0].token.position, 103);
    assert_false(batch_has_writes(batch));
}

/* The largest outcome fits where it is written. */
static void as_many_as_there_may_be(void **)
{
    static struct span same[ISSUE_MANY_MAX];
    for (size_t i = 0; i < ISSUE_MANY_MAX; i++)
        same[i] = SPAN("a");
    struct command *command = ask_many(0);
    command->issue_many.user_ids = same;
    command->issue_many.count = ISSUE_MANY_MAX;
    begin();
    loaded(0);
    batch_decide(batch);
    assert_int_equal(batch->events_count, 1);
    struct buf kept;
    buf_init(&kept, 1 << 20);
    assert_true(answer_keep(&kept, batch->commands[0], &batch->verdicts[0]));
    assert_true(kept.len > (ISSUE_MANY_MAX - 1) * strlen("\"already-issued\""));
    assert_true(kept.len < BATCH_SCRATCH_MAX);
    buf_deinit(&kept);
    assert_ptr_equal(batch->verdicts[0].results[ISSUE_MANY_MAX - 1].refusal, &problem_already_issued);
}

static void many_are_not_mixed(void **)
{
    ask_many(0);
    ask_issue(0, "x");
    assert_true(dies(begin_it, NULL));
}

int main(void)
{
    crypto_setup();
    find_names();
    const struct CMUnitTest tests[] = {
        TEST(many_users_are_each_decided_alone),
        TEST(many_users_share_what_is_left),
        TEST(many_users_may_all_be_too_late),
        TEST(many_users_of_a_closed_campaign_are_one_refusal),
        TEST(the_outcome_for_many_is_read_strictly),
        TEST(as_many_as_there_may_be),
        TEST(many_are_not_mixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
