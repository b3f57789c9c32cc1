/* SPDX-License-Identifier: Apache-2.0 */
/* Each rule about coupons (I6) finds a violation made for it. */
#include "tests/chaos/judge_kit.h"

static void redeemed_twice(void **)
{
    struct line again = world.lines[L_REDEEMED];
    again.op = AGAIN, again.order = ORDER + 1;
    again.position = world.lines[L_RESTORED].position;
    world.lines[L_RESTORED] = again;
    expect_violation(JUDGE_REDEEMED);
}

static void redeemed_by_somebody_else(void **)
{
    world.lines[L_REDEEMED].user = 1;
    expect_violation(JUDGE_HOLDER);
}

static void redeemed_in_the_name_of_somebody_else(void **)
{
    world.ops[REDEEM].user = 1;
    expect_violation(JUDGE_HOLDER);
}

static void redeemed_after_it_was_revoked(void **)
{
    struct line line = world.lines[L_REDEEMED];
    line.coupon = here(&world, 3), line.user = 1, line.op = AGAIN;
    add_line(&world, line);
    expect_violation(JUDGE_VALID);
}

static void redeemed_while_another_order_holds_it(void **)
{
    world.lines[L_REDEEMED].op = AGAIN;
    world.lines[L_REDEEMED].order = ORDER + 1;
    expect_violation(JUDGE_VALID);
}

static void another_discount(void **)
{
    world.lines[L_REDEEMED].discount--;
    expect_violation(JUDGE_AMOUNT);
}

static void below_the_minimum(void **)
{
    world.definition.min_order_amount = AMOUNT + 1;
    expect_violation(JUDGE_AMOUNT);
}

static void restored_without_being_redeemed(void **)
{
    world.lines[L_RESTORED].order = ORDER + 1;
    expect_violation(JUDGE_LIFE);
}

static void reserved_for_longer_than_asked(void **)
{
    world.lines[L_RESERVED].until_off_us = US_PER_S;
    expect_violation(JUDGE_LIFE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
