/* SPDX-License-Identifier: Apache-2.0 */
/* Keeping the offset. */
#include "query-service/load/log_time.h"

#include "common/base/check.h"
#include "common/base/clock.h"

enum {
    WILD_US = US_PER_S,  /* a reading that is off by more needs others to agree with it */
    LOOKS = 3,           /* as many in a row */
    DRIFT_DIVISOR = 2000 /* a clock that is being adjusted runs up to 1/2000 too fast or too slow */
};

void log_time_init(struct log_time *time, int64_t wall_us, int64_t mono_us)
{
    *time = (struct log_time){.measured_us = mono_us};
    atomic_init(&time->offset_us, wall_us - mono_us);
    CHECK(pthread_mutex_init(&time->lock, NULL) == 0);
}

void log_time_deinit(struct log_time *time)
{
    pthread_mutex_destroy(&time->lock);
}

int64_t log_time_us(const struct log_time *time, int64_t mono_us)
{
    return mono_us + atomic_load_explicit(&time->offset_us, memory_order_relaxed);
}

bool log_time_known(const struct log_time *time)
{
    return atomic_load(&time->known);
}

static int64_t distance(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

/* Whether a reading far from the offset has been confirmed. */
static bool confirmed(struct log_time *time, int64_t offset_us)
{
    if (time->suspicions == 0 || distance(offset_us, time->suspected_us) > WILD_US)
        time->suspicions = 0;
    time->suspected_us = offset_us;
    return ++time->suspicions >= LOOKS;
}

static void take(struct log_time *time, int64_t offset_us, int64_t error_us, int64_t now_us)
{
    atomic_store_explicit(&time->offset_us, offset_us, memory_order_relaxed);
    time->error_us = error_us;
    time->measured_us = now_us;
    time->suspicions = 0;
    atomic_store(&time->known, true);
}

/* A quick look says more than a slow one, so a slow one that does not contradict what is known changes
 * nothing. */
static bool note_locked(struct log_time *time, int64_t offset_us, int64_t error_us, int64_t now_us)
{
    int64_t known_us = atomic_load_explicit(&time->offset_us, memory_order_relaxed);
    int64_t known_error_us = time->error_us + (now_us - time->measured_us) / DRIFT_DIVISOR;
    int64_t away_us = distance(offset_us, known_us);
    if (!atomic_load(&time->known) || (away_us > WILD_US + error_us && confirmed(time, offset_us))) {
        take(time, offset_us, error_us, now_us);
        return true;
    }
    if (away_us > WILD_US + error_us)
        return false;
    time->suspicions = 0;
    if (error_us <= known_error_us || away_us > error_us + known_error_us)
        take(time, offset_us, error_us, now_us);
    return true;
}

bool log_time_note(struct log_time *time, int64_t sent_us, int64_t received_us, int64_t wall_us)
{
    int64_t error_us = (received_us - sent_us) / 2;
    pthread_mutex_lock(&time->lock);
    bool believed = note_locked(time, wall_us - (sent_us + error_us), error_us, received_us);
    pthread_mutex_unlock(&time->lock);
    return believed;
}
