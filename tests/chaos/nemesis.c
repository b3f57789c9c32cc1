/* SPDX-License-Identifier: Apache-2.0 */
/* Striking and healing. */
#include "tests/chaos/nemesis_internal.h"

#include <poll.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/pg/pg.h"
#include "common/redis/redis.h"

enum {
    GONE_MS = 90000,
    START_TRIES = 3,
    FAST_MS = 10000,
    UP_MS = 10000,
    CONNECT_MS = 2000,
    POLL_MS = 5,
    CONNECTIONS_MAX = 100,
    BACKENDS_MAX = 256
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "chaos: %s\n", what);
    exit(2);
}

bool nemesis_go_on_after(struct nemesis *nemesis, int64_t ms)
{
    struct timespec until;
    int64_t until_us = clock_deadline_us(ms);
    until = (struct timespec){until_us / US_PER_S, until_us % US_PER_S * 1000};
    pthread_mutex_lock(&nemesis->mutex);
    while (!nemesis->stopping && clock_remaining_ms(until_us) > 0)
        pthread_cond_timedwait(&nemesis->stopped, &nemesis->mutex, &until);
    bool stopping = nemesis->stopping;
    pthread_mutex_unlock(&nemesis->mutex);
    return !stopping;
}

/* --- PostgreSQL --- */

/* By the upper digits of what picks a backend by the lower. */
static uint32_t shard_of(const struct nemesis *nemesis, const struct strike *strike)
{
    return strike->pick * fleet_shards(nemesis->fleet) / STRIKE_PICKS;
}

static bool gone_within(const struct stack *stack, const char *name, int64_t ms)
{
    int64_t deadline_us = clock_deadline_us(ms);
    while (stack_pid(stack, name) != 0) {
        if (clock_remaining_ms(deadline_us) == 0)
            return false;
        (void)poll(NULL, 0, POLL_MS);
    }
    return true;
}

static void await_gone(const struct stack *stack, const char *name)
{
    if (!gone_within(stack, name, GONE_MS))
        die("a server that was told to end does not");
}

/* With `servers` locked. A server that was just killed may leave something that its successor trips over
 * once: that is no fault of what is tested. */
static void start_servers(struct nemesis *nemesis, struct stack *stack)
{
    int status = -1;
    pthread_mutex_lock(&nemesis->starting);
    for (int i = 0; i < START_TRIES && status != 0; i++)
        status = stack_tool(stack, (const char *[]){"tools/stack", "servers", NULL});
    pthread_mutex_unlock(&nemesis->starting);
    if (status != 0)
        die("a server cannot be started again");
}

/* One statement as the owner of the database, whatever the default of new transactions is. NULL: it cannot be
 * reached. */
static struct pg_rows *ask_store(const struct nemesis *nemesis, const char *sql)
{
    char owner_url[FLEET_URL_MAX], url[FLEET_URL_MAX + 64];
    const struct pg_statement statements[] = {{"query", sql}};
    struct pg_rows *rows = NULL;
    fleet_owner_url(nemesis->fleet, nemesis->shard, owner_url);
    snprintf(url, sizeof url, "%s%coptions=-cdefault_transaction_read_only%%3Doff", owner_url,
             strchr(owner_url, '?') ? '&' : '?');
    struct pg *pg =
        pg_create(&(struct pg_options){.url = url, .statements = statements, .statements_count = 1});
    if (pg_connect(pg, clock_deadline_us(CONNECT_MS)) != PG_OK ||
        pg_call(pg, 0, NULL, clock_deadline_us(CONNECT_MS), &rows) != PG_OK)
        rows = NULL;
    pg_destroy(pg);
    return rows;
}

static bool store_up(const struct nemesis *nemesis)
{
    struct pg_rows *rows = NULL;
    int64_t deadline_us = clock_deadline_us(UP_MS);
    while (!(rows = ask_store(nemesis, "SELECT 1")) && clock_remaining_ms(deadline_us) > 0)
        (void)poll(NULL, 0, POLL_MS);
    pg_rows_destroy(rows);
    return rows != NULL;
}

/* The backends of the command services, whatever they are for; not those of connections that were only taken.
 * The pick-th of them or all. Returns how many were signalled. */
static size_t signal_backends(const struct nemesis *nemesis, int number, bool all, uint32_t pick)
{
    size_t signalled = 0;
    struct pg_rows *rows =
        ask_store(nemesis, "SELECT pid FROM pg_stat_activity WHERE usename = 'firstcome_command'"
                           " AND application_name LIKE 'firstcome %' ORDER BY 1");
    int count = rows ? pg_rows_count(rows) : 0;
    for (int i = 0; i < count; i++)
        if (all || (uint32_t)i == pick % (uint32_t)count)
            signalled += kill((pid_t)pg_i64(rows, i, 0), number) == 0; /* it may have gone meanwhile */
    pg_rows_destroy(rows);
    return signalled;
}

/* The postmaster and everything it started. */
static size_t list_processes(const struct nemesis *nemesis, pid_t *ret)
{
    char path[64], text[BACKENDS_MAX * 12];
    size_t count = 0;
    uint64_t pid;
    ret[count++] = stack_pid(nemesis->store, "postgresql");
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)ret[0], (int)ret[0]);
    FILE *file = fopen(path, "re");
    size_t len = file ? fread(text, 1, sizeof text, file) : 0;
    if (file)
        fclose(file);
    for (struct span rest = {text, len}; rest.ptr && rest.len && count < BACKENDS_MAX;)
        if (parse_u64(span_cut(&rest, ' '), INT32_MAX, &pid))
            ret[count++] = (pid_t)pid;
    return count;
}

/* The postmaster first, so that it starts nothing more meanwhile. */
static void freeze_store(struct nemesis *nemesis, int64_t hold_ms)
{
    pid_t pids[BACKENDS_MAX];
    size_t count;
    pid_t postmaster = stack_pid(nemesis->store, "postgresql");
    if (postmaster == 0 || kill(postmaster, SIGSTOP) != 0)
        die("PostgreSQL is not there to be frozen");
    count = list_processes(nemesis, pids);
    for (size_t i = 1; i < count; i++)
        (void)kill(pids[i], SIGSTOP);
    (void)nemesis_go_on_after(nemesis, hold_ms);
    for (size_t i = count; i-- > 0;)
        (void)kill(pids[i], SIGCONT);
}

/* PostgreSQL 15 that is told to end while it recovers from a crash may wait for itself for ever, so it is
 * waited for until it is up; and told to end at once where it does not end all the same. */
static bool restart_store(struct nemesis *nemesis, int number, int64_t hold_ms)
{
    if (!store_up(nemesis))
        return false;
    stack_signal(nemesis->store, "postgresql", number);
    if (!gone_within(nemesis->store, "postgresql", FAST_MS))
        stack_signal(nemesis->store, "postgresql", SIGQUIT);
    await_gone(nemesis->store, "postgresql");
    (void)nemesis_go_on_after(nemesis, hold_ms);
    start_servers(nemesis, nemesis->store);
    return true;
}

/* Takes what connections there are, then those that the services had. */
static bool exhaust_connections(struct nemesis *nemesis, int64_t hold_ms)
{
    struct pg *taken[CONNECTIONS_MAX];
    size_t count = 0;
    bool cut = false;
    for (int round = 0; round < 2; round++) {
        for (bool more = true; more && count < CONNECTIONS_MAX;) {
            taken[count] =
                pg_create(&(struct pg_options){.url = stack_env(nemesis->store, "COMMAND_DATABASE_URL")});
            more = pg_connect(taken[count], clock_deadline_us(CONNECT_MS)) == PG_OK;
            count++;
        }
        /* The owner cannot get in any more, so one of those is given back for the look at who is there. */
        if (round == 0 && count > 2) {
            pg_destroy(taken[--count]);
            pg_destroy(taken[--count]);
            cut = signal_backends(nemesis, SIGTERM, true, 0) > 0;
        }
    }
    (void)nemesis_go_on_after(nemesis, hold_ms);
    while (count)
        pg_destroy(taken[--count]);
    return cut;
}

static bool set_read_only(const struct nemesis *nemesis, bool on)
{
    struct pg_rows *rows =
        ask_store(nemesis, on ? "ALTER DATABASE firstcome SET default_transaction_read_only = on"
                              : "ALTER DATABASE firstcome RESET default_transaction_read_only");
    bool done = rows != NULL;
    pg_rows_destroy(rows);
    return done;
}

/* Sessions keep what they began with, so they are cut both times. */
static bool make_read_only(struct nemesis *nemesis, int64_t hold_ms)
{
    if (!set_read_only(nemesis, true))
        return false;
    bool cut = signal_backends(nemesis, SIGTERM, true, 0) > 0;
    (void)nemesis_go_on_after(nemesis, hold_ms);
    int64_t deadline_us = clock_deadline_us(GONE_MS);
    while (!set_read_only(nemesis, false))
        if (clock_remaining_ms(deadline_us) == 0)
            die("the database cannot be made writable again");
    (void)signal_backends(nemesis, SIGTERM, true, 0);
    return cut;
}

/* What comes from the server is late for a while; and one service may have to connect while it is. */
static bool slow_store(struct nemesis *nemesis, const struct strike *strike)
{
    bool done = true;
    struct proxy *proxy = fleet_store_proxy(nemesis->fleet, nemesis->shard);
    proxy_delay(proxy, strike->delay_ms);
    if (strike->fault == FAULT_PG_SLOW_MORE)
        done = signal_backends(nemesis, SIGTERM, false, strike->pick) > 0;
    (void)nemesis_go_on_after(nemesis, strike->hold_ms);
    proxy_delay(proxy, 0);
    return done;
}

/* --- Redis --- */

static bool call_redis(struct redis *redis, const char *name, struct span arg,
                       const struct redis_reply **ret_reply)
{
    struct redis_command command;
    redis_command_init(&command);
    redis_arg_text(&command, name);
    if (arg.ptr)
        redis_arg(&command, arg);
    bool called = redis_call(redis, &command, clock_deadline_us(CONNECT_MS), ret_reply) == REDIS_OK;
    redis_command_deinit(&command);
    return called;
}

static bool flush_redis(struct redis *redis)
{
    const struct redis_reply *reply;
    return call_redis(redis, "FLUSHALL", (struct span){NULL, 0}, &reply);
}

/* Some keys, whichever they are: a model, a checkpoint, the one that says which generation is live. */
static bool remove_keys(struct redis *redis, uint32_t count)
{
    const struct redis_reply *reply;
    struct buf key;
    bool removed = true;
    buf_init(&key, 1024);
    for (uint32_t i = 0; i < count && removed; i++) {
        buf_clear(&key);
        removed = call_redis(redis, "RANDOMKEY", (struct span){NULL, 0}, &reply);
        if (removed && redis_text(reply).ptr)
            buf_append_span(&key, redis_text(reply));
        removed = removed && key.len && call_redis(redis, "DEL", buf_span(&key), &reply);
    }
    buf_deinit(&key);
    return removed;
}

/* Straight to the server, as its administrator. */
static bool empty_redis(const struct nemesis *nemesis, const struct strike *strike)
{
    enum { KEYS_MAX = 20 };
    char reason[256];
    struct redis *redis = redis_create(stack_env(nemesis->stacks[0], "REDIS_URL"), reason, sizeof reason);
    bool done = redis && redis_connect(redis, clock_deadline_us(CONNECT_MS)) == REDIS_OK;
    if (done)
        done = strike->fault == FAULT_REDIS_FLUSH ? flush_redis(redis)
                                                  : remove_keys(redis, 1 + strike->pick % KEYS_MAX);
    redis_destroy(redis);
    return done;
}

static void slow_redis(struct nemesis *nemesis, const struct strike *strike)
{
    proxy_delay(fleet_redis_proxy(nemesis->fleet), strike->delay_ms);
    (void)nemesis_go_on_after(nemesis, strike->hold_ms);
    proxy_delay(fleet_redis_proxy(nemesis->fleet), 0);
}

static void kill_redis(struct nemesis *nemesis, int64_t hold_ms)
{
    stack_signal(nemesis->stacks[0], "redis", SIGKILL);
    await_gone(nemesis->stacks[0], "redis");
    (void)nemesis_go_on_after(nemesis, hold_ms);
    pthread_mutex_lock(&nemesis->servers);
    start_servers(nemesis, nemesis->stacks[0]);
    pthread_mutex_unlock(&nemesis->servers);
}

static void freeze_redis(struct nemesis *nemesis, int64_t hold_ms)
{
    stack_signal(nemesis->stacks[0], "redis", SIGSTOP);
    (void)nemesis_go_on_after(nemesis, hold_ms);
    stack_signal(nemesis->stacks[0], "redis", SIGCONT);
}

/* --- Services --- */

static void begin_service(struct nemesis *nemesis, uint32_t service)
{
    pthread_mutex_lock(&nemesis->starting);
    fleet_begin(nemesis->fleet, service);
    pthread_mutex_unlock(&nemesis->starting);
}

static void freeze_service(struct nemesis *nemesis, uint32_t service, int64_t hold_ms)
{
    fleet_freeze(nemesis->fleet, service);
    (void)nemesis_go_on_after(nemesis, hold_ms);
    fleet_thaw(nemesis->fleet, service);
}

/* With SIGKILL, or gently. */
static void restart_service(struct nemesis *nemesis, uint32_t service, bool gently, int64_t hold_ms)
{
    if (gently)
        fleet_end(nemesis->fleet, service);
    else
        fleet_kill(nemesis->fleet, service);
    (void)nemesis_go_on_after(nemesis, hold_ms);
    begin_service(nemesis, service);
}

/* --- Lanes --- */

/* Those after which PostgreSQL is as it was before, but that nobody can use it meanwhile. */
static bool strike_store(struct nemesis *nemesis, const struct strike *strike)
{
    bool done = true;
    pthread_mutex_lock(&nemesis->servers);
    if (strike->fault == FAULT_PG_FAST || strike->fault == FAULT_PG_IMMEDIATE)
        done = restart_store(nemesis, strike->fault == FAULT_PG_FAST ? SIGINT : SIGQUIT, strike->hold_ms);
    else if (strike->fault == FAULT_PG_FREEZE)
        freeze_store(nemesis, strike->hold_ms);
    else if (strike->fault == FAULT_PG_CONNECTIONS)
        done = exhaust_connections(nemesis, strike->hold_ms);
    else if (strike->fault == FAULT_PG_READ_ONLY)
        done = make_read_only(nemesis, strike->hold_ms);
    else
        done = signal_backends(nemesis, SIGKILL, false, strike->pick) > 0;
    pthread_mutex_unlock(&nemesis->servers);
    return done;
}

/* false: it could not be done now. */
static bool carry_out(struct nemesis *nemesis, const struct strike *strike)
{
    switch (strike->fault) {
    case FAULT_PG_FAST:
    case FAULT_PG_IMMEDIATE:
    case FAULT_PG_FREEZE:
    case FAULT_PG_CONNECTIONS:
    case FAULT_PG_READ_ONLY:
    case FAULT_PG_BACKEND_KILL:
        return strike_store(nemesis, strike);
    case FAULT_PG_TERMINATE:
        return signal_backends(nemesis, SIGTERM, false, strike->pick) > 0;
    case FAULT_PG_SLOW:
    case FAULT_PG_SLOW_MORE:
        return slow_store(nemesis, strike);
    case FAULT_PRIMARY_KILL:
    case FAULT_PRIMARY_MACHINE_KILL:
    case FAULT_PRIMARY_FREEZE:
    case FAULT_PRIMARY_CUT_OFF:
    case FAULT_PATRONI_KILL:
    case FAULT_PATRONI_FREEZE:
    case FAULT_STANDBY_KILL:
    case FAULT_STANDBY_FREEZE:
    case FAULT_STANDBY_CUT_OFF:
    case FAULT_SWITCHOVER:
    case FAULT_SHARD_CUT_OFF:
    case FAULT_ETCD_KILL:
    case FAULT_ETCD_FREEZE:
        return nemesis_strike_patroni(nemesis, strike);
    case FAULT_REDIS_FLUSH:
    case FAULT_REDIS_VANISH:
        return empty_redis(nemesis, strike);
    case FAULT_REDIS_KILL:
        kill_redis(nemesis, strike->hold_ms);
        return true;
    case FAULT_REDIS_FREEZE:
        freeze_redis(nemesis, strike->hold_ms);
        return true;
    case FAULT_REDIS_SLOW:
        slow_redis(nemesis, strike);
        return true;
    case FAULT_SERVICE_FREEZE:
        freeze_service(nemesis, strike->service, strike->hold_ms);
        return true;
    case FAULT_QUERY_FREEZE:
        freeze_service(nemesis, fleet_query(nemesis->fleet, strike->service), strike->hold_ms);
        return true;
    case FAULT_PROJECTOR_FREEZE:
        freeze_service(nemesis, fleet_projector(nemesis->fleet, strike->service), strike->hold_ms);
        return true;
    case FAULT_PROJECTOR_KILL:
        restart_service(nemesis, fleet_projector(nemesis->fleet, strike->service), false, strike->hold_ms);
        return true;
    case FAULT_SERVICE_KILL:
    case FAULT_SERVICE_RESTART:
        restart_service(nemesis, strike->service, strike->fault == FAULT_SERVICE_RESTART, strike->hold_ms);
        return true;
    case FAULT_QUERY_KILL:
    case FAULT_QUERY_RESTART:
        restart_service(nemesis, fleet_query(nemesis->fleet, strike->service),
                        strike->fault == FAULT_QUERY_RESTART, strike->hold_ms);
        return true;
    case FAULT_COUNT:
        break;
    }
    UNREACHABLE("every fault has a case");
}

static void *run(void *context)
{
    struct lane_thread *lane = context;
    struct nemesis *nemesis = lane->nemesis;
    for (;;) {
        struct strike strike = schedule_next(&lane->schedule);
        if (!nemesis_go_on_after(nemesis, strike.gap_ms))
            return NULL;
        atomic_store(&lane->now, fault_text(strike.fault));
        if (fault_lane(strike.fault) == LANE_STORE) {
            nemesis->shard = shard_of(nemesis, &strike);
            nemesis->store = nemesis->stacks[nemesis->shard];
        }
        if (carry_out(nemesis, &strike))
            nemesis->struck[strike.fault]++;
        else
            atomic_fetch_add(&nemesis->missed, 1);
        atomic_store(&lane->now, "");
    }
}

struct nemesis *nemesis_start(struct stack *const *stacks, struct fleet *fleet, uint64_t seed)
{
    struct nemesis *nemesis = mem_zalloc(sizeof *nemesis);
    pthread_condattr_t attributes;
    nemesis->fleet = fleet;
    for (uint32_t i = 0; i < fleet_shards(fleet); i++)
        nemesis->stacks[i] = stacks[i];
    CHECK(pthread_mutex_init(&nemesis->servers, NULL) == 0);
    CHECK(pthread_mutex_init(&nemesis->starting, NULL) == 0);
    CHECK(pthread_mutex_init(&nemesis->mutex, NULL) == 0);
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&nemesis->stopped, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
    for (int i = 0; i < LANE_COUNT; i++) {
        struct lane_thread *lane = &nemesis->lanes[i];
        lane->nemesis = nemesis;
        atomic_init(&lane->now, "");
        schedule_init(&lane->schedule, seed, (enum lane)i, fleet_services(fleet), fleet_patroni(fleet));
        CHECK(pthread_create(&lane->thread, NULL, run, lane) == 0);
    }
    return nemesis;
}

const char *nemesis_now(const struct nemesis *nemesis, enum lane lane)
{
    return atomic_load(&nemesis->lanes[lane].now);
}

void nemesis_stop(struct nemesis *nemesis)
{
    pthread_mutex_lock(&nemesis->mutex);
    nemesis->stopping = true;
    pthread_cond_broadcast(&nemesis->stopped);
    pthread_mutex_unlock(&nemesis->mutex);
    for (int i = 0; i < LANE_COUNT; i++)
        CHECK(pthread_join(nemesis->lanes[i].thread, NULL) == 0);
}

uint64_t nemesis_struck(const struct nemesis *nemesis, enum fault fault)
{
    return nemesis->struck[fault];
}

bool nemesis_patroni(const struct nemesis *nemesis)
{
    return nemesis->lanes[LANE_STORE].schedule.patroni;
}

uint64_t nemesis_missed(const struct nemesis *nemesis)
{
    return atomic_load(&nemesis->missed);
}

void nemesis_destroy(struct nemesis *nemesis)
{
    pthread_cond_destroy(&nemesis->stopped);
    pthread_mutex_destroy(&nemesis->mutex);
    pthread_mutex_destroy(&nemesis->starting);
    pthread_mutex_destroy(&nemesis->servers);
    mem_free(nemesis);
}
