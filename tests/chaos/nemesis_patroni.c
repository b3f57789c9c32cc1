/* SPDX-License-Identifier: Apache-2.0 */
/* Striking a shard under Patroni, and its healing. */
#include <poll.h>
#include <signal.h>

#include "common/base/clock.h"
#include "tests/availability/patroni.h"
#include "tests/chaos/nemesis_internal.h"

enum { WHOLE_MS = 60000, POLL_MS = 50 };

/* What a strike is about: the shard's number, its stack, a machine. */
struct place {
    struct nemesis *nemesis;
    struct stack *stack;
    int shard, machine;
};

/* Each call is a program, which gets this process's environment. */
#define PROGRAM(place, call)                               \
    do {                                                   \
        pthread_mutex_lock(&(place)->nemesis->starting);   \
        call;                                              \
        pthread_mutex_unlock(&(place)->nemesis->starting); \
    } while (0)

static void hold(const struct place *place, const struct strike *strike)
{
    (void)nemesis_go_on_after(place->nemesis, strike->hold_ms);
}

static void await_whole(const struct place *place)
{
    int64_t deadline_us = clock_deadline_us(WHOLE_MS);
    bool whole = false;
    while (!(whole = patroni_led(place->shard, 0)) && clock_remaining_ms(deadline_us) > 0)
        (void)poll(NULL, 0, POLL_MS);
    if (!whole)
        fprintf(stderr, "chaos: shard %d has no primary with a standby yet\n", place->shard);
}

/* --- One machine --- */

static void kill_part(const struct place *place, const struct strike *strike, const char *what)
{
    PROGRAM(place, patroni_signal(place->stack, place->machine, what, SIGKILL));
    hold(place, strike);
    PROGRAM(place, patroni_begin(place->stack, place->machine));
}

/* Of a machine that wakes up, PostgreSQL is awake before Patroni can tell it anything. */
static void freeze_part(const struct place *place, const struct strike *strike, const char *what)
{
    PROGRAM(place, patroni_signal(place->stack, place->machine, what, SIGSTOP));
    hold(place, strike);
    PROGRAM(place, patroni_signal(place->stack, place->machine, "postgres", SIGCONT));
    PROGRAM(place, patroni_signal(place->stack, place->machine, "all", SIGCONT));
}

static void cut_off(const struct place *place, const struct strike *strike)
{
    PROGRAM(place, patroni_cut_off(place->stack, place->machine));
    hold(place, strike);
    PROGRAM(place, patroni_reconnect(place->stack, place->machine));
}

/* --- The shard --- */

static void silence(const struct place *place, bool silent)
{
    PROGRAM(place, patroni_silence(place->stack, place->machine, silent));
    PROGRAM(place, patroni_silence(place->stack, patroni_next(place->machine), silent));
}

static bool switch_over(const struct place *place)
{
    bool done = false;
    int standby = patroni_find(place->shard, "sync", 0);
    if (standby)
        PROGRAM(place, done = patroni_switchover(place->stack, place->machine, standby));
    return done;
}

static bool strike_etcd(struct nemesis *nemesis, const struct strike *strike)
{
    struct place place = {.nemesis = nemesis,
                          .stack = nemesis->stacks[0],
                          .machine = PATRONI_ETCD_FIRST + (int)(strike->pick % PATRONI_ETCDS)};
    if (strike->fault == FAULT_ETCD_KILL)
        kill_part(&place, strike, "all");
    else
        freeze_part(&place, strike, "all");
    return true;
}

static bool strike_machine(const struct place *place, const struct strike *strike)
{
    switch (strike->fault) {
    case FAULT_PRIMARY_KILL: /* Patroni starts it again */
        PROGRAM(place, patroni_signal(place->stack, place->machine, "postgres", SIGKILL));
        return true;
    case FAULT_PRIMARY_MACHINE_KILL:
    case FAULT_STANDBY_KILL:
        kill_part(place, strike, "all");
        return true;
    case FAULT_PATRONI_KILL:
        kill_part(place, strike, "patroni");
        return true;
    case FAULT_PRIMARY_FREEZE:
    case FAULT_STANDBY_FREEZE:
        freeze_part(place, strike, "all");
        return true;
    case FAULT_PATRONI_FREEZE:
        freeze_part(place, strike, "patroni");
        return true;
    case FAULT_PRIMARY_CUT_OFF:
    case FAULT_STANDBY_CUT_OFF:
        cut_off(place, strike);
        return true;
    case FAULT_SHARD_CUT_OFF:
        silence(place, true);
        hold(place, strike);
        silence(place, false);
        return true;
    default:
        return switch_over(place);
    }
}

bool nemesis_strike_patroni(struct nemesis *nemesis, const struct strike *strike)
{
    bool standby = strike->fault == FAULT_STANDBY_KILL || strike->fault == FAULT_STANDBY_FREEZE ||
                   strike->fault == FAULT_STANDBY_CUT_OFF;
    struct place place = {.nemesis = nemesis, .stack = nemesis->store, .shard = (int)nemesis->shard + 1};
    if (strike->fault == FAULT_ETCD_KILL || strike->fault == FAULT_ETCD_FREEZE)
        return strike_etcd(nemesis, strike);
    place.machine = patroni_find(place.shard, standby ? "replica" : "primary", 0);
    if (place.machine == 0 || !strike_machine(&place, strike))
        return false;
    await_whole(&place);
    return true;
}
