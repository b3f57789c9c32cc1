/* SPDX-License-Identifier: Apache-2.0 */
/* A slice moves to another server, while coupons are issued and lists are read by services of the former map:
 * nothing is lost, nothing is there twice, whoever dies on the way. */
#include "tests/lib/wait.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "events/ids.h"
#include "tests/lib/cluster.h"
#include "tests/lib/store.h"
#include "tests/lib/two_servers.h"

enum { MOVING = 7, CUSTOMERS_MAX = 50000 };

/* Slice 7 to the second server, or back. `psql`: what does the asking; NULL: the real one. */
static int move(bool back, const char *psql)
{
    if (psql)
        setenv("PSQL", psql, 1);
    else
        unsetenv("PSQL");
    return stack_tool(two.stacks[0],
                      (const char *[]){"schema/migrate", "--shards", back ? two.moved_map : two.owner_map,
                                       "--move-slice", "7", "--to", back ? "0-6" : "8-15", NULL});
}

static int64_t owners(void)
{
    return store_numberf(two.stacks[0], "SELECT count(*) FROM slice WHERE slice = %d", MOVING) +
           store_numberf(two.stacks[1], "SELECT count(*) FROM slice WHERE slice = %d", MOVING);
}

static int64_t sealed(void)
{
    static const char sql[] = "SELECT count(*) FROM slice_move WHERE state = 'sealed'";
    return store_number(two.stacks[0], sql) + store_number(two.stacks[1], sql);
}

/* Whether a copy is there at the first server that is to arrive, so far. */
static bool copied_to_first(void)
{
    return store_number(two.stacks[0],
                        "SELECT count(*) FROM event JOIN slice_move m USING (slice) WHERE slice = 7 "
                        "AND m.state = 'arriving'") > 0;
}

/* A user after the other asks until there is an answer that says yes, whoever is away meanwhile; and a
 * service with the former map is asked for lists all the time. */
struct customers {
    pthread_t buying, listing;
    const char *campaign;
    const char *listing_url;
    int64_t campaigns; /* that there are */
    atomic_bool enough;
    atomic_int served, lists, wrong, refused;
    int64_t longest_us; /* between two who were served */
    int64_t took_us[CUSTOMERS_MAX];
};

static void *buy(void *context)
{
    struct customers *is = context;
    struct http_client *client = http_client_create(instance_url(two.command));
    char path[128], key[32], body[64];
    int64_t last_us = clock_mono_us();
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", is->campaign);
    while (!atomic_load(&is->enough)) {
        struct http_answer answer;
        int64_t from_us = clock_mono_us();
        snprintf(key, sizeof key, "customer-%d", atomic_load(&is->served));
        snprintf(body, sizeof body, "{\"user_id\":\"%s\"}", key);
        struct http_call call = {.method = "POST",
                                 .path = path,
                                 .token = stack_env(two.stacks[0], "ISSUE_TOKEN"),
                                 .key = key,
                                 .body = body};
        if (http_client_call(client, &call, &answer) != HTTP_ANSWERED || answer.status != 201) {
            wait_moment();
            continue;
        }
        int64_t now_us = clock_mono_us();
        is->longest_us = now_us - last_us > is->longest_us ? now_us - last_us : is->longest_us;
        is->took_us[atomic_load(&is->served) % CUSTOMERS_MAX] = now_us - from_us;
        last_us = now_us;
        atomic_fetch_add(&is->served, 1);
    }
    http_client_destroy(client);
    return NULL;
}

static void *list(void *context)
{
    struct customers *is = context;
    struct http_client *client = http_client_create(is->listing_url);
    while (!atomic_load(&is->enough)) {
        struct http_answer answer;
        struct http_call call = {.method = "GET",
                                 .path = "/v1/campaigns?limit=100",
                                 .token = stack_env(two.stacks[0], "READ_TOKEN")};
        if (http_client_call(client, &call, &answer) != HTTP_ANSWERED || answer.status != 200) {
            atomic_fetch_add(&is->refused, 1);
            wait_moment();
            continue;
        }
        struct json_doc *doc = json_get_doc(answer.body);
        int64_t found = (int64_t)json_get_length(doc, "items");
        json_destroy(doc);
        atomic_fetch_add(found == is->campaigns ? &is->lists : &is->wrong, 1);
    }
    http_client_destroy(client);
    return NULL;
}

static void begin_customers(struct customers *is)
{
    assert_int_equal(pthread_create(&is->buying, NULL, buy, is), 0);
    if (is->listing_url)
        assert_int_equal(pthread_create(&is->listing, NULL, list, is), 0);
    WAIT_UNTIL(atomic_load(&is->served) > 50, LONG_MS);
}

static int by_size(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void end_customers(struct customers *is)
{
    int before = atomic_load(&is->served);
    WAIT_UNTIL(atomic_load(&is->served) > before + 50, LONG_MS);
    atomic_store(&is->enough, true);
    assert_int_equal(pthread_join(is->buying, NULL), 0);
    if (is->listing_url)
        assert_int_equal(pthread_join(is->listing, NULL), 0);
    assert_int_equal(atomic_load(&is->wrong), 0);
    int served = atomic_load(&is->served), kept = served < CUSTOMERS_MAX ? served : CUSTOMERS_MAX;
    qsort(is->took_us, (size_t)kept, sizeof is->took_us[0], by_size);
    print_message("    %d served, p99 %lld us, longest gap %lld ms; %d lists, %d refused\n", served,
                  (long long)is->took_us[kept - 1 - kept / 100], (long long)(is->longest_us / US_PER_MS),
                  atomic_load(&is->lists), atomic_load(&is->refused));
}

/* Services of the map there is now, in the place of those of the former. */
static void restart_services(bool moved)
{
    two.slices_of_server[0] = moved ? "0-6" : "0-7";
    two.slices_of_server[1] = moved ? "7-15" : "8-15";
    two.first_of_second = moved ? MOVING : MOVING + 1;
    two_write_maps();
    for (int i = 0; i < SERVERS; i++)
        snprintf(two.which[i], sizeof two.which[i], "FIRSTCOME_SLICES=%s", two.slices_of_server[i]);
    struct instance *all[] = {two.command, two.query, two.projectors[0], two.projectors[1]};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        instance_stop(all[i]);
        instance_again(all[i]);
    }
}

/* A query service without Redis, so that all it says is PostgreSQL's. */
static struct instance *start_plain_query(const char *name, int port_offset)
{
    static char maps[4][PATH_MAX + 16];
    static const char *environments[4][3];
    static int next;
    int i = next++ % 4;
    snprintf(maps[i], sizeof maps[i], "SHARDS_FILE=%s", two.query_map);
    environments[i][0] = maps[i];
    environments[i][1] = "FIRSTCOME_CACHE_BYTES=0";
    return instance_start(two.stacks[0], &(struct instance_options){.service = "query-service",
                                                                    .name = name,
                                                                    .port_offset = port_offset,
                                                                    .redis_url = "redis://127.0.0.1:1/0",
                                                                    .ready_path = "/livez",
                                                                    .environment = environments[i]});
}

static const char *in_moving_slice(void)
{
    const char *id;
    do
        id = two_fresh_id(two.slices_of_server[0][2] == '7' ? 0 : 1);
    while (slice_of(span_of(id)) != MOVING);
    two_create_in_the_end(id);
    return id;
}

/* Services of the former map are there all the time, and none of them acts on what is left, nor tells it. */
static void a_slice_moves_under_load(void **state)
{
    (void)state;
    char map[PATH_MAX + 16], sale[CAMPAIGN_ID_MAX + 1], path[128], token[128];
    const char *const environment[] = {map, NULL};
    snprintf(map, sizeof map, "SHARDS_FILE=%s", two.command_map);
    snprintf(sale, sizeof sale, "%s", in_moving_slice());
    struct instance *former = instance_start(
        two.stacks[0],
        &(struct instance_options){
            .service = "command-service", .name = "former", .port_offset = 12, .environment = environment});
    struct instance *former_query = start_plain_query("former", 13);
    static struct customers customers;
    customers = (struct customers){.campaign = sale,
                                   .listing_url = instance_url(former_query),
                                   .campaigns = (int64_t)two_count_in_both("SELECT count(*) FROM campaign")};
    assert_int_not_equal(two_migrate(two.moved_map), 0); /* a map alone moves nothing */
    begin_customers(&customers);
    struct http_answer answer = api_issue(&two.api, sale, "before");
    api_expect(answer, 201, NULL);
    snprintf(token, sizeof token, "%.*s", SPAN_ARG(http_answer_header(&answer, "Consistency-Token")));
    assert_int_equal(move(false, NULL), 0);
    assert_int_equal(move(false, NULL), 0); /* it is there */
    struct api_client now = two.api;
    instance_open_api(former, &two.api);
    int64_t from_us = clock_mono_us();
    answer = api_issue(&two.api, sale, "by-former");
    two_refused_in_time(&answer, from_us);
    api_close(&two.api);
    two.api = now;
    restart_services(true);
    end_customers(&customers);
    int64_t served = atomic_load(&customers.served);
    assert_int_equal(store_numberf(two.stacks[1], "SELECT issued FROM campaign WHERE id = '%s'", sale),
                     served + 1);
    snprintf(path, sizeof path, "/v1/campaigns/%s/users/before", sale);
    WAIT_UNTIL((answer = api_get(&two.api, path, token)).status != 503, LONG_MS);
    api_expect(answer, 200, NULL);
    /* What is left at the first server is nobody's. */
    struct instance *plain = start_plain_query("plain", 14);
    struct http_client *with_redis = two.api.query;
    two.api.query = http_client_create(instance_url(plain));
    for (int dropped = 0; dropped < 2; dropped++) {
        two_same_in_any_pages("/v1/campaigns", "id", (size_t)customers.campaigns);
        two_same_in_any_pages("/v1/users/user-1/coupons", "coupon_id", 8);
        two_same_in_any_pages(
            "/v1/users/before/coupons", "coupon_id",
            two_count_in_both("SELECT count(*) FROM event e JOIN slice s USING (slice) WHERE "
                              "type = 6 AND user_id = 'before'"));
        assert_int_equal(store_numberf(two.stacks[0], "SELECT count(*) FROM campaign WHERE id = '%s'", sale),
                         !dropped);
        snprintf(path, sizeof path, "/v1/events?slice=%d&after=3&limit=2", MOVING);
        answer = two_await_answer(path);
        struct json_doc *doc = json_get_doc(answer.body);
        assert_int_equal(json_get_int(doc, "items.0.position"), 4);
        json_destroy(doc);
        assert_int_equal(two_migrate(two.moved_map), 0); /* drops it */
    }
    http_client_destroy(two.api.query);
    two.api.query = with_redis;
    assert_int_equal(store_numberf(two.stacks[0], "SELECT count(*) FROM event WHERE slice = %d", MOVING), 0);
    assert_int_equal(store_number(two.stacks[0], "SELECT count(*) FROM slice_move WHERE state = 'left'"), 0);
    assert_int_equal(TWO_PROJECTOR("verify"), 0);
    instance_destroy(former);
    instance_destroy(former_query);
    instance_destroy(plain);
}

/* In the place of psql: what it does in its `die`th turn, and whether that is by its end, or a warning. */
static const char *write_psql(int turn, bool warns)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/psql", stack_directory(two.stacks[0]));
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fprintf(file,
            "#!/bin/bash\n"
            "exec 9>>%s.lock\nflock 9\nn=$(($(cat %s.turn) + 1))\necho $n >%s.turn\nexec 9>&-\n"
            "if ((n == %d)); then %s; fi\n"
            "exec $(find /usr/lib/postgresql/*/bin -name psql | sort -V | tail -n 1) \"$@\"\n",
            path, path, path, turn, warns ? "echo WARNING >&2" : "kill -9 0");
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0700), 0);
    char count[PATH_MAX + 8];
    snprintf(count, sizeof count, "%s.turn", path);
    file = fopen(count, "we");
    assert_non_null(file);
    fprintf(file, "0\n");
    assert_int_equal(fclose(file), 0);
    return path;
}

/* Whoever moves it dies before each of its questions in turn; whoever comes after goes on with it. To and
 * fro, while coupons are issued whenever the second server owns it. */
static void whoever_moves_it_may_die_anywhere(void **state)
{
    (void)state;
    char sale[CAMPAIGN_ID_MAX + 1];
    snprintf(sale, sizeof sale, "%s", in_moving_slice());
    static struct customers customers;
    customers = (struct customers){.campaign = sale};
    begin_customers(&customers);
    int turn = (int)(clock_wall_us() % 3) - 2, status = -1;
    bool back = false;
    while (status != 0) {
        back = !back;
        turn += 3; /* from the first, second or third on, as it happens */
        assert_true(turn < 200);
        status = move(back, write_psql(turn, false));
        assert_true(owners() <= 1);
        assert_true(owners() + sealed() >= 1);
        assert_int_equal(move(back, NULL), 0);
        assert_int_equal(owners(), 1);
        assert_int_equal(sealed(), 0);
        assert_int_equal(store_numberf(two.stacks[!back], "SELECT count(*) FROM slice WHERE slice = 7"), 1);
    }
    print_message("    died before every third question, up to %d\n", turn - 3);
    assert_true(turn > 20);
    if (back)
        assert_int_equal(move(false, NULL), 0);
    end_customers(&customers);
    assert_int_equal(store_numberf(two.stacks[1], "SELECT issued FROM campaign WHERE id = '%s'", sale),
                     atomic_load(&customers.served));
    assert_int_equal(TWO_PROJECTOR("verify"), 0);
}

/* Two at once, and one whose server warns: none of them does harm, and the next brings it to its end. */
static void two_may_move_it_at_once(void **state)
{
    (void)state;
    static const char both[] = "schema/migrate --shards %s --move-slice 7 --to 0-6 & schema/migrate --shards "
                               "%s --move-slice 7 --to 0-6 & wait";
    char command_line[4 * PATH_MAX];
    assert_int_not_equal(move(true, write_psql(2, true)), 0);
    unsetenv("PSQL");
    snprintf(command_line, sizeof command_line, both, two.moved_map, two.moved_map);
    for (int i = 0; i < 3; i++) {
        (void)stack_tool(two.stacks[0], (const char *[]){"/bin/bash", "-c", command_line, NULL});
        assert_true(owners() <= 1 && owners() + sealed() >= 1);
        assert_int_equal(move(true, NULL), 0);
        assert_int_equal(store_number(two.stacks[0], "SELECT count(*) FROM slice WHERE slice = 7"), 1);
        assert_int_equal(owners(), 1);
        assert_int_equal(move(false, NULL), 0);
    }
    assert_int_equal(TWO_PROJECTOR("verify"), 0);
}

/* Sealed, and the server that it was to go to is away: it comes back only when that one has said that it does
 * not arrive; then it can go again. */
static void it_may_be_taken_back(void **state)
{
    (void)state;
    const char *const back[] = {"schema/migrate", "--shards", two.moved_map, "--move-slice", "7",
                                "--to",           "7-15",     NULL};
    for (int turn = 1; sealed() == 0; turn++) {
        (void)move(true, write_psql(turn, false));
        assert_true(turn < 100);
    }
    unsetenv("PSQL");
    assert_int_equal(owners(), 0);
    two_end(0);
    assert_int_not_equal(stack_tool(two.stacks[0], back), 0);
    two_restart(0);
    assert_int_equal(owners(), 0);
    assert_int_equal(stack_tool(two.stacks[0], back), 0);
    assert_int_equal(store_number(two.stacks[1], "SELECT count(*) FROM slice WHERE slice = 7"), 1);
    assert_int_equal(owners(), 1);
    assert_int_not_equal(stack_tool(two.stacks[0], back), 0); /* there is nothing to take back */
    assert_int_equal(move(true, NULL), 0);
    assert_int_equal(move(false, NULL), 0);
    assert_int_equal(TWO_PROJECTOR("verify"), 0);
}

/* What was copied is not what the source says after a failover: its chain tells, and it is copied anew. */
static void a_copy_of_another_log_is_made_anew(void **state)
{
    (void)state;
    for (int turn = 1; !copied_to_first(); turn++) {
        (void)move(true, write_psql(turn, false));
        assert_true(turn < 100);
    }
    assert_int_equal(owners(), 1);
    store_tamper(two.stacks[0], "UPDATE event SET data = data || '\\x00' WHERE slice = 7 AND position = 1");
    store_tamper(two.stacks[0], "UPDATE batch SET chain = sha256(chain) WHERE slice = 7");
    assert_int_equal(move(true, NULL), 0);
    assert_int_equal(move(false, NULL), 0);
    assert_int_equal(TWO_PROJECTOR("verify"), 0);
}

/* A new table has a column `slice`, and moves with it, or is of no slice: then it is named here. */
static void every_table_is_of_a_slice_or_of_none(void **state)
{
    (void)state;
    static const char sql[] =
        "SELECT count(*) FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN "
        "('r', 'p') "
        "AND NOT c.relispartition AND c.relname NOT IN (SELECT name FROM slice_tables()) "
        "AND c.relname NOT IN ('slice', 'slice_move', 'event_type', 'lease', 'schema_migration')";
    assert_int_equal(store_number(two.stacks[0], sql), 0);
    assert_int_not_equal(
        stack_tool(two.stacks[0], (const char *[]){"schema/migrate", "--shards", two.owner_map,
                                                   "--move-slice", "0", "--to", "8-15", NULL}),
        0); /* it has the settings */
}

/* --- three databases --- */

static char third[1024]; /* a database in the second server, with slice 15 */

static int64_t in_third(const char *sql)
{
    const struct pg_statement statement = {"one", sql};
    struct pg_rows *rows = NULL;
    struct pg *pg = pg_create(&(struct pg_options){
        .url = third, .application = "test", .statements = &statement, .statements_count = 1});
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_OK);
    assert_int_equal(pg_call(pg, 0, NULL, clock_deadline_us(LONG_MS), &rows), PG_OK);
    int64_t number = pg_rows_count(rows) ? pg_i64(rows, 0, 0) : 0;
    pg_rows_destroy(rows);
    pg_destroy(pg);
    return number;
}

static int move_of_three(const char *of_second, const char *of_third, const char *to, const char *psql)
{
    char map[PATH_MAX];
    snprintf(map, sizeof map, "%s/three.shards", stack_directory(two.stacks[0]));
    FILE *file = fopen(map, "we");
    assert_non_null(file);
    fprintf(file, "0-6 %s\n%s %s\n%s %s\n", stack_env(two.stacks[0], "DATABASE_URL"), of_second,
            stack_env(two.stacks[1], "DATABASE_URL"), of_third, third);
    assert_int_equal(fclose(file), 0);
    if (psql)
        setenv("PSQL", psql, 1);
    else
        unsetenv("PSQL");
    return stack_tool(two.stacks[0], (const char *[]){"schema/migrate", "--shards", map, "--move-slice", "7",
                                                      "--to", to, NULL});
}

/* A run towards one dies, then one to another, when it has arrived there: it does not arrive at the first as
 * well. */
static void only_the_last_target_gets_it(void **state)
{
    (void)state;
    static const char owned[] = "SELECT count(*) FROM slice WHERE slice = 7";
    const char *second = stack_env(two.stacks[1], "DATABASE_URL");
    snprintf(third, sizeof third, "%.*s/third", (int)(strrchr(second, '/') - second), second);
    (void)cluster_sql(two.stacks[1], "CREATE DATABASE third OWNER firstcome");
    setenv("DATABASE_URL", third, 1);
    assert_int_equal(stack_tool(two.stacks[1], (const char *[]){"schema/migrate", NULL}), 0);
    unsetenv("DATABASE_URL");
    (void)in_third("DELETE FROM slice WHERE slice <> 15");
    for (int turn = 1; !copied_to_first(); turn++)
        assert_true(turn < 100 && move_of_three("7-14", "15", "0-6", write_psql(turn, false)) != 0);
    assert_int_equal(owners(), 1);
    for (int turn = 1; in_third(owned) == 0; turn++)
        assert_true(turn < 100 && move_of_three("7-14", "15", "15", write_psql(turn, false)) != 0);
    assert_int_equal(sealed(), 1);
    assert_int_not_equal(move_of_three("7-14", "15", "0-6", NULL), 0);
    assert_int_not_equal(move_of_three("7-14", "15", "7-14", NULL), 0);
    assert_int_equal(owners(), 0);
    assert_int_equal(in_third(owned), 1);
    assert_int_equal(move_of_three("7-14", "15", "15", NULL), 0);
    assert_int_equal(move_of_three("8-15", "7", "8-15", NULL), 0);
    assert_int_equal(owners(), 1);
    assert_int_equal(in_third(owned), 0);
    assert_int_equal(TWO_PROJECTOR("verify"), 0);
}

/* --- life --- */

static int setup(void **state)
{
    int status = two_setup(state);
    assert_int_equal(two_migrate(two.owner_map), 0);
    two_start_query();
    two_start_command();
    for (int server = 0; server < SERVERS; server++)
        for (int i = 0; i < 4; i++)
            api_give(&two.api, two_created(server), "user-1");
    two_start_projectors();
    return status;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slice_moves_under_load),
        cmocka_unit_test(whoever_moves_it_may_die_anywhere),
        cmocka_unit_test(two_may_move_it_at_once),
        cmocka_unit_test(it_may_be_taken_back),
        cmocka_unit_test(a_copy_of_another_log_is_made_anew),
        cmocka_unit_test(only_the_last_target_gets_it),
        cmocka_unit_test(every_table_is_of_a_slice_or_of_none),
    };
    return cmocka_run_group_tests(tests, setup, two_teardown);
}
