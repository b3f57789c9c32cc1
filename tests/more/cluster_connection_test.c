/* SPDX-License-Identifier: Apache-2.0 */
/* redis+cluster:// against three primaries and three replicas: who is asked, what is redirected, and that
 * nobody is waited for twice. */
#include "tests/lib/wait.h"

#include "common/base/clock.h"
#include "common/redis/slots.h"
#include "tests/lib/redis_kit.h"
#include "tests/lib/redis_nodes.h"

enum { LONG_MS = 120000, CALL_MS = 20000 };

static struct redis_nodes nodes;

static void expect_text(struct redis *redis, const char *text)
{
    struct span is = redis_text(redis_kit_receive(redis));
    if (!span_is(is, text))
        fail_msg("'%.*s' instead of '%s'", SPAN_ARG(is), text);
}

static void one_of_the_named_is_enough(void **)
{
    size_t servers[REDIS_SERVERS_MAX];
    struct redis *redis = redis_kit_connect(nodes.url);
    assert_int_equal(redis_servers(redis, servers), NODES_PRIMARIES);
    for (int i = 0; i < NODES_PRIMARIES; i++)
        assert_true(redis_serves(redis, servers[i]));
    redis_destroy(redis);
}

/* Whoever names one server of a cluster as if it were all is told. */
static void one_server_is_not_the_cluster(void **)
{
    char url[NODES_URL_MAX];
    const struct redis_reply *reply;
    snprintf(url, sizeof url, "redis://:admin@127.0.0.1:%u", nodes.servers[0].url.server.port);
    struct redis *redis = redis_kit_connect(url);
    unsigned elsewhere = 0;
    for (int slice = 0; slice < 16; slice++) {
        char key[32];
        snprintf(key, sizeof key, "fc:{%d}", slice);
        REDIS_SEND(redis, "HGETALL", key);
        elsewhere += redis_receive(redis, clock_deadline_us(CALL_MS), &reply) == REDIS_ELSEWHERE;
    }
    assert_true(elsewhere > 0 && elsewhere < 16);
    redis_destroy(redis);
}

static void wrong_password(void **)
{
    char url[NODES_URL_MAX];
    snprintf(url, sizeof url, "redis+cluster://services:wrong@127.0.0.1:%d",
             nodes.servers[0].url.server.port);
    struct redis *redis = redis_kit_create(url);
    assert_int_equal(redis_connect(redis, clock_deadline_us(CALL_MS)), REDIS_DENIED);
    assert_non_null(strstr(redis_error(redis), "WRONGPASS"));
    redis_destroy(redis);
    char said[16];
    assert_int_equal(NODES_CALL(&nodes, 0, said, "ACL", "LOG", "RESET"), REDIS_OK);
}

enum { PIPELINE = 400 };

/* Replies come in the order of sending, whoever gives them. */
static void a_pipeline_over_all_servers(void **)
{
    struct redis *redis = redis_kit_connect(nodes.url);
    char key[40], value[24];
    for (int i = 0; i < PIPELINE; i++) {
        snprintf(key, sizeof key, "fc:test:%d", i);
        snprintf(value, sizeof value, "%d", i);
        REDIS_SEND(redis, "SET", key, value);
        REDIS_SEND(redis, "GET", key);
        REDIS_SEND(redis, "DEL", key);
    }
    for (int i = 0; i < PIPELINE; i++) {
        snprintf(value, sizeof value, "%d", i);
        expect_text(redis, "OK");
        expect_text(redis, value);
        assert_int_equal(redis_integer(redis_kit_receive(redis)), 1);
    }
    redis_destroy(redis);
}

/* A client that knows what was. APPEND shows that nothing is done twice, left out or overtakes. */
static void redirections_are_followed(void **)
{
    static const char key[] = "fc:{test}:a", other[] = "fc:{test}:b";
    struct redis *redis = redis_kit_connect(nodes.url);
    int from = nodes_primary_of(&nodes, 0, key), to = (from + 1) % NODES_PRIMARIES;
    int slot = redis_slot(span_of(key));
    REDIS_SEND(redis, "APPEND", key, "a");
    assert_int_equal(redis_integer(redis_kit_receive(redis)), 1);
    nodes_move_begin(&nodes, slot, from, to);
    REDIS_SEND(redis, "APPEND", key, "b"); /* it is where it was */
    assert_int_equal(redis_integer(redis_kit_receive(redis)), 2);
    assert_int_equal(nodes_move_keys(&nodes, slot, from, to, 10), 1);
    REDIS_SEND(redis, "APPEND", key, "c"); /* ASK */
    REDIS_SEND(redis, "APPEND", other, "x");
    REDIS_SEND(redis, "APPEND", key, "d");
    assert_int_equal(redis_integer(redis_kit_receive(redis)), 3);
    assert_int_equal(redis_integer(redis_kit_receive(redis)), 1);
    assert_int_equal(redis_integer(redis_kit_receive(redis)), 4);
    nodes_move_end(&nodes, slot, from, to);
    REDIS_SEND(redis, "APPEND", key, "e"); /* MOVED: both, because they were sent before it was known */
    REDIS_SEND(redis, "APPEND", key, "f");
    assert_int_equal(redis_integer(redis_kit_receive(redis)), 5);
    REDIS_SEND(redis, "APPEND", key, "g");
    assert_int_equal(redis_integer(redis_kit_receive(redis)), 6);
    REDIS_SEND(redis, "GET", key);
    assert_int_equal(redis_integer(redis_kit_receive(redis)), 7);
    expect_text(redis, "abcdefg");
    REDIS_SEND(redis, "GET", key); /* nothing is on its way: it is asked who has it */
    expect_text(redis, "abcdefg");
    REDIS_SEND(redis, "DEL", key);
    REDIS_SEND(redis, "DEL", other);
    (void)redis_kit_receive(redis), (void)redis_kit_receive(redis);
    char name[64], wanted[64];
    snprintf(wanted, sizeof wanted, "127.0.0.1:%u", nodes.servers[to].url.server.port);
    WAIT_UNTIL((REDIS_SEND(redis, "GET", key), (void)redis_kit_receive(redis),
                redis_server_name(redis, redis_server_of(redis, span_of(key)), name, sizeof name),
                strcmp(name, wanted) == 0),
               LONG_MS);
    redis_destroy(redis);
}

/* Two that each say the other has it are not asked for ever, and cost nothing but that key. */
static void redirections_in_a_circle_end(void **)
{
    static const char key[] = "fc:{circle}", other[] = "fc:{test}:a";
    const struct redis_reply *reply;
    struct redis *redis = redis_kit_connect(nodes.url);
    int has = nodes_primary_of(&nodes, 0, key), has_not = (has + 1) % NODES_PRIMARIES;
    int slot = redis_slot(span_of(key));
    nodes_tell_owner(&nodes, has, slot, has_not);
    REDIS_SEND(redis, "GET", key);
    REDIS_SEND(redis, "SET", other, "x");
    assert_int_equal(redis_receive(redis, clock_deadline_us(CALL_MS), &reply), REDIS_AWAY);
    assert_non_null(strstr(redis_error(redis), "MOVED"));
    expect_text(redis, "OK");
    nodes_tell_owner(&nodes, has, slot, has);
    REDIS_SEND(redis, "DEL", other);
    assert_int_equal(redis_integer(redis_kit_receive(redis)), 1);
    redis_destroy(redis);
}

/* How many of the batches waited for a server that is frozen and is to get the key: the first does, and the
 * others know. */
static void a_frozen_target_is_waited_for_once(void **)
{
    enum { BATCHES = 20, WAIT_MS = 500 };
    static const char key[] = "fc:{test}:a";
    const struct redis_reply *reply;
    struct redis *redis = redis_kit_connect(nodes.url);
    int from = nodes_primary_of(&nodes, 0, key), to = (from + 1) % NODES_PRIMARIES, waited = 0;
    int slot = redis_slot(span_of(key));
    REDIS_SEND(redis, "SET", key, "x");
    expect_text(redis, "OK");
    nodes_move_begin(&nodes, slot, from, to);
    assert_int_equal(nodes_move_keys(&nodes, slot, from, to, 10), 1);
    nodes_freeze(&nodes, to);
    for (int i = 0; i < BATCHES; i++) {
        int64_t deadline_us = clock_deadline_us(WAIT_MS);
        REDIS_SEND(redis, "GET", key);
        assert_int_equal(redis_receive(redis, deadline_us, &reply), REDIS_AWAY);
        waited += !strstr(redis_error(redis), "is not connected");
    }
    nodes_thaw(&nodes, to);
    assert_int_equal(waited, 1);
    WAIT_UNTIL(
        (REDIS_SEND(redis, "DEL", key), redis_receive(redis, clock_deadline_us(CALL_MS), &reply) == REDIS_OK),
        LONG_MS);
    redis_destroy(redis);
    nodes_move_end(&nodes, slot, from, to);
}

static int set_up(void **state)
{
    struct stack *stack = stack_start(STACK_SERVERS);
    nodes_start(&nodes, stack);
    *state = stack;
    return 0;
}

static int tear_down(void **state)
{
    nodes_stop(&nodes);
    return stack_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_of_the_named_is_enough),
        cmocka_unit_test(one_server_is_not_the_cluster),
        cmocka_unit_test(wrong_password),
        cmocka_unit_test(a_pipeline_over_all_servers),
        cmocka_unit_test(redirections_are_followed),
        cmocka_unit_test(redirections_in_a_circle_end),
        cmocka_unit_test(a_frozen_target_is_waited_for_once),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
