/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of the delays of the last minute, one for each look. */
#include "tests/lib/pace.h"

#include <pthread.h>
#include <signal.h>

#include "common/base/check.h"
#include "tests/lib/wait.h"

enum { LOOKS = 4096, PAUSE_MS = 20, WORK = 200000, HANDS = 30, BEFORE_US = 1000000 };

static struct {
    int64_t at_us, late_us;
} looks[LOOKS];
static uint64_t looks_count;
static int64_t best_us = INT64_MAX;
static volatile uint32_t sink; /* so that the work is done */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A pause and some work, which together never take less than at best; and not more than a hundredth of a
 * processor. */
static int64_t look(void)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000 * 1000};
    uint32_t x = 1;
    int64_t from_us = clock_mono_us();
    (void)ppoll(NULL, 0, &pause, NULL);
    for (int i = 0; i < WORK; i++)
        x = x * 1664525 + 1013904223;
    sink = x;
    return clock_mono_us() - from_us;
}

static void *run(void *context)
{
    for (;;) {
        int64_t took_us = look();
        pthread_mutex_lock(&lock);
        best_us = took_us < best_us ? took_us : best_us;
        looks[looks_count % LOOKS].at_us = clock_mono_us();
        looks[looks_count++ % LOOKS].late_us = took_us - best_us;
        pthread_mutex_unlock(&lock);
    }
    return context;
}

/* Never joined: it ends with the program. Signals are for the others. */
static void begin(void)
{
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    CHECK(pthread_create(&thread, NULL, run, NULL) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_detach(thread);
}

void pace_start(void)
{
    pthread_once(&once, begin);
}

int64_t pace_late_us(int64_t from_us)
{
    int64_t most = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < LOOKS && i < looks_count; i++)
        if (looks[i].at_us >= from_us - BEFORE_US && looks[i].late_us > most)
            most = looks[i].late_us;
    pthread_mutex_unlock(&lock);
    return most;
}

bool pace_kept(int64_t from_us, int64_t bound_us)
{
    return clock_mono_us() - from_us <= bound_us + HANDS * pace_late_us(from_us);
}
