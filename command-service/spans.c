/* SPDX-License-Identifier: Apache-2.0 */
/* Making the spans; what is not sampled costs a comparison. */
#include "command-service/spans.h"

#include "common/base/clock.h"
#include "common/trace.h"

_Static_assert(TRACE_BYTES == TRACE_ID_BYTES + TRACE_SPAN_BYTES, "an event keeps both");

static const uint8_t *span_of_command(const struct command *command)
{
    return command->trace_bytes + TRACE_ID_BYTES;
}

void spans_begin(struct command *command, bool sampled)
{
    if (!trace_on())
        return;
    command->sampled = sampled;
    memcpy(command->caller_span, span_of_command(command), TRACE_SPAN_BYTES);
    memset(command->trace_bytes + TRACE_ID_BYTES, 0, TRACE_SPAN_BYTES);
    if (sampled)
        trace_new_id(command->trace_bytes + TRACE_ID_BYTES);
}

void spans_answer(const struct command *command, int status)
{
    if (!command->sampled || !trace_on())
        return;
    struct trace_span span = {.name = command_name(command->kind),
                              .kind = TRACE_SERVER,
                              .begin_us = trace_wall_us(command->received_us),
                              .end_us = clock_wall_us(),
                              .failed = status >= 500,
                              .attribute = "http.response.status_code",
                              .value = status};
    memcpy(span.trace, command->trace_bytes, TRACE_ID_BYTES);
    memcpy(span.id, span_of_command(command), TRACE_SPAN_BYTES);
    memcpy(span.parent, command->caller_span, TRACE_SPAN_BYTES);
    trace_put(&span);
}

static void put_queue(const struct command *command, int64_t begin_us)
{
    struct trace_span span = {.name = "queue",
                              .kind = TRACE_INTERNAL,
                              .begin_us = trace_wall_us(command->received_us),
                              .end_us = trace_wall_us(begin_us)};
    memcpy(span.trace, command->trace_bytes, TRACE_ID_BYTES);
    memcpy(span.parent, span_of_command(command), TRACE_SPAN_BYTES);
    trace_new_id(span.id);
    trace_put(&span);
}

static void put_commit(const struct trace_span *batch, int64_t committing_us)
{
    struct trace_span span = {.name = "commit",
                              .kind = TRACE_CLIENT,
                              .begin_us = trace_wall_us(committing_us),
                              .end_us = batch->end_us,
                              .failed = batch->failed};
    memcpy(span.trace, batch->trace, TRACE_ID_BYTES);
    memcpy(span.parent, batch->id, TRACE_SPAN_BYTES);
    trace_new_id(span.id);
    trace_put(&span);
}

void spans_batch(const struct batch *batch, int64_t begin_us, int64_t committing_us, bool failed)
{
    if (!trace_on())
        return;
    struct trace_span span = {.name = "batch",
                              .kind = TRACE_INTERNAL,
                              .begin_us = trace_wall_us(begin_us),
                              .end_us = clock_wall_us(),
                              .failed = failed,
                              .attribute = "firstcome.batch.commands",
                              .value = (int64_t)batch->count};
    for (size_t i = 0; i < batch->count; i++) {
        const struct command *command = batch->commands[i];
        if (!command->sampled)
            continue;
        put_queue(command, begin_us);
        if (span.links_count == TRACE_LINKS_MAX)
            continue;
        struct trace_link *link = &span.links[span.links_count++];
        memcpy(link->trace, command->trace_bytes, TRACE_ID_BYTES);
        memcpy(link->span, span_of_command(command), TRACE_SPAN_BYTES);
    }
    if (span.links_count == 0)
        return;
    trace_new_id(span.trace);
    trace_new_id(span.trace + TRACE_SPAN_BYTES);
    trace_new_id(span.id);
    trace_put(&span);
    if (committing_us)
        put_commit(&span, committing_us);
}
