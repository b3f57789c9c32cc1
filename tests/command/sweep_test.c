/* SPDX-License-Identifier: Apache-2.0 */
/* The sweep costs nobody anything: neither dead entries in front of the index of what is due, nor a row
 * nobody can decode, keeps the other due things of its slice, or clients, waiting. And slices do not feel
 * each other: one whose lock somebody holds costs its own callers their time only (I14). */
#include "tests/lib/wait.h"

#include "events/ids.h"
#include "tests/lib/api.h"
#include "tests/lib/json_get.h"
#include "tests/lib/store.h"

enum { BOUND_MS = 120000, DEAD_DEFAULT = 1500000, DEAD_MAX = 100000000, DEAD_SLICE = 5, SAMPLES = 60 };

static struct stack *stack;
static struct api_client api;

#define NUMBER(...) store_numberf(stack, __VA_ARGS__)

/* A campaign of a slice of the test's choice. */
static void campaign_in(int16_t slice, char ret[64], const char *more)
{
    static unsigned number;
    do
        snprintf(ret, 64, "sweep-%u", number++);
    while (slice_of(span_of(ret)) != slice);
    api_campaign_of(&api, ret, 1000000, more);
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* How long an issue takes, in the median. */
static int64_t median_us(const char *campaign)
{
    static unsigned number;
    int64_t took_us[SAMPLES];
    for (size_t i = 0; i < SAMPLES; i++) {
        int64_t start_us = clock_mono_us();
        api_expect(api_issue(&api, campaign, textf("user-%u", number++)), 201, NULL); /* at once (I14) */
        took_us[i] = clock_mono_us() - start_us;
    }
    qsort(took_us, SAMPLES, sizeof took_us[0], compare);
    return took_us[SAMPLES / 2];
}

static void expect_no_slower(const char *what, int64_t before_us, int64_t during_us)
{
    print_message("    an issue took %lld us before and %lld us %s\n", (long long)before_us,
                  (long long)during_us, what);
    assert_true(during_us < 4 * before_us + 20 * US_PER_MS);
}

/* --- slices --- */

static void a_locked_slice_is_felt_by_no_other(void **)
{
    enum { LOCKED = 3, CALLERS = 8 };
    char locked[64], others[3][64], user[16];
    struct http_client *callers[CALLERS];
    campaign_in(LOCKED, locked, "");
    for (int16_t i = 0; i < 3; i++)
        campaign_in((int16_t)(LOCKED + 4 + 4 * i), others[i], "");
    int64_t before_us = median_us(others[0]);
    struct pg *holder = store_hold(stack, "SELECT 1 FROM slice WHERE slice = 3 FOR UPDATE");
    for (size_t i = 0; i < CALLERS; i++) {
        snprintf(user, sizeof user, "caller-%zu", i);
        callers[i] = http_client_create(stack_env(stack, "COMMAND_URL"));
        api_issue_begin(&api, callers[i], locked, user, api_fresh_key());
    }
    for (size_t i = 0; i < COUNT_OF(others); i++)
        expect_no_slower("beside a locked slice", before_us, median_us(others[i]));
    for (size_t i = 0; i < CALLERS; i++) { /* who asked the locked one is answered all the same */
        struct http_answer answer;
        assert_int_equal(http_client_read(callers[i], BOUND_MS, &answer), HTTP_ANSWERED);
        api_expect(answer, 503, NULL); /* overloaded, or the lock was waited for as long as may be */
        http_client_destroy(callers[i]);
    }
    store_let_go(holder);
    api_expect(api_issue(&api, locked, "ann"), 201, NULL);
}

/* --- what is due --- */

/* Reserves a coupon for a second, and waits until the log says that this is over. */
static void expect_a_reservation_lapses(const char *campaign, const char *user)
{
    char body[256], id[64];
    snprintf(id, sizeof id, "%s", api_coupon(&api, campaign, user));
    snprintf(body, sizeof body,
             "{\"user_id\":\"%s\",\"order_id\":\"o\",\"order_amount\":1000,\"ttl_seconds\":1}", user);
    api_expect(api_post(&api, textf("/v1/coupons/%s/reserve", id), body, NULL), 200, NULL);
    int64_t reserved_us = clock_mono_us();
    WAIT_UNTIL(NUMBER("SELECT count(*) FROM event WHERE type = 13 AND coupon_id = '%s'", id) == 1, BOUND_MS);
    print_message("    lapsed after %lld ms\n", (long long)(clock_mono_us() - reserved_us) / US_PER_MS);
}

/* SWEEP_DEAD says otherwise: make test-more has more. */
static int dead_wanted(void)
{
    uint64_t dead = DEAD_DEFAULT;
    const char *given = getenv("SWEEP_DEAD");
    if (given && !parse_u64(span_of(given), DEAD_MAX, &dead))
        fail_msg("SWEEP_DEAD is not a number");
    return (int)dead;
}

/* In steps, because one query has its time. */
static void make_dead_entries(const char *campaign)
{
    enum { STEP = 100000, FIRST = 1000000000 };
    const int end = FIRST + dead_wanted();
    for (int at = FIRST; at < end; at += STEP)
        NUMBER("WITH made AS (INSERT INTO coupon (slice, position, campaign_id, state, last, changed_at, "
               "order_id, order_amount, discount_amount, reserved_until) SELECT %d, n, '%s', 2, n, 'epoch', "
               "'o', 1, 0, timestamptz '2020-01-01' + n * interval '1 us' FROM generate_series(%d, %d) AS n "
               "RETURNING 1) SELECT count(*) FROM made",
               DEAD_SLICE, campaign, at, at + STEP - 1);
    for (int at = FIRST; at < end; at += STEP)
        NUMBER(
            "WITH gone AS (DELETE FROM coupon WHERE slice = %d AND position BETWEEN %d AND %d RETURNING 1) "
            "SELECT count(*) FROM gone",
            DEAD_SLICE, at, at + STEP - 1);
}

/* As a queue's index always gets under a long report: its front is full of what is gone and cannot be
 * skipped. */
static void dead_entries_are_in_nobodys_way(void **)
{
    char campaign[64];
    campaign_in(DEAD_SLICE, campaign, "");
    /* A snapshot that is older than what becomes of them. */
    struct pg *reader = store_hold(stack, "DECLARE held CURSOR FOR SELECT generate_series(1, 2)");
    stack_service(stack, "command-service", "stop"); /* or it would sweep them before they are gone */
    make_dead_entries(campaign);
    stack_service(stack, "command-service", "start"); /* and looks from the beginning of time */
    http_client_close(api.command);
    WAIT_UNTIL(api_metric(&api, "coupon_sweep_passes_total") > 0, BOUND_MS);
    int64_t start_us = clock_mono_us();
    NUMBER("SELECT position FROM coupon WHERE slice = %d AND state = 2 AND reserved_until <= now() ORDER BY "
           "reserved_until LIMIT 1",
           DEAD_SLICE);
    print_message("    a look from the beginning takes %lld ms\n",
                  (long long)(clock_mono_us() - start_us) / US_PER_MS);
    expect_a_reservation_lapses(campaign, "ann");
    assert_true(api_metric(&api, "coupon_store_errors_total{class=\"lost\"}") <= 0);
    store_let_go(reader);
}

/* --- a bad row --- */

static void a_row_nobody_can_decode_is_set_aside(void **)
{
    enum { SLICE = 6 };
    char bad[64], open[64];
    campaign_in(SLICE, bad, "");
    campaign_in(SLICE, open, "");
    int64_t aside = api_metric(&api, "coupon_sweep_set_aside_total"), before_us = median_us(open);
    NUMBER(
        "WITH spoilt AS (UPDATE campaign SET definition = '\\x00'::bytea, due_at = 'epoch' WHERE id = '%s' "
        "RETURNING 1) SELECT count(*) FROM spoilt",
        bad);
    WAIT_UNTIL(api_metric(&api, "coupon_sweep_set_aside_total") > aside, BOUND_MS);
    expect_a_reservation_lapses(open, "bob");
    expect_no_slower("while the sweep meets a bad row", before_us, median_us(open));
    struct http_answer answer = api_issue(&api, bad, "ann"); /* who asks for it is told so, and alone */
    assert_int_equal(answer.status / 100, 5);
    api_give(&api, open, "cyd");
}

static int start(void **state)
{
    stack = api_setup(state, &api, STACK_COMMAND);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_locked_slice_is_felt_by_no_other),
        cmocka_unit_test(dead_entries_are_in_nobodys_way),
        cmocka_unit_test(a_row_nobody_can_decode_is_set_aside),
    };
    return cmocka_run_group_tests(tests, start, api_teardown);
}
