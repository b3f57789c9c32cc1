/* SPDX-License-Identifier: Apache-2.0 */
/* A load whose driver goes by the clock. */
#include "tests/lib/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bench/kit/series.h"
#include "bench/load/http_load.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

enum { LOAD_MS = 600000, REQUEST_MS = 10000 };

static enum load_next stream_next(void *context, size_t idle, struct load_job *ret, struct buf *request)
{
    struct stream *stream = context;
    int64_t rate = stream->rate, now_us = clock_mono_us();
    (void)idle;
    if (rate == 0)
        return LOAD_END;
    if (stream->due_us > now_us) {
        *ret = (struct load_job){.due_us = stream->due_us};
        return LOAD_WAIT;
    }
    struct load_call_request is = {.token = span_of(stream->token)};
    stream->write(stream->number, &is);
    load_call_write(&stream->target, &is, request);
    *ret = (struct load_job){.tag = stream->number++, .due_us = stream->due_us};
    stream->due_us += US_PER_S / rate;
    return LOAD_SEND;
}

static void stream_done(void *context, const struct load_result *result)
{
    struct stream *stream = context;
    size_t at = stream->answers_count;
    int status = result->outcome == LOAD_ANSWERED ? result->response.status : -(int)result->outcome;
    if (at < STREAM_ANSWERS_MAX) {
        stream->answers[at] =
            (struct stream_answer){result->intended_us, result->sent_us, result->done_us, status};
        stream->answers_count = at + 1;
    }
    if (status == stream->wanted_status) {
        stream->good++;
        return;
    }
    stream->bad_status = status;
    stream->bad++;
}

static void *stream_run(void *context)
{
    struct stream *stream = context;
    struct load_options options = {.target = &stream->target,
                                   .connections =
                                       stream->connections ? stream->connections : STREAM_CONNECTIONS,
                                   .timeout_ms = REQUEST_MS,
                                   .body_max = 1 << 20};
    struct load_driver driver = {stream_next, stream_done, stream};
    struct load *load = load_create(&options, &driver);
    CHECK(load != NULL);
    stream->due_us = clock_mono_us();
    load_run(load, clock_deadline_us(LOAD_MS));
    load_destroy(load);
    return NULL;
}

void stream_start(struct stream *stream, const char *url, int64_t rate)
{
    char reason[128];
    assert_true(target_init(&stream->target, url, reason, sizeof reason));
    stream->rate = rate;
    assert_int_equal(pthread_create(&stream->thread, NULL, stream_run, stream), 0);
}

void stream_end(struct stream *stream)
{
    stream->rate = 0;
    pthread_join(stream->thread, NULL);
}

void stream_stop(struct stream *stream)
{
    stream_end(stream);
    if (stream->bad)
        fail_msg("%s: %llu were not answered as they should, for instance with %d", stream->name,
                 (unsigned long long)stream->bad, stream->bad_status);
}

size_t stream_mark(const struct stream *stream)
{
    return stream->answers_count;
}

int64_t stream_percentile_us(const struct stream *stream, size_t from, size_t to, unsigned per_mille)
{
    CHECK(from <= to && to <= STREAM_ANSWERS_MAX);
    size_t count = to - from;
    int64_t *sorted = mem_alloc((count + 1) * sizeof *sorted);
    for (size_t i = 0; i < count; i++)
        sorted[i] = stream->answers[from + i].done_us - stream->answers[from + i].due_us;
    series_sort_us(sorted, count);
    int64_t is = series_percentile_us(sorted, count, per_mille);
    mem_free(sorted);
    return is;
}

static double percentile_ms(const struct stream *stream, size_t from, size_t to, unsigned per_mille)
{
    return (double)stream_percentile_us(stream, from, to, per_mille) / US_PER_MS;
}

void stream_print(const struct stream *stream, const char *phase, size_t from, size_t to)
{
    print_message("%s, %s: %zu answered, p50 %.1f ms, p95 %.1f ms, p99 %.1f ms, longest %.1f ms\n",
                  stream->name, phase, to - from, percentile_ms(stream, from, to, 500),
                  percentile_ms(stream, from, to, 950), percentile_ms(stream, from, to, 990),
                  percentile_ms(stream, from, to, 1000));
}
