/* SPDX-License-Identifier: Apache-2.0 */
/* Incident 2: four times the reads, for what is in no cache, while Redis has lost everything and is slow.
 * There: hits from 82 to 35 %, reads from 180 ms to 1.8 s, writes to 7 s, 8.1 % errors, 45 minutes. */
#include "tests/drills/drill.h"
#include "tests/drills/people.h"
#include "tests/lib/proxy.h"
#include "tests/lib/reads.h"
#include "tests/lib/rush.h"
#include "tests/lib/store.h"
#include "tests/lib/wait.h"

enum {
    REDIS_OFFSET = 4,
    PROXY_OFFSET = 18,
    READS_PER_SECOND = 250,
    TIMES = 4, /* +300 % */
    SLOW_MS = 100,
    STEADY_MS = 5000,
    RUSH_MS = 8000,
    RECOVERED_MS = 60000,
    HIT_PERCENT = 88,
    READS_P95_MS = 250, /* the incident's, recovered */
    AHEAD_MS = 4000,
    ONE_KEY_READERS = 2000,
    STORE_CONNECTIONS = 4 + 2 + 1 + 1, /* quick and dear reads, the feed, questions of the past */
    LONG_MS = 60000,
};

static struct stack *stack;
static struct people *people;
static struct proxy *proxy;

static void start(void)
{
    static char url[512];
    stack_default_deadlines();
    stack = stack_start(STACK_SERVERS);
    int base = stack_port_base(stack);
    proxy = proxy_start(base + PROXY_OFFSET, base + REDIS_OFFSET);
    proxy_url(stack_env(stack, "REDIS_URL"), base + REDIS_OFFSET, base + PROXY_OFFSET, url, sizeof url);
    setenv("SERVICES_REDIS_URL", url, 1);
    stack_service(stack, "projector", "start");
    stack_service(stack, "command-service", "start");
    stack_service(stack, "query-service", "start");
}

static void await_ms(int64_t ms)
{
    int64_t until_us = clock_deadline_us(ms);
    WAIT_UNTIL(clock_remaining_ms(until_us) == 0, LONG_MS);
}

/* --- Hits: answers that PostgreSQL did not see --- */

struct share {
    int64_t all, postgres;
};

static struct share share_now(void)
{
    int64_t postgres = reads_metric(&people->api, "coupon_reads_total{source=\"postgres\"}");
    int64_t others = reads_metric(&people->api, "coupon_reads_total{source=\"memory\"}") +
                     reads_metric(&people->api, "coupon_reads_total{source=\"redis\"}");
    return (struct share){postgres + others, postgres};
}

static int64_t hit_percent(struct share since)
{
    struct share now = share_now();
    int64_t all = now.all - since.all;
    return all ? 100 - 100 * (now.postgres - since.postgres) / all : 0;
}

static int64_t hit_percent_of_next(void)
{
    struct share since = share_now();
    WAIT_UNTIL(share_now().all >= since.all + READS_PER_SECOND, LONG_MS);
    return hit_percent(since);
}

/* --- One key, and one that is not asked for before it opens --- */

static int64_t loads(struct api_client *api)
{
    return reads_metric(api, "coupon_read_loads_total{source=\"postgres\"}") +
           reads_metric(api, "coupon_read_loads_total{source=\"redis\"}");
}

/* All at once ask for a campaign that nobody asked for before, Redis being slow and empty, and nobody asks
 * for anything else: it is loaded once, and once or twice more for each second in which it expires. */
static void expect_one_load(void)
{
    char path[160];
    struct api_client api;
    drill_phase("2,000 ask for one cold key");
    api_open(&api, stack);
    snprintf(path, sizeof path, "/v1/campaigns/%s", api_campaign(&api, 10, ""));
    proxy_delay(proxy, SLOW_MS);
    reads_redis(stack, "FLUSHALL", NULL);
    int64_t before = loads(&api);
    int64_t from_us = clock_mono_us();
    struct rush_result result = rush_run(&(struct rush_options){.url = stack_env(stack, "QUERY_URL"),
                                                                .token = stack_env(stack, "READ_TOKEN"),
                                                                .requests = ONE_KEY_READERS,
                                                                .connections = ONE_KEY_READERS / 2,
                                                                .path = path});
    int64_t seconds = (clock_mono_us() - from_us) / US_PER_S;
    int64_t loaded = loads(&api) - before;
    proxy_delay(proxy, 0);
    api_close(&api);
    drill_expect_none("of 2,000 readers of one cold key, unanswered", "", result.lost);
    DRILL_EXPECT("loads of that key", "one each", (double)loaded, 1 + (double)(2 * seconds), "");
}

/* Named before it opens: the first who asks finds it in memory, open. */
static void expect_prewarmed(void)
{
    char path[160], more[96], campaign[64];
    struct buf at;
    int64_t opens_us = clock_wall_us() + AHEAD_MS * US_PER_MS;
    buf_init(&at, sizeof more);
    buf_append_char(&at, ',');
    json_put_time(&at, "starts_at", opens_us);
    snprintf(more, sizeof more, "%.*s", SPAN_ARG(buf_span(&at)));
    buf_deinit(&at);
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&people->api, 10, more));
    snprintf(path, sizeof path, "/v1/campaigns/%s", campaign);
    reads_prewarm(&people->api, campaign);
    WAIT_UNTIL(clock_wall_us() >= opens_us + 100 * US_PER_MS, LONG_MS);
    struct http_answer answer = api_get(&people->api, path, NULL);
    bool open = memmem(answer.body.ptr, answer.body.len, "\"active\"", strlen("\"active\"")) != NULL;
    DRILL_EXPECT("prewarmed: the first reader finds it in memory", "by hand, at +55 min",
                 open && reads_is_from(&answer, "memory"), 1, "", AT_LEAST);
}

/* --- The drill --- */

static void expect_of_rush(struct window steady, struct window rush)
{
    int64_t machine_us = people_machine_commit_us(people, rush, 990);
    drill_expect_none("reads that failed", "8.1 %", people_stream_bad(&people->reads, rush, 0));
    drill_expect_ms("read p95", "1.8 s", people_stream_us(&people->reads, rush, 950), READS_P95_MS,
                    people_machine_us(people, rush, 950));
    drill_note("read p99 %lld ms: of what nobody had asked for before, from PostgreSQL",
               (long long)(people_stream_us(&people->reads, rush, 990) / US_PER_MS));
    drill_expect_none("issues that failed", "8.1 %", people_issue_errors(people, rush));
    drill_expect_none("redemptions that failed", "8.1 %", people_stream_bad(&people->redeems, rush, 0));
    drill_expect_ms("issue p99, bar: 1.1 of before, or 100 ms", "7 s", people_issue_us(people, rush, 990),
                    drill_bar_ms(11, people_issue_us(people, steady, 990)), machine_us);
}

void drill_stampede(void)
{
    drill_begin(2, "four times the reads of what is in no cache, Redis empty and slow", 40);
    start();
    expect_one_load();
    people = people_start(&(struct people_options){.stack = stack,
                                                   .issues_per_second = 50,
                                                   .issue_connections = 16,
                                                   .redeems_per_second = 20,
                                                   .reads_per_second = READS_PER_SECOND});
    drill_phase("all is well");
    reads_await_redis(&people->api);
    struct window steady = {.from_us = clock_mono_us()};
    struct share since = share_now();
    await_ms(STEADY_MS);
    int64_t hits_before = hit_percent(since);
    steady.to_us = clock_mono_us();

    drill_phase("the rush, Redis is empty and slow");
    struct window rush = {.from_us = clock_mono_us()};
    proxy_delay(proxy, SLOW_MS);
    reads_redis(stack, "FLUSHALL", NULL);
    atomic_store(&people->cold, true);
    people->reads.rate = TIMES * READS_PER_SECOND;
    await_ms(RUSH_MS);
    int64_t connections = store_number(
        stack, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'firstcome query'");
    drill_phase("Redis is quick again");
    proxy_delay(proxy, 0);
    WAIT_UNTIL(hit_percent_of_next() >= HIT_PERCENT, LONG_MS);
    int64_t recovered_us = clock_mono_us() - rush.from_us;
    rush.to_us = clock_mono_us();
    people->reads.rate = READS_PER_SECOND;
    drill_phase("a campaign is prewarmed");
    expect_prewarmed();
    reads_await_redis(&people->api);
    drill_phase("answers are compared with the log");
    people_stop(people);
    expect_of_rush(steady, rush);
    drill_expect_ms("88 % of reads are hits again", "60 min", recovered_us, RECOVERED_MS, 0);
    DRILL_EXPECT("connections of readers to PostgreSQL", "all, CPU over 90 %", (double)connections,
                 STORE_CONNECTIONS, "");
    people_expect_exact(people, "", "");
    people_expect_models(stack, stack_env(stack, "REDIS_URL"), "");
    drill_note("FLUSHALL, Redis %d ms late, %d reads a second after %d; %lld %% were hits before", SLOW_MS,
               TIMES * READS_PER_SECOND, READS_PER_SECOND, (long long)hits_before);
    people_free(people);
    stack_stop(stack);
    proxy_stop(proxy);
}
