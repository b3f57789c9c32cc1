/* SPDX-License-Identifier: Apache-2.0 */
/* Batches that end, delete and void campaigns and count against quotas, and commands about the service
 * itself. The test fills the loaded part as the store would. */
#include "command-service/core/batch.h"

#include "command-service/core/batch_testing.h"
#include "common/base/clock.h"
#include "events/problems.h"

enum { LIMIT = 10, OTHER_SLICE = 9 };

/* --- deleting, ending, quotas --- */

static struct loaded_quota *quota(const char *scope)
{
    for (size_t i = 0; i < batch->quotas_count; i++)
        if (span_is(batch->quotas[i].scope, scope))
            return &batch->quotas[i];
    fail();
    return NULL;
}

static void ask_create_by(size_t name, int64_t quantity, const char *actor)
{
    ask_create(name, quantity)->actor = span_of(actor);
}

static void set_limits(int64_t by_key, int64_t by_all, int64_t stock)
{
    batch->limits = (struct creation_limits){by_key, by_all, stock};
}

static void quotas_are_asked_for_once(void **)
{
    static const char *const scopes[] = {"*", "key:zed", "#", "key:ann"};
    ask_create_by(0, 1, "zed");
    ask(COMMAND_CLOSE, 1);
    ask_create_by(2, 1, "ann");
    ask_create_by(3, 1, "zed");
    begin();
    assert_true(batch->creates);
    assert_int_equal(batch->quotas_count, COUNT_OF(scopes));
    for (size_t i = 0; i < COUNT_OF(scopes); i++)
        assert_span(batch->quotas[i].scope, scopes[i]);
    batch_reset(batch);
    ask_issue(0, "ann"); /* issuing takes none */
    batch_begin(batch, last);
    assert_int_equal(batch->quotas_count, 0);
    assert_false(batch->creates);
}

static void quotas_count_inside_the_transaction(void **)
{
    set_limits(3, 100, 1000);
    ask_create_by(0, 5, "ann");
    ask_create_by(1, 6, "ann");
    ask_create_by(2, 7, "bob");
    begin();
    quota("key:ann")->here = 1;
    quota("key:ann")->elsewhere = 1;
    quota("*")->here = 50;
    quota("#")->here = 100;
    batch_decide(batch);
    expect_body(0, 201, "\"quantity\":5,");
    expect_refusal(1, &problem_quota_exceeded);
    expect_body(2, 201, "\"quantity\":7,");
    assert_int_equal(quota("key:ann")->change, 1);
    assert_int_equal(quota("key:bob")->change, 1);
    assert_int_equal(quota("*")->change, 2);
    assert_int_equal(quota("#")->change, 12);
}

/* Closing, deleting and ending give the stock of the campaign back, and at once; its place in the day's count
 * stays used. */
static struct command *ask_change(size_t name, int64_t quantity)
{
    struct command *command = ask(COMMAND_CHANGE, name);
    command->change->quantity = quantity;
    return command;
}

/* Also of a campaign that the same batch creates. */
static void enlarging_counts_what_is_added(void **)
{
    set_limits(3, 100, 120);
    ask_create_by(0, 5, "ann");
    ask_change(0, 15);
    ask_change(1, 12);
    ask_change(1, 14);
    begin();
    loaded(1);
    quota("#")->here = 100;
    batch_decide(batch);
    expect_body(1, 200, "\"quantity\":15,");
    expect_body(2, 200, "\"quantity\":12,");
    expect_body(3, 200, "\"quantity\":14,");
    assert_int_equal(quota("#")->change, 19);
    assert_true(outcome(0)->is_new && outcome(0)->redefined && outcome(1)->redefined);
    batch_reset(batch);
    batch_begin(batch, last);
    batch->head = HEAD;
    batch->now_us = NOW;
    loaded(1);
    quota("#")->here = 117;
    batch_decide(batch);
    expect_refusal(0, &problem_stock_exceeded);
    assert_int_equal(quota("#")->change, 0);
}

static void stock_comes_back(void **)
{
    set_limits(10, 10, LIMIT);
    ask_create(3, 1);
    ask(COMMAND_CLOSE, 0);
    ask(COMMAND_CLOSE, 0);
    ask(COMMAND_DELETE, 1);
    ask(COMMAND_DELETE, 1);
    ask(COMMAND_TEND, 2)->keyed = false;
    ask_create(3, LIMIT + 1);
    ask_create(3, LIMIT);
    begin();
    loaded(0)->definition.quantity = 3;
    loaded(1)->definition.quantity = 3;
    loaded(2)->definition.quantity = 4;
    outcome(2)->campaign.definition.ends_at_us = NOW;
    quota("#")->here = LIMIT;
    batch_decide(batch);
    expect_refusal(0, &problem_stock_exceeded);
    expect_body(1, 200, "\"status\":\"closed\"");
    expect_body(2, 200, "\"status\":\"closed\"");
    assert_null(batch->verdicts[3].refusal);
    assert_null(batch->verdicts[4].refusal);
    expect_refusal(6, &problem_stock_exceeded);
    expect_body(7, 201, "\"quantity\":10,");
    assert_int_equal(batch->events_count, 4);
    expect_event(0, EVENT_CampaignClosed, names[0]);
    expect_event(1, EVENT_CampaignDeleted, names[1]);
    expect_event(2, EVENT_CampaignEnded, names[2]);
    assert_int_equal(quota("#")->change, 0);
    assert_int_equal(quota("*")->change, 1);
    assert_false(batch->verdicts[5].remembered); /* the sweep's own */
}

/* What is given back may have been counted in another slice, as the former version did. */
static void stock_is_given_back_where_the_campaign_is(void **)
{
    ask(COMMAND_CLOSE, 0);
    begin();
    loaded(0)->definition.quantity = 10;
    batch_decide(batch);
    assert_int_equal(quota("#")->change, -10);
}

static void deleting_has_an_empty_answer(void **)
{
    ask(COMMAND_DELETE, 0);
    ask(COMMAND_DELETE, 0)->keyed = false;
    ask_issue(0, "ann");
    ask_create(0, 1);
    ask(COMMAND_DELETE, 1);
    begin();
    loaded(0);
    loaded(1)->issued = 1;
    batch_decide(batch);
    assert_int_equal(batch->events_count, 1);
    expect_event(0, EVENT_CampaignDeleted, names[0]);
    for (size_t i = 0; i < 2; i++) {
        assert_null(batch->verdicts[i].refusal);
        expect_kept(i, ""); /* kept, and empty */
    }
    assert_int_equal(answer_status(COMMAND_DELETE), 204);
    assert_true(batch->verdicts[0].remembered);
    assert_false(batch->verdicts[1].remembered); /* had no key */
    expect_refusal(2, &problem_unknown_campaign);
    expect_refusal(3, &problem_campaign_exists);
    expect_refusal(4, &problem_has_coupons);
}

/* What the sweep finds not to be due any more, it takes off the list of what is due, without an event. */
static void tending_corrects_what_is_due(void **)
{
    ask(COMMAND_TEND, 0)->keyed = false;
    ask(COMMAND_TEND, 1)->keyed = false;
    begin();
    loaded(0);
    outcome(0)->due_at_us = 1; /* it was closed and opened by another version, say */
    loaded(1)->definition.ends_at_us = NOW + 1;
    outcome(1)->due_at_us = NOW + 1;
    batch_decide(batch);
    assert_int_equal(batch->events_count, 0);
    assert_true(outcome(0)->changed);
    assert_false(outcome(1)->changed);
    assert_true(batch_has_writes(batch));
}

/* --- a creation's way to its campaign's slice --- */

/* A creation at a step of its way, whose key is in another slice than its campaign, or is not. */
static struct command *ask_step(enum claim_step step, int16_t home, int64_t attempt, int64_t fenced)
{
    struct command *command = ask_create(0, 5);
    int16_t target = command->slice;
    command->fingerprint[0] = 7;
    command->claim = (struct claim){step, home, attempt, fenced};
    command->slice = step == CLAIM_WANTED ? home : step == CLAIM_FENCE ? OTHER_SLICE : target;
    return command;
}

static struct loaded_claim *claimed(int64_t attempt, uint8_t fingerprint, int16_t target)
{
    struct loaded_claim *claim = batch->claims[0];
    claim->attempt = attempt;
    claim->fingerprint[0] = fingerprint;
    claim->target_slice = target;
    return claim;
}

static void expect_next(enum claim_step step, int16_t slice, int64_t attempt, int64_t fenced)
{
    const struct verdict *verdict = &batch->verdicts[0];
    assert_null(verdict->refusal);
    assert_true(verdict->forwarded);
    assert_false(verdict->remembered);
    assert_int_equal(verdict->claim.step, step);
    assert_int_equal(verdict->slice, slice);
    assert_int_equal(verdict->claim.attempt, attempt);
    assert_int_equal(verdict->claim.fenced, fenced);
    assert_int_equal(batch->events_count, 0);
}

static int16_t home_slice(void)
{
    return (int16_t)((slice_of(SPAN("spring")) + 1) % SLICE_COUNT);
}

static void a_key_is_claimed_before_its_campaign_is_created(void **)
{
    ask_step(CLAIM_WANTED, home_slice(), 0, 0);
    begin();
    assert_int_equal(batch->campaigns_count, 0); /* it is of another slice */
    batch_decide(batch);
    expect_next(CLAIM_HELD, slice_of(SPAN("spring")), 1, 0);
    assert_true(batch->claims[0]->write_claim);
    assert_true(batch_has_writes(batch));
}

static void ones_own_claim_is_gone_on_from(void **)
{
    ask_step(CLAIM_WANTED, home_slice(), 0, 0);
    begin();
    claimed(3, 7, slice_of(SPAN("spring")));
    batch_decide(batch);
    expect_next(CLAIM_HELD, slice_of(SPAN("spring")), 3, 0);
    assert_false(batch_has_writes(batch));
}

static void a_claim_of_another_payload_is_fenced_off_first(void **)
{
    ask_step(CLAIM_WANTED, home_slice(), 0, 0);
    begin();
    claimed(3, 8, OTHER_SLICE);
    batch_decide(batch);
    expect_next(CLAIM_FENCE, OTHER_SLICE, 3, 0);
    assert_false(batch_has_writes(batch));
}

static void a_fenced_claim_is_taken_over(void **)
{
    ask_step(CLAIM_WANTED, home_slice(), 0, 3);
    begin();
    claimed(3, 8, OTHER_SLICE);
    batch_decide(batch);
    expect_next(CLAIM_HELD, slice_of(SPAN("spring")), 4, 3);
    assert_true(batch->claims[0]->write_claim);
}

/* Where the other payload took effect, its record is in that slice: see another_payload_is_not_a_replay. */
static void a_fence_sends_back_to_the_key(void **)
{
    ask_step(CLAIM_FENCE, home_slice(), 3, 0);
    begin();
    batch_decide(batch);
    expect_next(CLAIM_WANTED, home_slice(), 3, 3);
    assert_true(batch->claims[0]->write_fence);
    batch_reset(batch);
    first->claim = (struct claim){CLAIM_FENCE, slice_of(SPAN("spring")), 3, 0};
    begin();
    batch->claims[0]->fenced = 4; /* by somebody else */
    batch_decide(batch);
    expect_next(CLAIM_DIRECT, slice_of(SPAN("spring")), 3, 3);
    assert_false(batch->claims[0]->write_fence);
}

static void who_was_fenced_off_creates_nothing(void **)
{
    ask_step(CLAIM_HELD, home_slice(), 3, 0);
    begin();
    batch->claims[0]->fenced = 3;
    batch_decide(batch);
    expect_refusal(0, &problem_in_flight);
    assert_false(batch->verdicts[0].forwarded);
    batch_reset(batch);
    begin();
    batch->claims[0]->fenced = 2; /* a former attempt was */
    batch_decide(batch);
    expect_body(0, 201, "\"quantity\":5,");
    expect_event(0, EVENT_CampaignCreated, "spring");
    assert_int_equal(batch->verdicts[0].effect, HEAD + 1);
}

static void a_creation_in_its_keys_slice_needs_no_claim(void **)
{
    ask_step(CLAIM_DIRECT, slice_of(SPAN("spring")), 0, 0);
    begin();
    batch_decide(batch);
    expect_body(0, 201, "\"quantity\":5,");
    assert_false(batch->claims[0]->write_claim);
    batch_reset(batch);
    begin();
    claimed(1, 8, OTHER_SLICE);
    batch_decide(batch);
    expect_next(CLAIM_FENCE, OTHER_SLICE, 1, 0);
}

/* It would stay for ever, and bind the key to a payload that never took effect. */
static void what_a_quota_refuses_leaves_no_claim(void **)
{
    set_limits(0, 100, 1000);
    ask_step(CLAIM_WANTED, home_slice(), 0, 0);
    begin();
    batch_decide(batch);
    expect_next(CLAIM_REFUSED, slice_of(SPAN("spring")), 0, 0);
    assert_false(batch_has_writes(batch));
    batch_reset(batch);
    command_forward(first, &(struct claim){.step = CLAIM_REFUSED, .home = home_slice()},
                    slice_of(SPAN("spring")));
    begin();
    batch_decide(batch);
    expect_refusal(0, &problem_quota_exceeded);
    assert_false(batch_has_writes(batch));
    batch_reset(batch);
    begin();
    loaded(0); /* which is told before */
    batch_decide(batch);
    expect_refusal(0, &problem_campaign_exists);
    batch_reset(batch);
    set_limits(5, 100, 1000);
    begin();
    batch_decide(batch);
    expect_next(CLAIM_WANTED, home_slice(), 0, 0);
}

/* --- rows that nobody can read --- */

static void an_unreadable_campaign_costs_only_its_own_commands(void **)
{
    ask_issue(0, "ann");
    ask_issue(1, "ann");
    ask(COMMAND_CLOSE, 0);
    ask(COMMAND_TEND, 0)->keyed = false;
    begin();
    loaded(0);
    outcome(0)->unreadable = true;
    loaded(1);
    batch_decide(batch);
    expect_refusal(0, &problem_unreadable_state);
    expect_coupon(1, 0, 1);
    expect_refusal(2, &problem_unreadable_state);
    expect_refusal(3, &problem_unreadable_state);
    assert_int_equal(batch->events_count, 1);
}

/* The row says more than the log can have made. */
static void a_contradictory_campaign_costs_only_its_own_commands(void **)
{
    ask_issue(0, "ann");
    ask_issue(1, "ann");
    begin();
    loaded(0)->position = HEAD + 50;
    loaded(1);
    batch_decide(batch);
    expect_refusal(0, &problem_unreadable_state);
    expect_coupon(1, 0, 1);
    assert_int_equal(batch->events_count, 1);
    assert_int_equal(batch->head, HEAD + 1);
}

/* --- time --- */

static void a_slices_time_follows_two_clocks(void **)
{
    const int64_t own = INT64_C(1800000000000000), trust = CLOCK_TRUST_US;
    assert_int_equal(batch_time(0, own + 5, own), own + 5);
    assert_int_equal(batch_time(own + 9, own + 5, own), own + 9); /* never backwards */
    assert_int_equal(batch_time(0, own + trust, own), own + trust);
    assert_int_equal(batch_time(own - 9, own + US_PER_DAY, own), own); /* the database's is ahead */
    assert_int_equal(batch_time(own - 9, own, own + US_PER_DAY), own); /* the service's */
    assert_int_equal(batch_time(own - 9, own - US_PER_DAY, own), own); /* the database's is behind */
    assert_int_equal(batch_time(own - 9, own, own - US_PER_DAY), own);
    /* Nobody knows of a slice without a recent event; the day it is late by it makes up for. */
    assert_int_equal(batch_time(0, own, own - US_PER_DAY), own - US_PER_DAY);
    assert_int_equal(batch_time(own, 0, own - US_PER_DAY), own); /* both before its last event */
}

/* --- voiding --- */

static struct command *ask_void(bool dry_run)
{
    struct command *command = ask(COMMAND_VOID, 0);
    command->campaign_id = (struct span){NULL, 0};
    command->voids.dry_run = dry_run;
    return command;
}

static char void_ids[VOID_MAX][24];

/* As the store does for those that nothing was issued of. */
static void load_voidable(size_t count, int64_t matched, int64_t voidable)
{
    begin();
    batch->void_found = (struct void_counts){.matched = matched, .voidable = voidable};
    for (size_t i = 0; i < count; i++) {
        snprintf(void_ids[i], sizeof void_ids[i], "v%zu", i);
        struct loaded_campaign *is = batch_campaign(batch, span_of(void_ids[i]));
        is->exists = true;
        is->campaign = (struct campaign){.id = is->campaign.id,
                                         .definition = {.quantity = 2, .per_user_limit = 1},
                                         .first = 1,
                                         .position = 50,
                                         .state = i % 3 ? CAMPAIGN_ACTIVE : CAMPAIGN_CLOSED};
    }
}

static void expect_voided(int64_t matched, int64_t voidable, int64_t voided)
{
    const struct verdict *verdict = &batch->verdicts[0];
    assert_null(verdict->refusal);
    assert_int_equal(verdict->voided.matched, matched);
    assert_int_equal(verdict->voided.voidable, voidable);
    assert_int_equal(verdict->voided.voided, voided);
}

static void voids_as_many_as_it_may(void **)
{
    ask_void(false);
    load_voidable(VOID_MAX, 5000, 3000);
    batch_decide(batch);
    expect_voided(5000, 3000, VOID_MAX);
    assert_int_equal(batch->events_count, VOID_MAX);
    for (size_t i = 0; i < VOID_MAX; i++) {
        expect_event(i, EVENT_CampaignDeleted, void_ids[i]);
        assert_int_equal(batch->campaign_list[i]->campaign.state, CAMPAIGN_DELETED);
    }
    assert_int_equal(quota("#")->change, -2 * (VOID_MAX - (VOID_MAX + 2) / 3)); /* closed ones had none */
    assert_int_equal(batch->verdicts[0].token.position, HEAD + VOID_MAX);
    expect_kept(0, "{\"matched\":5000,\"voidable\":3000,\"voided\":1000}");
}

static void a_dry_run_only_counts(void **)
{
    ask_void(true);
    load_voidable(3, 7, 3);
    batch_decide(batch);
    expect_voided(7, 3, 0);
    assert_int_equal(batch->verdicts[0].token.position, 0);
    assert_false(batch_has_writes(batch)); /* nor is it remembered */
}

static void a_void_of_nothing_is_remembered(void **)
{
    ask_void(false);
    load_voidable(0, 4, 0);
    batch_decide(batch);
    expect_voided(4, 0, 0);
    assert_int_equal(batch->events_count, 0);
    assert_true(batch->verdicts[0].remembered);
}

static void replays_a_void(void **)
{
    ask_void(false);
    load_voidable(3, 7, 3);
    struct request_record *record = record_for(0);
    record->answer = SPAN("{\"matched\":9,\"voidable\":8,\"voided\":8}");
    assert_true(answer_recall(batch->commands[0], record, NULL));
    batch_decide(batch);
    expect_voided(9, 8, 8);
    assert_true(batch->verdicts[0].replayed);
    assert_false(batch_has_writes(batch));
    record->answer = SPAN("{\"matched\":9}");
    assert_false(answer_recall(batch->commands[0], record, NULL));
}

/* --- the service itself --- */

static void control_commands_are_answered_with_what_they_set(void **)
{
    static const struct {
        enum command_kind kind;
        const char *value, *answer;
    } cases[] = {
        {COMMAND_SET, "7", "{\"name\":\"x\",\"value\":7}"},
        {COMMAND_SET, "spike", "{\"name\":\"x\",\"value\":\"spike\"}"},
        {COMMAND_SET, "", "{\"name\":\"x\",\"value\":null}"},
        {COMMAND_SUSPEND, "", "{\"issuer\":\"x\",\"suspended\":true}"},
        {COMMAND_RESUME_ISSUER, "", "{\"issuer\":\"x\",\"suspended\":false}"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct command *command = ask(cases[i].kind, 0);
        command->campaign_id = (struct span){NULL, 0};
        command->control.name = SPAN("x");
        command->control.value = span_of(cases[i].value);
    }
    begin();
    batch_decide(batch);
    assert_int_equal(batch->campaigns_count, 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        expect_body(i, 200, cases[i].answer);
        expect_event(i,
                     cases[i].kind == COMMAND_SET       ? EVENT_SettingChanged
                     : cases[i].kind == COMMAND_SUSPEND ? EVENT_IssuerSuspended
                                                        : EVENT_IssuerResumed,
                     "~");
        assert_int_equal(batch->verdicts[i].token.position, HEAD + 1 + (int64_t)i);
    }
}

int main(void)
{
    crypto_setup();
    find_names();
    const struct CMUnitTest tests[] = {
        TEST(quotas_are_asked_for_once),
        TEST(quotas_count_inside_the_transaction),
        TEST(enlarging_counts_what_is_added),
        TEST(stock_comes_back),
        TEST(stock_is_given_back_where_the_campaign_is),
        TEST(deleting_has_an_empty_answer),
        TEST(a_key_is_claimed_before_its_campaign_is_created),
        TEST(ones_own_claim_is_gone_on_from),
        TEST(a_claim_of_another_payload_is_fenced_off_first),
        TEST(a_fenced_claim_is_taken_over),
        TEST(a_fence_sends_back_to_the_key),
        TEST(who_was_fenced_off_creates_nothing),
        TEST(a_creation_in_its_keys_slice_needs_no_claim),
        TEST(what_a_quota_refuses_leaves_no_claim),
        TEST(an_unreadable_campaign_costs_only_its_own_commands),
        TEST(a_contradictory_campaign_costs_only_its_own_commands),
        TEST(a_slices_time_follows_two_clocks),
        TEST(tending_corrects_what_is_due),
        TEST(voids_as_many_as_it_may),
        TEST(a_dry_run_only_counts),
        TEST(a_void_of_nothing_is_remembered),
        TEST(replays_a_void),
        TEST(control_commands_are_answered_with_what_they_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
