/* SPDX-License-Identifier: Apache-2.0 */
/* What the service manager hears: whole messages, and of the watchdog only while every loop goes round. */
#include "common/base/notify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/testing.h"

enum { PERIOD_US = 1000000 };

/* A service manager that listens on an abstract socket. */
static int listen_as_manager(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(name, sizeof name, "@firstcome-notify-test-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
                     0);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    return fd;
}

static void assert_told(int fd, const char *want)
{
    char message[256];
    ssize_t len = recv(fd, message, sizeof message - 1, 0);
    if (!want) {
        assert_int_equal(len, -1);
        assert_int_equal(errno, EAGAIN);
        return;
    }
    assert_true(len > 0);
    message[len] = '\0';
    assert_string_equal(message, want);
}

static void set_watchdog(const char *period, int pid)
{
    char text[32];
    snprintf(text, sizeof text, "%d", pid);
    assert_int_equal(setenv("WATCHDOG_USEC", period, 1), 0);
    assert_int_equal(setenv("WATCHDOG_PID", text, 1), 0);
    notify_setup();
}

static void a_message_is_one_datagram(void **)
{
    int fd = listen_as_manager();
    notify_setup();
    notify_send("READY=1\nSTATUS=%s", "ready");
    assert_told(fd, "READY=1\nSTATUS=ready");
    assert_told(fd, NULL);
    close(fd);
    notify_send("READY=1"); /* a manager that is gone is no fault */
}

static void without_a_manager_nothing_is_sent(void **)
{
    static const char too_long[] = "@name-that-is-longer-than-the-address-of-a-unix-socket-may-be"
                                   "-which-is-something-over-a-hundred-bytes-long";
    static const char *const names[] = {"", "@", "relative", too_long};
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
    notify_setup();
    notify_send("READY=1");
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_int_equal(setenv("NOTIFY_SOCKET", names[i], 1), 0);
        notify_setup();
        notify_send("READY=1");
    }
}

static void the_watchdog_is_fed_while_every_loop_beats(void **)
{
    struct heartbeat busy, other;
    int fd = listen_as_manager();
    set_watchdog("1000000", (int)getpid());
    int64_t now_us = clock_mono_us();
    heartbeat_begin(&busy);
    heartbeat_begin(&other);
    heartbeat_beat(&busy, now_us);
    assert_told(fd, "WATCHDOG=1");
    heartbeat_beat(&other, now_us + PERIOD_US / 5);
    assert_told(fd, NULL); /* not yet time */
    heartbeat_beat(&busy, now_us + PERIOD_US / 3);
    assert_told(fd, "WATCHDOG=1");
    /* `other` hangs: however often `busy` goes round, the manager hears no more. */
    for (int i = 0; i < 10; i++)
        heartbeat_beat(&busy, now_us + PERIOD_US + i * PERIOD_US / 3);
    assert_told(fd, NULL);
    heartbeat_beat(&other, now_us + 5 * PERIOD_US); /* and it goes on */
    heartbeat_beat(&busy, now_us + 5 * PERIOD_US + PERIOD_US / 3);
    assert_told(fd, "WATCHDOG=1");
    heartbeat_end(&other); /* it ended, which is no hanging */
    heartbeat_beat(&busy, now_us + 9 * PERIOD_US);
    assert_told(fd, "WATCHDOG=1");
    heartbeat_end(&busy);
    close(fd);
}

static void the_watchdog_of_another_process_is_not_fed(void **)
{
    struct heartbeat loop;
    int fd = listen_as_manager();
    set_watchdog("1000000", 1);
    heartbeat_begin(&loop);
    heartbeat_beat(&loop, clock_mono_us());
    set_watchdog("nonsense", (int)getpid());
    heartbeat_beat(&loop, clock_mono_us());
    assert_told(fd, NULL);
    heartbeat_end(&loop);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_one_datagram),
        cmocka_unit_test(without_a_manager_nothing_is_sent),
        cmocka_unit_test(the_watchdog_is_fed_while_every_loop_beats),
        cmocka_unit_test(the_watchdog_of_another_process_is_not_fed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
