/* SPDX-License-Identifier: Apache-2.0 */
/* Incident 4, a hundred times over: 250,000 people for 500 coupons. There: 2,500 people, 99 % of issues
 * failed, answers after 30 s, 1,200 without what was theirs; reopened in steps of 100, 200 and 200 coupons,
 * of which 98, 97 and 95 % succeeded. */
#include "common/base/mem.h"
#include "tests/drills/drill.h"
#include "tests/drills/people.h"
#include "tests/lib/wait.h"

enum {
    FIRST_USERS = 10000, /* a small one, which says how many this machine serves */
    FIRST_CONNECTIONS = 256,
    USERS = 250000,
    QUANTITY = 500,
    CONNECTIONS_MIN = 800, /* the incident's */
    CONNECTIONS_MAX = 6000,
    TURN_MS = 300, /* as many connections as are served in so long: everybody asks again and again at once */
    SLOWEST_MS = 2000,
    OTHERS_P99_MS = 100,
    STAGES = 3,
    STAGE_S = 3,
    AT_ONCE = 50,
    LONG_MS = 60000,
};

static const int stages[STAGES] = {100, 200, 200};
static const char *const stage_success[STAGES] = {"98 %", "97 %", "95 %"};

static struct stack *stack;
static struct people *people;

static struct siege *storm(uint32_t users, size_t connections, struct siege_outcome *ret,
                           struct window *ret_window)
{
    const char *const urls[] = {stack_env(stack, "COMMAND_URL")};
    ret_window->from_us = clock_mono_us();
    struct siege *siege = siege_begin(
        stack,
        &(struct siege_options){
            .urls = urls, .urls_count = 1, .connections = connections, .users = users, .quantity = QUANTITY});
    siege_finish(siege, ret);
    ret_window->to_us = ret_window->from_us;
    for (size_t i = 0; i < ret->attempts.count; i++)
        if (ret->attempts.list[i].done_us > ret_window->to_us)
            ret_window->to_us = ret->attempts.list[i].done_us;
    return siege;
}

/* So many as are answered in TURN_MS, by the rate of a smaller storm. */
static size_t connections_for_this_machine(void)
{
    struct siege_outcome outcome;
    struct window window;
    struct siege *siege = storm(FIRST_USERS, FIRST_CONNECTIONS, &outcome, &window);
    int64_t per_second = (int64_t)outcome.attempts.count * US_PER_S / (window.to_us - window.from_us + 1);
    int64_t connections = per_second * TURN_MS / 1000;
    attempts_deinit(&outcome.attempts);
    siege_free(siege);
    return (size_t)(connections < CONNECTIONS_MIN   ? CONNECTIONS_MIN
                    : connections > CONNECTIONS_MAX ? CONNECTIONS_MAX
                                                    : connections);
}

/* --- The storm's figures --- */

static bool is_error(const struct attempt *attempt)
{
    enum outcome outcome = (enum outcome)attempt->outcome;
    return !outcome_definite(outcome) && outcome != OUTCOME_IN_FLIGHT;
}

static void expect_of_storm(const struct siege_outcome *outcome, struct window window)
{
    const struct attempts *attempts = &outcome->attempts;
    int64_t slowest_us = 0, machine_us = people_machine_us(people, window, 1000);
    uint64_t errors = 0, winners_errors = 0, coupons = 0;
    bool *winners = mem_zalloc(USERS);
    for (size_t i = 0; i < attempts->count; i++) {
        const struct attempt *attempt = &attempts->list[i];
        coupons += attempt->outcome == OUTCOME_ISSUED && !winners[attempt->user];
        winners[attempt->user] |= attempt->outcome == OUTCOME_ISSUED;
        int64_t took_us = attempt->done_us - attempt->sent_us;
        slowest_us = took_us > slowest_us ? took_us : slowest_us;
        errors += is_error(attempt);
    }
    for (size_t i = 0; i < attempts->count; i++)
        winners_errors += is_error(&attempts->list[i]) && winners[attempts->list[i].user];
    mem_free(winners);
    DRILL_EXPECT("coupons of 500, each to somebody else", "1,200 went wrong", (double)coupons, QUANTITY, "",
                 AT_LEAST);
    drill_expect_none("violations of what was promised", "", outcome->verdict.violations);
    drill_expect_none("errors for those who got one", "99 %", winners_errors);
    drill_expect_none("people without an answer", "99 % failed", outcome->unresolved);
    DRILL_EXPECT("answers that were errors", "99 %", 100.0 * (double)errors / (double)attempts->count, 0.1,
                 "%");
    drill_expect_ms("the slowest answer", "30 s", slowest_us, SLOWEST_MS, machine_us);
}

/* --- In steps --- */

/* So many users ask at once, by fifty; how many got one. */
static int ask(const char *campaign, int from, int count)
{
    static struct http_client *clients[AT_ONCE];
    int issued = 0;
    for (int i = 0; i < AT_ONCE && !clients[i]; i++)
        clients[i] = http_client_create(stack_env(stack, "COMMAND_URL"));
    for (int done = 0; done < count; done += AT_ONCE) {
        int now = count - done < AT_ONCE ? count - done : AT_ONCE;
        for (int i = 0; i < now; i++) {
            char user[32];
            snprintf(user, sizeof user, "again-%d", from + done + i);
            api_issue_begin(&people->api, clients[i], campaign, user, api_fresh_key());
        }
        for (int i = 0; i < now; i++) {
            struct http_answer answer;
            issued += http_client_read(clients[i], LONG_MS, &answer) == HTTP_ANSWERED && answer.status == 201;
        }
    }
    return issued;
}

static void reopen_in_steps(void)
{
    static const char *const what[STAGES] = {"reopened with 100: succeeded", "with 200 more: succeeded",
                                             "with the last 200: succeeded"};
    char more[512], campaign[64];
    int64_t first_us = clock_wall_us() + STAGE_S * US_PER_S;
    struct buf plan;
    buf_init(&plan, sizeof more);
    buf_append_text(&plan, ",\"released\":0,\"release_plan\":[");
    for (int i = 0; i < STAGES; i++) {
        json_open(&plan, NULL, '{');
        json_put_time(&plan, "at", first_us + i * STAGE_S * US_PER_S);
        json_put_int(&plan, "quantity", stages[i]);
        json_close(&plan, '}');
    }
    buf_append_text(&plan, "]");
    snprintf(more, sizeof more, "%.*s", SPAN_ARG(buf_span(&plan)));
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&people->api, QUANTITY, more));
    for (int i = 0, from = 0; i < STAGES; from += stages[i++]) {
        int64_t opens_us = first_us + i * STAGE_S * US_PER_S;
        WAIT_UNTIL(clock_wall_us() >= opens_us, LONG_MS);
        int issued = ask(campaign, from, stages[i]);
        DRILL_EXPECT(what[i], stage_success[i], 100.0 * issued / stages[i], 99.9, "%", AT_LEAST);
        struct http_answer late = api_issue(&people->api, campaign, "too-late");
        assert_int_equal(late.status, 409); /* and not one more */
    }
    buf_deinit(&plan);
}

/* --- The drill --- */

void drill_opening(void)
{
    struct siege_outcome outcome;
    struct window window;
    drill_begin(4, "250,000 people for 500 coupons, then the reopening in steps", 25);
    stack_default_deadlines();
    stack = stack_start(STACK_ALL);
    people = people_start(&(struct people_options){.stack = stack,
                                                   .issues_per_second = 50,
                                                   .issue_connections = 16,
                                                   .redeems_per_second = 20,
                                                   .reads_per_second = 100});
    drill_phase("a small storm: what does this machine serve?");
    size_t connections = connections_for_this_machine();
    assert_true(load_allow_descriptors(connections + 1000));
    drill_phase("250,000 people come");
    struct siege *siege = storm(USERS, connections, &outcome, &window);
    drill_phase("reopened in steps");
    expect_of_storm(&outcome, window);
    reopen_in_steps();
    drill_phase("answers are compared with the log");
    people_stop(people);
    drill_expect_none("issues of another campaign that failed", "95 to 99 %",
                      people_issue_errors(people, window));
    drill_expect_none("redemptions that failed", "95 %", people_stream_bad(&people->redeems, window, 0));
    drill_expect_none("reads that failed", "50 %", people_stream_bad(&people->reads, window, 0));
    drill_expect_ms("read p99", "8 s", people_stream_us(&people->reads, window, 990), OTHERS_P99_MS,
                    people_machine_us(people, window, 990));
    people_expect_exact(people, "", "");
    people_expect_models(stack, stack_env(stack, "REDIS_URL"), "");
    drill_note("%zu requests on %zu connections in %.1f s", outcome.attempts.count, connections,
               (double)(window.to_us - window.from_us) / US_PER_S);
    attempts_deinit(&outcome.attempts);
    siege_free(siege);
    people_free(people);
    stack_stop(stack);
}
