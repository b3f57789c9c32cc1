/* SPDX-License-Identifier: Apache-2.0 */
/* The facts of small slices, said by hand; and that any memory is enough for them, in several passes. */
#include "verify/facts.h"

#include "common/base/testing.h"

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "events/campaign.h"
#include "events/coupon.h"

enum { SLICE = 3, ALL_MEMORY = 1 << 26, LITTLE_MEMORY = 1 << 20, MANY = 600 };
#define HOUR_US (INT64_C(3600) * US_PER_S)

static int64_t now_us;

static struct event event_of(struct facts *facts, enum event_type type, const char *campaign)
{
    return (struct event){.slice = SLICE,
                          .position = facts->position + 1,
                          .type = type,
                          .version = 1,
                          .campaign_id = span_of(campaign),
                          .recorded_at_us = now_us};
}

static void create(struct facts *facts, const char *campaign)
{
    struct event event = event_of(facts, EVENT_CampaignCreated, campaign);
    event.campaign_created.released = 10;
    event.data = SPAN("definition");
    facts_add(facts, &event);
}

static int64_t issue(struct facts *facts, const char *campaign, const char *user, int64_t sequence)
{
    struct event event = event_of(facts, EVENT_CouponIssued, campaign);
    event.user_id = span_of(user);
    event.coupon_issued = (struct coupon_issued){.sequence = sequence, .nth = 1};
    facts_add(facts, &event);
    return event.position;
}

static void use(struct facts *facts, enum event_type type, const char *campaign, int64_t coupon)
{
    struct event event = event_of(facts, type, campaign);
    struct buf id;
    buf_init(&id, COUPON_ID_MAX);
    coupon_id_write(&id, (struct position){SLICE, coupon});
    event.coupon_id = buf_span(&id);
    if (type == EVENT_CouponRedeemed)
        event.coupon_redeemed = (struct coupon_redeemed){SPAN("order"), 900, 90, 0};
    facts_add(facts, &event);
    buf_deinit(&id);
}

static const struct fact_campaign *campaign_of(const struct facts *facts, const char *id)
{
    const struct fact_campaign *is = facts_campaign(facts, span_of(id));
    assert_non_null(is);
    return is;
}

static void begin(struct facts *facts, size_t memory)
{
    now_us = 96 * HOUR_US;
    facts_init(facts, memory);
    facts_begin(facts, SLICE, MANY);
}

static void counts_are_those_of_the_events(void **)
{
    struct facts facts;
    begin(&facts, ALL_MEMORY);
    create(&facts, "a");
    int64_t first = issue(&facts, "a", "u", 1), second = issue(&facts, "a", "v", 2);
    use(&facts, EVENT_CouponReserved, "a", second);
    now_us += HOUR_US;
    use(&facts, EVENT_CouponRedeemed, "a", first);
    use(&facts, EVENT_CouponRevoked, "a", second);
    const struct fact_campaign *is = campaign_of(&facts, "a");
    assert_int_equal(is->counted[COUNTED_ISSUED].count, 2);
    assert_int_equal(is->counted[COUNTED_ISSUED].changed_at_us, now_us - HOUR_US);
    assert_int_equal(is->counted[COUNTED_REDEEMED].count, 1);
    assert_int_equal(is->counted[COUNTED_REDEEMED].changed_at_us, now_us);
    assert_int_equal(is->reserved, 1); /* the revocation says that it was not reserved, and is believed */
    assert_int_equal(is->released, 10);
    assert_int_equal(is->position, 6);
    assert_int_equal(facts.coupons, 2);
    use(&facts, EVENT_CouponRestored, "a", first);
    assert_int_equal(campaign_of(&facts, "a")->counted[COUNTED_REDEEMED].count, 0);
    facts_deinit(&facts);
}

/* Kept as a CampaignCreated says it, whatever else the event has. */
static void a_definition_is_what_the_last_change_says(void **)
{
    struct facts facts;
    uint8_t wanted[FACT_HASH_BYTES];
    struct buf data;
    begin(&facts, ALL_MEMORY);
    create(&facts, "a");
    const struct campaign_created is = {.name = SPAN("new"), .quantity = 20, .released = 10};
    struct event event = event_of(&facts, EVENT_CampaignChanged, "a");
    event.campaign_changed = campaign_unchanged(&is);
    event.campaign_changed.actor = SPAN("admin");
    event.campaign_changed.released_more = 3;
    facts_add(&facts, &event);
    buf_init(&data, EVENT_DATA_MAX);
    campaign_definition_write(&data, &is);
    fact_definition_hash(buf_span(&data), wanted);
    buf_deinit(&data);
    assert_memory_equal(campaign_of(&facts, "a")->definition, wanted, sizeof wanted);
    assert_int_equal(campaign_of(&facts, "a")->released, 13);
    facts_deinit(&facts);
}

static void states_are_as_the_last_event_says(void **)
{
    struct facts facts;
    begin(&facts, ALL_MEMORY);
    create(&facts, "a");
    int64_t coupon = issue(&facts, "a", "u", 1);
    assert_int_equal(facts_chunk(&facts, 0)->changed, 0);
    use(&facts, EVENT_CouponReserved, "a", coupon);
    uint64_t reserved = facts_chunk(&facts, 0)->states;
    use(&facts, EVENT_CouponRedeemed, "a", coupon);
    struct fact_coupon_state redeemed = {coupon, COUPON_REDEEMED, 4,        now_us, 900, 90,
                                         0,      SPAN("order"),   {NULL, 0}};
    assert_int_equal(facts_chunk(&facts, 0)->changed, 1);
    assert_true(facts_chunk(&facts, 0)->states == fact_state_hash(&redeemed));
    assert_true(reserved != fact_state_hash(&redeemed));
    facts_deinit(&facts);
}

static void a_mark_is_of_the_first_change_in_a_stretch(void **)
{
    struct facts facts;
    begin(&facts, ALL_MEMORY);
    create(&facts, "a");
    issue(&facts, "a", "u", 1);
    issue(&facts, "a", "v", 2);
    now_us += 2 * HOUR_US;
    issue(&facts, "a", "w", 3);
    const struct fact_marks *marks = facts_marks(&facts, SPAN("a"), COUNTED_ISSUED);
    assert_int_equal(marks->windows[WINDOW_DAY].count, 2);
    assert_int_equal(marks->windows[WINDOW_DAY].items[0].before, 0);
    assert_int_equal(marks->windows[WINDOW_DAY].items[1].grain, now_us / HOUR_US);
    assert_int_equal(marks->windows[WINDOW_DAY].items[1].before, 2);
    assert_int_equal(marks->windows[WINDOW_WEEK].count, 1); /* both in the same six hours */
    assert_null(facts_marks(&facts, SPAN("a"), COUNTED_REDEEMED));
    facts_deinit(&facts);
}

static void who_paused_and_closed_is_of_the_last_event(void **)
{
    struct facts facts;
    begin(&facts, ALL_MEMORY);
    create(&facts, "a");
    struct event paused = event_of(&facts, EVENT_CampaignPaused, "a");
    paused.campaign_paused = (struct campaign_paused){SPAN("k"), SPAN("why")};
    facts_add(&facts, &paused);
    assert_true(campaign_of(&facts, "a")->change == fact_change_hash(now_us, SPAN("k"), SPAN("why")));
    struct event resumed = event_of(&facts, EVENT_CampaignResumed, "a");
    facts_add(&facts, &resumed);
    assert_true(campaign_of(&facts, "a")->change == 0);
    now_us += HOUR_US;
    struct event closed = event_of(&facts, EVENT_CampaignClosed, "a");
    closed.campaign_closed.actor = SPAN("l");
    facts_add(&facts, &closed);
    assert_true(campaign_of(&facts, "a")->change == fact_change_hash(now_us, SPAN("l"), SPAN("")));
    facts_deinit(&facts);
}

/* Of each thing that is hashed, every part counts. */
static void nothing_is_left_out_of_a_hash(void **)
{
    const struct fact_issue issue = {1, 2, 3, 4, 5, SPAN("u"), SPAN("c"), SPAN("p")};
    struct fact_issue issues[] = {issue, issue, issue, issue, issue, issue, issue, issue};
    issues[0].position++, issues[1].sequence++, issues[2].nth++, issues[3].at_us++;
    issues[4].expires_at_us++, issues[5].user_id = SPAN("v"), issues[6].campaign_id = SPAN("d");
    issues[7].code_prefix = SPAN("");
    for (size_t i = 0; i < COUNT_OF(issues); i++)
        assert_true(fact_issue_hash(&issues[i]) != fact_issue_hash(&issue));
    const struct fact_coupon_state was = {1, 2, 3, 4, 5, 6, 7, SPAN("o"), SPAN("k")};
    struct fact_coupon_state states[] = {was, was, was, was, was, was, was, was, was};
    states[0].position++, states[1].state++, states[2].last++, states[3].changed_at_us++;
    states[4].order_amount++, states[5].discount_amount++, states[6].reserved_until_us++;
    states[7].note = SPAN("q"), states[8].by = SPAN("l");
    for (size_t i = 0; i < COUNT_OF(states); i++)
        assert_true(fact_state_hash(&states[i]) != fact_state_hash(&was));
    uint64_t change = fact_change_hash(1, SPAN("k"), SPAN("why"));
    assert_true(change != fact_change_hash(2, SPAN("k"), SPAN("why")) &&
                change != fact_change_hash(1, SPAN("l"), SPAN("why")) &&
                change != fact_change_hash(1, SPAN("k"), SPAN("how")) && change != 0);
    uint64_t holding = fact_holding_hash(1, 2, 3, 4);
    assert_true(holding != fact_holding_hash(2, 2, 3, 4) && holding != fact_holding_hash(1, 3, 3, 4) &&
                holding != fact_holding_hash(1, 2, 4, 4) && holding != fact_holding_hash(1, 2, 3, 5));
    uint64_t one = fact_holder_hash(0, 1), other = fact_holder_hash(0, 2);
    assert_true(fact_holder_hash(one, 2) != fact_holder_hash(other, 1)); /* the order counts */
}

static void fill(struct facts *facts)
{
    char campaign[32], user[32];
    for (int i = 0; i < MANY; i++) {
        snprintf(campaign, sizeof campaign, "campaign-%d", i);
        snprintf(user, sizeof user, "user-%d", i % 7);
        create(facts, campaign);
        int64_t coupon = issue(facts, campaign, user, 1);
        use(facts, EVENT_CouponRedeemed, campaign, coupon);
    }
}

/* Whatever a pass follows it knows whole, and every campaign and chunk is followed by one. */
static void little_memory_takes_more_passes(void **)
{
    struct facts facts;
    int passes = 0, campaigns = 0, issued = 0, redeemed = 0;
    struct fact_users users = {0};
    begin(&facts, LITTLE_MEMORY);
    do {
        size_t at = 0;
        fill(&facts);
        for (const struct fact_campaign *is; (is = verify_table_next(&facts.campaigns, &at)); campaigns++) {
            assert_int_equal(is->counted[COUNTED_ISSUED].count, 1);
            assert_non_null(facts_marks(&facts, (struct span){is->id, is->id_len}, COUNTED_ISSUED));
            assert_int_equal(facts_holders(&facts, (struct span){is->id, is->id_len}, 0)->count, 1);
        }
        for (int64_t number = 0; number <= facts.position / COUPON_CHUNK; number++) {
            const struct fact_chunk *chunk = facts_chunk(&facts, number);
            issued += chunk ? chunk->issued : 0;
            redeemed += chunk ? chunk->changed : 0;
        }
        users = facts_users(&facts, 0, 0);
        assert_int_equal(users.count, MANY);
        passes++;
    } while (facts_again(&facts));
    assert_true(passes > 2);
    assert_int_equal(campaigns, MANY);
    assert_int_equal(issued, MANY);
    assert_int_equal(redeemed, MANY);
    facts_deinit(&facts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_those_of_the_events),
        cmocka_unit_test(a_definition_is_what_the_last_change_says),
        cmocka_unit_test(states_are_as_the_last_event_says),
        cmocka_unit_test(a_mark_is_of_the_first_change_in_a_stretch),
        cmocka_unit_test(who_paused_and_closed_is_of_the_last_event),
        cmocka_unit_test(nothing_is_left_out_of_a_hash),
        cmocka_unit_test(little_memory_takes_more_passes),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
