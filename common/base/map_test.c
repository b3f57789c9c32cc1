/* SPDX-License-Identifier: Apache-2.0 */
/* The table against a model: random puts, gets and removes over few keys, so that probes collide and wrap. */
#include "common/base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { KEYS = 200, STEPS = 200000 };

static char names[KEYS][8];

static struct span name_of(size_t i)
{
    return span_of(names[i]);
}

static void map_behaves_like_an_array(void **state)
{
    (void)state;
    bool present[KEYS] = {false};
    struct map map;
    uint32_t random = 1;
    map_init(&map);
    for (size_t i = 0; i < KEYS; i++)
        snprintf(names[i], sizeof names[i], "k%zu", i);
    for (size_t step = 0; step < STEPS; step++) {
        random = random * 1664525u + 1013904223u;
        size_t i = (random >> 8) % KEYS;
        assert_ptr_equal(map_get(&map, name_of(i)), present[i] ? names[i] : NULL);
        if (present[i])
            assert_ptr_equal(map_remove(&map, name_of(i)), names[i]);
        else
            map_put(&map, name_of(i), names[i]);
        present[i] = !present[i];
    }
    for (size_t i = 0; i < KEYS; i++)
        assert_ptr_equal(map_get(&map, name_of(i)), present[i] ? names[i] : NULL);
    map_clear(&map);
    for (size_t i = 0; i < KEYS; i++)
        assert_null(map_get(&map, name_of(i)));
    map_deinit(&map);
}

static void empty_map_answers(void **state)
{
    (void)state;
    struct map map;
    map_init(&map);
    assert_null(map_get(&map, SPAN("x")));
    assert_null(map_remove(&map, SPAN("x")));
    map_clear(&map);
    map_deinit(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_behaves_like_an_array),
        cmocka_unit_test(empty_map_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
