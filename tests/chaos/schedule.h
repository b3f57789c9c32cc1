/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong in a chaos run, and when: a function of the seed alone. Three lanes run side by side, so
 * that a command service can be down while the database misbehaves and Redis is empty; within a lane one
 * fault is healed before the next strikes. Pure. */
#pragma once

#include "tests/chaos/rng.h"

enum lane { LANE_SERVICES, LANE_STORE, LANE_MODELS, LANE_COUNT };

/* Which log a fault can be done to: any, one that is a PostgreSQL alone, one under Patroni. */
enum fault_log { LOG_ANY, LOG_ALONE, LOG_PATRONI };

/* X(NAME, lane, log, what happens, whether a process is killed by it) */
#define FAULTS(X)                                                                                            \
    X(SERVICE_KILL, LANE_SERVICES, LOG_ANY, "command service: kill -9", 1)                                   \
    X(SERVICE_FREEZE, LANE_SERVICES, LOG_ANY, "command service: SIGSTOP for a while", 0)                     \
    X(SERVICE_RESTART, LANE_SERVICES, LOG_ANY, "command service: SIGTERM and start", 0)                      \
    X(PG_FAST, LANE_STORE, LOG_ALONE, "PostgreSQL: fast restart", 1)                                         \
    X(PG_IMMEDIATE, LANE_STORE, LOG_ALONE, "PostgreSQL: immediate restart, as in a crash", 1)                \
    X(PG_TERMINATE, LANE_STORE, LOG_ANY, "PostgreSQL: one backend terminated", 1)                            \
    X(PG_BACKEND_KILL, LANE_STORE, LOG_ANY, "PostgreSQL: one backend kill -9, so crash recovery", 1)         \
    X(PG_FREEZE, LANE_STORE, LOG_ALONE, "PostgreSQL: SIGSTOP of all of it", 0)                               \
    X(PG_CONNECTIONS, LANE_STORE, LOG_ALONE, "PostgreSQL: connections cut, limit reached", 0)                \
    X(PG_READ_ONLY, LANE_STORE, LOG_ALONE, "PostgreSQL: connections cut, read-only", 0)                      \
    X(PG_SLOW, LANE_STORE, LOG_ALONE, "PostgreSQL: each exchange 50, 300 or 700 ms later", 0)                \
    X(PG_SLOW_MORE, LANE_STORE, LOG_ALONE, "PostgreSQL: the same, and one backend terminated", 1)            \
    X(PRIMARY_KILL, LANE_STORE, LOG_PATRONI, "Patroni: the primary's PostgreSQL kill -9", 1)                 \
    X(PRIMARY_MACHINE_KILL, LANE_STORE, LOG_PATRONI, "Patroni: the primary's machine kill -9, all of it", 1) \
    X(PRIMARY_FREEZE, LANE_STORE, LOG_PATRONI,                                                               \
      "Patroni: the primary's machine SIGSTOP, PostgreSQL wakes up first", 0)                                \
    X(PRIMARY_CUT_OFF, LANE_STORE, LOG_PATRONI, "Patroni: the primary's machine cut off", 0)                 \
    X(PATRONI_KILL, LANE_STORE, LOG_PATRONI, "Patroni: kill -9 beside the primary, which goes on", 1)        \
    X(PATRONI_FREEZE, LANE_STORE, LOG_PATRONI, "Patroni: SIGSTOP beside the primary, which goes on", 0)      \
    X(STANDBY_KILL, LANE_STORE, LOG_PATRONI, "Patroni: the standby's machine kill -9, all of it", 1)         \
    X(STANDBY_FREEZE, LANE_STORE, LOG_PATRONI, "Patroni: the standby's machine SIGSTOP", 0)                  \
    X(STANDBY_CUT_OFF, LANE_STORE, LOG_PATRONI, "Patroni: the standby's machine cut off", 0)                 \
    X(SWITCHOVER, LANE_STORE, LOG_PATRONI, "Patroni: switchover", 0)                                         \
    X(SHARD_CUT_OFF, LANE_STORE, LOG_PATRONI,                                                                \
      "Patroni: what services and all PostgreSQLs of the shard send each other is dropped", 0)               \
    X(ETCD_KILL, LANE_STORE, LOG_PATRONI, "etcd: one of three kill -9", 1)                                   \
    X(ETCD_FREEZE, LANE_STORE, LOG_PATRONI, "etcd: one of three SIGSTOP", 0)                                 \
    X(REDIS_FLUSH, LANE_MODELS, LOG_ANY, "Redis: FLUSHALL", 0)                                               \
    X(REDIS_VANISH, LANE_MODELS, LOG_ANY, "Redis: some keys vanish", 0)                                      \
    X(REDIS_KILL, LANE_MODELS, LOG_ANY, "Redis: kill -9", 1)                                                 \
    X(REDIS_FREEZE, LANE_MODELS, LOG_ANY, "Redis: SIGSTOP", 0)                                               \
    X(REDIS_SLOW, LANE_MODELS, LOG_ANY, "Redis: each exchange 5, 45 or 300 ms later", 0)                     \
    X(PROJECTOR_KILL, LANE_MODELS, LOG_ANY, "projector: kill -9", 1)                                         \
    X(PROJECTOR_FREEZE, LANE_MODELS, LOG_ANY, "projector: SIGSTOP for a while", 0)                           \
    X(QUERY_KILL, LANE_MODELS, LOG_ANY, "query service: kill -9", 1)                                         \
    X(QUERY_FREEZE, LANE_MODELS, LOG_ANY, "query service: SIGSTOP for a while", 0)                           \
    X(QUERY_RESTART, LANE_MODELS, LOG_ANY, "query service: SIGTERM and start", 0)

enum fault {
#define FAULT_ENUM(name, lane, log, text, kills) FAULT_##name,
    FAULTS(FAULT_ENUM)
#undef FAULT_ENUM
        FAULT_COUNT
};
const char *fault_text(enum fault fault);
bool fault_kills(enum fault fault);
enum lane fault_lane(enum fault fault);
/* Whether it can be done to a log that is, or is not, under Patroni. */
bool fault_fits(enum fault fault, bool patroni);

enum { STRIKE_PICKS = 1000 };

struct strike {
    enum fault fault;
    uint32_t service; /* which command service; which query service, modulo how many there are */
    uint32_t pick;    /* below STRIKE_PICKS: which shard, which backend, how many keys */
    int64_t delay_ms; /* PG_SLOW, REDIS_SLOW: of each exchange */
    int64_t gap_ms;   /* after the former one was healed */
    int64_t hold_ms;  /* until it is healed */
};

/* Deals every fault of its lane that fits once, in a drawn order, then again: even a short run sees many
 * kinds. */
struct schedule {
    enum lane lane;
    uint32_t services;
    bool patroni;
    struct rng rng;
    enum fault deck[FAULT_COUNT];
    size_t left;
};
void schedule_init(struct schedule *schedule, uint64_t seed, enum lane lane, uint32_t services, bool patroni);
struct strike schedule_next(struct schedule *schedule);
