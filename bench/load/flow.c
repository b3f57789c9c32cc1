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

/* A request with the places of its numbers. */
struct template
{
    struct buf text;
    size_t places[PLACES_MAX], places_count;
};

struct latencies {
    int64_t *us;
    size_t count, capacity;
};

struct flow {
    const struct flow_options *options;
    struct template *templates;
    size_t templates_count;
    int64_t start_us, from_us, until_us, sent;
    uint64_t number;
    struct flow_result *result;
    struct latencies wanted, refused;
};

/* Multiplying by a number without the factors 2 and 5 is a permutation below a power of ten. */
void flow_number_write(char at[FLOW_NUMBER_DIGITS], uint64_t number)
{
    const uint64_t range = UINT64_C(10000000000), factor = 618033989;
    number = number % range * factor % range;
    for (size_t i = FLOW_NUMBER_DIGITS; i-- > 0; number /= 10)
        at[i] = (char)('0' + number % 10);
}

static void find_places(struct template *template)
{
    size_t at = 0;
    const char *found;
    while ((found =
                memmem(template->text.data + at, template->text.len - at, FLOW_NUMBER, FLOW_NUMBER_DIGITS))) {
        CHECK(template->places_count < PLACES_MAX);
        at = (size_t)(found - template->text.data);
        template->places[template->places_count++] = at;
        at += FLOW_NUMBER_DIGITS;
    }
}

static void templates_init(struct flow *flow)
{
    const struct flow_options *options = flow->options;
    flow->templates_count = options->paths ? options->paths_count : 1;
    flow->templates = mem_zalloc(flow->templates_count * sizeof *flow->templates);
    for (size_t i = 0; i < flow->templates_count; i++) {
        struct template *template = &flow->templates[i];
        struct load_call_request request = options->request;
        if (options->paths)
            request.path = options->paths[i];
        buf_init(&template->text, LOAD_REQUEST_MAX);
        load_call_write(options->target, &request, &template->text);
        CHECK(!template->text.overflow);
        find_places(template);
    }
}

static void templates_deinit(struct flow *flow)
{
    for (size_t i = 0; i < flow->templates_count; i++)
        buf_deinit(&flow->templates[i].text);
    mem_free(flow->templates);
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
    const struct template *template = &flow->templates[flow->number % flow->templates_count];
    buf_append_span(request, buf_span(&template->text));
    for (size_t i = 0; i < template->places_count; i++)
        flow_number_write(request->data + template->places[i], flow->number);
    *ret = (struct load_job){.tag = flow->number++, .due_us = due_us};
    flow->sent++;
    return LOAD_SEND;
}

static void keep_latency(struct latencies *latencies, int64_t us)
{
    if (latencies->count == latencies->capacity) {
        latencies->capacity = latencies->capacity ? 2 * latencies->capacity : LATENCIES_FIRST;
        latencies->us = mem_realloc(latencies->us, latencies->capacity * sizeof *latencies->us);
    }
    latencies->us[latencies->count++] = us;
}

static void done(void *context, const struct load_result *result)
{
    struct flow *flow = context;
    int64_t late_us = flow->options->late_us;
    if (late_us && result->outcome == LOAD_ANSWERED && result->done_us - result->sent_us > late_us)
        flow->result->late++;
    if (result->done_us < flow->from_us || result->done_us >= flow->until_us)
        return;
    if (result->outcome != LOAD_ANSWERED) {
        flow->result->failed++;
    } else if (result->response.status == flow->options->refused_status) {
        flow->result->refused++;
        keep_latency(&flow->refused, result->done_us - result->sent_us);
    } else if (result->response.status != flow->options->wanted_status) {
        flow->result->odd++;
        flow->result->odd_status = result->response.status;
    } else {
        flow->result->wanted++;
        keep_latency(&flow->wanted, result->done_us - result->intended_us);
    }
}

static void sum_up(struct flow *flow, const struct load_stats *stats)
{
    struct flow_result *ret = flow->result;
    double wall_us = stats->wall_us > 0 ? (double)stats->wall_us : 1;
    series_sort_us(flow->wanted.us, flow->wanted.count);
    series_sort_us(flow->refused.us, flow->refused.count);
    ret->p50_us = series_percentile_us(flow->wanted.us, flow->wanted.count, 500);
    ret->p99_us = series_percentile_us(flow->wanted.us, flow->wanted.count, 990);
    ret->refused_p50_us = series_percentile_us(flow->refused.us, flow->refused.count, 500);
    ret->refused_p99_us = series_percentile_us(flow->refused.us, flow->refused.count, 990);
    ret->per_second = (double)ret->wanted * 1000 / (double)flow->options->measure_ms;
    ret->client_busy = (double)stats->cpu_us / wall_us;
    ret->client_waited = (double)stats->run_delay_us / wall_us;
    ret->next_number = flow->number;
}

bool flow_run(const struct flow_options *options, struct flow_result *ret)
{
    int64_t timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS;
    struct flow flow = {.options = options, .number = options->first_number, .result = ret};
    struct load_options load_options = {.target = options->target,
                                        .connections = options->connections,
                                        .timeout_ms = timeout_ms,
                                        .body_max = BODY_MAX};
    struct load_driver driver = {.next = next, .done = done, .context = &flow};
    *ret = (struct flow_result){.next_number = options->first_number};
    struct load *load = load_create(&load_options, &driver);
    if (!load)
        return false;
    templates_init(&flow);
    flow.start_us = clock_mono_us();
    flow.from_us = flow.start_us + options->warm_ms * US_PER_MS;
    flow.until_us = flow.from_us + options->measure_ms * US_PER_MS;
    load_run(load, flow.until_us + timeout_ms * US_PER_MS);
    sum_up(&flow, load_stats(load));
    load_destroy(load);
    templates_deinit(&flow);
    mem_free(flow.wanted.us);
    mem_free(flow.refused.us);
    return true;
}

const char *flow_limit(const struct flow_result *result)
{
    if (result->client_busy >= busy_bound)
        return "client-bound";
    return result->client_busy + result->client_waited >= full_bound ? "machine-full" : "";
}
