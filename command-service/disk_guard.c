/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that asks the file system. */
#include "command-service/disk_guard.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/base/thread.h"

enum { PAUSE_MS = 250, END_MS = 1000 };

struct disk_guard {
    const char *path;
    struct control *control;
    pthread_t thread;
    _Atomic enum disk_verdict verdict;
    pthread_mutex_t lock; /* guards stop */
    pthread_cond_t stopped;
    bool stop;
};

static struct metric *used_metric, *available_metric, *verdict_metric;

/* The thresholds are the ones that hold now. */
static void look(struct disk_guard *guard)
{
    int64_t percent, available;
    if (!disk_used_percent(guard->path, &percent) || !disk_available_bytes(guard->path, &available)) {
        log_warn("DISK-UNKNOWN", "cannot ask how full the disk is: %s", strerror(errno));
        return; /* the last verdict holds */
    }
    const struct settings *settings = &control_now(guard->control)->settings;
    const struct disk_thresholds thresholds = {
        .warn = settings_get(settings, SETTING_disk_warn_percent),
        .refuse_new = settings_get(settings, SETTING_disk_refuse_campaigns_percent),
        .refuse_writes = settings_get(settings, SETTING_disk_refuse_writes_percent),
    };
    enum disk_verdict former = guard->verdict, verdict = disk_judge(percent, &thresholds, former);
    guard->verdict = verdict;
    if (verdict > former)
        log_warn("DISK-FULL", "the event store's disk is %lld %% full: verdict %d", (long long)percent,
                 (int)verdict);
    else if (verdict < former)
        log_info("DISK-ROOM", "the event store's disk is %lld %% full: verdict %d", (long long)percent,
                 (int)verdict);
    metric_set(used_metric, percent * (1000000 / 100));
    metric_set(available_metric, available);
    metric_set(verdict_metric, verdict);
}

static void *disk_guard_main(void *context)
{
    struct disk_guard *guard = context;
    pthread_setname_np(pthread_self(), "disk");
    for (bool stop = false; !stop;) {
        look(guard);
        int64_t until_us = clock_deadline_us(PAUSE_MS);
        pthread_mutex_lock(&guard->lock);
        while (!guard->stop && cond_wait_until(&guard->stopped, &guard->lock, until_us))
            ;
        stop = guard->stop;
        pthread_mutex_unlock(&guard->lock);
    }
    return NULL;
}

struct disk_guard *disk_guard_start(const char *path, struct control *control)
{
    struct disk_guard *guard = mem_zalloc(sizeof *guard);
    used_metric =
        metric_gauge_micro("coupon_disk_used_ratio", "How full the event store's file system is", NULL);
    available_metric = metric_gauge("coupon_disk_available_bytes",
                                    "What may still be written to the event store's file system", NULL);
    verdict_metric =
        metric_gauge("coupon_disk_verdict", "0 fine, 1 warn, 2 no new campaigns, 3 no writes", NULL);
    guard->path = path;
    guard->control = control;
    CHECK(pthread_mutex_init(&guard->lock, NULL) == 0 && pthread_cond_init(&guard->stopped, NULL) == 0);
    if (*path)
        CHECK(pthread_create(&guard->thread, NULL, disk_guard_main, guard) == 0);
    return guard;
}

void disk_guard_stop(struct disk_guard *guard)
{
    struct timespec until;
    pthread_mutex_lock(&guard->lock);
    guard->stop = true;
    pthread_cond_signal(&guard->stopped);
    pthread_mutex_unlock(&guard->lock);
    CHECK(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
    until.tv_sec += END_MS / 1000;
    if (*guard->path && pthread_clockjoin_np(guard->thread, NULL, CLOCK_MONOTONIC, &until) != 0)
        return;
    pthread_cond_destroy(&guard->stopped);
    pthread_mutex_destroy(&guard->lock);
    mem_free(guard);
}

enum disk_verdict disk_guard_verdict(const struct disk_guard *guard)
{
    return guard->verdict;
}
