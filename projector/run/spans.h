/* SPDX-License-Identifier: Apache-2.0 */
/* Spans of the way from COMMIT into the models, for events of sampled requests (command-service/spans.h says
 * how an event shows that). Does nothing unless trace_on(). One thread. */
#pragma once

#include "events/event.h"
#include "events/ids.h"

enum { SPANS_PENDING_MAX = 256 };

struct spans {
    struct {
        struct position at;
        int64_t recorded_us;
        uint8_t trace[TRACE_BYTES];
    } pending[SPANS_PENDING_MAX];
    size_t count;
};

/* An event is on its way into the models; more than SPANS_PENDING_MAX are not followed. `recorded_us`: by
 * PostgreSQL's clock. */
void spans_sent(struct spans *spans, struct position at, struct span trace, int64_t recorded_us);
/* The models of a slice are at this position. `ahead_us`: PostgreSQL's clock minus ours. */
void spans_confirmed(struct spans *spans, struct position at, int64_t ahead_us);
/* What was on its way is not known any more. */
void spans_forget(struct spans *spans);
