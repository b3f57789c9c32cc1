/* SPDX-License-Identifier: Apache-2.0 */
/* What a percentage is, and what it means at each threshold, one below it, and on the way back. */
#include "common/base/disk.h"

#include <errno.h>

#include "common/base/testing.h"

static const struct disk_thresholds usual = {.warn = 80, .refuse_new = 90, .refuse_writes = 95};

static void the_verdict_rises_at_each_threshold(void **)
{
    static const struct {
        int64_t percent;
        enum disk_verdict verdict;
    } cases[] = {
        {0, DISK_OK},          {79, DISK_OK},         {80, DISK_WARN},          {89, DISK_WARN},
        {90, DISK_REFUSE_NEW}, {94, DISK_REFUSE_NEW}, {95, DISK_REFUSE_WRITES}, {100, DISK_REFUSE_WRITES},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(disk_judge(cases[i].percent, &usual, DISK_OK), cases[i].verdict);
}

static void it_falls_more_than_a_point_below(void **)
{
    static const struct {
        int64_t percent;
        enum disk_verdict former, verdict;
    } cases[] = {
        {94, DISK_REFUSE_WRITES, DISK_REFUSE_WRITES},
        {93, DISK_REFUSE_WRITES, DISK_REFUSE_NEW},
        {89, DISK_REFUSE_NEW, DISK_REFUSE_NEW},
        {88, DISK_REFUSE_NEW, DISK_WARN},
        {79, DISK_WARN, DISK_WARN},
        {78, DISK_WARN, DISK_OK},
        {89, DISK_REFUSE_WRITES, DISK_REFUSE_NEW},
        {79, DISK_REFUSE_WRITES, DISK_WARN},
        {10, DISK_REFUSE_WRITES, DISK_OK},
        {94, DISK_REFUSE_NEW, DISK_REFUSE_NEW},
        {95, DISK_REFUSE_NEW, DISK_REFUSE_WRITES},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(disk_judge(cases[i].percent, &usual, cases[i].former), cases[i].verdict);
}

static void the_severest_threshold_counts(void **)
{
    const struct disk_thresholds odd = {.warn = 95, .refuse_new = 90, .refuse_writes = 50};
    assert_int_equal(disk_judge(50, &odd, DISK_OK), DISK_REFUSE_WRITES);
    assert_int_equal(disk_judge(48, &odd, DISK_REFUSE_WRITES), DISK_OK);
}

static void percentages(void **)
{
    static const struct {
        struct disk_room room;
        int64_t percent;
    } cases[] = {
        {{0, 0, 0, 0}, 0},         {{0, 1000, 0, 0}, 0},      {{899, 101, 0, 0}, 89},
        {{900, 100, 0, 0}, 90},    {{899, 0, 0, 0}, 100}, /* the rest is kept for root */
        {{100, 900, 950, 50}, 95}, {{950, 50, 100, 900}, 95}, {{UINT64_MAX, UINT64_MAX, 0, 0}, 50},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(disk_percent(&cases[i].room), cases[i].percent);
}

static void a_real_file_system(void **)
{
    int64_t percent = -1;
    assert_true(disk_used_percent("/", &percent));
    assert_in_range(percent, 0, 100);
    percent = -1;
    assert_false(disk_used_percent("/nonexistent/path", &percent));
    assert_int_equal(errno, ENOENT);
    assert_int_equal(percent, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_verdict_rises_at_each_threshold),
        cmocka_unit_test(it_falls_more_than_a_point_below),
        cmocka_unit_test(the_severest_threshold_counts),
        cmocka_unit_test(percentages),
        cmocka_unit_test(a_real_file_system),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
