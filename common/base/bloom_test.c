/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing that was added is missing, and little that was not is there. */
#include "common/base/bloom.h"

#include <pthread.h>

#include "common/base/mem.h"
#include "common/base/testing.h"

enum { MANY = 100000, THREADS = 4 };

static void what_was_added_is_there(void **)
{
    struct bloom *bloom = bloom_create(MANY);
    uint64_t chance = 1;
    for (size_t i = 0; i < MANY; i++)
        bloom_add(bloom, random_next(&chance));
    chance = 1;
    for (size_t i = 0; i < MANY; i++)
        assert_true(bloom_has(bloom, random_next(&chance)));
    bloom_destroy(bloom);
}

/* Also for hashes that are close together, as of numbered users. */
static void little_else_is_there(void **)
{
    struct bloom *bloom = bloom_create(MANY);
    size_t wrong = 0;
    for (uint64_t i = 0; i < MANY; i++)
        bloom_add(bloom, i);
    for (uint64_t i = MANY; i < 2 * MANY; i++)
        wrong += bloom_has(bloom, i);
    assert_true(wrong < MANY / 200);
    bloom_destroy(bloom);
}

static void costs_two_to_four_bytes_each(void **)
{
    assert_true(bloom_bytes(MANY) >= 2 * MANY);
    assert_true(bloom_bytes(MANY) <= 4 * MANY + 128);
    assert_true(bloom_bytes(0) <= 128);
    struct bloom *bloom = bloom_create(0);
    bloom_add(bloom, 7);
    assert_true(bloom_has(bloom, 7));
    bloom_destroy(bloom);
    bloom_destroy(NULL);
}

struct adder {
    pthread_t thread;
    struct bloom *bloom;
    uint64_t first;
};

static void *add_some(void *context)
{
    struct adder *self = context;
    for (uint64_t i = 0; i < MANY / THREADS; i++) {
        bloom_add(self->bloom, self->first + i);
        if (!bloom_has(self->bloom, self->first + i))
            return self;
    }
    return NULL;
}

static void threads_add_at_once(void **)
{
    struct adder adders[THREADS];
    struct bloom *bloom = bloom_create(MANY);
    for (size_t i = 0; i < THREADS; i++) {
        adders[i] = (struct adder){.bloom = bloom, .first = i * MANY};
        assert_int_equal(pthread_create(&adders[i].thread, NULL, add_some, &adders[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *lost;
        assert_int_equal(pthread_join(adders[i].thread, &lost), 0);
        assert_null(lost);
    }
    bloom_destroy(bloom);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_there),
        cmocka_unit_test(little_else_is_there),
        cmocka_unit_test(costs_two_to_four_bytes_each),
        cmocka_unit_test(threads_add_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
