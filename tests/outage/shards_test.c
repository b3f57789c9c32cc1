/* SPDX-License-Identifier: Apache-2.0 */
/* Two PostgreSQL servers with eight slices each, and services that go by a map of them: who is given another
 * map does not start; what is in one server works while the other is gone or stands still; what needs both
 * says so within its deadline, and is never a wrong answer. */
#include "tests/lib/wait.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/kit/child.h"
#include "common/base/crypto.h"
#include "events/ids.h"
#include "tests/lib/api.h"
#include "tests/lib/cluster.h"
#include "tests/lib/instance.h"
#include "tests/lib/pace.h"
#include "tests/lib/reads.h"
#include "tests/lib/steer.h"
#include "tests/lib/store.h"

enum {
    LONG_MS = 120000,
    SERVERS = 2,
    EXIT_BAD_USAGE = 64,
    TEXT_MAX = 4096,
    REQUEST_DEADLINE_MS = 6000,
    WORDS_MAX = 6
};

static struct stack *stacks[SERVERS]; /* slices 0-7, with the settings; slices 8-15 */
static struct instance *command, *query, *projectors[SERVERS];
static struct api_client api;
static char command_map[PATH_MAX], query_map[PATH_MAX], projector_map[PATH_MAX], owner_map[PATH_MAX],
    swapped_map[PATH_MAX];

/* --- maps --- */

static const char *const slices_of_server[SERVERS] = {"0-7", "8-15"};

static void write_map(const char *name, const char *url_of, bool swapped, char ret[PATH_MAX])
{
    snprintf(ret, PATH_MAX, "%s/%s.shards", stack_directory(stacks[0]), name);
    FILE *file = fopen(ret, "we");
    assert_non_null(file);
    fprintf(file, "# which server has which slices\n");
    for (int i = 0; i < SERVERS; i++)
        fprintf(file, "%-6s %s\n", slices_of_server[i], stack_env(stacks[swapped ? 1 - i : i], url_of));
    assert_int_equal(fclose(file), 0);
}

/* --- who talks to whom --- */

static int server_of(const char *campaign)
{
    return slice_of(span_of(campaign)) >= SLICE_COUNT / SERVERS;
}

/* A campaign in one of the two, with an id nobody has had yet; valid until the next call but three. */
static const char *fresh_id(int server)
{
    static char ids[4][CAMPAIGN_ID_MAX + 1];
    static unsigned count, next;
    char *id = ids[next++ % COUNT_OF(ids)];
    do
        snprintf(id, CAMPAIGN_ID_MAX + 1, "sale-%u", ++count);
    while (server_of(id) != server);
    return id;
}

static struct http_answer create(const char *id, const char *key)
{
    char body[256];
    snprintf(body, sizeof body,
             "{\"id\":\"%s\",\"name\":\"Sale\",\"discount\":{\"type\":\"fixed\",\"amount\":500},"
             "\"currency\":\"KRW\",\"quantity\":1000000,\"per_user_limit\":3}",
             id);
    return api_post(&api, "/v1/campaigns", body, key);
}

/* A creation needs the slice of its key too, whose committer may have yet to connect again. */
static void create_in_the_end(const char *id)
{
    char key[64];
    struct http_answer answer;
    snprintf(key, sizeof key, "%s", api_fresh_key());
    WAIT_UNTIL((answer = create(id, key)).status != 503, LONG_MS);
    api_expect(answer, 201, NULL);
}

static const char *created(int server)
{
    const char *id = fresh_id(server);
    create_in_the_end(id);
    return id;
}

static int issue_status(const char *campaign, const char *user)
{
    return api_issue(&api, campaign, user).status;
}

static bool issues(const char *campaign, const char *user)
{
    return issue_status(campaign, user) == 201;
}

/* --- a server goes away and comes back --- */

static void freeze(int server)
{
    cluster_signal_all(stacks[server], SIGSTOP);
}

static void thaw(int server)
{
    cluster_signal_all(stacks[server], SIGCONT);
}

static void end(int server)
{
    cluster_end(stacks[server], SIGQUIT);
}

static void restart(int server)
{
    stack_restart_servers(stacks[server]);
}

static const struct mishap {
    const char *name;
    void (*begin)(int server), (*end)(int server);
} mishaps[] = {{"killed", end, restart}, {"frozen", freeze, thaw}};

/* --- maps that do not fit --- */

/* What a service says that is started with this map and must not start. */
static void refuses_to_start(const char *service, const char *map, const char *wanted)
{
    char program[PATH_MAX], log[PATH_MAX], setting[PATH_MAX + 16], text[TEXT_MAX] = "";
    char keys[PATH_MAX + 32], code_key[PATH_MAX + 32], redis[512];
    snprintf(program, sizeof program, "%s/%s", getenv("BIN_DIR"), service);
    snprintf(log, sizeof log, "%s/log/refused.log", stack_directory(stacks[0]));
    snprintf(setting, sizeof setting, "SHARDS_FILE=%s", map);
    snprintf(keys, sizeof keys, "FIRSTCOME_API_KEYS_FILE=%s",
             stack_env(stacks[0], "FIRSTCOME_API_KEYS_FILE"));
    snprintf(code_key, sizeof code_key, "FIRSTCOME_CODE_KEY_FILE=%s",
             stack_env(stacks[0], "FIRSTCOME_CODE_KEY_FILE"));
    (void)unlink(log);
    snprintf(redis, sizeof redis, "REDIS_URL=%s", stack_env(stacks[0], "PROJECTOR_REDIS_URL"));
    const char *verb = strcmp(service, "projector") == 0 ? "run" : NULL;
    const char *argv[] = {program, verb, NULL}, *environment[] = {setting, keys, code_key, redis, NULL};
    pid_t pid =
        child_start(&(struct child_spec){.argv = argv, .environment = environment, .output_path = log});
    int status = child_wait(pid, LONG_MS);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_BAD_USAGE);
    int fd = open(log, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    if (!strstr(text, wanted))
        fail_msg("it says: %s", text);
    assert_null(strstr(text, "postgresql://"));
}

static int migrate(const char *map)
{
    return stack_tool(stacks[0], (const char *[]){"schema/migrate", "--shards", map, NULL});
}

static void another_map_is_refused_by_name(void **state)
{
    (void)state;
    /* Before anybody said who owns what each has all slices. */
    refuses_to_start("command-service", command_map, "slices 0-7 to a database that says it owns 0-15");
    assert_int_equal(migrate(owner_map), 0);
    assert_int_equal(migrate(owner_map), 0);
    refuses_to_start("command-service", swapped_map, "slices 0-7 to a database that says it owns 8-15");
    char swapped_owner[PATH_MAX];
    write_map("swapped-owner", "DATABASE_URL", true, swapped_owner);
    assert_int_not_equal(migrate(swapped_owner), 0); /* nothing is given up that another has not */
    assert_int_equal(cluster_sql(stacks[0], "SELECT 1"), 1);
}

/* --- what is written --- */

static void start_command(void)
{
    static char map[PATH_MAX + 16];
    static const char *const environment[] = {map, NULL};
    snprintf(map, sizeof map, "SHARDS_FILE=%s", command_map);
    command = instance_start(stacks[0], &(struct instance_options){.service = "command-service",
                                                                   .name = "shards",
                                                                   .port_offset = 7,
                                                                   .environment = environment});
    api_close(&api);
    api = (struct api_client){.stack = stacks[0],
                              .command = http_client_create(instance_url(command)),
                              .query = http_client_create(instance_url(query))};
}

static void start_query(void)
{
    static char map[PATH_MAX + 16];
    static const char *const environment[] = {map, "FIRSTCOME_CACHE_BYTES=0", NULL};
    snprintf(map, sizeof map, "SHARDS_FILE=%s", query_map);
    query = instance_start(stacks[0], &(struct instance_options){.service = "query-service",
                                                                 .name = "shards",
                                                                 .port_offset = 8,
                                                                 .environment = environment});
}

static void creates_and_issues_in_both(void **state)
{
    (void)state;
    start_query();
    start_command();
    for (int server = 0; server < SERVERS; server++)
        for (int i = 0; i < 4; i++) /* keys of all slices: a claim in one server, the campaign in the other */
            api_give(&api, created(server), "user-1");
}

/* Twelve a day, eight of which were created above: the thirteenth is one too many, wherever it would be. The
 * other server's count is known a moment later, so ids of it are tried until then. */
static void quotas_are_of_all(void **state)
{
    (void)state;
    struct http_answer answer;
    const struct steer steer = {stacks[0], api.command};
    assert_int_equal(steer_put(&steer, "campaigns_per_day", "12").status, 200);
    for (int i = 0; i < 4; i++)
        (void)created(0);
    for (int server = 0; server < SERVERS; server++)
        WAIT_UNTIL((answer = create(fresh_id(server), NULL)).status == 429, LONG_MS);
    assert_int_equal(steer_put(&steer, "campaigns_per_day", "10000").status, 200);
    WAIT_UNTIL(create(fresh_id(1), NULL).status == 201, LONG_MS);
}

/* --- what is read --- */

/* The answer that is no 503: the services have the deadlines of operation here, and a machine whose
 * processors are all busy may miss them. */
static struct http_answer await_answer(const char *path)
{
    struct http_answer answer;
    WAIT_UNTIL((answer = api_get(&api, path, NULL)).status != 503, LONG_MS);
    api_expect(answer, 200, NULL);
    return answer;
}

/* The ids in all pages of a list, in order; how many. */
static size_t walk(const char *path, const char *id, struct buf *ids)
{
    char page[1024];
    size_t count = 0;
    snprintf(page, sizeof page, "%s", path);
    for (bool more = true; more;) {
        struct http_answer answer = await_answer(page);
        struct json_doc *doc = json_get_doc(answer.body);
        for (size_t i = 0; i < json_get_length(doc, "items"); i++, count++) {
            char at[64];
            snprintf(at, sizeof at, "items.%zu.%s", i, id);
            buf_append_span(ids, json_get_text(doc, at));
            buf_append_char(ids, '\n');
        }
        struct span next;
        more = json_as_text(json_get(doc, "next"), &next);
        if (more)
            snprintf(page, sizeof page, "%s&cursor=%.*s", path, SPAN_ARG(next));
        json_destroy(doc);
    }
    return count;
}

/* The same walk in pages of another size gives the same list: no shard's part is skipped or told twice. */
static void same_in_any_pages(const char *path, const char *id, size_t expected)
{
    static const int limits[] = {1, 3, 100};
    struct buf first, other;
    char with_limit[512];
    buf_init(&first, 1 << 20);
    buf_init(&other, 1 << 20);
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        struct buf *ids = i == 0 ? &first : &other;
        snprintf(with_limit, sizeof with_limit, "%s%climit=%d", path, strchr(path, '?') ? '&' : '?',
                 limits[i]);
        buf_clear(ids);
        assert_int_equal(walk(with_limit, id, ids), expected);
        assert_true(span_equal(buf_span(ids), buf_span(&first)));
    }
    buf_deinit(&first);
    buf_deinit(&other);
}

static size_t count_in_both(const char *sql)
{
    return (size_t)(store_number(stacks[0], sql) + store_number(stacks[1], sql));
}

/* With no models in Redis every list is merged from what both servers say. */
static void lists_are_of_both(void **state)
{
    (void)state;
    size_t campaigns = count_in_both("SELECT count(*) FROM campaign");
    assert_true(campaigns > 8);
    same_in_any_pages("/v1/campaigns", "id", campaigns);
    same_in_any_pages("/v1/campaigns?status=active", "id", campaigns);
    same_in_any_pages("/v1/users/user-1/coupons", "coupon_id", 8);
    struct http_answer answer = await_answer("/v1/rankings/campaigns?by=issued&window=24h&limit=100");
    struct json_doc *doc = json_get_doc(answer.body);
    assert_int_equal(json_get_length(doc, "items"), 8);
    json_destroy(doc);
}

/* --- models --- */

static char which[SERVERS][32]; /* slices, for the environment of the projectors */

static void start_projectors(void)
{
    static char map[PATH_MAX + 16];
    static const char *const environment[SERVERS][3] = {{map, which[0], NULL}, {map, which[1], NULL}};
    snprintf(map, sizeof map, "SHARDS_FILE=%s", projector_map);
    for (int i = 0; i < SERVERS; i++) {
        snprintf(which[i], sizeof which[i], "FIRSTCOME_SLICES=%s", slices_of_server[i]);
        projectors[i] = instance_start(stacks[0], &(struct instance_options){.service = "projector",
                                                                             .name = slices_of_server[i],
                                                                             .port_offset = 9 + i,
                                                                             .environment = environment[i]});
    }
}

/* `projector` with the map and up to five words, ended by NULL; what it exits with. */
static int run_projector(const char *const *words)
{
    char program[PATH_MAX], log[PATH_MAX];
    snprintf(program, sizeof program, "%s/projector", getenv("BIN_DIR"));
    snprintf(log, sizeof log, "%s/log/projector-%s.log", stack_directory(stacks[0]), words[0]);
    const char *argv[WORDS_MAX + 6] = {program,       words[0],
                                       "--shards",    projector_map,
                                       "--redis-url", stack_env(stacks[0], "PROJECTOR_REDIS_URL")};
    for (size_t i = 1; words[i]; i++) {
        assert_true(i < WORDS_MAX);
        argv[5 + i] = words[i];
    }
    const char *const environment[] = {NULL};
    int status = child_wait(
        child_start(&(struct child_spec){.argv = argv, .environment = environment, .output_path = log}),
        LONG_MS);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define RUN_PROJECTOR(...) run_projector((const char *[]){__VA_ARGS__, NULL})

static bool from_redis(const char *path)
{
    struct http_answer answer = api_get(&api, path, NULL);
    return answer.status == 200 && reads_is_from(&answer, "redis");
}

/* A projector for each server, one Redis: the same lists, and verify finds nothing, before and after a
 * rebuild. */
static void models_are_of_both(void **state)
{
    (void)state;
    size_t campaigns = count_in_both("SELECT count(*) FROM campaign");
    refuses_to_start("projector", projector_map, "--slices");
    start_projectors();
    WAIT_UNTIL(from_redis("/v1/campaigns?limit=1") && from_redis("/v1/users/user-1/coupons"), LONG_MS);
    same_in_any_pages("/v1/campaigns", "id", campaigns);
    same_in_any_pages("/v1/users/user-1/coupons", "coupon_id", 8);
    assert_int_equal(RUN_PROJECTOR("verify"), 0);
    assert_int_equal(RUN_PROJECTOR("status", "--json"), 0);
    assert_int_equal(RUN_PROJECTOR("rebuild"), 0);
    assert_int_equal(RUN_PROJECTOR("verify", "--json"), 0);
}

/* Each server's part is built, is in the way of another of that name, and is dropped. */
static void a_look_at_the_past_is_of_both(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(RUN_PROJECTOR("rebuild", "--to-time", "2020-01-01T00:00:00Z"), 0);
        assert_int_not_equal(RUN_PROJECTOR("rebuild", "--to-time", "2020-01-01T00:00:00Z"), 0);
        assert_int_equal(RUN_PROJECTOR("rebuild", "--generation", "past", "--drop"), 0);
        assert_int_not_equal(RUN_PROJECTOR("rebuild", "--generation", "past", "--drop"), 0);
    }
    assert_int_equal(RUN_PROJECTOR("verify"), 0);
}

/* --- one server is away --- */

/* A request of the write side that needs the server that is away: an answer in time, and which. */
static void refused_in_time(const struct http_answer *answer, int64_t from_us)
{
    pace_within(from_us, REQUEST_DEADLINE_MS * US_PER_MS, "an answer that says no");
    if (answer->status != 503 && answer->status != 504)
        fail_msg("status %d: %.*s", answer->status, SPAN_ARG(answer->body));
}

static bool is_ready(void)
{
    return instance_ready(command) && instance_ready(query);
}

/* What is asked for every list; how many items it has, or -1 where it is refused in time. */
static int64_t items_of(const char *path)
{
    struct http_answer answer;
    struct http_call call = {.method = "GET", .path = path, .token = stack_env(stacks[0], "ADMIN_TOKEN")};
    int64_t from_us = clock_mono_us(), count = -1;
    assert_int_equal(http_client_call(api.query, &call, &answer), HTTP_ANSWERED);
    if (answer.status == 200) {
        struct json_doc *doc = json_get_doc(answer.body);
        count = (int64_t)json_get_length(doc, "items");
        json_destroy(doc);
    } else {
        refused_in_time(&answer, from_us);
    }
    return count;
}

static const char *const spanning[] = {"/v1/campaigns?limit=100", "/v1/users/before/coupons?limit=100",
                                       "/v1/rankings/campaigns?by=issued&window=24h&limit=100",
                                       "/v1/audit?limit=100"};

/* What is of both is whole or refused. */
static void reads_go_on(const char *there, const int64_t items[COUNT_OF(spanning)])
{
    char path[128];
    snprintf(path, sizeof path, "/v1/campaigns/%s", there);
    for (int i = 0; i < 20; i++) {
        struct http_answer answer = api_get(&api, path, NULL);
        api_expect(answer, 200, NULL);
    }
    for (size_t i = 0; i < COUNT_OF(spanning); i++) {
        int64_t found = items_of(spanning[i]);
        if (found != -1 && found != items[i])
            fail_msg("%s has %lld items of %lld", spanning[i], (long long)found, (long long)items[i]);
    }
}

static int by_size(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* One user after the other gets a coupon of a campaign whose server is well; how long it took is said, not
 * judged. */
static void issue_to_many(const char *campaign, const char *when)
{
    enum { USERS = 100 };
    int64_t took_us[USERS];
    char user[64];
    static unsigned served;
    for (int i = 0; i < USERS; i++) {
        int64_t from_us = clock_mono_us();
        snprintf(user, sizeof user, "one-of-many-%u", ++served);
        assert_int_equal(issue_status(campaign, user), 201);
        took_us[i] = clock_mono_us() - from_us;
    }
    qsort(took_us, USERS, sizeof took_us[0], by_size);
    print_message("      issued %s: p50 %lld us, p99 %lld us\n", when, (long long)took_us[USERS / 2],
                  (long long)took_us[USERS - 2]);
}

static void others_go_on(const struct mishap *mishap, int away)
{
    static int64_t rounds;
    const char *there = created(1 - away), *gone = created(away);
    char path[128];
    print_message("    slices %s: %s\n", slices_of_server[away], mishap->name);
    assert_true(issues(there, "before") && issues(gone, "before"));
    int64_t items[COUNT_OF(spanning)], coupons = 2 * ++rounds;
    WAIT_UNTIL(items_of(spanning[1]) == coupons, LONG_MS); /* the models have it */
    for (size_t i = 0; i < COUNT_OF(spanning); i++)
        WAIT_UNTIL((items[i] = items_of(spanning[i])) >= 0, LONG_MS);
    issue_to_many(there, "before");
    mishap->begin(away);
    issue_to_many(there, "meanwhile");
    int64_t from_us = clock_mono_us();
    struct http_answer answer = api_issue(&api, gone, "during");
    refused_in_time(&answer, from_us);
    from_us = clock_mono_us();
    snprintf(path, sizeof path, "/v1/requests/%s", api_fresh_key());
    answer = api_call(&api, &(struct http_call){
                                .method = "GET", .path = path, .token = stack_env(stacks[0], "ADMIN_TOKEN")});
    refused_in_time(&answer, from_us); /* nobody knows what became of a key in a server that is away */
    snprintf(path, sizeof path, "/v1/campaigns/%s", there);
    answer = api_call(&api, &(struct http_call){
                                .method = "GET", .path = path, .token = stack_env(stacks[0], "READ_TOKEN")});
    assert_int_equal(answer.status, 200);
    reads_go_on(there, items);
    assert_true(is_ready());
    mishap->end(away);
    WAIT_UNTIL(issues(gone, "after"), LONG_MS);
    assert_true(issues(there, "after"));
}

static void a_server_that_is_away_costs_its_own_campaigns_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(mishaps); i++)
        for (int away = 0; away < SERVERS; away++)
            others_go_on(&mishaps[i], away);
    assert_int_equal(RUN_PROJECTOR("verify"), 0);
}

/* Who is suspended is in slice 0: who has never read it lets nobody in, wherever the campaign is; and says so
 * in time. */
static void who_starts_without_slice_0_lets_nobody_in(void **state)
{
    (void)state;
    char map[PATH_MAX + 16];
    const char *const environment[] = {map, NULL};
    const char *there = created(1);
    struct api_client before = api;
    snprintf(map, sizeof map, "SHARDS_FILE=%s", command_map);
    end(0);
    struct instance *late = instance_start(stacks[0], &(struct instance_options){.service = "command-service",
                                                                                 .name = "late",
                                                                                 .port_offset = 11,
                                                                                 .ready_path = "/livez",
                                                                                 .environment = environment});
    instance_open_api(late, &api);
    for (int i = 0; i < 20; i++) {
        int64_t from_us = clock_mono_us();
        struct http_answer answer = api_issue(&api, there, "early");
        refused_in_time(&answer, from_us);
        wait_moment();
    }
    assert_int_equal(store_numberf(stacks[1], "SELECT issued FROM campaign WHERE id = '%s'", there), 0);
    restart(0);
    WAIT_UNTIL(issues(there, "early"), LONG_MS);
    api_close(&api);
    api = before;
    instance_destroy(late);
    assert_true(issues(there, "late"));
}

/* --- life --- */

static int setup(void **state)
{
    (void)state;
    crypto_setup();
    stack_default_deadlines();
    setenv("FIRSTCOME_REQUEST_DEADLINE_MS", "6000",
           1); /* who is away refuses after it, so not longer either */
    setenv("FIRSTCOME_STORE_TIMEOUT_MS", "4000", 1);
    for (int i = 0; i < SERVERS; i++)
        stacks[i] = stack_start(STACK_SERVERS);
    write_map("owner", "DATABASE_URL", false, owner_map);
    write_map("command", "COMMAND_DATABASE_URL", false, command_map);
    write_map("query", "QUERY_DATABASE_URL", false, query_map);
    write_map("projector", "PROJECTOR_DATABASE_URL", false, projector_map);
    write_map("swapped", "COMMAND_DATABASE_URL", true, swapped_map);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    api_close(&api);
    instance_destroy(command);
    instance_destroy(query);
    for (int i = 0; i < SERVERS; i++)
        instance_destroy(projectors[i]);
    for (int i = 0; i < SERVERS; i++)
        stack_stop(stacks[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_map_is_refused_by_name),
        cmocka_unit_test(creates_and_issues_in_both),
        cmocka_unit_test(quotas_are_of_all),
        cmocka_unit_test(lists_are_of_both),
        cmocka_unit_test(models_are_of_both),
        cmocka_unit_test(a_look_at_the_past_is_of_both),
        cmocka_unit_test(a_server_that_is_away_costs_its_own_campaigns_only),
        cmocka_unit_test(who_starts_without_slice_0_lets_nobody_in),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
