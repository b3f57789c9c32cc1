/* SPDX-License-Identifier: Apache-2.0 */
/* Dealing faults. */
#include "tests/chaos/schedule.h"

enum { DRAW_SCHEDULE = 4 };

static const struct {
    enum lane lane;
    const char *text;
    bool kills;
} faults[FAULT_COUNT] = {
#define FAULT_ROW(name, lane, text, kills) [FAULT_##name] = {lane, text, kills},
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

void schedule_init(struct schedule *schedule, uint64_t seed, enum lane lane, uint32_t services)
{
    CHECK(services > 0);
    *schedule =
        (struct schedule){.lane = lane, .services = services, .draw = draw_of(seed, DRAW_SCHEDULE, lane)};
}

static void fill(struct schedule *schedule)
{
    for (int fault = 0; fault < FAULT_COUNT; fault++)
        if (faults[fault].lane == schedule->lane)
            schedule->deck[schedule->left++] = (enum fault)fault;
}

static enum fault deal(struct schedule *schedule)
{
    if (schedule->left == 0)
        fill(schedule);
    size_t at = draw_below(&schedule->draw, (uint32_t)schedule->left);
    enum fault fault = schedule->deck[at];
    schedule->deck[at] = schedule->deck[--schedule->left];
    return fault;
}

/* Beyond the request deadline of 2 s and the client's patience of 3 s now and then: what wakes up after that
 * must not do what it was asked so long ago as if nothing had happened since. */
static int64_t hold_ms(struct draw *draw, enum fault fault)
{
    switch (fault) {
    case FAULT_SERVICE_FREEZE:
        return draw_percent(draw, 10) ? draw_between(draw, 5000, 12000) : draw_between(draw, 300, 4000);
    case FAULT_PG_FREEZE:
        return draw_percent(draw, 10) ? draw_between(draw, 3500, 10000) : draw_between(draw, 300, 3000);
    case FAULT_PG_CONNECTIONS:
    case FAULT_PG_READ_ONLY:
        return draw_between(draw, 300, 2000);
    case FAULT_PG_TERMINATE:
    case FAULT_PG_BACKEND_KILL:
    case FAULT_REDIS_FLUSH:
        return 0;
    default:
        return draw_between(draw, 0, 1000);
    }
}

struct strike schedule_next(struct schedule *schedule)
{
    struct draw *draw = &schedule->draw;
    enum fault fault = deal(schedule);
    return (struct strike){
        .fault = fault,
        .service = draw_below(draw, schedule->services),
        .pick = draw_below(draw, 1000),
        .gap_ms = draw_between(draw, 100, 1200),
        .hold_ms = hold_ms(draw, fault),
    };
}
