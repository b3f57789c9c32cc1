/* SPDX-License-Identifier: Apache-2.0 */
/* Coupon ids and the other rules for names from outside: one id has one text. */
#include "events/ids.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(coupon_id)
{
    struct span text = fuzz_text(data, size);
    struct position at;
    struct buf out;
    if (campaign_id_valid(text) || code_prefix_valid(text))
        CHECK(utf8_valid(text) && !text_has_control(text));
    if (user_id_valid(text))
        CHECK(utf8_valid(text) && !text_has_control(text) && size >= 1 && size <= USER_ID_MAX);
    CHECK(order_id_valid(text) == user_id_valid(text));
    if (tag_valid(text))
        CHECK(utf8_valid(text) && !text_has_control(text) && size >= 1);
    if (!coupon_id_parse(text, &at))
        return 0;
    buf_init(&out, COUPON_ID_MAX);
    coupon_id_write(&out, at);
    CHECK(!out.overflow && span_equal(buf_span(&out), text));
    buf_deinit(&out);
    return 0;
}
