/* SPDX-License-Identifier: Apache-2.0 */
/* JSON of each kind of answer, and entity tags. */
#include "query-service/http/render.h"

#include "common/json.h"

void render_cursor(struct buf *out, const struct query *query, const struct cursor *next)
{
    if (next->kind == CURSOR_NONE) {
        json_put_null(out, "next");
        return;
    }
    struct buf scope, cursor;
    buf_init(&scope, QUERY_KEY_MAX);
    buf_init(&cursor, CURSOR_TEXT_MAX);
    query_scope(query, &scope);
    cursor_write(&cursor, next, buf_span(&scope));
    CHECK(!scope.overflow && !cursor.overflow);
    json_put_string(out, "next", buf_span(&cursor));
    buf_deinit(&scope);
    buf_deinit(&cursor);
}

static void render_campaigns(struct buf *out, const struct query *query, const struct answer *answer)
{
    json_open(out, NULL, '{');
    json_open(out, "items", '[');
    for (size_t i = 0; i < answer->campaigns_count; i++)
        campaign_write_json(out, NULL, &answer->campaigns[i], query->now_us);
    json_close(out, ']');
    render_cursor(out, query, &answer->next);
    json_close(out, '}');
}

static void render_coupons(struct buf *out, const struct query *query, const struct answer *answer,
                           const struct code_key *code_key)
{
    json_open(out, NULL, '{');
    json_open(out, "items", '[');
    for (size_t i = 0; i < answer->coupons_count; i++)
        coupon_write_json(out, NULL, &answer->coupons[i], code_key, query->now_us);
    json_close(out, ']');
    render_cursor(out, query, &answer->next);
    json_close(out, '}');
}

static void render_user_in_campaign(struct buf *out, const struct query *query, const struct answer *answer)
{
    json_open(out, NULL, '{');
    json_put_string(out, "campaign_id", query->campaign_id);
    json_put_string(out, "user_id", query->user_id);
    json_put_int(out, "issued", (int64_t)answer->coupons_count);
    if (answer->coupons_count)
        json_put_int(out, "sequence", answer->coupons[0].sequence);
    else
        json_put_null(out, "sequence");
    json_open(out, "coupon_ids", '[');
    for (size_t i = 0; i < answer->coupons_count; i++) {
        struct buf id;
        buf_init(&id, COUPON_ID_MAX);
        coupon_id_write(&id, answer->coupons[i].at);
        json_put_string(out, NULL, buf_span(&id));
        buf_deinit(&id);
    }
    json_close(out, ']');
    json_close(out, '}');
}

/* Without an order its discount is only known where it does not depend on the order. */
static void put_discount(struct buf *out, const struct query *query, const struct campaign_created *campaign)
{
    if (query->order_amount >= 0)
        json_put_int(out, "discount_amount", coupon_discount(campaign, query->order_amount));
    else if (campaign->discount_type == 0)
        json_put_null(out, "discount_amount");
    else
        json_put_int(out, "discount_amount", campaign->discount_value);
}

static void render_validity(struct buf *out, const struct query *query, const struct answer *answer)
{
    const struct campaign_created *campaign = &answer->campaigns[0].definition;
    struct coupon_use use = {.user_id = query->user_id,
                             .order_id = query->order_id, /* its own hold is in nobody's way */
                             .order_amount = query->order_amount,
                             .currency = query->currency};
    const struct problem *problem = coupon_check(&answer->coupons[0], campaign, &use, query->now_us);
    json_open(out, NULL, '{');
    json_put_bool(out, "valid", !problem);
    if (problem)
        json_put_string(out, "reason", span_of(problem->code));
    if (problem)
        json_put_int(out, "discount_amount", 0);
    else
        put_discount(out, query, campaign);
    json_close(out, '}');
}

static void render_ranking(struct buf *out, const struct query *query, const struct answer *answer)
{
    json_open(out, NULL, '{');
    json_open(out, "items", '[');
    for (size_t i = 0; i < answer->campaigns_count; i++) {
        json_open(out, NULL, '{');
        json_put_int(out, "rank", (int64_t)i + 1);
        json_put_string(out, "campaign_id", answer->campaigns[i].id);
        json_put_string(out, "name", answer->campaigns[i].definition.name);
        json_put_int(out, "count", answer->counts[i]);
        json_close(out, '}');
    }
    json_close(out, ']');
    json_put_time(out, "since", window_since_us(query->window, query->now_us));
    json_close(out, '}');
}

void render_answer(struct buf *out, const struct query *query, const struct answer *answer,
                   const struct code_key *code_key)
{
    CHECK(answer->outcome == ANSWER_FOUND);
    switch (query->kind) {
    case QUERY_CAMPAIGNS:
        render_campaigns(out, query, answer);
        return;
    case QUERY_CAMPAIGN:
        CHECK(answer->campaigns_count == 1);
        campaign_write_json(out, NULL, &answer->campaigns[0], query->now_us);
        return;
    case QUERY_HOLDERS:
    case QUERY_USER_COUPONS:
    case QUERY_ORDER_COUPONS:
        render_coupons(out, query, answer, code_key);
        return;
    case QUERY_USER_IN_CAMPAIGN:
        render_user_in_campaign(out, query, answer);
        return;
    case QUERY_COUPON:
        CHECK(answer->coupons_count == 1);
        coupon_write_json(out, NULL, &answer->coupons[0], code_key, query->now_us);
        return;
    case QUERY_VALIDITY:
        CHECK(answer->coupons_count == 1 && answer->campaigns_count == 1);
        render_validity(out, query, answer);
        return;
    case QUERY_RANKING:
        render_ranking(out, query, answer);
        return;
    case QUERY_KIND_COUNT:
        break;
    }
    UNREACHABLE("every kind has a case");
}
