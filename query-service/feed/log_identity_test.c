/* SPDX-License-Identifier: Apache-2.0 */
/* A log that goes on, a standby behind it, and logs that are not the one they were. */
#include "query-service/feed/log_identity.h"

#include "common/base/testing.h"

static struct log_identity identity;

/* A chain that is this byte all over; 0: absent. */
static struct span chain(char *text, char byte)
{
    memset(text, byte, CHAIN_BYTES);
    return (struct span){byte ? text : NULL, byte ? CHAIN_BYTES : 0};
}

static bool take(int64_t head, char at_head, char at_known, bool standby)
{
    char texts[2][CHAIN_BYTES];
    return log_identity_take(&identity, &(struct log_identity_row){.slice = 3,
                                                                   .head = head,
                                                                   .chain = chain(texts[0], at_head),
                                                                   .was = chain(texts[1], at_known),
                                                                   .standby = standby});
}

static int setup(void **)
{
    identity = (struct log_identity){0};
    assert_true(take(0, 'o', 0, false)); /* an empty slice */
    assert_true(take(10, 'a', 0, false));
    return 0;
}

static void a_log_goes_on(void **)
{
    assert_true(take(10, 'a', 'a', false));
    assert_true(take(20, 'b', 'a', false));
    assert_true(take(30, 'c', 'b', false));
}

static void a_standby_may_be_behind(void **)
{
    assert_true(take(8, 'x', 0, true));
    assert_true(take(10, 'a', 'a', true)); /* what was known counts, not the standby's */
    assert_true(take(8, 'x', 0, true));
    assert_false(take(12, 'y', 'z', true)); /* but when it gets there it must be the same */
}

static void a_shorter_log_is_another(void **)
{
    assert_false(take(9, 'x', 0, false));
    assert_true(take(9, 'x', 'x', false)); /* once it was noticed it is the one that is read */
    assert_true(take(12, 'y', 'x', false));
}

static void another_log_that_has_passed_the_head_is_noticed(void **)
{
    assert_false(take(25, 'q', 'z', false));
    assert_true(take(26, 'r', 'q', false));
    assert_false(take(40, 's', 0, false)); /* no batch ends where one did */
    assert_false(take(40, 't', 't', false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_log_goes_on, setup),
        cmocka_unit_test_setup(a_standby_may_be_behind, setup),
        cmocka_unit_test_setup(a_shorter_log_is_another, setup),
        cmocka_unit_test_setup(another_log_that_has_passed_the_head_is_noticed, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
