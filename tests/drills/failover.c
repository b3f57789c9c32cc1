/* SPDX-License-Identifier: Apache-2.0 */
/* Incident 0: the primary of three Redis servers dies while coupons are issued first come, first served.
 * There: seven minutes, answers that jumped from 50 ms to 5 s, 3,000 people without a coupon or with a late
 * one, and replicas that had to copy everything. */
#include "tests/drills/drill.h"
#include "tests/drills/people.h"
#include "tests/lib/sentinels.h"
#include "tests/lib/wait.h"

enum {
    STEADY_MS = 5000,
    AFTER_MS = 5000,
    LONG_MS = 60000,
    READS_P99_MS = 100,
    ADOPTED_MS = 3000,   /* with sentinels that need the two seconds they usually do; */
    SENTINELS_MS = 2000, /* what they need beyond is theirs */
    CALM_FACTOR = 2,
};

static struct stack *stack;
static struct sentinels sentinels;
static struct people *people;

static enum sentinels_process promoted(void)
{
    for (int process = SENTINELS_REDIS_2; process <= SENTINELS_REDIS_3; process++)
        if (strcmp(sentinels_role(&sentinels, (enum sentinels_process)process), "master") == 0)
            return (enum sentinels_process)process;
    return SENTINELS_REDIS_1;
}

/* A number of INFO; -1 where it does not say. */
static int64_t info(enum sentinels_process server, const char *name)
{
    char text[16384];
    uint64_t value;
    if (SENTINELS_CALL(&sentinels, server, text, "INFO") != REDIS_OK)
        return -1;
    const char *at = strstr(text, name);
    struct span rest = span_of(at ? at + strlen(name) : "");
    (void)span_cut(&rest, ':');
    return parse_u64(span_cut(&rest, '\r'), INT64_MAX, &value) ? (int64_t)value : -1;
}

/* How far the new primary's models are, of the slice that is issued from. */
static int64_t checkpoint(enum sentinels_process server)
{
    char key[32], text[64];
    uint64_t position;
    snprintf(key, sizeof key, "fc:{%d}", slice_of(span_of(siege_campaign(people->siege))));
    if (SENTINELS_CALL(&sentinels, server, text, "HGET", key, "pos") != REDIS_OK ||
        !parse_u64(span_of(text), INT64_MAX, &position))
        return -1;
    return (int64_t)position;
}

static void start(void)
{
    stack_default_deadlines();
    stack = stack_start(STACK_SERVERS);
    sentinels_start(&sentinels, stack, 2, 1000);
    setenv("SERVICES_REDIS_URL", sentinels_url(&sentinels), 1);
    stack_service(stack, "projector", "start");
    stack_service(stack, "command-service", "start");
    stack_service(stack, "query-service", "start");
    people = people_start(&(struct people_options){.stack = stack,
                                                   .issues_per_second = 300,
                                                   .issue_connections = 64,
                                                   .redeems_per_second = 20,
                                                   .reads_per_second = 200});
    WAIT_UNTIL(checkpoint(SENTINELS_REDIS_2) > 0 && checkpoint(SENTINELS_REDIS_3) > 0, LONG_MS);
}

static void await_ms(int64_t ms)
{
    int64_t until_us = clock_deadline_us(ms);
    WAIT_UNTIL(clock_remaining_ms(until_us) == 0, LONG_MS);
}

void drill_failover(void)
{
    drill_begin(0, "the Redis primary dies in a first-come burst", 25);
    start();
    drill_phase("all is well");
    struct window steady = {.from_us = clock_mono_us()};
    await_ms(STEADY_MS);
    steady.to_us = clock_mono_us();

    drill_phase("the primary is dead");
    sentinels_kill(&sentinels, SENTINELS_REDIS_1);
    struct window gone = {.from_us = clock_mono_us()};
    WAIT_UNTIL(promoted() != SENTINELS_REDIS_1, LONG_MS);
    int64_t promoted_us = clock_mono_us() - gone.from_us;
    enum sentinels_process primary = promoted();
    enum sentinels_process replica = primary == SENTINELS_REDIS_2 ? SENTINELS_REDIS_3 : SENTINELS_REDIS_2;
    int64_t before = checkpoint(primary);
    WAIT_UNTIL(checkpoint(primary) > before, LONG_MS);
    int64_t adopted_us = clock_mono_us() - gone.from_us;
    drill_phase("the other replica follows");
    WAIT_UNTIL(checkpoint(replica) > before, LONG_MS);
    int64_t followed_us = clock_mono_us() - gone.from_us;
    await_ms(AFTER_MS);
    gone.to_us = clock_mono_us();

    drill_phase("answers are compared with the log");
    int64_t copied = info(primary, "sync_full");
    people_stop(people);
    int64_t machine_us = people_machine_us(people, gone, 990),
            theirs_us = promoted_us > SENTINELS_MS * US_PER_MS ? promoted_us - SENTINELS_MS * US_PER_MS : 0;
    drill_expect_none("issues that failed", "3,000, failed or late", people_issue_errors(people, gone));
    people_expect_exact(people, "unfair", "unfair");
    drill_expect_ms("issue p99, bar: twice before, or 100 ms", "5 s", people_issue_us(people, gone, 990),
                    drill_bar_ms(CALM_FACTOR * 10, people_issue_us(people, steady, 990)),
                    people_machine_commit_us(people, gone, 990));
    drill_expect_none("redemptions that failed", "", people_stream_bad(&people->redeems, gone, 0));
    drill_expect_none("reads that failed", "4 min of delays", people_stream_bad(&people->reads, gone, 0));
    drill_expect_ms("read p99", "5 s", people_stream_us(&people->reads, gone, 990), READS_P99_MS, machine_us);
    drill_expect_ms("read, the slowest", "5 s", people_stream_us(&people->reads, gone, 1000),
                    READS_P99_MS * 5 / 2, people_machine_us(people, gone, 1000));
    drill_expect_ms("new primary written to, from the death on", "7 min", adopted_us, ADOPTED_MS,
                    theirs_us + machine_us);
    drill_expect_ms("the other replica in step, from the death on", "6 min", followed_us, ADOPTED_MS + 5000,
                    theirs_us + machine_us);
    drill_expect_none("replicas that had to copy everything", "1", (uint64_t)copied);
    people_expect_models(stack, sentinels_url(&sentinels), "");
    drill_note("SIGKILL to the primary; the sentinels had promoted another after %lld ms",
               (long long)(promoted_us / US_PER_MS));
    people_free(people);
    stack_stop(stack);
    sentinels_stop(&sentinels);
}
