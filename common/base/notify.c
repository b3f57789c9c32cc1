/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to the service manager, and the watchdog. What is here has the life of the process. */
#include "common/base/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/clock.h"

enum {
    MESSAGE_MAX = 512,
    ALIVE_PER_PERIOD = 4, /* messages: systemd asks for at least two */
    MISSED_PER_PERIOD = 2 /* a loop without a beat for this part of the watchdog's time hangs */
};

static struct sockaddr_un manager;
static socklen_t manager_len; /* 0: nobody wants to know */

static struct {
    _Atomic int64_t period_us; /* 0: there is none */
    _Atomic int64_t next_us;   /* when the manager is told next */
    pthread_mutex_t lock;      /* guards the list */
    LIST_HEAD(heartbeats, heartbeat) loops;
} watchdog = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* A name that begins with '@' is of Linux' abstract sockets. */
static void manager_set(const char *name)
{
    size_t len = name ? strlen(name) : 0;
    manager_len = 0;
    if (len < 2 || len >= sizeof manager.sun_path || (name[0] != '/' && name[0] != '@'))
        return;
    manager.sun_family = AF_UNIX;
    memcpy(manager.sun_path, name, len + 1);
    if (name[0] == '@')
        manager.sun_path[0] = '\0';
    manager_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'));
}

/* WATCHDOG_PID says whose the watchdog is: a parent's variables come down to its children. */
static int64_t period_of(const char *period, const char *pid)
{
    int64_t period_us, whose;
    if (manager_len == 0 || !period || !parse_i64(span_of(period), 1, INT64_MAX, &period_us))
        return 0;
    if (pid && (!parse_i64(span_of(pid), 1, INT64_MAX, &whose) || whose != getpid()))
        return 0;
    return period_us;
}

void notify_setup(void)
{
    manager_set(getenv("NOTIFY_SOCKET"));
    atomic_store(&watchdog.next_us, 0);
    atomic_store(&watchdog.period_us, period_of(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID")));
}

void notify_send(const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list arguments;
    if (manager_len == 0)
        return;
    va_start(arguments, format);
    int len = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    CHECK(len > 0 && len < MESSAGE_MAX);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, message, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&manager,
                 manager_len);
    close(fd);
}

void heartbeat_begin(struct heartbeat *heartbeat)
{
    atomic_store(&heartbeat->beat_us, clock_mono_us());
    pthread_mutex_lock(&watchdog.lock);
    LIST_INSERT_HEAD(&watchdog.loops, heartbeat, others);
    pthread_mutex_unlock(&watchdog.lock);
}

void heartbeat_end(struct heartbeat *heartbeat)
{
    pthread_mutex_lock(&watchdog.lock);
    LIST_REMOVE(heartbeat, others);
    pthread_mutex_unlock(&watchdog.lock);
}

static bool all_beat(int64_t now_us, int64_t period_us)
{
    const struct heartbeat *heartbeat;
    bool all = true;
    pthread_mutex_lock(&watchdog.lock);
    LIST_FOREACH(heartbeat, &watchdog.loops, others)
    all = all && now_us - atomic_load(&heartbeat->beat_us) < period_us / MISSED_PER_PERIOD;
    pthread_mutex_unlock(&watchdog.lock);
    return all;
}

void heartbeat_beat(struct heartbeat *heartbeat, int64_t now_us)
{
    int64_t period_us = atomic_load_explicit(&watchdog.period_us, memory_order_relaxed);
    if (period_us == 0)
        return;
    atomic_store(&heartbeat->beat_us, now_us);
    int64_t next_us = atomic_load(&watchdog.next_us);
    if (now_us < next_us ||
        !atomic_compare_exchange_strong(&watchdog.next_us, &next_us, now_us + period_us / ALIVE_PER_PERIOD))
        return;
    if (all_beat(now_us, period_us))
        notify_send("WATCHDOG=1");
}
