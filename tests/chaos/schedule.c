/* SPDX-License-Identifier: Apache-2.0 */
/* Dealing faults. */
#include "tests/chaos/schedule.h"

enum { DRAW_SCHEDULE = 4 };

static const struct {
    enum lane lane;
    enum fault_log log;
    const char *text;
    bool kills;
} faults[FAULT_COUNT] = {
#define FAULT_ROW(name, lane, log, text, kills) [FAULT_##name] = {lane, log, text, kills},
    FAULTS(FAULT_ROW)
#undef FAULT_ROW
};

const char *fault_text(enum fault fault)
{
    return faults[fault].text;
}

bool fault_kills(enum fault fault)
{
    return faults[fault].kills;
}

enum lane fault_lane(enum fault fault)
{
    return faults[fault].lane;
}

bool fault_fits(enum fault fault, bool patroni)
{
    return faults[fault].log != (patroni ? LOG_ALONE : LOG_PATRONI);
}

void schedule_init(struct schedule *schedule, uint64_t seed, enum lane lane, uint32_t services, bool patroni)
{
    CHECK(services > 0);
    *schedule = (struct schedule){
        .lane = lane, .services = services, .patroni = patroni, .rng = rng_of(seed, DRAW_SCHEDULE, lane)};
}

static void fill(struct schedule *schedule)
{
    for (int fault = 0; fault < FAULT_COUNT; fault++)
        if (faults[fault].lane == schedule->lane && fault_fits((enum fault)fault, schedule->patroni))
            schedule->deck[schedule->left++] = (enum fault)fault;
}

static enum fault deal(struct schedule *schedule)
{
    if (schedule->left == 0)
        fill(schedule);
    size_t at = rng_below(&schedule->rng, (uint32_t)schedule->left);
    enum fault fault = schedule->deck[at];
    schedule->deck[at] = schedule->deck[--schedule->left];
    return fault;
}

/* Beyond the request deadline of 2 s and the client's patience of 3 s now and then: what wakes up after that
 * must not do what it was asked so long ago as if nothing had happened since. */
static int64_t hold_ms(struct rng *rng, enum fault fault)
{
    switch (fault) {
    case FAULT_SERVICE_FREEZE:
    case FAULT_QUERY_FREEZE:
    case FAULT_PROJECTOR_FREEZE:
        return rng_percent(rng, 10) ? rng_between(rng, 5000, 12000) : rng_between(rng, 300, 4000);
    case FAULT_PG_FREEZE:
        return rng_percent(rng, 10) ? rng_between(rng, 3500, 10000) : rng_between(rng, 300, 3000);
    case FAULT_PRIMARY_MACHINE_KILL:
    case FAULT_PRIMARY_FREEZE:
    case FAULT_PRIMARY_CUT_OFF:
    case FAULT_PATRONI_KILL:
    case FAULT_PATRONI_FREEZE: /* every other time for longer than the ttl, so that another is promoted */
        return rng_percent(rng, 50) ? rng_between(rng, 14000, 20000) : rng_between(rng, 300, 5000);
    case FAULT_STANDBY_KILL:
    case FAULT_STANDBY_FREEZE:
    case FAULT_STANDBY_CUT_OFF:
    case FAULT_SHARD_CUT_OFF:
    case FAULT_ETCD_KILL:
    case FAULT_ETCD_FREEZE:
        return rng_between(rng, 300, 8000);
    case FAULT_PG_CONNECTIONS:
    case FAULT_PG_READ_ONLY:
        return rng_between(rng, 300, 2000);
    case FAULT_PG_SLOW:
    case FAULT_PG_SLOW_MORE:
    case FAULT_REDIS_SLOW:
        return rng_between(rng, 1000, 5000);
    case FAULT_PG_TERMINATE:
    case FAULT_PG_BACKEND_KILL:
    case FAULT_SWITCHOVER:
    case FAULT_REDIS_FLUSH:
    case FAULT_REDIS_VANISH:
        return 0;
    default:
        return rng_between(rng, 0, 1000);
    }
}

static int64_t delay_ms(struct rng *rng, enum fault fault)
{
    static const int64_t store[] = {50, 300, 700}, models[] = {5, 45, 300};
    uint32_t at = rng_below(rng, COUNT_OF(store));
    return fault == FAULT_REDIS_SLOW ? models[at] : store[at];
}

struct strike schedule_next(struct schedule *schedule)
{
    struct rng *rng = &schedule->rng;
    enum fault fault = deal(schedule);
    return (struct strike){
        .fault = fault,
        .service = rng_below(rng, schedule->services),
        .pick = rng_below(rng, STRIKE_PICKS),
        .gap_ms = rng_between(rng, 100, 1200),
        .hold_ms = hold_ms(rng, fault),
        .delay_ms = delay_ms(rng, fault),
    };
}
