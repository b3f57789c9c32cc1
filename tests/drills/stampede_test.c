/* SPDX-License-Identifier: Apache-2.0 */
/* Incident 2 replayed: four times the reads of before, and in the middle of it Redis loses everything. People
 * must not notice: every read is answered, the share of reads that PostgreSQL does not see is back over 88 %
 * within a minute, and coupons go on being issued. What reads and writes took before and in the
 * rush is printed; bounds here are for hangs, not for speed. */
#include "tests/lib/wait.h"

#include "common/base/crypto.h"
#include "tests/lib/reads.h"
#include "tests/lib/store.h"
#include "tests/lib/stream.h"

/* Requests per second before and in the rush; sanitized services are an order slower. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { RATE_BEFORE = 60, RATE_WRITES = 10 };
#else
enum { RATE_BEFORE = 300, RATE_WRITES = 50 };
#endif
enum {
    RATE_RUSH = 4 * RATE_BEFORE, /* +300 % */
    CAMPAIGNS = 40,
    TARGETS = 400,
    WARM_MS = 1000,
    PHASE_MS = 4000,
    RECOVERED_MS = 60000,
    HIT_PERCENT = 88,
    READS_P95_MS = 250,                /* what incident 2 promises, on a machine of one's own */
    READS_BOUND_MS = 2000,             /* on any */
    STORE_CONNECTIONS = 4 + 2 + 1 + 1, /* quick and dear reads, the feed, questions of the past */
};

static struct stack *stack;
static struct api_client api;
static char ids[CAMPAIGNS][64];

static int setup(void **state)
{
    crypto_setup();
    stack = api_setup(state, &api, STACK_ALL);
    for (int i = 0; i < CAMPAIGNS; i++) {
        snprintf(ids[i], sizeof ids[i], "%s", api_campaign(&api, 100000, ""));
        for (int user = 0; user < 3; user++) {
            char name[32];
            snprintf(name, sizeof name, "user-%d", user);
            api_give(&api, ids[i], name);
        }
    }
    return 0;
}

/* --- what is asked for --- */

/* Few targets have most of the reads: the square of an even distribution. */
static void write_read(uint64_t number, struct load_call_request *ret)
{
    static char path[192];
    static uint64_t seed;
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407) + number;
    uint64_t dice = (seed >> 33) % TARGETS;
    size_t target = (size_t)(dice * dice / TARGETS);
    const char *id = ids[target % CAMPAIGNS];
    switch (target / CAMPAIGNS) {
    case 0:
        snprintf(path, sizeof path, "/v1/campaigns/%s", id);
        break;
    case 1:
        snprintf(path, sizeof path, "/v1/rankings/campaigns?limit=%zu", target % CAMPAIGNS + 1);
        break;
    case 2:
        snprintf(path, sizeof path, "/v1/campaigns?limit=%zu", target % CAMPAIGNS + 1);
        break;
    case 3:
        snprintf(path, sizeof path, "/v1/campaigns/%s/coupons?limit=3", id);
        break;
    default:
        snprintf(path, sizeof path, "/v1/campaigns/%s/users/user-%zu", id, target / CAMPAIGNS - 4);
        break;
    }
    ret->method = "GET";
    ret->path = path;
}

static void write_issue(uint64_t number, struct load_call_request *ret)
{
    static char path[128], key[64], body[64];
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", ids[number % CAMPAIGNS]);
    snprintf(key, sizeof key, "drill-%llu", (unsigned long long)number);
    snprintf(body, sizeof body, "{\"user_id\":\"drill-%llu\"}", (unsigned long long)number);
    *ret = (struct load_call_request){
        .method = "POST", .path = path, .token = ret->token, .key = span_of(key), .body = span_of(body)};
}

/* --- the share that PostgreSQL does not see --- */

struct share {
    int64_t all, postgres;
};

static struct share share_now(void)
{
    int64_t postgres = reads_metric(&api, "coupon_reads_total{source=\"postgres\"}");
    int64_t others = reads_metric(&api, "coupon_reads_total{source=\"memory\"}") +
                     reads_metric(&api, "coupon_reads_total{source=\"redis\"}");
    return (struct share){postgres + others, postgres};
}

static int hit_percent(struct share since)
{
    struct share now = share_now();
    int64_t all = now.all - since.all;
    return all ? (int)(100 - 100 * (now.postgres - since.postgres) / all) : 0;
}

/* So many more answers since. */
static bool has_answered(const struct stream *stream, uint64_t before, int64_t more)
{
    return stream->good + stream->bad >= before + (uint64_t)more;
}

/* Over a phase's worth of reads at the rate of before, which is a second or so of the rush. */
static int hit_percent_of_next(const struct stream *reads)
{
    struct share since = share_now();
    uint64_t before = reads->good + reads->bad;
    WAIT_UNTIL(has_answered(reads, before, RATE_BEFORE), RECOVERED_MS);
    return hit_percent(since);
}

/* Where phases begin and end, in reads and in writes. */
struct marks {
    size_t reads, writes;
};

static struct stream reads = {.name = "reads", .write = write_read, .wanted_status = 200},
                     writes = {.name = "writes", .write = write_issue, .wanted_status = 201};

static struct marks mark(void)
{
    return (struct marks){stream_mark(&reads), stream_mark(&writes)};
}

static void await_reads(int64_t rate, int64_t ms)
{
    uint64_t before = reads.good + reads.bad;
    WAIT_UNTIL(has_answered(&reads, before, rate * ms / 1000), RECOVERED_MS);
}

/* Returns the p95 of reads in the rush, less ten times what it was before. */
static int64_t print_phases(struct marks before, struct marks rush, struct marks end)
{
    stream_print(&reads, "before", before.reads, rush.reads);
    stream_print(&reads, "in the rush", rush.reads, end.reads);
    stream_print(&writes, "before", before.writes, rush.writes);
    stream_print(&writes, "in the rush", rush.writes, end.writes);
    int64_t was_us = stream_percentile_us(&writes, before.writes, rush.writes, 990),
            is_us = stream_percentile_us(&writes, rush.writes, end.writes, 990),
            reads_us = stream_percentile_us(&reads, rush.reads, end.reads, 950);
    print_message(
        "p99 of writes in the rush is %.2f of before (goal: 1.10), p95 of reads %.1f ms (goal: %d)\n",
        (double)is_us / (double)(was_us ? was_us : 1), (double)reads_us / US_PER_MS, READS_P95_MS);
    /* On a busy machine everything takes longer, before the rush as well. */
    return reads_us - 10 * stream_percentile_us(&reads, before.reads, rush.reads, 950);
}

/* Everything is gone from Redis; back within RECOVERED_MS. */
static void flush_and_recover(void)
{
    reads_redis(stack, "FLUSHALL", NULL);
    int64_t flushed_us = clock_mono_us();
    int percent = hit_percent_of_next(&reads);
    print_message("after the flush: %d %% hits\n", percent);
    WAIT_UNTIL((percent = hit_percent_of_next(&reads)) > HIT_PERCENT, RECOVERED_MS);
    int64_t took_ms = (clock_mono_us() - flushed_us) / US_PER_MS;
    print_message("%d %% hits again after at most %lld ms\n", percent, (long long)took_ms);
    assert_in_range(took_ms, 0, RECOVERED_MS);
}

static void redis_loses_everything_in_the_rush(void **state)
{
    (void)state;
    reads.token = stack_env(stack, "READ_TOKEN");
    writes.token = stack_env(stack, "ADMIN_TOKEN");
    reads_await_redis(&api);
    stream_start(&reads, stack_env(stack, "QUERY_URL"), RATE_BEFORE);
    stream_start(&writes, stack_env(stack, "COMMAND_URL"), RATE_WRITES);
    await_reads(RATE_BEFORE, WARM_MS);
    struct marks before = mark();
    await_reads(RATE_BEFORE, PHASE_MS);
    print_message("before: %d %% hits\n", hit_percent((struct share){0, 0}));
    struct marks rush = mark();
    reads.rate = RATE_RUSH;
    await_reads(RATE_RUSH, PHASE_MS / 2);
    flush_and_recover();
    await_reads(RATE_RUSH, PHASE_MS / 2);
    struct marks end = mark();
    reads_await_redis(&api);
    assert_in_range(store_number(stack, "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                                        "'firstcome query'"),
                    1, STORE_CONNECTIONS);
    stream_stop(&writes);
    stream_stop(&reads);
    assert_true(writes.good > 0);
    assert_true(print_phases(before, rush, end) < READS_BOUND_MS * US_PER_MS);
    assert_int_equal(reads_metric(&api, "coupon_reads_refused_total{reason=\"overloaded\"}"), 0);
    assert_int_equal(reads_metric(&api, "coupon_reads_refused_total{reason=\"store_unavailable\"}"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(redis_loses_everything_in_the_rush)};
    return cmocka_run_group_tests(tests, setup, api_teardown);
}
