/* SPDX-License-Identifier: Apache-2.0 */
/* The heart of the service without a database: what one transaction decides, writes and answers. The test
 * fills the loaded part as the store would. */
#include "command-service/core/batch.h"

#include "command-service/core/batch_testing.h"
#include "common/http/http.h"
#include "events/problems.h"

/* --- issuing --- */

static void two_users(void **state)
{
    (void)state;
    struct command *a = ask_issue(0, "a");
    a->fingerprint[3] = 7;
    ask_issue(0, "b");
    begin();
    assert_int_equal(batch->count, 2);
    assert_int_equal(batch->campaigns_count, 1);
    assert_int_equal(batch->holdings_count, 2);
    loaded(0)->issued = 4;
    batch_decide(batch);
    assert_int_equal(batch->events_count, 2);
    assert_int_equal(batch->head, HEAD + 2);
    expect_event(0, EVENT_CouponIssued, "spring");
    expect_event(1, EVENT_CouponIssued, "spring");
    expect_coupon(0, 0, 5);
    expect_coupon(1, 1, 6);
    const struct loaded_campaign *is = outcome(0);
    assert_true(is->changed && !is->is_new);
    assert_int_equal(is->campaign.issued, 6);
    assert_int_equal(is->campaign.position, HEAD + 2);
    assert_int_equal(is->run_first_sequence, 5);
    assert_int_equal(is->run_first_position, HEAD + 1);
    assert_int_equal(is->run_last_position, HEAD + 2);
    assert_true(batch_has_writes(batch));
}

/* I2 inside one transaction, where no row of the first coupon exists yet. */
static void the_same_user_twice(void **state)
{
    (void)state;
    ask_issue(0, "a");
    ask_issue(0, "a");
    ask_issue(0, "a");
    begin();
    assert_int_equal(batch->holdings_count, 1);
    loaded(0)->definition.per_user_limit = 2;
    batch_hold(batch, holding_of(0, "a"), 17);
    batch_decide(batch);
    assert_int_equal(batch->events_count, 1);
    expect_coupon(0, 0, 1);
    assert_int_equal(batch->events[0].coupon_issued.nth, 2);
    for (size_t i = 1; i < 3; i++) {
        char expected[64];
        expect_refusal(i, &problem_already_issued);
        snprintf(expected, sizeof expected, "\"coupon_ids\":[\"c%d-17\",\"c%d-101\"]", batch->slice,
                 batch->slice);
        struct buf held;
        buf_init(&held, 1024);
        answer_write_held(&held, batch->slice, batch->verdicts[i].held);
        assert_span(buf_span(&held), expected);
        buf_deinit(&held);
    }
}

static void users_of_two_campaigns_are_apart(void **state)
{
    (void)state;
    ask_issue(0, "a");
    ask_issue(1, "a");
    begin();
    assert_int_equal(batch->holdings_count, 2);
    loaded(0);
    loaded(1);
    batch_decide(batch);
    expect_coupon(0, 0, 1);
    expect_coupon(1, 1, 1);
    expect_event(0, EVENT_CouponIssued, names[0]);
    expect_event(1, EVENT_CouponIssued, names[1]);
}

/* I1 inside one transaction. */
static void sells_out(void **state)
{
    (void)state;
    static const char *const users[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < COUNT_OF(users); i++)
        ask_issue(0, users[i]);
    begin();
    loaded(0)->issued = 8;
    batch_decide(batch);
    assert_int_equal(batch->events_count, 2);
    expect_coupon(0, 0, 9);
    expect_coupon(1, 1, 10);
    expect_refusal(2, &problem_sold_out);
    expect_refusal(3, &problem_sold_out);
    assert_null(batch->verdicts[2].held);
}

static void refusals_leave_nothing(void **state)
{
    (void)state;
    ask_issue(0, "a");
    ask_issue(1, "a");
    ask(COMMAND_PAUSE, 2);
    ask_create(0, 5);
    begin();
    loaded(0)->state = CAMPAIGN_PAUSED;
    loaded(2)->state = CAMPAIGN_CLOSED;
    batch_decide(batch);
    expect_refusal(0, &problem_paused);
    expect_refusal(1, &problem_unknown_campaign);
    expect_refusal(2, &problem_ended);
    expect_refusal(3, &problem_campaign_exists);
    assert_int_equal(batch->events_count, 0);
    assert_int_equal(batch->head, HEAD);
    for (size_t name = 0; name < 3; name++)
        assert_false(outcome(name)->changed || outcome(name)->is_new);
    assert_false(batch_has_writes(batch));
}

/* --- campaigns --- */

static void creates_and_issues_at_once(void **state)
{
    (void)state;
    ask_issue(0, "early");
    ask_create(0, 1)->create->code_prefix = SPAN("FRI");
    ask_issue(0, "a");
    ask_issue(0, "b");
    begin();
    batch_decide(batch);
    expect_refusal(0, &problem_unknown_campaign); /* order is order (I5) */
    expect_event(0, EVENT_CampaignCreated, "spring");
    expect_event(1, EVENT_CouponIssued, "spring");
    assert_int_equal(batch->events_count, 2);
    expect_body(1, 201, "\"id\":\"spring\",\"status\":\"active\",\"issued\":0");
    assert_int_equal(batch->verdicts[1].token.position, HEAD + 1);
    expect_coupon(2, 1, 1);
    assert_span(batch->verdicts[2].coupon.code_prefix, "FRI");
    expect_refusal(3, &problem_sold_out);
    const struct loaded_campaign *is = outcome(0);
    assert_true(is->exists && is->is_new);
    assert_int_equal(is->campaign.first, HEAD + 1);
    assert_int_equal(is->campaign.issued, 1);
    assert_span(is->campaign.definition.created_by, "admin");
}

static void the_second_creation_is_refused(void **state)
{
    (void)state;
    ask_create(0, 1);
    ask_create(0, 2);
    begin();
    batch_decide(batch);
    expect_body(0, 201, "\"quantity\":1,");
    expect_refusal(1, &problem_campaign_exists);
    assert_int_equal(batch->events_count, 1);
}

/* Answers show the campaign as it was right after their command, not at the end of the batch. */
static void each_answer_is_of_its_moment(void **state)
{
    (void)state;
    ask(COMMAND_PAUSE, 0)->reason = SPAN("wrong price");
    ask_issue(0, "a");
    ask(COMMAND_RESUME, 0);
    ask_issue(0, "a");
    ask(COMMAND_RELEASE, 0)->release.quantity = 3;
    ask(COMMAND_CLOSE, 0);
    begin();
    struct campaign *campaign = loaded(0);
    campaign->released = 5;
    batch_decide(batch);
    assert_int_equal(batch->events_count, 5);
    expect_body(0, 200, "\"status\":\"paused\",\"issued\":0");
    expect_body(0, 200, "\"status_reason\":\"wrong price\"");
    expect_refusal(1, &problem_paused);
    expect_body(2, 200, "\"status\":\"active\",\"issued\":0");
    expect_coupon(3, 2, 1);
    expect_body(4, 200, "\"status\":\"active\",\"issued\":1,\"remaining\":7,\"released\":8");
    expect_body(5, 200, "\"status\":\"closed\"");
    expect_event(3, EVENT_StockReleased, "spring");
    assert_int_equal(batch->verdicts[0].token.position, HEAD + 1);
    assert_int_equal(batch->verdicts[5].token.position, HEAD + 5);
    assert_int_equal(outcome(0)->campaign.state, CAMPAIGN_CLOSED);
}

/* If-Match: what a read said of this instant is what counts; a refusal leaves nothing behind. */
static void a_condition_is_looked_at_where_the_command_would_do_something(void **state)
{
    (void)state;
    static const char *const tags[] = {NULL, "\"0123456789abcdef0123456789abcdef\"", "*", "", "*", NULL};
    struct buf body, list;
    for (size_t i = 0; i < COUNT_OF(tags); i++)
        ask(COMMAND_PAUSE, i == 4 ? 1 : 0)->if_match = tags[i] ? span_of(tags[i]) : (struct span){NULL, 0};
    begin();
    struct campaign *campaign = loaded(0);
    campaign->released = 5;
    buf_init(&body, CAMPAIGN_JSON_MAX);
    buf_init(&list, 256);
    campaign_write_json(&body, NULL, campaign, NOW);
    buf_append_text(&list, "\"x\", ");
    http_etag_write(&list, buf_span(&body));
    batch->commands[5]->if_match = buf_span(&list); /* true before the first one pauses */
    batch_decide(batch);
    expect_body(0, 200, "\"status\":\"paused\"");
    expect_refusal(1, &problem_precondition_failed);
    expect_body(2, 200, "\"status\":\"paused\"");
    expect_refusal(3, &problem_precondition_failed);
    expect_refusal(4, &problem_unknown_campaign); /* would be refused without a condition too */
    expect_refusal(5, &problem_precondition_failed);
    assert_int_equal(batch->events_count, 1);
    buf_deinit(&list);
    buf_deinit(&body);
}

/* The other way round: nobody wants to change what is as it is named. */
static void a_tag_that_is_not_wanted_is_a_condition_too(void **state)
{
    (void)state;
    static const char *const tags[] = {"*", "\"0123456789abcdef0123456789abcdef\"", NULL};
    struct buf body, list;
    for (size_t i = 0; i < COUNT_OF(tags); i++)
        ask(COMMAND_PAUSE, 0);
    begin();
    struct campaign *campaign = loaded(0);
    campaign->state = CAMPAIGN_PAUSED; /* so that nothing changes it in between */
    buf_init(&body, CAMPAIGN_JSON_MAX);
    buf_init(&list, 256);
    campaign_write_json(&body, NULL, campaign, NOW);
    buf_append_text(&list, "W/");
    http_etag_write(&list, buf_span(&body));
    for (size_t i = 0; i < COUNT_OF(tags); i++)
        batch->commands[i]->if_none_match = tags[i] ? span_of(tags[i]) : buf_span(&list);
    batch_decide(batch);
    expect_refusal(0, &problem_precondition_failed);
    expect_body(1, 200, "\"status\":\"paused\"");
    expect_refusal(2, &problem_precondition_failed);
    buf_deinit(&list);
    buf_deinit(&body);
}

static void a_condition_that_holds_lets_it_happen(void **state)
{
    (void)state;
    struct buf body, list;
    struct command *command = ask(COMMAND_PAUSE, 0);
    begin();
    struct campaign *campaign = loaded(0);
    campaign->released = 5;
    buf_init(&body, CAMPAIGN_JSON_MAX);
    buf_init(&list, 256);
    campaign_write_json(&body, NULL, campaign, NOW - 1);
    http_etag_write(&list, buf_span(&body));
    command->if_match = buf_span(&list);
    batch_decide(batch);
    expect_body(0, 200, "\"status\":\"paused\"");
    assert_int_equal(batch->events_count, 1);
    buf_deinit(&list);
    buf_deinit(&body);
}

/* In an incident two people press the same button; both are told it is done, and both may retry (I4). */
static void what_is_so_already_is_no_event(void **state)
{
    (void)state;
    ask(COMMAND_PAUSE, 0);
    begin();
    loaded(0)->state = CAMPAIGN_PAUSED;
    batch_decide(batch);
    expect_body(0, 200, "\"status\":\"paused\"");
    assert_int_equal(batch->events_count, 0);
    assert_false(outcome(0)->changed);
    assert_true(batch_has_writes(batch));
    assert_int_equal(batch->verdicts[0].token.position, 50); /* where the state stands */
}

static void what_is_due_is_released_first(void **state)
{
    (void)state;
    static const struct release plan[] = {{NOW - 10, 1}, {NOW, 1}, {NOW + 1, 1}};
    ask_issue(0, "a");
    ask_issue(0, "b");
    ask_issue(0, "c");
    begin();
    struct campaign *campaign = loaded(0);
    campaign->released = campaign->issued = 5;
    campaign->definition.release_plan = (struct release_list){plan, COUNT_OF(plan)};
    batch_decide(batch);
    assert_int_equal(batch->events_count, 4);
    expect_event(0, EVENT_StockReleased, "spring");
    expect_event(1, EVENT_StockReleased, "spring");
    assert_int_equal(batch->events[0].stock_released.plan_step, 1);
    assert_int_equal(batch->events[1].stock_released.plan_step, 2);
    expect_coupon(0, 2, 6);
    expect_coupon(1, 3, 7);
    expect_refusal(2, &problem_sold_out);
    assert_int_equal(outcome(0)->campaign.plan_done, 2);
    assert_int_equal(outcome(0)->run_first_position, HEAD + 3);
}

static void many_campaigns_share_the_slice(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3 * NAMES; i++)
        ask_issue(i % NAMES, i / NAMES == 0 ? "a" : i / NAMES == 1 ? "b" : "c");
    begin();
    assert_int_equal(batch->campaigns_count, NAMES);
    for (size_t name = 0; name < NAMES; name++)
        loaded(name)->issued = (int64_t)name;
    batch_decide(batch);
    assert_int_equal(batch->events_count, 3 * NAMES);
    for (size_t i = 0; i < 3 * NAMES; i++) {
        expect_event(i, EVENT_CouponIssued, names[i % NAMES]);
        expect_coupon(i, i, (int64_t)(i % NAMES + i / NAMES + 1));
    }
    assert_int_equal(outcome(2)->run_first_position, HEAD + 3);
    assert_int_equal(outcome(2)->run_last_position, HEAD + 3 + 2 * NAMES);
}

/* --- requests that took effect before --- */

static void replays_a_coupon(void **state)
{
    (void)state;
    ask_issue(0, "a");
    begin();
    loaded(0)->state = CAMPAIGN_CLOSED; /* whatever happened since */
    holding_of(0, "a")->count = 1;
    struct request_record *record = record_for(0);
    record->position = 17;
    record->effect = (struct event){.slice = batch->slice,
                                    .position = 17,
                                    .type = EVENT_CouponIssued,
                                    .campaign_id = SPAN("spring"),
                                    .user_id = SPAN("a"),
                                    .recorded_at_us = 99,
                                    .coupon_issued = {.sequence = 3, .nth = 1}};
    batch_decide(batch);
    const struct verdict *verdict = &batch->verdicts[0];
    assert_null(verdict->refusal);
    assert_true(verdict->replayed);
    assert_int_equal(verdict->coupon.sequence, 3);
    assert_int_equal(verdict->coupon.issued_at_us, 99);
    assert_int_equal(verdict->token.position, 17);
    assert_int_equal(batch->events_count, 0);
    assert_false(batch_has_writes(batch));
}

static void replays_an_answer(void **state)
{
    (void)state;
    ask(COMMAND_PAUSE, 0);
    ask(COMMAND_PAUSE, 0);
    begin();
    loaded(0);
    struct request_record *record = record_for(0);
    record->position = 40;
    record->answer = SPAN("{\"first\":true}");
    batch_decide(batch);
    const struct verdict *verdict = &batch->verdicts[0];
    assert_true(verdict->replayed);
    assert_span(verdict->kept, "{\"first\":true}");
    assert_int_equal(verdict->token.position, 40);
    assert_false(verdict->remembered);
    assert_int_equal(batch->events_count, 1); /* the second one's */
    assert_true(batch->verdicts[1].remembered);
}

/* The event says all of an issue's payload. */
static void an_issue_is_compared_by_its_user(void **state)
{
    (void)state;
    ask_issue(0, "a");
    ask_issue(0, "b");
    begin();
    loaded(0);
    for (size_t i = 0; i < 2; i++) {
        struct request_record *record = record_for(i);
        record->has_fingerprint = false;
        record->effect = (struct event){.slice = batch->slice,
                                        .position = 17,
                                        .type = EVENT_CouponIssued,
                                        .user_id = SPAN("a"),
                                        .coupon_issued = {.sequence = 3, .nth = 1}};
    }
    batch_decide(batch);
    assert_true(batch->verdicts[0].replayed);
    expect_refusal(1, &problem_idempotency_key_reused);
}

static void an_unreadable_effect_costs_only_its_own_retry(void **state)
{
    (void)state;
    ask_issue(0, "a");
    ask_issue(0, "b");
    begin();
    loaded(0);
    record_for(0)->unreadable = true;
    batch_decide(batch);
    expect_refusal(0, &problem_unreadable_state);
    expect_coupon(1, 0, 1);
}

static void another_payload_is_not_a_replay(void **state)
{
    (void)state;
    ask_issue(0, "a");
    begin();
    loaded(0);
    struct request_record *record = record_for(0);
    record->fingerprint[FINGERPRINT_BYTES - 1] ^= 1;
    record->answer = SPAN("{}");
    batch_decide(batch);
    expect_refusal(0, &problem_idempotency_key_reused);
    assert_int_equal(batch->events_count, 0);
}

/* After a lost connection, the effect found in the log is our own: the client sees its first answer. */
static void own_effect_is_no_replay(void **state)
{
    (void)state;
    ask(COMMAND_PAUSE, 0)->commit_was_sent = true;
    begin();
    loaded(0)->state = CAMPAIGN_PAUSED;
    struct request_record *record = record_for(0);
    record->position = 40;
    record->answer = SPAN("{}");
    batch_decide(batch);
    assert_null(batch->verdicts[0].refusal);
    assert_false(batch->verdicts[0].replayed);
    assert_int_equal(batch->events_count, 0);
}

/* --- the batch itself --- */

static void can_be_used_again(void **state)
{
    (void)state;
    for (size_t round = 0; round < 3; round++) {
        static const char *const users[] = {"a", "b", "c"};
        for (size_t i = 0; i <= round; i++)
            ask_issue(round, users[i]);
        begin();
        loaded(round);
        batch_decide(batch);
        assert_int_equal(batch->events_count, round + 1);
        expect_coupon(round, round, (int64_t)round + 1);
        batch_reset(batch);
        assert_int_equal(batch->count, 0);
        assert_false(batch_has_writes(batch));
        while (first) {
            struct command *next = first->next;
            command_destroy(first);
            first = next;
        }
        last = NULL;
    }
}

static void takes_its_maximum(void **state)
{
    (void)state;
    static char users[BATCH_MAX][8];
    for (size_t i = 0; i < BATCH_MAX; i++) {
        snprintf(users[i], sizeof users[i], "u%zu", i);
        ask_issue(0, users[i]);
    }
    begin();
    struct campaign *campaign = loaded(0);
    campaign->definition.quantity = campaign->released = BATCH_MAX - 1;
    batch_decide(batch);
    assert_int_equal(batch->events_count, BATCH_MAX - 1);
    expect_coupon(BATCH_MAX - 2, BATCH_MAX - 2, BATCH_MAX - 1);
    expect_refusal(BATCH_MAX - 1, &problem_sold_out);
}

static void mixing_slices_is_a_bug(void **state)
{
    (void)state;
    ask_issue(0, "a");
    ask_issue(0, "b")->slice ^= 1;
    assert_true(dies(begin_it, NULL));
    last->slice ^= 1;
    assert_false(dies(begin_it, NULL));
    for (size_t i = 2; i <= BATCH_MAX; i++)
        ask_issue(0, "c");
    assert_true(dies(begin_it, NULL));
}

int main(void)
{
    crypto_setup();
    find_names();
    const struct CMUnitTest tests[] = {
        TEST(two_users),
        TEST(the_same_user_twice),
        TEST(users_of_two_campaigns_are_apart),
        TEST(sells_out),
        TEST(refusals_leave_nothing),
        TEST(creates_and_issues_at_once),
        TEST(the_second_creation_is_refused),
        TEST(each_answer_is_of_its_moment),
        TEST(a_condition_is_looked_at_where_the_command_would_do_something),
        TEST(a_tag_that_is_not_wanted_is_a_condition_too),
        TEST(a_condition_that_holds_lets_it_happen),
        TEST(what_is_so_already_is_no_event),
        TEST(what_is_due_is_released_first),
        TEST(many_campaigns_share_the_slice),
        TEST(replays_a_coupon),
        TEST(replays_an_answer),
        TEST(an_issue_is_compared_by_its_user),
        TEST(an_unreadable_effect_costs_only_its_own_retry),
        TEST(another_payload_is_not_a_replay),
        TEST(own_effect_is_no_replay),
        TEST(can_be_used_again),
        TEST(takes_its_maximum),
        TEST(mixing_slices_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
