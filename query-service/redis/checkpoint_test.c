/* SPDX-License-Identifier: Apache-2.0 */
/* Which checkpoints are good enough for which query. */
#include "query-service/redis/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { NOW = 100000000, AGE = 5000000 };

static void init(struct query *query, struct model_state *state)
{
    query_init(query, QUERY_CAMPAIGNS, NOW);
    *state = (struct model_state){.generation = 1};
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        state->slices[slice] = (struct checkpoint){.present = true, .pos = 10, .seen_us = NOW - 1000};
}

static void current_models_are_used(void **state)
{
    (void)state;
    struct query query;
    struct model_state models;
    init(&query, &models);
    assert_int_equal(model_state_judge(&models, &query, AGE), FALLBACK_NONE);
}

static void each_fault_of_one_slice_counts(void **state)
{
    (void)state;
    struct query query;
    struct model_state models;
    const struct {
        struct checkpoint checkpoint;
        enum fallback expected;
    } rows[] = {
        {{.present = false}, FALLBACK_NOT_LIVE},
        {{.present = true, .pos = 10, .behind = true, .seen_us = NOW}, FALLBACK_CATCHING_UP},
        {{.present = true, .pos = 10, .seen_us = NOW - AGE}, FALLBACK_NONE},
        {{.present = true, .pos = 10, .seen_us = NOW - AGE - 1}, FALLBACK_OLD},
        {{.present = true, .pos = 10, .seen_us = NOW + AGE}, FALLBACK_NONE},
        {{.present = true, .pos = 10, .seen_us = NOW + AGE + 1}, FALLBACK_OLD},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        init(&query, &models);
        models.slices[7] = rows[i].checkpoint;
        assert_int_equal(model_state_judge(&models, &query, AGE), rows[i].expected);
    }
    init(&query, &models);
    models.generation = 0;
    assert_int_equal(model_state_judge(&models, &query, AGE), FALLBACK_NOT_LIVE);
}

static void a_token_counts_where_it_concerns_the_answer(void **state)
{
    (void)state;
    struct query query;
    struct model_state models;
    init(&query, &models);
    query_require(&query, (struct position){7, 10});
    assert_int_equal(model_state_judge(&models, &query, AGE), FALLBACK_NONE);
    query_require(&query, (struct position){7, 11});
    query_require(&query, (struct position){7, 9}); /* the highest counts */
    assert_int_equal(model_state_judge(&models, &query, AGE), FALLBACK_BEHIND);
    models.slices[8].behind = true; /* waiting does not help */
    assert_int_equal(model_state_judge(&models, &query, AGE), FALLBACK_CATCHING_UP);

    init(&query, &models);
    query.kind = QUERY_COUPON;
    query.coupon = (struct position){3, 1};
    query_require(&query, (struct position){7, 11});
    assert_int_equal(query_at_least(&query, 7), 0);
    assert_int_equal(model_state_judge(&models, &query, AGE), FALLBACK_NONE);
}

static void a_flush_between_rounds_is_noticed(void **state)
{
    (void)state;
    struct query query;
    struct model_state before, after;
    init(&query, &before);
    after = before;
    after.slices[2].pos = 11;
    assert_int_equal(model_state_compare(&before, &after, &query), FALLBACK_NONE);
    after.slices[2].pos = 9;
    assert_int_equal(model_state_compare(&before, &after, &query), FALLBACK_MOVED);
    after = before;
    after.slices[2].present = false;
    assert_int_equal(model_state_compare(&before, &after, &query), FALLBACK_MOVED);
    after = before;
    after.generation = 2;
    assert_int_equal(model_state_compare(&before, &after, &query), FALLBACK_MOVED);
    after = before;
    after.slices[2].pos =
        12; /* flushed and already replayed: what was read in between is not to be trusted */
    after.slices[2].life = 1;
    assert_int_equal(model_state_compare(&before, &after, &query), FALLBACK_MOVED);
    before.slices[2].pos = 0; /* the log was empty: its first life began */
    assert_int_equal(model_state_compare(&before, &after, &query), FALLBACK_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(current_models_are_used),
        cmocka_unit_test(each_fault_of_one_slice_counts),
        cmocka_unit_test(a_token_counts_where_it_concerns_the_answer),
        cmocka_unit_test(a_flush_between_rounds_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
