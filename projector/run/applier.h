/* SPDX-License-Identifier: Apache-2.0 */
/* Brings the models in Redis forward: rows of the log in, batches out, and what Redis thinks of them. Holds
 * how far each slice is, on Redis's word only: after anything but success it forgets and reads it again. One
 * thread. */
#pragma once

#include "common/pg/pg.h"
#include "projector/metrics.h"
#include "projector/rebuild/generations.h"
#include "projector/run/announcer.h"
#include "projector/run/backoff.h"
#include "projector/run/handover.h"
#include "projector/run/model_writer.h"
#include "projector/run/slice_progress.h"

enum { REDIS_DEADLINE_MS = 1000 };

struct applier_options {
    size_t batch_events;
    size_t window;             /* batches in Redis's hands at once, of all slices together */
    int64_t generation;        /* 0: the live one, whichever that is */
    struct bus_publisher *bus; /* borrowed; NULL: nobody is told what changed */
};

struct applier {
    struct model_writer *writer;             /* borrowed */
    const struct projector_metrics *metrics; /* borrowed */
    struct applier_options options;
    struct projection projection;
    struct arena decoded;
    struct progress slices[SLICE_COUNT];
    unsigned restart;   /* bit per slice that has a hole and is to start anew */
    int64_t restart_in; /* the generation with the holes */
    unsigned beyond;    /* bit per slice whose checkpoint was reported to be beyond the log */
    int64_t generation, epoch;
    int64_t found_epoch; /* the highest in the checkpoints that were loaded */
    struct handover handover;
    struct announcer announcer;
    int64_t fenced_by;      /* an epoch above ours was found; 0: none */
    int64_t store_ahead_us; /* PostgreSQL's clock minus ours: recorded_at is of the former */
    int64_t seen_us;        /* wall clock before the heads were asked for */
    bool loaded;            /* positions are known and nobody objected since */
    bool reachable;         /* the last talk with Redis went well */
    struct backoff backoff;
    enum redis_status trouble; /* last class that was logged, REDIS_OK when all is well */
};

void applier_init(struct applier *applier, struct model_writer *writer,
                  const struct projector_metrics *metrics, const struct applier_options *options);
void applier_deinit(struct applier *applier);

/* Reads the checkpoints where they are not known and it is time to try; true when they are. Nothing may be on
 * its way. `epoch`: of the lead; 0, for a generation that nobody leads, is that of whoever wrote there last.
 */
bool applier_load(struct applier *applier, int64_t epoch);
/* The same without the right to write: how far another projector is. Never makes anything `loaded`. */
void applier_peek(struct applier *applier);
/* A slice is to be replayed from its start, by the next applier_load. */
void applier_restart(struct applier *applier, int16_t slice);
/* Another epoch, or none: what is known is forgotten. */
void applier_forget(struct applier *applier);

/* What the log says now, before any rows read after that. `seen_us`: wall clock before it was asked. */
void applier_heads(struct applier *applier, const struct feed_heads *heads, int64_t seen_us);
/* Applies rows of a slice that were asked for from its position; returns how many events were sent. */
size_t applier_rows(struct applier *applier, int16_t slice, const struct pg_rows *rows);
/* Waits for everything sent. */
void applier_settle(struct applier *applier);
/* Compares every checkpoint with what it should be and tells readers that somebody is looking. */
void applier_refresh(struct applier *applier);

/* Where a rebuild has left a generation that is ready, moves on to that one, in steps; see handover.h. For
 * whoever leads, after everything sent was settled. */
void applier_hand_over(struct applier *applier);

bool applier_stuck(const struct applier *applier);   /* some slice cannot go on without a person */
bool applier_current(const struct applier *applier); /* every slice has reached the head */
