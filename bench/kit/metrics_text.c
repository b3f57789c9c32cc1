/* SPDX-License-Identifier: Apache-2.0 */
/* One line for each series: its name and labels, a space, its value. */
#include "bench/kit/metrics_text.h"

static struct span value_of(struct span text, const char *name)
{
    size_t len = strlen(name);
    for (struct span rest = text; rest.ptr && rest.len > 0;) {
        struct span line = span_cut(&rest, '\n');
        if (line.len > len && line.ptr[len] == ' ' && span_starts(line, span_of(name)))
            return (struct span){line.ptr + len + 1, line.len - len - 1};
    }
    return (struct span){NULL, 0};
}

bool metrics_find(struct span text, const char *name, int64_t *ret)
{
    return parse_i64(value_of(text, name), INT64_MIN, INT64_MAX, ret);
}

/* "12.000001", as seconds and ratios are written: always six digits behind the point. */
bool metrics_find_micro(struct span text, const char *name, int64_t *ret)
{
    enum { DIGITS = 6, MICRO = 1000000 };
    struct span fraction = value_of(text, name), whole = span_cut(&fraction, '.');
    int64_t units, parts = 0;
    if (fraction.len != DIGITS || !parse_i64(whole, 0, INT64_MAX / MICRO - 1, &units))
        return false;
    for (size_t i = 0; i < DIGITS; i++) {
        if (fraction.ptr[i] < '0' || fraction.ptr[i] > '9')
            return false;
        parts = 10 * parts + fraction.ptr[i] - '0';
    }
    *ret = units * MICRO + parts;
    return true;
}
