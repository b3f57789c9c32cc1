/* SPDX-License-Identifier: Apache-2.0 */
/* Threads with crowds of bench/lib, and its checker at the end. */
#include "tests/lib/siege.h"

#include <inttypes.h>
#include <pthread.h>

#include "bench/kit/series.h"
#include "bench/load/connection.h"
#include "bench/load/load_call.h"
#include "bench/storm/checker.h"
#include "bench/storm/coupons_source.h"
#include "bench/storm/crowd.h"
#include "bench/storm/verify_call.h"
#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "tests/lib/json_get.h"
#include "tests/lib/wait.h"

enum {
    USERS = 400000, /* more than can come in the time of a test */
    QUANTITY = USERS,
    LASTS_MS = 240000,  /* nobody asks any more after this, whatever happens */
    WAIT_MS = 120000,   /* for what should take a second */
    CLIENT_MS = 20000,  /* an answer that comes later than this counts as none */
    DEADLINE_MS = 2000, /* of the service (I11) */
    MARGIN_MS = 4000,   /* for a machine that is busy with other tests, and for sanitizers */
    BACK_MS = 20000,    /* the goal is 1000; the same goes for this */
    RETRY_PERCENT = 5,
    TWIN_PERCENT = 5,
    BODIES_MAX = 512 * 1024 * 1024,
};

struct siege {
    struct stack *stack;
    struct siege_options options;
    char campaign_id[CAMPAIGN_ID_MAX + 1], key_prefix[64];
    struct user_names names;
    struct position created_at;
    atomic_bool enough;
    struct besieged {
        struct target target;
        struct crowd_counts counts;
        struct crowd *crowd;
        pthread_t thread;
    } list[SIEGE_CROWDS_MAX];
    const char *what;
    int64_t back_us, enough_us; /* monotonic */
};

static uint32_t users_of(const struct siege *siege)
{
    return siege->options.users ? siege->options.users : USERS;
}

static int64_t quantity_of(const struct siege *siege)
{
    return siege->options.quantity ? siege->options.quantity : QUANTITY;
}

/* --- The campaign --- */

static void create_campaign(struct siege *siege)
{
    char body[256];
    struct connection call;
    struct http_response response = {0};
    struct buf request;
    int64_t deadline_us = clock_deadline_us(WAIT_MS);
    snprintf(body, sizeof body,
             "{\"id\":\"%s\",\"name\":\"siege\",\"discount\":{\"type\":\"percent\",\"percent\":10},"
             "\"currency\":\"EUR\",\"quantity\":%d}",
             siege->campaign_id, (int)quantity_of(siege));
    connection_init(&call, &siege->list[0].target);
    buf_init(&request, LOAD_REQUEST_MAX);
    load_call_write(&siege->list[0].target,
                    &(struct load_call_request){.method = "POST",
                                                .path = "/v1/campaigns",
                                                .token = span_of(stack_env(siege->stack, "ADMIN_TOKEN")),
                                                .key = span_of(siege->campaign_id),
                                                .body = span_of(body)},
                    &request);
    while (connection_call(&call, buf_span(&request), deadline_us, &response) != EXCHANGE_ANSWERED ||
           response.status == 503) {
        assert_true(clock_remaining_ms(deadline_us) > 0);
        wait_moment();
    }
    assert_int_equal(response.status, 201);
    struct json_doc *created = json_get_doc(response.body);
    siege->created_at.slice = (int16_t)json_get_int(created, "position.slice");
    siege->created_at.position = json_get_int(created, "position.position");
    json_destroy(created);
    buf_deinit(&request);
    connection_deinit(&call);
}

/* --- Beginning --- */

static void *run_crowd(void *crowd)
{
    CHECK(crowd_run(crowd));
    return NULL;
}

static void begin_crowd(struct siege *siege, size_t index)
{
    struct besieged *one = &siege->list[index];
    struct crowd_options options = {
        .target = &one->target,
        .token = stack_env(siege->stack, "ISSUE_TOKEN"),
        .campaign_id = span_of(siege->campaign_id),
        .names = &siege->names,
        .key_prefix = siege->key_prefix,
        .first = (uint32_t)index,
        .step = (uint32_t)siege->options.urls_count,
        .users = users_of(siege),
        .retry_percent = RETRY_PERCENT,
        .twin_percent = TWIN_PERCENT,
        .resend = true,
        .per_second = siege->options.per_second,
        .enough = &siege->enough,
        .deadline_us = clock_deadline_us(LASTS_MS),
        .connections = siege->options.connections,
        .timeout_ms = CLIENT_MS,
        .bodies_max = BODIES_MAX,
    };
    one->crowd = crowd_create(&options, &one->counts);
    assert_int_equal(pthread_create(&one->thread, NULL, run_crowd, one->crowd), 0);
}

struct siege *siege_begin(struct stack *stack, const struct siege_options *options)
{
    char reason[160];
    uint64_t chance;
    struct siege *siege = mem_zalloc(sizeof *siege);
    siege->stack = stack;
    siege->options = *options;
    CHECK(options->urls_count >= 1 && options->urls_count <= SIEGE_CROWDS_MAX);
    crypto_random(&chance, sizeof chance);
    do
        snprintf(siege->campaign_id, sizeof siege->campaign_id, "siege-%016" PRIx64, ++chance);
    while (options->slices && !(options->slices >> slice_of(span_of(siege->campaign_id)) & 1));
    snprintf(siege->names.prefix, sizeof siege->names.prefix, "u-%016" PRIx64 "-", chance);
    snprintf(siege->key_prefix, sizeof siege->key_prefix, "k-%016" PRIx64 "-", chance);
    for (size_t i = 0; i < options->urls_count; i++)
        if (!target_init(&siege->list[i].target, options->urls[i], reason, sizeof reason))
            fail_msg("%s: %s", options->urls[i], reason);
    create_campaign(siege);
    for (size_t i = 0; i < options->urls_count; i++)
        begin_crowd(siege, i);
    if (!options->users)
        siege_await_issuing(siege);
    return siege;
}

/* --- Meanwhile --- */

int64_t siege_issued(const struct siege *siege, size_t crowd)
{
    return atomic_load(&siege->list[crowd].counts.issued);
}

/* As many as may be under way now, and one more. */
void siege_await_issuing(struct siege *siege)
{
    int64_t before[SIEGE_CROWDS_MAX];
    for (size_t i = 0; i < siege->options.urls_count; i++)
        before[i] = siege_issued(siege, i);
    for (size_t i = 0; i < siege->options.urls_count; i++)
        WAIT_UNTIL(siege_issued(siege, i) > before[i] + (int64_t)siege->options.connections, WAIT_MS);
}

const _Atomic int64_t *siege_issued_counter(const struct siege *siege)
{
    return &siege->list[0].counts.issued;
}

const char *siege_campaign(const struct siege *siege)
{
    return siege->campaign_id;
}

void siege_mark_back(struct siege *siege, const char *what, int64_t ago_us)
{
    siege->what = what;
    siege->back_us = clock_mono_us() - ago_us;
}

/* --- Judgement --- */

static void check_attempt(const struct siege *siege, const struct attempts *attempts,
                          const struct attempt *attempt)
{
    enum outcome outcome = (enum outcome)attempt->outcome;
    bool broke = outcome == OUTCOME_LOST || outcome == OUTCOME_TIMED_OUT;
    if (broke && siege->options.may_break)
        return;
    if (broke || outcome == OUTCOME_MALFORMED || outcome == OUTCOME_UNEXPECTED || attempt->status == 500)
        fail_msg("a request ended with: %s, status %d %s", attempt_outcome_text(outcome), attempt->status,
                 attempts_problem(attempts, attempt));
    int64_t took_ms = (attempt->done_us - attempt->sent_us) / US_PER_MS;
    if (took_ms > DEADLINE_MS + MARGIN_MS + siege->options.slack_ms)
        fail_msg("an answer (%d) took %" PRId64 " ms", attempt->status, took_ms);
    if (attempt->status >= 500 && (!attempt->retry_after || attempt->problem == 0))
        fail_msg("a refusal with status %d '%s' does not say when to come back", attempt->status,
                 attempts_problem(attempts, attempt));
}

static bool is_fresh_coupon(const struct attempt *attempt)
{
    return attempt->outcome == OUTCOME_ISSUED && !attempt->replayed;
}

/* When the first coupon was issued after the mark, from its request on; -1 for none. */
static int64_t back_after_ms(const struct siege *siege, const struct attempts *attempts)
{
    int64_t first_us = INT64_MAX;
    for (size_t i = 0; i < attempts->count; i++) {
        const struct attempt *attempt = &attempts->list[i];
        if (is_fresh_coupon(attempt) && attempt->done_us >= siege->back_us && attempt->done_us < first_us)
            first_us = attempt->done_us;
    }
    return first_us == INT64_MAX ? -1 : (first_us - siege->back_us) / US_PER_MS;
}

/* The longest time in which nobody was issued anything, while users came. */
static int64_t longest_gap_ms(const struct siege *siege, const struct attempts *attempts)
{
    int64_t *times = mem_alloc((attempts->count + 1) * sizeof *times), gap_us = 0;
    size_t count = 0;
    for (size_t i = 0; i < attempts->count; i++)
        if (is_fresh_coupon(&attempts->list[i]) && attempts->list[i].done_us < siege->enough_us)
            times[count++] = attempts->list[i].done_us;
    series_sort_us(times, count);
    for (size_t i = 1; i < count; i++)
        if (times[i] - times[i - 1] > gap_us)
            gap_us = times[i] - times[i - 1];
    mem_free(times);
    return gap_us / US_PER_MS;
}

static void report(const struct siege *siege, const struct siege_outcome *outcome)
{
    const struct attempts *attempts = &outcome->attempts;
    int64_t slowest_us = 0, counts[OUTCOME_COUNT] = {0};
    for (size_t i = 0; i < attempts->count; i++) {
        const struct attempt *attempt = &attempts->list[i];
        counts[attempt->outcome]++;
        if (attempt->status && attempt->done_us - attempt->sent_us > slowest_us)
            slowest_us = attempt->done_us - attempt->sent_us;
    }
    printf("    %s: issued again %" PRId64 " ms after, longest gap %" PRId64 " ms; %zu requests, %" PRId64
           " refused for now, %" PRId64 " unknown, %" PRId64 " broken; slowest answer %" PRId64 " ms\n",
           siege->what, outcome->back_ms, outcome->gap_ms, attempts->count, counts[OUTCOME_LATER],
           counts[OUTCOME_UNKNOWN], counts[OUTCOME_LOST] + counts[OUTCOME_TIMED_OUT], slowest_us / US_PER_MS);
    fflush(stdout);
}

/* COUNT of the checker wants to know how many there should be: everybody who came, as there is enough. */
static void judge(const struct siege *siege, struct siege_outcome *outcome)
{
    char reason[256];
    struct checked_campaign campaign = {
        .id = span_of(siege->campaign_id),
        .quantity = quantity_of(siege),
        .users = users_of(siege),
        .keys = users_of(siege),
        .demand = outcome->came,
        .names = &siege->names,
    };
    const char *own = stack_env(siege->stack, "DATABASE_URL");
    const char *url = siege->options.database_url ? siege->options.database_url : own;
    struct coupons_range range = {url, campaign.id, siege->created_at};
    struct checker *checker = checker_create(&campaign);
    if (!coupons_source_feed(&range, checker, reason, sizeof reason))
        fail_msg("reading the log: %s", reason);
    checker_answers(checker, &outcome->attempts);
    outcome->verdict = *checker_verdict(checker);
    checker_destroy(checker);
    assert_true(outcome->verdict.checked[RULE_ANSWER] > 0 &&
                (siege->options.users || outcome->verdict.checked[RULE_ASKED] >= outcome->came));
}

void siege_finish(struct siege *siege, struct siege_outcome *ret)
{
    *ret = (struct siege_outcome){.slice = siege->created_at.slice};
    if (!siege->options.users) {
        siege_await_issuing(siege);
        atomic_store(&siege->enough, true);
    }
    siege->enough_us = clock_mono_us();
    attempts_init(&ret->attempts, SIZE_MAX / 2);
    for (size_t i = 0; i < siege->options.urls_count; i++) {
        struct crowd *crowd = siege->list[i].crowd;
        uint32_t people = (users_of(siege) - (uint32_t)i + (uint32_t)siege->options.urls_count - 1) /
                          (uint32_t)siege->options.urls_count;
        assert_int_equal(pthread_join(siege->list[i].thread, NULL), 0);
        attempts_merge(&ret->attempts, crowd_attempts(crowd));
        ret->came += crowd_came(crowd);
        ret->unresolved += crowd_unresolved(crowd) - (people - crowd_came(crowd));
        crowd_destroy(crowd);
    }
    assert_false(ret->attempts.bodies.overflow);
    ret->back_ms = back_after_ms(siege, &ret->attempts);
    ret->gap_ms = longest_gap_ms(siege, &ret->attempts);
    judge(siege, ret);
}

void siege_end(struct siege *siege)
{
    struct siege_outcome outcome;
    siege_finish(siege, &outcome);
    report(siege, &outcome);
    assert_int_equal(outcome.unresolved, 0);
    for (size_t i = 0; i < outcome.attempts.count; i++)
        check_attempt(siege, &outcome.attempts, &outcome.attempts.list[i]);
    assert_in_range(outcome.back_ms, 0, BACK_MS);
    if (outcome.verdict.violations)
        fail_msg("%" PRIu64 " violations, the first: %s %s", outcome.verdict.violations,
                 rule_describe(outcome.verdict.first[0].rule)->invariant, outcome.verdict.first[0].text);
    const char *own = stack_env(siege->stack, "DATABASE_URL");
    struct verify_call call = {.database_url =
                                   siege->options.database_url ? siege->options.database_url : own,
                               .slice = outcome.slice};
    assert_int_equal(verify_call(&call), 0);
    attempts_deinit(&outcome.attempts);
    siege_free(siege);
}

void siege_free(struct siege *siege)
{
    mem_free(siege);
}
