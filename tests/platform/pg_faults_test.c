/* SPDX-License-Identifier: Apache-2.0 */
/* common/pg when a real PostgreSQL is slow, stopped, killed, read-only or not there: no wait outlasts its
 * deadline, and the next connection works. */
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/lib/pace.h"
#include "tests/lib/pg_kit.h"

static void server_side_timeouts_refuse(void **)
{
    struct pg_options options = pg_kit_options_of(stack_env(pg_kit_stack, "DATABASE_URL"));
    options.statement_timeout_ms = 400;
    options.lock_timeout_ms = 100;
    struct pg *pg = pg_kit_connect_with(&options), *holder = pg_kit_connected();
    pg_kit_send_i32(pg, SLEEP, 30);
    pg_sync(pg);
    assert_int_equal(pg_kit_next(pg, LONG_MS), PG_REFUSED);
    assert_string_equal(pg_sqlstate(pg), "57014");
    pg_kit_assert_usable(pg);

    pg_kit_send_i64(holder, INSERT_ITEM, 5);
    pg_sync(holder);
    assert_int_equal(pg_kit_next(holder, LONG_MS), PG_OK);
    pg_send(holder, BEGIN, NULL);
    pg_kit_send_i64(holder, LOCK_ITEM, 5);
    pg_sync(holder);
    assert_int_equal(pg_kit_next(holder, LONG_MS), PG_OK);
    assert_int_equal(pg_kit_next(holder, LONG_MS), PG_OK);
    pg_kit_send_i64(pg, LOCK_ITEM, 5);
    pg_sync(pg);
    assert_int_equal(pg_kit_next(pg, LONG_MS), PG_REFUSED);
    assert_string_equal(pg_sqlstate(pg), "55P03");
    pg_kit_assert_usable(pg);
    pg_destroy(holder); /* rolls back */
    WAIT_UNTIL(pg_kit_ask(pg, CLEAR_ITEMS, 0) == 1, LONG_MS);
    pg_destroy(pg);
}

/* The server notices by itself that nobody waits for the statement any more, and ends it. */
static void deadline_closes_the_connection(void **)
{
    struct pg *pg = pg_kit_connected(), *other = pg_kit_connected();
    int32_t backend = (int32_t)pg_kit_ask(pg, BACKEND_PID, 0);
    pg_kit_send_i32(pg, SLEEP, 9);
    pg_sync(pg);
    int64_t start_us = clock_mono_us();
    assert_int_equal(pg_kit_next(pg, SHORT_MS), PG_TIMEOUT);
    assert_true(clock_mono_us() - start_us >= SHORT_MS * US_PER_MS);
    pace_within(start_us, LATE_MS * US_PER_MS, "a call with a deadline");
    assert_false(pg_connected(pg));
    assert_int_equal(pg_socket(pg), -1);
    assert_int_equal(pg_kit_next(pg, SHORT_MS), PG_LOST);
    WAIT_UNTIL(pg_kit_ask(other, BACKEND_EXISTS, backend) == 0, 60000);
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_OK);
    pg_kit_assert_usable(pg);
    pg_destroy(other);
    pg_destroy(pg);
}

static void terminated_backend_is_lost(void **)
{
    struct pg *pg = pg_kit_connected(), *other = pg_kit_connected();
    int32_t backend = (int32_t)pg_kit_ask(pg, BACKEND_PID, 0);
    pg_kit_send_i32(pg, SLEEP, 9);
    pg_kit_send_i32(pg, SLEEP, 9);
    pg_sync(pg);
    assert_int_equal(pg_kit_next(pg, 0), PG_TIMEOUT); /* what was sent is on its way */
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_OK);

    backend = (int32_t)pg_kit_ask(pg, BACKEND_PID, 0);
    assert_int_equal(pg_kit_ask(other, TERMINATE, backend), 1); /* idle */
    WAIT_UNTIL(pg_kit_ask(other, BACKEND_EXISTS, backend) == 0, LONG_MS);
    pg_kit_send_i32(pg, SLEEP, 0);
    pg_kit_send_i32(pg, SLEEP, 0);
    pg_sync(pg);
    assert_int_equal(pg_kit_next(pg, LONG_MS), PG_LOST);
    assert_int_equal(pg_kit_next(pg, LONG_MS), PG_LOST);
    assert_false(pg_connected(pg));
    assert_string_equal(pg_sqlstate(pg), "");

    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_OK);
    backend = (int32_t)pg_kit_ask(pg, BACKEND_PID, 0);
    pg_kit_send_i32(pg, SLEEP, 9);
    pg_sync(pg);
    pg_kit_send_i32(other, TERMINATE, backend); /* at work */
    pg_sync(other);
    assert_int_equal(pg_kit_next(pg, LONG_MS), PG_LOST);
    assert_int_equal(pg_kit_next(other, LONG_MS), PG_OK);
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_OK);
    pg_kit_assert_usable(pg);
    pg_destroy(other);
    pg_destroy(pg);
}

static void stopped_server_does_not_outlast_the_deadline(void **)
{
    struct pg *pg = pg_kit_connected(), *fresh;
    pid_t backend = (pid_t)pg_kit_ask(pg, BACKEND_PID, 0);
    struct pg_options options = pg_kit_options_of(stack_env(pg_kit_stack, "DATABASE_URL"));
    int64_t start_us = clock_mono_us();
    fresh = pg_create(&options);
    stack_signal(pg_kit_stack, "postgresql", SIGSTOP);
    assert_int_equal(pg_connect(fresh, clock_deadline_us(SHORT_MS)), PG_TIMEOUT);
    stack_signal(pg_kit_stack, "postgresql", SIGCONT);
    assert_true(clock_mono_us() - start_us >= SHORT_MS * US_PER_MS);
    pace_within(start_us, LATE_MS * US_PER_MS, "a call with a deadline");
    assert_int_equal(pg_connect(fresh, clock_deadline_us(LONG_MS)), PG_OK);

    assert_int_equal(kill(backend, SIGSTOP), 0);
    start_us = clock_mono_us();
    pg_send(pg, BACKEND_PID, NULL);
    pg_sync(pg);
    assert_int_equal(pg_kit_next(pg, SHORT_MS), PG_TIMEOUT);
    assert_true(clock_mono_us() - start_us >= SHORT_MS * US_PER_MS);
    pace_within(start_us, LATE_MS * US_PER_MS, "a call with a deadline");
    assert_int_equal(kill(backend, SIGCONT), 0);
    pg_destroy(fresh);
    pg_destroy(pg);
}

/* A stopped backend reads nothing: a large request fills every buffer, and the deadline still holds. */
static void full_buffers_do_not_outlast_the_deadline(void **)
{
    enum { BYTES = 32 * 1024 * 1024 };
    struct pg *pg = pg_kit_connected();
    pid_t backend = (pid_t)pg_kit_ask(pg, BACKEND_PID, 0);
    char *bytes = mem_zalloc(BYTES);
    struct pg_args args;
    pg_args_init(&args);
    pg_arg_bytes(&args, (struct span){bytes, BYTES});
    assert_int_equal(kill(backend, SIGSTOP), 0);
    int64_t start_us = clock_mono_us();
    pg_send(pg, ECHO_BYTES, &args);
    pg_sync(pg);
    assert_int_equal(pg_kit_next(pg, SHORT_MS), PG_TIMEOUT);
    assert_true(clock_mono_us() - start_us >= SHORT_MS * US_PER_MS);
    pace_within(start_us, LATE_MS * US_PER_MS, "a call with a deadline");
    assert_int_equal(kill(backend, SIGCONT), 0);
    mem_free(bytes);
    pg_args_deinit(&args);
    pg_destroy(pg);
}

/* A standby that was the primary a moment ago: nothing is to be done there but leave. */
static void read_only_server_is_lost(void **)
{
    char url[512];
    struct pg *pg = pg_kit_connected();
    pg_send(pg, BEGIN, NULL);
    pg_send(pg, READ_ONLY, NULL);
    pg_kit_send_i64(pg, INSERT_ITEM, 1);
    pg_sync(pg);
    assert_int_equal(pg_kit_next(pg, LONG_MS), PG_OK);
    assert_int_equal(pg_kit_next(pg, LONG_MS), PG_OK);
    assert_int_equal(pg_kit_next(pg, LONG_MS), PG_LOST);
    assert_false(pg_connected(pg));
    pg_destroy(pg);

    snprintf(url, sizeof url, "%s?options=-c%%20default_transaction_read_only%%3Don",
             stack_env(pg_kit_stack, "DATABASE_URL"));
    struct pg_options options = pg_kit_options_of(url);
    pg = pg_kit_connect_with(&options);
    pg_destroy(pg);
    options.read_write = true;
    pg = pg_create(&options);
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_LOST);
    pg_destroy(pg);
}

static void assert_connect_fails(const struct pg_options *options, const char *error)
{
    struct pg *pg = pg_create(options);
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_LOST);
    assert_false(pg_connected(pg));
    if (!strstr(pg_error(pg), error))
        fail_msg("unexpected error: %s", pg_error(pg));
    assert_null(strstr(pg_error(pg), "wrong-password"));
    assert_null(strchr(pg_error(pg), '\n'));
    pg_destroy(pg);
}

static void connecting_fails_with_a_reason(void **)
{
    char url[256];
    int port = stack_port_base(pg_kit_stack) + 3;
    struct pg_options options = pg_kit_options_of(url);
    snprintf(url, sizeof url, "postgresql://firstcome:wrong-password@127.0.0.1:%d/firstcome", port);
    assert_connect_fails(&options, "password authentication failed");
    snprintf(url, sizeof url, "postgresql://firstcome@127.0.0.1:1/firstcome");
    assert_connect_fails(&options, "refused");
    snprintf(url, sizeof url, "postgresql://nonsense:port/");
    assert_connect_fails(&options, "connecting");

    static const struct pg_statement missing[] = {{"fine", "SELECT 1"},
                                                  {"count_nothing", "SELECT * FROM nothing"}};
    options = pg_kit_options_of(stack_env(pg_kit_stack, "DATABASE_URL"));
    options.statements = missing;
    options.statements_count = 2;
    assert_connect_fails(&options, "count_nothing");
}

/* The stack's own URL with another server before its own. */
static void url_behind(int port, char *ret, size_t size)
{
    const char *start = stack_env(pg_kit_stack, "DATABASE_URL"), *own = strchr(start, '@');
    snprintf(ret, size, "%.*s@127.0.0.1:%d,%s", (int)(own - start), start, port, own + 1);
}

static void next_host_is_tried(void **)
{
    char url[512];
    url_behind(1, url, sizeof url);
    struct pg_options options = pg_kit_options_of(url);
    options.read_write = true;
    struct pg *pg = pg_kit_connect_with(&options);
    pg_kit_assert_usable(pg);
    pg_destroy(pg);
}

/* A listening socket that nobody accepts from: connecting works, and then there is silence. */
static int open_silence(int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

/* Fills the queue of a listening socket, so that the kernel drops whatever else wants to connect. */
static void fill_queue(int port, int fds[], size_t count)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    address.sin_port = htons((uint16_t)port);
    for (size_t i = 0; i < count; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(fds[i] >= 0);
        (void)connect(fds[i], (struct sockaddr *)&address, sizeof address);
    }
}

static void silent_host_costs_only_its_share(void **)
{
    enum { CROWD = 4, HALF_MS = LONG_MS / 2 };
    char url[512];
    int port, fds[CROWD], silence = open_silence(&port);
    url_behind(port, url, sizeof url);
    struct pg_options options = pg_kit_options_of(url);
    options.read_write = true;
    for (int full = 0; full <= 1; full++) {
        if (full)
            fill_queue(port, fds, CROWD);
        struct pg *pg = pg_create(&options);
        int64_t start_us = clock_mono_us();
        assert_int_equal(pg_connect(pg, clock_deadline_us(LATE_MS)), PG_OK);
        assert_true(clock_mono_us() - start_us >= LATE_MS / 2 * US_PER_MS);
        pg_kit_assert_usable(pg);
        start_us = clock_mono_us(); /* who answered last comes first: the other is not even asked */
        assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_OK);
        assert_true(clock_mono_us() - start_us < HALF_MS * US_PER_MS);
        pg_destroy(pg);
    }
    for (size_t i = 0; i < CROWD; i++)
        close(fds[i]);
    close(silence);
}

static void not_connected_is_lost(void **)
{
    struct pg_options options = pg_kit_options_of(stack_env(pg_kit_stack, "DATABASE_URL"));
    struct pg *pg = pg_create(&options);
    struct pg_rows *rows;
    assert_false(pg_connected(pg));
    assert_int_equal(pg_call(pg, BACKEND_PID, NULL, clock_deadline_us(LONG_MS), &rows), PG_LOST);
    assert_null(rows);
    assert_non_null(strstr(pg_error(pg), "not connected"));
    pg_disconnect(pg);
    pg_destroy(pg);
    pg_destroy(NULL);
    pg_rows_destroy(NULL);
}

static void restarted_server_is_found_again(void **)
{
    struct pg *pg = pg_kit_connected();
    stack_signal(pg_kit_stack, "postgresql", SIGKILL);
    WAIT_UNTIL(stack_pid(pg_kit_stack, "postgresql") == 0, LONG_MS);
    pg_send(pg, SLEEP, NULL);
    pg_disconnect(pg);
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_LOST);
    stack_restart_servers(pg_kit_stack);
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_OK);
    pg_kit_assert_usable(pg);
    pg_destroy(pg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_side_timeouts_refuse),
        cmocka_unit_test(deadline_closes_the_connection),
        cmocka_unit_test(terminated_backend_is_lost),
        cmocka_unit_test(stopped_server_does_not_outlast_the_deadline),
        cmocka_unit_test(full_buffers_do_not_outlast_the_deadline),
        cmocka_unit_test(read_only_server_is_lost),
        cmocka_unit_test(connecting_fails_with_a_reason),
        cmocka_unit_test(next_host_is_tried),
        cmocka_unit_test(silent_host_costs_only_its_share),
        cmocka_unit_test(not_connected_is_lost),
        cmocka_unit_test(restarted_server_is_found_again),
    };
    return cmocka_run_group_tests(tests, pg_kit_set_up, pg_kit_tear_down);
}
