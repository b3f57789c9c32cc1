/* SPDX-License-Identifier: Apache-2.0 */
/* A siege, three streams, and what is counted of them. */
#include "tests/drills/people.h"

#include <fcntl.h>
#include <unistd.h>

#include "bench/kit/child.h"
#include "bench/kit/series.h"
#include "bench/storm/verify_call.h"
#include "common/base/mem.h"
#include "tests/drills/drill.h"
#include "tests/lib/json_get.h"
#include "tests/lib/wait.h"

enum {
    HALF = PEOPLE_COUPONS / 2,
    EMPTY_OFFSET = 19,
    NOTHING_PER_SECOND = 100,
    HANDS = 6,
    DISK_PAUSE_MS = 20,
    LONG_MS = 60000
};

static struct people *only; /* what the streams' writers look at */

/* --- What is asked for --- */

static void write_redeem(uint64_t number, struct load_call_request *ret)
{
    static char path[128], key[64], body[160];
    uint64_t coupon = number % PEOPLE_COUPONS;
    snprintf(path, sizeof path, "/v1/coupons/%s/redeem", only->coupons[coupon]);
    snprintf(key, sizeof key, "till-%llu", (unsigned long long)number);
    snprintf(body, sizeof body, "{\"user_id\":\"till-%llu\",\"order_id\":\"o-%llu\",\"order_amount\":10000}",
             (unsigned long long)coupon, (unsigned long long)coupon);
    *ret = (struct load_call_request){
        .method = "POST", .path = path, .token = ret->token, .key = span_of(key), .body = span_of(body)};
}

/* Somebody's coupons, whether one is good, the campaign that everybody looks at: of one half of the coupons,
 * a few of which are asked for most of the time. */
static void write_read(uint64_t number, struct load_call_request *ret)
{
    static char path[192];
    static uint64_t seed;
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407) + number;
    uint64_t coupons = only->options.read_coupons ? only->options.read_coupons : HALF;
    uint64_t dice = (seed >> 33) % coupons, most = coupons * coupons;
    unsigned long long coupon = dice * dice * dice / most + (atomic_load(&only->cold) ? HALF : 0);
    switch (number % 4) {
    case 0:
        snprintf(path, sizeof path, "/v1/campaigns/%s/users/till-%llu", only->till, coupon);
        break;
    case 1:
        snprintf(path, sizeof path, "/v1/coupons/%s/validity?user_id=till-%llu&order_amount=10000",
                 only->coupons[coupon], coupon);
        break;
    case 2:
        snprintf(path, sizeof path, "/v1/users/till-%llu/coupons?limit=3", coupon);
        break;
    default:
        snprintf(path, sizeof path, "/v1/campaigns/%s", siege_campaign(only->siege));
        break;
    }
    ret->method = "GET";
    ret->path = path;
}

static void write_nothing(uint64_t number, struct load_call_request *ret)
{
    (void)number;
    ret->method = "GET";
    ret->path = "/inline/400";
}

/* --- Beginning --- */

/* As many coupons as are redeemed and read, of one call. */
static void fill_the_till(struct people *people)
{
    snprintf(people->till, sizeof people->till, "%s", api_campaign(&people->api, PEOPLE_COUPONS, ""));
    struct http_answer answer = api_batch(&people->api, people->till, "till-", 0, PEOPLE_COUPONS);
    struct json_doc *doc = json_get_doc(answer.body);
    const struct json_value *results = json_get(doc, "results");
    assert_int_equal(json_array_length(results), PEOPLE_COUPONS);
    people->coupons = mem_zalloc(PEOPLE_COUPONS * sizeof *people->coupons);
    for (size_t i = 0; i < PEOPLE_COUPONS; i++) {
        struct span id;
        assert_true(json_as_text(json_member(json_array_at(results, i), "coupon_id"), &id));
        snprintf(people->coupons[i], sizeof people->coupons[i], "%.*s", SPAN_ARG(id));
    }
    json_destroy(doc);
}

static void start_nothing(struct people *people)
{
    char program[1024], port[48], keys[1200], url[64], log[1200];
    int number = stack_port_base(people->options.stack) + EMPTY_OFFSET;
    snprintf(program, sizeof program, "%s/empty_handler", getenv("BIN_DIR"));
    snprintf(port, sizeof port, "FIRSTCOME_PORT=%d", number);
    snprintf(keys, sizeof keys, "FIRSTCOME_API_KEYS_FILE=%s",
             stack_env(people->options.stack, "FIRSTCOME_API_KEYS_FILE"));
    snprintf(url, sizeof url, "http://127.0.0.1:%d", number);
    snprintf(log, sizeof log, "%s/log/empty_handler.log", stack_directory(people->options.stack));
    const char *const argv[] = {program, NULL};
    const char *const environment[] = {port, keys, NULL};
    people->empty_handler = child_start(&(struct child_spec){
        .argv = argv,
        .environment = environment,
        .output_path = log,
        .directory = stack_directory(people->options.stack)}); /* so that it ends with the stack */
    struct http_client *client = http_client_create(url);
    struct http_answer answer;
    struct http_call ready = {.path = "/readyz"};
    WAIT_UNTIL(http_client_call(client, &ready, &answer) == HTTP_ANSWERED && answer.status == 200, LONG_MS);
    http_client_destroy(client);
    people->nothing = (struct stream){.name = "nothing",
                                      .write = write_nothing,
                                      .wanted_status = 200,
                                      .token = stack_env(people->options.stack, "ADMIN_TOKEN")};
    stream_start(&people->nothing, url, NOTHING_PER_SECOND);
}

/* As a commit does: a block at the end of a file on the disk of the log, and waiting until it is there. */
static void *write_and_sync(void *context)
{
    static const char block[8192];
    const struct timespec pause = {.tv_nsec = DISK_PAUSE_MS * 1000 * 1000};
    struct people *people = context;
    struct stream *disk = &people->disk;
    char path[1200];
    snprintf(path, sizeof path, "%s/disk-probe", stack_directory(people->options.stack));
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    for (size_t i = 0; i < STREAM_ANSWERS_MAX && atomic_load(&disk->rate); i++) {
        int64_t from_us = clock_mono_us();
        CHECK(write(fd, block, sizeof block) == sizeof block && fdatasync(fd) == 0);
        disk->answers[i] = (struct stream_answer){from_us, from_us, clock_mono_us(), 200};
        disk->answers_count = i + 1;
        (void)ppoll(NULL, 0, &pause, NULL);
    }
    close(fd);
    return NULL;
}

static void start_disk(struct people *people)
{
    people->disk = (struct stream){.name = "disk", .wanted_status = 200, .rate = 1};
    assert_int_equal(pthread_create(&people->disk_thread, NULL, write_and_sync, people), 0);
}

struct people *people_start(const struct people_options *options)
{
    struct stack *stack = options->stack;
    const char *command = options->command_url ? options->command_url : stack_env(stack, "COMMAND_URL"),
               *query = options->query_url ? options->query_url : stack_env(stack, "QUERY_URL");
    struct people *people = mem_zalloc(sizeof *people);
    only = people;
    people->options = *options;
    api_open(&people->api, stack);
    if (options->command_url) {
        http_client_destroy(people->api.command);
        people->api.command = http_client_create(command);
    }
    fill_the_till(people);
    start_nothing(people);
    start_disk(people);
    const char *const urls[] = {command};
    people->siege = siege_begin(stack, &(struct siege_options){.urls = urls,
                                                               .urls_count = 1,
                                                               .per_second = options->issues_per_second,
                                                               .connections = options->issue_connections});
    people->redeems = (struct stream){.name = "redeems",
                                      .write = write_redeem,
                                      .wanted_status = 200,
                                      .token = stack_env(stack, "REDEEM_TOKEN")};
    people->reads = (struct stream){
        .name = "reads", .write = write_read, .wanted_status = 200, .token = stack_env(stack, "READ_TOKEN")};
    stream_start(&people->redeems, command, options->redeems_per_second);
    stream_start(&people->reads, query, options->reads_per_second);
    drill_watch(siege_issued_counter(people->siege), &people->reads.good);
    WAIT_UNTIL(people->redeems.good > 0 && people->reads.good > 0, LONG_MS);
    return people;
}

void people_stop(struct people *people)
{
    siege_finish(people->siege, &people->outcome);
    stream_end(&people->redeems);
    stream_end(&people->reads);
    stream_end(&people->nothing);
    people->disk.rate = 0;
    assert_int_equal(pthread_join(people->disk_thread, NULL), 0);
    child_stop(people->empty_handler);
    drill_watch(NULL, NULL);
}

void people_free(struct people *people)
{
    attempts_deinit(&people->outcome.attempts);
    siege_free(people->siege);
    api_close(&people->api);
    mem_free(people->coupons);
    mem_free(people);
}

/* --- Figures --- */

static bool within(struct window window, int64_t at_us)
{
    return at_us >= window.from_us && at_us < window.to_us;
}

static int64_t percentile(int64_t *values, size_t count, unsigned per_mille)
{
    series_sort_us(values, count);
    int64_t is = series_percentile_us(values, count, per_mille);
    mem_free(values);
    return is;
}

int64_t people_stream_us(const struct stream *stream, struct window window, unsigned per_mille)
{
    size_t all = stream_mark(stream), count = 0;
    int64_t *values = mem_alloc((all + 1) * sizeof *values);
    for (size_t i = 0; i < all; i++)
        if (within(window, stream->answers[i].due_us))
            values[count++] = stream->answers[i].done_us - stream->answers[i].due_us;
    return percentile(values, count, per_mille);
}

uint64_t people_stream_bad(const struct stream *stream, struct window window, int least)
{
    uint64_t bad = 0;
    for (size_t i = 0; i < stream_mark(stream); i++) {
        int status = stream->answers[i].status;
        bad += within(window, stream->answers[i].due_us) && status != stream->wanted_status &&
               (status >= least || status < 0);
    }
    return bad;
}

int64_t people_issue_us(const struct people *people, struct window window, unsigned per_mille)
{
    const struct attempts *attempts = &people->outcome.attempts;
    size_t count = 0;
    int64_t *values = mem_alloc((attempts->count + 1) * sizeof *values);
    for (size_t i = 0; i < attempts->count; i++)
        if (within(window, attempts->list[i].intended_us) && attempts->list[i].status)
            values[count++] = attempts->list[i].done_us - attempts->list[i].intended_us;
    return percentile(values, count, per_mille);
}

/* Client, event loop, pool, PostgreSQL, pool, event loop: each may be kept waiting for a processor. Half as
 * far from the top as what is compared, because these are few and their percentile is known that much less
 * well. */
int64_t people_machine_us(const struct people *people, struct window window, unsigned per_mille)
{
    return HANDS * people_stream_us(&people->nothing, window, per_mille + (1000 - per_mille) / 2);
}

int64_t people_machine_commit_us(const struct people *people, struct window window, unsigned per_mille)
{
    return people_machine_us(people, window, per_mille) +
           2 * people_stream_us(&people->disk, window, per_mille);
}

uint64_t people_issue_errors(const struct people *people, struct window window)
{
    const struct attempts *attempts = &people->outcome.attempts;
    uint64_t errors = 0;
    for (size_t i = 0; i < attempts->count; i++) {
        enum outcome outcome = (enum outcome)attempts->list[i].outcome;
        errors += within(window, attempts->list[i].intended_us) && !outcome_definite(outcome) &&
                  outcome != OUTCOME_IN_FLIGHT;
    }
    return errors;
}

/* --- What every drill promises --- */

void people_expect_exact(const struct people *people, const char *doubled, const char *order)
{
    const struct verdict *verdict = &people->outcome.verdict;
    uint64_t orders = verdict->violated[RULE_ORDER] + verdict->violated[RULE_SOLD_OUT];
    uint64_t twice = verdict->violated[RULE_SAME_BYTES] + verdict->violated[RULE_REPLAYED] +
                     verdict->violated[RULE_REFUSED] + verdict->violated[RULE_COUNT];
    drill_expect_none("coupons issued twice, or beside the key", doubled, twice);
    drill_expect_none("answers out of the order of the log", order, orders);
    drill_expect_none("coupons promised and not in the log", "",
                      verdict->violations - orders - twice + people->outcome.unresolved);
    if (verdict->violations)
        drill_note("the first violation: %s", verdict->first[0].text);
}

void people_expect_models(struct stack *stack, const char *redis_url, const char *incident)
{
    static char output[1024];
    snprintf(output, sizeof output, "%s", drill_path("-verify.txt"));
    (void)remove(output);
    int status = verify_call(&(struct verify_call){.database_url = stack_env(stack, "DATABASE_URL"),
                                                   .redis_url = redis_url,
                                                   .slice = -1,
                                                   .output = output});
    drill_expect_none("log, rows, models: exit status of verify", incident, status == 0 ? 0 : 1);
}
