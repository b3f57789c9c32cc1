/* SPDX-License-Identifier: Apache-2.0 */
/* What became of a request is told apart, and nothing is sent twice. The server is this thread, too: the
 * kernel keeps what is sent to a socket until its turn comes. */
#include "bench/load/connection.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/base/testing.h"

enum { LONG_MS = 20000 };

#define REQUEST "GET / HTTP/1.1\r\n\r\n"
#define ANSWER  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

struct world {
    int listener, peer; /* the connection that was accepted last */
    struct target target;
    struct connection connection;
    struct http_response response;
};

static int set_up(void **state)
{
    static struct world world;
    char url[64], reason[128];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    world = (struct world){.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .peer = -1};
    assert_int_equal(bind(world.listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(world.listener, 4), 0);
    assert_int_equal(getsockname(world.listener, (struct sockaddr *)&address, &len), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", ntohs(address.sin_port));
    assert_true(target_init(&world.target, url, reason, sizeof reason));
    connection_init(&world.connection, &world.target);
    *state = &world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    connection_deinit(&world->connection);
    close(world->peer);
    close(world->listener);
    return 0;
}

static void op(struct world *world)
{
    connection_send(&world->connection, SPAN(REQUEST), clock_deadline_us(LONG_MS));
}

/* The server's part: takes a connection where `connects`, else goes on with the one it has; exactly one
 * request must have come. */
static void answer(struct world *world, bool connects, const char *text)
{
    char bytes[2 * sizeof REQUEST];
    if (connects) {
        close(world->peer);
        world->peer = accept4(world->listener, NULL, NULL, SOCK_CLOEXEC);
    }
    assert_int_equal(recv(world->peer, bytes, sizeof bytes, 0), sizeof REQUEST - 1);
    assert_memory_equal(bytes, REQUEST, sizeof REQUEST - 1);
    assert_int_equal(send(world->peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void hang_up(struct world *world)
{
    close(world->peer);
    world->peer = -1;
}

static enum exchange outcome(struct world *world)
{
    return connection_receive(&world->connection, clock_deadline_us(LONG_MS), &world->response);
}

static void assert_answered(struct world *world)
{
    assert_int_equal(outcome(world), EXCHANGE_ANSWERED);
    assert_int_equal(world->response.status, 200);
    assert_true(span_is(world->response.body, "ok"));
}

static void a_connection_is_used_again(void **state)
{
    struct world *world = *state;
    for (int i = 0; i < 3; i++) {
        op(world);
        answer(world, i == 0, ANSWER);
        assert_answered(world);
    }
}

static void a_connection_that_ended_while_it_rested_is_replaced(void **state)
{
    struct world *world = *state;
    op(world);
    answer(world, true, ANSWER);
    assert_answered(world);
    hang_up(world);
    op(world);
    answer(world, true, ANSWER);
    assert_answered(world);
}

static void a_server_that_will_close_gets_no_more(void **state)
{
    struct world *world = *state;
    op(world);
    answer(world, true, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    assert_answered(world);
    op(world); /* it has not closed yet */
    answer(world, true, ANSWER);
    assert_answered(world);
}

static void nobody_there_is_unsent(void **state)
{
    struct world *world = *state;
    assert_int_equal(shutdown(world->listener, SHUT_RDWR), 0);
    op(world);
    assert_int_equal(outcome(world), EXCHANGE_UNSENT);
}

static void broken_off_is_lost(void **state)
{
    static const char *const beginnings[] = {"", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"};
    struct world *world = *state;
    for (size_t i = 0; i < COUNT_OF(beginnings); i++) {
        op(world);
        answer(world, true, beginnings[i]);
        hang_up(world);
        assert_int_equal(outcome(world), EXCHANGE_LOST);
    }
}

/* What comes too late must not be taken for the answer to the next request. */
static void too_late_is_late_and_the_connection_is_given_up(void **state)
{
    struct world *world = *state;
    op(world);
    answer(world, true, "HTTP/1.1 200 OK\r\n");
    assert_int_equal(connection_receive(&world->connection, clock_mono_us(), &world->response),
                     EXCHANGE_LATE);
    op(world);
    answer(world, true, ANSWER);
    assert_answered(world);
}

static void what_is_no_answer_is_malformed(void **state)
{
    static const char *const texts[] = {
        "hello\r\n\r\n", ANSWER "HTTP/1.1 200 OK\r\n",       /* more than was asked for */
        "HTTP/1.1 200 OK\r\nContent-Length: 262145\r\n\r\n", /* CONNECTION_BODY_MAX + 1 */
    };
    struct world *world = *state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        op(world);
        answer(world, true, texts[i]);
        assert_int_equal(outcome(world), EXCHANGE_MALFORMED);
    }
}

/* A first one is not sent again. */
static void a_call_says_what_became_of_it(void **state)
{
    struct world *world = *state;
    assert_int_equal(shutdown(world->listener, SHUT_RDWR), 0);
    assert_int_equal(
        connection_call(&world->connection, SPAN(REQUEST), clock_deadline_us(LONG_MS), &world->response),
        EXCHANGE_UNSENT);
    for (int exchange = EXCHANGE_ANSWERED; exchange <= EXCHANGE_MALFORMED; exchange++)
        assert_non_null(exchange_describe((enum exchange)exchange));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_connection_is_used_again),
        TEST(a_connection_that_ended_while_it_rested_is_replaced),
        TEST(a_server_that_will_close_gets_no_more),
        TEST(nobody_there_is_unsent),
        TEST(broken_off_is_lost),
        TEST(too_late_is_late_and_the_connection_is_given_up),
        TEST(what_is_no_answer_is_malformed),
        TEST(a_call_says_what_became_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
