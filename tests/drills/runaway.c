/* SPDX-License-Identifier: Apache-2.0 */
/* Incident 1: a program creates a campaign every ten seconds, 8,640 a day, until Redis has no memory left and
 * nobody is issued anything; found two hours later by chance. Here the day has passed but for the last 2,000;
 * then it creates one every ten seconds, then a hundred a second, and Redis gets no more memory. */
#include <sys/stat.h>
#include <unistd.h>

#include "bench/kit/child.h"
#include "common/base/crypto.h"
#include "common/redis/redis.h"
#include "tests/drills/drill.h"
#include "tests/drills/people.h"
#include "tests/lib/projector.h"
#include "tests/lib/reads.h"
#include "tests/lib/steer.h"
#include "tests/lib/store.h"
#include "tests/lib/wait.h"

enum {
    DAY = 8640,
    LEFT = 2000, /* of the day */
    FAST = 100,  /* a second */
    AT_ONCE_PER_SECOND = 3000,
    SLOWLY = 3,
    SLOWLY_MS = 10000,
    REFUSED_MS = 3000,  /* goes on although it is refused */
    SPARE_KB = 256,     /* of Redis' memory */
    ALERTED_MS = 60000, /* the promises */
    VOIDED_MS = 30000,
    SUSPENDED_MS = 1000,
    OTHERS_FACTOR = 2,
    LONG_MS = 120000,
    MONITORING_OFFSET = 10,
};

#define GENERATOR_TOKEN "fc_the-token-of-a-program-that-nobody-watches"

static struct stack *stack;
static struct people *people;
static struct steer steer;
static char arrivals[1200]; /* file: a line for each alert that was received */
static uint64_t made;       /* campaigns asked for */

/* --- The program --- */

static void write_campaign(uint64_t number, struct load_call_request *ret)
{
    static char key[64], body[256];
    snprintf(key, sizeof key, "made-up-%llu", (unsigned long long)(made + number));
    snprintf(body, sizeof body,
             "{\"id\":\"%s\",\"name\":\"A deal that nobody asked for, number %llu\",\"discount\":{\"type\":"
             "\"percent\",\"percent\":10},\"currency\":\"KRW\",\"quantity\":100}",
             key, (unsigned long long)(made + number));
    *ret = (struct load_call_request){.method = "POST",
                                      .path = "/v1/campaigns",
                                      .token = ret->token,
                                      .key = span_of(key),
                                      .body = span_of(body)};
}

static struct stream program = {
    .name = "program", .token = GENERATOR_TOKEN, .write = write_campaign, .wanted_status = 201};

static int create_one(void)
{
    struct load_call_request request = {0};
    struct http_answer answer;
    char key[64], body[256];
    write_campaign(0, &request);
    snprintf(key, sizeof key, "%.*s", SPAN_ARG(request.key));
    snprintf(body, sizeof body, "%.*s", SPAN_ARG(request.body));
    struct http_call call = {
        .method = "POST", .path = request.path, .token = GENERATOR_TOKEN, .key = key, .body = body};
    assert_int_equal(http_client_call(people->api.command, &call, &answer), HTTP_ANSWERED);
    made++;
    return answer.status;
}

static int64_t campaigns_made(void)
{
    return store_number(stack, "SELECT count(*) FROM campaign WHERE created_by = 'generator'");
}

static void create_the_day(void)
{
    stream_start(&program, stack_env(stack, "COMMAND_URL"), AT_ONCE_PER_SECOND);
    WAIT_UNTIL(program.good >= DAY - LEFT, LONG_MS);
    stream_stop(&program);
    made += program.number;
}

/* --- Servers, and who watches them --- */

static void add_key(void)
{
    uint8_t hash[CRYPTO_HASH_BYTES];
    struct buf hex;
    FILE *file = fopen(stack_env(stack, "FIRSTCOME_API_KEYS_FILE"), "ae");
    assert_non_null(file);
    buf_init(&hex, 2 * sizeof hash);
    crypto_sha256(SPAN(GENERATOR_TOKEN), hash);
    hex_encode(&hex, hash, sizeof hash);
    assert_true(fprintf(file, "generator admin %s\n", hex.data) > 0);
    assert_int_equal(fclose(file), 0);
    buf_deinit(&hex);
}

/* When the first line of the file with this word came, monotonic; 0 for not yet. */
static int64_t arrived_us(const char *word)
{
    char line[4096];
    uint64_t at_us = 0;
    FILE *file = fopen(arrivals, "re");
    while (file && at_us == 0 && fgets(line, sizeof line, file)) {
        struct span rest = span_of(line);
        if (strstr(line, word) && !parse_u64(span_cut(&rest, ' '), INT64_MAX, &at_us))
            at_us = 1; /* a line without a time */
    }
    if (file)
        fclose(file);
    return (int64_t)at_us;
}

static void start_monitoring(void)
{
    char base[16], own[16], folder[1200], root[1024], program_path[1200];
    assert_non_null(getcwd(root, sizeof root));
    snprintf(program_path, sizeof program_path, "%s/tests/lib/monitoring.py", root);
    snprintf(base, sizeof base, "%d", stack_port_base(stack));
    snprintf(own, sizeof own, "%d", stack_port_base(stack) + MONITORING_OFFSET);
    snprintf(folder, sizeof folder, "%s/monitoring", stack_directory(stack));
    snprintf(arrivals, sizeof arrivals, "%s/log/arrivals", stack_directory(stack));
    assert_int_equal(mkdir(folder, 0755), 0);
    const char *const argv[] = {program_path, base, own, folder, root, NULL};
    const char *const environment[] = {"PYTHONDONTWRITEBYTECODE=1", NULL};
    (void)child_start(&(struct child_spec){.argv = argv,
                                           .environment = environment,
                                           .output_path = arrivals,
                                           .directory = folder}); /* it ends with the stack */
    WAIT_UNTIL(arrived_us("ready") > 0, LONG_MS);
}

static void start(void)
{
    stack_default_deadlines();
    stack = stack_start(STACK_SERVERS);
    add_key();
    stack_service(stack, "projector", "start");
    stack_service(stack, "command-service", "start");
    stack_service(stack, "query-service", "start");
    people = people_start(&(struct people_options){.stack = stack,
                                                   .issues_per_second = 100,
                                                   .issue_connections = 32,
                                                   .redeems_per_second = 20,
                                                   .reads_per_second = 200});
    steer = (struct steer){stack, people->api.command};
    struct http_answer answer = steer_put(&steer, "campaigns_per_key_per_day", "8640");
    api_expect(answer, 200, NULL);
    drill_phase("the day before: 6,640 campaigns");
    create_the_day();
    reads_await_redis(&people->api);
    drill_phase("Prometheus and Alertmanager start");
    start_monitoring();
}

/* Redis may use what it uses now, and a little more. */
static void bound_redis(void)
{
    char bound[32];
    int64_t used = reads_redis(
        stack, "EVAL", "return tonumber(string.match(redis.call('INFO','memory'),'used_memory:(%d+)'))", "0",
        NULL);
    snprintf(bound, sizeof bound, "%lld", (long long)(used + SPARE_KB * 1024));
    reads_redis(stack, "CONFIG", "SET", "maxmemory", bound, NULL);
}

static int64_t redis_refusals(void)
{
    return projector_metric(stack, "coupon_projector_redis_errors_total{class=\"oom\"}");
}

/* --- What operators do --- */

static int64_t suspend(void)
{
    int64_t from_us = clock_mono_us();
    steer_issuer(&steer, "generator", "suspend", 200, NULL);
    WAIT_UNTIL(create_one() == 403, LONG_MS);
    return clock_mono_us() - from_us;
}

/* Calls until none is left that nobody holds a coupon of. */
static int64_t void_all(int64_t *ret_voided)
{
    int64_t from_us = clock_mono_us(), voided;
    *ret_voided = 0;
    do {
        struct http_answer answer =
            api_post(&people->api, "/v1/campaigns/void", "{\"created_by\":\"generator\"}", NULL);
        api_expect(answer, 200, NULL);
        struct json_doc *doc = json_get_doc(answer.body);
        voided = json_get_int(doc, "voided");
        json_destroy(doc);
        *ret_voided += voided;
    } while (voided > 0);
    return clock_mono_us() - from_us;
}

static void expect_alert(const char *what, const char *alert, int64_t since_us)
{
    WAIT_UNTIL(arrived_us(alert) > 0, LONG_MS);
    drill_expect_ms(what, "2 h, by chance", arrived_us(alert) - since_us, ALERTED_MS, 0);
}

static void expect_of_others(struct window steady, struct window trouble)
{
    drill_expect_none("issues by others that failed", "nearly all", people_issue_errors(people, trouble));
    drill_expect_none("redemptions that failed", "", people_stream_bad(&people->redeems, trouble, 0));
    drill_expect_none("reads that failed", "", people_stream_bad(&people->reads, trouble, 0));
    drill_expect_ms("issue p99, bar: twice before, or 100 ms", "time out",
                    people_issue_us(people, trouble, 990),
                    drill_bar_ms(OTHERS_FACTOR * 10, people_issue_us(people, steady, 990)),
                    people_machine_commit_us(people, trouble, 990));
    people_expect_exact(people, "", "");
}

/* --- The drill --- */

void drill_runaway(void)
{
    int64_t voided, full_us = 0;
    drill_begin(1, "a program creates campaigns, and Redis has no memory left", 90);
    start();
    drill_phase("one campaign every ten seconds");
    struct window steady = {.from_us = clock_mono_us()};
    for (int i = 0; i < SLOWLY; i++) {
        int64_t next_us = clock_deadline_us(SLOWLY_MS);
        assert_int_equal(create_one(), 201);
        WAIT_UNTIL(clock_remaining_ms(next_us) == 0, LONG_MS);
    }
    steady.to_us = clock_mono_us();
    drill_phase("a hundred a second");
    struct window trouble = {.from_us = clock_mono_us()};
    bound_redis();
    program.number = 0;
    program.good = 0;
    program.bad = 0;
    stream_start(&program, stack_env(stack, "COMMAND_URL"), FAST);
    WAIT_UNTIL(redis_refusals() > 0, LONG_MS);
    full_us = clock_mono_us();
    drill_phase("Redis is full");
    WAIT_UNTIL(program.bad > 0, LONG_MS);
    drill_phase("the quota refuses");
    int64_t refused_us = clock_deadline_us(REFUSED_MS);
    WAIT_UNTIL(clock_remaining_ms(refused_us) == 0, LONG_MS);
    stream_end(&program);
    made += program.number;
    assert_int_equal(program.bad_status, 429);
    /* Each slice counts on its own and adds the others as of a moment before (docs/decisions.md): those that
     * come at one moment may be that many more. */
    DRILL_EXPECT("campaigns of one key in a day, quota 8,640", "8,640, no end", (double)campaigns_made(),
                 DAY + SLICE_COUNT, "");
    expect_alert("alert of creations, from the first on", "CouponCreationsRunaway", steady.from_us);
    expect_alert("alert of Redis' memory, from the refusal on", "CouponRedisOutOfMemory", full_us);

    drill_phase("what it made is voided");
    struct http_answer held = api_issue(&people->api, "made-up-7", "somebody");
    api_expect(held, 201, NULL);
    struct http_answer answer = steer_put(&steer, "campaigns_per_key_per_day", "null");
    api_expect(answer, 200, NULL); /* so it is not the quota that stops it now */
    int64_t suspended_us = suspend(), void_us = void_all(&voided);
    int64_t created = campaigns_made();
    trouble.to_us = clock_mono_us();
    drill_phase("Redis gets memory");
    reads_redis(stack, "CONFIG", "SET", "maxmemory", "512mb", NULL);
    reads_await_redis(&people->api);
    drill_phase("answers are compared with the log");
    people_stop(people);
    drill_expect_ms("its key suspended", "30 min", suspended_us, SUSPENDED_MS,
                    people_machine_us(people, trouble, 1000));
    drill_expect_ms("all it made voided", "by hand, an hour", void_us, VOIDED_MS, 0);
    drill_expect_none("campaigns left, but for the one with a coupon", "", (uint64_t)(created - voided - 1));
    expect_of_others(steady, trouble);
    people_expect_models(stack, stack_env(stack, "REDIS_URL"), "");
    drill_note("%lld campaigns, of which %lld voided; Redis bounded to what it used and %d KiB",
               (long long)created, (long long)voided, SPARE_KB);
    people_free(people);
    stack_stop(stack);
}
