/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 3339 both ways, against the C library's calendar, and deadlines. */
#include "common/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka.h needs the two above */
#include <cmocka.h>

static int64_t parsed(const char *text)
{
    int64_t us = -1;
    if (!time_parse(span_of(text), &us))
        fail_msg("refused %s", text);
    return us;
}

static void assert_formats(int64_t us, const char *want)
{
    struct buf buf;
    buf_init(&buf, 100);
    time_format(&buf, us);
    assert_string_equal(buf.data, want);
    buf_deinit(&buf);
}

static void reads_times(void **)
{
    assert_true(parsed("1970-01-01T00:00:00Z") == 0);
    assert_true(parsed("1970-01-01T00:00:00.000001Z") == 1);
    assert_true(parsed("1970-01-01T00:00:00.0000019Z") == 1);
    assert_true(parsed("1970-01-01t00:00:01.5z") == 1500000);
    assert_true(parsed("2026-11-20T13:22:56.123456789+00:00") == 1795180976123456);
    assert_true(parsed("2026-11-20T13:22:56.123456789012345678901Z") == 1795180976123456);
    assert_true(parsed("2026-11-20t13:22:56-00:00") == 1795180976000000);
    assert_true(parsed("2026-11-20T14:22:56.123456+01:00") == 1795180976123456);
    assert_true(parsed("2026-11-20T07:52:56.123456-05:30") == 1795180976123456);
    assert_true(parsed("1970-01-01T23:59:00+23:59") == 0);
    assert_true(parsed("2000-02-29T00:00:00-00:00") == 951782400 * (int64_t)US_PER_S);
    assert_true(parsed("9999-12-31T23:59:59.999999Z") == 253402300800 * (int64_t)US_PER_S - 1);
}

static void reads_leap_seconds_only_where_they_are(void **)
{
    int64_t us, want = parsed("2016-12-31T23:59:59.999999Z");
    assert_true(parsed("2016-12-31T23:59:60Z") == want);
    assert_true(parsed("2016-12-31T23:59:60.5Z") == want);
    assert_true(parsed("2017-01-01T00:59:60+01:00") == want);
    assert_false(time_parse(SPAN("2016-12-31T23:58:60Z"), &us));
    assert_false(time_parse(SPAN("2016-12-31T12:30:60Z"), &us));
    assert_false(time_parse(SPAN("2016-12-31T23:59:60+01:00"), &us));
    assert_false(time_parse(SPAN("2016-12-31T23:59:61Z"), &us));
}

static void refuses_times(void **)
{
    static const char *const bad[] = {
        "",
        "2026",
        "2026-11-20",
        "2026-11-20T13:22:56",
        "2026-11-20 13:22:56Z",
        "2026-11-20T13:22Z",
        "2026-11-20T13:22:56.Z",
        "2026-11-20T13:22:56.123456789012 Z",
        "2026-11-20T13:22:56,5Z",
        "2026-11-20T13:22:56+0100",
        "2026-11-20T13:22:56+01",
        "2026-11-20T13:22:56+24:00",
        "2026-11-20T13:22:56+01:60",
        "2026-11-20T13:22:56ZZ",
        "2026-11-20T13:22:56Z ",
        " 2026-11-20T13:22:56Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T13:60:00Z",
        "2026-00-20T13:22:56Z",
        "2026-13-20T13:22:56Z",
        "2026-11-00T13:22:56Z",
        "2026-11-31T13:22:56Z",
        "2026-02-29T13:22:56Z",
        "2100-02-29T13:22:56Z",
        "1969-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T00:00:00-23:59:00",
        "-2026-11-20T13:22:56Z",
        "20260-11-20T13:22:56Z",
        "2026-1-20T13:22:56Z",
        "2026-11-20T13:22:5 Z",
        "2026-11-20T13:22:+6Z",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t us = -7;
        if (time_parse(span_of(bad[i]), &us))
            fail_msg("accepted %s", bad[i]);
        assert_true(us == -7);
    }
    int64_t us;
    assert_false(time_parse(span_of(NULL), &us));
    assert_false(time_parse(SPAN("2026-11-20T13:22:56Z\0"), &us));
}

static void writes_times(void **)
{
    assert_formats(0, "1970-01-01T00:00:00.000000Z");
    assert_formats(-1, "1969-12-31T23:59:59.999999Z");
    assert_formats(1795180976000042, "2026-11-20T13:22:56.000042Z");
    assert_formats(253402300800 * (int64_t)US_PER_S - 1, "9999-12-31T23:59:59.999999Z");
    assert_formats(253402300800 * (int64_t)US_PER_S, "9999-12-31T23:59:59.999999Z");
    assert_formats(INT64_MAX, "9999-12-31T23:59:59.999999Z");
    assert_formats(INT64_MIN, "0000-01-01T00:00:00.000000Z");
}

/* One instant in every 12 hours and 7 minutes from 1970 to 9999 says the same as gmtime_r and reads back. */
static void agrees_with_the_calendar(void **)
{
    struct buf buf;
    buf_init(&buf, 100);
    for (int64_t second = 0; second < 253402300800; second += 43620) {
        char want[64];
        time_t at = (time_t)second;
        struct tm tm;
        int64_t back;
        gmtime_r(&at, &tm);
        snprintf(want, sizeof want, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900, tm.tm_mon + 1,
                 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(second % 999983));
        buf_clear(&buf);
        time_format(&buf, second * US_PER_S + second % 999983);
        if (strcmp(buf.data, want) != 0)
            fail_msg("%s, not %s", buf.data, want);
        if (!time_parse(buf_span(&buf), &back) || back != second * US_PER_S + second % 999983)
            fail_msg("%s does not read back", want);
    }
    buf_deinit(&buf);
}

static void deadlines(void **)
{
    int64_t before = clock_mono_us();
    int64_t deadline = clock_deadline_us(1000);
    assert_true(deadline >= before + 1000000 && deadline <= clock_mono_us() + 1000000);
    assert_in_range(clock_remaining_ms(clock_mono_us() + 60000000), 1, 60000);
    assert_int_equal(clock_remaining_ms(clock_mono_us()), 0);
    assert_int_equal(clock_remaining_ms(0), 0);
    assert_int_equal(clock_remaining_ms(INT64_MIN), 0);
    assert_int_equal(clock_remaining_ms(INT64_MAX), 3600000);
    assert_true(clock_deadline_us(INT64_MAX) == INT64_MAX);
    assert_true(clock_deadline_us(0) <= clock_mono_us());
    assert_true(clock_wall_us() > 1577836800 * (int64_t)US_PER_S); /* later than 2020 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_times),
        cmocka_unit_test(reads_leap_seconds_only_where_they_are),
        cmocka_unit_test(refuses_times),
        cmocka_unit_test(writes_times),
        cmocka_unit_test(agrees_with_the_calendar),
        cmocka_unit_test(deadlines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
