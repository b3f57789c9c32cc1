/* SPDX-License-Identifier: Apache-2.0 */
/* What other shards have used of creation quotas: of every name, however many came before. */
#include "command-service/quotas.h"

#include "command-service/core/batch.h"
#include "common/base/clock.h"
#include "common/base/testing.h"
#include "common/http/auth.h"

static struct shards two = {.count = 2};

static struct span name_of(int number, char room[32])
{
    int len = snprintf(room, 32, "key:%d", number);
    return (struct span){room, (size_t)len};
}

static void take(struct quotas *quotas, struct span name, size_t shard, int64_t used)
{
    quotas_take(
        quotas, shard,
        &(struct quota_seen){.names = &name, .used = &used, .count = 1, .day = clock_wall_us() / US_PER_DAY});
}

static void counts_the_others_only(void **state)
{
    (void)state;
    struct quotas *quotas = quotas_create(&two);
    assert_int_equal(quotas_elsewhere(quotas, SPAN("key:ann"), 0), 0);
    take(quotas, SPAN("key:ann"), 1, 5);
    assert_int_equal(quotas_elsewhere(quotas, SPAN("key:ann"), 0), 5);
    assert_int_equal(quotas_elsewhere(quotas, SPAN("key:ann"), 1), 0);
    take(quotas, SPAN("key:bob"), 1, 5); /* nobody asked */
    assert_int_equal(quotas_elsewhere(quotas, SPAN("key:bob"), 0), 0);
    quotas_destroy(quotas);
}

/* Names come and go with key files: the last ones count as the first did, and the common ones all the time.
 */
static void counts_whoever_comes_after_many(void **state)
{
    (void)state;
    char room[32];
    struct quotas *quotas = quotas_create(&two);
    take(quotas, QUOTA_EVERYBODY, 1, 7);
    for (int i = 0; i < 3 * AUTH_KEYS_MAX; i++) {
        assert_int_equal(quotas_elsewhere(quotas, name_of(i, room), 0), 0);
        take(quotas, name_of(i, room), 1, i + 1);
        assert_int_equal(quotas_elsewhere(quotas, name_of(i, room), 0), i + 1);
        assert_int_equal(quotas_elsewhere(quotas, QUOTA_EVERYBODY, 0), 7);
    }
    quotas_destroy(quotas);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_the_others_only),
        cmocka_unit_test(counts_whoever_comes_after_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
