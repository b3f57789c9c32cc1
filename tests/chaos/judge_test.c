/* SPDX-License-Identifier: Apache-2.0 */
/* A run in which all is well is found to be, and each rule finds a violation made for it. */
#include "tests/chaos/judge.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/testing.h"
#include "tests/chaos/judge_world.h"

/* Numbers of the asks, and which line or which attempt is theirs. */
enum { CREATE, ISSUE_0, LIAR, ISSUE_1, PAUSE, WHILE_PAUSED, RESUME, RESERVE, REDEEM, AGAIN, RESTORE, REVOKE };
enum { RELEASE = REVOKE + 1, CLOSE, AFTER_CLOSE, DELETE, ASKS };
enum { AMOUNT = 9000, ORDER = 7 };
enum {
    L_CREATED,
    L_ISSUED_0,
    L_ISSUED_1,
    L_PAUSED,
    L_RESUMED,
    L_RESERVED,
    L_REDEEMED,
    L_RESTORED,
    L_REVOKED
};
enum { L_RELEASED = L_REVOKED + 1, L_CLOSED };
enum { S_REPEAT = 2 }; /* attempt 0 is ask 0's, 1 ask 1's, 2 ask 1's again, then one for each ask */

static struct world world;

static int64_t discount(void)
{
    return coupon_discount(&world.definition, AMOUNT);
}

static const char *use_json(const char *more)
{
    static char text[512];
    snprintf(text, sizeof text, ",\"order_id\":\"order-%d\",\"order_amount\":%d,\"discount_amount\":%lld%s",
             ORDER, AMOUNT, (long long)discount(), more);
    return text;
}

static const char *time_json(const char *name, int64_t at_us)
{
    static char text[128];
    struct buf at;
    buf_init(&at, 64);
    time_format(&at, at_us);
    snprintf(text, sizeof text, ",\"%s\":\"%s\"", name, at.data);
    buf_deinit(&at);
    return text;
}

static struct said *done(uint32_t ask, int status, int64_t position)
{
    return add_said(&world, (struct said){.ask = ask, .status = status, .token = here(&world, position)});
}

static struct said *refused(uint32_t ask, int status, const char *problem)
{
    return add_said(&world, (struct said){.ask = ask, .status = status, .problem = problem});
}

static void make_asks(void)
{
    const struct ask asks[ASKS] = {
        [CREATE] = {.kind = ASK_CREATE},
        [ISSUE_0] = {.kind = ASK_ISSUE, .user = 0},
        [LIAR] = {.kind = ASK_ISSUE, .user = 1, .key = ISSUE_0},
        [ISSUE_1] = {.kind = ASK_ISSUE, .user = 1},
        [PAUSE] = {.kind = ASK_PAUSE},
        [WHILE_PAUSED] = {.kind = ASK_ISSUE, .user = 2},
        [RESUME] = {.kind = ASK_RESUME},
        [RESERVE] = {.kind = ASK_RESERVE, .user = 0, .order = ORDER, .amount = AMOUNT, .ttl_s = 3},
        [REDEEM] = {.kind = ASK_REDEEM, .user = 0, .order = ORDER, .amount = AMOUNT},
        [AGAIN] = {.kind = ASK_REDEEM, .user = 0, .order = ORDER + 1, .amount = AMOUNT},
        [RESTORE] = {.kind = ASK_RESTORE, .order = ORDER},
        [REVOKE] = {.kind = ASK_REVOKE},
        [RELEASE] = {.kind = ASK_RELEASE, .quantity = 1},
        [CLOSE] = {.kind = ASK_CLOSE},
        [AFTER_CLOSE] = {.kind = ASK_ISSUE, .user = 2},
        [DELETE] = {.kind = ASK_DELETE},
    };
    for (size_t i = 0; i < ASKS; i++) {
        struct ask *ask = add_ask(&world, asks[i]);
        if (ask_kind_has_coupon(ask->kind))
            ask->coupon = here(&world, ask->kind == ASK_REVOKE ? 3 : 2);
    }
}

static void make_lines(void)
{
    const struct position first = here(&world, 2), second = here(&world, 3);
    const struct line use = {.coupon = first, .order = ORDER, .amount = AMOUNT, .discount = discount()};
    struct line line = use;
    add_line(&world, (struct line){.type = EVENT_CampaignCreated, .ask = CREATE});
    add_line(&world, (struct line){EVENT_CouponIssued, .ask = ISSUE_0, .sequence = 1, .nth = 1});
    add_line(&world, (struct line){EVENT_CouponIssued, .ask = ISSUE_1, .user = 1, .sequence = 2, .nth = 1});
    add_line(&world, (struct line){EVENT_CampaignPaused, .ask = PAUSE});
    add_line(&world, (struct line){EVENT_CampaignResumed, .ask = RESUME});
    line.type = EVENT_CouponReserved, line.ask = RESERVE;
    add_line(&world, line);
    line.type = EVENT_CouponRedeemed, line.ask = REDEEM, line.flag = true;
    add_line(&world, line);
    line.type = EVENT_CouponRestored, line.ask = RESTORE;
    add_line(&world, line);
    add_line(&world, (struct line){EVENT_CouponRevoked, .ask = REVOKE, .user = 1, .coupon = second});
    add_line(&world, (struct line){EVENT_StockReleased, .ask = RELEASE, .quantity = 1});
    add_line(&world, (struct line){EVENT_CampaignClosed, .ask = CLOSE});
}

static void make_said(void)
{
    int64_t released = world.definition.released;
    say_campaign(&world, done(CREATE, 201, 1), "active", 0, released, 0);
    say_coupon(&world, done(ISSUE_0, 201, 2), 2, 0, 1, "issued", "");
    struct said *repeat = done(ISSUE_0, 201, 2);
    repeat->number = 1, repeat->replayed = true;
    say_coupon(&world, repeat, 2, 0, 1, "issued", "");
    refused(LIAR, 422, "idempotency-key-reused");
    say_coupon(&world, done(ISSUE_1, 201, 3), 3, 1, 2, "issued", "");
    say_campaign(&world, done(PAUSE, 200, 4), "paused", 2, released, 0);
    refused(WHILE_PAUSED, 409, "paused");
    say_campaign(&world, done(RESUME, 200, 5), "active", 2, released, 0);
    const char *more = time_json("reserved_until", world.lines[L_RESERVED].time_us + 3 * US_PER_S);
    say_coupon(&world, done(RESERVE, 200, 6), 2, 0, 1, "reserved", use_json(more));
    more = time_json("redeemed_at", world.lines[L_REDEEMED].time_us);
    say_coupon(&world, done(REDEEM, 200, 7), 2, 0, 1, "redeemed", use_json(more));
    refused(AGAIN, 409, "already-redeemed");
    say_coupon(&world, done(RESTORE, 200, 8), 2, 0, 1, "issued", "");
    say_coupon(&world, done(REVOKE, 200, 9), 3, 1, 2, "revoked", "");
    say_campaign(&world, done(RELEASE, 200, 10), "active", 2, released + 1, 0);
    say_campaign(&world, done(CLOSE, 200, 11), "closed", 2, released + 1, 0);
    refused(AFTER_CLOSE, 410, "ended");
    refused(DELETE, 409, "has-coupons");
}

static void make_rows(void)
{
    world.row = (struct image_campaign){.id = SPAN("chaos-0"),
                                        .released = world.definition.released + 1,
                                        .issued = 2,
                                        .status = CAMPAIGN_CLOSED,
                                        .position = 11};
    world.coupon_rows[0] = (struct image_coupon){.at = here(&world, 2), .state = COUPON_ISSUED, .last = 8};
    world.coupon_rows[1] = (struct image_coupon){.at = here(&world, 3), .state = COUPON_REVOKED, .last = 9};
    world.coupon_rows_count = 2;
    world.idempotency_rows = 11;
}

static int begin(void **state)
{
    (void)state;
    world = (struct world){0};
    choose_definition(&world);
    make_asks();
    make_lines();
    make_said();
    make_rows();
    return 0;
}

static struct said *said_of(uint32_t ask)
{
    for (size_t i = 0; i < world.said_count; i++)
        if (world.said[i].ask == ask)
            return &world.said[i];
    fail_msg("nobody asked that");
    return NULL;
}

static void expect_violation(enum judge_rule rule)
{
    judge_world(&world);
    if (world.judgement.violated[rule] == 0) {
        for (uint64_t i = 0; i < world.judgement.violations && i < JUDGE_KEPT; i++)
            print_message("%s\n", world.judgement.first[i].text);
        fail_msg("not found: %s", judge_rule_text(rule)->holds);
    }
}

static void all_is_well(void **state)
{
    (void)state;
    judge_world(&world);
    for (uint64_t i = 0; i < world.judgement.violations && i < JUDGE_KEPT; i++)
        print_message("%s: %s\n", judge_rule_text(world.judgement.first[i].rule)->holds,
                      world.judgement.first[i].text);
    assert_int_equal(world.judgement.violations, 0);
    for (int rule = 0; rule < JUDGE_RULE_COUNT; rule++)
        if (rule != JUDGE_PLAN) /* the definition has none; it is looked at below */
            assert_true(world.judgement.checked[rule] > 0);
}

/* --- I1 --- */

static void too_many_coupons(void **state)
{
    (void)state;
    world.definition.released = 1; /* in the log and for the judge, whatever was asked for */
    expect_violation(JUDGE_STOCK);
}

static void too_much_stock(void **state)
{
    (void)state;
    world.lines[L_RELEASED].quantity = world.definition.quantity;
    expect_violation(JUDGE_STOCK);
}

static void a_row_that_says_otherwise(void **state)
{
    (void)state;
    world.row.reserved = 1;
    expect_violation(JUDGE_COUNTERS);
}

static void a_coupon_row_that_says_otherwise(void **state)
{
    (void)state;
    world.coupon_rows[0].state = COUPON_REDEEMED;
    expect_violation(JUDGE_COUNTERS);
}

static void a_row_that_is_missing(void **state)
{
    (void)state;
    world.coupon_rows_count = 1;
    expect_violation(JUDGE_COUNTERS);
}

static void a_coupon_while_paused(void **state)
{
    (void)state;
    struct line paused = world.lines[L_PAUSED], issued = world.lines[L_ISSUED_1];
    paused.position = 3, issued.position = 4;
    world.lines[L_ISSUED_1] = paused, world.lines[L_PAUSED] = issued;
    expect_violation(JUDGE_OPEN);
}

static void a_coupon_after_the_close(void **state)
{
    (void)state;
    struct line issued = world.lines[L_ISSUED_1];
    issued.ask = AFTER_CLOSE, issued.user = 2, issued.sequence = 3;
    add_line(&world, issued);
    expect_violation(JUDGE_OPEN);
}

static void a_tranche_nobody_planned(void **state)
{
    (void)state;
    world.lines[L_RELEASED].ask = NOBODY_ASKED;
    world.lines[L_RELEASED].step = 1;
    expect_violation(JUDGE_PLAN);
}

static void deleted_with_coupons(void **state)
{
    (void)state;
    add_line(&world, (struct line){.type = EVENT_CampaignDeleted, .ask = DELETE});
    expect_violation(JUDGE_DELETED);
}

static void paused_twice(void **state)
{
    (void)state;
    world.lines[L_RESUMED].type = EVENT_CampaignPaused;
    expect_violation(JUDGE_STATE);
}

/* --- I2 --- */

static void more_than_the_limit(void **state)
{
    (void)state;
    world.definition.per_user_limit = 1;
    world.lines[L_ISSUED_1].user = 0;
    world.lines[L_ISSUED_1].nth = 2;
    expect_violation(JUDGE_LIMIT);
}

/* --- I3 --- */

static void an_answer_that_is_not_in_the_log(void **state)
{
    (void)state;
    world.lines_count--; /* closed, as was answered; and lost */
    world.row.status = CAMPAIGN_ACTIVE, world.row.position = 10;
    expect_violation(JUDGE_LOGGED);
}

static void an_answer_about_another_user(void **state)
{
    (void)state;
    say_coupon(&world, said_of(ISSUE_1), 3, 2, 2, "issued", "");
    expect_violation(JUDGE_LOGGED);
}

static void an_answer_with_another_discount(void **state)
{
    (void)state;
    char *at = strstr(said_of(REDEEM)->body, "\"discount_amount\":");
    assert_non_null(at);
    at[strlen("\"discount_amount\":")] = '9';
    at[strlen("\"discount_amount\":") + 1] = '9';
    expect_violation(JUDGE_LOGGED);
}

static void a_campaign_answered_as_it_never_was(void **state)
{
    (void)state;
    say_campaign(&world, said_of(PAUSE), "paused", 1, world.definition.released, 0);
    expect_violation(JUDGE_LOGGED);
}

static void never_answered(void **state)
{
    (void)state;
    *said_of(CLOSE) = (struct said){.ask = CLOSE, .sent_us = 1000, .done_us = 1010};
    expect_violation(JUDGE_ANSWERED);
}

static void an_answer_of_no_sense(void **state)
{
    (void)state;
    said_of(WHILE_PAUSED)->status = 418;
    expect_violation(JUDGE_SENSE);
}

/* --- I4 --- */

static void an_event_nobody_asked_for(void **state)
{
    (void)state;
    world.lines[L_RELEASED].ask = NOBODY_ASKED;
    expect_violation(JUDGE_ASKED);
}

static void an_event_that_says_otherwise(void **state)
{
    (void)state;
    world.lines[L_RELEASED].quantity = 2;
    expect_violation(JUDGE_ASKED);
}

static void one_key_two_effects(void **state)
{
    (void)state;
    world.lines[L_ISSUED_1].ask = ISSUE_0;
    world.lines[L_ISSUED_1].attempt = 1;
    expect_violation(JUDGE_ONCE);
}

static void another_answer_the_second_time(void **state)
{
    (void)state;
    char *body = world.said[S_REPEAT].body;
    body[strlen(body) - 1] = ' '; /* white space is enough */
    snprintf(body + strlen(body), 2, "}");
    expect_violation(JUDGE_SAME_BYTES);
}

static void a_repeat_that_does_not_say_so(void **state)
{
    (void)state;
    world.said[S_REPEAT].replayed = false;
    expect_violation(JUDGE_MARKED);
}

static void another_payload_accepted(void **state)
{
    (void)state;
    struct said *liar = said_of(LIAR);
    liar->status = 201, liar->problem = NULL, liar->token = here(&world, 2);
    say_coupon(&world, liar, 2, 0, 1, "issued", "");
    expect_violation(JUDGE_PAYLOAD);
}

static void told_of_a_used_key_that_is_not(void **state)
{
    (void)state;
    said_of(WHILE_PAUSED)->status = 422;
    said_of(WHILE_PAUSED)->problem = "idempotency-key-reused";
    expect_violation(JUDGE_PAYLOAD);
}

static void refused_and_yet_in_the_log(void **state)
{
    (void)state;
    struct said *said = said_of(ISSUE_1);
    said->status = 409, said->problem = "sold-out", said->token.position = 0;
    expect_violation(JUDGE_REFUSED);
}

static void later_and_yet_in_the_log(void **state)
{
    (void)state;
    struct said *said = said_of(ISSUE_1);
    said->status = 503, said->problem = "overloaded", said->token.position = 0;
    expect_violation(JUDGE_REFUSED);
}

static void refused_after_it_took_effect(void **state)
{
    (void)state;
    struct said *said = &world.said[S_REPEAT];
    said->status = 409, said->problem = "sold-out", said->token.position = 0;
    expect_violation(JUDGE_REFUSED);
}

static void a_refused_key_that_is_remembered(void **state)
{
    (void)state;
    world.idempotency_rows++;
    expect_violation(JUDGE_REMEMBERED);
}

/* --- I5, I12 --- */

static void a_gap(void **state)
{
    (void)state;
    for (size_t i = L_CLOSED; i < world.lines_count; i++)
        world.lines[i].position++;
    expect_violation(JUDGE_GAPLESS);
}

static void a_head_beyond_the_log(void **state)
{
    (void)state;
    world.head_off = 1;
    expect_violation(JUDGE_GAPLESS);
}

static void a_sequence_that_skips(void **state)
{
    (void)state;
    world.lines[L_ISSUED_1].sequence = 3;
    expect_violation(JUDGE_SEQUENCE);
}

static void time_that_runs_backwards(void **state)
{
    (void)state;
    world.lines[L_PAUSED].time_us -= 5000;
    expect_violation(JUDGE_CLOCK);
}

static void an_order_that_was_not_kept(void **state)
{
    (void)state;
    said_of(CREATE)->sent_us = said_of(CLOSE)->done_us + 1000;
    said_of(CREATE)->done_us = said_of(CREATE)->sent_us + 10;
    expect_violation(JUDGE_ORDER);
}

static void an_edited_history(void **state)
{
    (void)state;
    world.lines[L_ISSUED_0].bad_chain = true;
    expect_violation(JUDGE_CHAIN);
}

static void a_refusal_that_was_never_right(void **state)
{
    (void)state;
    said_of(WHILE_PAUSED)->problem = "sold-out";
    expect_violation(JUDGE_JUSTIFIED);
}

static void a_coupon_refusal_that_was_never_right(void **state)
{
    (void)state;
    said_of(AGAIN)->problem = "not-holder";
    said_of(AGAIN)->status = 403;
    expect_violation(JUDGE_JUSTIFIED);
}

/* Paused was over long before it was asked. */
static void a_refusal_that_was_right_too_early(void **state)
{
    (void)state;
    said_of(WHILE_PAUSED)->sent_us = 10 * US_PER_S;
    said_of(WHILE_PAUSED)->done_us = 10 * US_PER_S + 10;
    expect_violation(JUDGE_JUSTIFIED);
}

/* --- I6 --- */

static void redeemed_twice(void **state)
{
    (void)state;
    struct line again = world.lines[L_REDEEMED];
    again.ask = AGAIN, again.order = ORDER + 1;
    again.position = world.lines[L_RESTORED].position;
    world.lines[L_RESTORED] = again;
    expect_violation(JUDGE_REDEEMED);
}

static void redeemed_by_somebody_else(void **state)
{
    (void)state;
    world.lines[L_REDEEMED].user = 1;
    expect_violation(JUDGE_HOLDER);
}

static void redeemed_in_the_name_of_somebody_else(void **state)
{
    (void)state;
    world.asks[REDEEM].user = 1;
    expect_violation(JUDGE_HOLDER);
}

static void redeemed_after_it_was_revoked(void **state)
{
    (void)state;
    struct line line = world.lines[L_REDEEMED];
    line.coupon = here(&world, 3), line.user = 1, line.ask = AGAIN;
    add_line(&world, line);
    expect_violation(JUDGE_VALID);
}

static void redeemed_while_another_order_holds_it(void **state)
{
    (void)state;
    world.lines[L_REDEEMED].ask = AGAIN;
    world.lines[L_REDEEMED].order = ORDER + 1;
    expect_violation(JUDGE_VALID);
}

static void another_discount(void **state)
{
    (void)state;
    world.lines[L_REDEEMED].discount--;
    expect_violation(JUDGE_AMOUNT);
}

static void below_the_minimum(void **state)
{
    (void)state;
    world.definition.min_order_amount = AMOUNT + 1;
    expect_violation(JUDGE_AMOUNT);
}

static void restored_without_being_redeemed(void **state)
{
    (void)state;
    world.lines[L_RESTORED].order = ORDER + 1;
    expect_violation(JUDGE_LIFE);
}

static void reserved_for_longer_than_asked(void **state)
{
    (void)state;
    world.lines[L_RESERVED].until_off_us = US_PER_S;
    expect_violation(JUDGE_LIFE);
}

#define BENT(test) cmocka_unit_test_setup(test, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BENT(all_is_well),
        BENT(too_many_coupons),
        BENT(too_much_stock),
        BENT(a_row_that_says_otherwise),
        BENT(a_coupon_row_that_says_otherwise),
        BENT(a_row_that_is_missing),
        BENT(a_coupon_while_paused),
        BENT(a_coupon_after_the_close),
        BENT(a_tranche_nobody_planned),
        BENT(deleted_with_coupons),
        BENT(paused_twice),
        BENT(more_than_the_limit),
        BENT(an_answer_that_is_not_in_the_log),
        BENT(an_answer_about_another_user),
        BENT(an_answer_with_another_discount),
        BENT(a_campaign_answered_as_it_never_was),
        BENT(never_answered),
        BENT(an_answer_of_no_sense),
        BENT(an_event_nobody_asked_for),
        BENT(an_event_that_says_otherwise),
        BENT(one_key_two_effects),
        BENT(another_answer_the_second_time),
        BENT(a_repeat_that_does_not_say_so),
        BENT(another_payload_accepted),
        BENT(told_of_a_used_key_that_is_not),
        BENT(refused_and_yet_in_the_log),
        BENT(later_and_yet_in_the_log),
        BENT(refused_after_it_took_effect),
        BENT(a_refused_key_that_is_remembered),
        BENT(a_gap),
        BENT(a_head_beyond_the_log),
        BENT(a_sequence_that_skips),
        BENT(time_that_runs_backwards),
        BENT(an_order_that_was_not_kept),
        BENT(an_edited_history),
        BENT(a_refusal_that_was_never_right),
        BENT(a_coupon_refusal_that_was_never_right),
        BENT(a_refusal_that_was_right_too_early),
        BENT(redeemed_twice),
        BENT(redeemed_by_somebody_else),
        BENT(redeemed_in_the_name_of_somebody_else),
        BENT(redeemed_after_it_was_revoked),
        BENT(redeemed_while_another_order_holds_it),
        BENT(another_discount),
        BENT(below_the_minimum),
        BENT(restored_without_being_redeemed),
        BENT(reserved_for_longer_than_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
