/* SPDX-License-Identifier: Apache-2.0 */
/* How far the models of one slice are, compared with the log. Pure: a plain value and the rules on it. */
#pragma once

#include <stdbool.h>

#include "projector/run/log_reader.h"

enum { BEHIND_EVENTS = 500, BEHIND_US = 1000000 };

struct progress {
    int64_t position;  /* the checkpoint, as found in Redis and moved by what was sent since */
    int64_t at_us;     /* recorded_at of the event there, 0 at the start */
    int64_t confirmed; /* the checkpoint, as far as Redis has said so */
    struct log_head log;
    bool behind;      /* readers are told to ask PostgreSQL instead */
    int64_t stuck_at; /* position of an event that cannot be applied; 0: none */
};

/* The checkpoint was read from Redis. Behind until a write reaches the head: what readers saw before Redis
 * lost something must not seem to go back. */
void progress_load(struct progress *progress, int64_t position, int64_t at_us);
void progress_log(struct progress *progress, const struct log_head *log);
/* An event was read that is younger than the head was when it was asked for. */
void progress_log_reaches(struct progress *progress, int64_t position, int64_t at_us);
/* The models will be at `position`; returns whether they are behind then (and remembers it). In normal
 * operation a few milliseconds' worth of events is no reason to send readers away: only when many events are
 * missing and what is shown is old does following turn into catching up. */
bool progress_move(struct progress *progress, int64_t position, int64_t at_us);

/* Redis has said that the models are at `position`. */
void progress_confirm(struct progress *progress, int64_t position);

bool progress_wants(const struct progress *progress);         /* there is something to apply */
bool progress_beyond_log(const struct progress *progress);    /* Redis has seen events that the log has not */
void progress_stick(struct progress *progress, int64_t at);   /* stop before this event */
int64_t progress_lag_events(const struct progress *progress); /* by what is confirmed */
int64_t progress_lag_us(const struct progress *progress, int64_t now_us); /* age of the oldest unapplied */
