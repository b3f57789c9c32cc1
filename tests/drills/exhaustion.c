/* SPDX-License-Identifier: Apache-2.0 */
/* Incident 3: the database is slow and has no connection left, then Redis cannot write its disk, then both at
 * once. There: 60 % of all orders failed for 65 minutes, 45 of which went by until somebody knew why. */
#include "bench/kit/series.h"
#include "common/base/mem.h"
#include "tests/drills/drill.h"
#include "tests/drills/people.h"
#include "tests/lib/cluster.h"
#include "tests/lib/instance.h"
#include "tests/lib/proxy.h"
#include "tests/lib/redis_kit.h"
#include "tests/lib/small_redis.h"
#include "tests/lib/wait.h"

enum {
    PROXY_OFFSET = 18,
    PG_OFFSET = 3,
    SLOW_MS = 150, /* longer, each exchange with PostgreSQL */
    CAPACITY_CONNECTIONS = 1024,
    OVERLOAD_CONNECTIONS = 6000,
    UNBOUNDED = 1000000, /* a second */
    FILL_MS = 1500,
    TIMES = 10,
    CAPACITY_MS = 4000,
    OVERLOAD_MS = 6000,
    GONE_MS = 6000,
    SETTLED_MS = 2500, /* what was under way when the cause began has its deadline to wait for */
    GOODPUT_PERCENT = 95,
    REFUSED_MS = 50,
    NAMED_MS = 10000,
    RECOVERED_MS = 5000,
    FAILED_PERCENT = 60, /* the incident's */
    LONG_MS = 60000,
};

static struct stack *stack;
static struct small_redis redis;
static struct proxy *proxy;
static struct instance *commands, *queries;
static struct people *people;

static void proxied(const char *variable, char ret[512])
{
    int base = stack_port_base(stack);
    proxy_url(stack_env(stack, variable), base + PG_OFFSET, base + PROXY_OFFSET, ret, 512);
}

static void start(void)
{
    static char command_url[512], query_url[512];
    stack_default_deadlines();
    stack = stack_start(STACK_SERVERS);
    small_redis_start(&redis, stack, "everysec");
    setenv("SERVICES_REDIS_URL", redis.url, 1);
    stack_service(stack, "projector", "start");
    proxy = proxy_start(stack_port_base(stack) + PROXY_OFFSET, stack_port_base(stack) + PG_OFFSET);
    proxied("COMMAND_DATABASE_URL", command_url);
    proxied("QUERY_DATABASE_URL", query_url);
    commands = instance_start(stack, &(struct instance_options){.service = "command-service",
                                                                .name = "drill",
                                                                .port_offset = 7,
                                                                .database_url = command_url});
    queries = instance_start(stack, &(struct instance_options){.service = "query-service",
                                                               .name = "drill",
                                                               .port_offset = 8,
                                                               .database_url = query_url,
                                                               .redis_url = redis.url});
    people = people_start(&(struct people_options){.stack = stack,
                                                   .command_url = instance_url(commands),
                                                   .query_url = instance_url(queries),
                                                   .issues_per_second = 100,
                                                   .issue_connections = 32,
                                                   .redeems_per_second = 20,
                                                   .reads_per_second = 200});
}

static void stop(void)
{
    people_free(people);
    instance_destroy(queries);
    instance_destroy(commands);
    small_redis_stop(&redis);
    stack_stop(stack);
    proxy_stop(proxy);
}

/* Until the models in the Redis that the services use are at the heads of the log. */
static void await_current(void)
{
    struct models models;
    models_open(&models, stack);
    redis_kit_models_at(&models, redis.url);
    models_await_current(&models);
    models_close(&models);
}

static void await_ms(int64_t ms)
{
    int64_t until_us = clock_deadline_us(ms);
    WAIT_UNTIL(clock_remaining_ms(until_us) == 0, LONG_MS);
}

/* --- Status pages --- */

/* Whether "bottleneck" of GET /v1/status begins with or has this word. */
static bool names(const struct instance *service, const char *word)
{
    struct http_answer answer;
    struct http_call call = {
        .method = "GET", .path = "/v1/status", .token = stack_env(stack, "ADMIN_TOKEN"), .timeout_ms = 2000};
    struct http_client *client = http_client_create(instance_url(service));
    bool named = false;
    if (http_client_call(client, &call, &answer) == HTTP_ANSWERED && answer.status == 200) {
        struct json_doc *doc = json_get_doc(answer.body);
        struct span text = json_get_text(doc, "bottleneck");
        named = memmem(text.ptr, text.len, word, strlen(word)) != NULL;
        json_destroy(doc);
    }
    http_client_destroy(client);
    return named;
}

/* Somebody who looks at a status page until it names the cause. */
struct watcher {
    const struct instance *service;
    const char *word;
    pthread_t thread;
    int64_t named_us; /* after watcher_end; monotonic */
};

static void *watch_page(void *context)
{
    struct watcher *watcher = context;
    int64_t until_us = clock_deadline_us(LONG_MS);
    while (!names(watcher->service, watcher->word) && clock_remaining_ms(until_us) > 0)
        wait_moment();
    watcher->named_us = clock_mono_us();
    return NULL;
}

static void watcher_begin(struct watcher *watcher, const struct instance *service, const char *word)
{
    *watcher = (struct watcher){.service = service, .word = word};
    assert_int_equal(pthread_create(&watcher->thread, NULL, watch_page, watcher), 0);
}

/* When it was named, from the moment on. */
static int64_t watcher_end(struct watcher *watcher, int64_t from_us)
{
    assert_int_equal(pthread_join(watcher->thread, NULL), 0);
    return watcher->named_us - from_us;
}

static void expect_named(const char *what, int64_t us)
{
    drill_expect_ms(what, "45 min", us, NAMED_MS, 0);
}

/* --- Overload --- */

struct flood {
    double asked, issued; /* per second */
    int64_t refused_p99_us, slowest_us;
    struct window window;
};

static const char *flooded; /* the campaign */

static void write_issue(uint64_t number, struct load_call_request *ret)
{
    static char path[128], key[64], body[64];
    static uint64_t user;
    (void)number;
    user++;
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", flooded);
    snprintf(key, sizeof key, "flood-%llu", (unsigned long long)user);
    snprintf(body, sizeof body, "{\"user_id\":\"flood-%llu\"}", (unsigned long long)user);
    *ret = (struct load_call_request){
        .method = "POST", .path = path, .token = ret->token, .key = span_of(key), .body = span_of(body)};
}

/* p99 of sorted times; of none it is beyond every bar, because nothing was shown. */
static int64_t percentile_of_some(const int64_t *sorted, size_t count)
{
    return count ? series_percentile_us(sorted, count, 990) : LONG_MS * (int64_t)US_PER_MS;
}

static void judge_flood(const struct stream *stream, struct flood *flood)
{
    size_t count = stream_mark(stream), refused = 0, issued = 0, asked = 0;
    int64_t *refusals = mem_alloc((count + 1) * sizeof *refusals);
    double seconds = (double)(flood->window.to_us - flood->window.from_us) / US_PER_S;
    for (size_t i = 0; i < count; i++) {
        const struct stream_answer *answer = &stream->answers[i];
        int64_t took_us = answer->done_us - answer->sent_us;
        if (answer->done_us < flood->window.from_us || answer->done_us >= flood->window.to_us)
            continue;
        asked++;
        issued += answer->status == 201;
        if (answer->status == 503)
            refusals[refused++] = took_us;
        flood->slowest_us = took_us > flood->slowest_us ? took_us : flood->slowest_us;
    }
    series_sort_us(refusals, refused);
    flood->refused_p99_us = percentile_of_some(refusals, refused);
    flood->asked = (double)asked / seconds;
    flood->issued = (double)issued / seconds;
    mem_free(refusals);
}

/* So many requests a second on so many connections while the database is slow; the first second and a half,
 * in which queues fill, is not looked at. */
static struct flood flood(int64_t per_second, size_t connections, int64_t ms)
{
    static struct stream stream;
    stream = (struct stream){.name = "flood",
                             .write = write_issue,
                             .wanted_status = 201,
                             .token = stack_env(stack, "ISSUE_TOKEN"),
                             .connections = connections};
    proxy_delay(proxy, SLOW_MS);
    stream_start(&stream, instance_url(commands), per_second);
    await_ms(FILL_MS);
    struct flood is = {.window = {.from_us = clock_mono_us()}};
    await_ms(ms);
    is.window.to_us = clock_mono_us();
    stream_end(&stream);
    proxy_delay(proxy, 0);
    judge_flood(&stream, &is);
    return is;
}

/* What it carries before and after, as fast as connections are free; how far these two are apart is the
 * machine's part of the bar. */
static struct flood expect_goodput(void)
{
    static char campaign[64];
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&people->api, 10000000, ""));
    flooded = campaign;
    drill_phase("the database is slow: capacity");
    struct flood before = flood(UNBOUNDED, CAPACITY_CONNECTIONS, CAPACITY_MS);
    drill_phase("the database is slow, ten times as many");
    struct flood much = flood(TIMES * (int64_t)before.issued, OVERLOAD_CONNECTIONS, OVERLOAD_MS);
    drill_phase("the database is slow: capacity again");
    struct flood after = flood(UNBOUNDED, CAPACITY_CONNECTIONS, CAPACITY_MS);
    double least = before.issued < after.issued ? before.issued : after.issued,
           most = before.issued + after.issued - least;
    drill_expect(&(struct drill_figure){.what = "slow database, 10 times as many: goodput",
                                        .incident = "40 %, 3 times",
                                        .value = 100 * much.issued / most,
                                        .bar = GOODPUT_PERCENT,
                                        .unit = "%",
                                        .kind = AT_LEAST,
                                        .machine = 100 * (most - least) / most});
    drill_note(
        "each exchange %d ms late: capacity %.0f and %.0f issues a second; %.0f asked for, %.0f issued",
        SLOW_MS, before.issued, after.issued, much.asked, much.issued);
    return much;
}

/* --- Causes that end --- */

/* The last error of an issue or a redemption after the cause ended, from that moment on. */
static int64_t last_error_us(int64_t ended_us, int64_t until_us)
{
    const struct attempts *attempts = &people->outcome.attempts;
    int64_t last_us = ended_us;
    for (size_t i = 0; i < attempts->count; i++) {
        const struct attempt *attempt = &attempts->list[i];
        enum outcome outcome = (enum outcome)attempt->outcome;
        if (!outcome_definite(outcome) && outcome != OUTCOME_IN_FLIGHT && attempt->sent_us < until_us &&
            attempt->done_us > last_us)
            last_us = attempt->done_us;
    }
    for (size_t i = 0; i < stream_mark(&people->redeems); i++) {
        const struct stream_answer *answer = &people->redeems.answers[i];
        if (answer->status != 200 && answer->due_us < until_us && answer->done_us > last_us)
            last_us = answer->done_us;
    }
    return last_us - ended_us;
}

struct cause {
    struct window window;
    int64_t command_named_us, query_named_us, current_us;
};

/* Taking every connection takes its time: the cause begins with the first that is taken, and what is refused
 * is looked at when it is done. */
static struct cause no_connections(void)
{
    struct watcher page;
    struct cause is = {0};
    drill_phase("the database is slow and has no connection left");
    proxy_delay(proxy, SLOW_MS);
    int64_t from_us = clock_mono_us();
    watcher_begin(&page, commands, "store");
    struct cluster_crowd *crowd = cluster_occupy(stack);
    is.window.from_us = clock_mono_us();
    is.command_named_us = watcher_end(&page, from_us);
    await_ms(GONE_MS);
    cluster_release(crowd);
    proxy_delay(proxy, 0);
    is.window.to_us = clock_mono_us();
    drill_phase("it has connections again, and is quick");
    await_ms(RECOVERED_MS + 1000);
    return is;
}

static struct cause disk_full(void)
{
    struct watcher page;
    struct cause is = {.window = {.from_us = clock_mono_us()}};
    drill_phase("Redis' disk is full");
    watcher_begin(&page, queries, "Redis");
    small_redis_fill_disk(&redis);
    is.query_named_us = watcher_end(&page, is.window.from_us);
    await_ms(GONE_MS);
    small_redis_free_disk(&redis);
    is.window.to_us = clock_mono_us();
    drill_phase("Redis has room again");
    await_current();
    is.current_us = clock_mono_us() - is.window.to_us;
    await_ms(RECOVERED_MS);
    return is;
}

static struct cause both(void)
{
    struct watcher command_page, query_page;
    struct cause is = {0};
    drill_phase("both at once");
    int64_t from_us = clock_mono_us();
    watcher_begin(&command_page, commands, "store");
    watcher_begin(&query_page, queries, "PostgreSQL");
    small_redis_fill_disk(&redis);
    struct cluster_crowd *crowd = cluster_occupy(stack);
    is.window.from_us = clock_mono_us();
    is.command_named_us = watcher_end(&command_page, from_us);
    is.query_named_us = watcher_end(&query_page, from_us);
    await_ms(GONE_MS);
    cluster_release(crowd);
    small_redis_free_disk(&redis);
    is.window.to_us = clock_mono_us();
    drill_phase("both are well again");
    await_current();
    is.current_us = clock_mono_us() - is.window.to_us;
    await_ms(RECOVERED_MS + 1000);
    return is;
}

/* --- Figures --- */

/* p99 of the time until an issue was refused, of those asked after the cause had settled. */
static int64_t refused_us(struct window window)
{
    const struct attempts *attempts = &people->outcome.attempts;
    int64_t *values = mem_alloc((attempts->count + 1) * sizeof *values);
    size_t count = 0;
    for (size_t i = 0; i < attempts->count; i++) {
        const struct attempt *attempt = &attempts->list[i];
        if (attempt->outcome == OUTCOME_LATER &&
            attempt->sent_us >= window.from_us + SETTLED_MS * US_PER_MS && attempt->sent_us < window.to_us)
            values[count++] = attempt->done_us - attempt->sent_us;
    }
    series_sort_us(values, count);
    int64_t is = percentile_of_some(values, count);
    mem_free(values);
    return is;
}

static double percent_bad(const struct stream *stream, struct window window)
{
    uint64_t bad = people_stream_bad(stream, window, 0), all = 0;
    for (size_t i = 0; i < stream_mark(stream); i++)
        all += stream->answers[i].due_us >= window.from_us && stream->answers[i].due_us < window.to_us;
    return all ? 100.0 * (double)bad / (double)all : 100;
}

static void expect_of_causes(const struct cause *connections, const struct cause *disk,
                             const struct cause *two)
{
    drill_expect_ms("no connection: refused within, p99", "time out", refused_us(connections->window),
                    REFUSED_MS, people_machine_us(people, connections->window, 990));
    expect_named("no connection: the status page says store", connections->command_named_us);
    drill_expect(&(struct drill_figure){.what = "no connection: reads that failed",
                                        .incident = "60 %",
                                        .value = percent_bad(&people->reads, connections->window),
                                        .bar = FAILED_PERCENT,
                                        .unit = "%"});
    drill_expect_ms("no connection: last error after its end", "20 min",
                    last_error_us(connections->window.to_us, disk->window.from_us), RECOVERED_MS, 0);
    expect_named("Redis' disk full: the page says Redis", disk->query_named_us);
    drill_expect_none("Redis' disk full: issues that failed", "60 %",
                      people_issue_errors(people, disk->window));
    drill_expect_none("Redis' disk full: reads that failed", "60 %",
                      people_stream_bad(&people->reads, disk->window, 0));
    drill_expect_ms("Redis' disk full: models current after its end", "10 min, by hand", disk->current_us,
                    RECOVERED_MS, people_machine_us(people, disk->window, 1000));
    expect_named("both: the pages say store and PostgreSQL",
                 two->command_named_us > two->query_named_us ? two->command_named_us : two->query_named_us);
    drill_expect_ms("both: refused within, p99", "time out", refused_us(two->window), REFUSED_MS,
                    people_machine_us(people, two->window, 990));
    drill_expect(&(struct drill_figure){.what = "both: reads that failed",
                                        .incident = "60 %",
                                        .value = percent_bad(&people->reads, two->window),
                                        .bar = FAILED_PERCENT,
                                        .unit = "%"});
    drill_expect_ms("both: last error after their end", "65 min",
                    last_error_us(two->window.to_us, clock_mono_us()), RECOVERED_MS, 0);
    drill_expect_ms("both: models current after their end", "65 min", two->current_us, RECOVERED_MS,
                    people_machine_us(people, two->window, 1000));
}

void drill_exhaustion(void)
{
    drill_begin(3, "the database slow and without connections, Redis' disk full, then both", 90);
    start();
    assert_true(load_allow_descriptors(OVERLOAD_CONNECTIONS + 1000));
    struct flood much = expect_goodput();
    struct cause connections = no_connections(), disk = disk_full(), two = both();
    drill_phase("answers are compared with the log");
    people_stop(people);
    drill_expect_ms("refused within, p99", "30 s, time out", much.refused_p99_us, REFUSED_MS,
                    people_machine_us(people, much.window, 990));
    drill_note("the slowest answer to any of the ten times as many took %lld ms",
               (long long)(much.slowest_us / US_PER_MS));
    expect_of_causes(&connections, &disk, &two);
    people_expect_exact(people, "", "");
    people_expect_models(stack, redis.url, "");
    stop();
}
