/* SPDX-License-Identifier: Apache-2.0 */
/* A run in which all is well is found to be, and each rule about campaigns, keys, answers and the log finds a
 * violation made for it. */
#include "tests/chaos/judge_kit.h"

static void all_is_well(void **)
{
    judge_world(&world);
    for (uint64_t i = 0; i < world.judgement.violations && i < JUDGE_KEPT; i++)
        print_message("%s: %s\n", judge_rule_text(world.judgement.first[i].rule)->holds,
                      world.judgement.first[i].text);
    assert_int_equal(world.judgement.violations, 0);
    for (int rule = 0; rule < JUDGE_READ_TRUE; rule++) /* reads have a test of their own */
        if (rule != JUDGE_PLAN)                        /* the definition has none; it is looked at below */
            assert_true(world.judgement.checked[rule] > 0);
}

/* --- I1 --- */

static void too_many_coupons(void **)
{
    world.definition.released = 1; /* in the log and for the judge, whatever was asked for */
    expect_violation(JUDGE_STOCK);
}

static void too_much_stock(void **)
{
    world.lines[L_RELEASED].quantity = world.definition.quantity;
    expect_violation(JUDGE_STOCK);
}

static void a_row_that_says_otherwise(void **)
{
    world.row.reserved = 1;
    expect_violation(JUDGE_COUNTERS);
}

static void a_coupon_row_that_says_otherwise(void **)
{
    world.coupon_rows[0].state = COUPON_REDEEMED;
    expect_violation(JUDGE_COUNTERS);
}

static void a_row_that_is_missing(void **)
{
    world.coupon_rows_count = 1;
    expect_violation(JUDGE_COUNTERS);
}

static void a_coupon_while_paused(void **)
{
    struct line paused = world.lines[L_PAUSED], issued = world.lines[L_ISSUED_1];
    paused.position = 3, issued.position = 4;
    world.lines[L_ISSUED_1] = paused, world.lines[L_PAUSED] = issued;
    expect_violation(JUDGE_OPEN);
}

static void a_coupon_after_the_close(void **)
{
    struct line issued = world.lines[L_ISSUED_1];
    issued.op = AFTER_CLOSE, issued.user = 2, issued.sequence = 3;
    add_line(&world, issued);
    expect_violation(JUDGE_OPEN);
}

static void a_tranche_nobody_planned(void **)
{
    world.lines[L_RELEASED].op = NOBODY_ASKED;
    world.lines[L_RELEASED].step = 1;
    expect_violation(JUDGE_PLAN);
}

static void deleted_with_coupons(void **)
{
    add_line(&world, (struct line){.type = EVENT_CampaignDeleted, .op = DELETE});
    expect_violation(JUDGE_DELETED);
}

static void a_change_that_takes_back(void **)
{
    world.lines[L_RELEASED].type = EVENT_CampaignChanged;
    world.lines[L_RELEASED].quantity = -1;
    expect_violation(JUDGE_STOCK);
}

static void a_change_that_opens_late(void **)
{
    world.lines[L_RELEASED].type = EVENT_CampaignChanged;
    world.lines[L_RELEASED].until_off_us = 1;
    expect_violation(JUDGE_OPEN);
}

static void paused_twice(void **)
{
    world.lines[L_RESUMED].type = EVENT_CampaignPaused;
    expect_violation(JUDGE_STATE);
}

/* --- I2 --- */

static void more_than_the_limit(void **)
{
    world.definition.per_user_limit = 1;
    world.lines[L_ISSUED_1].user = 0;
    world.lines[L_ISSUED_1].nth = 2;
    expect_violation(JUDGE_LIMIT);
}

/* --- I3 --- */

static void an_answer_that_is_not_in_the_log(void **)
{
    world.lines_count--; /* closed, as was answered; and lost */
    world.row.status = CAMPAIGN_ACTIVE, world.row.position = 10;
    expect_violation(JUDGE_LOGGED);
}

static void an_answer_about_another_user(void **)
{
    say_coupon(&world, reply_of(ISSUE_1), 3, 2, 2, "issued", "");
    expect_violation(JUDGE_LOGGED);
}

static void an_answer_with_another_discount(void **)
{
    char *at = strstr(reply_of(REDEEM)->body, "\"discount_amount\":");
    assert_non_null(at);
    at[strlen("\"discount_amount\":")] = '9';
    at[strlen("\"discount_amount\":") + 1] = '9';
    expect_violation(JUDGE_LOGGED);
}

static void a_campaign_answered_as_it_never_was(void **)
{
    say_campaign(&world, reply_of(PAUSE), "paused", 1, world.definition.released, 0);
    expect_violation(JUDGE_LOGGED);
}

static void never_answered(void **)
{
    *reply_of(CLOSE) = (struct reply){.op = CLOSE, .sent_us = 1000, .done_us = 1010};
    expect_violation(JUDGE_ANSWERED);
}

static void an_answer_of_no_sense(void **)
{
    reply_of(WHILE_PAUSED)->status = 418;
    expect_violation(JUDGE_SENSE);
}

/* --- I4 --- */

static void an_event_nobody_asked_for(void **)
{
    world.lines[L_RELEASED].op = NOBODY_ASKED;
    expect_violation(JUDGE_ASKED);
}

static void an_event_that_says_otherwise(void **)
{
    world.lines[L_RELEASED].quantity = 2;
    expect_violation(JUDGE_ASKED);
}

static void one_key_two_effects(void **)
{
    world.lines[L_ISSUED_1].op = ISSUE_0;
    world.lines[L_ISSUED_1].attempt = 1;
    expect_violation(JUDGE_ONCE);
}

static void another_answer_the_second_time(void **)
{
    char *body = world.replies[S_REPEAT].body;
    body[strlen(body) - 1] = ' '; /* white space is enough */
    snprintf(body + strlen(body), 2, "}");
    expect_violation(JUDGE_SAME_BYTES);
}

static void a_repeat_that_does_not_say_so(void **)
{
    world.replies[S_REPEAT].replayed = false;
    expect_violation(JUDGE_MARKED);
}

static void another_payload_accepted(void **)
{
    struct reply *liar = reply_of(LIAR);
    liar->status = 201, liar->problem = NULL, liar->token = here(&world, 2);
    say_coupon(&world, liar, 2, 0, 1, "issued", "");
    expect_violation(JUDGE_PAYLOAD);
}

static void told_of_a_used_key_that_is_not(void **)
{
    reply_of(WHILE_PAUSED)->status = 422;
    reply_of(WHILE_PAUSED)->problem = "idempotency-key-reused";
    expect_violation(JUDGE_PAYLOAD);
}

static void refused_and_yet_in_the_log(void **)
{
    struct reply *reply = reply_of(ISSUE_1);
    reply->status = 409, reply->problem = "sold-out", reply->token.position = 0;
    expect_violation(JUDGE_REFUSED);
}

static void later_and_yet_in_the_log(void **)
{
    struct reply *reply = reply_of(ISSUE_1);
    reply->status = 503, reply->problem = "overloaded", reply->token.position = 0;
    expect_violation(JUDGE_REFUSED);
}

static void refused_after_it_took_effect(void **)
{
    struct reply *reply = &world.replies[S_REPEAT];
    reply->status = 409, reply->problem = "sold-out", reply->token.position = 0;
    expect_violation(JUDGE_REFUSED);
}

static void a_refused_key_that_is_remembered(void **)
{
    world.idempotency_rows++;
    expect_violation(JUDGE_REMEMBERED);
}

/* --- I10 --- */

static void a_suspended_key_that_writes(void **)
{
    struct line issued = world.lines[L_ISSUED_1];
    uint32_t suspend = add_op(&world, (struct operation){.kind = OP_SUSPEND, .user = 1})->number;
    uint32_t issue =
        add_op(&world, (struct operation){.kind = OP_ISSUE, .user = 3, .by_issuer = true})->number;
    add_line(&world, (struct line){.type = EVENT_IssuerSuspended, .op = suspend});
    done(suspend, 200, 12);
    world.now_us += 3 * US_PER_S;
    done(issue, 201, 13);
    issued.op = issue, issued.user = 3;
    add_line(&world, issued)->time_us += 3 * US_PER_S;
    expect_violation(JUDGE_SUSPENDED);
}

static void refused_for_a_suspension_that_never_was(void **)
{
    reply_of(WHILE_PAUSED)->status = 403;
    reply_of(WHILE_PAUSED)->problem = "issuer-suspended";
    world.ops[WHILE_PAUSED].by_issuer = true;
    expect_violation(JUDGE_JUSTIFIED);
}

/* --- I5, I12 --- */

static void a_gap(void **)
{
    for (size_t i = L_CLOSED; i < world.lines_count; i++)
        world.lines[i].position++;
    expect_violation(JUDGE_GAPLESS);
}

static void a_head_beyond_the_log(void **)
{
    world.head_off = 1;
    expect_violation(JUDGE_GAPLESS);
}

static void a_sequence_that_skips(void **)
{
    world.lines[L_ISSUED_1].sequence = 3;
    expect_violation(JUDGE_SEQUENCE);
}

static void time_that_runs_backwards(void **)
{
    world.lines[L_PAUSED].time_us -= 5000;
    expect_violation(JUDGE_CLOCK);
}

static void an_order_that_was_not_kept(void **)
{
    reply_of(CREATE)->sent_us = reply_of(CLOSE)->done_us + 1000;
    reply_of(CREATE)->done_us = reply_of(CREATE)->sent_us + 10;
    expect_violation(JUDGE_ORDER);
}

static void an_edited_history(void **)
{
    world.lines[L_ISSUED_0].bad_chain = true;
    expect_violation(JUDGE_CHAIN);
}

static void a_refusal_that_was_never_right(void **)
{
    reply_of(WHILE_PAUSED)->problem = "sold-out";
    expect_violation(JUDGE_JUSTIFIED);
}

static void a_coupon_refusal_that_was_never_right(void **)
{
    reply_of(AGAIN)->problem = "not-holder";
    reply_of(AGAIN)->status = 403;
    expect_violation(JUDGE_JUSTIFIED);
}

/* Paused was over long before it was asked. */
static void a_refusal_that_was_right_too_early(void **)
{
    reply_of(WHILE_PAUSED)->sent_us = 10 * US_PER_S;
    reply_of(WHILE_PAUSED)->done_us = 10 * US_PER_S + 10;
    expect_violation(JUDGE_JUSTIFIED);
}

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
        BENT(a_change_that_takes_back),
        BENT(a_change_that_opens_late),
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
        BENT(a_suspended_key_that_writes),
        BENT(refused_for_a_suspension_that_never_was),
        BENT(a_gap),
        BENT(a_head_beyond_the_log),
        BENT(a_sequence_that_skips),
        BENT(time_that_runs_backwards),
        BENT(an_order_that_was_not_kept),
        BENT(an_edited_history),
        BENT(a_refusal_that_was_never_right),
        BENT(a_coupon_refusal_that_was_never_right),
        BENT(a_refusal_that_was_right_too_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
