/* SPDX-License-Identifier: Apache-2.0 */
/* One event of the log: envelope and payload. A plain value; all spans and lists are borrowed from whatever
 * it was read into (a result, an arena) and live as long as that. */
#pragma once

#include "events/catalog.h"

enum { SLICE_COUNT = 16, TRACE_BYTES = 24 };

/* The number of schema/ that all statements of this version rely on: on a database without it no service
 * connects. */
enum { SCHEMA_MIN = 22 };

/* Where the events are that are about no campaign: a stream of their own that no campaign id can name. */
enum { CONTROL_SLICE = 0 };
#define CONTROL_STREAM SPAN("~")

struct event {
    int16_t slice;
    int64_t position; /* from 1, gapless within the slice */
    enum event_type type;
    int16_t version;
    struct span campaign_id;
    struct span user_id;   /* absent where no user is concerned */
    struct span coupon_id; /* absent where no coupon is concerned */
    int64_t recorded_at_us;
    struct span trace; /* TRACE_BYTES or absent */
    struct span data;  /* the payload, encoded */
    union {
#define EVENT_UNION(id, version, Name, lower, FIELDS, meaning) struct lower lower;
        EVENT_CATALOG(EVENT_UNION)
#undef EVENT_UNION
    };
};
