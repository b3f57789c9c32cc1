/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong in a chaos run, and when: a function of the seed alone. Three lanes run side by side, so
 * that a command service can be down while the database misbehaves and Redis is empty; within a lane one
 * fault is healed before the next strikes. Pure. */
#pragma once

#include "tests/chaos/rng.h"

enum lane { LANE_SERVICES, LANE_STORE, LANE_MODELS, LANE_COUNT };

/* X(NAME, lane, what happens, whether a process is killed by it) */
#define FAULTS(X)                                                                           \
    X(SERVICE_KILL, LANE_SERVICES, "command service: kill -9", 1)                           \
    X(SERVICE_FREEZE, LANE_SERVICES, "command service: SIGSTOP for a while", 0)             \
    X(SERVICE_RESTART, LANE_SERVICES, "command service: SIGTERM and start", 0)              \
    X(PG_FAST, LANE_STORE, "PostgreSQL: fast restart", 1)                                   \
    X(PG_IMMEDIATE, LANE_STORE, "PostgreSQL: immediate restart, as in a crash", 1)          \
    X(PG_TERMINATE, LANE_STORE, "PostgreSQL: one backend terminated", 1)                    \
    X(PG_BACKEND_KILL, LANE_STORE, "PostgreSQL: one backend kill -9, so crash recovery", 1) \
    X(PG_FREEZE, LANE_STORE, "PostgreSQL: SIGSTOP of all of it", 0)                         \
    X(PG_CONNECTIONS, LANE_STORE, "PostgreSQL: connections cut, limit reached", 0)          \
    X(PG_READ_ONLY, LANE_STORE, "PostgreSQL: connections cut, read-only", 0)                \
    X(PG_SLOW, LANE_STORE, "PostgreSQL: each exchange 50, 300 or 700 ms later", 0)          \
    X(PG_SLOW_MORE, LANE_STORE, "PostgreSQL: the same, and one backend terminated", 1)      \
    X(REDIS_FLUSH, LANE_MODELS, "Redis: FLUSHALL", 0)                                       \
    X(REDIS_VANISH, LANE_MODELS, "Redis: some keys vanish", 0)                              \
    X(REDIS_KILL, LANE_MODELS, "Redis: kill -9", 1)                                         \
    X(REDIS_FREEZE, LANE_MODELS, "Redis: SIGSTOP", 0)                                       \
    X(REDIS_SLOW, LANE_MODELS, "Redis: each exchange 5, 45 or 300 ms later", 0)             \
    X(PROJECTOR_KILL, LANE_MODELS, "projector: kill -9", 1)                                 \
    X(PROJECTOR_FREEZE, LANE_MODELS, "projector: SIGSTOP for a while", 0)                   \
    X(QUERY_KILL, LANE_MODELS, "query service: kill -9", 1)                                 \
    X(QUERY_FREEZE, LANE_MODELS, "query service: SIGSTOP for a while", 0)                   \
    X(QUERY_RESTART, LANE_MODELS, "query service: SIGTERM and start", 0)

enum fault {
#define FAULT_ENUM(name, lane, text, kills) FAULT_##name,
    FAULTS(FAULT_ENUM)
#undef FAULT_ENUM
        FAULT_COUNT
};
const char *fault_text(enum fault fault);
bool fault_kills(enum fault fault);
enum lane fault_lane(enum fault fault);

enum { STRIKE_PICKS = 1000 };

struct strike {
    enum fault fault;
    uint32_t service; /* which command service; which query service, modulo how many there are */
    uint32_t pick;    /* below STRIKE_PICKS: which shard, which backend, how many keys */
    int64_t delay_ms; /* PG_SLOW, REDIS_SLOW: of each exchange */
    int64_t gap_ms;   /* after the former one was healed */
    int64_t hold_ms;  /* until it is healed */
};

/* Deals every fault of its lane once, in a drawn order, then again: even a short run sees many kinds. */
struct schedule {
    enum lane lane;
    uint32_t services;
    struct rng rng;
    enum fault deck[FAULT_COUNT];
    size_t left;
};
void schedule_init(struct schedule *schedule, uint64_t seed, enum lane lane, uint32_t services);
struct strike schedule_next(struct schedule *schedule);
