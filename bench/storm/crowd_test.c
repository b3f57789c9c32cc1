/* SPDX-License-Identifier: Apache-2.0 */
/* How often each user asks, with which key, and what is recorded of it, against a server that counts. */
#include "bench/storm/crowd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/http/http.h"
#include "events/problems.h"

enum { USERS = 40, RUN_MS = 30000 };
static const char key_prefix[] = "k-", user_prefix[] = "u-";

enum mode { ISSUE, REFUSE, LATER_FIRST, UNKNOWN_FIRST, LATER, FORBID };

/* Written by the one thread of the server; read when the crowd is done. */
struct service {
    struct http_server *http;
    enum mode mode;
    char url[64];
    uint32_t asked[USERS]; /* requests per key */
    uint32_t strange;      /* requests that are not of a user with its own key */
};

static bool read_digits(struct span text, const char *prefix, uint32_t *ret)
{
    struct user_names names = {""};
    snprintf(names.prefix, sizeof names.prefix, "%s", prefix);
    return user_name_parse(&names, text, ret) && *ret < USERS;
}

static bool read_user(struct span body, uint32_t *ret)
{
    struct span rest = body;
    span_cut(&rest, ':');
    span_cut(&rest, '"');
    return read_digits(span_cut(&rest, '"'), user_prefix, ret);
}

static void answer(struct http_request *request, void *context)
{
    struct service *service = context;
    uint32_t key, user;
    if (!read_digits(http_header(request, "Idempotency-Key"), key_prefix, &key) ||
        !read_user(http_body(request), &user) || key != user) {
        service->strange++;
        http_fail(request, &problem_internal, NULL);
        return;
    }
    bool first = service->asked[key]++ == 0;
    if (service->mode == REFUSE)
        http_fail(request, &problem_sold_out, NULL);
    else if (service->mode == LATER || (service->mode == LATER_FIRST && first))
        http_fail(request, &problem_store_unavailable, NULL);
    else if (service->mode == FORBID)
        http_fail(request, &problem_forbidden, NULL);
    else if (service->mode == UNKNOWN_FIRST && first)
        http_fail(request, &problem_outcome_unknown, NULL);
    else {
        http_add_header(request, "Consistency-Token", SPAN("v1.3.77"));
        if (!first)
            http_add_header(request, "Idempotency-Replayed", SPAN("true"));
        buf_printf(http_reply_body(request), "{\"user\":%u}", user);
        http_reply(request, 201);
    }
}

static const struct http_route routes[] = {
    {.method = HTTP_POST, .pattern = "/v1/campaigns/{id}/coupons", .handler = answer}};

/* A free port is whatever is free below the ones the kernel gives out by itself. */
static int service_setup(void **state)
{
    struct service *service = mem_zalloc(sizeof *service);
    char reason[160] = "";
    struct http_options options = {.bind_address = "127.0.0.1",
                                   .threads = 1,
                                   .connections_max = 200,
                                   .connections_per_address_max = 200,
                                   .idle_timeout_s = 30,
                                   .header_bytes_max = 8192,
                                   .routes = routes,
                                   .routes_count = COUNT_OF(routes),
                                   .context = service};
    for (int tries = 0; tries < 50 && !service->http; tries++) {
        options.port = (uint16_t)(20000 + crypto_random_below(10000));
        service->http = http_server_create(&options, reason, sizeof reason);
    }
    if (!service->http)
        fail_msg("no server: %s", reason);
    snprintf(service->url, sizeof service->url, "http://127.0.0.1:%u", options.port);
    *state = service;
    return 0;
}

static int service_teardown(void **state)
{
    struct service *service = *state;
    http_server_drain(service->http, clock_deadline_us(5000));
    http_server_destroy(service->http);
    mem_free(service);
    return 0;
}

struct run {
    struct target target;
    struct user_names names;
    struct crowd_options options;
    struct crowd_counts counts;
    struct crowd *crowd;
};

static void run_init(struct run *run, const struct service *service)
{
    char reason[160];
    *run = (struct run){.names = {"u-"}};
    assert_true(target_init(&run->target, service->url, reason, sizeof reason));
    run->options = (struct crowd_options){.target = &run->target,
                                          .token = "secret",
                                          .campaign_id = SPAN("c"),
                                          .names = &run->names,
                                          .key_prefix = key_prefix,
                                          .step = 1,
                                          .users = USERS,
                                          .resend = true,
                                          .deadline_us = clock_deadline_us(RUN_MS),
                                          .connections = 7,
                                          .timeout_ms = 10000,
                                          .bodies_max = 1024 * 1024};
}

static void run_crowd(struct run *run)
{
    run->crowd = crowd_create(&run->options, &run->counts);
    assert_true(crowd_run(run->crowd));
}

static size_t count_outcomes(const struct run *run, enum outcome outcome)
{
    const struct attempts *attempts = crowd_attempts(run->crowd);
    size_t count = 0;
    for (size_t i = 0; i < attempts->count; i++)
        count += attempts->list[i].outcome == outcome;
    return count;
}

static void expect_asked(const struct service *service, uint32_t times)
{
    assert_int_equal(service->strange, 0);
    for (uint32_t user = 0; user < USERS; user++)
        assert_int_equal(service->asked[user], times);
}

static void every_user_asks_once(void **state)
{
    struct service *service = *state;
    struct run run;
    run_init(&run, service);
    run_crowd(&run);
    expect_asked(service, 1);
    assert_int_equal(count_outcomes(&run, OUTCOME_ISSUED), USERS);
    assert_int_equal(atomic_load(&run.counts.users_done), USERS);
    assert_int_equal(atomic_load(&run.counts.issued), USERS);
    assert_int_equal(crowd_unresolved(run.crowd), 0);
    const struct attempts *attempts = crowd_attempts(run.crowd);
    const struct attempt *attempt = &attempts->list[USERS / 2];
    char body[32];
    snprintf(body, sizeof body, "{\"user\":%u}", attempt->user);
    assert_true(span_is(attempts_body(attempts, attempt), body));
    assert_true(attempt->token.slice == 3 && attempt->token.position == 77 && !attempt->replayed);
    crowd_destroy(run.crowd);
}

static void users_come_at_the_wanted_rate(void **state)
{
    enum { PER_SECOND = 200 };
    struct service *service = *state;
    struct run run;
    run_init(&run, service);
    run.options.per_second = PER_SECOND;
    int64_t start_us = clock_mono_us();
    run_crowd(&run);
    expect_asked(service, 1);
    const struct attempts *attempts = crowd_attempts(run.crowd);
    for (size_t i = 0; i < attempts->count; i++) {
        const struct attempt *attempt = &attempts->list[i];
        assert_true(attempt->sent_us >= start_us + attempt->user * US_PER_S / PER_SECOND);
    }
    crowd_destroy(run.crowd);
}

static void nobody_comes_when_it_is_enough(void **state)
{
    struct service *service = *state;
    struct run run;
    atomic_bool enough = true;
    run_init(&run, service);
    run.options.enough = &enough;
    run_crowd(&run);
    expect_asked(service, 0);
    assert_int_equal(crowd_came(run.crowd), 0);
    assert_int_equal(crowd_unresolved(run.crowd), USERS);
    crowd_destroy(run.crowd);
}

static void some_ask_again_with_the_same_key(void **state)
{
    struct service *service = *state;
    struct run run;
    run_init(&run, service);
    run.options.retry_percent = 100;
    run_crowd(&run);
    expect_asked(service, 2);
    const struct attempts *attempts = crowd_attempts(run.crowd);
    for (size_t i = 0; i < attempts->count; i++)
        for (size_t j = i + 1; j < attempts->count; j++)
            if (attempts->list[i].key == attempts->list[j].key)
                assert_true(attempts->list[j].sent_us >= attempts->list[i].done_us &&
                            attempts->list[j].replayed);
    crowd_destroy(run.crowd);
}

static void twins_ask_at_the_same_time(void **state)
{
    struct service *service = *state;
    struct run run;
    run_init(&run, service);
    run.options.twin_percent = 100;
    run_crowd(&run);
    expect_asked(service, 2);
    const struct attempts *attempts = crowd_attempts(run.crowd);
    for (size_t i = 0; i < attempts->count; i++)
        for (size_t j = i + 1; j < attempts->count; j++)
            if (attempts->list[i].key == attempts->list[j].key)
                assert_true(attempts->list[j].sent_us <= attempts->list[i].done_us);
    assert_int_equal(atomic_load(&run.counts.users_done), USERS);
    crowd_destroy(run.crowd);
}

static void who_has_no_definite_answer_asks_again(void **state)
{
    static const enum mode modes[] = {LATER_FIRST, UNKNOWN_FIRST};
    static const enum outcome outcomes[] = {OUTCOME_LATER, OUTCOME_UNKNOWN};
    struct service *service = *state;
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        struct run run;
        service->mode = modes[i];
        run_init(&run, service);
        run_crowd(&run);
        expect_asked(service, 2);
        assert_int_equal(count_outcomes(&run, outcomes[i]), USERS);
        assert_int_equal(count_outcomes(&run, OUTCOME_ISSUED), USERS);
        assert_int_equal(crowd_unresolved(run.crowd), 0);
        crowd_destroy(run.crowd);
        memset(service->asked, 0, sizeof service->asked);
    }
}

static void unless_told_not_to(void **state)
{
    struct service *service = *state;
    struct run run;
    service->mode = LATER;
    run_init(&run, service);
    run.options.resend = false;
    run_crowd(&run);
    expect_asked(service, 1);
    assert_int_equal(crowd_unresolved(run.crowd), USERS);
    assert_int_equal(atomic_load(&run.counts.users_done), USERS);
    crowd_destroy(run.crowd);
}

static void or_it_would_be_in_vain(void **state)
{
    struct service *service = *state;
    struct run run;
    service->mode = FORBID;
    run_init(&run, service);
    run_crowd(&run);
    expect_asked(service, 1);
    assert_int_equal(count_outcomes(&run, OUTCOME_UNEXPECTED), USERS);
    assert_int_equal(crowd_unresolved(run.crowd), USERS);
    crowd_destroy(run.crowd);
}

static void or_until_the_deadline(void **state)
{
    struct service *service = *state;
    struct run run;
    service->mode = LATER;
    run_init(&run, service);
    run.options.deadline_us = clock_deadline_us(150);
    run_crowd(&run);
    assert_int_equal(crowd_unresolved(run.crowd), USERS);
    assert_true(service->asked[0] >= 1);
    crowd_destroy(run.crowd);
}

static void crowds_share_the_users(void **state)
{
    struct service *service = *state;
    struct run runs[2];
    struct attempts all;
    service->mode = REFUSE;
    attempts_init(&all, 1024);
    for (uint32_t i = 0; i < 2; i++) {
        run_init(&runs[i], service);
        runs[i].options.first = i;
        runs[i].options.step = 2;
        run_crowd(&runs[i]);
        attempts_merge(&all, crowd_attempts(runs[i].crowd));
        crowd_destroy(runs[i].crowd);
    }
    expect_asked(service, 1);
    assert_int_equal(all.count, USERS);
    for (size_t i = 0; i < all.count; i++)
        assert_string_equal(attempts_problem(&all, &all.list[i]), "sold-out");
    attempts_deinit(&all);
}

static void bodies_survive_a_merge(void **)
{
    struct attempts a, b;
    struct load_result result = {.outcome = LOAD_ANSWERED, .response = {.status = 201, .body = SPAN("one")}};
    attempts_init(&a, 1024), attempts_init(&b, 1024);
    attempts_add(&a, 1, 1, &result);
    result.response.body = SPAN("another");
    attempts_add(&b, 2, 2, &result);
    attempts_merge(&a, &b);
    assert_true(span_is(attempts_body(&a, &a.list[0]), "one"));
    assert_true(span_is(attempts_body(&a, &a.list[1]), "another"));
    attempts_deinit(&a), attempts_deinit(&b);
}

static void too_many_bodies_are_noticed(void **)
{
    struct attempts attempts;
    struct load_result result = {.outcome = LOAD_ANSWERED,
                                 .response = {.status = 201, .body = SPAN("123456")}};
    attempts_init(&attempts, 10);
    attempts_add(&attempts, 1, 1, &result);
    assert_false(attempts.bodies.overflow);
    attempts_add(&attempts, 1, 1, &result);
    assert_true(attempts.bodies.overflow);
    assert_int_equal(attempts_body(&attempts, &attempts.list[1]).len, 0);
    attempts_deinit(&attempts);
}

static void answers_are_classified(void **)
{
    static const struct {
        int status;
        const char *body;
        enum outcome outcome;
        const char *problem;
    } cases[] = {
        {409, "{\"code\":\"in-flight\"}", OUTCOME_IN_FLIGHT, "in-flight"},
        {409, "{\"type\":\"x\", \"code\": \"sold-out\"}", OUTCOME_REFUSED, "sold-out"},
        {410, "{\"code\":\"ended\"}", OUTCOME_REFUSED, "ended"},
        {404, "", OUTCOME_REFUSED, ""},
        {429, "{\"code\":7}", OUTCOME_LATER, ""},
        {500, "{\"code\":\"internal\"}", OUTCOME_LATER, "internal"},
        {503, "{\"code\":\"overloaded\"}", OUTCOME_LATER, "overloaded"},
        {504, "{\"code\":\"outcome-unknown\"}", OUTCOME_UNKNOWN, "outcome-unknown"},
        {400, "{\"code\":\"wrong-type\"}", OUTCOME_UNEXPECTED, "wrong-type"},
        {202, "{\"code\":\"x\"}", OUTCOME_UNEXPECTED, ""},
    };
    struct attempts attempts;
    attempts_init(&attempts, 1024);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct load_result result = {.outcome = LOAD_ANSWERED,
                                     .response = {.status = cases[i].status, .body = span_of(cases[i].body)}};
        const struct attempt *attempt = attempts_add(&attempts, 0, 0, &result);
        assert_int_equal(attempt->outcome, cases[i].outcome);
        assert_string_equal(attempts_problem(&attempts, attempt), cases[i].problem);
    }
    attempts_deinit(&attempts);
}

static void problem_codes_have_a_bound(void **)
{
    struct attempts attempts;
    attempts_init(&attempts, 1024);
    for (int i = 0; i < 3 * ATTEMPTS_PROBLEMS_MAX; i++) {
        char body[64];
        snprintf(body, sizeof body, "{\"code\":\"made-up-%d\"}", i);
        struct load_result result = {.outcome = LOAD_ANSWERED,
                                     .response = {.status = 409, .body = span_of(body)}};
        attempts_add(&attempts, 0, 0, &result);
    }
    assert_int_equal(attempts.problems_count, ATTEMPTS_PROBLEMS_MAX);
    assert_string_equal(attempts_problem(&attempts, &attempts.list[5]), "made-up-5");
    assert_string_equal(attempts_problem(&attempts, &attempts.list[attempts.count - 1]), "(other)");
    attempts_deinit(&attempts);
    attempts_init(&attempts, 1024);
    for (int i = 0; i < 3; i++) { /* too long to be kept */
        struct load_result result = {
            .outcome = LOAD_ANSWERED,
            .response = {.status = 409,
                         .body = SPAN("{\"code\":\"0123456789012345678901234567890123456789012345678\"}")}};
        attempts_add(&attempts, 0, 0, &result);
    }
    assert_int_equal(attempts.problems_count, 2);
    attempts_deinit(&attempts);
}

#define WITH_SERVICE(test) cmocka_unit_test_setup_teardown(test, service_setup, service_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVICE(every_user_asks_once),
        WITH_SERVICE(some_ask_again_with_the_same_key),
        WITH_SERVICE(twins_ask_at_the_same_time),
        WITH_SERVICE(who_has_no_definite_answer_asks_again),
        WITH_SERVICE(unless_told_not_to),
        WITH_SERVICE(or_it_would_be_in_vain),
        WITH_SERVICE(or_until_the_deadline),
        WITH_SERVICE(crowds_share_the_users),
        WITH_SERVICE(users_come_at_the_wanted_rate),
        WITH_SERVICE(nobody_comes_when_it_is_enough),
        cmocka_unit_test(bodies_survive_a_merge),
        cmocka_unit_test(too_many_bodies_are_noticed),
        cmocka_unit_test(answers_are_classified),
        cmocka_unit_test(problem_codes_have_a_bound),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
