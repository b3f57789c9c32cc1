/* SPDX-License-Identifier: Apache-2.0 */
/* Changing a campaign: more may be given, nothing is taken back, and whoever was told that it is sold out is
 * told so by everybody for as long. */
#include "command-service/core/decide.h"

#include "common/base/clock.h"
#include "common/base/testing.h"
#include "events/problems.h"

enum { NOW_US = 5000000, LEASE_US = EARLY_LEASE_MS * US_PER_MS };

static const struct span tags[] = {{"a", 1}, {"b", 1}}, other_tags[] = {{"a", 1}, {"c", 1}};

static struct campaign campaign_of(int64_t quantity, int64_t released, int64_t issued)
{
    return (struct campaign){
        .id = SPAN("spring"),
        .first = 1,
        .position = 9,
        .released = released,
        .issued = issued,
        .state = CAMPAIGN_ACTIVE,
        .definition = {.name = SPAN("n"),
                       .currency = SPAN("KRW"),
                       .quantity = quantity,
                       .released = released,
                       .per_user_limit = 2,
                       .tags = {tags, 2},
                       .created_by = SPAN("ann")},
    };
}

static int64_t stock_max = QUANTITY_MAX;

static void change(const struct campaign *campaign, const struct campaign_change *to, struct decision *ret)
{
    struct campaign_change change = *to;
    struct command command = {.kind = COMMAND_CHANGE,
                              .campaign_id = SPAN("spring"),
                              .actor = SPAN("admin"),
                              .reason = SPAN("more demand"),
                              .change = &change};
    struct creation so_far = {.stock = 100, .stock_max = stock_max};
    decide(&command, &(struct subject){.campaign = campaign, .creation = &so_far}, NOW_US, ret);
}

static struct campaign changed(const struct campaign *campaign, const struct campaign_change *to)
{
    static struct decision decision; /* what comes out borrows from it */
    struct campaign after = *campaign;
    change(campaign, to, &decision);
    if (decision.refusal)
        fail_msg("%s", decision.refusal->code);
    assert_true(decision.has_event);
    assert_int_equal(decision.event.type, EVENT_CampaignChanged);
    assert_span(decision.event.campaign_changed.actor, "admin");
    assert_span(decision.event.campaign_changed.reason, "more demand");
    assert_span(decision.event.campaign_changed.created_by, "ann");
    decision.event.position = campaign->position + 1;
    decision.event.recorded_at_us = NOW_US;
    assert_true(campaign_can_apply(campaign, &decision.event));
    campaign_apply(&after, &decision.event);
    return after;
}

static void expect(const struct campaign *campaign, const struct campaign_change *to,
                   const struct problem *refusal)
{
    struct decision decision;
    change(campaign, to, &decision);
    if (decision.refusal != refusal)
        fail_msg("%s, not %s", decision.refusal ? decision.refusal->code : "accepted",
                 refusal ? refusal->code : "accepted");
    assert_false(decision.has_event);
}

static void what_is_not_named_stays(void **)
{
    struct campaign is = campaign_of(10, 10, 3);
    is.definition.ends_at_us = NOW_US + 1000;
    struct campaign after = changed(&is, &(struct campaign_change){.name = SPAN("new")});
    assert_span(after.definition.name, "new");
    assert_int_equal(after.definition.quantity, 10);
    assert_int_equal(after.definition.per_user_limit, 2);
    assert_true(after.definition.ends_at_us == NOW_US + 1000);
    assert_int_equal(after.definition.tags.count, 2);
    assert_int_equal(after.released, 10);
    assert_int_equal(after.issued, 3);
    assert_span(after.definition.currency, "KRW");
    after = changed(&is, &(struct campaign_change){.has_tags = true, .tags = {other_tags, 2}});
    assert_span(after.definition.tags.items[1], "c");
    after = changed(&is, &(struct campaign_change){.has_tags = true});
    assert_int_equal(after.definition.tags.count, 0);
    after = changed(&is, &(struct campaign_change){.per_user_limit = 3, .ends_at_us = NOW_US + 1001});
    assert_int_equal(after.definition.per_user_limit, 3);
    assert_true(after.definition.ends_at_us == NOW_US + 1001);
}

static void what_is_so_already_is_accepted_without_an_event(void **)
{
    const struct campaign is = campaign_of(10, 10, 3);
    expect(&is,
           &(struct campaign_change){
               .name = SPAN("n"), .quantity = 10, .per_user_limit = 2, .has_tags = true, .tags = {tags, 2}},
           NULL);
}

static void what_was_promised_is_not_taken_back(void **)
{
    struct campaign is = campaign_of(10, 10, 3);
    expect(&is, &(struct campaign_change){.quantity = 9}, &problem_below_promise);
    expect(&is, &(struct campaign_change){.per_user_limit = 1}, &problem_below_promise);
    expect(&is, &(struct campaign_change){.ends_at_us = NOW_US + 5},
           &problem_below_promise); /* it had no end */
    is.definition.ends_at_us = NOW_US + 1000;
    expect(&is, &(struct campaign_change){.ends_at_us = NOW_US + 999}, &problem_below_promise);
    expect(&is, &(struct campaign_change){.ends_at_us = NOW_US + 1000}, NULL);
    is.definition.coupon_expires_at_us = NOW_US + 2000;
    expect(&is, &(struct campaign_change){.ends_at_us = NOW_US + 2001}, &problem_ends_after_coupons);
    (void)changed(&is, &(struct campaign_change){.ends_at_us = NOW_US + 2000});
    is.definition.ends_at_us = NOW_US; /* exclusive */
    expect(&is, &(struct campaign_change){.ends_at_us = NOW_US + 1000}, &problem_ended);
    is.definition.ends_at_us = 0;
    is.state = CAMPAIGN_CLOSED;
    expect(&is, &(struct campaign_change){.name = SPAN("new")}, &problem_ended);
}

static void the_stock_of_all_is_bounded(void **)
{
    const struct campaign is = campaign_of(10, 10, 3);
    stock_max = 105;
    expect(&is, &(struct campaign_change){.quantity = 16}, &problem_stock_exceeded);
    assert_int_equal(changed(&is, &(struct campaign_change){.quantity = 15}).definition.quantity, 15);
    stock_max = 50; /* which is below what there is: what does not enlarge is not held up */
    (void)changed(&is, &(struct campaign_change){.name = SPAN("new"), .quantity = 10});
    stock_max = QUANTITY_MAX;
}

/* What is held back stays so, by hand or by the plan; where nothing is, neither is what comes on top. */
static void what_is_added_is_released_where_nothing_is_held_back(void **)
{
    static const struct release plan[] = {{NOW_US + 100, 4}};
    struct campaign is = campaign_of(10, 10, 3);
    assert_int_equal(changed(&is, &(struct campaign_change){.quantity = 12}).released, 12);
    is = campaign_of(10, 6, 3);
    assert_int_equal(changed(&is, &(struct campaign_change){.quantity = 12}).released, 6);
    is.definition.release_plan = (struct release_list){plan, 1};
    assert_int_equal(changed(&is, &(struct campaign_change){.quantity = 12}).released, 8);
}

static void whoever_was_told_sold_out_is_told_so_by_everybody(void **)
{
    struct campaign is = campaign_of(10, 10, 10);
    struct campaign after = changed(&is, &(struct campaign_change){.quantity = 12});
    assert_true(after.definition.reopens_at_us == NOW_US + LEASE_US);
    assert_int_equal(campaign_phase(&after, NOW_US + LEASE_US - 1), PHASE_SOLD_OUT);
    assert_ptr_equal(campaign_issue_refusal(&after, 0, NOW_US + LEASE_US - 1), &problem_sold_out);
    assert_ptr_equal(campaign_issue_refusal(&after, 2, NOW_US + LEASE_US - 1), &problem_already_issued);
    assert_true(campaign_next_change_us(&after, NOW_US) == NOW_US + LEASE_US); /* I13 */
    assert_int_equal(campaign_phase(&after, NOW_US + LEASE_US), PHASE_ACTIVE);
    assert_null(campaign_issue_refusal(&after, 0, NOW_US + LEASE_US));
    /* Enlarged again meanwhile, nobody was told anything else. */
    after = changed(&after, &(struct campaign_change){.quantity = 13});
    assert_true(after.definition.reopens_at_us == NOW_US + LEASE_US);
    /* Where something of it is left, nobody was told for good. */
    is = campaign_of(10, 9, 9);
    after = changed(&is, &(struct campaign_change){.quantity = 12});
    assert_int_equal(after.definition.reopens_at_us, 0);
    is = campaign_of(10, 10, 10);
    after = changed(&is, &(struct campaign_change){.per_user_limit = 5});
    assert_int_equal(after.definition.reopens_at_us, 0);
}

static void a_fold_refuses_what_takes_back(void **)
{
    const struct campaign is = campaign_of(10, 8, 3);
    struct event event = {.type = EVENT_CampaignChanged, .position = 10};
    event.campaign_changed = campaign_unchanged(&is.definition);
    assert_true(campaign_can_apply(&is, &event));
    event.campaign_changed.quantity = 9;
    assert_false(campaign_can_apply(&is, &event));
    event.campaign_changed.quantity = 10;
    event.campaign_changed.released_more = 3;
    assert_false(campaign_can_apply(&is, &event));
    event.campaign_changed.released_more = 2;
    assert_true(campaign_can_apply(&is, &event));
    event.campaign_changed.per_user_limit = 1;
    assert_false(campaign_can_apply(&is, &event));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_named_stays),
        cmocka_unit_test(what_is_so_already_is_accepted_without_an_event),
        cmocka_unit_test(what_was_promised_is_not_taken_back),
        cmocka_unit_test(the_stock_of_all_is_bounded),
        cmocka_unit_test(what_is_added_is_released_where_nothing_is_held_back),
        cmocka_unit_test(whoever_was_told_sold_out_is_told_so_by_everybody),
        cmocka_unit_test(a_fold_refuses_what_takes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
