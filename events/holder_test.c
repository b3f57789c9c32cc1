/* SPDX-License-Identifier: Apache-2.0 */
/* Holders are the same for ever, and the same as PostgreSQL's (tests/platform/schema_test.c compares those).
 */
#include "events/holder.h"

#include "common/base/crypto.h"
#include "common/base/testing.h"

static const struct slice_secret secret = {{0x51, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}};

static void expect_holder(const struct slice_secret *of, const char *user, const char *campaign, int64_t nth,
                          const char *hex)
{
    uint8_t holder[HOLDER_BYTES];
    struct buf text;
    buf_init(&text, 2 * HOLDER_BYTES);
    holder_of(of, span_of(user), span_of(campaign), nth, holder);
    hex_encode(&text, holder, sizeof holder);
    assert_span(buf_span(&text), hex);
    buf_deinit(&text);
}

static void holders_are_frozen(void **)
{
    expect_holder(&secret, "ann", "spring", 1, "efe80cd59eb77dcc21fe0d250136ee1a");
    expect_holder(&secret, "ann", "spring", 2, "efe80cd59eb77dcc21feecdf81a4cc1a");
    expect_holder(&secret, "bob", "spring", 1, "7aef26c8e2c87375e30a0d250136ee1a");
}

static void the_coupons_of_a_user_are_a_range(void **)
{
    uint8_t user[HOLDER_USER_BYTES], first[HOLDER_BYTES], other[HOLDER_BYTES];
    holder_user(&secret, SPAN("ann"), user);
    holder_of(&secret, SPAN("ann"), SPAN("spring"), 1, first);
    holder_of(&secret, SPAN("ann"), SPAN("autumn"), 7, other);
    assert_memory_equal(first, user, sizeof user);
    assert_memory_equal(other, user, sizeof user);
    assert_memory_not_equal(first, other, sizeof first);
}

static void another_secret_is_another_hash(void **)
{
    struct slice_secret changed = secret;
    uint8_t one[HOLDER_BYTES], two[HOLDER_BYTES];
    changed.bytes[SLICE_SECRET_BYTES - 1] ^= 1;
    holder_of(&secret, SPAN("ann"), SPAN("spring"), 1, one);
    holder_of(&changed, SPAN("ann"), SPAN("spring"), 1, two);
    assert_memory_not_equal(one, two, HOLDER_USER_BYTES);
    assert_memory_not_equal(one + HOLDER_USER_BYTES, two + HOLDER_USER_BYTES,
                            HOLDER_BYTES - HOLDER_USER_BYTES);
}

static void the_longest_names_fit(void **)
{
    char user[129], campaign[65];
    uint8_t holder[HOLDER_BYTES];
    memset(user, 'u', sizeof user);
    memset(campaign, 'c', sizeof campaign);
    holder_of(&secret, (struct span){user, 128}, (struct span){campaign, 64}, 100, holder);
}

int main(void)
{
    crypto_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holders_are_frozen),
        cmocka_unit_test(the_coupons_of_a_user_are_a_range),
        cmocka_unit_test(another_secret_is_another_hash),
        cmocka_unit_test(the_longest_names_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
