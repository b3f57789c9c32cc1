/* SPDX-License-Identifier: Apache-2.0 */
/* projector rebuild against real servers: what comes out is what following the log makes (I8), readers notice
 * nothing, and being killed at any moment costs only time. */
#include <sys/wait.h>
#include <unistd.h>

#include "events/ids.h"
#include "readmodel/campaign_record.h"
#include "tests/lib/api.h"
#include "tests/lib/models.h"
#include "tests/lib/projector.h"
#include "tests/lib/reads.h"
#include "tests/lib/wait.h"
#include "tests/lib/watch.h"

enum { LONG_MS = 120000, OUTPUT_MAX = 256 * 1024, BATCH = 200, KILLS_MAX = 40 };

static struct stack *stack;
static struct models models;
static struct api_client api;
static char campaign[96];
static int64_t issued;
static struct watch watch;

/* --- helpers --- */

static void issue(int batches)
{
    for (int batch = 0; batch < batches; batch++) {
        if (watch.stack)
            watch_expect(&watch, issued + BATCH);
        api_batch(&api, campaign, "u", issued, BATCH);
        issued += BATCH;
        if (watch.stack)
            watch_answered(&watch);
    }
}

static void fill(void)
{
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 1000000, ",\"tags\":[\"some\"]"));
    issue(60);
    for (int i = 0; i < 40; i++) {
        char id[96];
        snprintf(id, sizeof id, "%s", api_campaign(&api, 100, ""));
        for (int user = 0; user < i % 5; user++)
            api_give(&api, id, textf("u%d", user));
    }
    models_await_current(&models);
}

static void rebuild_with(const char *const *arguments, int expected, const char *says)
{
    struct buf text;
    buf_init(&text, OUTPUT_MAX);
    int status = projector_run(stack, arguments, &text);
    if (status != expected || !strstr(text.data, says))
        fail_msg("exit %d, not %d with '%s': %s", status, expected, says, text.data);
    buf_deinit(&text);
}
#define REBUILD(expected, says, ...) \
    rebuild_with((const char *[]){"rebuild", __VA_ARGS__, NULL}, (expected), (says))

static void assert_ended_well(int status, FILE *output)
{
    char said[4096];
    rewind(output);
    size_t len = fread(said, 1, sizeof said - 1, output);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("status %d: %.*s", status, (int)len, said);
}

static int64_t dbsize(void)
{
    /* But for the projector's word that it was there, which comes and goes. */
    int64_t keys = redis_integer(MODELS_CALL(&models, "DBSIZE"));
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        keys -= redis_integer(MODELS_CALL(&models, "EXISTS", textf("fc:{%d}:heartbeat", slice)));
    }
    return keys;
}

static int64_t generation_of_campaign(void)
{
    return models_generation(&models, slice_of(span_of(campaign)));
}

/* No generation is being built, and every key is one of a live one. */
static void assert_nothing_left_over(void)
{
    assert_false(redis_integer(MODELS_CALL(&models, "EXISTS", "fc:generations")));
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        char live[48];
        snprintf(live, sizeof live, "fc:%lld:{%d}:*", (long long)models_generation(&models, slice), slice);
        size_t count = redis_length(MODELS_CALL(&models, "KEYS", textf("fc:*:{%d}:*", slice)));
        assert_int_equal(redis_length(MODELS_CALL(&models, "KEYS", live)), count);
    }
    models_assert_equal_the_log(&models);
}

/* --- tests --- */

/* Under writes and reads: no error, no answer that was not true, no step back. */
static void readers_notice_nothing(void **)
{
    int status;
    FILE *output = tmpfile();
    watch_start(&watch, stack, campaign, issued);
    int64_t before = generation_of_campaign();
    pid_t pid = projector_spawn(stack, (const char *[]){"rebuild", "--json", NULL}, output);
    for (int i = 0; waitpid(pid, &status, WNOHANG) == 0; i++)
        if (i < 40)
            issue(1);
        else
            wait_moment();
    assert_ended_well(status, output);
    assert_true(generation_of_campaign() > before);
    issue(2);
    models_await_current(&models);
    projector_assert_verify_clean(stack);
    int64_t answers = watch_answers(&watch);
    WAIT_UNTIL(watch_answers(&watch) > answers + 10, LONG_MS);
    watch_stop(&watch, false);
    watch.stack = NULL;
    assert_true(watch.from_redis > 0);
    fclose(output);
    assert_nothing_left_over();
}

/* What nobody writes to reads the same before, in every phase, and after, and from Redis. */
static void readers_are_told_the_same(void **)
{
    struct reads reads;
    int status;
    FILE *output = tmpfile();
    reads_init(&reads, &api);
    reads_record(&reads, "/v1/rankings/campaigns?limit=100");
    reads_record(&reads, "/v1/rankings/campaigns?limit=100&window=24h");
    reads_record_pages(&reads, "/v1/campaigns?limit=50");
    reads_record(&reads, "/v1/users/u3/coupons?limit=100");
    for (int round = 0; round < 3; round++) {
        pid_t pid = projector_spawn(stack, (const char *[]){"rebuild", "--json", NULL}, output);
        while (waitpid(pid, &status, WNOHANG) == 0)
            reads_compare(&reads, NULL, LONG_MS);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    reads_await_redis(&api);
    reads_compare(&reads, "redis", LONG_MS);
    reads_deinit(&reads);
    fclose(output);
}

/* The last phase it told of; "" before the first. */
static void last_phase(FILE *output, char *ret, size_t size)
{
    static char said[65536];
    static const char name[] = "\"phase\":\"";
    ssize_t len = pread(fileno(output), said, sizeof said - 1, 0); /* the other process writes on meanwhile */
    said[len > 0 ? len : 0] = '\0';
    *ret = '\0';
    for (const char *found = said; (found = strstr(found, name)); found++)
        snprintf(ret, size, "%.*s", (int)strcspn(found + strlen(name), "\""), found + strlen(name));
}

/* Killed in that phase; false where it was too fast. */
static bool kill_in(const char *phase)
{
    int status;
    char last[24];
    FILE *output = tmpfile();
    pid_t pid = projector_spawn(stack, (const char *[]){"rebuild", "--json", NULL}, output);
    do
        last_phase(output, last, sizeof last);
    while (strcmp(last, phase) != 0 && waitpid(pid, &status, WNOHANG) == 0);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    last_phase(output, last, sizeof last);
    fclose(output);
    return strcmp(last, phase) == 0 && WIFSIGNALED(status);
}

/* In each of its phases: it is run again, and nothing is left of the one that was killed. */
static void killed_in_any_phase_it_is_run_again(void **)
{
    static const char *const phases[] = {"build", "catch up", "switch", "drop"};
    for (size_t i = 0; i < COUNT_OF(phases); i++) {
        int attempts = 0;
        while (!kill_in(phases[i]))
            if (++attempts == KILLS_MAX)
                fail_msg("it was never killed in phase %s", phases[i]);
        issue(1);
    }
    REBUILD(0, "readers use the new generation now", "--json");
    assert_nothing_left_over();
}

/* --- memory --- */

static void set_maxmemory(int64_t bytes)
{
    MODELS_CALL(&models, "CONFIG", "SET", "maxmemory", textf("%lld", (long long)bytes));
}

/* Looked at first: nothing is begun that has no room. */
static void what_does_not_fit_is_not_begun(void **)
{
    int64_t oom = projector_metric(stack, "coupon_projector_redis_errors_total{class=\"oom\"}");
    models_await_current(&models);
    set_maxmemory(models_info(&models, "used_memory") + 100000);
    REBUILD(2, "does not fit", "--json");
    issue(1);
    models_await_current(&models);
    set_maxmemory(0);
    assert_int_equal(projector_metric(stack, "coupon_projector_redis_errors_total{class=\"oom\"}"), oom);
    assert_nothing_left_over();
}

/* Redis fills up half way: what was built goes, whoever follows the log was not refused, and the command says
 * so. */
static void redis_fills_up_half_way(void **)
{
    int status, hits = 0;
    char said[8192];
    int64_t oom = projector_metric(stack, "coupon_projector_redis_errors_total{class=\"oom\"}");
    for (int attempt = 0; attempt < KILLS_MAX && hits == 0; attempt++) {
        FILE *output = tmpfile();
        models_await_current(&models);
        pid_t pid = projector_spawn(stack, (const char *[]){"rebuild", "--json", NULL}, output);
        bool ended = false;
        do
            last_phase(output, said, sizeof said);
        while (!*said && !(ended = waitpid(pid, &status, WNOHANG) != 0));
        assert_false(ended);
        (void)kill(pid, SIGSTOP);
        int64_t used =
            models_info(&models, "used_memory"); /* nearly full, but not so that anybody else is refused */
        set_maxmemory(used + used / 40);
        (void)kill(pid, SIGCONT);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        issue(1);
        models_await_current(&models);
        set_maxmemory(0);
        ssize_t len = pread(fileno(output), said, sizeof said - 1, 0);
        said[len > 0 ? len : 0] = '\0';
        fclose(output);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 2)
            assert_non_null(strstr(said, "readers keep the old models"));
        hits += WEXITSTATUS(status) == 2 && strstr(said, "\"phase\":\"build\"");
        if (WEXITSTATUS(status) == 2)
            assert_false(redis_integer(MODELS_CALL(&models, "EXISTS", "fc:generations")));
    }
    if (hits == 0)
        fail_msg("it was never full half way, last: %s", said);
    assert_int_equal(projector_metric(stack, "coupon_projector_redis_errors_total{class=\"oom\"}"), oom);
    assert_nothing_left_over();
}

static void without_a_projector_it_switches_too(void **)
{
    int64_t before = generation_of_campaign();
    stack_service(stack, "projector", "kill");
    issue(3);
    REBUILD(0, "readers use the new generation now", "--json");
    assert_true(generation_of_campaign() > before);
    assert_true(models_current(&models));
    stack_service(stack, "projector", "start");
    assert_nothing_left_over();
}

static void redis_is_emptied_meanwhile(void **)
{
    int status;
    FILE *output = tmpfile();
    pid_t pid = projector_spawn(stack, (const char *[]){"rebuild", "--json", NULL}, output);
    WAIT_UNTIL(redis_integer(MODELS_CALL(&models, "EXISTS", "fc:generations")), LONG_MS);
    MODELS_CALL(&models, "FLUSHALL");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    fclose(output);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) /* it may say so and end; then it is run again */
        REBUILD(0, "readers use the new generation now", "--json");
    assert_nothing_left_over();
}

/* Nothing says which generation is live, and nobody leads who would. */
static void into_an_empty_redis_without_a_leader(void **)
{
    stack_service(stack, "projector", "kill");
    MODELS_CALL(&models, "FLUSHALL");
    REBUILD(0, "readers use the new generation now", "--json");
    assert_true(models_checkpoint(&models, slice_of(span_of(campaign)), "pos") > 0);
    stack_service(stack, "projector", "start");
    assert_nothing_left_over();
}

static void what_is_broken_is_made_anew(void **)
{
    char rest[128];
    int16_t slice = slice_of(span_of(campaign));
    int64_t generation = generation_of_campaign();
    int16_t another = (int16_t)((slice + 1) % SLICE_COUNT);
    int64_t others = models_generation(&models, another);
    models_await_current(&models);
    snprintf(rest, sizeof rest, "h:%s:0", campaign);
    MODELS_CALL(&models, "SET", models_key(&models, slice, "u:0"), "rubbish");
    MODELS_CALL(&models, "DEL", models_key(&models, slice, rest));
    REBUILD(0, "readers use the new generation now", "--json", "--campaign", campaign);
    assert_true(generation_of_campaign() > generation);
    assert_int_equal(models_generation(&models, another), others);
    models_assert_equal_the_log(&models);
}

static void a_look_at_the_past(void **)
{
    char position[32], key[192], number[32];
    int16_t slice = slice_of(span_of(campaign));
    int64_t live = generation_of_campaign();
    snprintf(position, sizeof position, "%d:%d", slice, 5001);
    issued = issued < 5100 ? (issue((int)(5100 - issued) / BATCH + 1), issued) : issued;
    models_await_current(&models);
    int64_t size = dbsize();
    REBUILD(1, "some seconds ago", "--to-time", "2100-01-01T00:00:00Z");
    REBUILD(1, "no such event", "--to-position", "0:99999999999");
    REBUILD(0, "shows the past up to", "--to-position", position, "--generation", "look");
    assert_int_equal(generation_of_campaign(), live);
    struct span found = redis_text(redis_at(MODELS_CALL(&models, "HKEYS", "fc:generations"), 0));
    snprintf(number, sizeof number, "%.*s", SPAN_ARG(found));
    snprintf(key, sizeof key, "fc:%s:{%d}:c:%s", number, slice, campaign);
    struct campaign_record then;
    assert_true(
        campaign_record_decode(span_of(campaign), redis_text(MODELS_CALL(&models, "GET", key)), &then));
    assert_in_range(then.campaign.issued, 4990, 5001); /* other events of the slice may be among the 5001 */
    snprintf(key, sizeof key, "fc:%s:{%d}:cp", number, slice);
    assert_true(span_is(redis_text(MODELS_CALL(&models, "HGET", key, "pos")), "5001"));
    REBUILD(1, "is there already", "--to-position", position, "--generation", "look");
    REBUILD(0, "readers use the new generation now", "--json"); /* and leaves the look alone */
    assert_true(redis_integer(MODELS_CALL(&models, "EXISTS", key)));
    REBUILD(0, "dropped", "--generation", "look", "--drop");
    REBUILD(1, "there is no generation look", "--generation", "look", "--drop");
    assert_int_equal(dbsize(), size);
    REBUILD(0, "shows the past up to", "--to-time", "2020-01-01T00:00:00Z"); /* before everything: empty */
    REBUILD(0, "dropped", "--generation", "past", "--drop");
    assert_nothing_left_over();
}

/* By the command, and by whoever leads. */
static void what_opens_soon_is_announced(void **)
{
    char soon[96];
    struct buf text;
    buf_init(&text, OUTPUT_MAX);
    const char *at = time_text(clock_wall_us() + 200 * (int64_t)US_PER_S);
    snprintf(soon, sizeof soon, "%s", api_campaign(&api, 10, textf(",\"starts_at\":\"%s\"", at)));
    models_await_current(&models);
    assert_int_equal(PROJECTOR_RUN(stack, &text, "prewarm"), 0);
    assert_non_null(strstr(text.data, soon));
    assert_null(strstr(text.data, campaign)); /* is open */
    buf_clear(&text);
    assert_int_equal(PROJECTOR_RUN(stack, &text, "prewarm", "--campaign", "unheard-of"), 1);
    assert_non_null(strstr(text.data, "no such campaign"));
    stack_service(stack, "projector", "stop");
    stack_service(stack, "projector", "start"); /* looks at once */
    WAIT_UNTIL(projector_metric(stack, "coupon_projector_prewarmed_total") >= 1, LONG_MS);
    buf_deinit(&text);
}

static void bad_command_lines_are_refused(void **)
{
    REBUILD(64, "--campaign", "--campaign", "Not An Id");
    REBUILD(64, "--to-time", "--to-time", "yesterday");
    REBUILD(64, "--to-position", "--to-position", "16:1");
    REBUILD(64, "--generation", "--generation", "Big");
    REBUILD(64, "exclude", "--to-time", "2020-01-01T00:00:00Z", "--to-position", "1:1");
    REBUILD(64, "--campaign", "--campaign", "a", "--generation", "b");
    REBUILD(64, "--drop", "--drop");
}

static int set_up(void **)
{
    setenv("FIRSTCOME_CACHE_BYTES", "0", 1); /* this is about the levels behind the copies in memory */
    stack = stack_start(STACK_ALL);
    models_open(&models, stack);
    api_open(&api, stack);
    fill();
    return 0;
}

static int tear_down(void **)
{
    api_close(&api);
    models_close(&models);
    stack_stop(stack);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_notice_nothing),
        cmocka_unit_test(readers_are_told_the_same),
        cmocka_unit_test(killed_in_any_phase_it_is_run_again),
        cmocka_unit_test(what_does_not_fit_is_not_begun),
        cmocka_unit_test(redis_fills_up_half_way),
        cmocka_unit_test(without_a_projector_it_switches_too),
        cmocka_unit_test(redis_is_emptied_meanwhile),
        cmocka_unit_test(into_an_empty_redis_without_a_leader),
        cmocka_unit_test(what_is_broken_is_made_anew),
        cmocka_unit_test(a_look_at_the_past),
        cmocka_unit_test(what_opens_soon_is_announced),
        cmocka_unit_test(bad_command_lines_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
