/* SPDX-License-Identifier: Apache-2.0 */
/* Single flight: ten thousand for one target are one load, from many threads too; who does not want to wait.
 */
#include "query-service/cache/single_flight.h"

#include <pthread.h>

#include "common/base/testing.h"

enum { MANY = 10000 };

static size_t count(struct read *list)
{
    size_t n = 0;
    for (; list; list = (struct read *)list->item.next)
        n++;
    return n;
}

static enum flight_role join(struct single_flight *flights, const char *key, struct read *read, bool wait)
{
    read->waiter.key = (struct buf){.data = (char *)(uintptr_t)key, .len = strlen(key)}; /* borrowed */
    return single_flight_join(flights, read, wait);
}

static void ten_thousand_are_one_load(void **)
{
    static struct read reads[MANY];
    struct single_flight *flights = single_flight_create();
    assert_int_equal(join(flights, "/x", &reads[0], true), FLIGHT_LEADER);
    for (size_t i = 1; i < MANY; i++)
        assert_int_equal(join(flights, "/x", &reads[i], true), FLIGHT_FOLLOWER);
    assert_int_equal(single_flight_waiting(flights), MANY - 1);
    struct read *waiting = single_flight_end(flights, &reads[0]);
    assert_ptr_equal(waiting, &reads[1]); /* in order of arrival */
    assert_int_equal(count(waiting), MANY - 1);
    assert_int_equal(single_flight_waiting(flights), 0);
    single_flight_destroy(flights);
}

static void other_targets_are_other_flights(void **)
{
    struct read a = {0}, b = {0}, c = {0};
    struct single_flight *flights = single_flight_create();
    assert_int_equal(join(flights, "/a", &a, true), FLIGHT_LEADER);
    assert_int_equal(join(flights, "/b", &b, true), FLIGHT_LEADER);
    assert_int_equal(join(flights, "/a", &c, true), FLIGHT_FOLLOWER);
    assert_null(single_flight_end(flights, &b));
    assert_ptr_equal(single_flight_end(flights, &a), &c);
    assert_int_equal(join(flights, "/a", &a, true), FLIGHT_LEADER); /* nothing is remembered */
    assert_null(single_flight_end(flights, &a));
    single_flight_destroy(flights);
}

static void not_everybody_wants_to_wait(void **)
{
    struct read lead = {0}, other = {0}, first = {0};
    struct single_flight *flights = single_flight_create();
    assert_int_equal(join(flights, "/a", &lead, false), FLIGHT_LEADER);
    assert_int_equal(join(flights, "/a", &first, false), FLIGHT_BUSY);
    assert_int_equal(join(flights, "/b", &other, false), FLIGHT_LEADER); /* leading is not waiting */
    assert_int_equal(join(flights, "/a", &first, true), FLIGHT_FOLLOWER);
    assert_ptr_equal(single_flight_end(flights, &lead), &first);
    assert_null(single_flight_end(flights, &other));
    single_flight_destroy(flights);
}

struct crowd {
    struct single_flight *flights;
    pthread_barrier_t start;
    _Atomic int leads, waits;
    struct read *_Atomic lead;
};

static void *crowd_run(void *context)
{
    struct crowd *crowd = context;
    pthread_barrier_wait(&crowd->start);
    for (int i = 0; i < MANY / 8; i++) {
        struct read *read = read_create(QUERY_CAMPAIGN, 1);
        buf_append_text(&read->waiter.key, "/hot");
        if (single_flight_join(crowd->flights, read, true) == FLIGHT_LEADER) {
            crowd->leads++;
            crowd->lead = read;
        } else {
            crowd->waits++;
        }
    }
    return NULL;
}

static void from_many_threads(void **)
{
    pthread_t threads[8];
    struct crowd crowd = {.flights = single_flight_create()};
    pthread_barrier_init(&crowd.start, NULL, COUNT_OF(threads));
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_run, &crowd), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(crowd.leads, 1);
    assert_int_equal(crowd.waits, MANY - 1);
    struct read *waiting = single_flight_end(crowd.flights, crowd.lead);
    assert_int_equal(count(waiting), MANY - 1);
    while (waiting) {
        struct read *next = (struct read *)waiting->item.next;
        read_destroy(waiting);
        waiting = next;
    }
    read_destroy(crowd.lead);
    pthread_barrier_destroy(&crowd.start);
    single_flight_destroy(crowd.flights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_are_one_load),
        cmocka_unit_test(other_targets_are_other_flights),
        cmocka_unit_test(not_everybody_wants_to_wait),
        cmocka_unit_test(from_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
