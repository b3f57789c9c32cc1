/* SPDX-License-Identifier: Apache-2.0 */
/* The projector against a Redis of its own that is full, evicts, cannot write its disk, loads, or is no
 * primary: it stops, counts the class, and goes on by itself; each test ends with every key compared with a
 * replay (I7). */
#include <limits.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/crypto.h"
#include "events/keys.h"
#include "tests/lib/models.h"
#include "tests/lib/projector.h"
#include "tests/lib/wait.h"

extern char **environ;

enum { LONG_MS = 60000, REDIS_OFFSET = 14, OUTPUT_MAX = 256 * 1024 };

static struct stack *stack;
static struct models models;
static pid_t redis_pid;
static char directory[512], url[64];

/* --- the Redis of this test --- */

/* On a disk of 24 MB, in a mount namespace of its own. */
static void redis_begin(void)
{
    char script[4096];
    snprintf(script, sizeof script,
             "mountpoint -q '%s' || mount -t tmpfs -o size=24m tmpfs '%s' && exec setpriv --pdeathsig KILL "
             "redis-server "
             "--port %d --bind 127.0.0.1 --dir '%s' --logfile '%s.log' --save '' --appendonly yes "
             "--appendfsync always --auto-aof-rewrite-percentage 0",
             directory, directory, stack_port_base(stack) + REDIS_OFFSET, directory, directory);
    const char *const argv[] = {"unshare", "--map-root-user", "--mount", "sh", "-c", script, NULL};
    assert_int_equal(posix_spawnp(&redis_pid, argv[0], NULL, NULL, (char *const *)argv, environ), 0);
    redis_disconnect(models.redis);
}

static bool redis_answers(void)
{
    return redis_connected(models.redis) || redis_connect(models.redis, clock_deadline_us(1000)) == REDIS_OK;
}

static void redis_kill(void)
{
    int status;
    assert_int_equal(kill(redis_pid, SIGKILL), 0);
    assert_int_equal(waitpid(redis_pid, &status, 0), redis_pid);
    redis_disconnect(models.redis);
}

static int64_t metric(const char *name)
{
    return projector_metric(stack, name);
}

/* Goes on issuing until the projector has met this class once more. */
static void issue_until_met(size_t campaign, const char *class)
{
    char name[96];
    snprintf(name, sizeof name, "coupon_projector_redis_errors_total{class=\"%s\"}", class);
    int64_t before = metric(name);
    for (int i = 0; i < 200 && metric(name) <= before; i++)
        models_issue(&models, campaign, 100);
    WAIT_UNTIL(metric(name) > before, LONG_MS);
}

static void assert_equal_in_the_end(void)
{
    WAIT_UNTIL(redis_answers(), LONG_MS);
    models_assert_equal_the_log(&models);
}

/* A number of INFO. */
static int64_t info(const char *wanted)
{
    int64_t value = -1;
    struct span rest = redis_text(MODELS_CALL(&models, "INFO"));
    while (rest.ptr && rest.len > 0) {
        struct span line = span_cut(&rest, '\n');
        struct span name = span_cut(&line, ':'), number = span_cut(&line, '\r');
        if (span_is(name, wanted))
            assert_true(parse_i64(number, 0, INT64_MAX, &value));
    }
    return value;
}

/* --- tests --- */

static void full_without_eviction(void **state)
{
    (void)state;
    size_t campaign = models_create(&models);
    MODELS_CALL(&models, "CONFIG", "SET", "maxmemory-policy", "noeviction");
    MODELS_CALL(&models, "CONFIG", "SET", "maxmemory", "1");
    issue_until_met(campaign, "oom");
    MODELS_CALL(&models, "CONFIG", "SET", "maxmemory", "0");
    assert_equal_in_the_end();
}

/* Redis drops whatever it likes while the projector writes; what it builds on is missed at once and made
 * anew. */
static void full_with_eviction(void **state)
{
    (void)state;
    size_t campaign = models_create(&models);
    for (int i = 0; i < 10; i++)
        models_issue(&models, campaign, 200);
    models_await_current(&models);
    int64_t holes = metric("coupon_projector_refused_total{reason=\"hole\"}");
    MODELS_CALL(&models, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    char limit[32];
    snprintf(limit, sizeof limit, "%lld", (long long)info("used_memory") + 100000);
    MODELS_CALL(&models, "CONFIG", "SET", "maxmemory", limit);
    for (int i = 0; i < 100 && metric("coupon_projector_refused_total{reason=\"hole\"}") == holes; i++)
        models_issue(&models, campaign, 100);
    WAIT_UNTIL(metric("coupon_projector_refused_total{reason=\"hole\"}") > holes, LONG_MS);
    MODELS_CALL(&models, "CONFIG", "SET", "maxmemory", "0");
    MODELS_CALL(&models, "FLUSHALL"); /* keys nobody builds on stay away until a rebuild or this */
    assert_equal_in_the_end();
}

/* What nothing builds on is not missed by the projector: readers ask PostgreSQL for it until a rebuild. */
static void half_of_all_keys_vanish_again_and_again(void **state)
{
    (void)state;
    struct buf said;
    size_t campaign = models_create(&models);
    buf_init(&said, OUTPUT_MAX);
    for (int round = 0; round < 5; round++) {
        models_issue(&models, campaign, 300);
        MODELS_CALL(
            &models, "EVAL",
            "local keys, n = redis.call('KEYS', 'fc:*'), 0 "
            "for i = 1, #keys do if math.random(2) == 1 then n = n + redis.call('UNLINK', keys[i]) end end "
            "return n",
            "0");
        models_issue(&models, campaign, 300);
    }
    models_await_current(&models);
    if (PROJECTOR_RUN(stack, &said, "rebuild", "--json") != 0)
        fail_msg("%s", said.data);
    buf_deinit(&said);
    assert_equal_in_the_end();
}

/* The disk of the append-only file is full: every write is refused with MISCONF, and PING too. */
static void full_disk(void **state)
{
    (void)state;
    char path[640], block[65536] = {1};
    size_t campaign = models_create(&models);
    models_await_current(&models);
    snprintf(path, sizeof path, "/proc/%d/root%s/ballast", (int)redis_pid, directory);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    setvbuf(file, NULL, _IONBF, 0);
    while (fwrite(block, 1, sizeof block, file) == sizeof block)
        continue;
    (void)fclose(file);
    MODELS_CALL(&models, "CONFIG", "SET", "appendfsync", "everysec"); /* with `always` Redis ends itself */
    issue_until_met(campaign, "misconf");
    assert_int_equal(remove(path), 0);
    redis_disconnect(models.redis);
    assert_equal_in_the_end();
}

static void a_replica_is_not_written_to(void **state)
{
    (void)state;
    size_t campaign = models_create(&models);
    models_await_current(&models);
    MODELS_CALL(&models, "REPLICAOF", "127.0.0.1", "1");
    issue_until_met(campaign, "readonly");
    MODELS_CALL(&models, "REPLICAOF", "NO", "ONE");
    assert_equal_in_the_end();
}

static int set_up(void **state)
{
    (void)state;
    char reason[128];
    crypto_setup();
    stack = stack_start(STACK_SERVERS);
    snprintf(directory, sizeof directory, "%s/small-disk", stack_directory(stack));
    assert_int_equal(mkdir(directory, 0700), 0);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", stack_port_base(stack) + REDIS_OFFSET);
    setenv("SERVICES_REDIS_URL", url, 1);
    models_open(&models, stack);
    redis_destroy(models.redis);
    models.redis = redis_create(url, reason, sizeof reason);
    redis_begin();
    WAIT_UNTIL(redis_answers(), LONG_MS);
    stack_service(stack, "projector", "start");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    redis_kill();
    models_close(&models);
    stack_stop(stack);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_without_eviction),
        cmocka_unit_test(full_with_eviction),
        cmocka_unit_test(half_of_all_keys_vanish_again_and_again),
        cmocka_unit_test(a_replica_is_not_written_to),
        cmocka_unit_test(full_disk),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
