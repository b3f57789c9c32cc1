/* SPDX-License-Identifier: Apache-2.0 */
/* How much of what a campaign has counted (coupons issued, or redeemed) falls into the last hour, day or
 * week, in a few hundred bytes whatever the traffic: marks. A mark says what the count was before the first
 * change in a stretch of time, so what a window has seen is the count now minus the first mark inside the
 * window. Marks are made from events and their time alone, and a mark never changes: the same log makes the
 * same marks (I8).
 *
 * Each window has marks of its own grain and begins with a whole one: the last hour is 60 to 65 minutes.
 * Pure. */
#pragma once

#include <stdbool.h>

#include "common/base/bytes.h"

/* X(name, label, grain in seconds, grains of the window) */
#define WINDOWS(X)                  \
    X(WINDOW_HOUR, "1h", 300, 12)   \
    X(WINDOW_DAY, "24h", 3600, 24)  \
    X(WINDOW_WEEK, "7d", 21600, 28) \
    X(WINDOW_ALL, "all", 0, 0)
#define WINDOW_ENUM(name, label, grain, grains) name,
enum window { WINDOWS(WINDOW_ENUM) WINDOW_COUNT, WINDOW_MARKED = WINDOW_ALL };

enum {
    ACTIVITY_SLACK = 2, /* grains kept in addition: readers' clocks may be behind the log's */
    ACTIVITY_MARKS_MAX = 28 + ACTIVITY_SLACK + 1,
    ACTIVITY_BYTES_MAX = 4 + WINDOW_MARKED + 8 * WINDOW_MARKED * ACTIVITY_MARKS_MAX,
    ACTIVITY_KEPT_S = 8 * 86400, /* who was not active for so long is in no window, with slack for clocks */
};

/* What is counted, ranked and windowed. X(name, label): the label is in keys and in the API. */
#define COUNTED(X)              \
    X(COUNTED_ISSUED, "issued") \
    X(COUNTED_REDEEMED, "redeemed") /* now; what was restored does not count any more */
#define COUNTED_ENUM(name, label) name,
enum counted { COUNTED(COUNTED_ENUM) COUNTED_COUNT };

bool counted_parse(struct span label, enum counted *ret) MUST_USE;
const char *counted_label(enum counted counted);

bool window_parse(struct span label, enum window *ret) MUST_USE;
const char *window_label(enum window window);
int64_t window_grain_s(enum window window); /* 0 for WINDOW_ALL */
/* Where the window begins for somebody who asks at `now_us`; 0, the beginning of time, for WINDOW_ALL. */
int64_t window_since_us(enum window window, int64_t now_us);

struct activity {
    int64_t count; /* now */
    struct marks {
        size_t count;
        struct mark {
            int64_t grain;           /* seconds since 1970 / the window's grain */
            int64_t before;          /* the count before the first change in it */
        } items[ACTIVITY_MARKS_MAX]; /* ascending */
    } marks[WINDOW_MARKED];
};

/* The count was `before` until it changed at `at_us`; times do not run backwards. Drops the marks that are in
 * no window any more. The caller sets `count`. */
void activity_mark(struct activity *activity, int64_t at_us, int64_t before);
/* What the window has seen; may be negative where more was taken back than counted. */
int64_t activity_in(const struct activity *activity, enum window window, int64_t now_us);

/* At the end of `out`, at most ACTIVITY_BYTES_MAX bytes, big-endian: count (4), how many marks each window
 * has (1 each), then the marks, grain (4) and before (4). projector/run/model_script.c writes the same. */
void activity_write(struct buf *out, const struct activity *activity);
/* From bytes that begin with that; what comes after it is `ret_rest`. False where it is not what this writes.
 */
bool activity_read(struct span bytes, struct activity *ret, struct span *ret_rest) MUST_USE;
