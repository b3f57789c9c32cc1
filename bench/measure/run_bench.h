/* SPDX-License-Identifier: Apache-2.0 */
/* What the measurements of `make bench` share: the options, the programs under test, and where figures go.
 * Not thread-safe. Whatever keeps a measurement from being made ends the process with status 2. */
#pragma once

#include <sys/types.h>

#include "bench/kit/figures.h"
#include "bench/load/flow.h"

struct bench_options {
    const char *only;
    bool json, curves_big;
    int64_t rounds, sample_ms, preload, append_events, restarts;
    int64_t rebuild_events, memory_coupons;
    int64_t port_base;
    const char *bin_dir, *run_dir, *results_dir, *peers_dir, *admin_token, *issue_token;
    const char *database_url, *command_database_url, *projector_database_url, *query_database_url,
        *superuser_url;
    const char *redis_url, *redis_password;
};

struct bench {
    struct bench_options options;
    const char *metric; /* the measurement that runs */
    uint64_t number;    /* the next one for FLOW_NUMBER, so that no user or key comes twice */
    unsigned campaigns; /* created so far */
    uint32_t run;       /* in the names of campaigns: a stack may have seen another run */
};

_Noreturn void bench_die(const char *what, const char *why);
void bench_say(const char *format, ...) PRINTF_LIKE(1, 2); /* on stderr: what is going on */
/* As of the measurement that runs; NULL is as good as "" for a goal or a baseline there is not. */
void bench_print(const struct bench *bench, const struct figure *figure);
void bench_print_all(const struct bench *bench, const struct figure *figures, size_t count);

/* A service of the stack's own, on port_base + port_offset. `database` is a scratch database's name or NULL
 * for the product's. Waits until it is ready. */
enum bench_port {
    BENCH_PORT_COMMAND = 0,
    BENCH_PORT_QUERY = 1,
    BENCH_PORT_EMPTY = 10,
    BENCH_PORT_SCRATCH = 11,
    BENCH_PORT_SECOND = 12,
    BENCH_PORT_REDIS = 13,
    BENCH_PORT_PEER = 14,
    BENCH_PORT_PEER_REDIS = 15
};
pid_t bench_start(const struct bench *bench, const char *program, enum bench_port port, const char *database);
/* The same with more flags, which win over the environment; NULL-terminated. */
pid_t bench_start_with(const struct bench *bench, const char *program, enum bench_port port,
                       const char *const *flags);
/* Without waiting. */
pid_t bench_spawn(const struct bench *bench, const char *program, enum bench_port port, const char *database);
/* Waits until somebody accepts connections there; `who` for the message where nobody does. */
void bench_await_listener(const struct target *target, const char *who);
void bench_target(const struct bench *bench, enum bench_port port, struct target *ret);

/* A new campaign of one coupon per user; `slice` -1 for any. Its id is valid until the next call. */
const char *bench_campaign(struct bench *bench, const struct target *target, int64_t quantity, int16_t slice);

/* One flow of POSTs: to /v1/campaigns/<campaign>/coupons, or to `path` where campaign is NULL. Takes its
 * numbers from the bench. */
struct bench_flow {
    const struct target *target;
    const char *campaign, *path;
    const char *body;         /* NULL: an issue to one more user */
    const char *const *posts; /* paths that are posted to in turns; NULL: as above */
    size_t posts_count;
    const char *read;         /* a path that is read instead; NULL: POST as above */
    const char *const *reads; /* several, in turns; NULL: that one */
    size_t reads_count;
    uint64_t first_number;          /* 0: one that was not used yet */
    int64_t per_second, measure_ms; /* 0: as fast as possible; for sample_ms */
    int64_t warm_ms;                /* 0: what all have */
    int64_t late_us, timeout_ms;    /* as in struct flow_options */
    size_t connections;
    int wanted_status, refused_status;
};
void bench_flow(struct bench *bench, const struct bench_flow *flow, struct flow_result *ret);
/* Several at once, each from a thread of its own. */
enum { BENCH_FLOWS_MAX = 4 };
void bench_flows(struct bench *bench, const struct bench_flow *flows, size_t count, struct flow_result *ret);
/* One that goes on while the caller does something else. `ret` is there after bench_flow_await. */
struct bench_running;
struct bench_running *bench_flow_start(const struct bench *bench, const struct bench_flow *flow,
                                       struct flow_result *ret);
void bench_flow_await(struct bench *bench, struct bench_running *running);
/* Sends one issue and waits; its HTTP status, 0 for no answer. */
int bench_issue_once(const struct bench *bench, const struct target *target, const char *campaign,
                     uint64_t number);

/* What the load thread of a flow was doing, for a note; "ours: ". */
void bench_note_client(struct figure *figure, const char *whose, const struct flow_result *result);

/* The measurements. */
void bench_issue(struct bench *bench);
void bench_writers(struct bench *bench);
void bench_live(struct bench *bench); /* projector, query service and Redis are the stack's */
void bench_refuse(struct bench *bench);
void bench_append(struct bench *bench);
void bench_restart(struct bench *bench);
void bench_read(struct bench *bench); /* Redis and projector are the stack's */
void bench_load(struct bench *bench);
void bench_stampede(struct bench *bench);
void bench_lag(struct bench *bench); /* projector and Redis are the stack's */
void bench_rebuild(struct bench *bench);
void bench_memory(struct bench *bench);
void bench_curves(struct bench *bench); /* CURVES=1: on the stack's own log, which it fills */
void bench_overload(struct bench *bench);
void bench_attack(struct bench *bench);
void bench_users(struct bench *bench); /* make loadtest; projector, query service and Redis are the stack's */
void bench_peers(struct bench *bench);
