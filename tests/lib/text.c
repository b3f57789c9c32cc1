/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that take turns. */
#include "tests/lib/text.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "common/base/clock.h"

const char *textf(const char *format, ...)
{
    static _Thread_local char texts[16][4096];
    static _Thread_local size_t turn;
    char *text = texts[turn++ % COUNT_OF(texts)];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof texts[0], format, args);
    va_end(args);
    CHECK(len >= 0 && (size_t)len < sizeof texts[0]);
    return text;
}

const char *time_text(int64_t wall_us)
{
    struct buf out;
    buf_init(&out, 64);
    time_format(&out, wall_us);
    const char *text = textf("%s", out.data);
    buf_deinit(&out);
    return text;
}
