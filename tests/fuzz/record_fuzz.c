/* SPDX-License-Identifier: Apache-2.0 */
/* Records of coupons in the read models: a Redis may hold anything. */
#include "events/codec.h"
#include "events/coupon.h"
#include "tests/fuzz/fuzz.h"

enum { RECORD_MAX = 4096 };

static void issue(struct span record)
{
    struct event event, again;
    struct buf once;
    if (!coupon_issue_decode(record, SPAN("somebody"), &event))
        return;
    event.slice = 3;
    event.position = 5;
    buf_init(&once, RECORD_MAX);
    coupon_issue_encode(&event, &once);
    CHECK(!once.overflow && coupon_issue_decode(buf_span(&once), SPAN("somebody"), &again));
    CHECK(span_equal(again.campaign_id, event.campaign_id) && again.recorded_at_us == event.recorded_at_us);
    CHECK(again.coupon_issued.sequence == event.coupon_issued.sequence);
    buf_deinit(&once);
}

static void state(struct span record)
{
    struct coupon coupon = {0}, again = {0};
    struct buf once;
    if (!coupon_state_decode(record, SPAN("order"), &coupon))
        return;
    buf_init(&once, RECORD_MAX);
    coupon_state_encode(&coupon, &once);
    CHECK(!once.overflow && coupon_state_decode(buf_span(&once), SPAN("order"), &again));
    CHECK(again.state == coupon.state);
    buf_deinit(&once);
}

FUZZ_TARGET(record)
{
    issue(fuzz_text(data, size));
    state(fuzz_text(data, size));
    return 0;
}
