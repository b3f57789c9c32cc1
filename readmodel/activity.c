/* SPDX-License-Identifier: Apache-2.0 */
/* Windows and marks. */
#include "readmodel/activity.h"

#include <string.h>

#include "common/base/be.h"
#include "common/base/clock.h"

#define WINDOW_ROW(name, label, grain, grains) [name] = {label, grain, grains},
static const struct {
    const char *label;
    int64_t grain_s, grains;
} windows[WINDOW_COUNT] = {WINDOWS(WINDOW_ROW)};

#define COUNTED_LABEL(name, label) [name] = label,
static const char *const counted_labels[COUNTED_COUNT] = {COUNTED(COUNTED_LABEL)};

#define WINDOW_FITS(name, label, grain, grains) \
    _Static_assert((grains) + ACTIVITY_SLACK < ACTIVITY_MARKS_MAX, "room for a window's marks");
WINDOWS(WINDOW_FITS)

bool counted_parse(struct span label, enum counted *ret)
{
    for (size_t i = 0; i < COUNTED_COUNT; i++)
        if (span_is(label, counted_labels[i])) {
            *ret = (enum counted)i;
            return true;
        }
    return false;
}

const char *counted_label(enum counted counted)
{
    CHECK((size_t)counted < COUNTED_COUNT);
    return counted_labels[counted];
}

bool window_parse(struct span label, enum window *ret)
{
    for (size_t i = 0; i < WINDOW_COUNT; i++)
        if (span_is(label, windows[i].label)) {
            *ret = (enum window)i;
            return true;
        }
    return false;
}

const char *window_label(enum window window)
{
    CHECK((size_t)window < WINDOW_COUNT);
    return windows[window].label;
}

int64_t window_grain_s(enum window window)
{
    CHECK((size_t)window < WINDOW_COUNT);
    return windows[window].grain_s;
}

static int64_t grain_of(enum window window, int64_t at_us)
{
    return at_us / US_PER_S / windows[window].grain_s;
}

static int64_t first_grain(enum window window, int64_t now_us)
{
    int64_t first = grain_of(window, now_us) - windows[window].grains;
    return first > 0 ? first : 0;
}

int64_t window_since_us(enum window window, int64_t now_us)
{
    CHECK((size_t)window < WINDOW_COUNT);
    return window == WINDOW_ALL ? 0 : first_grain(window, now_us) * windows[window].grain_s * US_PER_S;
}

void activity_mark(struct activity *activity, int64_t at_us, int64_t before)
{
    for (enum window window = 0; window < WINDOW_MARKED; window++) {
        struct marks *marks = &activity->marks[window];
        int64_t grain = grain_of(window, at_us);
        size_t old = 0;
        if (marks->count && marks->items[marks->count - 1].grain >= grain)
            continue;
        while (old < marks->count &&
               marks->items[old].grain < grain - windows[window].grains - ACTIVITY_SLACK)
            old++;
        marks->count -= old;
        memmove(marks->items, marks->items + old, marks->count * sizeof *marks->items);
        CHECK(marks->count < ACTIVITY_MARKS_MAX);
        marks->items[marks->count++] = (struct mark){grain, before};
    }
}

int64_t activity_in(const struct activity *activity, enum window window, int64_t now_us)
{
    CHECK((size_t)window < WINDOW_COUNT);
    if (window == WINDOW_ALL)
        return activity->count;
    const struct marks *marks = &activity->marks[window];
    int64_t first = first_grain(window, now_us);
    for (size_t i = 0; i < marks->count; i++)
        if (marks->items[i].grain >= first)
            return activity->count - marks->items[i].before;
    return 0;
}

/* --- bytes --- */

enum { NUMBER_BYTES = 4, MARK_BYTES = 2 * NUMBER_BYTES };

static void write_number(struct buf *out, int64_t value)
{
    CHECK(value >= 0 && value <= UINT32_MAX);
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_append_char(out, (char)(unsigned char)(value >> shift));
}

static int64_t read_number(const char *bytes)
{
    return (int64_t)be_get(bytes, NUMBER_BYTES);
}

void activity_write(struct buf *out, const struct activity *activity)
{
    write_number(out, activity->count);
    for (size_t window = 0; window < WINDOW_MARKED; window++)
        buf_append_char(out, (char)activity->marks[window].count);
    for (size_t window = 0; window < WINDOW_MARKED; window++)
        for (size_t i = 0; i < activity->marks[window].count; i++) {
            write_number(out, activity->marks[window].items[i].grain);
            write_number(out, activity->marks[window].items[i].before);
        }
}

static bool read_marks(const char *bytes, size_t count, struct marks *ret)
{
    ret->count = count;
    for (size_t i = 0; i < count; i++) {
        ret->items[i] = (struct mark){read_number(bytes + i * MARK_BYTES),
                                      read_number(bytes + i * MARK_BYTES + NUMBER_BYTES)};
        if (i > 0 && ret->items[i].grain <= ret->items[i - 1].grain)
            return false;
    }
    return true;
}

bool activity_read(struct span bytes, struct activity *ret, struct span *ret_rest)
{
    size_t at = NUMBER_BYTES + WINDOW_MARKED;
    if (bytes.len < at)
        return false;
    ret->count = read_number(bytes.ptr);
    for (size_t window = 0; window < WINDOW_MARKED; window++) {
        size_t count = (unsigned char)bytes.ptr[NUMBER_BYTES + window];
        if (count > ACTIVITY_MARKS_MAX || (bytes.len - at) / MARK_BYTES < count ||
            !read_marks(bytes.ptr + at, count, &ret->marks[window]))
            return false;
        at += count * MARK_BYTES;
    }
    *ret_rest = (struct span){bytes.ptr + at, bytes.len - at};
    return true;
}
