/* SPDX-License-Identifier: Apache-2.0 */
/* A table of what was waited for, written when the program ends. */
#include "tests/lib/wait.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WAITS_MAX = 256, BOUND_MIN_MS = 120000, BOUND_AFTER_MS = 3000 };

static struct {
    const char *what;
    int64_t us;
    uint64_t times;
} waits[WAITS_MAX];
static size_t waits_count;
static pid_t owner;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static _Atomic bool ran_out;

int64_t wait_bound_ms(int64_t bound_ms)
{
    if (atomic_load(&ran_out) && bound_ms > BOUND_AFTER_MS)
        return BOUND_AFTER_MS;
    return bound_ms > BOUND_MIN_MS ? bound_ms : BOUND_MIN_MS;
}

void wait_ran_out(void)
{
    atomic_store(&ran_out, true);
}

void wait_moment(void)
{
    const struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
    (void)ppoll(NULL, 0, &pause, NULL);
}

/* A child of the test program that ends by exit() has nothing of its own to say. */
static void write_waits(void)
{
    const char *path = getenv("TEST_WAITS");
    FILE *file = path && owner == getpid() ? fopen(path, "ae") : NULL;
    for (size_t i = 0; file && i < waits_count; i++)
        fprintf(file, "%lld %llu %.70s\n", (long long)(waits[i].us / 1000),
                (unsigned long long)waits[i].times, waits[i].what);
    if (file)
        fclose(file);
}

void wait_note(const char *what, int64_t from_us)
{
    size_t i = 0;
    pthread_mutex_lock(&lock);
    if (owner == 0) {
        owner = getpid();
        (void)atexit(write_waits);
    }
    while (i < waits_count && strcmp(waits[i].what, what) != 0)
        i++;
    if (i < WAITS_MAX) {
        waits[i].what = what;
        waits[i].us += clock_mono_us() - from_us;
        waits[i].times++;
        waits_count = i == waits_count ? i + 1 : waits_count;
    }
    pthread_mutex_unlock(&lock);
}
