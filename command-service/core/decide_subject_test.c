/* SPDX-License-Identifier: Apache-2.0 */
/* Decisions that hang on what there is and how much: campaigns that were deleted, quotas, and commands about
 * the service itself. */
#include "command-service/core/decide.h"

#include "common/base/testing.h"
#include "events/problems.h"

static struct command command_of(enum command_kind kind)
{
    return (struct command){.kind = kind, .campaign_id = SPAN("spring"), .actor = SPAN("admin")};
}

static void decide_on(const struct command *command, const struct campaign *campaign,
                      const struct holding *held, struct decision *ret)
{
    decide(command, &(struct subject){.campaign = campaign, .held = held}, 1, ret);
}

static void what_is_deleted_reads_as_unknown(void **)
{
    const struct campaign deleted = {.id = SPAN("spring"),
                                     .first = 1,
                                     .released = 1,
                                     .state = CAMPAIGN_DELETED,
                                     .definition = {.quantity = 2, .per_user_limit = 1}};
    struct holding held = {0};
    struct event event;
    size_t looked = 0;
    for (enum command_kind kind = 0; kind < COMMAND_KINDS; kind++) {
        enum command_subject about = command_subject(kind);
        struct command command = command_of(kind);
        struct decision decision;
        if (kind == COMMAND_RELEASE)
            command.release.quantity = 1;
        if ((about != SUBJECT_CAMPAIGN && about != SUBJECT_HOLDER && about != SUBJECT_SLICE) ||
            kind == COMMAND_CREATE || kind == COMMAND_DELETE)
            continue;
        decide_on(&command, &deleted, &held, &decision);
        if (decision.refusal != &problem_unknown_campaign)
            fail_msg("%s", command_name(kind));
        assert_false(decision.has_event);
        looked++;
    }
    assert_int_equal(looked, 9); /* pause, resume, close, release, issue, void, tend, halt, change */
    assert_false(decide_due_release(&deleted, INT64_MAX, &event));
    assert_false(decide_due_end(&deleted, INT64_MAX, &event));

    struct command command = command_of(COMMAND_DELETE); /* DELETE can be repeated */
    struct decision decision;
    decide_on(&command, &deleted, NULL, &decision);
    assert_null(decision.refusal);
    assert_false(decision.has_event);
    command = command_of(COMMAND_CREATE); /* an id names one campaign for ever */
    decide_on(&command, &deleted, NULL, &decision);
    assert_ptr_equal(decision.refusal, &problem_campaign_exists);
}

/* --- quotas --- */

#define COUNT &problem_quota_exceeded
#define STOCK &problem_stock_exceeded
static void creation_has_limits(void **)
{
    static const struct {
        struct creation so_far;
        int64_t quantity;
        const struct problem *refusal;
    } cases[] = {
        {{0, 0, 0, 1, 1, 5}, 5, NULL},        {{0, 0, 0, 1, 1, 5}, 6, STOCK},
        {{9, 50, 0, 10, 100, 5}, 5, NULL},    {{10, 50, 0, 10, 100, 5}, 5, COUNT},
        {{11, 50, 0, 10, 100, 5}, 5, COUNT},  {{5, 99, 0, 10, 100, 5}, 5, NULL},
        {{5, 100, 0, 10, 100, 5}, 5, COUNT},  {{0, 0, 95, 10, 100, 100}, 5, NULL},
        {{0, 0, 96, 10, 100, 100}, 5, STOCK}, {{0, 0, 100, 10, 100, 100}, 1, STOCK},
        {{0, 0, 0, 0, 100, 100}, 1, COUNT},   {{0, 0, 0, 10, 0, 100}, 1, COUNT},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct command command = command_of(COMMAND_CREATE);
        struct decision decision;
        command.create = &(struct campaign_created){.quantity = cases[i].quantity};
        decide(&command, &(struct subject){.creation = &cases[i].so_far}, 1, &decision);
        if (decision.refusal != cases[i].refusal)
            fail_msg("case %zu: %s", i, decision.refusal ? decision.refusal->code : "accepted");
        assert_int_equal(decision.has_event, !cases[i].refusal);
    }
}
#undef COUNT
#undef STOCK

/* --- control --- */

static void controlling(void **)
{
    struct command command = command_of(COMMAND_SUSPEND);
    struct decision decision;
    command.control.name = SPAN("partner");
    command.control.value = SPAN("7");
    decide(&command, &(struct subject){0}, 1, &decision);
    assert_true(decision.has_event && !decision.refusal);
    assert_int_equal(decision.event.type, EVENT_IssuerSuspended);
    assert_true(span_equal(decision.event.campaign_id, CONTROL_STREAM));
    assert_false(campaign_concerned(&decision.event));
    assert_span(decision.event.issuer_suspended.issuer, "partner");
    assert_span(decision.event.issuer_suspended.actor, "admin");
    command.kind = COMMAND_RESUME_ISSUER;
    decide(&command, &(struct subject){0}, 1, &decision);
    assert_int_equal(decision.event.type, EVENT_IssuerResumed);
    assert_span(decision.event.issuer_resumed.issuer, "partner");
    assert_span(decision.event.issuer_resumed.actor, "admin");
    command.kind = COMMAND_SET;
    decide(&command, &(struct subject){0}, 1, &decision);
    assert_int_equal(decision.event.type, EVENT_SettingChanged);
    assert_true(span_equal(decision.event.campaign_id, CONTROL_STREAM));
    assert_span(decision.event.setting_changed.name, "partner");
    assert_span(decision.event.setting_changed.value, "7");
    assert_span(decision.event.setting_changed.actor, "admin");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_deleted_reads_as_unknown),
        cmocka_unit_test(creation_has_limits),
        cmocka_unit_test(controlling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
