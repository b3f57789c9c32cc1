/* SPDX-License-Identifier: Apache-2.0 */
/* Brings one generation of models from where it is to where it should be, as fast as log and Redis allow:
 * while one round of events is being applied, the next is on its way from PostgreSQL, and a few batches are
 * in Redis's hands. It is the applier that applies, as when following the log, so what comes out is the same
 * (I8). What fails is tried again from what Redis holds. One thread. */
#pragma once

#include "projector/run/applier.h"

enum { REPLAY_LOG_CONNECTIONS = 2 };

struct replay_options {
    const char *database_url; /* borrowed for its life */
    size_t batch_events;
    int64_t generation; /* 0: the live one, for whoever leads */
    int64_t epoch;      /* of the lead, or 0: that of whoever wrote last */
    unsigned slices;    /* bit per slice that is replayed; the others are left alone */
    bool follows;       /* what the log gets in addition is replayed too: limits are raised to its heads */
};

struct replay_round {
    struct pg *pg;
    struct feed feed;
    bool open; /* asked and not received */
    unsigned wanted;
    int64_t asked_us; /* wall clock */
    int64_t from[SLICE_COUNT];
};

struct replay {
    struct replay_options options;
    struct applier applier;
    struct replay_round rounds[REPLAY_LOG_CONNECTIONS];
    size_t turn;                  /* the round to be received next */
    int64_t limits[SLICE_COUNT];  /* the events up to here, which are in the log */
    int64_t planned[SLICE_COUNT]; /* asked for up to here */
    struct backoff backoff;       /* of PostgreSQL */
    char error[160];              /* why the last turn did not get on; "" when it did */
};

/* `limits` of slices that are not in options->slices are not looked at. writer and metrics are borrowed. */
void replay_init(struct replay *replay, const struct replay_options *options, struct model_writer *writer,
                 const struct projector_metrics *metrics, const int64_t limits[SLICE_COUNT]);
void replay_deinit(struct replay *replay);

/* One step, at most a few seconds. Returns whether it got on; where not, replay->error says why, and the
 * caller waits a moment before the next. */
bool replay_turn(struct replay *replay);
/* Everything up to the limits is in Redis's word; nothing is on its way then. */
bool replay_done(const struct replay *replay);
/* Waits for what is on its way, to Redis and from PostgreSQL; the applier's connection is free then. */
void replay_settle(struct replay *replay);

int64_t replay_position(const struct replay *replay); /* sum of what Redis confirmed */
int64_t replay_total(const struct replay *replay);    /* sum of the limits */
