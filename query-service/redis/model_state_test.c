/* SPDX-License-Identifier: Apache-2.0 */
/* Which checkpoints are good enough for which query. */
#include "query-service/redis/model_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { NOW = 100000000 };

static void init(struct query *query, struct model_state *state)
{
    query_init(query, QUERY_CAMPAIGNS, NOW);
    *state = (struct model_state){0};
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        state->seen_ago_ms[slice] = SEEN_MS - 1;
        state->slices[slice] =
            (struct checkpoint){.present = true, .generation = 1, .position = 10, .buckets = 1};
    }
}

static void current_models_are_used(void **state)
{
    (void)state;
    struct query query;
    struct model_state models;
    init(&query, &models);
    assert_int_equal(model_state_judge(&models, &query, SEEN_MS), FALLBACK_NONE);
    models.seen_ago_ms[9] = SEEN_MS;
    assert_int_equal(model_state_judge(&models, &query, SEEN_MS), FALLBACK_OLD);
    assert_int_equal(model_state_judge(&models, &query, SEEN_MS + 1), FALLBACK_NONE);
    models.seen_ago_ms[9] = INT64_MAX; /* not known */
    assert_int_equal(model_state_judge(&models, &query, INT64_MAX), FALLBACK_OLD);
}

static void each_fault_of_one_slice_counts(void **state)
{
    (void)state;
    struct query query;
    struct model_state models;
    init(&query, &models);
    models.slices[7].present = false;
    assert_int_equal(model_state_judge(&models, &query, SEEN_MS), FALLBACK_NOT_LIVE);
    init(&query, &models);
    models.slices[7].behind = 1;
    assert_int_equal(model_state_judge(&models, &query, SEEN_MS), FALLBACK_CATCHING_UP);
}

/* What has nothing there is answered as ever, and what has is not told to be worse than it is. */
static void a_server_that_is_away_costs_its_slices(void **state)
{
    (void)state;
    struct query query;
    struct model_state models;
    init(&query, &models);
    models.slices[7].present = false;
    models.seen_ago_ms[7] = INT64_MAX;
    models.away = 1U << 7;
    assert_int_equal(model_state_judge(&models, &query, SEEN_MS), FALLBACK_AWAY);
    models.slices[6].behind = 1;
    assert_int_equal(model_state_judge(&models, &query, SEEN_MS), FALLBACK_CATCHING_UP);
    query.kind = QUERY_COUPON;
    query.coupon = (struct position){3, 1};
    assert_int_equal(model_state_judge(&models, &query, SEEN_MS), FALLBACK_NONE);
    query.coupon = (struct position){7, 1};
    assert_int_equal(model_state_judge(&models, &query, SEEN_MS), FALLBACK_AWAY);
}

static void a_token_counts_where_it_concerns_the_answer(void **state)
{
    (void)state;
    struct query query;
    struct model_state models;
    init(&query, &models);
    query_require(&query, (struct position){7, 10});
    assert_int_equal(model_state_judge(&models, &query, SEEN_MS), FALLBACK_NONE);
    query_require(&query, (struct position){7, 11});
    query_require(&query, (struct position){7, 9}); /* the highest counts */
    assert_int_equal(model_state_judge(&models, &query, SEEN_MS), FALLBACK_BEHIND);
    models.slices[8].behind = 1; /* waiting does not help */
    assert_int_equal(model_state_judge(&models, &query, SEEN_MS), FALLBACK_CATCHING_UP);

    init(&query, &models);
    query.kind = QUERY_COUPON;
    query.coupon = (struct position){3, 1};
    query_require(&query, (struct position){7, 11});
    assert_int_equal(query_at_least(&query, 7), 0);
    assert_int_equal(model_state_judge(&models, &query, SEEN_MS), FALLBACK_NONE);
}

static void keys_of_another_state_are_noticed(void **state)
{
    (void)state;
    struct query query;
    struct model_state before, after;
    init(&query, &before);
    after = before;
    after.slices[2].position = 11;
    assert_int_equal(model_state_compare(&before, &after, &query, query_slices(&query)), FALLBACK_NONE);
    after.slices[2].position = 9;
    assert_int_equal(model_state_compare(&before, &after, &query, query_slices(&query)), FALLBACK_MOVED);
    assert_int_equal(model_state_compare(&before, &after, &query, ~(1U << 2)), FALLBACK_NONE);
    after = before;
    after.slices[2].present = false;
    assert_int_equal(model_state_compare(&before, &after, &query, query_slices(&query)), FALLBACK_MOVED);
    after = before;
    after.slices[2].position = 12; /* made anew, and further than it was */
    after.slices[2].generation = 2;
    assert_int_equal(model_state_compare(&before, &after, &query, query_slices(&query)), FALLBACK_MOVED);
}

/* Buckets are split while one reads; it matters to those whose bucket it was. */
static void a_split_of_the_users_bucket_is_noticed(void **state)
{
    (void)state;
    struct query query;
    struct model_state before, after;
    unsigned moved = 0, stayed = 0;
    for (int i = 0; i < 64; i++) {
        char user[24];
        init(&query, &before);
        query.kind = QUERY_USER_COUPONS;
        snprintf(user, sizeof user, "user-%d", i);
        query.user_id = query_keep(&query, span_of(user));
        after = before;
        after.slices[5].buckets = 2;
        if (model_state_compare(&before, &after, &query, query_slices(&query)) == FALLBACK_MOVED)
            moved++;
        else
            stayed++;
    }
    assert_true(moved > 10 && stayed > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(current_models_are_used),
        cmocka_unit_test(each_fault_of_one_slice_counts),
        cmocka_unit_test(a_server_that_is_away_costs_its_slices),
        cmocka_unit_test(a_token_counts_where_it_concerns_the_answer),
        cmocka_unit_test(keys_of_another_state_are_noticed),
        cmocka_unit_test(a_split_of_the_users_bucket_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
