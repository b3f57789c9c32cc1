/* SPDX-License-Identifier: Apache-2.0 */
/* The bound on memory is of what is really used: as a query service grows whose readers ask for more
 * different things than there is room for, by the kernel's count. */
#include "tests/lib/wait.h"

#include "common/base/process.h"
#include "tests/lib/instance.h"
#include "tests/lib/reads.h"
#include "tests/lib/rush.h"

enum {
    PORT_OFFSET = 7,
    CONNECTIONS = 128,
    BYTES = 16 << 20,
    TARGETS = 75000, /* three times as many as there is room for */
    FIRST = 3000,    /* until all threads have what they use besides */
};

static struct stack *stack;
static struct api_client api, bounded_api;
static struct instance *bounded;
static char coupon[64];

static int setup(void **state)
{
    static char bound[64];
    static const char *const environment[] = {bound, "FIRSTCOME_FRESH_MS=60000", NULL};
    snprintf(bound, sizeof bound, "FIRSTCOME_CACHE_BYTES=%d", BYTES);
    stack = api_setup(state, &api, STACK_ALL);
    bounded = INSTANCE_START(stack, "query-service", "bounded", PORT_OFFSET, .environment = environment);
    instance_open_api(bounded, &bounded_api);
    snprintf(coupon, sizeof coupon, "%s", api_coupon(&api, api_campaign(&api, 1, ""), "kim"));
    return 0;
}

static int teardown(void **state)
{
    api_close(&bounded_api);
    instance_destroy(bounded);
    return api_teardown(state);
}

/* What is asked is another amount each time: an entry each. */
static void ask_for_an_amount(void *context, size_t number, char ret[RUSH_PATH_MAX])
{
    const size_t *first = context;
    snprintf(ret, RUSH_PATH_MAX, "/v1/coupons/%s/validity?user_id=kim&order_amount=%zu", coupon,
             *first + number);
}

static void take(void *context, size_t number, const struct load_result *result)
{
    (void)context, (void)number;
    if (result->response.status != 200 && result->response.status != 503)
        fail_msg("answered with %d", result->response.status);
}

static void ask(size_t first, size_t count)
{
    struct rush_result result = rush_run(&(struct rush_options){.url = instance_url(bounded),
                                                                .token = stack_env(stack, "READ_TOKEN"),
                                                                .requests = count,
                                                                .connections = CONNECTIONS,
                                                                .path_of = ask_for_an_amount,
                                                                .answered = take,
                                                                .context = &first});
    assert_int_equal(result.answered, count);
}

static void it_grows_by_its_bound(void **)
{
    ask(0, FIRST);
    int64_t before = process_resident_bytes(instance_pid(bounded));
    ask(FIRST, TARGETS);
    int64_t grown = process_resident_bytes(instance_pid(bounded)) - before;
    WAIT_UNTIL(reads_metric(&bounded_api, "coupon_cache_evictions_total") > 0, 60000); /* it is full */
    print_message("%lld KiB for a bound of %d\n", (long long)grown >> 10, BYTES >> 10);
    assert_true(reads_metric(&bounded_api, "coupon_cache_bytes") <= BYTES);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__) /* which keep what is freed */
    assert_true(grown < BYTES / 4 * 5);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_grows_by_its_bound)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
