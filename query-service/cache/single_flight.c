/* SPDX-License-Identifier: Apache-2.0 */
/* A table of flights under one lock, which is held to move pointers only. */
#include "query-service/cache/single_flight.h"

#include <pthread.h>

#include "common/base/map.h"
#include "common/base/mem.h"

struct flight {
    struct work_list waiting;
    struct span key; /* the leader's */
};

struct single_flight {
    pthread_mutex_t lock; /* guards everything below, and the flights */
    struct map map;
    size_t waiting;
};

struct single_flight *single_flight_create(void)
{
    struct single_flight *flights = mem_zalloc(sizeof *flights);
    CHECK(pthread_mutex_init(&flights->lock, NULL) == 0);
    map_init(&flights->map);
    return flights;
}

void single_flight_destroy(struct single_flight *flights)
{
    if (!flights)
        return;
    CHECK(flights->map.count == 0);
    map_deinit(&flights->map);
    pthread_mutex_destroy(&flights->lock);
    mem_free(flights);
}

static struct flight *flight_create(struct span key)
{
    struct flight *flight = mem_zalloc(sizeof *flight);
    flight->key = key;
    work_list_init(&flight->waiting);
    return flight;
}

static enum flight_role join_locked(struct single_flight *flights, struct read *read, bool wait)
{
    struct span key = buf_span(&read->waiter.key);
    struct flight *flight = map_get(&flights->map, key);
    if (!flight) {
        read->waiter.flight = flight_create(key);
        map_put(&flights->map, key, read->waiter.flight);
        return FLIGHT_LEADER;
    }
    if (!wait)
        return FLIGHT_BUSY;
    work_list_add(&flight->waiting, &read->item);
    flights->waiting++;
    return FLIGHT_FOLLOWER;
}

enum flight_role single_flight_join(struct single_flight *flights, struct read *read, bool wait)
{
    pthread_mutex_lock(&flights->lock);
    enum flight_role role = join_locked(flights, read, wait);
    pthread_mutex_unlock(&flights->lock);
    return role;
}

struct read *single_flight_end(struct single_flight *flights, struct read *read)
{
    struct flight *flight = read->waiter.flight;
    pthread_mutex_lock(&flights->lock);
    CHECK(map_remove(&flights->map, flight->key) == flight);
    for (struct work_item *item = flight->waiting.first; item; item = item->next)
        flights->waiting--;
    pthread_mutex_unlock(&flights->lock);
    struct read *first = (struct read *)flight->waiting.first; /* its first member */
    read->waiter.flight = NULL;
    mem_free(flight);
    return first;
}

size_t single_flight_waiting(struct single_flight *flights)
{
    pthread_mutex_lock(&flights->lock);
    size_t waiting = flights->waiting;
    pthread_mutex_unlock(&flights->lock);
    return waiting;
}
