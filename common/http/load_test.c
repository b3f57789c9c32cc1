/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server with many clients, slow clients, gone clients, too many clients, and at its end. */
#include <sys/resource.h>

#include "common/http/test_kit.h"

enum { THREADS = 8, ROUNDS = 500, CROWD = 300 };

#define LATER KIT_HOST KIT_ISSUE "Content-Length: 8\r\n\r\n"

static struct kit *kit;

static int setup(void **)
{
    kit = kit_start((struct http_options){.port = 0});
    return 0;
}

static int teardown(void **)
{
    kit_stop(kit);
    return 0;
}

static struct metric *refused(const char *labels)
{
    return metric_counter("coupon_http_refused_total",
                          "HTTP requests and connections refused before a handler", labels);
}

static void post_later(struct kit_talk *talk, unsigned number)
{
    char request[256];
    int len = snprintf(request, sizeof request, "POST /v1/later HTTP/1.1\r\n" LATER "%08u", number);
    assert_true(kit_send(talk, (struct span){request, (size_t)len}));
}

static void check_later(struct kit_talk *talk, unsigned number)
{
    char want[16];
    snprintf(want, sizeof want, "%08u", number);
    kit_read(talk, talk->count + 1, false);
    assert_false(talk->ended);
    assert_int_equal(talk->replies[talk->count - 1], 201);
    assert_true(span_is(talk->body, want));
}

/* --- Many --- */

static void *client_run(void *argument)
{
    unsigned first = *(const unsigned *)argument;
    struct kit_talk *talk = kit_open(kit);
    for (unsigned i = 0; i < ROUNDS; i++) {
        post_later(talk, first + i);
        check_later(talk, first + i);
        talk->count = 0;
    }
    kit_close(talk);
    return NULL;
}

static void deferred_answers_reach_their_own_clients(void **)
{
    pthread_t threads[THREADS];
    unsigned first[THREADS];
    struct metric *answered = metric_counter("coupon_http_requests_total", "HTTP requests answered",
                                             "route=\"POST /v1/later\",code=\"2xx\"");
    int64_t before = metric_value(answered);
    for (unsigned i = 0; i < THREADS; i++) {
        first[i] = i * ROUNDS;
        assert_int_equal(pthread_create(&threads[i], NULL, client_run, &first[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(http_server_drain(kit->server, clock_deadline_us(KIT_WAIT_MS)));
    assert_int_equal(metric_value(answered) - before, THREADS * ROUNDS);
}

/* More connections per loop than it takes events at once, all with something to say at the same time. */
static void a_crowd_is_served_at_once(void **)
{
    static struct kit_talk *talks[CROWD];
    for (unsigned i = 0; i < CROWD; i++)
        talks[i] = kit_open(kit);
    for (int round = 0; round < 3; round++) {
        kit_hold(kit, true);
        for (unsigned i = 0; i < CROWD; i++)
            post_later(talks[i], i);
        kit_wait_queued(kit, CROWD);
        kit_hold(kit, false);
        for (unsigned i = 0; i < CROWD; i++)
            check_later(talks[i], i);
        for (unsigned i = 0; i < CROWD; i++)
            assert_true(kit_send(talks[i], SPAN(KIT_TOUCH)));
        for (unsigned i = 0; i < CROWD; i++) {
            kit_read(talks[i], talks[i]->count + 1, false);
            assert_int_equal(talks[i]->replies[talks[i]->count - 1], 200);
        }
    }
    for (unsigned i = 0; i < CROWD; i++)
        kit_close(talks[i]);
}

static void clients_that_left_harm_nobody(void **)
{
    kit_hold(kit, true);
    for (unsigned i = 0; i < 50; i++) {
        struct kit_talk *talk = kit_open(kit);
        post_later(talk, i);
        kit_close(talk);
    }
    kit_wait_queued(kit, 50);
    kit_hold(kit, false);
    struct kit_talk *talk = kit_open(kit);
    post_later(talk, 50);
    check_later(talk, 50);
    kit_close(talk);
    assert_true(http_server_drain(kit->server, clock_deadline_us(KIT_WAIT_MS)));
}

/* --- Whose turn it is --- */

/* Starts again with one loop, and keeps it busy until kit_hold(kit, false). */
static struct kit_talk *block_the_loop(void)
{
    kit_stop(kit);
    kit = kit_start((struct http_options){.threads = 1});
    struct kit_talk *talk = kit_open(kit);
    kit_hold(kit, true);
    assert_true(kit_send(talk, SPAN("GET /v1/block HTTP/1.1\r\n" KIT_HOST "\r\n")));
    while (atomic_load(&kit->handled) == 0)
        poll(NULL, 0, 1);
    return talk;
}

static void read_turn(struct kit_talk *talk, uint64_t *ret_age_ms, uint64_t *ret_touched)
{
    kit_read(talk, 1, false);
    assert_int_equal(talk->replies[0], 200);
    struct span rest = talk->body, age = span_cut(&rest, ' ');
    assert_true(parse_u64(age, UINT32_MAX, ret_age_ms) && parse_u64(rest, UINT32_MAX, ret_touched));
}

/* The clock of a request runs while its loop has no time for it, on a connection that the loop knows and on
 * one that it does not. */
static void waiting_for_the_loop_counts(void **)
{
    static const char ask[] = "GET /v1/turn HTTP/1.1\r\n" KIT_HOST "\r\n";
    struct kit_talk *busy = block_the_loop(), *talks[2] = {kit_open(kit)};
    kit_hold(kit, false);
    kit_read(busy, 1, false);
    assert_true(kit_send(talks[0], SPAN(KIT_TOUCH)));
    kit_read(talks[0], 1, false);
    talks[0]->count = 0;
    kit_hold(kit, true);
    assert_true(kit_send(busy, SPAN("GET /v1/block HTTP/1.1\r\n" KIT_HOST "\r\n")));
    while (atomic_load(&kit->handled) < 2)
        poll(NULL, 0, 1);
    talks[1] = kit_open(kit);
    for (unsigned i = 0; i < 2; i++)
        assert_true(kit_send(talks[i], span_of(ask)));
    while (atomic_load(&kit->server->loops[0].connections) < 3)
        poll(NULL, 0, 1);
    int64_t sent_us = clock_mono_us();
    poll(NULL, 0, 150);
    uint64_t waited_ms = (uint64_t)((clock_mono_us() - sent_us) / US_PER_MS);
    kit_hold(kit, false);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t age_ms, touched;
        read_turn(talks[i], &age_ms, &touched);
        assert_true(age_ms >= waited_ms - 1);
        kit_close(talks[i]);
    }
    kit_close(busy);
}

/* One that has very many requests gets no more than its share of each turn. */
static void who_pipelines_waits_for_others(void **)
{
    enum { MANY = 1000 };
    uint64_t age_ms, touched;
    struct buf many;
    buf_init(&many, 1 << 20);
    for (int i = 0; i < MANY; i++)
        buf_append_text(&many, KIT_TOUCH);
    struct kit_talk *busy = block_the_loop(), *greedy = kit_open(kit), *talk = kit_open(kit);
    assert_true(kit_send(greedy, buf_span(&many)));
    assert_true(kit_send(talk, SPAN("GET /v1/turn HTTP/1.1\r\n" KIT_HOST "\r\n")));
    poll(NULL, 0, 20); /* time to arrive; without it the test asks less */
    kit_hold(kit, false);
    read_turn(talk, &age_ms, &touched);
    assert_true(touched < MANY / 2);
    buf_deinit(&many);
    kit_close(busy);
    kit_close(greedy);
    kit_close(talk);
}

/* Heads that trickle in, a byte each at the same moment, and one whole request after them. */
static void slow_ones_are_no_crowd_in_front(void **)
{
    enum { MANY = 100, SLOW_MS = 400 };
    uint64_t age_ms, touched;
    const struct span head = SPAN(KIT_TOUCH);
    struct kit_talk *busy = block_the_loop(), *talk = kit_open(kit), *slow[MANY];
    kit_hold(kit, false);
    kit_read(busy, 1, false);
    for (size_t i = 0; i < MANY; i++) {
        slow[i] = kit_open(kit);
        assert_true(kit_send(slow[i], (struct span){head.ptr, head.len - 1}));
    }
    assert_true(kit_send(talk, head)); /* when it is answered, the loop knows of those before */
    kit_read(talk, 1, false);
    poll(NULL, 0, SLOW_MS);
    kit_hold(kit, true);
    assert_true(kit_send(busy, SPAN("GET /v1/block HTTP/1.1\r\n" KIT_HOST "\r\n")));
    while (atomic_load(&kit->handled) < 2)
        poll(NULL, 0, 1);
    for (size_t i = 0; i < MANY; i++)
        assert_true(kit_send(slow[i], (struct span){head.ptr + head.len - 1, 1}));
    talk->count = 0;
    assert_true(kit_send(talk, SPAN("GET /v1/turn HTTP/1.1\r\n" KIT_HOST "\r\n")));
    kit_hold(kit, false);
    read_turn(talk, &age_ms, &touched);
    assert_true(touched < 1 + MANY / 2);
    for (size_t i = 0; i < MANY; i++) {
        kit_read(slow[i], 1, false);
        assert_int_equal(slow[i]->replies[0], 200); /* and they have their turns */
        kit_close(slow[i]);
    }
    kit_close(busy);
    kit_close(talk);
}

/* A client that sends its end with its request is still answered, also when another thread does so later. */
static void half_closed_clients_are_answered(void **)
{
    struct kit_talk *talks[2] = {kit_open(kit), kit_open(kit)};
    kit_hold(kit, true);
    for (unsigned i = 0; i < 2; i++)
        post_later(talks[i], i);
    assert_int_equal(shutdown(talks[0]->fd, SHUT_WR), 0);
    kit_wait_queued(kit, 2);
    assert_int_equal(shutdown(talks[1]->fd, SHUT_WR), 0);
    kit_hold(kit, false);
    for (unsigned i = 0; i < 2; i++) {
        check_later(talks[i], i);
        kit_read_end(talks[i]);
        kit_close(talks[i]);
    }
}

/* An answer that the socket does not take at once goes on when the client reads. */
static void large_answers_go_on(void **)
{
    enum { BYTES = 1 << 20, COUNT = 8 };
    struct kit_talk *talk = kit_open(kit);
    int small = 65536;
    setsockopt(talk->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    struct buf request;
    buf_init(&request, 2 * BYTES);
    buf_printf(&request, "POST /v1/huge HTTP/1.1\r\n" KIT_HOST KIT_ISSUE "Content-Length: %d\r\n\r\n", BYTES);
    for (size_t i = 0; i < BYTES; i++)
        buf_append_char(&request, (char)('a' + i % 26));
    for (size_t count = 1; count <= COUNT; count++) {
        assert_true(kit_send(talk, buf_span(&request)));
        kit_read(talk, count, false);
        assert_int_equal(talk->replies[count - 1], 200);
        assert_int_equal(talk->body.len, BYTES);
        for (size_t i = 0; i < BYTES; i++)
            assert_true(talk->body.ptr[i] == (char)('a' + i % 26));
    }
    buf_deinit(&request);
    kit_close(talk);
}

/* --- Too many --- */

/* Opens one connection more than `room`; it is refused with 503, and when one closes there is room again. */
static void expect_room(unsigned room, const char *reason)
{
    struct kit_talk *talks[8];
    int64_t before = metric_value(refused(reason));
    for (unsigned i = 0; i < room; i++) {
        talks[i] = kit_open(kit);
        assert_true(kit_send(talks[i], SPAN(KIT_TOUCH)));
        kit_read(talks[i], 1, false);
        assert_int_equal(talks[i]->replies[0], 200);
    }
    struct kit_talk *extra = kit_open(kit);
    kit_read_end(extra);
    assert_int_equal(extra->count, 1);
    assert_int_equal(extra->replies[0], 503);
    assert_non_null(memmem(extra->text.data, extra->text.len, "\"code\":\"overloaded\"", 19));
    assert_int_equal(metric_value(refused(reason)) - before, 1);
    kit_close(extra);
    kit_close(talks[0]);
    for (bool served = false; !served;) { /* the server has yet to notice that one is gone */
        talks[0] = kit_open(kit);
        kit_send(talks[0], SPAN(KIT_TOUCH));
        kit_read(talks[0], 1, false);
        served = talks[0]->count == 1 && talks[0]->replies[0] == 200;
        if (!served)
            kit_close(talks[0]);
    }
    for (unsigned i = 0; i < room; i++)
        kit_close(talks[i]);
}

static void connections_are_limited(void **)
{
    kit_stop(kit);
    kit = kit_start((struct http_options){.connections_max = 4});
    expect_room(4, "reason=\"connections\"");
}

static void connections_of_one_address_are_limited(void **)
{
    kit_stop(kit);
    kit = kit_start((struct http_options){.connections_per_address_max = 3});
    expect_room(3, "reason=\"address\"");
}

/* Without a descriptor for the next client the server looks for one ten times a second, not in a busy loop.
 */
static void running_out_of_descriptors_is_survived(void **)
{
    enum { PAUSES = 4 };
    struct rlimit before, none;
    struct metric *starved = refused("reason=\"descriptors\"");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(kit->server->door.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct kit_talk talk = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    buf_init(&talk.text, 65536);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = (rlim_t)talk.fd + 1, .rlim_max = before.rlim_max};
    int64_t count = metric_value(starved), start_us = clock_mono_us();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(connect(talk.fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_true(kit_send(&talk, SPAN(KIT_TOUCH)));
    while (metric_value(starved) < count + PAUSES && clock_mono_us() - start_us < KIT_WAIT_MS * US_PER_MS)
        poll(NULL, 0, 1);
    int64_t took_us = clock_mono_us() - start_us;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_in_range(took_us, (PAUSES - 1) * 90 * US_PER_MS, (KIT_WAIT_MS - 1) * US_PER_MS);
    kit_read(&talk, 1, false);
    assert_int_equal(talk.replies[0], 200);
    close(talk.fd);
    buf_deinit(&talk.text);
}

/* --- Slow --- */

/* A client that always has one byte more to say keeps no timeout from coming: it is told, once, and cut. */
static void expect_cut(struct kit_talk *talk, struct span piece)
{
    int64_t deadline_us = clock_deadline_us(KIT_WAIT_MS);
    struct pollfd gone = {.fd = talk->fd, .events = POLLIN};
    while (poll(&gone, 1, 20) == 0 && clock_remaining_ms(deadline_us) > 0)
        kit_send(talk, piece);
    kit_read_end(talk);
    assert_int_equal(talk->count, 1);
    assert_int_equal(talk->replies[0], 408);
    kit_close(talk);
}

static void slow_requests_are_cut(void **)
{
    int64_t before = metric_value(refused("reason=\"slow\""));
    atomic_store(&kit->server->head_ms, 200);
    atomic_store(&kit->server->body_ms, 200);
    struct kit_talk *line = kit_open(kit), *head = kit_open(kit), *body = kit_open(kit);
    assert_true(kit_send(line, SPAN("G")));
    expect_cut(line, SPAN("E"));
    assert_true(kit_send(head, SPAN("GET /v1/touch HTTP/1.1\r\nX-A: ")));
    expect_cut(head, SPAN("a"));
    assert_true(kit_send(
        body, SPAN("POST /v1/later HTTP/1.1\r\n" KIT_HOST KIT_ISSUE "Content-Length: 9000\r\n\r\n")));
    expect_cut(body, SPAN("a"));
    assert_int_equal(metric_value(refused("reason=\"slow\"")) - before, 3);
}

static void silent_connections_are_closed(void **)
{
    kit_stop(kit);
    kit = kit_start((struct http_options){.idle_timeout_s = 1});
    struct kit_talk *talk = kit_open(kit), *served = kit_open(kit);
    assert_true(kit_send(served, SPAN(KIT_TOUCH)));
    kit_read_end(served);
    assert_int_equal(served->count, 1);
    kit_read_end(talk);
    assert_int_equal(talk->count, 0);
    kit_close(served);
    kit_close(talk);
}

static void clients_that_do_not_read_are_cut(void **)
{
    atomic_store(&kit->server->send_ms, 300);
    struct kit_talk *talk = kit_open(kit);
    struct buf request;
    buf_init(&request, 2 << 20);
    buf_append_text(&request,
                    "POST /v1/huge HTTP/1.1\r\n" KIT_HOST KIT_ISSUE "Content-Length: 1048576\r\n\r\n");
    for (size_t i = 0; i < 1 << 20; i++)
        buf_append_char(&request, 'x');
    int64_t before = metric_value(refused("reason=\"slow\"")), deadline_us = clock_deadline_us(KIT_WAIT_MS);
    for (int i = 0; i < 8; i++) /* more than the sockets hold */
        if (!kit_send(talk, buf_span(&request)))
            break;
    while (metric_value(refused("reason=\"slow\"")) == before && clock_remaining_ms(deadline_us) > 0)
        poll(NULL, 0, 5);
    assert_true(metric_value(refused("reason=\"slow\"")) > before);
    buf_deinit(&request);
    kit_close(talk);
}

/* --- The end --- */

static void *release_soon(void *argument)
{
    (void)argument;
    while (!atomic_load(&kit->server->draining))
        poll(NULL, 0, 1);
    kit_hold(kit, false);
    return NULL;
}

static void draining_answers_what_is_in_flight(void **)
{
    enum { COUNT = 20 };
    struct kit_talk *talks[COUNT], *idle = kit_open(kit);
    pthread_t thread;
    assert_true(kit_send(idle, SPAN(KIT_TOUCH)));
    kit_read(idle, 1, false);
    kit_hold(kit, true);
    for (unsigned i = 0; i < COUNT; i++) {
        talks[i] = kit_open(kit);
        post_later(talks[i], i);
    }
    kit_wait_queued(kit, COUNT);
    assert_false(http_server_drain(kit->server, clock_deadline_us(20))); /* nobody answers them */
    assert_int_equal(pthread_create(&thread, NULL, release_soon, NULL), 0);
    assert_true(http_server_drain(kit->server, clock_deadline_us(KIT_WAIT_MS)));
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < COUNT; i++) {
        check_later(talks[i], i);
        assert_true(span_is(kit_header(talks[i], "Connection"), "close"));
        kit_read_end(talks[i]);
        kit_close(talks[i]);
    }
    kit_read_end(idle); /* one that had nothing to say is closed without a word */
    assert_int_equal(idle->count, 1);
    kit_close(idle);

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(kit->server->door.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), -1);
    close(fd);
}

/* While clients find out that they have to go elsewhere: whoever comes is served, once. */
static void a_retired_server_serves_on(void **)
{
    struct kit_talk *kept = kit_open(kit);
    assert_true(kit_send(kept, SPAN(KIT_TOUCH)));
    kit_read(kept, 1, false);
    assert_null(kit_header(kept, "Connection").ptr);
    http_server_retire(kit->server);
    struct kit_talk *talks[] = {kept, kit_open(kit)};
    for (size_t i = 0; i < COUNT_OF(talks); i++) {
        assert_true(kit_send(talks[i], SPAN(KIT_TOUCH)));
        kit_read(talks[i], talks[i]->count + 1, false);
        assert_int_equal(talks[i]->replies[talks[i]->count - 1], 200);
        assert_true(span_is(kit_header(talks[i], "Connection"), "close"));
        kit_read_end(talks[i]);
        kit_close(talks[i]);
    }
}

static void *drain(void *argument)
{
    *(bool *)argument = http_server_drain(kit->server, clock_deadline_us(KIT_WAIT_MS));
    return NULL;
}

/* The only loop is kept busy while requests arrive on a kept connection and on one that was just made, and
 * while the drain decides to end what is idle. */
static void what_arrived_before_the_end_is_answered(void **)
{
    bool drained = false;
    pthread_t thread;
    kit_stop(kit);
    kit = kit_start((struct http_options){.threads = 1});
    struct kit_talk *busy = kit_open(kit), *kept = kit_open(kit), *fresh;
    assert_true(kit_send(kept, SPAN(KIT_TOUCH)));
    kit_read(kept, 1, false);
    kit_hold(kit, true);
    assert_true(kit_send(busy, SPAN("GET /v1/block HTTP/1.1\r\n" KIT_HOST "\r\n")));
    while (atomic_load(&kit->handled) == 0)
        poll(NULL, 0, 1);
    fresh = kit_open(kit);
    assert_int_equal(pthread_create(&thread, NULL, drain, &drained), 0);
    while (!atomic_load(&kit->server->hanging_up))
        poll(NULL, 0, 1);
    post_later(kept, 1);
    post_later(fresh, 2);
    kit_hold(kit, false);
    check_later(kept, 1);
    check_later(fresh, 2);
    pthread_join(thread, NULL);
    assert_true(drained);
    assert_int_equal(atomic_load(&kit->server->door.connections), 0);
    kit_read_end(kept);
    kit_close(fresh);
    kit_close(kept);
    kit_close(busy);
}

static void a_port_can_be_used_again_at_once(void **)
{
    struct http_options options = {.port = kit->server->door.port};
    kit_expect(kit, "GET /v1/touch HTTP/1.1\r\n" KIT_HOST "Connection: close\r\n\r\n", 200, "ok");
    kit_stop(kit);
    kit = kit_start(options);
    kit_expect(kit, KIT_TOUCH, 200, "ok");
}

static void ending_closes_what_is_open(void **)
{
    struct kit_talk *talks[50];
    for (unsigned i = 0; i < 50; i++) {
        talks[i] = kit_open(kit);
        assert_true(kit_send(talks[i], i % 2 ? SPAN("GET /v1/touch HT") : SPAN(KIT_TOUCH)));
    }
    kit_stop(kit);
    for (unsigned i = 0; i < 50; i++) {
        kit_read_end(talks[i]);
        kit_close(talks[i]);
    }
    kit = kit_start((struct http_options){.port = 0});
}

int main(void)
{
#define WITH_KIT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_KIT(deferred_answers_reach_their_own_clients),
        WITH_KIT(a_crowd_is_served_at_once),
        WITH_KIT(clients_that_left_harm_nobody),
        WITH_KIT(waiting_for_the_loop_counts),
        WITH_KIT(who_pipelines_waits_for_others),
        WITH_KIT(slow_ones_are_no_crowd_in_front),
        WITH_KIT(half_closed_clients_are_answered),
        WITH_KIT(large_answers_go_on),
        WITH_KIT(connections_are_limited),
        WITH_KIT(connections_of_one_address_are_limited),
        WITH_KIT(running_out_of_descriptors_is_survived),
        WITH_KIT(slow_requests_are_cut),
        WITH_KIT(silent_connections_are_closed),
        WITH_KIT(clients_that_do_not_read_are_cut),
        WITH_KIT(draining_answers_what_is_in_flight),
        WITH_KIT(a_retired_server_serves_on),
        WITH_KIT(what_arrived_before_the_end_is_answered),
        WITH_KIT(a_port_can_be_used_again_at_once),
        WITH_KIT(ending_closes_what_is_open),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
