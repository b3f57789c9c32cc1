/* SPDX-License-Identifier: Apache-2.0 */
/* Queries: filters, slices, the scope of cursors. */
#include "query-service/load/query.h"

#include "common/base/clock.h"

const char *query_kind_label(enum query_kind kind)
{
#define QUERY_KIND_LABEL(name, label) [name] = label,
    static const char *const labels[] = {QUERY_KINDS(QUERY_KIND_LABEL)};
    CHECK((size_t)kind < COUNT_OF(labels));
    return labels[kind];
}

void query_init(struct query *query, enum query_kind kind, int64_t now_us)
{
    *query = (struct query){.kind = kind,
                            .limit = QUERY_LIMIT_DEFAULT,
                            .order_amount = -1,
                            .by = COUNTED_ISSUED,
                            .window = WINDOW_ALL,
                            .now_us = now_us};
}

struct span query_keep(struct query *query, struct span text)
{
    CHECK(text.len <= sizeof query->texts - query->texts_len);
    char *at = query->texts + query->texts_len;
    memcpy(at, text.ptr, text.len);
    query->texts_len += text.len;
    return (struct span){at, text.len};
}

void query_require(struct query *query, struct position token)
{
    CHECK(token.slice >= 0 && token.slice < SLICE_COUNT);
    if (token.position > query->at_least[token.slice])
        query->at_least[token.slice] = token.position;
}

unsigned query_slices(const struct query *query)
{
    switch (query->kind) {
    case QUERY_CAMPAIGN:
    case QUERY_HOLDERS:
    case QUERY_USER_IN_CAMPAIGN:
        return 1u << slice_of(query->campaign_id);
    case QUERY_COUPON:
    case QUERY_VALIDITY:
        return 1u << query->coupon.slice;
    case QUERY_CAMPAIGNS:
    case QUERY_USER_COUPONS:
    case QUERY_RANKING:
    case QUERY_ORDER_COUPONS:
        return (1u << SLICE_COUNT) - 1;
    case QUERY_KIND_COUNT:
        break;
    }
    UNREACHABLE("every kind has a case");
}

int64_t query_at_least(const struct query *query, int16_t slice)
{
    return query_slices(query) >> slice & 1 ? query->at_least[slice] : 0;
}

bool query_is_dear(const struct query *query, bool to_store)
{
    bool filtered = query->status.ptr || query->tag.ptr;
    if (query->kind == QUERY_RANKING) /* PostgreSQL has no index on the counts */
        return to_store || filtered || query->window != WINDOW_ALL;
    return filtered || query->past.kind != PAST_NONE;
}

static bool among(struct span text, const char *const *texts)
{
    for (; *texts; texts++)
        if (span_is(text, *texts))
            return true;
    return false;
}

bool query_campaign_status_known(struct span status)
{
    static const char *const known[] = {"scheduled", "active", "sold_out", "paused", "ended", "closed", NULL};
    return among(status, known);
}

bool query_coupon_status_known(struct span status)
{
    static const char *const known[] = {"issued", "reserved", "redeemed", "revoked", "expired", NULL};
    return among(status, known);
}

bool query_takes_campaign(const struct query *query, const struct campaign *campaign)
{
    return (!query->status.ptr || span_is(query->status, campaign_status(campaign, query->now_us))) &&
           (!query->tag.ptr || campaign_has_tag(campaign, query->tag));
}

bool query_takes_coupon(const struct query *query, const struct coupon *coupon)
{
    return !query->status.ptr || span_is(query->status, coupon_status(coupon, query->now_us));
}

size_t query_scan(const struct query *query)
{
    return query->status.ptr || query->tag.ptr ? QUERY_SCAN_MAX : (size_t)query->limit;
}

/* Length first, so that no two lists have the same scope. */
static void put_text(struct buf *out, struct span text)
{
    buf_append_i64(out, text.ptr ? (int64_t)text.len : -1);
    buf_append_char(out, ':');
    buf_append_span(out, text);
}

static void put_number(struct buf *out, int64_t number)
{
    buf_append_i64(out, number);
    buf_append_char(out, ',');
}

void query_scope(const struct query *query, struct buf *out)
{
    put_text(out, query->campaign_id);
    put_text(out, query->user_id);
    put_text(out, query->status);
    put_text(out, query->tag);
    if (query->kind == QUERY_RANKING) {
        put_text(out, span_of(counted_label(query->by)));
        put_text(out, span_of(window_label(query->window)));
    } else if (query->kind == QUERY_VALIDITY) {
        put_number(out, query->order_amount);
        put_text(out, query->order_id);
        put_text(out, query->currency);
    } else if (query->kind == QUERY_ORDER_COUPONS) {
        put_text(out, query->order_id);
    }
    if (query->coupon.position) {
        buf_append_i64(out, query->coupon.slice);
        buf_append_char(out, '-');
        buf_append_i64(out, query->coupon.position);
    }
}

void query_key(const struct query *query, struct buf *out)
{
    const struct cursor *after = &query->after;
    const struct past *past = &query->past;
    buf_append_char(out, (char)('a' + query->kind));
    query_scope(query, out);
    put_number(out, query->limit);
    if (after->kind != CURSOR_NONE) {
        buf_append_char(out, (char)after->kind);
        put_number(out, after->time_us);
        put_number(out, after->number);
        put_number(out, after->slice);
        put_text(out, cursor_id(after));
    }
    if (past->kind == PAST_INSTANT) {
        buf_append_char(out, 'T');
        put_number(out, past->at_us);
    } else if (past->kind == PAST_POSITION) {
        buf_append_char(out, 'P');
        put_number(out, past->at.position); /* the slice is the campaign's */
    }
}

static bool parse_position(struct span text, struct position *ret)
{
    int64_t slice, position;
    struct span rest = text, first = span_cut(&rest, ':');
    if (!rest.ptr || !parse_i64(first, 0, SLICE_COUNT - 1, &slice) ||
        !parse_i64(rest, 1, INT64_MAX, &position))
        return false;
    *ret = (struct position){(int16_t)slice, position};
    return true;
}

bool past_parse(struct span text, struct past *ret)
{
    struct past past = {.kind = PAST_INSTANT};
    if (!time_parse(text, &past.at_us)) {
        past.kind = PAST_POSITION;
        if (!parse_position(text, &past.at))
            return false;
    }
    *ret = past;
    return true;
}
