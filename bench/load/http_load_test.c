/* SPDX-License-Identifier: Apache-2.0 */
/* The answer parser against every split and against what is no answer; the engine against a server that
 * answers, breaks off, stays silent and talks nonsense. */
#include "bench/load/http_load.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"

/* --- Parser --- */

enum { BODY_MAX = 100 };

static const char good[] =
    "HTTP/1.1 201 Created\r\nDate: x\r\ncontent-LENGTH:  7\r\nConsistency-Token: v1.3.99\t\r\n"
    "Idempotency-Replayed: true\r\nRetry-After: 3\r\nConnection: close\r\n\r\n{\"a\":1}";

static enum response_progress parse(const char *text, size_t len, struct http_response *ret, size_t *used)
{
    char copy[2 * RESPONSE_HEAD_MAX]; /* without a NUL after it, for the sanitizer to see overreads */
    char *at = copy + sizeof copy - len;
    memcpy(at, text, len);
    return http_response_parse((struct span){at, len}, BODY_MAX, ret, used);
}

static void reads_an_answer(void **)
{
    struct http_response response;
    size_t used = 0;
    struct span input = span_of(good);
    assert_int_equal(http_response_parse(input, BODY_MAX, &response, &used), RESPONSE_COMPLETE);
    assert_int_equal(used, input.len);
    assert_int_equal(response.status, 201);
    assert_true(span_is(response.body, "{\"a\":1}"));
    assert_true(span_is(response.token, "v1.3.99"));
    assert_true(response.replayed && response.close);
    assert_int_equal(response.retry_after_s, 3);
}

static void waits_for_the_rest_wherever_it_is_cut(void **)
{
    struct http_response response;
    size_t used = 0;
    for (size_t len = 0; len < sizeof good - 1; len++)
        assert_int_equal(parse(good, len, &response, &used), RESPONSE_NEED_MORE);
    assert_int_equal(parse(good, sizeof good - 1, &response, &used), RESPONSE_COMPLETE);
}

static void stops_at_the_end_of_the_first(void **)
{
    static const char two[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 500 ";
    struct http_response response;
    size_t used = 0;
    assert_int_equal(parse(two, sizeof two - 1, &response, &used), RESPONSE_COMPLETE);
    assert_int_equal(used, sizeof two - 1 - strlen("HTTP/1.1 500 "));
    assert_int_equal(response.body.len, 2);
    assert_null(response.token.ptr);
    assert_false(response.replayed || response.close);
}

static void some_answers_have_no_body(void **)
{
    static const char *const answers[] = {"HTTP/1.1 204 No Content\r\n\r\n",
                                          "HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n",
                                          "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"};
    struct http_response response;
    size_t used;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        used = 0;
        assert_int_equal(parse(answers[i], strlen(answers[i]), &response, &used), RESPONSE_COMPLETE);
        assert_int_equal(used, strlen(answers[i]));
        assert_int_equal(response.body.len, 0);
    }
}

static void refuses_what_is_no_answer(void **)
{
    static const char *const answers[] = {
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nX: y\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 01\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nnocolon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n folded: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: a\nb\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: a\rb\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n\r\n",
    };
    struct http_response response;
    size_t used = 0;
    for (size_t i = 0; i < COUNT_OF(answers); i++)
        if (parse(answers[i], strlen(answers[i]), &response, &used) != RESPONSE_MALFORMED)
            fail_msg("taken for an answer: %s", answers[i]);
}

static void a_head_has_an_end(void **)
{
    static char head[RESPONSE_HEAD_MAX];
    struct http_response response;
    size_t used = 0;
    memset(head, 'x', sizeof head);
    assert_int_equal(parse(head, sizeof head - 1, &response, &used), RESPONSE_NEED_MORE);
    assert_int_equal(parse(head, sizeof head, &response, &used), RESPONSE_MALFORMED);
}

/* --- A server that does what the path says --- */

enum { CONNECTIONS_MAX = 64, REQUEST_MAX = 512 };

struct peer {
    int fd;
    char input[REQUEST_MAX];
    size_t len;
};

struct server {
    int listener, stop[2];
    pthread_t thread;
    struct peer peers[CONNECTIONS_MAX];
    size_t count;
    char url[64];
};

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static void send_text(int fd, const char *text, size_t len)
{
    (void)!send(fd, text, len, MSG_NOSIGNAL);
}

static bool asks(const struct peer *peer, const char *path)
{
    return span_starts((struct span){peer->input, peer->len}, span_of(path));
}

/* false: hang up. */
static bool serve(struct peer *peer)
{
    static const char twice[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK";
    static const char closing[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    if (asks(peer, "GET /silent"))
        return true;
    if (asks(peer, "GET /drop"))
        return false;
    if (asks(peer, "GET /half")) {
        send_text(peer->fd, answer, sizeof answer / 2);
        return false;
    }
    if (asks(peer, "GET /garbage")) {
        send_text(peer->fd, "hello\r\n\r\n", 9);
    } else if (asks(peer, "GET /twice")) {
        send_text(peer->fd, twice, sizeof twice - 1);
    } else if (asks(peer, "GET /close")) {
        send_text(peer->fd, closing, sizeof closing - 1);
        return false;
    } else if (asks(peer, "GET /slow")) {
        for (size_t i = 0; i < sizeof answer - 1; i++)
            send_text(peer->fd, answer + i, 1);
    } else {
        send_text(peer->fd, answer, sizeof answer - 1);
    }
    return true;
}

/* false: hang up. */
static bool receive(struct peer *peer)
{
    ssize_t n = recv(peer->fd, peer->input + peer->len, sizeof peer->input - peer->len, 0);
    if (n <= 0)
        return false;
    peer->len += (size_t)n;
    if (!memmem(peer->input, peer->len, "\r\n\r\n", 4))
        return true;
    bool keep = serve(peer);
    peer->len = 0;
    return keep;
}

static void accept_one(struct server *server)
{
    int one = 1, fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0 || server->count == CONNECTIONS_MAX) {
        close(fd);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one);
    server->peers[server->count++] = (struct peer){.fd = fd};
}

static void *server_main(void *context)
{
    struct server *server = context;
    for (;;) {
        struct pollfd fds[CONNECTIONS_MAX + 2] = {{.fd = server->stop[0], .events = POLLIN},
                                                  {.fd = server->listener, .events = POLLIN}};
        size_t count = server->count;
        for (size_t i = 0; i < count; i++)
            fds[i + 2] = (struct pollfd){.fd = server->peers[i].fd, .events = POLLIN};
        if (poll(fds, count + 2, -1) < 0 || fds[0].revents)
            return NULL;
        for (size_t i = count; i-- > 0;)
            if (fds[i + 2].revents && !receive(&server->peers[i])) {
                close(server->peers[i].fd);
                server->peers[i] = server->peers[--server->count];
            }
        if (fds[1].revents)
            accept_one(server);
    }
}

static void server_init(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    *server = (struct server){.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(server->listener, 128), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(pipe(server->stop), 0);
    snprintf(server->url, sizeof server->url, "http://127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&server->thread, NULL, server_main, server), 0);
}

static void server_deinit(struct server *server)
{
    assert_int_equal(write(server->stop[1], "x", 1), 1);
    pthread_join(server->thread, NULL);
    for (size_t i = 0; i < server->count; i++)
        close(server->peers[i].fd);
    close(server->stop[0]), close(server->stop[1]), close(server->listener);
}

/* --- Driving the engine --- */

enum {
    JOBS_MAX = 2000,
    SILENCE_MS = 3000, /* no answer takes as long, however busy the machine is */
    RUN_MS = 20000
};

struct plan {
    const char *paths[8]; /* used in turn */
    size_t paths_count, jobs, given, idle_wanted;
    int64_t due_us;
    size_t results, outcomes[LOAD_MALFORMED + 1];
    enum load_outcome outcome_of[JOBS_MAX];
    bool seen[JOBS_MAX];
    struct load_result last;
    struct load_stats stats;
};

static enum load_next plan_next(void *context, size_t idle, struct load_job *ret, struct buf *request)
{
    struct plan *plan = context;
    if (plan->given == plan->jobs)
        return LOAD_END;
    *ret = (struct load_job){.tag = plan->given, .due_us = plan->due_us};
    if (clock_mono_us() < plan->due_us)
        return LOAD_WAIT;
    ret->due_us = INT64_MAX;
    if (idle < plan->idle_wanted)
        return LOAD_WAIT;
    plan->idle_wanted = 0;
    ret->due_us = plan->due_us;
    assert_int_equal(request->len, 0);
    buf_printf(request, "GET %s HTTP/1.1\r\n\r\n", plan->paths[plan->given++ % plan->paths_count]);
    return LOAD_SEND;
}

static void plan_done(void *context, const struct load_result *result)
{
    struct plan *plan = context;
    assert_true(result->tag < plan->given && !plan->seen[result->tag]); /* exactly once */
    assert_true(result->intended_us <= result->done_us && result->sent_us <= result->done_us);
    if (result->outcome == LOAD_ANSWERED)
        assert_true(result->response.status == 200 && span_is(result->response.body, "ok"));
    plan->seen[result->tag] = true;
    plan->outcome_of[result->tag] = result->outcome;
    plan->outcomes[result->outcome]++;
    plan->results++;
    plan->last = *result;
}

struct run_limits {
    size_t connections;
    int64_t timeout_ms, run_ms;
};

static void run_plan(const char *url, struct plan *plan, struct run_limits limits)
{
    char reason[128];
    struct target target;
    struct load_driver driver = {plan_next, plan_done, plan};
    assert_true(target_init(&target, url, reason, sizeof reason));
    struct load_options options = {&target, limits.connections, limits.timeout_ms, BODY_MAX};
    struct load *load = load_create(&options, &driver);
    assert_non_null(load);
    load_run(load, clock_deadline_us(limits.run_ms));
    plan->stats = *load_stats(load);
    load_destroy(load);
}

static struct plan one_path(const char *path, size_t jobs)
{
    return (struct plan){.paths = {path}, .paths_count = 1, .jobs = jobs};
}

static void answers_come_back_once_each(void **state)
{
    struct server *server = *state;
    struct plan plan = one_path("/ok", JOBS_MAX);
    run_plan(server->url, &plan, (struct run_limits){50, 5000, RUN_MS});
    assert_int_equal(plan.outcomes[LOAD_ANSWERED], JOBS_MAX);
    assert_int_equal(plan.stats.answered, JOBS_MAX);
    assert_true(plan.stats.connects <= 50); /* kept alive; the last may come after all was done */
    assert_true(plan.stats.cpu_us > 0 && plan.stats.wall_us > 0);
}

static void an_answer_may_come_byte_by_byte(void **state)
{
    struct server *server = *state;
    struct plan plan = one_path("/slow", 50);
    run_plan(server->url, &plan, (struct run_limits){3, 5000, RUN_MS});
    assert_int_equal(plan.outcomes[LOAD_ANSWERED], 50);
}

static void every_end_has_its_name(void **state)
{
    static const enum load_outcome wanted[] = {LOAD_ANSWERED, LOAD_LOST,      LOAD_LOST,     LOAD_MALFORMED,
                                               LOAD_ANSWERED, LOAD_MALFORMED, LOAD_TIMED_OUT};
    struct server *server = *state;
    struct plan plan = {.paths = {"/ok", "/drop", "/half", "/garbage", "/close", "/twice", "/silent"},
                        .paths_count = COUNT_OF(wanted),
                        .jobs = 2 * COUNT_OF(wanted)};
    run_plan(server->url, &plan, (struct run_limits){2, SILENCE_MS, RUN_MS});
    assert_int_equal(plan.results, plan.jobs); /* it connected again after each */
    for (size_t i = 0; i < plan.jobs; i++)
        assert_int_equal(plan.outcome_of[i], wanted[i % COUNT_OF(wanted)]);
}

static void the_deadline_ends_what_is_under_way(void **state)
{
    struct server *server = *state;
    struct plan plan = one_path("/silent", 3);
    run_plan(server->url, &plan, (struct run_limits){3, 60000, 200});
    assert_int_equal(plan.outcomes[LOAD_TIMED_OUT], 3);
    assert_true(plan.stats.wall_us >= 200 * US_PER_MS && plan.stats.wall_us < 30 * US_PER_S);
}

static void latency_counts_from_when_it_was_due(void **state)
{
    struct server *server = *state;
    struct plan plan = one_path("/ok", 1);
    plan.due_us = clock_mono_us() + 50 * US_PER_MS;
    run_plan(server->url, &plan, (struct run_limits){1, 5000, RUN_MS});
    assert_int_equal(plan.last.intended_us, plan.due_us);
    assert_true(plan.last.sent_us >= plan.due_us);
    plan = one_path("/ok", 1); /* without a due time: from when its connection began to connect */
    int64_t before_us = clock_mono_us();
    run_plan(server->url, &plan, (struct run_limits){1, 5000, RUN_MS});
    assert_true(plan.last.intended_us >= before_us && plan.last.intended_us < plan.last.sent_us);
}

static void a_driver_may_wait_for_two_free_connections(void **state)
{
    struct server *server = *state;
    struct plan plan = one_path("/ok", 2);
    plan.idle_wanted = 2;
    run_plan(server->url, &plan, (struct run_limits){2, 5000, RUN_MS});
    assert_int_equal(plan.outcomes[LOAD_ANSWERED], 2);
    assert_int_equal(plan.stats.connects, 2);
}

static void a_server_that_is_not_there_is_tried_again(void **)
{
    struct server gone;
    struct plan plan = one_path("/ok", 1);
    server_init(&gone);
    server_deinit(&gone);
    run_plan(gone.url, &plan, (struct run_limits){2, 5000, 1000});
    assert_int_equal(plan.results, 0); /* nothing was sent, so nothing was lost */
    /* More often than each of the two connections once, and not without a pause. */
    assert_true(plan.stats.connects_failed > 2 && plan.stats.connects_failed < 1000);
    assert_int_equal(plan.stats.errno_last, ECONNREFUSED);
}

static void urls_are_read_strictly(void **)
{
    static const char *const bad[] = {"",
                                      "127.0.0.1:1",
                                      "https://a",
                                      "http://",
                                      "http://a/b",
                                      "http://127.0.0.1:0",
                                      "http://127.0.0.1:65536",
                                      "http://127.0.0.1:",
                                      "http://:80",
                                      "http://[::1:80"};
    char reason[128];
    struct target target;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (target_init(&target, bad[i], reason, sizeof reason))
            fail_msg("taken for a base URL: %s", bad[i]);
    assert_true(target_init(&target, "http://127.0.0.1:8080/", reason, sizeof reason));
    assert_string_equal(target.authority, "127.0.0.1:8080");
    assert_true(target_init(&target, "http://[::1]:8080", reason, sizeof reason));
    assert_int_equal(target.address.ss_family, AF_INET6);
}

static int server_setup(void **state)
{
    static struct server server;
    server_init(&server);
    *state = &server;
    return 0;
}

static int server_teardown(void **state)
{
    server_deinit(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_an_answer),
        cmocka_unit_test(waits_for_the_rest_wherever_it_is_cut),
        cmocka_unit_test(stops_at_the_end_of_the_first),
        cmocka_unit_test(some_answers_have_no_body),
        cmocka_unit_test(refuses_what_is_no_answer),
        cmocka_unit_test(a_head_has_an_end),
        cmocka_unit_test(urls_are_read_strictly),
        cmocka_unit_test(a_server_that_is_not_there_is_tried_again),
        cmocka_unit_test_setup_teardown(answers_come_back_once_each, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(an_answer_may_come_byte_by_byte, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(every_end_has_its_name, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(the_deadline_ends_what_is_under_way, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(latency_counts_from_when_it_was_due, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(a_driver_may_wait_for_two_free_connections, server_setup,
                                        server_teardown),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
