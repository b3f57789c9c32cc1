/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets of users: growing one at a time is the same as asking for all of them at once. */
#include "readmodel/users.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/mem.h"

enum { USERS = 2000, BUCKETS = 70 };

static uint64_t hash_of(int i)
{
    char text[16];
    snprintf(text, sizeof text, "user-%d", i);
    return user_hash(span_of(text));
}

static void a_split_moves_only_to_the_new_bucket(void **)
{
    for (int64_t buckets = 1; buckets < BUCKETS; buckets++) {
        bool moved = false;
        for (int i = 0; i < USERS; i++) {
            int64_t before = users_bucket(hash_of(i), buckets), after = users_bucket(hash_of(i), buckets + 1);
            assert_true(before >= 0 && before < buckets);
            if (before == after)
                continue;
            assert_int_equal(after, buckets);
            assert_int_equal(before, users_parent(buckets));
            moved = true;
        }
        assert_true(moved);
    }
}

/* As apply.lua decides it: by the lowest bits, of twice the power of two below the new bucket's number. */
static void the_script_decides_as_this_does(void **)
{
    for (int64_t bucket = 1; bucket < BUCKETS; bucket++) {
        int64_t half = 1;
        while (2 * half <= bucket)
            half = 2 * half;
        assert_int_equal(users_parent(bucket), bucket - half);
        for (int i = 0; i < USERS; i++) {
            bool was_in_parent = users_bucket(hash_of(i), bucket) == bucket - half;
            bool goes = was_in_parent && (int64_t)(hash_of(i) & 0xffffffff) % (2 * half) == bucket;
            assert_int_equal(users_bucket(hash_of(i), bucket + 1) == bucket, goes);
        }
    }
}

static void buckets_follow_the_coupons(void **)
{
    assert_int_equal(users_buckets(0), 1);
    assert_int_equal(users_buckets(31), 1);
    assert_int_equal(users_buckets(32), 2);
    assert_int_equal(users_buckets(1000000), 31251);
}

static void holdings_come_back(void **)
{
    char bytes[HOLDING_BYTES];
    struct holding is = {INT64_C(0xfedcba9876), INT64_C(1800000000123456), hash_of(1) & 0xffffffffff, 0xbeef};
    holding_write(bytes, &is);
    struct holding read = holding_read(bytes);
    assert_int_equal(read.position, is.position);
    assert_int_equal(read.at_us, is.at_us);
    assert_true(read.user == is.user && read.user == user_tag(hash_of(1)));
    assert_int_equal(read.campaign, is.campaign);
}

static void what_was_lost_has_no_mark(void **)
{
    char bucket[1 + 2 * HOLDING_BYTES] = USERS_MARK;
    struct span entries;
    assert_true(users_entries((struct span){bucket, sizeof bucket}, &entries));
    assert_int_equal(entries.len, 2 * HOLDING_BYTES);
    assert_true(users_entries(SPAN(USERS_MARK), &entries) && entries.len == 0);
    assert_false(users_entries((struct span){NULL, 0}, &entries));
    assert_false(users_entries((struct span){bucket + 1, HOLDING_BYTES}, &entries)); /* begun by an entry */
    assert_false(users_entries((struct span){bucket, sizeof bucket - 1}, &entries));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_split_moves_only_to_the_new_bucket),
        cmocka_unit_test(the_script_decides_as_this_does),
        cmocka_unit_test(buckets_follow_the_coupons),
        cmocka_unit_test(holdings_come_back),
        cmocka_unit_test(what_was_lost_has_no_mark),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
