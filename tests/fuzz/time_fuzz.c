/* SPDX-License-Identifier: Apache-2.0 */
/* Times and numbers in text: what is read, is written as one text that means the same. */
#include "common/base/clock.h"
#include "tests/fuzz/fuzz.h"

static void numbers(struct span text)
{
    struct buf out;
    uint64_t natural;
    int64_t integer;
    buf_init(&out, 64);
    if (parse_u64(text, UINT64_MAX, &natural)) {
        buf_append_u64(&out, natural);
        CHECK(span_equal(buf_span(&out), text));
    }
    buf_clear(&out);
    if (parse_i64(text, INT64_MIN, INT64_MAX, &integer)) {
        buf_append_i64(&out, integer);
        CHECK(span_equal(buf_span(&out), text) || integer == 0); /* "-0" */
    }
    buf_deinit(&out);
}

FUZZ_TARGET(time)
{
    int64_t us, again;
    struct buf out;
    numbers(fuzz_text(data, size));
    if (!time_parse(fuzz_text(data, size), &us))
        return 0;
    buf_init(&out, 64);
    time_format(&out, us);
    CHECK(us >= 0 && time_parse(buf_span(&out), &again) && again == us);
    buf_deinit(&out);
    return 0;
}
