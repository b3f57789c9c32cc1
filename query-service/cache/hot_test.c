/* SPDX-License-Identifier: Apache-2.0 */
/* What is frequent is found among many that are not; what is over is forgotten. */
#include "query-service/cache/hot.h"

#include "common/base/testing.h"

static void the_frequent_are_found(void **)
{
    struct hot *hot = hot_create();
    struct hot_item top[3];
    uint64_t seed = 1;
    assert_int_equal(hot_top(hot, top, 3), 0);
    for (int i = 0; i < 100000; i++) {
        char id[32];
        uint64_t dice = random_next(&seed) % 10;
        snprintf(id, sizeof id, "rare-%llu", (unsigned long long)(random_next(&seed) % 50000));
        if (dice < 3)
            hot_count(hot, "campaign", SPAN("summer"));
        else if (dice < 5)
            hot_count(hot, "ranking", (struct span){NULL, 0});
        else
            hot_count(hot, "campaign", span_of(id));
    }
    assert_int_equal(hot_top(hot, top, 3), 3);
    assert_string_equal(top[0].name, "campaign summer");
    assert_string_equal(top[1].name, "ranking");
    assert_in_range(top[0].permille, 290, 330);
    assert_in_range(top[1].permille, 190, 230);
    assert_true(top[2].permille < 30); /* at most 1/64 too much for what is rare */
    hot_destroy(hot);
}

static void what_is_over_is_forgotten(void **)
{
    struct hot *hot = hot_create();
    struct hot_item top[1];
    for (int i = 0; i < 1000; i++)
        hot_count(hot, "campaign", SPAN("yesterday"));
    for (int i = 0; i < 5; i++)
        hot_halve(hot);
    for (int i = 0; i < 100; i++)
        hot_count(hot, "campaign", SPAN("today"));
    assert_int_equal(hot_top(hot, top, 1), 1);
    assert_string_equal(top[0].name, "campaign today");
    assert_true(top[0].permille > 700);
    hot_destroy(hot);
}

static void names_are_bounded(void **)
{
    char id[200];
    struct hot *hot = hot_create();
    struct hot_item top[1];
    memset(id, 'x', sizeof id);
    hot_count(hot, "campaign", (struct span){id, sizeof id});
    assert_int_equal(hot_top(hot, top, 1), 1);
    assert_int_equal(strlen(top[0].name), HOT_NAME_MAX);
    assert_int_equal(top[0].permille, 1000);
    hot_destroy(hot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_frequent_are_found),
        cmocka_unit_test(what_is_over_is_forgotten),
        cmocka_unit_test(names_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
