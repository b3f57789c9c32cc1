/* SPDX-License-Identifier: Apache-2.0 */
/* The key of a query: the same for whatever asks the same, another for whatever asks something else. */
#include "query-service/load/query.h"

#include "common/base/testing.h"

enum { QUERIES = 21 };

static void init(struct query *query, enum query_kind kind)
{
    query_init(query, kind, 1);
    if (kind == QUERY_CAMPAIGN || kind == QUERY_HOLDERS || kind == QUERY_USER_IN_CAMPAIGN)
        query->campaign_id = query_keep(query, SPAN("summer"));
    if (kind == QUERY_USER_IN_CAMPAIGN || kind == QUERY_USER_COUPONS)
        query->user_id = query_keep(query, SPAN("kim"));
    if (kind == QUERY_COUPON || kind == QUERY_VALIDITY)
        query->coupon = (struct position){3, 44};
}

/* Each differs from all others in one thing. */
static void make_all(struct query *queries)
{
    struct query *next = queries;
    for (int kind = 0; kind < QUERY_KIND_COUNT; kind++)
        init(next++, (enum query_kind)kind);
    init(next, QUERY_CAMPAIGNS);
    (next++)->status = SPAN("active");
    init(next, QUERY_CAMPAIGNS);
    (next++)->tag = SPAN("active");
    init(next, QUERY_CAMPAIGNS);
    (next++)->limit = 2;
    init(next, QUERY_CAMPAIGNS);
    cursor_set_id(&next->after, SPAN("summer"));
    (next++)->after.kind = CURSOR_CAMPAIGNS;
    init(next, QUERY_CAMPAIGN);
    (next++)->past = (struct past){.kind = PAST_INSTANT, .at_us = 7};
    init(next, QUERY_CAMPAIGN);
    (next++)->past = (struct past){.kind = PAST_POSITION, .at = {0, 7}};
    init(next, QUERY_VALIDITY);
    (next++)->order_amount = 0;
    init(next, QUERY_VALIDITY);
    (next++)->order_id = SPAN("o");
    init(next, QUERY_VALIDITY);
    (next++)->currency = SPAN("o");
    init(next, QUERY_RANKING);
    (next++)->by = COUNTED_REDEEMED;
    init(next, QUERY_RANKING);
    (next++)->window = WINDOW_HOUR;
    init(next, QUERY_ORDER_COUPONS);
    (next++)->order_id = SPAN("o");
    assert_int_equal(next - queries, QUERIES);
}

static void same_or_not(const struct query *a, const struct query *b, bool same)
{
    struct buf one, other;
    buf_init(&one, QUERY_KEY_MAX);
    buf_init(&other, QUERY_KEY_MAX);
    query_key(a, &one);
    query_key(b, &other);
    if (span_equal(buf_span(&one), buf_span(&other)) != same)
        fail_msg("'%s' and '%s'", one.data, other.data);
    buf_deinit(&one);
    buf_deinit(&other);
}

static void what_is_asked_is_the_key(void **)
{
    static struct query queries[QUERIES], again[QUERIES];
    make_all(queries);
    make_all(again);
    for (size_t i = 0; i < QUERIES; i++)
        for (size_t j = 0; j < QUERIES; j++)
            same_or_not(&queries[i], &again[j], i == j);
}

/* Whoever asks, and when, with whatever tokens. */
static void who_asks_is_not(void **)
{
    struct query a, b;
    init(&a, QUERY_CAMPAIGN);
    init(&b, QUERY_CAMPAIGN);
    b.now_us = 99;
    query_require(&b, (struct position){3, 44});
    same_or_not(&a, &b, true);
}

/* Bytes of one text cannot pass for the end of it and the next. */
static void texts_do_not_run_together(void **)
{
    struct query a, b;
    query_init(&a, QUERY_VALIDITY, 1);
    query_init(&b, QUERY_VALIDITY, 1);
    a.user_id = SPAN("x4:abcd");
    b.user_id = SPAN("x");
    b.status = SPAN("abcd");
    same_or_not(&a, &b, false);
}

static void the_longest_fits(void **)
{
    struct query query;
    struct buf key;
    static char text[QUERY_TEXT_MAX];
    memset(text, 'x', sizeof text);
    query_init(&query, QUERY_VALIDITY, 1);
    query.campaign_id = (struct span){text, CAMPAIGN_ID_MAX};
    query.user_id = (struct span){text, USER_ID_MAX};
    query.order_id = (struct span){text, ORDER_ID_MAX};
    query.currency = SPAN("KRW");
    query.status = SPAN("scheduled");
    query.order_amount = query.limit = INT64_MAX;
    query.coupon = (struct position){15, INT64_MAX};
    query.after = (struct cursor){CURSOR_COUPONS, INT64_MAX, INT64_MAX, 15, 0, {0}};
    cursor_set_id(&query.after, (struct span){text, CAMPAIGN_ID_MAX});
    query.past = (struct past){.kind = PAST_INSTANT, .at_us = INT64_MAX};
    buf_init(&key, QUERY_KEY_MAX);
    query_key(&query, &key);
    assert_false(key.overflow);
    buf_deinit(&key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_asked_is_the_key),
        cmocka_unit_test(who_asks_is_not),
        cmocka_unit_test(texts_do_not_run_together),
        cmocka_unit_test(the_longest_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
