/* SPDX-License-Identifier: Apache-2.0 */
/* From a command to a plain read, without a token: the projector tells the query service what changed once
 * Redis has it. Copies are fresh for a minute here, so what shows is shown by a hint that came after the
 * model had the change (one that comes before would have the old state loaded again, and leave it there); and
 * what is not named stays in memory, also in the same slice. Without a bus the change shows when freshness
 * ends.
 */
#include "tests/lib/wait.h"

#include "bench/kit/series.h"
#include "events/ids.h"
#include "tests/lib/instance.h"
#include "tests/lib/reads.h"

enum { PORT_OFFSET = 7, ROUNDS = 40, SHOWS_MS = 120000 };

static struct stack *stack;
static struct api_client api;
static char changing[32], quiet[32]; /* two campaigns of one slice */

static int setup(void **state)
{
    setenv("FIRSTCOME_FRESH_MS", "60000", 1);
    stack = api_setup(state, &api, STACK_ALL);
    snprintf(changing, sizeof changing, "changing");
    for (int i = 0; i == 0 || slice_of(span_of(quiet)) != slice_of(span_of(changing)); i++)
        snprintf(quiet, sizeof quiet, "quiet-%d", i);
    api_campaign_of(&api, changing, 1000, "");
    api_campaign_of(&api, quiet, 1000, "");
    /* The bus connects some time after the service has started. */
    WAIT_UNTIL((api_campaign(&api, 1, ""), reads_metric(&api, "coupon_read_hints_total") > 0), SHOWS_MS);
    return 0;
}

static int64_t issued_in(const struct http_answer *answer)
{
    api_expect(*answer, 200, NULL);
    return body_int(answer->body, "issued");
}

static void write_path(char ret[128], const char *campaign, const char *more)
{
    snprintf(ret, 128, "/v1/campaigns/%s%s", campaign, more);
}

/* Reads without a pause until the campaign shows so many coupons; how long that took. */
static int64_t shows_after_us(struct api_client *reader, const char *path, int64_t issued)
{
    int64_t start_us = clock_mono_us();
    for (;;) {
        struct http_answer answer = api_get(reader, path, NULL);
        int64_t took_us = clock_mono_us() - start_us;
        if (issued_in(&answer) == issued)
            return took_us;
        if (took_us > SHOWS_MS * US_PER_MS)
            fail_msg("%s: %lld coupons do not show", path, (long long)issued);
    }
}

static void keep_in_memory(const char *path)
{
    struct http_answer answer = reads_get(&api, path);
    WAIT_UNTIL((answer = api_get(&api, path, NULL), reads_is_from(&answer, "detail=memory")), SHOWS_MS);
}

static void a_change_shows_soon_and_only_where_it_is(void **)
{
    char path[128], others[2][128];
    int64_t times_us[ROUNDS];
    struct http_answer answer;
    write_path(path, changing, "");
    write_path(others[0], quiet, "");
    write_path(others[1], quiet, "/coupons");
    keep_in_memory(path);
    for (size_t i = 0; i < COUNT_OF(others); i++)
        keep_in_memory(others[i]);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < COUNT_OF(others); i++)
            keep_in_memory(others[i]); /* fresh for a minute from here */
        api_give(&api, changing, textf("fan-%d", round));
        times_us[round] = shows_after_us(&api, path, round + 1);
        for (size_t i = 0; i < COUNT_OF(others); i++) {
            answer = api_expect(api_get(&api, others[i], NULL), 200, NULL);
            if (!reads_is_from(&answer, "firstcome-query; hit; ttl=") || !reads_is_from(&answer, "memory") ||
                reads_is_from(&answer, "revalidating"))
                fail_msg("%s did not change, and yet: %.*s", others[i],
                         SPAN_ARG(http_answer_header(&answer, "Cache-Status")));
        }
    }
    series_sort_us(times_us, ROUNDS);
    print_message("a change shows after p50 %.1f ms, p95 %.1f ms, longest %.1f ms (goal: 100 ms)\n",
                  (double)series_percentile_us(times_us, ROUNDS, 500) / US_PER_MS,
                  (double)series_percentile_us(times_us, ROUNDS, 950) / US_PER_MS,
                  (double)series_percentile_us(times_us, ROUNDS, 1000) / US_PER_MS);
}

/* A service that hears nothing. */
static void a_lost_hint_costs_the_freshness_limit(void **)
{
    static const char *const environment[] = {"FIRSTCOME_FRESH_MS=1000", "FIRSTCOME_BUS_URL=", NULL};
    char path[128];
    struct api_client deaf;
    struct instance *instance =
        INSTANCE_START(stack, "query-service", "deaf", PORT_OFFSET, .environment = environment);
    instance_open_api(instance, &deaf);
    write_path(path, changing, "");
    struct http_answer answer = reads_get(&deaf, path);
    int64_t before = issued_in(&answer);
    api_give(&api, changing, "unheard");
    int64_t took_us = shows_after_us(&deaf, path, before + 1);
    print_message("without a bus it shows after %.1f ms (freshness: 1000 ms)\n", (double)took_us / US_PER_MS);
    assert_int_equal(reads_metric(&deaf, "coupon_read_hints_total"), 0);
    api_close(&deaf);
    instance_destroy(instance);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_shows_soon_and_only_where_it_is),
        cmocka_unit_test(a_lost_hint_costs_the_freshness_limit),
    };
    return cmocka_run_group_tests(tests, setup, api_teardown);
}
