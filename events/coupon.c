/* SPDX-License-Identifier: Apache-2.0 */
/* Coupons from events and as JSON. */
#include "events/coupon.h"

#include "common/json.h"

struct coupon coupon_from_event(const struct event *event)
{
    CHECK(event->type == EVENT_CouponIssued);
    return (struct coupon){
        .at = {event->slice, event->position},
        .campaign_id = event->campaign_id,
        .user_id = event->user_id,
        .code_prefix = event->coupon_issued.code_prefix,
        .sequence = event->coupon_issued.sequence,
        .nth = event->coupon_issued.nth,
        .issued_at_us = event->recorded_at_us,
        .expires_at_us = event->coupon_issued.expires_at_us,
        .state = COUPON_ISSUED,
    };
}

const char *coupon_status(const struct coupon *coupon, int64_t now_us)
{
    return coupon->expires_at_us && now_us >= coupon->expires_at_us ? "expired" : "issued";
}

static void put_id(struct buf *out, struct position at)
{
    struct buf id;
    buf_init(&id, COUPON_ID_MAX);
    coupon_id_write(&id, at);
    json_put_string(out, "coupon_id", buf_span(&id));
    buf_deinit(&id);
}

static void put_code(struct buf *out, const struct coupon *coupon, const uint8_t *code_key)
{
    struct buf code;
    buf_init(&code, COUPON_CODE_MAX);
    coupon_code_write(&code, code_key, coupon->at, coupon->code_prefix);
    json_put_string(out, "code", buf_span(&code));
    buf_deinit(&code);
}

void coupon_write_json(struct buf *out, const char *key, const struct coupon *coupon,
                       const uint8_t code_key[CRYPTO_KEY_BYTES], int64_t now_us)
{
    json_open(out, key, '{');
    put_id(out, coupon->at);
    put_code(out, coupon, code_key);
    json_put_string(out, "campaign_id", coupon->campaign_id);
    json_put_string(out, "user_id", coupon->user_id);
    json_put_int(out, "sequence", coupon->sequence);
    json_put_string(out, "status", span_of(coupon_status(coupon, now_us)));
    json_put_time(out, "issued_at", coupon->issued_at_us);
    json_put_time(out, "expires_at", coupon->expires_at_us);
    json_open(out, "position", '{');
    json_put_int(out, "slice", coupon->at.slice);
    json_put_int(out, "position", coupon->at.position);
    json_close(out, '}');
    json_close(out, '}');
}
