/* SPDX-License-Identifier: Apache-2.0 */
/* Coupon codes. The input as text is hardly ever a code; the same input as a place and a prefix makes one,
 * which must be read back, and must not be one any more with any character changed. */
#include "events/ids.h"
#include "tests/fuzz/fuzz.h"

static const struct code_key key = {.of = {{.bytes = {1, 2, 3}}}};

static void made(const uint8_t *data, size_t size)
{
    struct position at = {0}, back;
    struct buf code;
    for (size_t i = 0; i < 6 && i < size; i++)
        at.position = at.position << 8 | data[i];
    at.slice = (int16_t)(at.position & 15);
    at.position = (at.position & ((INT64_C(1) << 41) - 1)) | 1;
    struct span prefix = size > 6 ? fuzz_text(data + 6, size - 6) : SPAN("");
    if (prefix.len && !code_prefix_valid(prefix))
        return;
    buf_init(&code, COUPON_CODE_MAX);
    coupon_code_write(&code, &key, at, prefix);
    CHECK(!code.overflow);
    CHECK(coupon_code_parse(buf_span(&code), &key, &back));
    CHECK(back.slice == at.slice && back.position == at.position);
    char *last = &code.data[code.len - 1];
    *last = *last == '7' ? '8' : '7'; /* neither is read as the other */
    CHECK(!coupon_code_parse(buf_span(&code), &key, &back));
    buf_deinit(&code);
}

FUZZ_TARGET(coupon_code)
{
    struct position at;
    if (coupon_code_parse(fuzz_text(data, size), &key, &at))
        CHECK(at.slice >= 0 && at.slice < SLICE_COUNT && at.position > 0);
    made(data, size);
    return 0;
}
