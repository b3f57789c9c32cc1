/* SPDX-License-Identifier: Apache-2.0 */
/* Windows: where they begin, that marks count what a list of all changes counts, in bounded bytes, and that
 * bytes come back or are refused. */
#include "readmodel/activity.h"

#include "common/base/clock.h"
#include "common/base/testing.h"

#define NOW INT64_C(1800000123456789)

static void windows_begin_with_a_whole_grain(void **)
{
    const int64_t hour = 3600 * (int64_t)US_PER_S;
    static const enum window marked[] = {WINDOW_HOUR, WINDOW_DAY, WINDOW_WEEK};
    static const int64_t hours[] = {1, 24, 168};
    for (size_t i = 0; i < COUNT_OF(marked); i++) {
        int64_t since_us = window_since_us(marked[i], NOW), grain_us = window_grain_s(marked[i]) * US_PER_S;
        assert_int_equal(since_us % grain_us, 0);
        assert_true(since_us <= NOW - hours[i] * hour);
        assert_true(since_us > NOW - hours[i] * hour - grain_us);
        assert_true(window_since_us(marked[i], since_us + hours[i] * hour) == since_us);
        assert_true(window_since_us(marked[i], since_us + hours[i] * hour - 1) == since_us - grain_us);
        assert_true(window_since_us(marked[i], 5) == 0);
    }
    assert_true(window_since_us(WINDOW_ALL, NOW) == 0);
}

static void labels_are_known(void **)
{
    enum window window;
    enum counted counted;
    for (size_t i = 0; i < WINDOW_COUNT; i++) {
        assert_true(window_parse(span_of(window_label((enum window)i)), &window));
        assert_int_equal(window, i);
    }
    for (size_t i = 0; i < COUNTED_COUNT; i++) {
        assert_true(counted_parse(span_of(counted_label((enum counted)i)), &counted));
        assert_int_equal(counted, i);
    }
    static const char *const foreign[] = {"", "1", "1H", "1hh", "24", "everything"};
    for (size_t i = 0; i < COUNT_OF(foreign); i++) {
        assert_false(window_parse(span_of(foreign[i]), &window));
        assert_false(counted_parse(span_of(foreign[i]), &counted));
    }
    assert_false(window_parse((struct span){NULL, 0}, &window));
}

struct change {
    int64_t at_us, by;
};

static int64_t sum_since(const struct change *changes, size_t count, int64_t since_us)
{
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        if (changes[i].at_us >= since_us)
            sum += changes[i].by;
    return sum;
}

/* Months of changes, now seconds, now days apart, up and down: asked at every one of them and some time
 * after. */
static void marks_count_what_a_list_counts(void **)
{
    enum { CHANGES = 3000 };
    static struct change changes[CHANGES];
    static const int64_t steps_s[] = {1, 60, 400, 4000, 30000};
    struct activity activity = {0};
    uint64_t chance = 1;
    int64_t at_us = NOW, most = 0;
    for (size_t i = 0; i < CHANGES; i++) {
        at_us += (int64_t)(random_next(&chance) % (uint64_t)(steps_s[i / 100 % 5] * US_PER_S));
        changes[i] = (struct change){at_us, activity.count > 0 && random_next(&chance) % 3 == 0 ? -1 : 1};
        activity_mark(&activity, at_us, activity.count);
        activity.count += changes[i].by;
        int64_t now_us = at_us + (int64_t)(random_next(&chance) % 8) * 3600 * US_PER_S;
        for (enum window window = 0; window < WINDOW_COUNT; window++)
            assert_int_equal(activity_in(&activity, window, now_us),
                             sum_since(changes, i + 1, window_since_us(window, now_us)));
        struct buf bytes;
        buf_init(&bytes, ACTIVITY_BYTES_MAX);
        activity_write(&bytes, &activity);
        assert_false(bytes.overflow);
        most = (int64_t)bytes.len > most ? (int64_t)bytes.len : most;
        buf_deinit(&bytes);
    }
    assert_in_range(most, 200, 600);
}

static void nothing_counts_nothing(void **)
{
    struct activity activity = {0};
    for (enum window window = 0; window < WINDOW_COUNT; window++)
        assert_int_equal(activity_in(&activity, window, NOW), 0);
    activity_mark(&activity, NOW, 0);
    activity.count = 3;
    assert_int_equal(activity_in(&activity, WINDOW_HOUR, NOW + 66 * 60 * (int64_t)US_PER_S), 0);
    assert_int_equal(activity_in(&activity, WINDOW_DAY, NOW + 66 * 60 * (int64_t)US_PER_S), 3);
    assert_int_equal(activity_in(&activity, WINDOW_ALL, INT64_MAX), 3);
}

static void activity_comes_back(void **)
{
    struct activity activity = {.count = 0x01020304}, read;
    struct span rest;
    struct buf bytes, hex;
    activity_mark(&activity, NOW, 7);
    activity_mark(&activity, NOW + 301 * (int64_t)US_PER_S, 8);
    buf_init(&bytes, ACTIVITY_BYTES_MAX + 8);
    buf_init(&hex, 2 * ACTIVITY_BYTES_MAX);
    activity_write(&bytes, &activity);
    hex_encode(&hex, bytes.data, bytes.len);
    assert_string_equal(hex.data, "01020304020101"                   /* count; marks of hour, day, week */
                                  "005b8d8000000007005b8d8100000008" /* grain, before */
                                  "0007a12000000007"
                                  "0001458500000007"); /* in Redis are such bytes */
    buf_append_text(&bytes, "spring");
    assert_true(activity_read(buf_span(&bytes), &read, &rest));
    assert_span(rest, "spring");
    assert_int_equal(read.count, activity.count);
    for (size_t window = 0; window < WINDOW_MARKED; window++) {
        assert_int_equal(read.marks[window].count, activity.marks[window].count);
        assert_memory_equal(read.marks[window].items, activity.marks[window].items,
                            read.marks[window].count * sizeof(struct mark));
    }
    for (size_t len = 0; len < bytes.len - 6; len++)
        assert_false(activity_read((struct span){bytes.data, len}, &read, &rest));
    buf_deinit(&bytes);
    buf_deinit(&hex);
}

static void foreign_bytes_are_refused(void **)
{
    struct activity read;
    struct span rest;
    assert_false(activity_read((struct span){NULL, 0}, &read, &rest));
    assert_true(activity_read(SPAN("\0\0\0\1\0\0\0x"), &read, &rest));
    assert_false(activity_read(SPAN("\0\0\0\1\1\0\0\0\0\0\0\0\0"), &read, &rest)); /* cut */
    assert_false(
        activity_read(SPAN("\0\0\0\1\2\0\0\0\0\0\2aaaa\0\0\0\2aaaa"), &read, &rest)); /* not ascending */
    char many[4 + 3 + 8 * 255] = {0};
    many[4] = (char)255;
    assert_false(activity_read((struct span){many, sizeof many}, &read, &rest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_begin_with_a_whole_grain),
        cmocka_unit_test(labels_are_known),
        cmocka_unit_test(marks_count_what_a_list_counts),
        cmocka_unit_test(nothing_counts_nothing),
        cmocka_unit_test(activity_comes_back),
        cmocka_unit_test(foreign_bytes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
