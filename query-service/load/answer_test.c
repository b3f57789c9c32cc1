/* SPDX-License-Identifier: Apache-2.0 */
/* Pages: what filters take, where a page ends, and that walking the pages gives every entry once. */
#include "query-service/load/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void add_campaign(struct answer *answer, const char *id, int64_t created_at_us, const char *tag)
{
    struct span tags[] = {span_of(tag)};
    struct event event = {.type = EVENT_CampaignCreated,
                          .campaign_created = {.name = SPAN("n"),
                                               .currency = SPAN("EUR"),
                                               .quantity = 9,
                                               .released = 9,
                                               .discount_value = 5,
                                               .per_user_limit = 1,
                                               .tags = {tags, 1}}};
    struct campaign campaign = {.id = span_of(id),
                                .created_at_us = created_at_us,
                                .first = 1,
                                .position = 1,
                                .released = 9,
                                .state = CAMPAIGN_ACTIVE};
    struct buf data;
    buf_init(&data, EVENT_DATA_MAX);
    event_encode(&event, &data);
    assert_true(answer_add_campaign(answer, &campaign, buf_span(&data)));
    buf_deinit(&data);
}

static void add_coupon(struct answer *answer, int64_t sequence)
{
    struct event issued = {
        .type = EVENT_CouponIssued,
        .slice = 3,
        .position = 10 + sequence,
        .campaign_id = SPAN("c"),
        .user_id = SPAN("u"),
        .recorded_at_us = 1000 + sequence,
        .coupon_issued = {.sequence = sequence, .nth = 1, .expires_at_us = sequence % 2 ? 5 : 0}};
    struct coupon coupon = coupon_from_event(&issued);
    answer_add_coupon(answer, &coupon);
}

static void the_last_page_has_no_next(void **)
{
    struct query query;
    struct answer answer;
    query_init(&query, QUERY_HOLDERS, 1);
    query.limit = 3;
    answer_init(&answer);
    for (int64_t i = 1; i <= 3; i++)
        add_coupon(&answer, i);
    answer_cut_coupons(&answer, &query);
    assert_int_equal(answer.coupons_count, 3);
    assert_int_equal(answer.next.kind, CURSOR_NONE);
    answer_deinit(&answer);
}

static void one_more_makes_a_next(void **)
{
    struct query query;
    struct answer answer;
    query_init(&query, QUERY_HOLDERS, 1);
    query.limit = 3;
    answer_init(&answer);
    for (int64_t i = 1; i <= 4; i++)
        add_coupon(&answer, i);
    answer_cut_coupons(&answer, &query);
    assert_int_equal(answer.coupons_count, 3);
    assert_int_equal(answer.next.kind, CURSOR_HOLDERS);
    assert_int_equal(answer.next.number, 3);
    answer_deinit(&answer);
}

static void an_empty_list_is_a_page(void **)
{
    struct query query;
    struct answer answer;
    query_init(&query, QUERY_CAMPAIGNS, 1);
    answer_init(&answer);
    answer_cut_campaigns(&answer, &query);
    assert_int_equal(answer.campaigns_count, 0);
    assert_int_equal(answer.next.kind, CURSOR_NONE);
    answer_deinit(&answer);
}

/* A list of `total` campaigns, newest first, of which every tenth matches; read as a reader would: the
 * entries after the cursor, at most a scan and one more. */
static size_t walk(size_t total, int64_t limit)
{
    size_t found = 0, pages = 0;
    struct cursor after = {0};
    do {
        struct query query;
        struct answer answer;
        query_init(&query, QUERY_CAMPAIGNS, 1);
        query.limit = limit;
        query.tag = query_keep(&query, SPAN("tenth"));
        query.after = after;
        answer_init(&answer);
        size_t first = after.kind == CURSOR_NONE ? 0 : total - (size_t)after.time_us;
        for (size_t i = first; i < total && answer.campaigns_count <= query_scan(&query); i++)
            add_campaign(&answer, "c", (int64_t)(total - i - 1), i % 10 == 9 ? "tenth" : "other");
        answer_cut_campaigns(&answer, &query);
        assert_true(answer.campaigns_count <= (size_t)limit);
        found += answer.campaigns_count;
        assert_true(answer.next.kind == CURSOR_NONE || after.kind == CURSOR_NONE ||
                    answer.next.time_us < after.time_us);
        after = answer.next;
        answer_deinit(&answer);
        assert_true(++pages < 1000);
    } while (after.kind != CURSOR_NONE);
    return found;
}

static void walking_filtered_pages_finds_all(void **)
{
    const size_t totals[] = {0, 1, 9, 10, 255, 256, 257, 258, 512, 513, 2000};
    const int64_t limits[] = {1, 5, 20, 100};
    for (size_t i = 0; i < COUNT_OF(totals); i++)
        for (size_t j = 0; j < COUNT_OF(limits); j++)
            assert_int_equal(walk(totals[i], limits[j]), totals[i] / 10);
}

static void status_filters_by_the_query_clock(void **)
{
    struct query query;
    struct answer answer;
    query_init(&query, QUERY_USER_COUPONS, 10);
    query.status = query_keep(&query, SPAN("expired"));
    answer_init(&answer);
    for (int64_t i = 1; i <= 6; i++)
        add_coupon(&answer, i);
    answer_cut_coupons(&answer, &query);
    assert_int_equal(answer.coupons_count, 3);
    assert_int_equal(answer.next.kind, CURSOR_NONE);
    answer_deinit(&answer);
}

static void unsound_campaigns_are_refused(void **)
{
    struct answer answer;
    struct campaign campaign = {.id = SPAN("c"), .first = 1, .position = 1, .state = CAMPAIGN_ACTIVE};
    answer_init(&answer);
    assert_false(answer_add_campaign(&answer, &campaign, (struct span){NULL, 0}));
    assert_false(answer_add_campaign(&answer, &campaign, SPAN("")));
    assert_false(answer_add_campaign(&answer, &campaign, SPAN("\xc1")));
    campaign.issued = 5; /* more than the definition (all defaults: quantity 0) can have released */
    assert_false(answer_add_campaign(&answer, &campaign, SPAN("\x80")));
    assert_int_equal(answer.campaigns_count, 0);
    answer_deinit(&answer);
}

static void holds_as_many_as_a_scan_and_one(void **)
{
    struct answer answer;
    answer_init(&answer);
    for (int64_t i = 1; i <= ANSWER_ITEMS_MAX; i++) {
        add_coupon(&answer, i);
        add_campaign(&answer, "c", i, "t");
    }
    for (size_t i = 0; i < ANSWER_ITEMS_MAX; i++) {
        assert_int_equal(answer.coupons[i].sequence, i + 1);
        assert_int_equal(answer.campaigns[i].created_at_us, i + 1);
    }
    answer_deinit(&answer);
}

/* I13: the first instant after the question's at which time alone changes the answer. */
static void time_changes_what_it_changes(void **)
{
    struct query query;
    struct answer answer;
    query_init(&query, QUERY_CAMPAIGN, 1000);
    answer_init(&answer);
    add_campaign(&answer, "c", 1, "t");
    assert_true(answer_true_until_us(&answer, &query) == INT64_MAX);
    answer.campaigns[0].definition.starts_at_us = 2000;
    answer.campaigns[0].definition.ends_at_us = 3000;
    assert_int_equal(answer_true_until_us(&answer, &query), 2000);
    query.now_us = 2000;
    assert_int_equal(answer_true_until_us(&answer, &query), 3000);
    query.past.kind = PAST_INSTANT;
    assert_true(answer_true_until_us(&answer, &query) == INT64_MAX);
    query.past.kind = PAST_NONE;
    answer.outcome = ANSWER_NO_CAMPAIGN;
    assert_true(answer_true_until_us(&answer, &query) == INT64_MAX);
    answer_deinit(&answer);
}

static void a_coupon_expires_or_its_reservation_lapses(void **)
{
    struct query query;
    struct answer answer;
    query_init(&query, QUERY_USER_COUPONS, 1000);
    answer_init(&answer);
    add_coupon(&answer, 2);
    assert_true(answer_true_until_us(&answer, &query) == INT64_MAX);
    answer.coupons[0].expires_at_us = 5000;
    assert_int_equal(answer_true_until_us(&answer, &query), 5000);
    answer.coupons[0].state = COUPON_RESERVED;
    answer.coupons[0].reserved_until_us = 2000;
    assert_int_equal(answer_true_until_us(&answer, &query), 2000);
    answer.coupons[0].state = COUPON_REDEEMED; /* for good */
    assert_true(answer_true_until_us(&answer, &query) == INT64_MAX);
    answer_deinit(&answer);
}

/* What a filter leaves out today it may let in tomorrow. */
static void a_filter_looks_at_what_it_leaves_out(void **)
{
    struct query query;
    struct answer answer;
    query_init(&query, QUERY_CAMPAIGNS, 1000);
    answer_init(&answer);
    add_campaign(&answer, "c", 1, "t");
    answer.campaigns[0].definition.starts_at_us = 2000;
    query.status = SPAN("active");
    answer_cut_campaigns(&answer, &query);
    assert_int_equal(answer.campaigns_count, 0);
    assert_int_equal(answer_true_until_us(&answer, &query), 2000);
    answer_deinit(&answer);
}

static void a_window_moves_on(void **)
{
    struct query query;
    struct answer answer;
    const int64_t grain_us = window_grain_s(WINDOW_HOUR) * 1000000;
    query_init(&query, QUERY_RANKING, 7 * grain_us + 5);
    answer_init(&answer);
    assert_true(answer_true_until_us(&answer, &query) == INT64_MAX);
    query.window = WINDOW_HOUR;
    assert_int_equal(answer_true_until_us(&answer, &query), 8 * grain_us);
    query.now_us = 8 * grain_us;
    assert_int_equal(answer_true_until_us(&answer, &query), 9 * grain_us);
    answer_deinit(&answer);
}

/* Two shards, each in list order, as one list; entries at one instant by their ids, downwards. */
static void shards_make_one_list(void **)
{
    struct query query;
    struct answer a, b, all;
    const struct answer *const parts[] = {&a, &b};
    query_init(&query, QUERY_CAMPAIGNS, 1);
    query.limit = 3;
    answer_init(&a), answer_init(&b), answer_init(&all);
    add_campaign(&a, "a5", 50, "t"), add_campaign(&a, "a3", 30, "t"), add_campaign(&a, "a1", 10, "t");
    add_campaign(&b, "b3", 30, "t"), add_campaign(&b, "b2", 20, "t");
    answer_merge(&all, parts, 2, &query);
    static const char *const order[] = {"a5", "b3", "a3", "b2"}; /* a page and the one after it */
    assert_int_equal(all.campaigns_count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_true(span_is(all.campaigns[i].id, order[i]));
    answer_cut_campaigns(&all, &query);
    assert_int_equal(all.campaigns_count, 3);
    assert_true(span_is(cursor_id(&all.next), "a3"));
    answer_deinit(&a), answer_deinit(&b), answer_deinit(&all);
}

/* By count, then by who got there first, whichever shard it is in. */
static void shards_make_one_ranking(void **)
{
    struct query query;
    struct answer a, b, all;
    const struct answer *const parts[] = {&a, &b};
    int64_t counts_a[] = {9, 4}, reached_a[] = {70, 60}, counts_b[] = {9, 4}, reached_b[] = {40, 80};
    query_init(&query, QUERY_RANKING, 1);
    query.limit = 3;
    answer_init(&a), answer_init(&b), answer_init(&all);
    add_campaign(&a, "a9", 1, "t"), add_campaign(&a, "a4", 1, "t");
    add_campaign(&b, "b9", 1, "t"), add_campaign(&b, "b4", 1, "t");
    a.counts = counts_a, a.reached = reached_a;
    b.counts = counts_b, b.reached = reached_b;
    answer_merge(&all, parts, 2, &query);
    assert_int_equal(all.campaigns_count, 3);
    assert_true(span_is(all.campaigns[0].id, "b9") && span_is(all.campaigns[1].id, "a9") &&
                span_is(all.campaigns[2].id, "a4"));
    assert_int_equal(all.counts[2], 4);
    answer_deinit(&a), answer_deinit(&b), answer_deinit(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_make_one_list),
        cmocka_unit_test(shards_make_one_ranking),
        cmocka_unit_test(the_last_page_has_no_next),
        cmocka_unit_test(one_more_makes_a_next),
        cmocka_unit_test(an_empty_list_is_a_page),
        cmocka_unit_test(walking_filtered_pages_finds_all),
        cmocka_unit_test(status_filters_by_the_query_clock),
        cmocka_unit_test(unsound_campaigns_are_refused),
        cmocka_unit_test(holds_as_many_as_a_scan_and_one),
        cmocka_unit_test(time_changes_what_it_changes),
        cmocka_unit_test(a_coupon_expires_or_its_reservation_lapses),
        cmocka_unit_test(a_filter_looks_at_what_it_leaves_out),
        cmocka_unit_test(a_window_moves_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
