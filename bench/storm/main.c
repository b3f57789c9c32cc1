/* SPDX-License-Identifier: Apache-2.0 */
/* storm: sends a crowd at a running stack, then compares every answer with the log, and has `projector
 * verify` prove log, state rows and read models. Where several databases have the log, a crowd for a campaign
 * in each, one after the other. Options, the order of things, and the report; how the crowd
 * behaves is crowd.c, what is right and wrong is checker.c.
 *
 * Exit status: 0 no violation, 1 violations, 2 the storm could not be run or judged. */
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>

#include "bench/kit/progress.h"
#include "bench/load/connection.h"
#include "bench/load/load_call.h"
#include "bench/storm/coupons_source.h"
#include "bench/storm/crowd.h"
#include "bench/storm/report.h"
#include "bench/storm/verify_call.h"
#include "common/base/clock.h"
#include "common/base/config.h"
#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "events/shards.h"

enum { EXIT_VIOLATION = 1, EXIT_CANNOT = 2 };
enum { THREADS_MAX = 16, DESCRIPTORS_SPARE = 64, POLL_MS = 20, SETTLE_MS = 3000, CREATE_MS = 10000 };
enum { REASON_TEXT_MAX = 256, BODIES_SPARE = 64 * 1024 * 1024, BODIES_PER_COUPON = 2048 };

struct options {
    const char *command_url, *admin_token, *issue_token, *database_url, *shards_file, *redis_url;
    int64_t users, quantity, connections, retry_percent, twin_percent, threads, timeout_ms, deadline_s;
    bool resend_lost;
};

#define AT(member) offsetof(struct options, member)
static const struct config_option table[] = {
    {"users", CONFIG_INT, AT(users), "2500", 1, USER_COUNT_MAX - 1, "users",
     "who each try to get one coupon"},
    {"quantity", CONFIG_INT, AT(quantity), "500", 1, QUANTITY_MAX, "coupons", "that there are"},
    {"connections", CONFIG_INT, AT(connections), "800", 1, 60000, "connections",
     "kept alive, all opened at once"},
    {"retry-percent", CONFIG_INT, AT(retry_percent), "10", 0, 100, "%",
     "of the users send the same request again after they were answered"},
    {"twin-percent", CONFIG_INT, AT(twin_percent), "5", 0, 100, "%",
     "of the users send the same request twice at once, on two connections"},
    {"resend-lost", CONFIG_FLAG, AT(resend_lost), "true", 0, 0, "",
     "who has no definite answer sends again with the same key, with back-off"},
    {"threads", CONFIG_INT, AT(threads), "1", 1, THREADS_MAX, "threads", "of the load"},
    {"timeout-ms", CONFIG_INT, AT(timeout_ms), "10000", 1, 600000, "ms", "for a connect, and for an answer"},
    {"deadline-s", CONFIG_INT, AT(deadline_s), "120", 1, 86400, "s", "after which nobody asks any more"},
    {"command-url", CONFIG_STRING, AT(command_url), NULL, 1, 1024, "", "write API, http://host:port"},
    {"admin-token", CONFIG_STRING, AT(admin_token), NULL, 1, 256, "", "key that may create campaigns"},
    {"issue-token", CONFIG_STRING, AT(issue_token), NULL, 1, 256, "", "key that may issue coupons"},
    {"database-url", CONFIG_STRING, AT(database_url), "", 0, 4096, "", "the event store, to read the log"},
    {"shards-file", CONFIG_STRING, AT(shards_file), "", 0, 4096, "",
     "a file that says which database has which slices, in its place"},
    {"redis-url", CONFIG_STRING, AT(redis_url), "", 0, 4096, "",
     "the read models, to compare them with the log; empty: they are not"},
    {.name = NULL},
};
static const struct config_option *const tables[] = {table, NULL};
static const struct config_program program = {
    .name = "storm",
    .purpose = "sends a crowd of users at a running stack and checks every promise",
    .usage = "",
    .tables = tables,
};

struct storm {
    struct options options;
    const struct shard *shard;
    struct target command;
    char campaign_id[CAMPAIGN_ID_MAX + 1], key_prefix[64];
    struct user_names names;
    struct position created_at;
    struct crowd *crowds[THREADS_MAX];
    struct crowd_counts counts;
    struct attempts attempts;
    struct checker *checker;
    struct report report;
};

static _Noreturn void give_up(const char *what, const char *why)
{
    fprintf(stderr, "storm: %s: %s\n", what, why);
    exit(EXIT_CANNOT);
}

/* --- Before --- */

static void random_hex(char *ret, size_t digits)
{
    uint8_t bytes[16];
    struct buf hex;
    CHECK(digits <= 2 * sizeof bytes);
    crypto_random(bytes, sizeof bytes);
    buf_init(&hex, 2 * sizeof bytes);
    hex_encode(&hex, bytes, sizeof bytes);
    memcpy(ret, hex.data, digits);
    ret[digits] = '\0';
    buf_deinit(&hex);
}

static void choose_names(struct storm *storm)
{
    char hex[33];
    do {
        random_hex(hex, 16);
        snprintf(storm->campaign_id, sizeof storm->campaign_id, "storm-%s", hex);
    } while (!shard_has(storm->shard, slice_of(span_of(storm->campaign_id))));
    random_hex(hex, 8);
    snprintf(storm->names.prefix, sizeof storm->names.prefix, "storm-%s-", hex);
    random_hex(hex, 24);
    snprintf(storm->key_prefix, sizeof storm->key_prefix, "storm-%s-", hex);
}

static void find_targets(struct storm *storm)
{
    char reason[REASON_TEXT_MAX];
    if (!target_init(&storm->command, storm->options.command_url, reason, sizeof reason))
        give_up("command-url", reason);
    if (!load_allow_descriptors((size_t)storm->options.connections + DESCRIPTORS_SPARE))
        give_up("connections", "this process may not open so many files (ulimit -n)");
}

static void write_create_request(const struct storm *storm, struct buf *out)
{
    struct buf body;
    buf_init(&body, 1024);
    json_open(&body, NULL, '{');
    json_put_string(&body, "id", span_of(storm->campaign_id));
    json_put_string(&body, "name", SPAN("Storm"));
    json_put_raw(&body, "discount", SPAN("{\"type\":\"percent\",\"percent\":10}"));
    json_put_string(&body, "currency", SPAN("EUR"));
    json_put_int(&body, "quantity", storm->options.quantity);
    json_put_raw(&body, "tags", SPAN("[\"storm\"]"));
    json_close(&body, '}');
    load_call_write(&storm->command,
                    &(struct load_call_request){.method = "POST",
                                                .path = "/v1/campaigns",
                                                .token = span_of(storm->options.admin_token),
                                                .key = span_of(storm->campaign_id),
                                                .body = buf_span(&body)},
                    out);
    CHECK(!out->overflow);
    buf_deinit(&body);
}

static bool read_created(struct storm *storm, struct span body)
{
    struct json_fault fault;
    struct json_doc *doc = json_parse(body, &fault);
    const struct json_value *place = doc ? json_member(json_root(doc), "position") : NULL;
    int64_t slice = -1;
    bool read = json_as_int(json_member(place, "slice"), &slice) &&
                json_as_int(json_member(place, "position"), &storm->created_at.position);
    storm->created_at.slice = (int16_t)slice;
    json_destroy(doc);
    return read && slice == slice_of(span_of(storm->campaign_id));
}

static void create_campaign(struct storm *storm)
{
    struct connection call;
    enum exchange outcome;
    struct http_response response = {0};
    struct buf request;
    char status[64];
    int64_t deadline_us = clock_deadline_us(CREATE_MS);
    connection_init(&call, &storm->command);
    buf_init(&request, 4096);
    write_create_request(storm, &request);
    while ((outcome = connection_call(&call, buf_span(&request), deadline_us, &response)) !=
               EXCHANGE_ANSWERED ||
           response.status == 503) {
        if (clock_remaining_ms(deadline_us) == 0)
            give_up("creating the campaign", outcome == EXCHANGE_ANSWERED ? "the service refuses with 503"
                                                                          : exchange_describe(outcome));
        (void)poll(NULL, 0, 10 * POLL_MS);
    }
    snprintf(status, sizeof status, "the answer is status %d", response.status);
    if (response.status != 201)
        give_up("creating the campaign", status);
    if (!read_created(storm, response.body))
        give_up("creating the campaign", "the answer does not say where in the log it is");
    buf_deinit(&request);
    connection_deinit(&call);
}

/* --- The storm --- */

static struct crowd *create_crowd(struct storm *storm, int64_t index, int64_t deadline_us)
{
    const struct options *is = &storm->options;
    struct crowd_options options = {
        .target = &storm->command,
        .token = is->issue_token,
        .campaign_id = span_of(storm->campaign_id),
        .names = &storm->names,
        .key_prefix = storm->key_prefix,
        .first = (uint32_t)index,
        .step = (uint32_t)is->threads,
        .users = (uint32_t)is->users,
        .retry_percent = is->retry_percent,
        .twin_percent = is->twin_percent,
        .resend = is->resend_lost,
        .deadline_us = deadline_us,
        .connections = (size_t)(is->connections / is->threads + (index < is->connections % is->threads)),
        .timeout_ms = is->timeout_ms,
        .bodies_max = BODIES_SPARE + (size_t)is->quantity * BODIES_PER_COUPON,
    };
    return crowd_create(&options, &storm->counts);
}

static void *run_crowd(void *crowd)
{
    return crowd_run(crowd) ? crowd : NULL;
}

static void show_progress(struct storm *storm, struct progress *progress,
                          void (*show)(struct progress *, int64_t, int64_t, const char *))
{
    char note[96];
    snprintf(note, sizeof note, "issued %" PRId64 "  refused %" PRId64 "  errors %" PRId64,
             atomic_load(&storm->counts.issued), atomic_load(&storm->counts.refused),
             atomic_load(&storm->counts.failed));
    show(progress, atomic_load(&storm->counts.users_done), storm->options.users, note);
}

/* Waits for one thread and draws meanwhile. */
static void await_crowd(struct storm *storm, pthread_t thread, struct progress *progress)
{
    void *result = NULL;
    while (pthread_tryjoin_np(thread, &result) != 0) {
        show_progress(storm, progress, progress_update);
        (void)poll(NULL, 0, POLL_MS);
    }
    if (!result)
        give_up("the load", "epoll is not available");
}

static void run_storm(struct storm *storm)
{
    pthread_t threads[THREADS_MAX];
    struct progress progress;
    int64_t deadline_us = clock_deadline_us(storm->options.deadline_s * 1000);
    if (storm->options.threads > storm->options.users || storm->options.threads > storm->options.connections)
        storm->options.threads = 1;
    for (int64_t i = 0; i < storm->options.threads; i++)
        storm->crowds[i] = create_crowd(storm, i, deadline_us);
    progress_begin(&progress, "storm");
    for (int64_t i = 0; i < storm->options.threads; i++)
        if (pthread_create(&threads[i], NULL, run_crowd, storm->crowds[i]) != 0)
            give_up("the load", "no thread can be started");
    for (int64_t i = 0; i < storm->options.threads; i++)
        await_crowd(storm, threads[i], &progress);
    show_progress(storm, &progress, progress_end);
}

/* --- After --- */

static void collect(struct storm *storm)
{
    attempts_init(&storm->attempts, SIZE_MAX / 2);
    for (int64_t i = 0; i < storm->options.threads; i++) {
        report_add(&storm->report, crowd_stats(storm->crowds[i]), crowd_unresolved(storm->crowds[i]));
        attempts_merge(&storm->attempts, crowd_attempts(storm->crowds[i]));
        crowd_destroy(storm->crowds[i]);
    }
    if (storm->attempts.bodies.overflow)
        give_up("the history", "more answers than fit into memory set aside for them");
    report_attempts(&storm->report, &storm->attempts);
}

/* Whatever an unanswered request may still do, it does within the service's deadline. */
static void let_settle(const struct storm *storm)
{
    if (storm->report.unresolved == 0)
        return;
    fprintf(stderr, "storm: waiting %d s for requests that nobody knows the outcome of\n", SETTLE_MS / 1000);
    (void)poll(NULL, 0, SETTLE_MS);
}

static void check(struct storm *storm)
{
    const struct options *is = &storm->options;
    char reason[REASON_TEXT_MAX];
    struct checked_campaign campaign = {
        .id = span_of(storm->campaign_id),
        .quantity = is->quantity,
        .users = (uint32_t)is->users,
        .keys = (uint32_t)is->users,
        .demand = is->users,
        .names = &storm->names,
    };
    struct coupons_range range = {storm->shard->url, campaign.id, storm->created_at};
    storm->checker = checker_create(&campaign);
    if (!coupons_source_feed(&range, storm->checker, reason, sizeof reason))
        give_up("reading the log", reason);
    checker_answers(storm->checker, &storm->attempts);
}

/* Returns whether log, state rows and models of the campaign's slice agree. */
static bool verify(const struct storm *storm)
{
    const struct options *is = &storm->options;
    struct verify_call call = {.database_url = is->database_url,
                               .shards_file = is->shards_file[0] ? is->shards_file : NULL,
                               .redis_url = is->redis_url[0] ? is->redis_url : NULL,
                               .slice = storm->created_at.slice};
    printf("\nprojector verify, slice %d:\n", call.slice);
    fflush(stdout);
    int status = verify_call(&call);
    if (status != 0 && status != 1)
        give_up("projector verify", "not all could be compared");
    return status == 0;
}

/* Whether everything is as it must be. */
static bool storm_over(const struct options *options, const struct shard *shard)
{
    struct storm *storm = mem_zalloc(sizeof *storm);
    storm->options = *options;
    storm->shard = shard;
    choose_names(storm);
    find_targets(storm);
    create_campaign(storm);
    printf("storm on campaign %s in slices %s: %" PRId64 " users, %" PRId64 " coupons, %" PRId64
           " connections\n",
           storm->campaign_id, shard->name, options->users, options->quantity, options->connections);
    fflush(stdout);
    run_storm(storm);
    collect(storm);
    report_print(&storm->report, &storm->attempts);
    fflush(stdout);
    let_settle(storm);
    check(storm);
    const struct verdict *verdict = checker_verdict(storm->checker);
    report_verdict(verdict);
    bool well = verify(storm) && verdict->violations == 0;
    checker_destroy(storm->checker);
    attempts_deinit(&storm->attempts);
    mem_free(storm);
    return well;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct shards shards;
    char reason[REASON_TEXT_MAX];
    bool well = true;
    config_parse(&program, &argc, argv, &options);
    if (argc > 1)
        give_up(argv[1], "no arguments are expected, see --help");
    crypto_setup();
    if (!shards_load(options.shards_file, options.database_url, &shards, reason, sizeof reason))
        give_up("where the log is", reason);
    for (size_t i = 0; i < shards.count; i++)
        well &= storm_over(&options, &shards.list[i]);
    shards_deinit(&shards);
    return fflush(stdout) != 0 ? EXIT_CANNOT : well ? 0 : EXIT_VIOLATION;
}
