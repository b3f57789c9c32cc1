/* SPDX-License-Identifier: Apache-2.0 */
/* Brings the models that readers use forward: rows of the log in, batches out, and what Redis thinks of them.
 * Holds how far each slice is, on Redis's word only: after anything but success it forgets and reads it
 * again. One thread. */
#pragma once

#include "common/pg/pg.h"
#include "projector/metrics.h"
#include "projector/run/announce.h"
#include "projector/run/backoff.h"
#include "projector/run/redis_writer.h"
#include "projector/run/slice_progress.h"
#include "projector/run/spans.h"

enum { REDIS_DEADLINE_MS = 1000, LEADER_WINDOW = 2 };

struct applier_options {
    unsigned slices;           /* that are brought forward, as bits */
    size_t batch_events;       /* at most APPLIER_BATCH_MAX */
    struct bus_publisher *bus; /* borrowed; NULL: nobody is told what changed */
};
enum { APPLIER_BATCH_MAX = 1000 };

struct applier {
    struct redis_writer *writer;             /* borrowed */
    const struct projector_metrics *metrics; /* borrowed */
    struct applier_options options;
    struct fold folds[SLICE_COUNT];
    struct progress slices[SLICE_COUNT];
    struct checkpoint confirmed[SLICE_COUNT]; /* the roots, as far as Redis has said so */
    struct script_batch batch;
    struct arena decoded;
    struct announcer announcer;
    struct spans spans;
    int64_t epoch;
    int64_t fenced_by;      /* an epoch above ours was found; 0: none */
    int64_t store_ahead_us; /* PostgreSQL's clock minus ours: recorded_at is of the former */
    int64_t store_now_us;   /* PostgreSQL's clock when the heads were read */
    unsigned anew;          /* bit per slice of which keys were lost: to be made anew beside what is there */
    unsigned foreign;       /* bit per slice whose models are of another log; not followed */
    bool left_over;         /* a root was made anew: keys of a former generation may be there */
    unsigned history_checked; /* bit per slice: since its checkpoint was read */
    unsigned loaded;          /* bit per slice whose position is known, and to which nobody objected since */
    unsigned unreachable;     /* bit per slice: the last talk about it with Redis did not go well */
    bool evicts;              /* Redis may drop keys when it is full */
    char history[SLICE_COUNT]
                [REDIS_HISTORY_MAX + 1]; /* which one the slice's server had when it was last asked */
    int64_t refresh_ms[SLICE_COUNT];     /* its clock when the refresh that is going on began */
    unsigned refreshes;
    struct backoff backoff[SLICE_COUNT];
    enum redis_status trouble[SLICE_COUNT]; /* last class that was logged, REDIS_OK when all is well */
};

void applier_init(struct applier *applier, struct redis_writer *writer,
                  const struct projector_metrics *metrics, const struct applier_options *options);
void applier_deinit(struct applier *applier);

/* Reads the checkpoints of the slices where they are not known and it is time to try; true when some are
 * known now. Makes a root where there is none. Nothing may be on its way. `epoch`: of the lead. */
bool applier_load(struct applier *applier, int64_t epoch);
/* The same without the right to write: how far another projector is. Never makes anything `loaded`. */
void applier_peek(struct applier *applier);
/* Another epoch, or none: what is known is forgotten. */
void applier_forget(struct applier *applier);

/* Compares what the checkpoints say of the log with the log, where that was not done since they were read
 * (struct checkpoint: chain). Slices that are of another one are told in `foreign`, and their readers sent to
 * PostgreSQL. */
enum pg_status applier_check_history(struct applier *applier, struct pg *pg, int64_t deadline_us) MUST_USE;

/* Begins a look after the roots: before the heads are asked for that it goes by. */
void applier_begin_refresh(struct applier *applier);
/* What the log says now, before any rows read after that. */
void applier_heads(struct applier *applier, const struct log_heads *heads);
/* Applies rows of a slice that were asked for from its position; returns how many events were sent. */
size_t applier_rows(struct applier *applier, int16_t slice, const struct pg_rows *rows);
/* Waits for everything sent. */
void applier_settle(struct applier *applier);
/* Compares every root with what it should be, takes the holes that readers reported, and tells readers that
 * somebody is looking: until SEEN_MS after applier_begin_refresh, by Redis' clock, so that a projector that
 * stood still in between, or whose word waited in a queue, promises no more than what it knew. */
void applier_refresh(struct applier *applier);

bool applier_stuck(const struct applier *applier);   /* some slice cannot go on without a person */
bool applier_current(const struct applier *applier); /* every slice has reached the head */
