/* SPDX-License-Identifier: Apache-2.0 */
/* Reads: what is in memory, against a handler that does nothing on the same HTTP server, nginx with the
 * same bytes, and webdis, which serves them from Redis; and ten thousand at once for what nobody has yet. */
#include "bench/measure/store.h"

#include <inttypes.h>
#include <stdio.h>

#include "bench/kit/child.h"
#include "bench/kit/metrics_text.h"
#include "bench/load/connection.h"
#include "bench/load/http_load.h"
#include "bench/peers/redis_peer.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/redis/redis.h"

enum { MANY = 256, CROWD = 10000, WARM_MS = 700, CALL_MS = 10000, BODY_MAX = 64 * 1024, TEXT_MAX = 4096 };

/* --- one call --- */

static void call(const struct target *target, const char *path, const char *token, struct buf *ret_body)
{
    struct connection load;
    struct http_response response;
    struct buf request;
    connection_init(&load, target);
    buf_init(&request, TEXT_MAX);
    load_call_write(target,
                    &(struct load_call_request){.method = "GET", .path = path, .token = span_of(token)},
                    &request);
    enum exchange outcome = connection_call(&load, buf_span(&request), clock_deadline_us(CALL_MS), &response);
    if (outcome != EXCHANGE_ANSWERED)
        bench_die(path, exchange_describe(outcome));
    if (response.status != 200)
        bench_die(path, "is not answered with 200");
    buf_append_span(ret_body, response.body);
    buf_deinit(&request);
    connection_deinit(&load);
}

static double metric(const struct target *target, const char *name)
{
    struct buf text;
    int64_t value = 0;
    buf_init(&text, 1 << 20);
    call(target, "/metrics", NULL, &text);
    if (!metrics_find(buf_span(&text), name, &value))
        bench_die(name, "is not among the metrics");
    buf_deinit(&text);
    return (double)value;
}

/* --- flows --- */

static double flow_of(const struct bench *bench, const struct target *target, const char *path,
                      struct flow_result *ret)
{
    struct flow_options options = {
        .target = target,
        .request = {.method = "GET", .path = path, .token = span_of(bench->options.admin_token)},
        .wanted_status = 200,
        .connections = MANY,
        .warm_ms = WARM_MS,
        .measure_ms = bench->options.sample_ms,
    };
    if (!flow_run(&options, ret))
        bench_die("the load", "epoll is not available");
    if (ret->odd || ret->failed)
        bench_say("%s: %" PRIu64 " unexpected answers (for instance %d), %" PRIu64 " without an answer", path,
                  ret->odd, ret->odd_status, ret->failed);
    if (ret->wanted == 0)
        bench_die(path, "nothing could be measured, see above");
    return ret->per_second;
}

/* --- webdis --- */

static void put_into_redis(const struct bench *bench, struct span body)
{
    char reason[128];
    struct redis_command command;
    const struct redis_reply *reply;
    struct redis *redis = redis_create(bench->options.redis_url, reason, sizeof reason);
    int64_t deadline_us = clock_deadline_us(CALL_MS);
    if (!redis)
        bench_die("redis-url", reason);
    redis_command_init(&command);
    redis_arg_text(&command, "SET");
    redis_arg_text(&command, "bench");
    redis_arg(&command, body);
    if (redis_connect(redis, deadline_us) != REDIS_OK ||
        redis_call(redis, &command, deadline_us, &reply) != REDIS_OK)
        bench_die("Redis", redis_error(redis));
    redis_command_deinit(&command);
    redis_destroy(redis);
}

/* 0 where the package is not installed. */
static pid_t webdis_start(const struct bench *bench, struct target *ret)
{
    enum { REDIS_OFFSET = 4 }; /* of its port, in every stack */
    const struct bench_options *is = &bench->options;
    if (!peer_has_webdis())
        return 0;
    bench_target(bench, BENCH_PORT_PEER, ret);
    pid_t pid = peer_webdis(&(struct peer_webdis){is->run_dir, is->redis_password,
                                                  (int)is->port_base + (int)BENCH_PORT_PEER,
                                                  (int)is->port_base + REDIS_OFFSET});
    bench_await_listener(ret, "webdis");
    return pid;
}

static pid_t nginx_start(const struct bench *bench, struct span body, struct target *ret)
{
    if (!peer_has_nginx())
        return 0;
    bench_target(bench, BENCH_PORT_SCRATCH, ret);
    pid_t pid =
        peer_nginx(bench->options.run_dir, (int)bench->options.port_base + (int)BENCH_PORT_SCRATCH, body);
    bench_await_listener(ret, "nginx");
    return pid;
}

/* --- reads --- */

struct read_runs {
    struct target query, empty, webdis, nginx;
    struct series ours, empty_inline, others, from_nginx, p99, us, empty_us;
    struct flow_result last, last_empty;
};

static void print_reads(const struct bench *bench, const struct read_runs *runs, bool has_webdis)
{
    struct figure figures[] = {
        {"a campaign from memory, 256 connections", "1/s", runs->ours, "ratio >= 0.9", 0.9,
         "empty handler with as long a body and as many headers", runs->empty_inline},
        {"processor time of the service for each of them", "us", runs->us, "ratio <= 1.1", 0,
         "the empty handler's", runs->empty_us},
        {"the same, p99", "ms", runs->p99},
        {"the same, against nginx", "1/s", runs->ours, NULL, 0,
         "nginx, the same bytes from its memory, no authentication", runs->from_nginx},
        {"the same, against webdis", "1/s", runs->ours, "ratio > 1", 0, "webdis, the same bytes from Redis",
         runs->others},
    };
    snprintf(figures[0].note, sizeof figures[0].note,
             "load thread: ours %.0f %% computing, %.0f %% waiting for a "
             "processor; empty %.0f %%, %.0f %%",
             100 * runs->last.client_busy, 100 * runs->last.client_waited, 100 * runs->last_empty.client_busy,
             100 * runs->last_empty.client_waited);
    for (size_t i = 0; i < 3; i++)
        bench_print(bench, &figures[i]);
    if (runs->from_nginx.count)
        bench_print(bench, &figures[3]);
    else
        bench_say("read: nginx is not installed (Debian package nginx), so it is not compared");
    if (has_webdis)
        bench_print(bench, &figures[4]);
    else
        bench_say("read: webdis is not installed (Debian package webdis), so it is not compared");
}

/* What the load drives, and what of its processor time each answer took: also where others have most of the
 * processors, which says little about how many answers there were. */
static double flow_at(const struct bench *bench, const struct target *target, const char *path, pid_t pid,
                      struct flow_result *ret, struct series *us)
{
    double before_s = bench_store_cpu_s(pid, false), per_second = flow_of(bench, target, path, ret);
    series_add(us, (bench_store_cpu_s(pid, false) - before_s) * 1e9 /
                       (per_second * (double)(WARM_MS + bench->options.sample_ms)));
    return per_second;
}

void bench_read(struct bench *bench)
{
    static struct read_runs runs;
    static const char *const deaf[] = {"--bus-url", "", NULL}; /* the stack's listens there */
    struct target command;
    struct buf body;
    char path[128], empty_path[32];
    bench_target(bench, BENCH_PORT_COMMAND, &command);
    bench_target(bench, BENCH_PORT_SECOND, &runs.query);
    bench_target(bench, BENCH_PORT_EMPTY, &runs.empty);
    pid_t service = bench_start(bench, "command-service", BENCH_PORT_COMMAND, NULL);
    /* Like the handler it is compared with a child of this process: a scheduler that is fair between sessions
     * would else give one of the two more than the other. */
    pid_t query = bench_start_with(bench, "query-service", BENCH_PORT_SECOND, deaf);
    pid_t empty = bench_start(bench, "empty_handler", BENCH_PORT_EMPTY, NULL);
    snprintf(path, sizeof path, "/v1/campaigns/%s", bench_campaign(bench, &command, 1000, -1));
    buf_init(&body, BODY_MAX);
    call(&runs.query, path, bench->options.admin_token, &body);
    put_into_redis(bench, buf_span(&body));
    pid_t webdis = webdis_start(bench, &runs.webdis),
          nginx = nginx_start(bench, buf_span(&body), &runs.nginx);
    snprintf(empty_path, sizeof empty_path, "/inline/%zu", body.len);
    for (int64_t round = 0; round < bench->options.rounds; round++) {
        struct flow_result other;
        bench_say("read, round %lld of %lld", (long long)round + 1, (long long)bench->options.rounds);
        series_add(&runs.ours, flow_at(bench, &runs.query, path, query, &runs.last, &runs.us));
        series_add(&runs.p99, (double)runs.last.p99_us / US_PER_MS);
        series_add(&runs.empty_inline,
                   flow_at(bench, &runs.empty, empty_path, empty, &runs.last_empty, &runs.empty_us));
        if (webdis)
            series_add(&runs.others, flow_of(bench, &runs.webdis, "/GET/bench.txt", &other));
        if (nginx)
            series_add(&runs.from_nginx, flow_of(bench, &runs.nginx, "/", &other));
    }
    child_stop(nginx);
    child_stop(webdis);
    child_stop(empty);
    child_stop(query);
    child_stop(service);
    buf_deinit(&body);
    print_reads(bench, &runs, webdis != 0);
}

/* --- the stampede --- */

struct crowd {
    struct buf request;
    size_t sent, good;
    int64_t first_us, last_us; /* the first request, the last answer */
};

/* All at once: nobody goes before everybody is connected. */
static enum load_next crowd_next(void *context, size_t idle, struct load_job *ret, struct buf *request)
{
    struct crowd *crowd = context;
    if (crowd->sent == CROWD)
        return LOAD_END;
    *ret = (struct load_job){.due_us = INT64_MAX};
    if (crowd->sent == 0 && idle < CROWD) {
        ret->due_us = clock_deadline_us(5);
        return LOAD_WAIT;
    }
    if (crowd->sent == 0)
        crowd->first_us = clock_mono_us();
    buf_append_span(request, buf_span(&crowd->request));
    *ret = (struct load_job){.tag = crowd->sent++};
    return LOAD_SEND;
}

static void crowd_done(void *context, const struct load_result *result)
{
    struct crowd *crowd = context;
    crowd->good += result->outcome == LOAD_ANSWERED && result->response.status == 200;
    crowd->last_us = result->done_us;
}

static void stampede_round(struct bench *bench, const struct target *query, const char *path,
                           struct series *loads, struct series *ms)
{
    struct crowd crowd = {0};
    static const char redis[] = "coupon_read_loads_total{source=\"redis\"}";
    static const char postgres[] = "coupon_read_loads_total{source=\"postgres\"}";
    struct load_options options = {query, CROWD, CALL_MS, BODY_MAX};
    struct load_driver driver = {crowd_next, crowd_done, &crowd};
    buf_init(&crowd.request, TEXT_MAX);
    load_call_write(query,
                    &(struct load_call_request){
                        .method = "GET", .path = path, .token = span_of(bench->options.admin_token)},
                    &crowd.request);
    double before = metric(query, redis) + metric(query, postgres);
    struct load *load = load_create(&options, &driver);
    if (!load)
        bench_die("the load", "epoll is not available");
    load_run(load, clock_deadline_us(6 * CALL_MS));
    load_destroy(load);
    if (crowd.good != CROWD)
        bench_say("stampede: only %zu of %d were answered", crowd.good, CROWD);
    series_add(loads, metric(query, redis) + metric(query, postgres) - before);
    series_add(ms, (double)(crowd.last_us - crowd.first_us) / US_PER_MS);
    buf_deinit(&crowd.request);
}

void bench_stampede(struct bench *bench)
{
    struct target command, query;
    struct series loads = {0}, ms = {0};
    char path[128];
    bench_target(bench, BENCH_PORT_COMMAND, &command);
    bench_target(bench, BENCH_PORT_QUERY, &query);
    if (!load_allow_descriptors(CROWD + 1024)) {
        bench_say("stampede: not measured, this process may not open %d connections (ulimit -n)", CROWD);
        return;
    }
    pid_t service = bench_start(bench, "command-service", BENCH_PORT_COMMAND, NULL);
    for (int64_t round = 0; round < bench->options.rounds; round++) {
        bench_say("stampede, round %lld of %lld", (long long)round + 1, (long long)bench->options.rounds);
        snprintf(path, sizeof path, "/v1/campaigns/%s", bench_campaign(bench, &command, 1000, -1));
        stampede_round(bench, &query, path, &loads, &ms);
    }
    child_stop(service);
    struct figure figures[] = {
        {"loads from behind for 10,000 requests at once for a target nobody has", "", loads,
         "1; one more for each second it takes"},
        {"until the last of them is answered", "ms", ms},
    };
    bench_print_all(bench, figures, COUNT_OF(figures));
}
