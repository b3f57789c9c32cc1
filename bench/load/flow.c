/* SPDX-License-Identifier: Apache-2.0 */
/* The driver of a steady flow. */
#include "bench/load/flow.h"

#include "bench/kit/series.h"
#include "bench/load/http_load.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

enum { PLACES_MAX = 4, TIMEOUT_MS = 5000, BODY_MAX = 64 * 1024, LATENCIES_FIRST = 64 * 1024 };

/* Above these shares of the wall time. */
static const double busy_bound = 0.85, full_bound = 0.9;

struct flow {
    const struct flow_options *options;
    struct buf request;
    size_t places[PLACES_MAX], places_count;
    int64_t start_us, from_us, until_us, sent;
    uint64_t number;
    struct flow_result *result;
    int64_t *latencies;
    size_t latencies_count, latencies_capacity;
};

/* Multiplying by a number without the factors 2 and 5 is a permutation below a power of ten. */
void flow_number_write(char at[FLOW_NUMBER_DIGITS], uint64_t number)
{
    const uint64_t range = UINT64_C(10000000000), factor = 618033989;
    number = number % range * factor % range;
    for (size_t i = FLOW_NUMBER_DIGITS; i-- > 0; number /= 10)
        at[i] = (char)('0' + number % 10);
}

static void find_places(struct flow *flow)
{
    size_t at = 0;
    const char *found;
    while (
        (found = memmem(flow->request.data + at, flow->request.len - at, FLOW_NUMBER, FLOW_NUMBER_DIGITS))) {
        CHECK(flow->places_count < PLACES_MAX);
        at = (size_t)(found - flow->request.data);
        flow->places[flow->places_count++] = at;
        at += FLOW_NUMBER_DIGITS;
    }
}

static enum load_next next(void *context, size_t idle, struct load_job *ret, struct buf *request)
{
    struct flow *flow = context;
    (void)idle;
    int64_t now_us = clock_mono_us(), due_us = 0;
    if (now_us >= flow->until_us)
        return LOAD_END;
    if (flow->options->per_second) {
        due_us = flow->start_us + flow->sent * US_PER_S / flow->options->per_second;
        *ret = (struct load_job){.due_us = due_us};
        if (now_us < due_us)
            return LOAD_WAIT;
    }
    buf_append_span(request, buf_span(&flow->request));
    for (size_t i = 0; i < flow->places_count; i++)
        flow_number_write(request->data + flow->places[i], flow->number);
    *ret = (struct load_job){.tag = flow->number++, .due_us = due_us};
    flow->sent++;
    return LOAD_SEND;
}

static void keep_latency(struct flow *flow, int64_t us)
{
    if (flow->latencies_count == flow->latencies_capacity) {
        flow->latencies_capacity = flow->latencies_capacity ? 2 * flow->latencies_capacity : LATENCIES_FIRST;
        flow->latencies = mem_realloc(flow->latencies, flow->latencies_capacity * sizeof *flow->latencies);
    }
    flow->latencies[flow->latencies_count++] = us;
}

static void done(void *context, const struct load_result *result)
{
    struct flow *flow = context;
    if (result->done_us < flow->from_us || result->done_us >= flow->until_us)
        return;
    if (result->outcome != LOAD_ANSWERED) {
        flow->result->failed++;
    } else if (result->response.status != flow->options->wanted_status) {
        flow->result->odd++;
        flow->result->odd_status = result->response.status;
    } else {
        flow->result->wanted++;
        keep_latency(flow, result->done_us - result->intended_us);
    }
}

static void sum_up(struct flow *flow, const struct load_stats *stats)
{
    struct flow_result *ret = flow->result;
    double wall_us = stats->wall_us > 0 ? (double)stats->wall_us : 1;
    series_sort_us(flow->latencies, flow->latencies_count);
    ret->p50_us = series_percentile_us(flow->latencies, flow->latencies_count, 500);
    ret->p99_us = series_percentile_us(flow->latencies, flow->latencies_count, 990);
    ret->per_second = (double)ret->wanted * 1000 / (double)flow->options->measure_ms;
    ret->client_busy = (double)stats->cpu_us / wall_us;
    ret->client_waited = (double)stats->run_delay_us / wall_us;
    ret->next_number = flow->number;
}

bool flow_run(const struct flow_options *options, struct flow_result *ret)
{
    struct flow flow = {.options = options, .number = options->first_number, .result = ret};
    struct load_options load_options = {.target = options->target,
                                        .connections = options->connections,
                                        .timeout_ms = TIMEOUT_MS,
                                        .body_max = BODY_MAX};
    struct load_driver driver = {.next = next, .done = done, .context = &flow};
    *ret = (struct flow_result){.next_number = options->first_number};
    struct load *load = load_create(&load_options, &driver);
    if (!load)
        return false;
    buf_init(&flow.request, LOAD_REQUEST_MAX);
    load_call_write(options->target, &options->request, &flow.request);
    CHECK(!flow.request.overflow);
    find_places(&flow);
    flow.start_us = clock_mono_us();
    flow.from_us = flow.start_us + options->warm_ms * US_PER_MS;
    flow.until_us = flow.from_us + options->measure_ms * US_PER_MS;
    load_run(load, flow.until_us + TIMEOUT_MS * US_PER_MS);
    sum_up(&flow, load_stats(load));
    load_destroy(load);
    buf_deinit(&flow.request);
    mem_free(flow.latencies);
    return true;
}

const char *flow_limit(const struct flow_result *result)
{
    if (result->client_busy >= busy_bound)
        return "client-bound";
    return result->client_busy + result->client_waited >= full_bound ? "machine-full" : "";
}
