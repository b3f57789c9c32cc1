/* SPDX-License-Identifier: Apache-2.0 */
/* What connections may cost: memory has a bound whatever clients withhold or do not read, the slow and the
 * idle go before anybody new is refused, an IPv6 network is one client, and an end is noticed. Counters and
 * order, not speed: a busy machine changes none of it. */
#include "common/http/test_kit.h"

#define BODY_BYTES (1 << 20)
#define HUGE       "POST /v1/huge HTTP/1.1\r\n" KIT_HOST KIT_ISSUE "Content-Length: 1048576\r\n\r\n"
#define SMALL      "POST /v1/items HTTP/1.1\r\n" KIT_HOST KIT_ISSUE "Content-Length: 2\r\n\r\n{}"

enum { ATTACKERS = 24, CROWD = 40, RUSH = 300, BYTES_MAX = 8 << 20, SLOW_MS = 1000 };

static struct kit *kit;

static int teardown(void **)
{
    kit_stop(kit);
    return 0;
}

static int64_t refused(const char *labels)
{
    return metric_value(metric_counter("coupon_http_refused_total",
                                       "HTTP requests and connections refused before a handler", labels));
}

static int64_t now_ms(void)
{
    return clock_mono_us() / US_PER_MS;
}

static void wait_ms(int64_t duration_ms)
{
    for (int64_t end_ms = now_ms() + duration_ms; now_ms() < end_ms;)
        poll(NULL, 0, 5);
}

static size_t held(void)
{
    return atomic_load(&kit->server->door.held);
}

static void await_held_below(size_t bytes)
{
    int64_t end_us = clock_deadline_us(KIT_WAIT_MS);
    while (held() >= bytes && clock_remaining_ms(end_us) > 0)
        poll(NULL, 0, 5);
    assert_true(held() < bytes);
}

/* --- Memory --- */

static void expect_served(void)
{
    struct kit_talk *talk = kit_open(kit);
    assert_true(kit_send(talk, SPAN(SMALL)));
    kit_read(talk, 1, false);
    assert_int_equal(talk->replies[0], 200);
    kit_close(talk);
}

/* All of a body but its last byte. */
static void withhold(struct kit_talk *talk)
{
    static char body[BODY_BYTES];
    memset(body, 'a', sizeof body);
    (void)(kit_send(talk, SPAN(HUGE)) && kit_send(talk, (struct span){body, sizeof body - 1}));
}

static void withheld_bodies_stay_within_the_bound(void **)
{
    struct kit_talk *talks[ATTACKERS];
    kit = kit_start((struct http_options){.bytes_max = BYTES_MAX});
    size_t before = held();
    int64_t memory = refused("reason=\"memory\"");
    for (size_t i = 0; i < ATTACKERS; i++) {
        talks[i] = kit_open(kit);
        withhold(talks[i]);
        assert_true(held() <= BYTES_MAX);
        expect_served(); /* with the same key, from the same address */
    }
    assert_true(refused("reason=\"memory\"") > memory);
    for (size_t i = 0; i < ATTACKERS; i++)
        kit_close(talks[i]);
    await_held_below(before + 1);
}

static void one_client_cannot_hold_all(void **)
{
    struct kit_talk *talks[ATTACKERS];
    kit = kit_start((struct http_options){.bytes_max = 64 << 20, .bytes_per_client_max = 4 << 20});
    for (size_t i = 0; i < ATTACKERS; i++) {
        talks[i] = kit_open(kit);
        withhold(talks[i]);
        assert_true(held() <= (4 << 20) + (ATTACKERS + 1) * 32768);
    }
    for (size_t i = 0; i < ATTACKERS; i++)
        kit_close(talks[i]);
}

/* Answers of a mebibyte that nobody reads: the sockets take a part, the rest is held, until there is no room.
 */
static void unread_answers_stay_within_the_bound(void **)
{
    struct kit_talk *talks[ATTACKERS];
    char last = 'a';
    kit = kit_start((struct http_options){.bytes_max = BYTES_MAX});
    for (size_t i = 0; i < ATTACKERS; i++) {
        int small = 4096;
        talks[i] = kit_open(kit);
        setsockopt(talks[i]->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        withhold(talks[i]);
        kit_send(talks[i], (struct span){&last, 1});
        assert_true(held() <= BYTES_MAX);
        expect_served();
    }
    for (size_t i = 0; i < ATTACKERS; i++)
        kit_close(talks[i]);
}

/* The kernel takes a part of an answer that nobody reads; what is left of it stays on this server's account.
 */
static void an_unread_answer_is_not_the_kernels(void **)
{
    char last = 'a';
    int small = 4096;
    kit = kit_start((struct http_options){.bytes_max = 64 << 20});
    size_t before = held();
    struct kit_talk *talk = kit_open(kit);
    setsockopt(talk->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    withhold(talk);
    kit_send(talk, (struct span){&last, 1});
    int64_t end_us = clock_deadline_us(KIT_WAIT_MS);
    while (atomic_load(&kit->handled) == 0 && clock_remaining_ms(end_us) > 0)
        poll(NULL, 0, 5);
    wait_ms(300);
    assert_true(held() >= before + BODY_BYTES);
    kit_close(talk);
    await_held_below(before + 1);
}

/* --- Room --- */

static struct kit_talk *crowd[CROWD];

static void crowd_enter(struct span text)
{
    for (size_t i = 0; i < CROWD; i++) {
        crowd[i] = kit_open(kit);
        assert_true(kit_send(crowd[i], text));
    }
    int64_t end_us = clock_deadline_us(KIT_WAIT_MS);
    while (atomic_load(&kit->server->door.connections) < CROWD && clock_remaining_ms(end_us) > 0)
        poll(NULL, 0, 5);
    wait_ms(SLOW_MS + 200);
}

static void crowd_leave(void)
{
    for (size_t i = 0; i < CROWD; i++)
        kit_close(crowd[i]);
}

/* As many newcomers as there are connections, one after the other, each kept: all are served. */
static void newcomers_are_served(void)
{
    struct kit_talk *talks[CROWD / 2];
    int64_t evicted = refused("reason=\"evicted\"");
    for (size_t i = 0; i < COUNT_OF(talks); i++) {
        talks[i] = kit_open(kit);
        assert_true(kit_send(talks[i], SPAN(KIT_TOUCH)));
        kit_read(talks[i], 1, false);
        assert_int_equal(talks[i]->count, 1);
        assert_int_equal(talks[i]->replies[0], 200);
    }
    assert_true(refused("reason=\"evicted\"") > evicted);
    for (size_t i = 0; i < COUNT_OF(talks); i++)
        kit_close(talks[i]);
}

static void slow_heads_go_for_newcomers(void **)
{
    kit = kit_start((struct http_options){.connections_max = CROWD, .connections_per_address_max = CROWD});
    crowd_enter(SPAN("GET /v1/touch HT"));
    newcomers_are_served();
    crowd_leave();
}

static void slow_bodies_go_for_newcomers(void **)
{
    kit = kit_start((struct http_options){.connections_max = CROWD, .connections_per_address_max = CROWD});
    crowd_enter(SPAN(HUGE "abc"));
    newcomers_are_served();
    crowd_leave();
}

static void idle_ones_go_for_newcomers_of_their_address(void **)
{
    kit =
        kit_start((struct http_options){.connections_max = 2 * CROWD, .connections_per_address_max = CROWD});
    atomic_store(&kit->server->idle_evict_ms, 60000);
    crowd_enter(SPAN(KIT_TOUCH));
    struct kit_talk *early = kit_open(kit);
    kit_read_end(early);
    assert_int_equal(early->replies[0], 503); /* they have not been idle for long */
    kit_close(early);
    wait_ms(200); /* in which nobody looks again */
    atomic_store(&kit->server->idle_evict_ms, SLOW_MS);
    newcomers_are_served();
    crowd_leave();
}

/* More newcomers than a loop is given to make room for, while the only one is busy: they wait for it, in the
 * kernel's queue, and none is refused. */
static void newcomers_wait_for_a_loop_that_is_behind(void **)
{
    static struct kit_talk *slow[RUSH + 10], *rush[RUSH];
    kit = kit_start((struct http_options){.threads = 1,
                                          .connections_max = COUNT_OF(slow) + 1,
                                          .connections_per_address_max = COUNT_OF(slow) + 1});
    struct kit_talk *busy = kit_open(kit);
    for (size_t i = 0; i < COUNT_OF(slow); i++) {
        slow[i] = kit_open(kit);
        assert_true(kit_send(slow[i], SPAN("GET /v1/touch HT")));
    }
    int64_t end_us = clock_deadline_us(KIT_WAIT_MS);
    while (atomic_load(&kit->server->door.connections) < COUNT_OF(slow) + 1 && clock_remaining_ms(end_us) > 0)
        poll(NULL, 0, 5);
    wait_ms(SLOW_MS + 200);
    int64_t refusals = refused("reason=\"address\"") + refused("reason=\"connections\"");
    kit_hold(kit, true);
    assert_true(kit_send(busy, SPAN("GET /v1/block HTTP/1.1\r\n" KIT_HOST "\r\n")));
    while (atomic_load(&kit->handled) == 0 && clock_remaining_ms(end_us) > 0)
        poll(NULL, 0, 1);
    for (size_t i = 0; i < RUSH; i++) {
        rush[i] = kit_open(kit);
        assert_true(kit_send(rush[i], SPAN(KIT_TOUCH)));
    }
    wait_ms(100); /* in which a door that does not wait refuses some */
    kit_hold(kit, false);
    for (size_t i = 0; i < RUSH; i++) {
        kit_read(rush[i], 1, false);
        assert_int_equal(rush[i]->count, 1);
        assert_int_equal(rush[i]->replies[0], 200);
        kit_close(rush[i]);
    }
    assert_int_equal(refused("reason=\"address\"") + refused("reason=\"connections\""), refusals);
    for (size_t i = 0; i < COUNT_OF(slow); i++)
        kit_close(slow[i]);
    kit_close(busy);
}

/* Whoever is at work stays: with every connection waiting for its answer the newcomer is refused. */
static void who_waits_for_an_answer_stays(void **)
{
    kit = kit_start((struct http_options){.connections_max = CROWD, .connections_per_address_max = CROWD});
    kit_hold(kit, true);
    crowd_enter(SPAN("POST /v1/later HTTP/1.1\r\n" KIT_HOST KIT_ISSUE "Content-Length: 0\r\n\r\n"));
    kit_wait_queued(kit, CROWD);
    struct kit_talk *extra = kit_open(kit);
    kit_read_end(extra);
    assert_int_equal(extra->replies[0], 503);
    kit_close(extra);
    kit_hold(kit, false);
    for (size_t i = 0; i < CROWD; i++) {
        kit_read(crowd[i], 1, false);
        assert_int_equal(crowd[i]->replies[0], 201);
    }
    crowd_leave();
}

/* --- Addresses --- */

static struct http_address *admit(const char *text, enum http_reason *ret)
{
    struct sockaddr_in6 peer = {.sin6_family = AF_INET6};
    assert_int_equal(inet_pton(AF_INET6, text, &peer.sin6_addr), 1);
    return http_limits_admit(kit->server, (struct sockaddr *)&peer, ret);
}

static void a_network_is_one_client(void **)
{
    static const char *const texts[] = {"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:1::3",
                                        "2001:db8:0:2::1", "::ffff:10.0.0.1",      "::ffff:10.0.0.2"};
    struct http_address *admitted[COUNT_OF(texts)];
    kit = kit_start((struct http_options){.connections_per_address_max = 2});
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        enum http_reason full;
        admitted[i] = admit(texts[i], &full);
        assert_non_null(admitted[i]);
        assert_int_equal(full, i == 2 ? HTTP_REASON_ADDRESS : HTTP_REASON_COUNT);
    }
    assert_ptr_equal(admitted[0], admitted[1]);
    assert_ptr_equal(admitted[0], admitted[2]);
    assert_ptr_not_equal(admitted[0], admitted[3]);
    assert_ptr_not_equal(admitted[4], admitted[5]); /* those are whole addresses */
    for (size_t i = 0; i < COUNT_OF(admitted); i++)
        http_limits_forget(kit->server, admitted[i]);
    assert_int_equal(atomic_load(&kit->server->door.connections), 0);
}

/* --- Ends --- */

/* The end of the client's input comes in one piece with its last request. */
static void an_end_is_noticed(void **)
{
    kit = kit_start((struct http_options){.idle_timeout_s = 3600});
    int fd = kit_connect(kit), on = 1;
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, 3 /* TCP_CORK */, &on, sizeof on), 0);
    struct kit_talk talk = {.fd = fd};
    buf_init(&talk.text, 65536);
    assert_true(kit_send(&talk, SPAN(KIT_TOUCH)));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    kit_read_end(&talk);
    assert_int_equal(talk.count, 1);
    assert_int_equal(talk.replies[0], 200);
    close(fd);
    buf_deinit(&talk.text);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_teardown(test, teardown)
    const struct CMUnitTest tests[] = {
        TEST(withheld_bodies_stay_within_the_bound),
        TEST(one_client_cannot_hold_all),
        TEST(unread_answers_stay_within_the_bound),
        TEST(an_unread_answer_is_not_the_kernels),
        TEST(slow_heads_go_for_newcomers),
        TEST(slow_bodies_go_for_newcomers),
        TEST(idle_ones_go_for_newcomers_of_their_address),
        TEST(newcomers_wait_for_a_loop_that_is_behind),
        TEST(who_waits_for_an_answer_stays),
        TEST(a_network_is_one_client),
        TEST(an_end_is_noticed),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
