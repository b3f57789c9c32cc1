/* SPDX-License-Identifier: Apache-2.0 */
/* The queue is bounded, everything submitted is worked on once, parked items come back later. */
#include "query-service/load/worker_pool.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "common/base/clock.h"

enum { ITEMS = 1000, THREADS = 4 };

struct job {
    struct work_item item;
    atomic_int worked;
    int64_t parked_us, back_us, expired_us;
};

static struct job jobs[ITEMS];
static struct worker_pool *pool;
static sem_t gate;
static atomic_int ticks, held, expired;

static void tick(void *state)
{
    (void)state;
    atomic_fetch_add(&ticks, 1);
}

static void work_count(void *state, struct work_item *const *items, size_t count)
{
    (void)state;
    assert_true(count >= 1 && count <= POOL_BATCH_MAX);
    for (size_t i = 0; i < count; i++)
        atomic_fetch_add(&((struct job *)items[i])->worked, 1);
}

static void work_behind_gate(void *state, struct work_item *const *items, size_t count)
{
    atomic_fetch_add(&held, 1);
    sem_wait(&gate);
    work_count(state, items, count);
}

static void work_parking(void *state, struct work_item *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct job *job = (struct job *)items[i];
        if (atomic_fetch_add(&job->worked, 1) == 0) {
            job->parked_us = clock_mono_us();
            pool_park(pool, items[i]);
        } else {
            job->back_us = clock_mono_us();
        }
    }
    (void)state;
}

static void expire(void *context, struct work_item *item)
{
    (void)context;
    ((struct job *)item)->expired_us = clock_mono_us();
    atomic_fetch_add(&expired, 1);
}

static struct worker_pool *start(unsigned threads, size_t items_max,
                                 void (*work)(void *, struct work_item *const *, size_t))
{
    void *const states[THREADS] = {NULL};
    memset(jobs, 0, sizeof jobs);
    for (int i = 0; i < ITEMS; i++)
        jobs[i].item.deadline_us = INT64_MAX;
    atomic_store(&expired, 0);
    atomic_store(&held, 0);
    pool = pool_create(&(struct pool_options){.name = "test",
                                              .threads = threads,
                                              .items_max = items_max,
                                              .batch_max = POOL_BATCH_MAX,
                                              .expire = expire,
                                              .state = states,
                                              .work = work,
                                              .tick = tick});
    pool_start(pool);
    return pool;
}

static void everything_is_worked_on_once(void **)
{
    start(THREADS, ITEMS, work_count);
    for (int i = 0; i < ITEMS; i++)
        assert_true(pool_submit(pool, &jobs[i].item));
    pool_destroy(pool);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(atomic_load(&jobs[i].worked), 1);
    assert_true(atomic_load(&ticks) >= THREADS); /* once at the start */
}

static void a_full_queue_refuses(void **)
{
    sem_init(&gate, 0, 0);
    start(1, 3, work_behind_gate);
    assert_true(pool_submit(pool, &jobs[0].item));
    int64_t deadline_us = clock_deadline_us(5000);
    while (atomic_load(&held) == 0 && clock_remaining_ms(deadline_us) > 0)
        continue;
    for (int i = 1; i <= 3; i++)
        assert_true(pool_submit(pool, &jobs[i].item));
    assert_false(pool_submit(pool, &jobs[4].item));
    assert_int_equal(pool_items(pool), 3);
    for (int i = 0; i < 8; i++)
        sem_post(&gate);
    pool_destroy(pool);
    for (int i = 0; i <= 4; i++)
        assert_int_equal(atomic_load(&jobs[i].worked), i < 4);
    sem_destroy(&gate);
}

static void parked_items_come_back_after_the_delay(void **)
{
    start(2, ITEMS, work_parking);
    for (int i = 0; i < 100; i++)
        assert_true(pool_submit(pool, &jobs[i].item));
    pool_destroy(pool); /* also waits for what is parked */
    for (int i = 0; i < 100; i++) {
        assert_int_equal(atomic_load(&jobs[i].worked), 2);
        assert_true(jobs[i].back_us - jobs[i].parked_us >= (POOL_PARK_MS - 1) * US_PER_MS);
    }
}

static void await(atomic_int *value, int is)
{
    int64_t deadline_us = clock_deadline_us(20000);
    while (atomic_load(value) < is && clock_remaining_ms(deadline_us) > 0)
        continue;
    assert_int_equal(atomic_load(value), is);
}

/* While the only worker is held up, what is queued behind it ends by its own deadline, the first first; what
 * has time is worked on. */
static void what_no_worker_gets_to_ends_by_its_deadline(void **)
{
    sem_init(&gate, 0, 0);
    start(1, ITEMS, work_behind_gate);
    assert_true(pool_submit(pool, &jobs[0].item));
    await(&held, 1);
    int64_t now_us = clock_mono_us();
    static const int ms[] = {0, 60, 20, 40}; /* of jobs 1 to 3 */
    for (int i = 1; i <= 3; i++) {
        jobs[i].item.deadline_us = now_us + ms[i] * US_PER_MS;
        assert_true(pool_submit(pool, &jobs[i].item));
    }
    assert_true(pool_submit(pool, &jobs[4].item));
    await(&expired, 3);
    assert_int_equal(pool_items(pool), 1);
    assert_true(jobs[2].expired_us <= jobs[3].expired_us && jobs[3].expired_us <= jobs[1].expired_us);
    for (int i = 1; i <= 3; i++)
        assert_true(jobs[i].expired_us >= jobs[i].item.deadline_us);
    sem_post(&gate);
    sem_post(&gate);
    pool_destroy(pool);
    for (int i = 0; i <= 4; i++)
        assert_int_equal(atomic_load(&jobs[i].worked), i == 0 || i == 4);
    sem_destroy(&gate);
}

static atomic_bool is_over;

static void *stop_it(void *context)
{
    (void)context;
    pool_stop(pool);
    atomic_store(&is_over, true);
    return NULL;
}

/* Others may not know yet that it is to end: they keep what they have. */
static void a_stopping_pool_refuses_and_finishes(void **)
{
    pthread_t thread;
    int taken = 1;
    sem_init(&gate, 0, 0);
    atomic_store(&is_over, false);
    start(1, ITEMS, work_behind_gate);
    assert_true(pool_submit(pool, &jobs[0].item));
    assert_int_equal(pthread_create(&thread, NULL, stop_it, NULL), 0);
    while (taken < ITEMS && pool_submit(pool, &jobs[taken].item))
        taken++;
    assert_false(atomic_load(&is_over)); /* it waits for what it took */
    for (int i = 0; i < ITEMS; i++)
        sem_post(&gate);
    pthread_join(thread, NULL);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(atomic_load(&jobs[i].worked), i < taken);
    assert_false(pool_submit(pool, &jobs[taken % ITEMS].item)); /* nor afterwards */
    pool_destroy(pool);
    sem_destroy(&gate);
}

/* One after another, so that the worker rests before each: it must not sleep until its next tick. */
static void an_idle_worker_is_woken(void **)
{
    enum { ONE_BY_ONE = 40 };
    start(1, ITEMS, work_count);
    int before = atomic_load(&ticks);
    for (int i = 0; i < ONE_BY_ONE; i++) {
        assert_true(pool_submit(pool, &jobs[i].item));
        await(&jobs[i].worked, 1);
    }
    assert_true(atomic_load(&ticks) - before < ONE_BY_ONE / 2);
    pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_worked_on_once),
        cmocka_unit_test(a_full_queue_refuses),
        cmocka_unit_test(parked_items_come_back_after_the_delay),
        cmocka_unit_test(what_no_worker_gets_to_ends_by_its_deadline),
        cmocka_unit_test(an_idle_worker_is_woken),
        cmocka_unit_test(a_stopping_pool_refuses_and_finishes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
