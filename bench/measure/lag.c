/* SPDX-License-Identifier: Apache-2.0 */
/* How far the read models are behind: from the answer that says a coupon is durable to the moment at which
 * Redis' checkpoint covers it, while a steady stream of issues goes into one hot campaign. */
#include "bench/measure/run_bench.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "bench/kit/child.h"
#include "bench/load/http_load.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/redis/redis.h"
#include "events/campaign.h"
#include "readmodel/keys.h"

enum {
    PER_SECOND = 10000,
    CONNECTIONS = 256,
    WARM_MS = 1000,
    TIMEOUT_MS = 5000,
    DRAIN_MS = 10000, /* for the models to come to the last coupon */
    IDLE_MS = 1000,
    LOOK_MS = 1, /* between two looks at the checkpoint: how exact the figure is */
    BODY_MAX = 64 * 1024
};

struct sighting {
    int64_t at_us, position;
};

/* Looks at one checkpoint again and again, in a thread of its own. */
struct watch {
    pthread_t thread;
    const char *redis_url;
    int16_t slice;
    atomic_bool over;
    atomic_int_least64_t seen; /* the position it saw last */
    struct sighting *sightings;
    size_t count, capacity;
};

struct stream {
    const struct bench *bench;
    const struct target *target;
    char path[128];
    int64_t start_us, issues; /* how many are to be sent */
    int64_t sent, odd;
    uint64_t number;
    struct sighting *answers; /* of the measured ones: when, which position */
    size_t count;
    int64_t last_position;
    int64_t first_us, last_us; /* answers of the measured time */
};

struct lag_runs {
    struct target command;
    struct series p50, p99, max, rate, redis_us;
};

/* --- Redis --- */

/* "12.045678" as Redis writes seconds: six digits behind the point. */
static int64_t seconds_in_us(struct span text)
{
    int64_t us = 0;
    for (size_t i = 0; i < text.len && text.ptr[i] != '\r'; i++)
        if (text.ptr[i] != '.')
            us = 10 * us + (text.ptr[i] - '0');
    return us;
}

/* Processor time of its main thread so far. */
static double redis_cpu_us(const struct bench *bench)
{
    char reason[128];
    struct redis_command command;
    const struct redis_reply *reply;
    struct redis *redis = redis_create(bench->options.redis_url, reason, sizeof reason);
    redis_command_init(&command);
    redis_arg_text(&command, "INFO");
    redis_arg_text(&command, "cpu");
    if (!redis || redis_connect(redis, clock_deadline_us(TIMEOUT_MS)) != REDIS_OK ||
        redis_call(redis, &command, clock_deadline_us(TIMEOUT_MS), &reply) != REDIS_OK)
        bench_die("Redis", redis ? redis_error(redis) : reason);
    int64_t us = 0;
    for (struct span rest = redis_text(reply); rest.ptr;) {
        struct span value = span_cut(&rest, '\n'), name = span_cut(&value, ':');
        if (span_is(name, "used_cpu_sys_main_thread") || span_is(name, "used_cpu_user_main_thread"))
            us += seconds_in_us(value);
    }
    redis_command_deinit(&command);
    redis_destroy(redis);
    return (double)us;
}

/* --- the checkpoint --- */

static int64_t ask(struct redis *redis, struct redis_command *command)
{
    const struct redis_reply *reply;
    int64_t value = 0;
    if (redis_call(redis, command, clock_deadline_us(TIMEOUT_MS), &reply) != REDIS_OK)
        bench_die("Redis", redis_error(redis));
    return parse_i64(redis_text(reply), 0, INT64_MAX, &value) ? value : 0; /* 0: not there yet */
}

static void ask_for_position(int16_t slice, struct redis_command *command)
{
    struct buf key;
    buf_init(&key, KEY_TEXT_MAX);
    key_root(&key, slice);
    redis_arg_text(command, "HGET");
    redis_arg(command, buf_span(&key));
    redis_arg_text(command, "pos");
    buf_deinit(&key);
}

static void see(struct watch *watch, int64_t position)
{
    if (watch->count > 0 && watch->sightings[watch->count - 1].position == position)
        return;
    CHECK(watch->count < watch->capacity);
    watch->sightings[watch->count++] = (struct sighting){clock_mono_us(), position};
    atomic_store(&watch->seen, position);
}

static void *watch_main(void *context)
{
    struct watch *watch = context;
    struct redis_command command;
    char reason[128];
    struct redis *redis = redis_create(watch->redis_url, reason, sizeof reason);
    if (!redis || redis_connect(redis, clock_deadline_us(TIMEOUT_MS)) != REDIS_OK)
        bench_die("Redis", redis ? redis_error(redis) : reason);
    redis_command_init(&command);
    ask_for_position(watch->slice, &command);
    while (!atomic_load(&watch->over)) {
        see(watch, ask(redis, &command));
        (void)poll(NULL, 0, LOOK_MS);
    }
    redis_command_deinit(&command);
    redis_destroy(redis);
    return NULL;
}

/* --- the issues --- */

static void write_issue(struct stream *stream, struct buf *request)
{
    char key[64], body[64];
    uint64_t number = stream->number++;
    snprintf(key, sizeof key, "lag-%" PRIu64, number);
    snprintf(body, sizeof body, "{\"user_id\":\"lag-%" PRIu64 "\"}", number);
    load_call_write(stream->target,
                    &(struct load_call_request){.method = "POST",
                                                .path = stream->path,
                                                .token = span_of(stream->bench->options.issue_token),
                                                .key = span_of(key),
                                                .body = span_of(body)},
                    request);
}

/* Each issue has its instant. One that is late because nothing was free goes out as soon as something is. */
static enum load_next stream_next(void *context, size_t idle, struct load_job *ret, struct buf *request)
{
    struct stream *stream = context;
    (void)idle;
    if (stream->sent == stream->issues)
        return LOAD_END;
    int64_t due_us = stream->start_us + stream->sent * US_PER_S / PER_SECOND;
    *ret = (struct load_job){.tag = (uint64_t)stream->sent, .due_us = due_us};
    if (clock_mono_us() < due_us)
        return LOAD_WAIT;
    write_issue(stream, request);
    stream->sent++;
    return LOAD_SEND;
}

static void stream_done(void *context, const struct load_result *result)
{
    struct stream *stream = context;
    struct position at;
    if (result->outcome != LOAD_ANSWERED || result->response.status != 201 ||
        !consistency_token_parse(result->response.token, &at)) {
        stream->odd++;
        return;
    }
    if (at.position > stream->last_position)
        stream->last_position = at.position;
    if (result->tag < WARM_MS * (uint64_t)PER_SECOND / 1000)
        return;
    if (stream->count == 0)
        stream->first_us = result->done_us;
    stream->last_us = result->done_us;
    stream->answers[stream->count++] = (struct sighting){result->done_us, at.position};
}

/* --- a round --- */

/* When the first look that found the position, or a later one, was over. */
static int64_t covered_us(const struct watch *watch, int64_t position)
{
    size_t low = 0, high = watch->count - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (watch->sightings[middle].position >= position)
            high = middle;
        else
            low = middle + 1;
    }
    return watch->sightings[low].at_us;
}

static void add_round(struct lag_runs *runs, const struct stream *stream, const struct watch *watch)
{
    int64_t *lags = mem_zalloc(stream->count * sizeof *lags);
    for (size_t i = 0; i < stream->count; i++) {
        int64_t lag_us = covered_us(watch, stream->answers[i].position) - stream->answers[i].at_us;
        lags[i] = lag_us > 0 ? lag_us : 0; /* the models may be there before the answer is */
    }
    series_sort_us(lags, stream->count);
    series_add(&runs->p50, (double)series_percentile_us(lags, stream->count, 500) / US_PER_MS);
    series_add(&runs->p99, (double)series_percentile_us(lags, stream->count, 990) / US_PER_MS);
    series_add(&runs->max, (double)lags[stream->count - 1] / US_PER_MS);
    series_add(&runs->rate, (double)stream->count * US_PER_S / (double)(stream->last_us - stream->first_us));
    mem_free(lags);
}

static void await_models(struct watch *watch, int64_t position)
{
    int64_t deadline_us = clock_deadline_us(DRAIN_MS);
    while (atomic_load(&watch->seen) < position) {
        if (clock_remaining_ms(deadline_us) == 0)
            bench_die("lag", "the models did not come to the last coupon within 10 s");
        (void)poll(NULL, 0, LOOK_MS);
    }
}

static void run_stream(struct bench *bench, struct stream *stream)
{
    struct load *load = load_create(&(struct load_options){.target = stream->target,
                                                           .connections = CONNECTIONS,
                                                           .timeout_ms = TIMEOUT_MS,
                                                           .body_max = BODY_MAX},
                                    &(struct load_driver){stream_next, stream_done, stream});
    if (!load)
        bench_die("the load", "epoll is not available");
    stream->start_us = clock_mono_us();
    load_run(load, stream->start_us + 4 * stream->issues * US_PER_S / PER_SECOND + TIMEOUT_MS * US_PER_MS);
    load_destroy(load);
    bench->number = stream->number;
    if (stream->odd)
        bench_say("lag: %" PRId64 " issues without a 201", stream->odd);
    if (stream->count < 2)
        bench_die("lag", "nothing could be measured");
}

static void lag_round(struct bench *bench, struct lag_runs *runs)
{
    struct stream stream = {.bench = bench,
                            .target = &runs->command,
                            .issues = (WARM_MS + bench->options.sample_ms) * PER_SECOND / 1000,
                            .number = bench->number};
    const char *campaign = bench_campaign(bench, &runs->command, QUANTITY_MAX, -1);
    snprintf(stream.path, sizeof stream.path, "/v1/campaigns/%s/coupons", campaign);
    stream.answers = mem_zalloc((size_t)stream.issues * sizeof *stream.answers);
    struct watch watch = {.redis_url = bench->options.redis_url,
                          .slice = slice_of(span_of(campaign)),
                          .capacity = (size_t)stream.issues + 2};
    watch.sightings = mem_zalloc(watch.capacity * sizeof *watch.sightings);
    CHECK(pthread_create(&watch.thread, NULL, watch_main, &watch) == 0);
    /* What it costs to be looked at, which is not the product's. */
    double idle_us = redis_cpu_us(bench);
    (void)poll(NULL, 0, IDLE_MS);
    double from_us = redis_cpu_us(bench);
    int64_t start_us = clock_mono_us();
    run_stream(bench, &stream);
    await_models(&watch, stream.last_position);
    double looks_us = (from_us - idle_us) * (double)(clock_mono_us() - start_us) / (IDLE_MS * US_PER_MS);
    series_add(&runs->redis_us, (redis_cpu_us(bench) - from_us - looks_us) / (double)stream.issues);
    atomic_store(&watch.over, true);
    CHECK(pthread_join(watch.thread, NULL) == 0);
    add_round(runs, &stream, &watch);
    mem_free(watch.sightings);
    mem_free(stream.answers);
}

static void print_lag(const struct bench *bench, const struct lag_runs *runs)
{
    struct figure figures[] = {
        {"from the 201 to Redis' checkpoint at it, p99", "ms", runs->p99, "<= 10"},
        {"the same, p50", "ms", runs->p50},
        {"the same, the worst of all", "ms", runs->max},
        {"processor time of Redis for each issue that is followed", "us", runs->redis_us, "<= 3"},
        {"issues answered meanwhile, one hot campaign, 10,000/s wanted", "1/s", runs->rate},
    };
    if (series_median(&runs->rate) < 0.98 * PER_SECOND)
        snprintf(figures[0].note, sizeof figures[0].note,
                 "this machine could not: %.0f of %d issues/s, so this is the lag of a full machine",
                 series_median(&runs->rate), PER_SECOND);
    bench_print_all(bench, figures, COUNT_OF(figures));
}

void bench_lag(struct bench *bench)
{
    static struct lag_runs runs;
    bench_target(bench, BENCH_PORT_COMMAND, &runs.command);
    pid_t service = bench_start(bench, "command-service", BENCH_PORT_COMMAND, NULL);
    for (int64_t round = 0; round < bench->options.rounds; round++) {
        bench_say("lag, round %" PRId64 " of %" PRId64, round + 1, bench->options.rounds);
        lag_round(bench, &runs);
    }
    child_stop(service);
    print_lag(bench, &runs);
}
