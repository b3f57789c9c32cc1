/* SPDX-License-Identifier: Apache-2.0 */
/* Single flight: of all reads with one key that have to go to the stores, one goes, the others wait for what
 * it brings. A flight ends when its read is concluded, which it is by its deadline; who joined later has a
 * later one, so nobody waits past his own (I11). Who waits is bounded by the connections there are: a
 * connection has one request at a time. Nothing is remembered of a flight that failed. Thread-safe. */
#pragma once

#include "query-service/load/read.h"

struct single_flight;

struct single_flight *single_flight_create(void);
void single_flight_destroy(struct single_flight *flights); /* none may be under way; accepts NULL */

enum flight_role {
    FLIGHT_LEADER,   /* the read is to be submitted; single_flight_end ends the flight */
    FLIGHT_FOLLOWER, /* the read belongs to the flight until it ends */
    FLIGHT_BUSY,     /* somebody else is under way, and the read did not want to wait */
};

/* The flight of the read's key. `wait`: joins one that is under way. */
enum flight_role single_flight_join(struct single_flight *flights, struct read *read, bool wait);

/* Ends the flight; returns who waited, in order of arrival, linked by item.next. */
struct read *single_flight_end(struct single_flight *flights, struct read *read);
size_t single_flight_waiting(struct single_flight *flights);
