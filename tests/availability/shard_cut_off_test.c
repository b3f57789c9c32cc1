/* SPDX-License-Identifier: Apache-2.0 */
/* The log in two shards, each on two machines under Patroni, and the network between the services and all
 * machines of one of them: what is sent there is dropped, nothing is refused. Users of a campaign of the
 * other shard see no error and wait no longer; what is of both is answered in time, whole or not at all. */
#include "tests/lib/wait.h"

#include "bench/kit/series.h"
#include "bench/storm/verify_call.h"
#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "tests/availability/patroni.h"
#include "tests/chaos/fleet.h"
#include "tests/lib/api.h"
#include "tests/lib/json_get.h"
#include "tests/lib/pace.h"
#include "tests/lib/siege.h"

enum {
    LONG_MS = 120000,
    SHARDS = 2,
    NODES = 2,
    PER_SECOND = 50,
    CONNECTIONS = 8,
    COUPONS = 500, /* before, meanwhile and after */
    REQUEST_DEADLINE_MS = 6000,
    NOISE_US = 100 * US_PER_MS,
    NOISE_TIMES = 3
};

static struct stack *stacks[SHARDS];
static struct fleet *fleet;
static struct api_client api;
static int campaigns; /* that were created */

static unsigned slices_of_shard(int shard)
{
    return 0xffU << (8 * shard);
}

static void silence(int shard, bool silent)
{
    int machine = patroni_find(shard + 1, "primary", 0);
    assert_true(machine != 0);
    patroni_silence(stacks[shard], machine, silent);
    patroni_silence(stacks[shard], patroni_next(machine), silent);
}

/* --- what is of both --- */

static const char *const spanning[] = {"/v1/campaigns?limit=100", "/v1/users/before/coupons?limit=100",
                                       "/v1/rankings/campaigns?by=issued&window=24h&limit=100"};

static void expect_refused(const struct http_answer *answer, int64_t from_us)
{
    pace_within(from_us, REQUEST_DEADLINE_MS * US_PER_MS, "an answer that says no");
    if (answer->status != 503 && answer->status != 504)
        fail_msg("status %d: %.*s", answer->status, SPAN_ARG(answer->body));
}

/* How many it has; -1 where it is refused, in time. */
static int64_t items_of(const char *path)
{
    int64_t count = -1, from_us = clock_mono_us();
    struct http_answer answer = api_get(&api, path, NULL);
    if (answer.status != 200) {
        expect_refused(&answer, from_us);
        return count;
    }
    struct json_doc *doc = json_get_doc(answer.body);
    count = (int64_t)json_get_length(doc, "items");
    json_destroy(doc);
    return count;
}

static void expect_whole_or_refused(const int64_t items[COUNT_OF(spanning)])
{
    for (size_t i = 0; i < COUNT_OF(spanning); i++) {
        int64_t found = items_of(spanning[i]);
        if (found != -1 && found != items[i])
            fail_msg("%s has %lld items of %lld", spanning[i], (long long)found, (long long)items[i]);
    }
}

/* --- the other shard's users --- */

struct span_of_time {
    int64_t from_us, to_us;
};

struct percentiles {
    int64_t p50_us, p90_us, p99_us;
    int64_t later; /* refused for now, which a machine whose processors are all busy may do at any time */
};

static struct percentiles percentiles_of(const struct attempts *attempts, struct span_of_time during,
                                         const char *when)
{
    int64_t *took_us = mem_alloc((attempts->count + 1) * sizeof *took_us);
    size_t count = 0;
    int64_t later = 0;
    for (size_t i = 0; i < attempts->count; i++) {
        const struct attempt *attempt = &attempts->list[i];
        if (attempt->sent_us < during.from_us || attempt->sent_us >= during.to_us)
            continue;
        took_us[count++] = attempt->done_us - attempt->sent_us;
        later += attempt->outcome == OUTCOME_LATER;
    }
    assert_true(count >= COUPONS / 2);
    series_sort_us(took_us, count);
    struct percentiles ret = {series_percentile_us(took_us, count, 500),
                              series_percentile_us(took_us, count, 900),
                              series_percentile_us(took_us, count, 990), later};
    mem_free(took_us);
    print_message("      %s: p50 %lld us, p90 %lld us, p99 %lld us, %lld refused for now\n", when,
                  (long long)ret.p50_us, (long long)ret.p90_us, (long long)ret.p99_us, (long long)later);
    return ret;
}

/* Some coupons of the campaign are issued, while it and what is of both shards are read without a pause: the
 * same before, meanwhile and after, so that what it costs this machine is the same too. */
static struct span_of_time issue_some(struct siege *siege, const int64_t items[COUNT_OF(spanning)])
{
    char path[128];
    int64_t from_us = clock_mono_us(), enough = siege_issued(siege, 0) + COUPONS;
    int64_t deadline_us = clock_deadline_us(LONG_MS);
    snprintf(path, sizeof path, "/v1/campaigns/%s", siege_campaign(siege));
    while (siege_issued(siege, 0) < enough) {
        assert_true(clock_remaining_ms(deadline_us) > 0);
        expect_whole_or_refused(items);
        api_expect(api_get(&api, path, NULL), 200, NULL);
    }
    return (struct span_of_time){from_us, clock_mono_us()};
}

static void judge(struct siege *siege, const struct span_of_time times[3])
{
    struct siege_outcome outcome;
    siege_finish(siege, &outcome);
    struct percentiles before = percentiles_of(&outcome.attempts, times[0], "before"),
                       meanwhile = percentiles_of(&outcome.attempts, times[1], "meanwhile"),
                       after = percentiles_of(&outcome.attempts, times[2], "after");
    for (size_t i = 0; i < outcome.attempts.count; i++)
        if (outcome.attempts.list[i].outcome != OUTCOME_ISSUED &&
            outcome.attempts.list[i].outcome != OUTCOME_IN_FLIGHT && /* a twin's */
            outcome.attempts.list[i].outcome != OUTCOME_LATER)
            fail_msg("a user of the other shard got %d", outcome.attempts.list[i].status);
    assert_in_range(meanwhile.later, 0, before.later + after.later + 1);
    assert_int_equal(outcome.verdict.violations, 0);
    int64_t slower_us = before.p99_us > after.p99_us ? before.p99_us : after.p99_us;
    assert_in_range(meanwhile.p99_us, 0, NOISE_TIMES * slower_us + NOISE_US);
    attempts_deinit(&outcome.attempts);
    siege_free(siege);
}

/* --- one shard is cut off --- */

static const char *created(int shard)
{
    const char *id;
    do {
        id = api_campaign(&api, 1000000, "");
        campaigns++;
    } while (!(slices_of_shard(shard) >> slice_of(span_of(id)) & 1));
    return id;
}

static void cut_off(int away)
{
    char gone[96], address[FLEET_ADDRESS_MAX], url[FLEET_URL_MAX];
    const char *const urls[] = {address};
    static int rounds;
    struct span_of_time times[3];
    fleet_address(fleet, 0, address);
    fleet_owner_url(fleet, (uint32_t)(1 - away), url);
    snprintf(gone, sizeof gone, "%s", created(away));
    api_give(&api, gone, "before");
    struct siege *siege =
        siege_begin(stacks[0], &(struct siege_options){.urls = urls,
                                                       .urls_count = 1,
                                                       .per_second = PER_SECOND,
                                                       .connections = CONNECTIONS,
                                                       .database_url = url,
                                                       .slices = slices_of_shard(1 - away)});
    rounds++;
    const int64_t items[COUNT_OF(spanning)] = {++campaigns, rounds, 2 * rounds};
    for (size_t i = 0; i < COUNT_OF(spanning); i++) /* the models have it */
        WAIT_UNTIL(items_of(spanning[i]) == items[i], LONG_MS);
    times[0] = issue_some(siege, items);
    silence(away, true);
    int64_t from_us = clock_mono_us();
    struct http_answer answer = api_issue(&api, gone, "during");
    expect_refused(&answer, from_us);
    times[1] = issue_some(siege, items);
    silence(away, false);
    WAIT_UNTIL(api_issue(&api, gone, "after").status == 201, LONG_MS);
    times[2] = issue_some(siege, items);
    judge(siege, times);
}

static void the_shard_of_slice_0(void **)
{
    cut_off(0);
}

static void the_other_shard(void **)
{
    cut_off(1);
}

static void all_of_it_is_true(void **)
{
    char map[PATH_MAX];
    fleet_owner_map(fleet, map);
    struct verify_call call = {
        .shards_file = map, .redis_url = stack_env(stacks[0], "REDIS_URL"), .slice = -1};
    WAIT_UNTIL(verify_call(&call) == 0, LONG_MS);
}

static int setup(void **)
{
    char command[FLEET_ADDRESS_MAX], query[FLEET_ADDRESS_MAX];
    crypto_setup();
    stack_default_deadlines();
    setenv("FIRSTCOME_REQUEST_DEADLINE_MS", "6000",
           1); /* whoever is away is waited for so long, not longer */
    setenv("FIRSTCOME_STORE_TIMEOUT_MS", "4000", 1);
    for (int i = 0; i < SHARDS; i++) {
        stacks[i] = stack_start(STACK_SERVERS);
        patroni_start(stacks[i], i + 1, NODES, PATRONI_TTL_S);
    }
    fleet = fleet_start(
        &(struct fleet_options){.stacks = stacks, .shards = SHARDS, .services = 1, .patroni = true});
    assert_true(fleet_await_ready(fleet, clock_deadline_us(LONG_MS)));
    fleet_address(fleet, 0, command);
    fleet_address(fleet, fleet_query(fleet, 0), query);
    api = (struct api_client){
        .stack = stacks[0], .command = http_client_create(command), .query = http_client_create(query)};
    return 0;
}

static int teardown(void **)
{
    api_close(&api);
    fleet_stop(fleet);
    for (int i = 0; i < SHARDS; i++)
        stack_stop(stacks[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shard_of_slice_0),
        cmocka_unit_test(the_other_shard),
        cmocka_unit_test(all_of_it_is_true),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
