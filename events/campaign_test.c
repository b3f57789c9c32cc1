/* SPDX-License-Identifier: Apache-2.0 */
/* The fold of a campaign, its status around the instants that matter, its JSON to the byte, and that a log
 * which breaks an invariant stops the program. */
#include "events/campaign.h"

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/testing.h"
#include "events/problems.h"

enum { START = 1000, END = 2000 };

static struct event created_event(void)
{
    static const struct release plan[] = {{1100, 20}, {1200, 30}};
    static const struct span tags[] = {{"fashion", 7}, {"vip", 3}};
    return (struct event){
        .slice = 9,
        .position = 5,
        .type = EVENT_CampaignCreated,
        .version = 1,
        .campaign_id = SPAN("black-friday"),
        .recorded_at_us = 500,
        .campaign_created = {.name = SPAN("Black \"Friday\""),
                             .discount_value = 50,
                             .currency = SPAN("KRW"),
                             .quantity = 100,
                             .released = 10,
                             .per_user_limit = 1,
                             .starts_at_us = START,
                             .ends_at_us = END,
                             .tags = {tags, 2},
                             .release_plan = {plan, 2}},
    };
}

static struct event next_event(const struct campaign *campaign, enum event_type type)
{
    return (struct event){.slice = 9,
                          .position = campaign->position + 3, /* other campaigns are in between */
                          .type = type,
                          .version = 1,
                          .campaign_id = SPAN("black-friday"),
                          .recorded_at_us = 600};
}

static struct campaign begun(void)
{
    struct campaign campaign = {0};
    struct event event = created_event();
    campaign_apply(&campaign, &event);
    return campaign;
}

static void apply(struct campaign *campaign, enum event_type type)
{
    struct event event = next_event(campaign, type);
    campaign_apply(campaign, &event);
}

static void issue(struct campaign *campaign, int64_t sequence)
{
    struct event event = next_event(campaign, EVENT_CouponIssued);
    event.coupon_issued = (struct coupon_issued){.sequence = sequence, .nth = 1};
    campaign_apply(campaign, &event);
}

static void release(struct campaign *campaign, int64_t quantity, int64_t plan_step)
{
    struct event event = next_event(campaign, EVENT_StockReleased);
    event.stock_released = (struct stock_released){.quantity = quantity, .plan_step = plan_step};
    campaign_apply(campaign, &event);
}

static void folds_its_events(void **)
{
    struct campaign campaign = begun();
    assert_span(campaign.id, "black-friday");
    assert_int_equal(campaign.created_at_us, 500);
    assert_int_equal(campaign.first, 5);
    assert_int_equal(campaign.position, 5);
    assert_int_equal(campaign.released, 10);
    assert_int_equal(campaign.state, CAMPAIGN_ACTIVE);
    assert_int_equal(campaign.definition.quantity, 100);
    issue(&campaign, 1);
    issue(&campaign, 2);
    assert_int_equal(campaign.issued, 2);
    release(&campaign, 20, 1);
    assert_int_equal(campaign.released, 30);
    assert_int_equal(campaign.plan_done, 1);
    release(&campaign, 7, 0); /* by hand: the plan goes on where it was */
    assert_int_equal(campaign.released, 37);
    assert_int_equal(campaign.plan_done, 1);
    release(&campaign, 30, 2);
    assert_int_equal(campaign.plan_done, 2);
    apply(&campaign, EVENT_CampaignPaused);
    assert_int_equal(campaign.state, CAMPAIGN_PAUSED);
    apply(&campaign, EVENT_CampaignResumed);
    assert_int_equal(campaign.state, CAMPAIGN_ACTIVE);
    apply(&campaign, EVENT_CampaignClosed);
    assert_int_equal(campaign.state, CAMPAIGN_CLOSED);
    assert_int_equal(campaign.first, 5);
    assert_int_equal(campaign.position, 5 + 8 * 3);
    assert_int_equal(campaign.redeemed, 0);
}

/* --- what stops the program --- */

static void issue_at(void *sequence)
{
    struct campaign campaign = begun();
    issue(&campaign, 1);
    issue(&campaign, *(int64_t *)sequence);
}

static void sequences_are_dense(void **)
{
    int64_t next = 2, twice = 1, gap = 3, zero = 0;
    assert_false(dies(issue_at, &next));
    assert_true(dies(issue_at, &twice)); /* I5 */
    assert_true(dies(issue_at, &gap));
    assert_true(dies(issue_at, &zero));
}

static void issue_many(void *count)
{
    struct campaign campaign = begun();
    for (int64_t sequence = 1; sequence <= *(int64_t *)count; sequence++)
        issue(&campaign, sequence);
}

static void release_some(void *quantity)
{
    struct campaign campaign = begun();
    release(&campaign, *(int64_t *)quantity, 0);
}

static void stock_is_never_overrun(void **)
{
    int64_t all_released = 10, one_more = 11, rest = 90, more_than_there_is = 91;
    assert_false(dies(issue_many, &all_released));
    assert_true(dies(issue_many, &one_more)); /* I1 */
    assert_false(dies(release_some, &rest));
    assert_true(dies(release_some, &more_than_there_is)); /* I1 */
}

static void release_step(void *step)
{
    struct campaign campaign = begun();
    release(&campaign, 20, *(int64_t *)step);
}

static void create_twice(void *unused)
{
    (void)unused;
    struct campaign campaign = begun();
    struct event event = created_event();
    event.position = 6;
    campaign_apply(&campaign, &event);
}

static void apply_at(void *position)
{
    struct campaign campaign = begun();
    struct event event = next_event(&campaign, EVENT_CampaignPaused);
    event.position = *(int64_t *)position;
    campaign_apply(&campaign, &event);
}

static void apply_unknown(void *unused)
{
    (void)unused;
    struct campaign campaign = begun();
    apply(&campaign, EVENT_TYPE_END);
}

static void impossible_logs_stop_the_program(void **)
{
    int64_t first = 1, second = 2, before = 4, same = 5, after = 6;
    assert_false(dies(release_step, &first));
    assert_true(dies(release_step, &second)); /* a tranche was left out */
    assert_true(dies(create_twice, NULL));
    assert_false(dies(apply_at, &after));
    assert_true(dies(apply_at, &same));
    assert_true(dies(apply_at, &before));
    assert_true(dies(apply_unknown, NULL));
}

/* What would stop the program is known before it is written. */
static void what_cannot_follow_is_told(void **)
{
    struct campaign campaign = begun(), none = {0};
    struct event created = created_event(), released = next_event(&campaign, EVENT_StockReleased);
    struct event next = next_event(&campaign, EVENT_CouponIssued), deleted = next;
    assert_true(campaign_can_apply(&none, &created));
    created.position = next.position;
    assert_false(campaign_can_apply(&campaign, &created));
    released.stock_released.quantity = 90;
    assert_true(campaign_can_apply(&campaign, &released));
    released.stock_released.plan_step = campaign.plan_done + 1;
    assert_true(campaign_can_apply(&campaign, &released));
    released.stock_released.plan_step = campaign.plan_done + 2;
    assert_false(campaign_can_apply(&campaign, &released));
    released.stock_released = (struct stock_released){.quantity = 91};
    assert_false(campaign_can_apply(&campaign, &released));
    next.coupon_issued.sequence = 2;
    assert_false(campaign_can_apply(&campaign, &next));
    next.coupon_issued.sequence = 1;
    assert_true(campaign_can_apply(&campaign, &next));
    campaign.released = 0;
    assert_false(campaign_can_apply(&campaign, &next));
    deleted.type = EVENT_CampaignDeleted;
    assert_true(campaign_can_apply(&campaign, &deleted));
    campaign.issued = 1;
    assert_false(campaign_can_apply(&campaign, &deleted));
    deleted.position = campaign.position;
    assert_false(campaign_can_apply(&campaign, &deleted));
    struct event unknown = next_event(&campaign, EVENT_TYPE_END), others = unknown;
    assert_false(campaign_can_apply(&campaign, &unknown));
    others.type = EVENT_SettingChanged;
    assert_false(campaign_can_apply(&campaign, &others));
}

/* --- status --- */

static void expect_status(const struct campaign *campaign, int64_t now_us, const char *expected)
{
    const char *status = campaign_status(campaign, now_us);
    if (strcmp(status, expected) != 0)
        fail_msg("at %lld: %s, not %s", (long long)now_us, status, expected);
}

/* Half-open: active from the first instant to before the last. */
static void status_around_start_and_end(void **)
{
    struct campaign campaign = begun();
    expect_status(&campaign, START - 1, "scheduled");
    expect_status(&campaign, START, "active");
    expect_status(&campaign, START + 1, "active");
    expect_status(&campaign, END - 1, "active");
    expect_status(&campaign, END, "ended");
    expect_status(&campaign, END + 1, "ended");
    campaign.definition.starts_at_us = 0;
    expect_status(&campaign, 0, "active");
    campaign.definition.ends_at_us = 0;
    expect_status(&campaign, INT64_MAX, "active");
}

static void status_by_precedence(void **)
{
    struct campaign campaign = begun();
    campaign.released = campaign.issued = 10;
    expect_status(&campaign, START, "active"); /* more will be released */
    campaign.released = campaign.issued = 100;
    expect_status(&campaign, START - 1, "scheduled");
    expect_status(&campaign, START, "sold_out");
    expect_status(&campaign, END, "ended");
    campaign.state = CAMPAIGN_PAUSED;
    expect_status(&campaign, START - 1, "paused");
    expect_status(&campaign, START, "paused");
    expect_status(&campaign, END, "ended");
    campaign.state = CAMPAIGN_CLOSED;
    expect_status(&campaign, START - 1, "closed");
    expect_status(&campaign, END, "closed");
}

static void finds_its_tags(void **)
{
    struct campaign campaign = begun();
    assert_true(campaign_has_tag(&campaign, SPAN("fashion")));
    assert_true(campaign_has_tag(&campaign, SPAN("vip")));
    assert_false(campaign_has_tag(&campaign, SPAN("vi")));
    assert_false(campaign_has_tag(&campaign, SPAN("")));
    campaign.definition.tags.count = 0;
    assert_false(campaign_has_tag(&campaign, SPAN("vip")));
}

/* --- JSON --- */

static void expect_json(const struct campaign *campaign, int64_t now_us, const char *expected)
{
    struct buf out;
    buf_init(&out, 4096);
    campaign_write_json(&out, NULL, campaign, now_us);
    assert_string_equal(out.data, expected);
    buf_deinit(&out);
}

static bool json_has(const struct campaign *campaign, int64_t now_us, const char *part)
{
    struct buf out;
    buf_init(&out, 4096);
    campaign_write_json(&out, NULL, campaign, now_us);
    bool has = strstr(out.data, part) != NULL;
    buf_deinit(&out);
    return has;
}

static void json_is_frozen(void **)
{
    struct campaign campaign = begun();
    issue(&campaign, 1);
    campaign.redeemed = 1;
    expect_json(&campaign, START,
                "{\"id\":\"black-friday\",\"status\":\"active\",\"issued\":1,\"remaining\":9,\"released\":10,"
                "\"reserved\":0,\"redeemed\":1,\"name\":\"Black \\\"Friday\\\"\","
                "\"discount\":{\"type\":\"percent\","
                "\"percent\":50},\"currency\":\"KRW\",\"min_order_amount\":0,\"quantity\":100,"
                "\"per_user_limit\":1,\"starts_at\":\"1970-01-01T00:00:00.001000Z\","
                "\"ends_at\":\"1970-01-01T00:00:00.002000Z\",\"tags\":[\"fashion\",\"vip\"],"
                "\"release_plan\":[{\"at\":\"1970-01-01T00:00:00.001100Z\",\"quantity\":20},"
                "{\"at\":\"1970-01-01T00:00:00.001200Z\",\"quantity\":30}],"
                "\"plan_done\":0,\"plan_halted\":false,\"created_at\":\"1970-01-01T00:00:00.000500Z\","
                "\"position\":{\"slice\":9,\"position\":8}}");
}

/* As long as it is still to come, and never in what is written down for retries (0). */
static void when_it_opens_again_is_told_until_then(void **)
{
    enum { REOPENS = 1000 };
    static const int64_t instants[] = {0, REOPENS - 1, REOPENS};
    struct campaign campaign = begun();
    struct buf out;
    buf_init(&out, 4096);
    campaign.definition.reopens_at_us = REOPENS;
    for (size_t i = 0; i < COUNT_OF(instants); i++) {
        buf_clear(&out);
        campaign_write_json(&out, NULL, &campaign, instants[i]);
        assert_int_equal(strstr(out.data, "\"reopens_at\":") != NULL, instants[i] == REOPENS - 1);
    }
    buf_deinit(&out);
}

static void json_of_what_is_optional_is_frozen(void **)
{
    struct campaign campaign = begun();
    campaign.definition = (struct campaign_created){
        .name = SPAN("x"),
        .discount_type = 1,
        .discount_value = 3000,
        .currency = SPAN("EUR"),
        .min_order_amount = 10000,
        .quantity = 10,
        .per_user_limit = 2,
        .coupon_valid_days = 30,
        .coupon_expires_at_us = 5000000,
        .code_prefix = SPAN("FRI"),
    };
    expect_json(
        &campaign, 1,
        "{\"id\":\"black-friday\",\"status\":\"active\",\"issued\":0,\"remaining\":10,\"released\":10,"
        "\"reserved\":0,\"redeemed\":0,\"name\":\"x\",\"discount\":{\"type\":\"fixed\",\"amount\":3000},"
        "\"currency\":\"EUR\",\"min_order_amount\":10000,\"quantity\":10,\"per_user_limit\":2,"
        "\"starts_at\":null,\"ends_at\":null,\"coupon_valid_days\":30,"
        "\"coupon_expires_at\":\"1970-01-01T00:00:05.000000Z\",\"code_prefix\":\"FRI\",\"tags\":[],"
        "\"release_plan\":[],\"created_at\":\"1970-01-01T00:00:00.000500Z\","
        "\"position\":{\"slice\":9,\"position\":5}}");
    campaign.definition.discount_type = 0;
    campaign.definition.discount_max = 700;
    assert_true(utc_offset_parse(SPAN("+09:00"), &campaign.definition.utc_offset_code));
    struct buf out;
    buf_init(&out, 4096);
    campaign_write_json(&out, NULL, &campaign, 1);
    assert_non_null(strstr(out.data, "{\"type\":\"percent\",\"percent\":3000,\"max_amount\":700}"));
    assert_non_null(strstr(out.data, "\"utc_offset\":\"+09:00\""));
    buf_deinit(&out);
}

/* --- what is due, and what becomes of coupons --- */

/* A campaign whose coupons would be expired when they are issued is over, whatever else it says. */
static void ends_when_its_coupons_expire(void **)
{
    struct campaign campaign = begun();
    campaign.definition.coupon_expires_at_us = END - 10;
    assert_int_equal(campaign_ends_at_us(&campaign.definition), END - 10);
    expect_status(&campaign, END - 11, "active");
    expect_status(&campaign, END - 10, "ended");
    assert_false(campaign_over(&campaign, END - 11));
    assert_true(campaign_over(&campaign, END - 10));
    assert_false(campaign_over(&campaign, 0)); /* by the log alone it goes on */
    assert_int_equal(campaign_next_change_us(&campaign, END - 11), END - 10);
    assert_int_equal(campaign_next_change_us(&campaign, END - 10), 0);
    campaign.definition.ends_at_us = 0;
    campaign.definition.release_plan.count = 0;
    assert_int_equal(campaign_due_at_us(&campaign), END - 10);
    assert_int_equal(campaign_next_change_us(&campaign, START - 1), START);
    campaign.state = CAMPAIGN_PAUSED;
    expect_status(&campaign, END - 10, "ended");
    campaign.state = CAMPAIGN_ENDED;
    expect_status(&campaign, 1, "ended");
    campaign.state = CAMPAIGN_DELETED;
    expect_status(&campaign, END, "deleted");
}

static void knows_what_is_due_next(void **)
{
    static const struct release plan[] = {{100, 1}, {300, 1}};
    struct campaign campaign = {.state = CAMPAIGN_ACTIVE, .definition = {.release_plan = {plan, 2}}};
    assert_int_equal(campaign_due_at_us(&campaign), 100);
    campaign.definition.ends_at_us = 200;
    campaign.plan_done = 1;
    assert_int_equal(campaign_due_at_us(&campaign), 200);
    campaign.definition.ends_at_us = 400;
    assert_int_equal(campaign_due_at_us(&campaign), 300);
    campaign.plan_halted = true;
    assert_int_equal(campaign_due_at_us(&campaign), 400);
    campaign.state = CAMPAIGN_PAUSED;
    campaign.plan_halted = false;
    assert_int_equal(campaign_due_at_us(&campaign), 300);
    campaign.state = CAMPAIGN_ENDED;
    assert_int_equal(campaign_due_at_us(&campaign), 0);
    campaign = (struct campaign){.state = CAMPAIGN_ACTIVE};
    assert_int_equal(campaign_due_at_us(&campaign), 0);
}

static void feed(struct campaign *campaign, const struct event *what)
{
    struct event event = *what;
    event.position = campaign->position + 1;
    campaign_apply(campaign, &event);
}

static void counts_what_became_of_coupons(void **)
{
    struct campaign campaign = {.issued = 3, .released = 3, .position = 9, .state = CAMPAIGN_ACTIVE};
    struct event reserved = {.type = EVENT_CouponReserved}, redeemed = {.type = EVENT_CouponRedeemed};
    struct event restored = {.type = EVENT_CouponRestored}, lapsed = {.type = EVENT_ReservationExpired};
    struct event revoked = {.type = EVENT_CouponRevoked}, freed = {.type = EVENT_ReservationReleased};
    feed(&campaign, &reserved);
    reserved.coupon_reserved.renewed = 1;
    feed(&campaign, &reserved);
    assert_int_equal(campaign.reserved, 1);
    redeemed.coupon_redeemed.was_reserved = 1;
    feed(&campaign, &redeemed);
    assert_int_equal(campaign.reserved, 0);
    assert_int_equal(campaign.redeemed, 1);
    redeemed.coupon_redeemed.was_reserved = 0;
    feed(&campaign, &redeemed);
    feed(&campaign, &restored);
    assert_int_equal(campaign.redeemed, 1);
    reserved.coupon_reserved.renewed = 0;
    feed(&campaign, &reserved);
    feed(&campaign, &lapsed);
    feed(&campaign, &reserved);
    feed(&campaign, &freed);
    assert_int_equal(campaign.reserved, 0);
    feed(&campaign, &reserved);
    revoked.coupon_revoked.was_reserved = 1;
    feed(&campaign, &revoked);
    assert_int_equal(campaign.reserved, 0);
    assert_int_equal(campaign.issued, 3); /* the stock does not come back */
}

static void restore_what_was_not_redeemed(void *unused)
{
    (void)unused;
    struct campaign campaign = {.issued = 3, .released = 3, .position = 9};
    feed(&campaign, &(struct event){.type = EVENT_CouponRestored});
}

static void delete_with_coupons(void *unused)
{
    (void)unused;
    struct campaign campaign = {.issued = 1, .released = 3, .position = 9};
    feed(&campaign, &(struct event){.type = EVENT_CampaignDeleted});
}

static void about_the_service(void *unused)
{
    (void)unused;
    struct campaign campaign = {.position = 9};
    feed(&campaign, &(struct event){.type = EVENT_SettingChanged});
}

static void what_cannot_be_dies(void **)
{
    assert_true(dies(restore_what_was_not_redeemed, NULL));
    assert_true(dies(delete_with_coupons, NULL));
    assert_true(dies(about_the_service, NULL));
}

static void a_plan_halts_until_resumed(void **)
{
    struct campaign campaign = {.position = 9, .state = CAMPAIGN_ACTIVE};
    feed(&campaign, &(struct event){.type = EVENT_ReleasePlanHalted});
    assert_true(campaign.plan_halted);
    feed(&campaign, &(struct event){.type = EVENT_CampaignResumed});
    assert_false(campaign.plan_halted);
    feed(&campaign, &(struct event){.type = EVENT_CampaignEnded});
    expect_status(&campaign, 0, "ended");
    campaign.state = CAMPAIGN_ACTIVE;
    feed(&campaign, &(struct event){.type = EVENT_CampaignDeleted});
    expect_status(&campaign, 0, "deleted");
}

/* Pauses and closes as their events say; what is said of another state is over. */
static void who_brought_it_into_its_state_is_told(void **)
{
    struct campaign campaign = begun();
    campaign.definition.ends_at_us = 0;
    struct event paused = next_event(&campaign, EVENT_CampaignPaused);
    paused.campaign_paused = (struct campaign_paused){SPAN("admin"), SPAN("wrong price")};
    campaign_apply(&campaign, &paused);
    static const char told[] = "\"redeemed\":0,\"status_since\":\"1970-01-01T00:00:00.000600Z\","
                               "\"status_by\":\"admin\",\"status_reason\":\"wrong price\",\"name\":";
    assert_true(json_has(&campaign, 0, told));
    campaign.definition.ends_at_us = END;
    assert_true(json_has(&campaign, END - 1, told));
    assert_false(json_has(&campaign, END, "status_")); /* it has ended, and nobody did that */
    campaign.definition.ends_at_us = 0;
    apply(&campaign, EVENT_CampaignResumed);
    assert_false(json_has(&campaign, 0, "status_"));
    struct event closed = next_event(&campaign, EVENT_CampaignClosed);
    closed.recorded_at_us = 700;
    closed.campaign_closed = (struct campaign_closed){.actor = SPAN("ops")};
    campaign_apply(&campaign, &closed);
    assert_true(json_has(&campaign, 0,
                         "\"status_since\":\"1970-01-01T00:00:00.000700Z\",\"status_by\":\"ops\","
                         "\"name\":"));
    apply(&campaign, EVENT_CampaignEnded);
    assert_int_equal(campaign.change.at_us, 0);
    struct campaign gone = begun();
    struct event deleted = next_event(&gone, EVENT_CampaignDeleted);
    deleted.campaign_deleted = (struct campaign_deleted){.actor = SPAN("ops")};
    campaign_apply(&gone, &deleted);
    assert_true(json_has(&gone, 0, "\"status_by\":\"ops\""));
}

/* From the row of a campaign and the data of the event that brought it there. */
static void a_change_is_read_back(void **)
{
    struct event paused = {.type = EVENT_CampaignPaused, .version = 1, .recorded_at_us = 77};
    struct status_change change;
    struct buf data;
    struct arena arena;
    paused.campaign_paused = (struct campaign_paused){SPAN("admin"), SPAN("why")};
    buf_init(&data, EVENT_DATA_MAX);
    arena_init(&arena, 4096);
    event_encode(&paused, &data);
    assert_true(status_change_read(CAMPAIGN_PAUSED, 77, buf_span(&data), &arena, &change));
    assert_true(change.at_us == 77 && span_is(change.by, "admin") && span_is(change.reason, "why"));
    assert_false(status_change_read(CAMPAIGN_CLOSED, 77, (struct span){NULL, 0}, &arena, &change));
    assert_false(status_change_read(CAMPAIGN_PAUSED, 77, SPAN("\xff"), &arena, &change));
    assert_true(status_change_read(CAMPAIGN_ACTIVE, 0, (struct span){NULL, 0}, &arena, &change));
    assert_true(status_change_read(CAMPAIGN_ENDED, 0, (struct span){NULL, 0}, &arena, &change));
    assert_int_equal(change.at_us, 0);
    arena_deinit(&arena);
    buf_deinit(&data);
}

static int64_t at(const char *text)
{
    int64_t wall_us;
    assert_true(time_parse(span_of(text), &wall_us));
    return wall_us;
}

/* A tranche is there from its instant on, whether or not the log says so yet; unless the plan is halted or
 * all is over. */
static void tranches_are_there_from_their_instant(void **)
{
    static const struct release plan[] = {{1000, 5}, {2000, 7}};
    struct campaign campaign = {.definition = {.quantity = 20,
                                               .released = 8,
                                               .per_user_limit = 1,
                                               .ends_at_us = 3000,
                                               .release_plan = {plan, 2}},
                                .state = CAMPAIGN_ACTIVE,
                                .first = 1,
                                .released = 8,
                                .issued = 8};
    static const struct {
        int64_t at_us, released, done;
    } cases[] = {{0, 8, 0},     {999, 8, 0},   {1000, 13, 1}, {1999, 13, 1},
                 {2000, 20, 2}, {2999, 20, 2}, {3000, 8, 0}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct campaign at = campaign_at(&campaign, cases[i].at_us);
        assert_int_equal(at.released, cases[i].released);
        assert_int_equal(at.plan_done, cases[i].done);
    }
    assert_int_equal(campaign_next_change_us(&campaign, 999), 1000);
    assert_int_equal(campaign_next_change_us(&campaign, 1000),
                     2000); /* also while the log does not have the first */
    assert_int_equal(campaign_next_change_us(&campaign, 2000), 3000);
    assert_ptr_equal(campaign_issue_refusal(&campaign, 0, 999), &problem_sold_out);
    struct campaign at = campaign_at(&campaign, 1000);
    assert_null(campaign_issue_refusal(&at, 0, 1000));
    assert_ptr_equal(campaign_issue_refusal(&at, 1, 1000), &problem_already_issued);
    assert_ptr_equal(campaign_issue_refusal(&campaign, 0, 3000), &problem_ended);
    campaign.plan_done = 1, campaign.released = 13;
    assert_int_equal(campaign_at(&campaign, 2000).released, 20);
    campaign.plan_halted = true;
    assert_int_equal(campaign_at(&campaign, 2000).released, 13);
}

static void days_end_at_the_local_midnight(void **)
{
    static const struct {
        const char *offset, *issued, *expires;
        int64_t days;
    } cases[] = {
        {NULL, "2026-11-30T10:00:00Z", "2026-12-07T10:00:00Z", 7},
        {"+09:00", "2026-11-30T10:00:00Z", "2026-12-07T15:00:00Z",
         7}, /* midnight of the 7th to the 8th in Seoul */
        {"+09:00", "2026-11-30T14:59:59.999999Z", "2026-12-01T15:00:00Z", 1},
        {"+09:00", "2026-11-30T15:00:00Z", "2026-12-02T15:00:00Z", 1}, /* begins on the 1st there */
        {"-03:30", "2026-11-30T03:29:59Z", "2026-12-01T03:30:00Z", 1},
        {"+00:00", "2026-11-30T00:00:00Z", "2026-12-02T00:00:00Z", 1},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct campaign_created definition = {.coupon_valid_days = cases[i].days};
        if (cases[i].offset)
            assert_true(utc_offset_parse(span_of(cases[i].offset), &definition.utc_offset_code));
        assert_int_equal(campaign_coupon_expiry_us(&definition, at(cases[i].issued)), at(cases[i].expires));
    }
    struct campaign_created never = {0}, fixed = {.coupon_expires_at_us = 5};
    assert_int_equal(campaign_coupon_expiry_us(&never, 1), 0);
    assert_int_equal(campaign_coupon_expiry_us(&fixed, 1), 5);
}

static void offsets_from_utc_come_back(void **)
{
    static const char *const good[] = {"+00:00", "+09:00", "-12:00", "+05:45", "-18:00", "+18:00"};
    static const char *const bad[] = {"",       "Z",       "+9:00",  "09:00",  "+18:01", "+09:60",
                                      "+0900",  "+09:00 ", "+ 9:00", "+09:-1", "+a0:00", "+0/:00",
                                      "+0a:00", "+19:00",  "009:00", "+09.00"};
    int64_t code;
    char text[7];
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(utc_offset_parse(span_of(good[i]), &code));
        assert_in_range(code, 1, UTC_OFFSET_CODE_MAX);
        utc_offset_write(code, text);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(utc_offset_parse(span_of(bad[i]), &code));
}

int main(void)
{
    crypto_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folds_its_events),
        cmocka_unit_test(sequences_are_dense),
        cmocka_unit_test(stock_is_never_overrun),
        cmocka_unit_test(impossible_logs_stop_the_program),
        cmocka_unit_test(what_cannot_follow_is_told),
        cmocka_unit_test(status_around_start_and_end),
        cmocka_unit_test(status_by_precedence),
        cmocka_unit_test(ends_when_its_coupons_expire),
        cmocka_unit_test(knows_what_is_due_next),
        cmocka_unit_test(counts_what_became_of_coupons),
        cmocka_unit_test(what_cannot_be_dies),
        cmocka_unit_test(a_plan_halts_until_resumed),
        cmocka_unit_test(who_brought_it_into_its_state_is_told),
        cmocka_unit_test(a_change_is_read_back),
        cmocka_unit_test(finds_its_tags),
        cmocka_unit_test(json_is_frozen),
        cmocka_unit_test(when_it_opens_again_is_told_until_then),
        cmocka_unit_test(json_of_what_is_optional_is_frozen),
        cmocka_unit_test(tranches_are_there_from_their_instant),
        cmocka_unit_test(days_end_at_the_local_midnight),
        cmocka_unit_test(offsets_from_utc_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
