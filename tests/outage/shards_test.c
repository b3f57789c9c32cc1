/* SPDX-License-Identifier: Apache-2.0 */
/* Two PostgreSQL servers with eight slices each, and services that go by a map of them: who is given another
 * map does not start; what is in one server works while the other is gone or stands still; what needs both
 * says so within its deadline, and is never a wrong answer. */
#include "tests/lib/wait.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/kit/child.h"
#include "events/control/reader.h"
#include "events/ids.h"
#include "tests/lib/cluster.h"
#include "tests/lib/instance.h"
#include "tests/lib/reads.h"
#include "tests/lib/steer.h"
#include "tests/lib/store.h"
#include "tests/lib/two_servers.h"

enum { EXIT_BAD_USAGE = 64, TEXT_MAX = 4096 };

static int issue_status(const char *campaign, const char *user)
{
    return api_issue(&two.api, campaign, user).status;
}

static bool issues(const char *campaign, const char *user)
{
    return issue_status(campaign, user) == 201;
}

/* --- a server goes away and comes back --- */

static void freeze(int server)
{
    cluster_signal_all(two.stacks[server], SIGSTOP);
}

static void thaw(int server)
{
    cluster_signal_all(two.stacks[server], SIGCONT);
}

static const struct mishap {
    const char *name;
    void (*begin)(int server), (*end)(int server);
} mishaps[] = {{"killed", two_end, two_restart}, {"frozen", freeze, thaw}};

/* --- maps that do not fit --- */

/* What a service says that is started with this map and must not start. */
static void refuses_to_start(const char *service, const char *map, const char *wanted)
{
    char program[PATH_MAX], log[PATH_MAX], setting[PATH_MAX + 16], text[TEXT_MAX] = "";
    char keys[PATH_MAX + 32], code_key[PATH_MAX + 32], redis[512];
    snprintf(program, sizeof program, "%s/%s", getenv("BIN_DIR"), service);
    snprintf(log, sizeof log, "%s/log/refused.log", stack_directory(two.stacks[0]));
    snprintf(setting, sizeof setting, "SHARDS_FILE=%s", map);
    snprintf(keys, sizeof keys, "FIRSTCOME_API_KEYS_FILE=%s",
             stack_env(two.stacks[0], "FIRSTCOME_API_KEYS_FILE"));
    snprintf(code_key, sizeof code_key, "FIRSTCOME_CODE_KEY_FILE=%s",
             stack_env(two.stacks[0], "FIRSTCOME_CODE_KEY_FILE"));
    (void)unlink(log);
    snprintf(redis, sizeof redis, "REDIS_URL=%s", stack_env(two.stacks[0], "PROJECTOR_REDIS_URL"));
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

static void another_map_is_refused_by_name(void **state)
{
    (void)state;
    /* Before anybody said who owns what each has all slices. */
    refuses_to_start("command-service", two.command_map, "slices 0-7 to a database that says it owns 0-15");
    assert_int_equal(two_migrate(two.owner_map), 0);
    assert_int_equal(two_migrate(two.owner_map), 0);
    refuses_to_start("command-service", two.swapped_map, "slices 0-7 to a database that says it owns 8-15");
    char swapped_owner[PATH_MAX];
    two_write_map("swapped-owner", "DATABASE_URL", true, swapped_owner);
    assert_int_not_equal(two_migrate(swapped_owner), 0); /* nothing is given up that another has not */
    assert_int_equal(cluster_sql(two.stacks[0], "SELECT 1"), 1);
}

static void ignore_row(const struct control_row *row)
{
    (void)row;
}

/* The table of settings is empty where slice 0 is another database's, which is not that nobody is suspended.
 */
static void settings_are_read_where_they_are(void **state)
{
    (void)state;
    for (int server = 0; server < SERVERS; server++) {
        struct control_state read;
        struct control_clock clock;
        bool good = false;
        struct control_reader *reader = control_reader_create(
            stack_env(two.stacks[server], "COMMAND_DATABASE_URL"), "firstcome_command", true);
        control_state_init(&read);
        if (server == 0)
            WAIT_UNTIL((good = control_reader_read(reader, NULL, &read, &clock, ignore_row)), LONG_MS);
        else
            WAIT_UNTIL(!(good = control_reader_read(reader, NULL, &read, &clock, ignore_row)) &&
                           strstr(control_reader_error(reader), "own"),
                       LONG_MS);
        assert_true(good == (server == 0) && read.known == good);
        control_reader_destroy(reader);
    }
}

/* Each database is asked with its own password: the second has none in its line, and not the first one's. */
static void a_code_key_is_rotated_over_a_map(void **state)
{
    (void)state;
    char map[PATH_MAX], key[PATH_MAX];
    snprintf(map, sizeof map, "%s/rotate.shards", stack_directory(two.stacks[0]));
    snprintf(key, sizeof key, "%s/rotate.key", stack_directory(two.stacks[0]));
    const char *second = stack_env(two.stacks[1], "DATABASE_URL"), *host = strchr(second, '@');
    const char *user = strstr(second, "://") + 3, *password = strchr(user, ':');
    assert_true(host && password && password < host);
    char *secret = strndup(password + 1, (size_t)(host - password - 1));
    FILE *file = fopen(map, "we");
    assert_non_null(file);
    fprintf(file, "0-7 %s\n8-15 postgresql://%.*s%s\n", stack_env(two.stacks[0], "DATABASE_URL"),
            (int)(password - user), user, host);
    assert_int_equal(fclose(file), 0);
    file = fopen(key, "we");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    setenv("PGPASSWORD", secret, 1);
    setenv("SHARDS_FILE", map, 1);
    assert_int_equal(
        stack_tool(two.stacks[0], (const char *[]){"packaging/rotate-code-key", key, "1000", NULL}), 0);
    unsetenv("SHARDS_FILE");
    unsetenv("PGPASSWORD");
    free(secret);
}

/* --- what is written --- */

static void creates_and_issues_in_both(void **state)
{
    (void)state;
    two_start_query();
    two_start_command();
    for (int server = 0; server < SERVERS; server++)
        for (int i = 0; i < 4; i++) /* keys of all slices: a claim in one server, the campaign in the other */
            api_give(&two.api, two_created(server), "user-1");
}

/* Twelve a day, eight of which were created above: the thirteenth is one too many, wherever it would be. The
 * other server's count is known a moment later, so ids of it are tried until then. */
static void quotas_are_of_all(void **state)
{
    (void)state;
    struct http_answer answer;
    const struct steer steer = {two.stacks[0], two.api.command};
    assert_int_equal(steer_put(&steer, "campaigns_per_day", "12").status, 200);
    for (int i = 0; i < 4; i++)
        (void)two_created(0);
    for (int server = 0; server < SERVERS; server++)
        WAIT_UNTIL((answer = two_create(two_fresh_id(server), NULL)).status == 429, LONG_MS);
    assert_int_equal(steer_put(&steer, "campaigns_per_day", "10000").status, 200);
    WAIT_UNTIL(two_create(two_fresh_id(1), NULL).status == 201, LONG_MS);
}

/* --- what is read --- */

/* With no models in Redis every list is merged from what both servers say. */
static void lists_are_of_both(void **state)
{
    (void)state;
    size_t campaigns = two_count_in_both("SELECT count(*) FROM campaign");
    assert_true(campaigns > 8);
    two_same_in_any_pages("/v1/campaigns", "id", campaigns);
    two_same_in_any_pages("/v1/campaigns?status=active", "id", campaigns);
    two_same_in_any_pages("/v1/users/user-1/coupons", "coupon_id", 8);
    struct http_answer answer = two_await_answer("/v1/rankings/campaigns?by=issued&window=24h&limit=100");
    struct json_doc *doc = json_get_doc(answer.body);
    assert_int_equal(json_get_length(doc, "items"), 8);
    json_destroy(doc);
}

/* --- models --- */

static bool from_redis(const char *path)
{
    struct http_answer answer = api_get(&two.api, path, NULL);
    return answer.status == 200 && reads_is_from(&answer, "redis");
}

/* A projector for each server, one Redis: the same lists, and verify finds nothing, before and after a
 * rebuild. */
static void models_are_of_both(void **state)
{
    (void)state;
    size_t campaigns = two_count_in_both("SELECT count(*) FROM campaign");
    refuses_to_start("projector", two.projector_map, "--slices");
    two_start_projectors();
    WAIT_UNTIL(from_redis("/v1/campaigns?limit=1") && from_redis("/v1/users/user-1/coupons"), LONG_MS);
    two_same_in_any_pages("/v1/campaigns", "id", campaigns);
    two_same_in_any_pages("/v1/users/user-1/coupons", "coupon_id", 8);
    assert_int_equal(TWO_PROJECTOR("verify"), 0);
    assert_int_equal(TWO_PROJECTOR("status", "--json"), 0);
    assert_int_equal(TWO_PROJECTOR("rebuild"), 0);
    assert_int_equal(TWO_PROJECTOR("verify", "--json"), 0);
}

/* Each server's part is built, is in the way of another of that name, and is dropped. */
static void a_look_at_the_past_is_of_both(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(TWO_PROJECTOR("rebuild", "--to-time", "2020-01-01T00:00:00Z"), 0);
        assert_int_not_equal(TWO_PROJECTOR("rebuild", "--to-time", "2020-01-01T00:00:00Z"), 0);
        assert_int_equal(TWO_PROJECTOR("rebuild", "--generation", "past", "--drop"), 0);
        assert_int_not_equal(TWO_PROJECTOR("rebuild", "--generation", "past", "--drop"), 0);
    }
    assert_int_equal(TWO_PROJECTOR("verify"), 0);
}

/* --- one server is away --- */

static bool is_ready(void)
{
    return instance_ready(two.command) && instance_ready(two.query);
}

/* What is asked for every list; how many items it has, or -1 where it is refused in time. */
static int64_t items_of(const char *path)
{
    struct http_answer answer;
    struct http_call call = {.method = "GET", .path = path, .token = stack_env(two.stacks[0], "ADMIN_TOKEN")};
    int64_t from_us = clock_mono_us(), count = -1;
    assert_int_equal(http_client_call(two.api.query, &call, &answer), HTTP_ANSWERED);
    if (answer.status == 200) {
        struct json_doc *doc = json_get_doc(answer.body);
        count = (int64_t)json_get_length(doc, "items");
        json_destroy(doc);
    } else {
        two_refused_in_time(&answer, from_us);
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
        struct http_answer answer = api_get(&two.api, path, NULL);
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
    const char *there = two_created(1 - away), *gone = two_created(away);
    char path[128];
    print_message("    slices %s: %s\n", two.slices_of_server[away], mishap->name);
    assert_true(issues(there, "before") && issues(gone, "before"));
    int64_t items[COUNT_OF(spanning)], coupons = 2 * ++rounds;
    WAIT_UNTIL(items_of(spanning[1]) == coupons, LONG_MS); /* the models have it */
    for (size_t i = 0; i < COUNT_OF(spanning); i++)
        WAIT_UNTIL((items[i] = items_of(spanning[i])) >= 0, LONG_MS);
    issue_to_many(there, "before");
    mishap->begin(away);
    issue_to_many(there, "meanwhile");
    int64_t from_us = clock_mono_us();
    struct http_answer answer = api_issue(&two.api, gone, "during");
    two_refused_in_time(&answer, from_us);
    from_us = clock_mono_us();
    snprintf(path, sizeof path, "/v1/requests/%s", api_fresh_key());
    answer = api_call(
        &two.api,
        &(struct http_call){.method = "GET", .path = path, .token = stack_env(two.stacks[0], "ADMIN_TOKEN")});
    two_refused_in_time(&answer, from_us); /* nobody knows what became of a key in a server that is away */
    snprintf(path, sizeof path, "/v1/campaigns/%s", there);
    answer = api_call(
        &two.api,
        &(struct http_call){.method = "GET", .path = path, .token = stack_env(two.stacks[0], "READ_TOKEN")});
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
    assert_int_equal(TWO_PROJECTOR("verify"), 0);
}

/* Who is suspended is in slice 0: who has never read it lets nobody in, wherever the campaign is; and says so
 * in time. */
static void who_starts_without_slice_0_lets_nobody_in(void **state)
{
    (void)state;
    char map[PATH_MAX + 16];
    const char *const environment[] = {map, NULL};
    const char *there = two_created(1);
    struct api_client before = two.api;
    snprintf(map, sizeof map, "SHARDS_FILE=%s", two.command_map);
    two_end(0);
    struct instance *late =
        instance_start(two.stacks[0], &(struct instance_options){.service = "command-service",
                                                                 .name = "late",
                                                                 .port_offset = 11,
                                                                 .ready_path = "/livez",
                                                                 .environment = environment});
    instance_open_api(late, &two.api);
    for (int i = 0; i < 20; i++) {
        int64_t from_us = clock_mono_us();
        struct http_answer answer = api_issue(&two.api, there, "early");
        two_refused_in_time(&answer, from_us);
        wait_moment();
    }
    assert_int_equal(store_numberf(two.stacks[1], "SELECT issued FROM campaign WHERE id = '%s'", there), 0);
    two_restart(0);
    WAIT_UNTIL(issues(there, "early"), LONG_MS);
    api_close(&two.api);
    two.api = before;
    instance_destroy(late);
    assert_true(issues(there, "late"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_map_is_refused_by_name),
        cmocka_unit_test(settings_are_read_where_they_are),
        cmocka_unit_test(a_code_key_is_rotated_over_a_map),
        cmocka_unit_test(creates_and_issues_in_both),
        cmocka_unit_test(quotas_are_of_all),
        cmocka_unit_test(lists_are_of_both),
        cmocka_unit_test(models_are_of_both),
        cmocka_unit_test(a_look_at_the_past_is_of_both),
        cmocka_unit_test(a_server_that_is_away_costs_its_own_campaigns_only),
        cmocka_unit_test(who_starts_without_slice_0_lets_nobody_in),
    };
    return cmocka_run_group_tests(tests, two_setup, two_teardown);
}
