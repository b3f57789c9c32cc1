/* SPDX-License-Identifier: Apache-2.0 */
/* Starting what is measured, and the requests that measurements have in common. */
#include "bench/measure/run_bench.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/kit/child.h"
#include "bench/kit/scratch.h"
#include "bench/load/connection.h"
#include "bench/measure/results.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/json.h"
#include "events/ids.h"

enum {
    PATH_BYTES = 4096,
    READY_MS = 30000,
    CALL_MS = 5000,
    WARM_MS = 700,
    CAMPAIGN_SUFFIXES = 10000,
    REQUEST_MAX = 8192
};

_Noreturn void bench_die(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(2);
}

void bench_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "bench: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
}

void bench_print(const struct bench *bench, const struct figure *figure)
{
    struct buf out;
    struct figure whole = *figure;
    whole.metric = bench->metric;
    whole.goal = whole.goal ? whole.goal : "";
    whole.baseline = whole.baseline ? whole.baseline : "";
    buf_init(&out, 16 * 1024);
    if (bench->options.json)
        figure_write_json(&whole, &out);
    else
        figure_write_text(&whole, &out);
    fwrite(out.data, 1, out.len, stdout);
    fflush(stdout);
    buf_deinit(&out);
    results_add(bench, &whole);
}

void bench_print_all(const struct bench *bench, const struct figure *figures, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bench_print(bench, &figures[i]);
}

/* --- Programs --- */

void bench_target(const struct bench *bench, enum bench_port port, struct target *ret)
{
    char url[64], reason[128];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", (int)bench->options.port_base + (int)port);
    if (!target_init(ret, url, reason, sizeof reason))
        bench_die(url, reason);
}

/* The marker makes tools/stack take the process for one of its own, so that it ends with the stack. */
static pid_t spawn(const struct bench *bench, const char *program, enum bench_port port, const char *database,
                   const char *const *flags)
{
    enum { ARGUMENTS_MAX = 24 };
    const char *argv[ARGUMENTS_MAX] = {NULL};
    size_t count = 0;
    char path[PATH_BYTES], log[PATH_BYTES], port_text[32], marker[PATH_BYTES], url[PATH_BYTES];
    char url_variable[PATH_BYTES + 16];
    const struct bench_options *is = &bench->options;
    snprintf(path, sizeof path, "%s/%s", is->bin_dir, program);
    snprintf(log, sizeof log, "%s/log/bench-%s.log", is->run_dir, program);
    snprintf(port_text, sizeof port_text, "%d", (int)is->port_base + (int)port);
    snprintf(marker, sizeof marker, "FIRSTCOME_PROCESS=command-service@%s", is->run_dir);
    bool reader = strcmp(program, "query-service") == 0;
    snprintf(url, sizeof url, "%s", reader ? is->query_database_url : is->command_database_url);
    if (database)
        scratch_url(is->command_database_url, database, url, sizeof url);
    snprintf(url_variable, sizeof url_variable, "DATABASE_URL=%s", url);
    argv[count++] = path;
    argv[count++] = "--port";
    argv[count++] = port_text;
    for (; flags && *flags && count < ARGUMENTS_MAX - 1; flags++)
        argv[count++] = *flags;
    /* Only the product's database has somebody who listens to hints about it. */
    const char *environment[] = {marker, url_variable, database ? "FIRSTCOME_BUS_URL=" : NULL, NULL};
    return child_start(&(struct child_spec){.argv = argv, .environment = environment, .output_path = log});
}

pid_t bench_spawn(const struct bench *bench, const char *program, enum bench_port port, const char *database)
{
    return spawn(bench, program, port, database, NULL);
}

static bool is_ready(const struct target *target)
{
    struct connection call;
    struct buf request;
    struct http_response response = {0};
    connection_init(&call, target);
    buf_init(&request, 1024);
    load_call_write(target, &(struct load_call_request){.method = "GET", .path = "/readyz"}, &request);
    bool ready = connection_call(&call, buf_span(&request), clock_deadline_us(CALL_MS), &response) ==
                     EXCHANGE_ANSWERED &&
                 response.status == 200;
    buf_deinit(&request);
    connection_deinit(&call);
    return ready;
}

static bool is_listening(const struct target *target)
{
    int fd = target_connect(target);
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    if (fd < 0)
        return false;
    bool up = poll(&writable, 1, CALL_MS) == 1 && !(writable.revents & (POLLERR | POLLHUP));
    close(fd);
    return up;
}

void bench_await_listener(const struct target *target, const char *who)
{
    int64_t deadline_us = clock_deadline_us(READY_MS);
    while (!is_listening(target)) {
        if (clock_remaining_ms(deadline_us) == 0)
            bench_die(who, "does not listen; see its log (KEEP=1 keeps it)");
        (void)poll(NULL, 0, 10);
    }
}

static pid_t start(const struct bench *bench, const char *program, enum bench_port port, const char *database,
                   const char *const *flags)
{
    struct target target;
    int64_t deadline_us = clock_deadline_us(READY_MS);
    pid_t pid = spawn(bench, program, port, database, flags);
    bench_target(bench, port, &target);
    while (!is_ready(&target)) {
        if (clock_remaining_ms(deadline_us) == 0)
            bench_die(program, "is not ready; see its log (KEEP=1 keeps it)");
        (void)poll(NULL, 0, 10);
    }
    return pid;
}

pid_t bench_start(const struct bench *bench, const char *program, enum bench_port port, const char *database)
{
    return start(bench, program, port, database, NULL);
}

pid_t bench_start_with(const struct bench *bench, const char *program, enum bench_port port,
                       const char *const *flags)
{
    return start(bench, program, port, NULL, flags);
}

/* --- Requests --- */

static void write_campaign(const struct bench *bench, const struct target *target, const char *id,
                           int64_t quantity, struct buf *request)
{
    struct buf body;
    buf_init(&body, 1024);
    json_open(&body, NULL, '{');
    json_put_string(&body, "id", span_of(id));
    json_put_string(&body, "name", SPAN("Bench"));
    json_put_raw(&body, "discount", SPAN("{\"type\":\"percent\",\"percent\":10}"));
    json_put_string(&body, "currency", SPAN("EUR"));
    json_put_int(&body, "quantity", quantity);
    json_close(&body, '}');
    load_call_write(target,
                    &(struct load_call_request){.method = "POST",
                                                .path = "/v1/campaigns",
                                                .token = span_of(bench->options.admin_token),
                                                .key = span_of(id),
                                                .body = buf_span(&body)},
                    request);
    buf_deinit(&body);
}

static int send_once(const struct target *target, struct span request)
{
    struct connection call;
    struct http_response response = {0};
    connection_init(&call, target);
    bool answered =
        connection_call(&call, request, clock_deadline_us(CALL_MS), &response) == EXCHANGE_ANSWERED;
    connection_deinit(&call);
    return answered ? response.status : 0;
}

const char *bench_campaign(struct bench *bench, const struct target *target, int64_t quantity, int16_t slice)
{
    static char id[CAMPAIGN_ID_MAX + 1];
    struct buf request;
    unsigned tries = 0;
    do {
        CHECK(tries++ < CAMPAIGN_SUFFIXES);
        snprintf(id, sizeof id, "bench-%08x-%u", bench->run, ++bench->campaigns);
    } while (slice >= 0 && slice_of(span_of(id)) != slice);
    buf_init(&request, REQUEST_MAX);
    write_campaign(bench, target, id, quantity, &request);
    int status = send_once(target, buf_span(&request));
    buf_deinit(&request);
    if (status != 201) {
        char why[64];
        snprintf(why, sizeof why, "the answer is %d", status);
        bench_die("creating a campaign", why);
    }
    return id;
}

struct bench_running {
    pthread_t thread;
    char path[128];
    struct flow_options options;
    struct flow_result *result;
    bool started; /* epoll was there */
};

static void *flow_main(void *context)
{
    struct bench_running *self = context;
    self->started = flow_run(&self->options, self->result);
    return NULL;
}

/* Far enough apart that no user or key of one flow is one of another's. */
static const uint64_t numbers_apart = 500000000;

static void flow_begin(const struct bench *bench, const struct bench_flow *flow, size_t index,
                       struct bench_running *ret)
{
    bool reads = flow->read || flow->reads;
    snprintf(ret->path, sizeof ret->path, "/v1/campaigns/%s/coupons", flow->campaign ? flow->campaign : "");
    ret->options = (struct flow_options){
        .target = flow->target,
        .request = {.method = reads ? "GET" : "POST",
                    .path = flow->read       ? flow->read
                            : flow->campaign ? ret->path
                                             : flow->path,
                    .token = span_of(reads ? bench->options.admin_token : bench->options.issue_token)},
        .paths = reads ? flow->reads : flow->posts,
        .paths_count = reads ? flow->reads_count : flow->posts_count,
        .wanted_status = flow->wanted_status,
        .refused_status = flow->refused_status,
        .late_us = flow->late_us,
        .timeout_ms = flow->timeout_ms,
        .connections = flow->connections,
        .per_second = flow->per_second,
        .warm_ms = flow->warm_ms ? flow->warm_ms : WARM_MS,
        .measure_ms = flow->measure_ms ? flow->measure_ms : bench->options.sample_ms,
        .first_number = flow->first_number ? flow->first_number : bench->number + index * numbers_apart,
    };
    if (!reads) {
        ret->options.request.key = SPAN("bench-key-" FLOW_NUMBER);
        ret->options.request.body =
            flow->body ? span_of(flow->body) : SPAN("{\"user_id\":\"bench-" FLOW_NUMBER "\"}");
    }
    CHECK(pthread_create(&ret->thread, NULL, flow_main, ret) == 0);
}

static void flow_end(struct bench_running *flow)
{
    const struct flow_result *result = flow->result;
    const char *path = flow->options.paths ? flow->options.paths[0] : flow->options.request.path;
    CHECK(pthread_join(flow->thread, NULL) == 0);
    if (!flow->started)
        bench_die("the load", "epoll is not available");
    if (result->odd || result->failed)
        bench_say("%s: %" PRIu64 " unexpected answers (for instance %d), %" PRIu64 " without an answer", path,
                  result->odd, result->odd_status, result->failed);
    if (result->wanted == 0 && !flow->options.late_us) /* nothing on time is a figure, too */
        bench_die(path, "nothing could be measured, see above");
}

void bench_flows(struct bench *bench, const struct bench_flow *flows, size_t count, struct flow_result *ret)
{
    struct bench_running running[BENCH_FLOWS_MAX];
    CHECK(count >= 1 && count <= BENCH_FLOWS_MAX);
    for (size_t i = 0; i < count; i++) {
        running[i] = (struct bench_running){.result = &ret[i]};
        flow_begin(bench, &flows[i], i, &running[i]);
    }
    for (size_t i = 0; i < count; i++)
        flow_end(&running[i]);
    if (!flows[count - 1].first_number)
        bench->number = ret[count - 1].next_number;
}

struct bench_running *bench_flow_start(const struct bench *bench, const struct bench_flow *flow,
                                       struct flow_result *ret)
{
    struct bench_running *running = mem_zalloc(sizeof *running);
    running->result = ret;
    flow_begin(bench, flow, 0, running);
    return running;
}

void bench_flow_await(struct bench *bench, struct bench_running *running)
{
    flow_end(running);
    bench->number = running->result->next_number;
    mem_free(running);
}

void bench_note_client(struct figure *figure, const char *whose, const struct flow_result *result)
{
    const char *limit = flow_limit(result);
    size_t used = strlen(figure->note);
    snprintf(figure->note + used, sizeof figure->note - used,
             "%s%s: load thread %.0f %% computing, %.0f %% waiting for a processor%s%s", used ? "; " : "",
             whose, 100 * result->client_busy, 100 * result->client_waited, limit[0] ? ": " : "", limit);
}

void bench_flow(struct bench *bench, const struct bench_flow *flow, struct flow_result *ret)
{
    bench_flows(bench, flow, 1, ret);
}

int bench_issue_once(const struct bench *bench, const struct target *target, const char *campaign,
                     uint64_t number)
{
    char path[128], key[64], body[64];
    struct buf request;
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", campaign);
    snprintf(key, sizeof key, "once-%" PRIu64, number);
    snprintf(body, sizeof body, "{\"user_id\":\"once-%" PRIu64 "\"}", number);
    buf_init(&request, REQUEST_MAX);
    load_call_write(target,
                    &(struct load_call_request){.method = "POST",
                                                .path = path,
                                                .token = span_of(bench->options.issue_token),
                                                .key = span_of(key),
                                                .body = span_of(body)},
                    &request);
    int status = send_once(target, buf_span(&request));
    buf_deinit(&request);
    return status;
}
