/* SPDX-License-Identifier: Apache-2.0 */
/* A short list of events on their way; each becomes a span when its slice is confirmed beyond it. */
#include "projector/run/spans.h"

#include "common/base/clock.h"
#include "common/trace.h"

void spans_sent(struct spans *spans, struct position at, struct span trace, int64_t recorded_us)
{
    static const uint8_t not_sampled[TRACE_SPAN_BYTES];
    enum {
        OLD_US = 60000000
    }; /* read again after a loss of models: whoever asked for it was answered long ago */
    if (!trace_on() || trace.len != TRACE_BYTES || spans->count == SPANS_PENDING_MAX ||
        clock_wall_us() - recorded_us > OLD_US ||
        memcmp(trace.ptr + TRACE_ID_BYTES, not_sampled, TRACE_SPAN_BYTES) == 0)
        return;
    spans->pending[spans->count].at = at;
    spans->pending[spans->count].recorded_us = recorded_us;
    memcpy(spans->pending[spans->count++].trace, trace.ptr, TRACE_BYTES);
}

static void put(const uint8_t *trace, int64_t begin_us)
{
    struct trace_span span = {
        .name = "projection", .kind = TRACE_INTERNAL, .begin_us = begin_us, .end_us = clock_wall_us()};
    memcpy(span.trace, trace, TRACE_ID_BYTES);
    memcpy(span.parent, trace + TRACE_ID_BYTES, TRACE_SPAN_BYTES);
    trace_new_id(span.id);
    trace_put(&span);
}

void spans_confirmed(struct spans *spans, struct position at, int64_t ahead_us)
{
    size_t kept = 0;
    for (size_t i = 0; i < spans->count; i++) {
        if (spans->pending[i].at.slice == at.slice && spans->pending[i].at.position <= at.position)
            put(spans->pending[i].trace, spans->pending[i].recorded_us - ahead_us);
        else
            spans->pending[kept++] = spans->pending[i];
    }
    spans->count = kept;
}

void spans_forget(struct spans *spans)
{
    spans->count = 0;
}
