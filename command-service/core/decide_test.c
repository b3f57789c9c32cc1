/* SPDX-License-Identifier: Apache-2.0 */
/* The rules: every combination of a small state space against what the design says, invariants after every
 * accepted event, and random histories that must keep them and come out the same twice. */
#include "command-service/core/decide.h"

#include "common/base/clock.h"
#include "common/base/testing.h"
#include "events/problems.h"

enum { START = 1000, END = 2000, TRANCHE_AT = 1500 };

/* As the batch would, where nothing was created yet that day. */
static void decide_on(const struct command *command, const struct campaign *campaign,
                      const struct holding *held, int64_t now_us, struct decision *ret)
{
    const struct creation plenty = {.by_key_max = 1, .by_all_max = 1, .stock_max = QUANTITY_MAX};
    struct subject subject = {.campaign = campaign, .held = held, .creation = &plenty};
    decide(command, &subject, now_us, ret);
}

/* --- the state space --- */

static const enum campaign_state states[] = {CAMPAIGN_ACTIVE, CAMPAIGN_PAUSED, CAMPAIGN_CLOSED,
                                             CAMPAIGN_ENDED};
static const int64_t instants[] = {1, START - 1, START, START + 1, TRANCHE_AT, END - 1, END, END + 1};
static const struct release tranches[] = {{TRANCHE_AT, 1}, {TRANCHE_AT + 100, 1}};

struct situation {
    struct campaign campaign;
    struct holding held;
    int64_t now_us;
};

typedef void situation_check(const struct situation *situation);

/* Each number of the space comes out of `index` by division. */
static int64_t pick(size_t *index, size_t count)
{
    size_t picked = *index % count;
    *index /= count;
    return (int64_t)picked;
}

/* false where the numbers contradict each other. */
static bool situation_make(size_t *index, struct situation *ret)
{
    *ret = (struct situation){.campaign = {.id = SPAN("spring"), .first = 1, .position = 9}};
    struct campaign *campaign = &ret->campaign;
    campaign->state = states[pick(index, COUNT_OF(states))];
    ret->now_us = instants[pick(index, COUNT_OF(instants))];
    campaign->definition.starts_at_us = pick(index, 2) ? START : 0;
    campaign->definition.ends_at_us = pick(index, 2) ? END : 0;
    campaign->definition.per_user_limit = 1 + pick(index, 2);
    ret->held.count = pick(index, 4);
    campaign->definition.quantity = 1 + pick(index, 3);
    campaign->released = pick(index, 4);
    campaign->issued = pick(index, 4);
    campaign->definition.release_plan = (struct release_list){tranches, (size_t)pick(index, 3)};
    campaign->plan_done = pick(index, 3);
    campaign->plan_halted = pick(index, 2);
    int64_t planned = (int64_t)campaign->definition.release_plan.count - campaign->plan_done;
    return planned >= 0 && campaign->issued <= campaign->released &&
           campaign->released + planned <= campaign->definition.quantity &&
           ret->held.count <= campaign->definition.per_user_limit + 1;
}

/* Runs the check in every situation. */
static void in_every_situation(situation_check *check)
{
    enum { SPACE = 4 * 8 * 2 * 2 * 2 * 4 * 3 * 4 * 4 * 3 * 3 * 2 };
    size_t checked = 0;
    for (size_t index = 0; index < SPACE; index++) {
        struct situation situation;
        size_t rest = index;
        if (!situation_make(&rest, &situation))
            continue;
        assert_int_equal(rest, 0);
        check(&situation);
        checked++;
    }
    assert_true(checked > 10000); /* the space did not shrink to nothing */
}

static struct command command_of(enum command_kind kind)
{
    struct command command = {
        .kind = kind, .campaign_id = SPAN("spring"), .actor = SPAN("admin"), .trace = SPAN("t")};
    if (kind == COMMAND_ISSUE)
        command.issue.user_id = SPAN("u");
    return command;
}

static void expect_refusal(const struct situation *situation, const struct decision *decision,
                           const struct problem *expected)
{
    const struct campaign *is = &situation->campaign;
    if (decision->refusal != expected)
        fail_msg("state %d at %lld, held %lld, issued %lld of %lld of %lld: %s, not %s", is->state,
                 (long long)situation->now_us, (long long)situation->held.count, (long long)is->issued,
                 (long long)is->released, (long long)is->definition.quantity,
                 decision->refusal ? decision->refusal->code : "accepted",
                 expected ? expected->code : "accepted");
    if (decision->refusal)
        assert_false(decision->has_event);
}

/* The event is the command's, and the invariants hold after it. */
static struct campaign applied(const struct situation *situation, const struct decision *decision,
                               enum event_type type)
{
    struct campaign after = situation->campaign;
    struct event event = decision->event;
    assert_true(decision->has_event);
    assert_int_equal(event.type, type);
    assert_int_equal(event.version, event_describe((int)type)->version);
    assert_span(event.campaign_id, "spring");
    assert_span(event.trace, "t");
    assert_null(event.coupon_id.ptr); /* the batch gives it its place */
    event.position = after.position + 1;
    campaign_apply(&after, &event);
    assert_true(after.issued <= after.released && after.released <= after.definition.quantity); /* I1 */
    return after;
}

static bool over(const struct situation *situation)
{
    const struct campaign *is = &situation->campaign;
    return is->state == CAMPAIGN_CLOSED || is->state == CAMPAIGN_ENDED ||
           (is->definition.ends_at_us && situation->now_us >= is->definition.ends_at_us);
}

/* --- issuing --- */

static void check_issue(const struct situation *situation)
{
    const struct campaign *is = &situation->campaign;
    struct command command = command_of(COMMAND_ISSUE);
    struct decision decision;
    const struct problem *expected = NULL;
    if (is->issued >= is->released) /* from the weakest reason to the strongest */
        expected = &problem_sold_out;
    if (situation->held.count >= is->definition.per_user_limit)
        expected = &problem_already_issued;
    if (situation->now_us < is->definition.starts_at_us)
        expected = &problem_not_started;
    if (is->state == CAMPAIGN_PAUSED)
        expected = &problem_paused;
    if (over(situation))
        expected = &problem_ended;
    decide_on(&command, is, &situation->held, situation->now_us, &decision);
    expect_refusal(situation, &decision, expected);
    if (decision.refusal)
        return;
    struct campaign after = applied(situation, &decision, EVENT_CouponIssued);
    assert_span(decision.event.user_id, "u");
    assert_int_equal(decision.event.coupon_issued.sequence, is->issued + 1); /* I5 */
    assert_int_equal(decision.event.coupon_issued.nth, situation->held.count + 1);
    assert_true(decision.event.coupon_issued.nth <= is->definition.per_user_limit); /* I2 */
    assert_int_equal(after.issued, is->issued + 1);
}

static void issuing(void **)
{
    in_every_situation(check_issue);
}

static void expiry_of_coupons(void **)
{
    struct command command = command_of(COMMAND_ISSUE);
    struct campaign campaign = {
        .state = CAMPAIGN_ACTIVE,
        .released = 10,
        .definition = {.quantity = 10, .per_user_limit = 1, .code_prefix = SPAN("FRI")}};
    struct holding held = {0};
    struct decision decision;
    decide_on(&command, &campaign, &held, 5000, &decision);
    assert_int_equal(decision.event.coupon_issued.expires_at_us, 0);
    assert_span(decision.event.coupon_issued.code_prefix, "FRI");
    campaign.definition.coupon_valid_days = 36500;
    decide_on(&command, &campaign, &held, 5000, &decision);
    assert_true(decision.event.coupon_issued.expires_at_us == 5000 + 36500 * US_PER_DAY);
    campaign.definition.coupon_valid_days = 0;
    campaign.definition.coupon_expires_at_us = 7000;
    decide_on(&command, &campaign, &held, 5000, &decision);
    assert_int_equal(decision.event.coupon_issued.expires_at_us, 7000);
}

/* --- releasing --- */

/* Half-open like every window: at the instant of expiry a coupon is no longer valid, so none is issued. */
static void none_is_born_expired(void **)
{
    struct command command = command_of(COMMAND_ISSUE);
    struct holding held = {0};
    struct campaign campaign = {.first = 1, .position = 1, .released = 1, .state = CAMPAIGN_ACTIVE};
    struct decision decision;
    campaign.definition =
        (struct campaign_created){.quantity = 1, .per_user_limit = 1, .coupon_expires_at_us = 1000};
    decide_on(&command, &campaign, &held, 999, &decision);
    assert_null(decision.refusal);
    decide_on(&command, &campaign, &held, 1000, &decision);
    assert_ptr_equal(decision.refusal, &problem_ended);
    struct event event; /* the sweep notes it, so that its stock is given back */
    assert_false(decide_due_end(&campaign, 999, &event));
    assert_true(decide_due_end(&campaign, 1000, &event));
    assert_int_equal(event.campaign_ended.due_at_us, 1000);
    static const enum command_kind kinds[] = {COMMAND_PAUSE, COMMAND_RESUME, COMMAND_RELEASE};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct command late = command_of(kinds[i]);
        decide_on(&late, &campaign, NULL, 1000, &decision);
        assert_ptr_equal(decision.refusal, &problem_ended);
    }
}

static void check_release(const struct situation *situation)
{
    const struct campaign *is = &situation->campaign;
    int64_t planned = (int64_t)is->definition.release_plan.count - is->plan_done;
    for (int64_t quantity = 1; quantity <= 3; quantity++) {
        struct command command = command_of(COMMAND_RELEASE);
        struct decision decision;
        command.release.quantity = quantity;
        const struct problem *expected = over(situation) ? &problem_ended
                                         : is->released + quantity + planned > is->definition.quantity
                                             ? &problem_exceeds_quantity
                                             : NULL;
        decide_on(&command, is, NULL, situation->now_us, &decision);
        expect_refusal(situation, &decision, expected);
        if (decision.refusal)
            continue;
        struct campaign after = applied(situation, &decision, EVENT_StockReleased);
        assert_span(decision.event.stock_released.actor, "admin");
        assert_int_equal(decision.event.stock_released.plan_step, 0);
        assert_int_equal(after.released, is->released + quantity);
        assert_int_equal(after.plan_done, is->plan_done);
    }
}

static void releasing(void **)
{
    in_every_situation(check_release);
}

static void check_due_release(const struct situation *situation)
{
    const struct campaign *is = &situation->campaign;
    struct campaign after = *is;
    struct event event;
    size_t next = (size_t)is->plan_done;
    bool due = !over(situation) && !is->plan_halted && next < is->definition.release_plan.count &&
               tranches[next].at_us <= situation->now_us;
    assert_int_equal(decide_due_release(is, situation->now_us, &event), due);
    if (!due)
        return;
    assert_int_equal(event.type, EVENT_StockReleased);
    assert_span(event.campaign_id, "spring");
    assert_int_equal(event.stock_released.plan_step, next + 1);
    assert_null(event.stock_released.actor.ptr);
    assert_null(event.trace.ptr);
    event.position = is->position + 1;
    campaign_apply(&after, &event); /* I1 is checked there */
    assert_int_equal(after.released, is->released + tranches[next].quantity);
    assert_int_equal(after.plan_done, next + 1);
}

static void the_release_plan(void **)
{
    in_every_situation(check_due_release);
}

/* --- pausing, resuming, closing --- */

static void check_state(const struct situation *situation)
{
    static const struct {
        enum command_kind kind;
        enum campaign_state from, to;
        enum event_type type;
        bool halted; /* only where the release plan is */
    } changes[] = {
        {COMMAND_PAUSE, CAMPAIGN_ACTIVE, CAMPAIGN_PAUSED, EVENT_CampaignPaused, false},
        {COMMAND_RESUME, CAMPAIGN_PAUSED, CAMPAIGN_ACTIVE, EVENT_CampaignResumed, false},
        {COMMAND_RESUME, CAMPAIGN_ACTIVE, CAMPAIGN_ACTIVE, EVENT_CampaignResumed, true},
        {COMMAND_CLOSE, CAMPAIGN_ACTIVE, CAMPAIGN_CLOSED, EVENT_CampaignClosed, false},
        {COMMAND_CLOSE, CAMPAIGN_PAUSED, CAMPAIGN_CLOSED, EVENT_CampaignClosed, false},
    };
    const struct campaign *is = &situation->campaign;
    for (enum command_kind kind = COMMAND_PAUSE; kind <= COMMAND_CLOSE; kind++) {
        struct command command = command_of(kind);
        struct decision decision;
        bool changed = false;
        decide_on(&command, is, NULL, situation->now_us, &decision);
        expect_refusal(situation, &decision,
                       over(situation) && kind != COMMAND_CLOSE ? &problem_ended : NULL);
        for (size_t i = 0; i < COUNT_OF(changes) && !over(situation); i++) {
            if (changes[i].kind != kind || changes[i].from != is->state ||
                (changes[i].halted && !is->plan_halted))
                continue;
            struct campaign after = applied(situation, &decision, changes[i].type);
            assert_int_equal(after.state, changes[i].to);
            assert_int_equal(after.plan_halted, kind != COMMAND_RESUME && is->plan_halted);
            assert_span(decision.event.campaign_paused.actor, "admin"); /* the same place in all three */
            changed = true;
        }
        assert_int_equal(decision.has_event, changed); /* nothing to do is no event */
    }
}

static void pausing_resuming_closing(void **)
{
    in_every_situation(check_state);
}

/* --- the end, and halting --- */

static void check_end(const struct situation *situation)
{
    const struct campaign *is = &situation->campaign;
    struct campaign after = *is;
    struct event event;
    bool open = is->state == CAMPAIGN_ACTIVE || is->state == CAMPAIGN_PAUSED;
    bool due = open && is->definition.ends_at_us && situation->now_us >= END;
    assert_int_equal(decide_due_end(is, situation->now_us, &event), due);
    if (due) {
        assert_int_equal(event.type, EVENT_CampaignEnded);
        assert_int_equal(event.campaign_ended.due_at_us, END);
        assert_span(event.campaign_id, "spring");
        event.position = is->position + 1;
        campaign_apply(&after, &event);
        assert_int_equal(after.state, CAMPAIGN_ENDED);
        assert_false(decide_due_end(&after, situation->now_us, &event)); /* once */
        assert_int_equal(campaign_due_at_us(&after), 0);
    }
    struct command tend = command_of(COMMAND_TEND); /* what is due was done before it */
    struct decision decision;
    decide_on(&tend, is, NULL, situation->now_us, &decision);
    expect_refusal(situation, &decision, NULL);
    assert_false(decision.has_event);
}

static void ending(void **)
{
    in_every_situation(check_end);
}

static void check_halt(const struct situation *situation)
{
    const struct campaign *is = &situation->campaign;
    for (int64_t step = 0; step <= 3; step++) {
        struct command command = command_of(COMMAND_HALT);
        struct decision decision;
        struct event due;
        command.halt = (struct release_plan_halted){step, 40, 900, 2500};
        bool more = is->plan_done < (int64_t)is->definition.release_plan.count;
        bool expected = more && !over(situation) && !is->plan_halted && step == is->plan_done;
        decide_on(&command, is, NULL, situation->now_us, &decision);
        expect_refusal(situation, &decision, NULL);
        assert_int_equal(decision.has_event, expected);
        if (!expected)
            continue;
        struct campaign after = applied(situation, &decision, EVENT_ReleasePlanHalted);
        assert_memory_equal(&decision.event.release_plan_halted, &command.halt, sizeof command.halt);
        assert_true(after.plan_halted && after.state == is->state && after.released == is->released);
        assert_false(decide_due_release(&after, INT64_MAX, &due)); /* not even when long due */
    }
}

static void halting(void **)
{
    in_every_situation(check_halt);
}

/* --- deleting --- */

static void check_delete(const struct situation *situation)
{
    static const enum command_kind both[] = {COMMAND_DELETE, COMMAND_VOID};
    for (size_t i = 0; i < COUNT_OF(both); i++) {
        struct command command = command_of(both[i]);
        struct decision decision;
        bool issued = situation->campaign.issued > 0;
        decide_on(&command, &situation->campaign, NULL, situation->now_us, &decision);
        expect_refusal(situation, &decision, issued ? &problem_has_coupons : NULL);
        if (issued)
            continue;
        struct campaign after = applied(situation, &decision, EVENT_CampaignDeleted);
        assert_span(decision.event.campaign_deleted.actor, "admin");
        assert_int_equal(after.state, CAMPAIGN_DELETED);
        assert_int_equal(campaign_due_at_us(&after), 0);
    }
}

static void deleting(void **)
{
    in_every_situation(check_delete);
}

/* --- creating, and what does not exist --- */

static void creating(void **)
{
    struct campaign existing = {.id = SPAN("spring"), .state = CAMPAIGN_CLOSED};
    struct command command = command_of(COMMAND_CREATE);
    struct decision decision;
    command.create = &(struct campaign_created){.name = SPAN("n"), .quantity = 5, .released = 5};
    decide_on(&command, &existing, NULL, 1, &decision);
    assert_ptr_equal(decision.refusal, &problem_campaign_exists);
    decide_on(&command, NULL, NULL, 1, &decision);
    assert_null(decision.refusal);
    struct situation nothing = {.now_us = 1};
    struct campaign after = applied(&nothing, &decision, EVENT_CampaignCreated);
    assert_span(after.definition.created_by, "admin");
    assert_span(after.definition.name, "n");
    assert_int_equal(after.released, 5);
    assert_int_equal(after.state, CAMPAIGN_ACTIVE);
    command.create->coupon_expires_at_us = 1; /* already now */
    decide_on(&command, NULL, NULL, 1, &decision);
    assert_ptr_equal(decision.refusal, &problem_coupons_expired);
    command.create->coupon_expires_at_us = 2;
    decide_on(&command, NULL, NULL, 1, &decision);
    assert_null(decision.refusal);
}

static void nothing_can_be_done_with_what_is_unknown(void **)
{
    struct holding held = {0};
    for (enum command_kind kind = COMMAND_PAUSE; kind <= COMMAND_ISSUE; kind++) {
        struct command command = command_of(kind);
        struct decision decision;
        decide_on(&command, NULL, &held, 1, &decision);
        assert_ptr_equal(decision.refusal, &problem_unknown_campaign);
        assert_false(decision.has_event);
    }
}

/* --- random histories --- */

enum { USERS = 3, STEPS = 200, HISTORIES = 300, HISTORY_END = 2500 };

struct history {
    struct campaign campaign;
    struct holding held[USERS];
    int64_t now_us, sequence, released;
    uint64_t events, hash; /* of what happened, in order */
};

static void note(struct history *history, const struct event *event)
{
    struct buf bytes;
    buf_init(&bytes, EVENT_DATA_MAX);
    buf_append_i64(&bytes, event->type);
    buf_append_span(&bytes, event->user_id);
    event_encode(event, &bytes);
    history->hash = (history->hash ^ span_hash(buf_span(&bytes))) * 1099511628211u;
    history->events++;
    buf_deinit(&bytes);
}

static void append(struct history *history, const struct event *decided)
{
    struct event event = *decided;
    event.position = history->campaign.position + 1;
    event.recorded_at_us = history->now_us;
    campaign_apply(&history->campaign, &event);
    note(history, &event);
    if (event.type == EVENT_StockReleased)
        history->released += event.stock_released.quantity;
    if (event.type == EVENT_CouponIssued)
        assert_int_equal(event.coupon_issued.sequence, ++history->sequence); /* I5 */
    assert_true(history->sequence <= history->released); /* I1, counted apart from the fold */
    assert_true(history->released <= history->campaign.definition.quantity);
}

static void step(struct history *history, uint64_t *chance)
{
    static const struct span users[USERS] = {{"a", 1}, {"b", 1}, {"c", 1}};
    static const enum command_kind kinds[] = {COMMAND_ISSUE,  COMMAND_ISSUE,   COMMAND_ISSUE, COMMAND_ISSUE,
                                              COMMAND_ISSUE,  COMMAND_RELEASE, COMMAND_PAUSE, COMMAND_RESUME,
                                              COMMAND_RESUME, COMMAND_CREATE};
    size_t user = random_next(chance) % USERS;
    struct command command = command_of(kinds[random_next(chance) % COUNT_OF(kinds)]);
    struct decision decision;
    struct event due;
    if (random_next(chance) % 500 == 0)
        command.kind = COMMAND_CLOSE;
    int64_t quantity = 1 + (int64_t)(random_next(chance) % 4);
    if (command.kind == COMMAND_ISSUE)
        command.issue.user_id = users[user];
    if (command.kind == COMMAND_RELEASE)
        command.release.quantity = quantity;
    history->now_us += (int64_t)(random_next(chance) % 20);
    while (decide_due_release(&history->campaign, history->now_us, &due))
        append(history, &due);
    decide_on(&command, &history->campaign, &history->held[user], history->now_us, &decision);
    if (!decision.has_event)
        return;
    assert_null(decision.refusal);
    append(history, &decision.event);
    if (command.kind != COMMAND_ISSUE)
        return;
    history->held[user].count++;
    assert_true(history->held[user].count <= history->campaign.definition.per_user_limit); /* I2 */
    assert_int_equal(decision.event.coupon_issued.nth, history->held[user].count);
    assert_in_range(history->now_us, history->campaign.definition.starts_at_us,
                    history->campaign.definition.ends_at_us - 1);
}

static struct history live(uint64_t seed)
{
    static const struct release plan[] = {{1200, 3}, {1400, 2}, {3000, 2}};
    uint64_t chance = seed;
    struct history history = {.now_us = 900};
    struct event created = {
        .type = EVENT_CampaignCreated,
        .campaign_id = SPAN("spring"),
        .campaign_created = {.quantity = 12 + (int64_t)(random_next(&chance) % 3),
                             .released = 2,
                             .per_user_limit = 1 + (int64_t)(random_next(&chance) % 5),
                             .starts_at_us = START,
                             .ends_at_us = HISTORY_END,
                             .release_plan = {plan, COUNT_OF(plan)}},
    };
    history.released = created.campaign_created.released;
    append(&history, &created);
    for (size_t i = 0; i < STEPS; i++)
        step(&history, &chance);
    return history;
}

static void random_histories_keep_the_invariants(void **)
{
    uint64_t issued = 0, sold_out = 0;
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        struct history once = live(seed), again = live(seed);
        assert_true(once.hash == again.hash && once.events == again.events); /* no clock, no chance */
        issued += (uint64_t)once.sequence;
        sold_out += once.sequence == once.released;
    }
    assert_true(issued > HISTORIES && sold_out > HISTORIES / 10); /* it went where the limits are */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(issuing),
        cmocka_unit_test(expiry_of_coupons),
        cmocka_unit_test(none_is_born_expired),
        cmocka_unit_test(releasing),
        cmocka_unit_test(the_release_plan),
        cmocka_unit_test(pausing_resuming_closing),
        cmocka_unit_test(ending),
        cmocka_unit_test(halting),
        cmocka_unit_test(deleting),
        cmocka_unit_test(creating),
        cmocka_unit_test(nothing_can_be_done_with_what_is_unknown),
        cmocka_unit_test(random_histories_keep_the_invariants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
