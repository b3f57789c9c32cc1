/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the pure parts of a flow; what it sends and measures is seen by `make bench`. */
#include "bench/load/flow.h"

#include "common/base/mem.h"
#include "common/base/testing.h"

static uint64_t digits(uint64_t number)
{
    char text[FLOW_NUMBER_DIGITS];
    uint64_t value;
    flow_number_write(text, number);
    assert_int_equal(text[0] >= '0' && text[0] <= '9', true);
    for (size_t i = 0, leading = 1; i < sizeof text; i++) {
        leading = leading && text[i] == '0';
        if (!leading || i + 1 == sizeof text) {
            assert_true(parse_u64((struct span){text + i, sizeof text - i}, UINT64_MAX, &value));
            return value;
        }
    }
    return 0;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void numbers_are_distinct(void **)
{
    enum { COUNT = 200000 };
    uint64_t *seen = mem_alloc(COUNT * sizeof *seen);
    for (uint64_t i = 0; i < COUNT; i++)
        seen[i] = digits(i * 7 + UINT64_C(9990000000));
    qsort(seen, COUNT, sizeof *seen, compare);
    for (size_t i = 1; i < COUNT; i++)
        assert_true(seen[i] != seen[i - 1]);
    mem_free(seen);
}

static void neighbours_are_far_apart(void **)
{
    for (uint64_t i = 1; i < 1000; i++) {
        uint64_t a = digits(i), b = digits(i + 1);
        assert_true((a > b ? a - b : b - a) > 100000000);
    }
}

static void limits_are_named(void **)
{
    struct flow_result free_machine = {.client_busy = 0.3, .client_waited = 0.1};
    struct flow_result full = {.client_busy = 0.4, .client_waited = 0.55};
    struct flow_result bound = {.client_busy = 0.9};
    assert_string_equal(flow_limit(&free_machine), "");
    assert_string_equal(flow_limit(&full), "machine-full");
    assert_string_equal(flow_limit(&bound), "client-bound");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_distinct),
        cmocka_unit_test(neighbours_are_far_apart),
        cmocka_unit_test(limits_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
