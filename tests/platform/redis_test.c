/* SPDX-License-Identifier: Apache-2.0 */
/* common/redis against a real Redis: pipelines, binary safety, classes of refusals, and that no failure of
 * server or network outlasts a deadline. */
#include "common/redis/redis.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/lib/pace.h"
#include "tests/lib/redis_kit.h"
#include "tests/lib/stack.h"
#include "tests/lib/text.h"
#include "tests/lib/wait.h"

enum { LONG_MS = 120000, SHORT_MS = 300, LATE_MS = 3000 };

static struct stack *stack;

static struct redis *connected(void)
{
    return redis_kit_connect(stack_env(stack, "REDIS_URL"));
}

static enum redis_status next(struct redis *redis, const struct redis_reply **ret)
{
    const struct redis_reply *reply;
    enum redis_status status = redis_receive(redis, clock_deadline_us(LONG_MS), &reply);
    assert_int_equal(reply != NULL, status == REDIS_OK);
    if (ret)
        *ret = reply;
    return status;
}

#define ASSERT_STATUS(redis, status, ...)                                    \
    do {                                                                     \
        REDIS_SEND(redis, __VA_ARGS__);                                      \
        enum redis_status got = next(redis, NULL);                           \
        if (got != (status))                                                 \
            fail_msg("%s: %s", redis_status_label(got), redis_error(redis)); \
    } while (0)

static void replies_of_every_kind(void **)
{
    const struct redis_reply *reply;
    struct redis *redis = connected();
    REDIS_SEND(redis, "PING");
    REDIS_SEND(redis, "GET", "nothing");
    REDIS_SEND(redis, "INCRBY", "counter", "-7");
    REDIS_SEND(redis, "EVAL", "return {1, 'two', {3, false}, redis.error_reply('INNER wrong')}", "0");
    assert_int_equal(next(redis, &reply), REDIS_OK);
    assert_int_equal(redis_kind(reply), REDIS_STATUS_TEXT);
    assert_true(span_is(redis_text(reply), "PONG"));
    assert_int_equal(next(redis, &reply), REDIS_OK);
    assert_int_equal(redis_kind(reply), REDIS_NIL);
    assert_null(redis_text(reply).ptr);
    assert_int_equal(next(redis, &reply), REDIS_OK);
    assert_int_equal(redis_kind(reply), REDIS_INTEGER);
    assert_int_equal(redis_integer(reply), -7);
    assert_int_equal(redis_length(reply), 0);
    assert_int_equal(next(redis, &reply), REDIS_OK);
    assert_int_equal(redis_kind(reply), REDIS_ARRAY);
    assert_int_equal(redis_length(reply), 4);
    assert_int_equal(redis_integer(redis_at(reply, 0)), 1);
    assert_true(span_is(redis_text(redis_at(reply, 1)), "two"));
    assert_int_equal(redis_integer(redis_at(redis_at(reply, 2), 0)), 3);
    assert_int_equal(redis_kind(redis_at(redis_at(reply, 2), 1)), REDIS_NIL);
    assert_int_equal(redis_kind(redis_at(reply, 3)), REDIS_ERROR_TEXT);
    redis_destroy(redis);
}

static void bytes_are_bytes(void **)
{
    const struct redis_reply *reply;
    struct span key = SPAN("bin\0\r\n$5%s"), value = SPAN("\xff\0*1\r\n");
    struct redis *redis = connected();
    struct redis_command command;
    redis_command_init(&command);
    redis_arg_text(&command, "SET");
    redis_arg(&command, key);
    redis_arg(&command, value);
    assert_int_equal(redis_call(redis, &command, clock_deadline_us(LONG_MS), &reply), REDIS_OK);
    redis_command_reset(&command);
    redis_arg_text(&command, "GET");
    redis_arg(&command, key);
    assert_int_equal(redis_call(redis, &command, clock_deadline_us(LONG_MS), &reply), REDIS_OK);
    assert_true(span_equal(redis_text(reply), value));
    redis_command_reset(&command);
    redis_arg_text(&command, "MSET");
    redis_arg_text(&command, "");
    redis_arg(&command, (struct span){0});
    redis_arg_text(&command, "number");
    redis_arg_i64(&command, INT64_MIN);
    assert_int_equal(redis_call(redis, &command, clock_deadline_us(LONG_MS), &reply), REDIS_OK);
    REDIS_SEND(redis, "MGET", "", "number");
    assert_int_equal(next(redis, &reply), REDIS_OK);
    assert_int_equal(redis_text(redis_at(reply, 0)).len, 0);
    assert_non_null(redis_text(redis_at(reply, 0)).ptr);
    assert_true(span_is(redis_text(redis_at(reply, 1)), "-9223372036854775808"));
    redis_command_deinit(&command);
    redis_destroy(redis);
}

static void ten_thousand_in_a_pipeline(void **)
{
    enum { COUNT = 10000 };
    const struct redis_reply *reply;
    struct redis *redis = connected();
    struct redis_command command;
    redis_command_init(&command);
    ASSERT_STATUS(redis, REDIS_OK, "DEL", "list");
    for (int i = 0; i < COUNT; i++) {
        redis_command_reset(&command);
        redis_arg_text(&command, "RPUSH");
        redis_arg_text(&command, "list");
        redis_arg_i64(&command, i);
        redis_send(redis, &command);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(next(redis, &reply), REDIS_OK);
        assert_int_equal(redis_integer(reply), i + 1);
    }
    REDIS_SEND(redis, "LRANGE", "list", "0", "-1");
    assert_int_equal(next(redis, &reply), REDIS_OK);
    assert_int_equal(redis_length(reply), COUNT);
    assert_true(span_is(redis_text(redis_at(reply, COUNT - 1)), "9999"));
    redis_command_deinit(&command);
    redis_destroy(redis);
}

/* Large in both directions, sent before anything is read. */
static void large_values_both_ways(void **)
{
    enum { BYTES = 4 * 1024 * 1024, COUNT = 8 };
    const struct redis_reply *reply;
    struct redis *redis = connected();
    char *bytes = mem_zalloc(BYTES);
    struct redis_command command;
    redis_command_init(&command);
    redis_arg_text(&command, "ECHO");
    redis_arg(&command, (struct span){bytes, BYTES});
    for (int i = 0; i < COUNT; i++)
        redis_send(redis, &command);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(next(redis, &reply), REDIS_OK);
        assert_int_equal(redis_text(reply).len, BYTES);
        redis_send(redis, &command); /* while some of the former is still on its way */
    }
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(next(redis, NULL), REDIS_OK);
    redis_command_deinit(&command);
    mem_free(bytes);
    redis_destroy(redis);
}

static void refusals_have_classes(void **)
{
    struct redis *redis = connected();
    ASSERT_STATUS(redis, REDIS_NOSCRIPT, "EVALSHA", "0123456789012345678901234567890123456789", "0");
    ASSERT_STATUS(redis, REDIS_ERROR, "LPUSH", "counter", "x");
    assert_non_null(strstr(redis_error(redis), "WRONGTYPE"));
    ASSERT_STATUS(redis, REDIS_ERROR, "NOSUCHCOMMAND", "secret-key", "secret-value");
    assert_null(strstr(redis_error(redis), "secret"));
    ASSERT_STATUS(redis, REDIS_ERROR, "EVAL", "return redis.error_reply('STALE checkpoint')", "0");
    assert_non_null(strstr(redis_error(redis), "STALE checkpoint"));
    ASSERT_STATUS(redis, REDIS_OK, "PING");
    redis_destroy(redis);
}

static void out_of_memory(void **)
{
    struct redis *redis = connected();
    ASSERT_STATUS(redis, REDIS_OK, "CONFIG", "SET", "maxmemory", "1");
    ASSERT_STATUS(redis, REDIS_OOM, "SET", "key", "value");
    ASSERT_STATUS(redis, REDIS_OOM, "EVAL", "return redis.call('SET', KEYS[1], 'x')", "1", "key");
    assert_non_null(strstr(redis_error(redis), "maxmemory"));
    ASSERT_STATUS(redis, REDIS_OK, "GET", "key");
    ASSERT_STATUS(redis, REDIS_OK, "CONFIG", "SET", "maxmemory", "0");
    ASSERT_STATUS(redis, REDIS_OK, "SET", "key", "value");
    redis_destroy(redis);
}

static void replica_is_refused(void **)
{
    struct redis *redis = connected(), *late = redis_kit_create(stack_env(stack, "REDIS_URL"));
    ASSERT_STATUS(redis, REDIS_OK, "REPLICAOF", "127.0.0.1", "1");
    ASSERT_STATUS(redis, REDIS_READONLY, "SET", "key", "value");
    assert_true(redis_connected(redis));
    assert_int_equal(redis_connect(late, clock_deadline_us(LONG_MS)), REDIS_READONLY);
    assert_false(redis_connected(late));
    ASSERT_STATUS(redis, REDIS_OK, "REPLICAOF", "NO", "ONE");
    assert_int_equal(redis_connect(late, clock_deadline_us(LONG_MS)), REDIS_OK);
    redis_destroy(late);
    redis_destroy(redis);
}

static void busy_script(void **)
{
    struct redis *redis = connected(), *other = connected();
    ASSERT_STATUS(redis, REDIS_OK, "CONFIG", "SET", "busy-reply-threshold", "50");
    REDIS_SEND(redis, "EVAL", "while true do end", "0");
    const struct redis_reply *reply;
    assert_int_equal(redis_receive(redis, clock_deadline_us(100), &reply), REDIS_LOST);
    ASSERT_STATUS(other, REDIS_BUSY, "GET", "key");
    ASSERT_STATUS(other, REDIS_OK, "SCRIPT", "KILL");
    WAIT_UNTIL(redis_connect(redis, clock_deadline_us(LONG_MS)) == REDIS_OK, LONG_MS);
    ASSERT_STATUS(redis, REDIS_OK, "CONFIG", "SET", "busy-reply-threshold", "5000");
    redis_destroy(other);
    redis_destroy(redis);
}

static void assert_connect(const char *url, enum redis_status status)
{
    struct redis *redis = redis_kit_create(url);
    assert_int_equal(redis_connect(redis, clock_deadline_us(LONG_MS)), status);
    assert_int_equal(redis_connected(redis), status == REDIS_OK);
    assert_null(strstr(redis_error(redis), "wrong"));
    redis_destroy(redis);
}

static void logins(void **)
{
    int port = stack_port_base(stack) + 4;
    struct redis *redis = connected();
    ASSERT_STATUS(redis, REDIS_OK, "ACL", "SETUSER", "odd:name@", "on", ">p@ss:w/rd%", "~*", "+@all");
    ASSERT_STATUS(redis, REDIS_OK, "ACL", "SETUSER", "reader", "on", ">reader", "~*", "+role", "+get");
    assert_connect(textf("redis://odd%%3Aname%%40:p@ss%%3Aw%%2Frd%%25@127.0.0.1:%d", port), REDIS_OK);
    assert_connect(textf("redis://default:wrong@127.0.0.1:%d", port), REDIS_DENIED);
    assert_connect(textf("redis://:wrong@127.0.0.1:%d/0", port), REDIS_DENIED);
    assert_connect(textf("redis://127.0.0.1:%d", port), REDIS_DENIED);
    struct redis *reader = redis_kit_connect(textf("redis://reader:reader@127.0.0.1:%d", port));
    ASSERT_STATUS(reader, REDIS_DENIED, "SET", "key", "value");
    ASSERT_STATUS(reader, REDIS_OK, "GET", "key");
    ASSERT_STATUS(redis, REDIS_OK, "ACL", "DELUSER", "reader", "odd:name@");
    redis_destroy(reader);
    redis_destroy(redis);
}

static void databases(void **)
{
    const struct redis_reply *reply;
    const char *base = stack_env(stack, "REDIS_URL");
    const char *slash = strrchr(base, '/');
    struct redis *redis = connected();
    ASSERT_STATUS(redis, REDIS_OK, "SET", "only-in", "0");
    struct redis *seventh = redis_kit_connect(textf("%.*s/7", (int)(slash - base), base));
    REDIS_SEND(seventh, "EXISTS", "only-in");
    assert_int_equal(next(seventh, &reply), REDIS_OK);
    assert_int_equal(redis_integer(reply), 0);
    assert_connect(textf("%.*s/999999", (int)(slash - base), base), REDIS_ERROR);
    redis_destroy(seventh);
    redis_destroy(redis);
}

static void stopped_server_does_not_outlast_the_deadline(void **)
{
    const struct redis_reply *reply;
    struct redis *redis = connected(), *fresh = redis_kit_create(stack_env(stack, "REDIS_URL"));
    struct redis_command command;
    char *bytes = mem_zalloc(16 * 1024 * 1024);
    redis_command_init(&command);
    redis_arg_text(&command, "ECHO");
    redis_arg(&command, (struct span){bytes, 16 * 1024 * 1024});
    stack_signal(stack, "redis", SIGSTOP);
    int64_t start_us = clock_mono_us();
    assert_int_equal(redis_call(redis, &command, clock_deadline_us(SHORT_MS), &reply), REDIS_LOST);
    assert_int_equal(redis_connect(fresh, clock_deadline_us(SHORT_MS)), REDIS_LOST);
    stack_signal(stack, "redis", SIGCONT);
    assert_true(clock_mono_us() - start_us >= 2 * SHORT_MS * US_PER_MS);
    pace_within(start_us, LATE_MS * US_PER_MS, "a call with a deadline");
    assert_false(redis_connected(redis));
    assert_non_null(strstr(redis_error(redis), "deadline"));
    assert_int_equal(redis_connect(redis, clock_deadline_us(LONG_MS)), REDIS_OK);
    ASSERT_STATUS(redis, REDIS_OK, "PING");
    redis_command_deinit(&command);
    mem_free(bytes);
    redis_destroy(fresh);
    redis_destroy(redis);
}

static void killed_client_is_lost(void **)
{
    const struct redis_reply *reply;
    struct redis *redis = connected(), *other = connected();
    REDIS_SEND(redis, "CLIENT", "ID");
    assert_int_equal(next(redis, &reply), REDIS_OK);
    ASSERT_STATUS(other, REDIS_OK, "CLIENT", "KILL", "ID", textf("%lld", (long long)redis_integer(reply)));
    REDIS_SEND(redis, "PING");
    REDIS_SEND(redis, "PING");
    assert_int_equal(next(redis, NULL), REDIS_LOST);
    assert_int_equal(next(redis, NULL), REDIS_LOST);
    assert_false(redis_connected(redis));
    REDIS_SEND(redis, "PING");
    assert_int_equal(next(redis, NULL), REDIS_LOST);
    redis_destroy(other);
    redis_destroy(redis);
}

static void nobody_there(void **)
{
    struct redis *redis = redis_kit_create("redis://127.0.0.1:1");
    assert_int_equal(redis_connect(redis, clock_deadline_us(LONG_MS)), REDIS_LOST);
    assert_non_null(strstr(redis_error(redis), "refused"));
    redis_destroy(redis);
    redis = redis_kit_create("unix:///nowhere/at/all");
    assert_int_equal(redis_connect(redis, clock_deadline_us(LONG_MS)), REDIS_LOST);
    redis_destroy(redis);
    redis = redis_kit_create("redis://127.0.0.1");
    REDIS_SEND(redis, "PING");
    assert_int_equal(next(redis, NULL), REDIS_LOST);
    assert_non_null(strstr(redis_error(redis), "not connected"));
    redis_destroy(redis);
    redis_destroy(NULL);
}

/* A server that says to its one client what it was told to say, once it has heard anything. */
struct fake {
    int listener;
    struct span says;
    pthread_t thread;
};

static void *run_fake(void *argument)
{
    struct fake *fake = argument;
    char heard[1024];
    int client = accept(fake->listener, NULL, NULL);
    CHECK(read(client, heard, sizeof heard) > 0);
    CHECK(send(client, fake->says.ptr, fake->says.len, MSG_NOSIGNAL) == (ssize_t)fake->says.len);
    shutdown(client, SHUT_WR);
    while (read(client, heard, sizeof heard) > 0)
        ;
    close(client);
    return NULL;
}

static void start_fake(struct fake *fake, int family, char *url, size_t url_size)
{
    struct sockaddr_in inet = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr *address = family == AF_UNIX ? (struct sockaddr *)&local : (struct sockaddr *)&inet;
    socklen_t size = family == AF_UNIX ? sizeof local : sizeof inet;
    snprintf(local.sun_path, sizeof local.sun_path, "%.80s/fake redis", stack_directory(stack));
    fake->listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fake->listener, address, size), 0);
    assert_int_equal(listen(fake->listener, 1), 0);
    assert_int_equal(getsockname(fake->listener, address, &size), 0);
    if (family == AF_UNIX)
        snprintf(url, url_size, "unix://%.80s/fake%%20redis?password=secret&db=3", stack_directory(stack));
    else
        snprintf(url, url_size, "redis://127.0.0.1:%d", ntohs(inet.sin_port));
    assert_int_equal(pthread_create(&fake->thread, NULL, run_fake, fake), 0);
}

static void stop_fake(struct fake *fake)
{
    assert_int_equal(pthread_join(fake->thread, NULL), 0);
    close(fake->listener);
}

#define MASTER "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"

static void unix_socket(void **)
{
    char url[256];
    struct fake fake = {.says = SPAN("+OK\r\n+OK\r\n" MASTER)};
    start_fake(&fake, AF_UNIX, url, sizeof url);
    struct redis *redis = redis_kit_connect(url);
    redis_destroy(redis);
    stop_fake(&fake);
}

static void assert_lost_after(struct span answer)
{
    char url[64];
    struct fake fake = {.says = answer};
    start_fake(&fake, AF_INET, url, sizeof url);
    struct redis *redis = redis_kit_connect(url);
    REDIS_SEND(redis, "PING");
    assert_int_equal(next(redis, NULL), REDIS_LOST);
    assert_false(redis_connected(redis));
    redis_destroy(redis);
    stop_fake(&fake);
}

static void nonsense_is_lost(void **)
{
    assert_lost_after(SPAN(MASTER));
    assert_lost_after(SPAN(MASTER "$10\r\ncut off"));
    assert_lost_after(SPAN(MASTER "?what\r\n"));
    assert_lost_after(SPAN(MASTER "*2000000000\r\n")); /* would be 16 GB */
    assert_lost_after(SPAN(MASTER "*4194305\r\n"));
    assert_lost_after(SPAN(MASTER "*-7\r\n"));
    assert_lost_after(SPAN(MASTER "$99999999999999999999\r\n"));
    assert_lost_after(
        SPAN(MASTER "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"));
}

/* A script that has written cannot be killed, and while any runs Redis serves nobody. */
static void who_reads_runs_no_script(void **)
{
    static const char *const denied[][3] = {
        {"EVAL", "return 1", "0"}, {"EVAL_RO", "return 1", "0"}, {"EVALSHA", "0", "0"},
        {"SCRIPT", "LOAD", "x"},   {"FCALL", "f", "0"},          {"FCALL_RO", "f", "0"},
        {"FUNCTION", "LOAD", "x"}, {"SET", "key", "value"},      {"BLPOP", "key", "0"},
        {"KEYS", "*", NULL},       {"CLIENT", "PAUSE", "1"},     {"FLUSHALL", NULL, NULL},
        {"MONITOR", NULL, NULL},   {"ACL", "LIST", NULL},        {"CONFIG", "GET", "*"},
    };
    struct redis *redis = redis_kit_connect(stack_env(stack, "QUERY_REDIS_URL"));
    const struct redis_reply *reply;
    for (size_t i = 0; i < COUNT_OF(denied); i++) {
        REDIS_SEND(redis, denied[i][0], denied[i][1], denied[i][2]);
        if (next(redis, &reply) != REDIS_DENIED)
            fail_msg("%s is not denied", denied[i][0]);
    }
    redis_destroy(redis);
}

/* What servers before Redis 7 say when a script's command is refused. */
static void wrapped_script_errors(void **)
{
    char url[64];
    struct fake fake = {.says = SPAN(MASTER "-ERR Error running script (call to f_1): @user_script:1: "
                                            "-OOM command not allowed\r\n"
                                            "-MASTERDOWN Link with MASTER is down\r\n"
                                            "-MISCONF Redis is configured to save\r\n"
                                            "-LOADING Redis is loading\r\n-BUSYKEY exists\r\n")};
    start_fake(&fake, AF_INET, url, sizeof url);
    struct redis *redis = redis_kit_connect(url);
    static const enum redis_status expected[] = {REDIS_OOM, REDIS_READONLY, REDIS_MISCONF, REDIS_LOADING,
                                                 REDIS_ERROR};
    for (size_t i = 0; i < COUNT_OF(expected); i++)
        REDIS_SEND(redis, "EVAL", "x", "0");
    for (size_t i = 0; i < COUNT_OF(expected); i++)
        assert_int_equal(next(redis, NULL), expected[i]);
    redis_destroy(redis);
    stop_fake(&fake);
}

static void restarted_server_is_found_again(void **)
{
    struct redis *redis = connected();
    stack_signal(stack, "redis", SIGKILL);
    REDIS_SEND(redis, "PING");
    assert_int_equal(next(redis, NULL), REDIS_LOST);
    WAIT_UNTIL(stack_pid(stack, "redis") == 0, LONG_MS);
    assert_int_equal(redis_connect(redis, clock_deadline_us(LONG_MS)), REDIS_LOST);
    stack_restart_servers(stack);
    assert_int_equal(redis_connect(redis, clock_deadline_us(LONG_MS)), REDIS_OK);
    ASSERT_STATUS(redis, REDIS_OK, "PING");
    redis_destroy(redis);
}

static int set_up(void **state)
{
    *state = stack = stack_start(STACK_SERVERS);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_of_every_kind),
        cmocka_unit_test(bytes_are_bytes),
        cmocka_unit_test(ten_thousand_in_a_pipeline),
        cmocka_unit_test(large_values_both_ways),
        cmocka_unit_test(refusals_have_classes),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(replica_is_refused),
        cmocka_unit_test(busy_script),
        cmocka_unit_test(logins),
        cmocka_unit_test(databases),
        cmocka_unit_test(stopped_server_does_not_outlast_the_deadline),
        cmocka_unit_test(killed_client_is_lost),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(unix_socket),
        cmocka_unit_test(nonsense_is_lost),
        cmocka_unit_test(wrapped_script_errors),
        cmocka_unit_test(who_reads_runs_no_script),
        cmocka_unit_test(restarted_server_is_found_again),
    };
    return cmocka_run_group_tests(tests, set_up, stack_teardown);
}
