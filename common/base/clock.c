/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks and RFC 3339. Calendar arithmetic is done here rather than with timegm/strptime because those read
 * the locale and the environment and accept more than RFC 3339 does. */
#include "common/base/clock.h"

/* What time_format can write in four digits of year. */
#define TIME_MIN_US (-62167219200 * (int64_t)US_PER_S)
#define TIME_MAX_US (253402300800 * (int64_t)US_PER_S - 1)

static int64_t clock_read_us(clockid_t id)
{
    struct timespec now;
    CHECK(clock_gettime(id, &now) == 0);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
    return clock_read_us(CLOCK_REALTIME);
}

int64_t clock_mono_us(void)
{
    return clock_read_us(CLOCK_MONOTONIC);
}

int64_t clock_deadline_us(int64_t timeout_ms)
{
    int64_t now_us = clock_mono_us();
    if (timeout_ms > (INT64_MAX - now_us) / US_PER_MS)
        return INT64_MAX;
    return now_us + timeout_ms * US_PER_MS;
}

int clock_remaining_ms(int64_t deadline_us)
{
    int64_t now_us = clock_mono_us();
    if (deadline_us <= now_us)
        return 0;
    int64_t left_us = deadline_us - now_us;
    int64_t left_ms = left_us / US_PER_MS + (left_us % US_PER_MS != 0);
    return left_ms > 3600000 ? 3600000 : (int)left_ms;
}

/* Days since 1970-01-01 of a civil date, and back: the era-based method of Howard Hinnant's
 * "chrono-compatible low-level date algorithms". */
static int64_t days_from_civil(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned year_of_era = (unsigned)(year - era * 400);
    unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + (int64_t)day_of_era - 719468;
}

static void civil_from_days(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned day_of_era = (unsigned)(days - era * 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted = (5 * day_of_year + 2) / 153;
    *ret_day = day_of_year - (153 * shifted + 2) / 5 + 1;
    *ret_month = shifted < 10 ? shifted + 3 : shifted - 9;
    *ret_year = (int64_t)year_of_era + era * 400 + (*ret_month <= 2);
}

static void put_digits(char *to, size_t digits, unsigned value)
{
    for (; digits > 0; digits--, value /= 10)
        to[digits - 1] = (char)('0' + value % 10);
}

/* By hand and not with printf: several of these are in every answer. */
void time_format(struct buf *buf, int64_t wall_us)
{
    char text[] = "0000-00-00T00:00:00.000000Z";
    wall_us = wall_us < TIME_MIN_US ? TIME_MIN_US : wall_us > TIME_MAX_US ? TIME_MAX_US : wall_us;
    int64_t days = wall_us / US_PER_DAY, rest = wall_us % US_PER_DAY;
    if (rest < 0) {
        rest += US_PER_DAY;
        days--;
    }
    int64_t year;
    unsigned month, day, seconds = (unsigned)(rest / US_PER_S);
    civil_from_days(days, &year, &month, &day);
    put_digits(text, 4, (unsigned)year);
    put_digits(text + 5, 2, month);
    put_digits(text + 8, 2, day);
    put_digits(text + 11, 2, seconds / 3600);
    put_digits(text + 14, 2, seconds / 60 % 60);
    put_digits(text + 17, 2, seconds % 60);
    put_digits(text + 20, 6, (unsigned)(rest % US_PER_S));
    buf_append(buf, text, sizeof text - 1);
}

/* Reads exactly `digits` decimal digits off the front of `rest`. */
static bool take_digits(struct span *rest, size_t digits, unsigned *ret)
{
    unsigned value = 0;
    if (rest->len < digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        unsigned digit = (unsigned char)rest->ptr[i] - (unsigned)'0';
        if (digit > 9)
            return false;
        value = value * 10 + digit;
    }
    *rest = (struct span){rest->ptr + digits, rest->len - digits};
    *ret = value;
    return true;
}

static bool take_char(struct span *rest, char upper, char lower)
{
    if (rest->len == 0 || (rest->ptr[0] != upper && rest->ptr[0] != lower))
        return false;
    *rest = (struct span){rest->ptr + 1, rest->len - 1};
    return true;
}

static bool take_fraction(struct span *rest, int64_t *ret_us)
{
    int64_t us = 0;
    size_t digits = 0;
    if (!take_char(rest, '.', '.')) {
        *ret_us = 0;
        return true;
    }
    for (unsigned digit; take_digits(rest, 1, &digit); digits++) /* RFC 3339: as many as there are */
        if (digits < 6)
            us = us * 10 + digit;
    for (size_t i = digits; i < 6; i++)
        us *= 10;
    *ret_us = us;
    return digits > 0;
}

static bool take_offset(struct span *rest, int64_t *ret_us)
{
    unsigned hours, minutes;
    if (take_char(rest, 'Z', 'z')) {
        *ret_us = 0;
        return true;
    }
    bool minus = take_char(rest, '-', '-');
    if (!minus && !take_char(rest, '+', '+'))
        return false;
    if (!take_digits(rest, 2, &hours) || !take_char(rest, ':', ':') || !take_digits(rest, 2, &minutes))
        return false;
    int64_t offset_us = ((int64_t)hours * 60 + minutes) * 60 * US_PER_S;
    *ret_us = minus ? -offset_us : offset_us;
    return hours < 24 && minutes < 60;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

bool time_parse(struct span rest, int64_t *ret_wall_us)
{
    unsigned year, month, day, hour, minute, second;
    int64_t fraction_us, offset_us;
    if (!rest.ptr || !take_digits(&rest, 4, &year) || !take_char(&rest, '-', '-') ||
        !take_digits(&rest, 2, &month) || !take_char(&rest, '-', '-') || !take_digits(&rest, 2, &day))
        return false;
    if (!take_char(&rest, 'T', 't') || !take_digits(&rest, 2, &hour) || !take_char(&rest, ':', ':') ||
        !take_digits(&rest, 2, &minute) || !take_char(&rest, ':', ':') || !take_digits(&rest, 2, &second))
        return false;
    if (!take_fraction(&rest, &fraction_us) || !take_offset(&rest, &offset_us) || rest.len != 0)
        return false;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return false;
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    bool leap = second == 60;
    int64_t minutes = days_from_civil(year, month, day) * 1440 + hour * 60 + minute;
    int64_t wall_us = minutes * 60 * US_PER_S - offset_us;
    if (leap && wall_us % US_PER_DAY != 1439 * 60 * (int64_t)US_PER_S)
        return false; /* leap seconds come at the end of a day in UTC, nowhere else */
    wall_us += leap ? 60 * (int64_t)US_PER_S - 1 : second * (int64_t)US_PER_S + fraction_us;
    if (wall_us < 0 || wall_us > TIME_MAX_US) /* an offset can lead out of the years that are allowed */
        return false;
    *ret_wall_us = wall_us;
    return true;
}
