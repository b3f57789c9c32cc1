/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the log for a rebuild: how far it goes, and went at an instant. One round trip each. */
#pragma once

#include "common/pg/pg.h"
#include "events/ids.h"

/* How far a rebuild is to go. */
struct log_limit {
    enum { LOG_LIMIT_HEAD, LOG_LIMIT_TIME, LOG_LIMIT_POSITION } kind;
    int64_t time_us;    /* LOG_LIMIT_TIME */
    struct position at; /* LOG_LIMIT_POSITION: that slice up to there, the others up to that event's time */
};

/* "head", an RFC 3339 time, or slice:position. */
bool log_limit_parse(struct span text, struct log_limit *ret) MUST_USE;

enum log_answer {
    LOG_ANSWERED,
    LOG_NO_SUCH_EVENT, /* the position is not in the log */
    LOG_TOO_RECENT,    /* the instant is not over yet: events may still get it */
    LOG_FAILED,        /* PostgreSQL did not answer: see pg_error */
};

/* The position that each slice of the database is to be brought to; 0 for others. */
enum log_answer log_limit_positions(struct pg *pg, const struct log_limit *limit,
                                    int64_t ret[SLICE_COUNT]) MUST_USE;
