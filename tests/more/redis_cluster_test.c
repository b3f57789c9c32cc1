/* SPDX-License-Identifier: Apache-2.0 */
/* The models on a Redis Cluster of three primaries and three replicas: slots that move, a server that freezes
 * and one that dies with writes nobody else had; models and readers come through all of it, and none of our
 * programs needs what managed servers forbid. */
#include <sys/wait.h>

#include "bench/kit/child.h"
#include "common/base/crypto.h"
#include "common/json.h"
#include "common/redis/slots.h"
#include "events/ids.h"
#include "readmodel/keys.h"
#include "tests/lib/api.h"
#include "tests/lib/pace.h"
#include "tests/lib/projector.h"
#include "tests/lib/reads.h"
#include "tests/lib/redis_kit.h"
#include "tests/lib/redis_nodes.h"
#include "tests/lib/wait.h"
#include "tests/lib/watch.h"

enum { LONG_MS = 120000, CALL_MS = 20000, DEADLINE_MS = 2000 };

static struct stack *stack;
static struct redis_nodes nodes;
static struct models models; /* its Redis is the cluster, as the services see it */
static struct api_client api;
static char campaigns[NODES_PRIMARIES][96]; /* one whose slice is on each primary */
static char campaign[96];                   /* the watch's: that of primary 0 */
static struct watch watch;

/* --- models --- */

static const char *root_of(const char *id)
{
    static char key[32];
    snprintf(key, sizeof key, "fc:{%d}", slice_of(span_of(id)));
    return key;
}

/* Models of which a part cannot be reached now are not current. */
static bool current(void)
{
    size_t servers[REDIS_SERVERS_MAX], count;
    redis_disconnect(models.redis);
    if (redis_connect(models.redis, clock_deadline_us(1000)) != REDIS_OK)
        return false;
    count = redis_servers(models.redis, servers);
    for (size_t i = 0; i < count; i++)
        if (!redis_serves(models.redis, servers[i]))
            return false;
    return models_current(&models);
}

static void issue(int batches)
{
    watch_issue(&watch, &api, batches);
}

static void read_campaign(const char *id, const char *source)
{
    char path[160];
    struct http_answer answer;
    snprintf(path, sizeof path, "/v1/campaigns/%s", id);
    WAIT_UNTIL((answer = reads_get(&api, path), answer.status == 200 && reads_is_from(&answer, source)),
               LONG_MS);
}

/* Each is answered within the deadline that users get, whoever answers. */
static void read_promptly(const char *id, int count)
{
    char path[160];
    snprintf(path, sizeof path, "/v1/campaigns/%s", id);
    for (int i = 0; i < count; i++) {
        int64_t start_us = clock_mono_us();
        struct http_answer answer = reads_get(&api, path);
        api_expect(answer, 200, NULL);
        pace_within(start_us, DEADLINE_MS * US_PER_MS, "an answer");
    }
}

static void read_list(const char *source)
{
    struct http_answer answer;
    WAIT_UNTIL((answer = reads_get(&api, "/v1/rankings/campaigns?by=issued&window=all"),
                answer.status == 200 && reads_is_from(&answer, source)),
               LONG_MS);
}

/* The query service says that a server is away. */
static void await_told(void)
{
    static const char text[] = "a server of the Redis Cluster";
    struct http_answer answer;
    WAIT_UNTIL((answer = api_get(&api, "/v1/status", NULL),
                answer.status == 200 && answer.body.len > 0 &&
                    memmem(answer.body.ptr, answer.body.len, text, strlen(text))),
               LONG_MS);
}

static void all_comes_from_redis(void **)
{
    issue(10);
    for (int node = 0; node < NODES_PRIMARIES; node++)
        for (int i = 0; i < 5; i++) {
            char user[32];
            snprintf(user, sizeof user, "reader-%d", i);
            api_give(&api, campaigns[node], user);
        }
    WAIT_UNTIL(current(), LONG_MS);
    for (int node = 0; node < NODES_PRIMARIES; node++)
        read_campaign(campaigns[node], "redis");
    read_list("redis");
    struct http_answer answer;
    WAIT_UNTIL((answer = reads_get(&api, "/v1/users/reader-3/coupons"),
                answer.status == 200 && reads_is_from(&answer, "redis")),
               LONG_MS);
    struct json_doc *doc = json_get_doc(answer.body);
    assert_int_equal(json_get_length(doc, "items"), NODES_PRIMARIES);
    json_destroy(doc);
    projector_assert_verify_clean(stack);
}

struct mover {
    pthread_t thread;
    const char *key;
    int from, to;
};

static void *move_slowly(void *context)
{
    const struct mover *mover = context;
    int slot = redis_slot(span_of(mover->key));
    nodes_move_begin(&nodes, slot, mover->from, mover->to);
    while (nodes_move_keys(&nodes, slot, mover->from, mover->to, 5) > 0)
        wait_moment();
    nodes_move_end(&nodes, slot, mover->from, mover->to);
    return NULL;
}

/* There and back, while coupons of that slice are issued and read. */
static void slots_move_while_it_works(void **)
{
    struct mover mover = {.key = root_of(campaign), .from = 0, .to = 1};
    for (int turn = 0; turn < 2; turn++) {
        assert_int_equal(pthread_create(&mover.thread, NULL, move_slowly, &mover), 0);
        issue(10);
        for (int i = 0; i < 10; i++)
            read_campaign(campaigns[2], "redis"); /* nobody's business */
        pthread_join(mover.thread, NULL);
        assert_int_equal(nodes_primary_of(&nodes, mover.to, root_of(campaign)), mover.to);
        issue(2);
        WAIT_UNTIL(current(), LONG_MS);
        mover.from = 1, mover.to = 0;
    }
    read_campaign(campaign, "redis");
    projector_assert_verify_clean(stack);
}

static int64_t generation_of(int node)
{
    return models_generation(&models, slice_of(span_of(campaigns[node])));
}

static void await_rebuild(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    WAIT_UNTIL(current(), LONG_MS);
}

/* A server that takes no writes for a while, which has the slice that would come first: the others' are made
 * meanwhile. */
static void servers_are_rebuilt_side_by_side(void **)
{
    char said[64];
    int status;
    int64_t before[NODES_PRIMARIES];
    for (int node = 0; node < NODES_PRIMARIES; node++)
        before[node] = generation_of(node);
    assert_int_equal(NODES_CALL(&nodes, 1, said, "CLIENT", "PAUSE", "600000", "WRITE"), REDIS_OK);
    pid_t pid = projector_spawn(stack, (const char *[]){"rebuild", "--json", NULL}, stderr);
    WAIT_UNTIL(generation_of(0) > before[0] && generation_of(2) > before[2], LONG_MS);
    assert_int_equal(generation_of(1), before[1]);
    assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
    assert_int_equal(NODES_CALL(&nodes, 1, said, "CLIENT", "UNPAUSE"), REDIS_OK);
    await_rebuild(pid);
    assert_true(generation_of(1) > before[1]);
    projector_assert_verify_clean(stack);
}

static void a_rebuild_while_it_works(void **)
{
    int64_t before = generation_of(0);
    pid_t pid = projector_spawn(stack, (const char *[]){"rebuild", "--json", NULL}, stderr);
    issue(5);
    await_rebuild(pid);
    assert_true(generation_of(0) > before);
    projector_assert_verify_clean(stack);
}

static void redeem_one(void)
{
    const char *coupon = api_coupon(&api, campaigns[0], "redeemer");
    api_expect(api_post(&api, textf("/v1/coupons/%s/redeem", coupon),
                        "{\"user_id\":\"redeemer\",\"order_id\":\"o-1\",\"order_amount\":9900}", NULL),
               200, NULL);
}

/* A server that is not told of a key cannot say that the key is on its way to another one. */
static void scripts_name_all_their_keys(void **)
{
    char path[512], port[16];
    snprintf(path, sizeof path, "%s/monitored", stack_directory(stack));
    snprintf(port, sizeof port, "%u", nodes.servers[0].url.server.port);
    pid_t pid = child_start(
        &(struct child_spec){.argv = (const char *[]){"/usr/bin/redis-cli", "-p", port, "MONITOR", NULL},
                             .environment = (const char *[]){"REDISCLI_AUTH=admin", NULL},
                             .output_path = path});
    WAIT_UNTIL(stack_tool(stack, (const char *[]){"grep", "-q", "^OK", path, NULL}) == 0, LONG_MS);
    redeem_one();
    issue(5);
    await_rebuild(projector_spawn(stack, (const char *[]){"rebuild", "--json", NULL}, stderr));
    child_stop(pid);
    assert_int_equal(stack_tool(stack, (const char *[]){"tests/more/lib/script_keys", path, "2", NULL}), 0);
}

/* Transactions that a server refused because of a key in them, as only verify has them. */
static int64_t aborted(int node)
{
    static const char label[] = "errorstat_EXECABORT:count=";
    char said[8192];
    assert_int_equal(NODES_CALL(&nodes, node, said, "INFO", "errorstats"), REDIS_OK);
    int64_t count = 0;
    const char *at = strstr(said, label);
    size_t len = at ? strcspn(at + strlen(label), "\r\n") : 0;
    if (at)
        assert_true(parse_i64((struct span){at + strlen(label), len}, 0, INT64_MAX, &count));
    return count;
}

/* Keys that cannot be read together now are waited for: nothing is wrong with them. */
static void verify_waits_for_a_slot_on_its_way(void **)
{
    char slice[8];
    snprintf(slice, sizeof slice, "%d", slice_of(span_of(campaign)));
    int slot = redis_slot(span_of(root_of(campaign))), status;
    int64_t before = aborted(0);
    nodes_move_begin(&nodes, slot, 0, 1);
    assert_int_equal(nodes_move_keys(&nodes, slot, 0, 1, 3), 3);
    pid_t pid = projector_spawn(stack, (const char *[]){"verify", "--slice", slice, NULL}, stderr);
    WAIT_UNTIL(aborted(0) > before + 1, LONG_MS); /* it has tried again */
    while (nodes_move_keys(&nodes, slot, 1, 0, 10) > 0)
        continue;
    nodes_move_end(&nodes, slot, 1, 0); /* back, which is the quickest */
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    WAIT_UNTIL(current(), LONG_MS);
}

static void a_server_that_is_frozen_costs_its_slices(void **)
{
    nodes_freeze(&nodes, 1);
    read_promptly(campaigns[1], 10);
    read_campaign(campaigns[1], "postgres");
    read_list("postgres"); /* all slices, one of them is away */
    await_told();
    WAIT_UNTIL(projector_metric(stack, "coupon_projector_redis_servers_away") == 1, LONG_MS);
    issue(5); /* to a slice of another server: followed, read */
    read_campaign(campaign, "redis");
    read_campaign(campaigns[2], "redis");
    WAIT_UNTIL(projector_ready_status(stack) == 503, LONG_MS);
    nodes_thaw(&nodes, 1);
    read_campaign(campaigns[1], "redis");
    read_list("redis");
    WAIT_UNTIL(projector_metric(stack, "coupon_projector_redis_servers_away") == 0, LONG_MS);
    WAIT_UNTIL(projector_ready_status(stack) == 200, LONG_MS);
}

/* As a reader asks for it that missed a key. */
static void repair_slice_of(int node)
{
    int16_t slice = slice_of(span_of(campaigns[node]));
    struct buf key;
    char text[24];
    int64_t before = generation_of(node);
    snprintf(text, sizeof text, "%lld", (long long)before);
    buf_init(&key, KEY_TEXT_MAX);
    key_hole(&key, slice);
    assert_int_equal(nodes_primary_of(&nodes, 0, "fc:generations"), 0); /* not on the one that denies */
    (void)MODELS_CALL(&models, "SET", key.data, text);
    buf_deinit(&key);
    WAIT_UNTIL(generation_of(node) > before, LONG_MS);
}

/* Rights that one server does not give: its slices come from PostgreSQL, and no others; those of the others
 * are repaired. */
static void a_server_that_denies_costs_its_slices(void **)
{
    char said[64];
    assert_int_equal(nodes_denials(&nodes), 0);
    assert_int_equal(NODES_CALL(&nodes, 2, said, "ACL", "SETUSER", "services", "-pttl", "-hmget"), REDIS_OK);
    read_campaign(campaigns[2], "postgres");
    await_told();
    read_campaign(campaigns[1], "redis");
    repair_slice_of(0);
    assert_int_equal(NODES_CALL(&nodes, 2, said, "ACL", "SETUSER", "services", "+pttl", "+hmget"), REDIS_OK);
    read_list("redis");
    WAIT_UNTIL(projector_ready_status(stack) == 200, LONG_MS);
    assert_true(nodes_denials(&nodes) > 0);
    assert_int_equal(NODES_CALL(&nodes, 2, said, "ACL", "LOG", "RESET"), REDIS_OK);
}

/* A key that is lost is found by its reader and made anew, on whatever server. */
static void a_hole_is_repaired(void **)
{
    for (int node = 0; node < NODES_PRIMARIES; node++) {
        int16_t slice = slice_of(span_of(campaigns[node]));
        int64_t before = models_generation(&models, slice);
        assert_int_equal(redis_integer(MODELS_CALL(&models, "DEL", models_key(&models, slice, "cs"))), 1);
        struct http_answer answer;
        WAIT_UNTIL((answer = reads_get(&api, "/v1/campaigns?limit=5"),
                    answer.status == 200 && models_generation(&models, slice) > before),
                   LONG_MS);
    }
    WAIT_UNTIL(current(), LONG_MS);
    projector_assert_verify_clean(stack);
}

static int64_t position_at(int node)
{
    char text[64];
    int64_t position = 0;
    assert_int_equal(NODES_CALL(&nodes, node, text, "HGET", root_of(campaign), "pos"), REDIS_OK);
    if (*text)
        assert_true(parse_i64(span_of(text), 0, INT64_MAX, &position));
    return position;
}

/* The replica misses what is written now: it is frozen and its link is cut. */
static void cut_off_replica(int primary, int replica)
{
    char said[64];
    WAIT_UNTIL(NODES_CALL(&nodes, primary, said, "WAIT", "1", "500") == REDIS_OK && strcmp(said, "1") == 0,
               LONG_MS);
    redis_server_signal(&nodes.servers[replica], SIGSTOP);
    assert_int_equal(NODES_CALL(&nodes, primary, said, "CLIENT", "KILL", "TYPE", "replica"), REDIS_OK);
}

/* The checkpoint goes back with the models that it is of, and is gone on from. */
static void a_primary_that_dies_with_the_last_writes(void **)
{
    enum { OLD = 0, NEW = NODES_PRIMARIES };
    issue(5);
    WAIT_UNTIL(current(), LONG_MS);
    cut_off_replica(OLD, NEW);
    issue(5);
    WAIT_UNTIL(current(), LONG_MS);
    int64_t position = models_checkpoint(&models, slice_of(span_of(campaign)), "pos");
    stack_signal(stack, "projector", SIGSTOP); /* so that what the replica has can be looked at */
    assert_int_equal(nodes_denials(&nodes), 0);
    redis_server_kill(&nodes.servers[OLD]);
    redis_server_signal(&nodes.servers[NEW], SIGCONT);
    WAIT_UNTIL(strcmp(nodes_role(&nodes, NEW), "master") == 0, LONG_MS);
    assert_true(position_at(NEW) < position);
    stack_signal(stack, "projector", SIGCONT);
    issue(5);
    WAIT_UNTIL(current(), LONG_MS);
    WAIT_UNTIL(projector_metric(stack, "coupon_projector_redis_primary_changes_total") == 1, LONG_MS);
    read_campaign(campaign, "redis");
    projector_assert_verify_clean(stack);
}

static void services_start_without_one_that_is_named(void **)
{
    stack_service(stack, "projector", "kill");
    stack_service(stack, "projector", "start");
    reads_restart_service(&api);
    read_campaign(campaign, "redis");
    struct buf said;
    buf_init(&said, 65536);
    assert_int_equal(PROJECTOR_RUN(stack, &said, "status"), 0);
    for (int node = 1; node <= NODES_PRIMARIES; node++) {
        char name[40];
        snprintf(name, sizeof name, "127.0.0.1:%u\n", nodes.servers[node].url.server.port);
        if (!strstr(said.data, name))
            fail_msg("no slice of %s in: %s", name, said.data);
    }
    buf_deinit(&said);
}

static void the_reader_saw_only_what_was_true(void **)
{
    watch_await_redis(&watch);
    watch_stop(&watch, true); /* Redis and PostgreSQL take turns, and Redis may be a moment behind */
    assert_true(watch.from_redis > 0 && watch.from_redis < watch.answers);
}

/* What the doctor finds, as lines of JSON; the caller frees it. */
static void ask_doctor(struct buf *ret)
{
    static const char *const names[] = {"COMMAND_URL", "QUERY_URL",  "PROJECTOR_URL",
                                        "ADMIN_TOKEN", "READ_TOKEN", "DATABASE_URL"};
    char url[NODES_URL_MAX], piece[4096], path[512];
    nodes_admin_url(&nodes, url, sizeof url);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        setenv(names[i], stack_env(stack, names[i]), 1);
    setenv("REDIS_URL", url, 1);
    snprintf(path, sizeof path, "%s/doctor", stack_directory(stack));
    (void)stack_tool(stack, (const char *[]){"sh", "-c", "exec tools/doctor --json >\"$0\"", path, NULL});
    FILE *doctor = fopen(path, "re"); /* it finds much: these servers are small and keep nothing */
    assert_non_null(doctor);
    buf_clear(ret);
    for (size_t len; (len = fread(piece, 1, sizeof piece, doctor)) > 0;)
        buf_append(ret, piece, len);
    (void)fclose(doctor);
    unsetenv("REDIS_URL");
}

static void the_doctor_looks_at_each_server(void **)
{
    struct buf found;
    char named[64];
    buf_init(&found, 1 << 20);
    ask_doctor(&found);
    for (int node = 0; node < NODES_PRIMARIES; node++) {
        snprintf(named, sizeof named, "127.0.0.1:%u: maxmemory is 0", nodes.servers[node].url.server.port);
        if (!strstr(found.data, named))
            fail_msg("nothing of %s in: %s", named, found.data);
    }
    if (strstr(found.data, "\"cluster."))
        fail_msg("all is well with the cluster, and it says: %s", found.data);
    redis_server_kill(&nodes.servers[1 + NODES_PRIMARIES]);
    WAIT_UNTIL((ask_doctor(&found),
                strstr(found.data, "\"cluster.replicas\"") && strstr(found.data, "\"cluster.failed\"")),
               LONG_MS);
    buf_deinit(&found);
}

static void nothing_was_denied(void **)
{
    assert_int_equal(nodes_denials(&nodes), 0);
}

/* --- the group --- */

/* A campaign with its slice on that server; valid until the next call. That of primary 1 comes before those
 * of the others. */
static const char *campaign_on(int node)
{
    for (;;) {
        const char *id = api_campaign(&api, 1000000, "");
        int16_t slice = slice_of(span_of(id));
        if (nodes_primary_of(&nodes, 0, root_of(id)) == node && (slice <= 2) == (node == 1))
            return id;
    }
}

static void make_campaigns(void)
{
    for (int node = 0; node < NODES_PRIMARIES; node++)
        snprintf(campaigns[node], sizeof campaigns[node], "%s", campaign_on(node));
    snprintf(campaign, sizeof campaign, "%s", campaign_on(0));
}

static int set_up(void **)
{
    crypto_setup();
    pace_start();
    stack = stack_start(STACK_SERVERS);
    nodes_start(&nodes, stack);
    setenv("SERVICES_REDIS_URL", nodes.url, 1);
    setenv("FIRSTCOME_CACHE_BYTES", "0", 1); /* the readers are to see Redis and PostgreSQL */
    stack_service(stack, "projector", "start");
    stack_service(stack, "command-service", "start");
    stack_service(stack, "query-service", "start");
    models_open(&models, stack);
    redis_destroy(models.redis);
    models.redis = redis_kit_create(nodes.url);
    api_open(&api, stack);
    make_campaigns();
    watch_start(&watch, stack, campaign, 0);
    return 0;
}

static int tear_down(void **)
{
    api_close(&api);
    models_close(&models);
    stack_stop(stack);
    nodes_stop(&nodes);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_comes_from_redis),
        cmocka_unit_test(slots_move_while_it_works),
        cmocka_unit_test(verify_waits_for_a_slot_on_its_way),
        cmocka_unit_test(scripts_name_all_their_keys),
        cmocka_unit_test(a_rebuild_while_it_works),
        cmocka_unit_test(servers_are_rebuilt_side_by_side),
        cmocka_unit_test(a_hole_is_repaired),
        cmocka_unit_test(a_server_that_is_frozen_costs_its_slices),
        cmocka_unit_test(a_server_that_denies_costs_its_slices),
        cmocka_unit_test(the_doctor_looks_at_each_server),
        cmocka_unit_test(a_primary_that_dies_with_the_last_writes),
        cmocka_unit_test(the_reader_saw_only_what_was_true),
        cmocka_unit_test(services_start_without_one_that_is_named),
        cmocka_unit_test(nothing_was_denied),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
