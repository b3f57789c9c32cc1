/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of the API as the log makes them, written anew from the contract. */
#include "tests/chaos/judge_view.h"

#include "common/base/clock.h"

/* --- Coupons --- */

static bool right_code(const struct judge *judge, const struct json_value *body,
                       const struct model_coupon *coupon)
{
    struct buf code;
    if (!judge->in.code_key)
        return true;
    buf_init(&code, COUPON_CODE_MAX);
    coupon_code_write(&code, judge->in.code_key, coupon->at, coupon->code_prefix);
    bool right = span_equal(json_text_of(body, "code"), buf_span(&code));
    buf_deinit(&code);
    return right;
}

const char *view_coupon(const struct judge *judge, const struct json_value *body,
                        const struct model_coupon *coupon)
{
    struct position id;
    uint32_t user, campaign;
    if (!coupon_id_parse(json_text_of(body, "coupon_id"), &id) || id.slice != coupon->at.slice ||
        id.position != coupon->at.position)
        return "coupon_id";
    if (!user_number_parse(json_text_of(body, "user_id"), &user) || user != coupon->user)
        return "user_id";
    if (!campaign_name_parse(json_text_of(body, "campaign_id"), &campaign) || campaign != coupon->campaign)
        return "campaign_id";
    if (json_number_of(body, "sequence") != coupon->sequence)
        return "sequence";
    if (json_time_of(body, "issued_at") != coupon->issued_us)
        return "issued_at";
    if (json_time_of(body, "expires_at") != coupon->expires_us)
        return "expires_at";
    return right_code(judge, body, coupon) ? NULL : "code";
}

/* A reservation whose time is over is none. */
static enum model_coupon_state state_at(const struct coupon_moment *is, int64_t now_us)
{
    bool lapsed = is->state == MODEL_RESERVED && now_us >= is->until_us;
    return lapsed ? MODEL_ISSUED : is->state;
}

static const char *status_at(const struct model_coupon *coupon, const struct coupon_moment *is,
                             int64_t now_us)
{
    static const char *const names[] = {
        [MODEL_ISSUED] = "issued",
        [MODEL_RESERVED] = "reserved",
        [MODEL_REDEEMED] = "redeemed",
        [MODEL_REVOKED] = "revoked",
    };
    bool expired = coupon->expires_us && now_us >= coupon->expires_us;
    bool unused = is->state == MODEL_ISSUED || is->state == MODEL_RESERVED;
    return expired && unused ? "expired" : names[state_at(is, now_us)];
}

const char *view_coupon_state(const struct judge *judge, const struct json_value *body,
                              const struct model_coupon *coupon, const struct coupon_moment *is,
                              int64_t now_us)
{
    uint32_t order = UINT32_MAX;
    enum model_coupon_state state = state_at(is, now_us);
    bool has_order = state == MODEL_RESERVED || state == MODEL_REDEEMED;
    (void)judge;
    if (!span_is(json_text_of(body, "status"), status_at(coupon, is, now_us)))
        return "status";
    if ((json_member(body, "order_id") != NULL) != has_order)
        return "order_id";
    if (has_order && (!order_name_parse(json_text_of(body, "order_id"), &order) || order != is->order))
        return "order_id";
    if (has_order && json_number_of(body, "order_amount") != is->amount)
        return "order_amount";
    if (has_order && json_number_of(body, "discount_amount") != is->discount)
        return "discount_amount";
    if (json_time_of(body, "reserved_until") != (state == MODEL_RESERVED ? is->until_us : 0))
        return "reserved_until";
    if (json_time_of(body, "redeemed_at") != (state == MODEL_REDEEMED ? is->recorded_us : 0))
        return "redeemed_at";
    return NULL;
}

const char *view_refusal(const struct judge *judge, const struct model_coupon *coupon,
                         const struct coupon_moment *is, uint32_t user, int64_t amount, int64_t now_us)
{
    if (user != UINT32_MAX && user != coupon->user)
        return "not-holder";
    if (is->state == MODEL_REVOKED)
        return "revoked";
    if (is->state == MODEL_REDEEMED)
        return "already-redeemed";
    if (coupon->expires_us && now_us >= coupon->expires_us)
        return "expired";
    if (state_at(is, now_us) == MODEL_RESERVED)
        return "reserved"; /* readers never say for which order */
    if (amount >= 0 && amount < judge->campaigns[coupon->campaign].definition.min_order_amount)
        return "below-minimum";
    return NULL;
}

/* --- Campaigns --- */

const char *view_campaign(const struct json_value *body, const struct model_campaign *campaign,
                          const struct campaign_moment *is)
{
    const struct campaign_created *definition = &campaign->definition;
    if (!span_equal(json_text_of(body, "name"), definition->name))
        return "name";
    if (json_number_of(body, "quantity") != is->quantity)
        return "quantity";
    if (json_number_of(body, "per_user_limit") != is->limit)
        return "per_user_limit";
    if (json_time_of(body, "starts_at") != definition->starts_at_us ||
        json_time_of(body, "ends_at") != definition->ends_at_us)
        return "starts_at or ends_at";
    if (json_time_of(body, "created_at") != campaign->created_us)
        return "created_at";
    if (json_number_of(body, "issued") != is->issued)
        return "issued";
    if (json_number_of(body, "redeemed") != is->redeemed)
        return "redeemed";
    if (json_number_of(body, "reserved") != is->reserved)
        return "reserved";
    const struct json_value *position = json_member(body, "position");
    return json_number_of(position, "position") == is->position ? NULL : "position";
}

const char *view_campaign_status(const struct model_campaign *campaign, const struct campaign_moment *is,
                                 int64_t now_us)
{
    const struct campaign_created *definition = &campaign->definition;
    int64_t end_us = judge_end_us(definition);
    if (is->state == MODEL_DELETED)
        return "deleted";
    if (is->state == MODEL_CLOSED)
        return "closed";
    if (is->state == MODEL_ENDED || (end_us && now_us >= end_us))
        return "ended";
    if (is->state == MODEL_PAUSED)
        return "paused";
    if (now_us < definition->starts_at_us)
        return "scheduled";
    return is->issued >= is->quantity || now_us < is->reopens_us ? "sold_out" : "active";
}

int64_t view_released(const struct model_campaign *campaign, const struct campaign_moment *is, int64_t now_us)
{
    const struct release_list *plan = &campaign->definition.release_plan;
    int64_t end_us = judge_end_us(&campaign->definition), released = is->released;
    bool over = is->state == MODEL_CLOSED || is->state == MODEL_ENDED || (end_us && now_us >= end_us);
    for (size_t i = (size_t)is->plan_done; i < plan->count && !over && !is->halted; i++)
        released += plan->items[i].at_us <= now_us ? plan->items[i].quantity : 0;
    return released;
}

const char *view_campaign_now(const struct json_value *body, const struct model_campaign *campaign,
                              const struct campaign_moment *is, int64_t now_us)
{
    int64_t released = view_released(campaign, is, now_us);
    if (!span_is(json_text_of(body, "status"), view_campaign_status(campaign, is, now_us)))
        return "status";
    if (json_number_of(body, "released") != released)
        return "released";
    return json_number_of(body, "remaining") == released - is->issued ? NULL : "remaining";
}
