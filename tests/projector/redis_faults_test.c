/* SPDX-License-Identifier: Apache-2.0 */
/* A Redis of its own that is full, evicts, is emptied, loses keys, cannot write its disk, is killed, stopped,
 * loads, or is no primary. The projector stops, counts the class, and goes on by itself; a reader that goes
 * on all the while is always answered, with nothing older than the stale limit (tests/lib/watch.h); and each
 * test ends with a clean `projector verify` (I7). */
#include <sys/wait.h>

#include "events/ids.h"
#include "readmodel/coupon_chunk.h"
#include "readmodel/keys.h"
#include "readmodel/users.h"
#include "tests/lib/projector.h"
#include "tests/lib/reads.h"
#include "tests/lib/redis_kit.h"
#include "tests/lib/small_redis.h"
#include "tests/lib/store.h"
#include "tests/lib/wait.h"
#include "tests/lib/watch.h"

enum {
    LONG_MS = 120000,
    LOADS_MS = 300000, /* of a Redis that begins with SLOW_COMMANDS */
    OUTPUT_MAX = 256 * 1024,
    SLOW_COMMANDS = 20000
};

static struct stack *stack;
static struct models models; /* only what reads Redis; the log is written through the API */
static struct api_client api;
static struct watch watch;
static struct small_redis redis;

/* --- the Redis of this test --- */

/* It is there and has loaded what it had. */
static bool redis_answers(void)
{
    const struct redis_reply *reply;
    int64_t deadline_us = clock_deadline_us(1000);
    if (!redis_connected(models.redis) && redis_connect(models.redis, deadline_us) != REDIS_OK)
        return false;
    REDIS_SEND(models.redis, "GET", "fc:{0}:heartbeat");
    return redis_receive(models.redis, deadline_us, &reply) == REDIS_OK;
}

static void redis_kill(void)
{
    small_redis_kill(&redis);
    redis_disconnect(models.redis);
}

static void redis_begin(void)
{
    small_redis_again(&redis);
    redis_disconnect(models.redis);
}

static int64_t metric(const char *name)
{
    return projector_metric(stack, name);
}

static int64_t errors(const char *class)
{
    return metric(textf("coupon_projector_redis_errors_total{class=\"%s\"}", class));
}

static void issue(int batches)
{
    watch_issue(&watch, &api, batches);
}

/* Goes on issuing until the projector has met this class once more. */
static void issue_until_met(const char *class)
{
    int64_t before = errors(class);
    for (int i = 0; i < 100 && errors(class) <= before; i++)
        issue(1);
    WAIT_UNTIL(errors(class) > before, LONG_MS);
}

/* --- around each fault --- */

static int begin(void **)
{
    char campaign[96];
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 1000000, ""));
    watch_start(&watch, stack, campaign, 0);
    issue(2);
    models_await_current(&models);
    watch_await_redis(&watch);
    return 0;
}

/* It has recovered by itself, and one more batch reaches the models. */
static void end(void)
{
    WAIT_UNTIL(redis_answers(), LOADS_MS);
    issue(1);
    models_await_current(&models);
    projector_assert_verify_clean(stack);
    watch_await_redis(&watch);
    watch_stop(&watch, false);
}

/* --- tests --- */

/* Nor where a campaign was deleted, which leaves nothing: readers of everything report no hole. */
static void nothing_is_missed_where_nothing_vanished(void **)
{
    char path[128];
    snprintf(path, sizeof path, "/v1/campaigns/%s", api_campaign(&api, 10, ""));
    struct http_answer answer = api_call(
        &api,
        &(struct http_call){.method = "DELETE", .path = path, .token = stack_env(stack, "ADMIN_TOKEN")});
    assert_in_range(answer.status, 200, 204);
    models_await_current(&models);
    answer = api_get(&api, path, NULL);
    assert_int_equal(answer.status, 404);
    api_expect(api_get(&api, "/v1/users/nobody/coupons", NULL), 200, NULL);
    api_expect(api_get(&api, "/v1/rankings/campaigns?window=7d", NULL), 200, NULL);
    assert_int_equal(metric("coupon_projector_restarts_total"), 0);
    end();
}

static void full_without_eviction(void **)
{
    MODELS_CALL(&models, "CONFIG", "SET", "maxmemory-policy", "noeviction");
    MODELS_CALL(&models, "CONFIG", "SET", "maxmemory", "1");
    issue_until_met("oom");
    WAIT_UNTIL(projector_metric(stack, "coupon_projector_redis_memory_limit_bytes") == 1, LONG_MS);
    assert_true(projector_metric(stack, "coupon_projector_redis_memory_used_bytes") > 1);
    MODELS_CALL(&models, "CONFIG", "SET", "maxmemory", "0");
    end();
}

/* Whatever vanished, each answer is right; and what readers met is made anew, so that Redis answers them. */
static void read_everything(struct reads *reads)
{
    reads_init(reads, &api);
    reads_record_pages(reads, "/v1/campaigns?limit=50");
    reads_record(reads, "/v1/rankings/campaigns?limit=100");
    reads_record(reads, "/v1/rankings/campaigns?limit=100&window=24h");
    reads_record(reads, "/v1/users/u-1/coupons?limit=100");
    reads_record(reads, textf("%s/coupons?limit=100", watch.path));
}

static bool all_from_redis(struct reads *reads)
{
    for (size_t i = 0; i < reads->count; i++) {
        struct http_answer answer = api_get(&api, reads->records[i].path, NULL);
        if (answer.status != 200 || !reads_is_from(&answer, "redis"))
            return false;
    }
    return true;
}

static void assert_repaired(struct reads *reads)
{
    WAIT_UNTIL(redis_answers(), LONG_MS);
    reads_compare(reads, NULL, LONG_MS);
    WAIT_UNTIL(all_from_redis(reads), LONG_MS);
    reads_compare(reads, NULL, LONG_MS);
    reads_deinit(reads);
    struct buf said;
    buf_init(&said, OUTPUT_MAX);
    assert_int_equal(PROJECTOR_RUN(stack, &said, "rebuild"), 0); /* also what no reader met */
    buf_deinit(&said);
}

/* A Redis that may drop models is none that the projector is ready with. It drops whatever it likes for a
 * while; no answer is wrong. */
static void full_with_eviction(void **)
{
    struct reads reads;
    issue(10);
    models_await_current(&models);
    watch_stop(&watch, false);
    read_everything(&reads);
    MODELS_CALL(&models, "CONFIG", "SET", "maxmemory-policy", "allkeys-random");
    MODELS_CALL(&models, "CONFIG", "SET", "maxmemory",
                textf("%lld", (long long)models_info(&models, "used_memory") - 20000));
    WAIT_UNTIL(projector_ready_status(stack) == 503, LONG_MS);
    WAIT_UNTIL(models_info(&models, "evicted_keys") > 5, LONG_MS);
    reads_compare(&reads, NULL, LONG_MS);
    MODELS_CALL(&models, "CONFIG", "SET", "maxmemory", "0");
    MODELS_CALL(&models, "CONFIG", "SET", "maxmemory-policy", "noeviction");
    assert_repaired(&reads);
    WAIT_UNTIL(projector_ready_status(stack) == 200, LONG_MS);
    models_await_current(&models);
    projector_assert_verify_clean(stack);
}

static void emptied_again_and_again(void **)
{
    for (int i = 0; i < 5; i++) {
        issue(4);
        MODELS_CALL(&models, "FLUSHALL");
    }
    end();
}

/* Half of the keys that match. */
static void drop_half(const char *pattern)
{
    MODELS_CALL(&models, "EVAL",
                "local keys = redis.call('KEYS', ARGV[1]) "
                "for i = 1, #keys do if math.random(2) == 1 then redis.call('UNLINK', keys[i]) end end "
                "return #keys",
                "0", pattern);
}

static void half_of_all_keys_vanish_again_and_again(void **)
{
    struct reads reads;
    for (int round = 0; round < 5; round++) {
        issue(2);
        drop_half("fc:*");
        issue(2);
    }
    models_await_current(&models);
    WAIT_UNTIL(redis_answers(), LONG_MS);
    watch_stop(&watch, false);
    MODELS_CALL(&models, "FLUSHALL");
    models_await_current(&models);
    read_everything(&reads);
    drop_half("fc:*}:[chpu]:*");
    assert_repaired(&reads);
    models_await_current(&models);
    projector_assert_verify_clean(stack);
}

/* A campaign in a slice of its own, with a coupon that was redeemed. */
struct victim {
    char id[64], chunk[24], bucket[24]; /* the bucket: of who has none */
    int16_t slice;
};

static void give_a_redeemed_coupon(struct victim *victim)
{
    struct position at;
    struct http_answer answer = api_expect(api_issue(&api, victim->id, "somebody"), 201, NULL);
    assert_true(coupon_id_parse(body_text(answer.body, "coupon_id"), &at));
    snprintf(victim->chunk, sizeof victim->chunk, "%lld", (long long)(at.position / COUPON_CHUNK));
    api_expect(api_post(&api, textf("/v1/coupons/c%d-%lld/redeem", at.slice, (long long)at.position),
                        "{\"user_id\":\"somebody\",\"order_id\":\"o\",\"order_amount\":1000}", NULL),
               200, NULL);
}

static void write_victims(struct victim *victims, size_t count)
{
    unsigned taken = 0;
    for (size_t i = 0; i < count;) {
        struct victim *victim = &victims[i];
        snprintf(victim->id, sizeof victim->id, "%s", api_campaign(&api, 10, ""));
        victim->slice = slice_of(span_of(victim->id));
        if (taken >> victim->slice & 1)
            continue;
        taken |= 1U << victim->slice;
        give_a_redeemed_coupon(victim);
        i++;
    }
    models_await_current(&models);
    for (size_t i = 0; i < count; i++)
        snprintf(victims[i].bucket, sizeof victims[i].bucket, "%lld",
                 (long long)users_bucket(user_hash(SPAN("nobody")),
                                         models_checkpoint(&models, victims[i].slice, "buckets")));
}

/* Kinds of keys of a slice, each with what a victim is called there. */
enum victim_part { PART_NONE, PART_ID, PART_CHUNK, PART_BUCKET };
static const struct {
    const char *before;
    enum victim_part part;
    const char *after;
    bool string;
} key_kinds[] = {
    {"c:", PART_ID, "", true},          {"cs", PART_NONE, "", false},       {"p:", PART_CHUNK, "", true},
    {"s:", PART_CHUNK, "", false},      {"h:", PART_ID, ":0", true},        {"u:", PART_BUCKET, "", true},
    {"r:issued", PART_NONE, "", false}, {"a:issued", PART_NONE, "", false},
};

/* Each victim loses a key of another kind; or has one of another type there, which is not what the projector
 * wrote.
 */
static void lose_one_each(const struct victim *victims, bool another_type)
{
    for (size_t i = 0; i < COUNT_OF(key_kinds); i++) {
        const struct victim *victim = &victims[i];
        const char *parts[] = {"", victim->id, victim->chunk, victim->bucket};
        char rest[96];
        snprintf(rest, sizeof rest, "%s%s%s", key_kinds[i].before, parts[key_kinds[i].part],
                 key_kinds[i].after);
        const char *key = models_key(&models, victim->slice, rest);
        assert_int_equal(redis_integer(MODELS_CALL(&models, "DEL", key)), 1);
        if (another_type && key_kinds[i].string)
            MODELS_CALL(&models, "HSET", key, "another", "type");
        else if (another_type)
            MODELS_CALL(&models, "SET", key, "another type");
    }
}

static void record_victim(struct reads *reads, const char *id, const char *rest)
{
    reads_record(reads, textf("/v1/campaigns/%s%s", id, rest));
}

/* No event comes by that would meet it: the reader does, whichever key it is, and that is all it takes. */
static void what_only_a_reader_meets_is_made_anew(void **)
{
    struct victim victims[COUNT_OF(key_kinds)];
    struct reads reads;
    watch_stop(&watch, false);
    write_victims(victims, COUNT_OF(victims));
    reads_init(&reads, &api);
    for (size_t i = 0; i < COUNT_OF(victims); i++) {
        record_victim(&reads, victims[i].id, "");
        record_victim(&reads, victims[i].id, "/coupons?limit=100");
    }
    reads_record_pages(&reads, "/v1/campaigns?limit=50");
    reads_record(&reads, "/v1/rankings/campaigns?limit=100");
    reads_record(&reads, "/v1/rankings/campaigns?limit=100&window=24h");
    reads_record(&reads, "/v1/users/nobody/coupons?limit=100");
    for (int another_type = 0; another_type < 2; another_type++) {
        lose_one_each(victims, another_type);
        reads_compare(&reads, NULL, LONG_MS);
        WAIT_UNTIL(all_from_redis(&reads), LONG_MS);
        reads_compare(&reads, NULL, LONG_MS);
        projector_assert_verify_clean(stack);
    }
    reads_deinit(&reads);
}

/* Whoever asks how things are changes nothing: what is wrong is still there to be looked at. */
static void status_only_reads(void)
{
    struct buf text;
    stack_signal(stack, "projector", SIGSTOP);
    MODELS_CALL(&models, "SET", "fc:{1}", "another type");
    buf_init(&text, 1 << 16);
    assert_int_equal(PROJECTOR_RUN(stack, &text, "status"), 0);
    buf_deinit(&text);
    assert_true(span_is(redis_text(MODELS_CALL(&models, "TYPE", "fc:{1}")), "string"));
    stack_signal(stack, "projector", SIGCONT);
}

/* A key that says which models are there is of another type: it is removed, and what it said made anew. */
static void roots_of_another_type_are_made_anew(void **)
{
    struct reads reads;
    issue(2);
    models_await_current(&models);
    watch_stop(&watch, false);
    read_everything(&reads);
    status_only_reads();
    for (int slice = 0; slice < SLICE_COUNT; slice += 5) {
        MODELS_CALL(&models, "SET", textf("fc:{%d}", slice), "another type");
    }
    MODELS_CALL(&models, "HSET", "fc:{1}:hole", "another", "type");
    MODELS_CALL(&models, "SET", "fc:generations", "another type");
    reads_compare(&reads, NULL, LONG_MS);
    assert_repaired(&reads);
    models_await_current(&models);
    projector_assert_verify_clean(stack);
}

/* Somebody's SET waits in Redis for being let through. */
static bool a_write_waits(void)
{
    struct span clients = redis_text(MODELS_CALL(&models, "CLIENT", "LIST"));
    while (clients.ptr && clients.len > 0) {
        struct span line = span_cut(&clients, '\n');
        if (memmem(line.ptr, line.len, " cmd=set ", 9) && memmem(line.ptr, line.len, " flags=b ", 9))
            return true;
    }
    return false;
}

static int64_t redis_now_ms(void)
{
    int64_t seconds;
    assert_true(
        parse_i64(redis_text(redis_at(MODELS_CALL(&models, "TIME"), 0)), 0, INT64_MAX / 1000, &seconds));
    return seconds * 1000;
}

/* Between asking for the heads of the log and Redis' doing what the projector then says, the projector stands
 * still and the log goes on: what it says must not make readers trust models that nobody has compared for so
 * long. */
static void a_projector_that_stood_still_promises_nothing(void **)
{
    for (bool caught = false; !caught;) { /* it waits a second for Redis, then it connects again */
        MODELS_CALL(&models, "CLIENT", "PAUSE", "60000", "WRITE");
        WAIT_UNTIL(a_write_waits(), LONG_MS);
        stack_signal(stack, "projector", SIGSTOP);
        caught = a_write_waits();
        if (!caught)
            stack_signal(stack, "projector", SIGCONT);
    }
    int64_t stopped_ms = redis_now_ms();
    issue(2);
    WAIT_UNTIL(redis_now_ms() > stopped_ms + SEEN_MS, LONG_MS);
    MODELS_CALL(&models, "CLIENT", "UNPAUSE");
    WAIT_UNTIL(!a_write_waits(), LONG_MS);
    int64_t ago_ms = SEEN_KEPT_MS - redis_integer(MODELS_CALL(&models, "PTTL", "fc:{0}:heartbeat"));
    stack_signal(stack, "projector", SIGCONT); /* first, or the tests after this one find nobody working */
    assert_true(ago_ms >= SEEN_MS);
    end();
}

static void killed_and_started_again(void **)
{
    issue(5);
    redis_kill();
    issue_until_met("io");
    redis_begin();
    end();
}

static void stopped_and_going_on(void **)
{
    issue(5);
    assert_int_equal(kill(redis.pid, SIGSTOP), 0);
    issue_until_met("io");
    issue(5);
    assert_int_equal(kill(redis.pid, SIGCONT), 0);
    end();
}

/* So many commands that it has to do again, each of a fraction of a millisecond, at the end of its
 * append-only file. */
static void write_slow_commands(void)
{
    static const char loop[] = "for i = 1, 10000 do end", rest[] = "*3\r\n$4\r\nEVAL\r\n";
    char path[640];
    snprintf(path, sizeof path, "%s/appendonlydir/appendonly.aof.1.incr.aof", redis.disk);
    FILE *file = fopen(path, "ae");
    assert_non_null(file);
    for (int i = 0; i < SLOW_COMMANDS; i++)
        fprintf(file, "%s$%zu\r\n%s\r\n$1\r\n0\r\n", rest, sizeof loop - 1, loop);
    assert_int_equal(fclose(file), 0);
}

static void loading(void **)
{
    redis_kill(); /* first: two who append to one file tear each other's commands */
    write_slow_commands();
    redis_begin();
    issue_until_met("loading");
    end();
}

/* The disk of the append-only file is full: every write is refused with MISCONF, and PING too. */
static void full_disk(void **)
{
    small_redis_fill_disk(&redis);
    MODELS_CALL(&models, "CONFIG", "SET", "appendfsync", "everysec"); /* with `always` Redis ends itself */
    issue_until_met("misconf");
    WAIT_UNTIL(projector_metric(stack, "coupon_projector_redis_cannot_persist") == 1, LONG_MS);
    small_redis_free_disk(&redis);
    redis_disconnect(models.redis);
    end();
    WAIT_UNTIL(projector_metric(stack, "coupon_projector_redis_cannot_persist") == 0, LONG_MS);
}

static void a_replica_is_not_written_to(void **)
{
    MODELS_CALL(&models, "REPLICAOF", "127.0.0.1", "1");
    issue_until_met("readonly");
    MODELS_CALL(&models, "REPLICAOF", "NO", "ONE");
    end();
}

static int set_up(void **)
{
    stack = stack_start(STACK_SERVERS);
    small_redis_start(&redis, stack, "always");
    setenv("SERVICES_REDIS_URL", redis.url, 1);
    setenv("FIRSTCOME_CACHE_BYTES", "0", 1);        /* the reader is to see Redis and PostgreSQL, no copies */
    setenv("FIRSTCOME_REDIS_TIMEOUT_MS", "500", 1); /* however busy the machine is */
    models_open(&models, stack);
    redis_kit_models_at(&models, redis.url);
    WAIT_UNTIL(redis_answers(), LONG_MS);
    stack_service(stack, "projector", "start");
    stack_service(stack, "command-service", "start");
    stack_service(stack, "query-service", "start");
    api_open(&api, stack);
    return 0;
}

static int tear_down(void **)
{
    small_redis_stop(&redis);
    api_close(&api);
    models_close(&models);
    stack_stop(stack);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nothing_is_missed_where_nothing_vanished, begin),
        cmocka_unit_test_setup(full_without_eviction, begin),
        cmocka_unit_test_setup(full_with_eviction, begin),
        cmocka_unit_test_setup(emptied_again_and_again, begin),
        cmocka_unit_test_setup(half_of_all_keys_vanish_again_and_again, begin),
        cmocka_unit_test_setup(what_only_a_reader_meets_is_made_anew, begin),
        cmocka_unit_test_setup(roots_of_another_type_are_made_anew, begin),
        cmocka_unit_test_setup(a_projector_that_stood_still_promises_nothing, begin),
        cmocka_unit_test_setup(killed_and_started_again, begin),
        cmocka_unit_test_setup(stopped_and_going_on, begin),
        cmocka_unit_test_setup(loading, begin),
        cmocka_unit_test_setup(a_replica_is_not_written_to, begin),
        cmocka_unit_test_setup(full_disk, begin),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
