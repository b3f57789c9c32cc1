/* SPDX-License-Identifier: Apache-2.0 */
/* The projector against a real PostgreSQL and a real Redis: whatever happens to any of the three, the models
 * end equal to a fresh fold of the log (I7, I8). Each test breaks something, waits until the projector says
 * that it is current again, and compares every key with what a replay into an empty Redis makes. */
#include "readmodel/campaign_record.h"
#include "tests/lib/http_client.h"
#include "tests/lib/instance.h"
#include "tests/lib/json_get.h"
#include "tests/lib/models.h"
#include "tests/lib/projector.h"
#include "tests/lib/store.h"
#include "tests/lib/wait.h"

enum { LONG_MS = 120000, OUTPUT_MAX = 256 * 1024, SECOND_OFFSET = 7 };

static struct stack *stack;
static struct models models;

/* --- helpers --- */

static void flush_all(void)
{
    MODELS_CALL(&models, "FLUSHALL");
}

static void assert_models_equal_the_log(void)
{
    models_assert_equal_the_log(&models);
}

static int64_t metric(const char *name)
{
    return projector_metric(stack, name);
}

static void issue_many(size_t campaign, int batches, int each)
{
    for (int i = 0; i < batches; i++)
        models_issue(&models, campaign, each);
}

/* A second projector beside the stack's, standing by. */
static struct instance *second_start(void)
{
    struct instance *second = INSTANCE_START(stack, "projector", "second", SECOND_OFFSET);
    assert_int_equal(projector_metric_at(instance_url(second), "coupon_projector_leader"), 0);
    return second;
}

/* It ends on SIGTERM, and the stack's own leads again. */
static void second_stop(struct instance *second)
{
    instance_stop(second);
    WAIT_UNTIL(metric("coupon_projector_leader") == 1, LONG_MS);
    instance_destroy(second);
}

static int run_status(const char *const *arguments, struct buf *ret)
{
    return projector_run(stack, arguments, ret);
}

/* --- following --- */

static void what_is_in_the_log_is_in_the_models(void **)
{
    size_t campaign = models_create(&models);
    int16_t slice = models_slice(&models, campaign);
    issue_many(campaign, 3, 100);
    models_release(&models, campaign, 7);
    models_close_campaign(&models, campaign);
    models_await_current(&models);
    assert_int_equal(models_checkpoint(&models, slice, "pos"), 303);
    struct campaign_record record;
    assert_true(models_campaign(&models, slice, models.campaigns[campaign].id, &record));
    assert_int_equal(record.campaign.issued, 300);
    assert_int_equal(record.campaign.released, 500007);
    assert_int_equal(record.campaign.state, CAMPAIGN_CLOSED);
    const char *key = models_key(&models, slice, "r:issued");
    assert_int_equal(redis_length(MODELS_CALL(&models, "ZRANGE", key, "0", "-1")), 2); /* and the mark */
    assert_models_equal_the_log();
    assert_int_equal(metric("coupon_projector_lag_events"), 0);
    assert_int_equal(metric("coupon_projector_leader"), 1);
}

static void many_campaigns_at_once(void **)
{
    size_t campaigns[8];
    for (size_t i = 0; i < COUNT_OF(campaigns); i++)
        campaigns[i] = models_create(&models);
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < COUNT_OF(campaigns); i++)
            models_issue(&models, campaigns[i], 1 + round);
    assert_models_equal_the_log();
}

/* --- Redis loses something --- */

static void flushall_while_idle(void **)
{
    models_issue(&models, models_create(&models), 700);
    models_await_current(&models);
    flush_all();
    assert_models_equal_the_log();
}

static void flushall_while_busy(void **)
{
    size_t campaign = models_create(&models);
    for (int i = 0; i < 60; i++) {
        models_issue(&models, campaign, 200);
        if (i % 13 == 5)
            flush_all();
    }
    assert_models_equal_the_log();
}

/* Waits until the checkpoint of the campaign's slice has moved, so that something has happened. */
static void await_first_batches(size_t campaign)
{
    WAIT_UNTIL(models_checkpoint(&models, models_slice(&models, campaign), "pos") > 0, LONG_MS);
}

/* What is written whole heals by itself; the rest is never taken for whole, and made anew once a reader has
 * met it: that reader's word is all the projector needs. */
static void a_reader_met_a_hole_in(int16_t slice)
{
    MODELS_CALL(&models, "SET", textf("fc:{%d}:hole", slice),
                textf("%lld", (long long)models_generation(&models, slice)));
}

static void vanished_keys_are_made_again(void **)
{
    static const char *const sets[] = {"cs", "r:issued", "a:issued", "u:0", "p:0"};
    size_t campaign = models_create(&models);
    int16_t slice = models_slice(&models, campaign);
    models_issue(&models, campaign, 900);
    models_await_current(&models);
    int64_t anew = metric("coupon_projector_restarts_total");
    for (size_t i = 0; i < COUNT_OF(sets); i++)
        assert_int_equal(redis_integer(MODELS_CALL(&models, "DEL", models_key(&models, slice, sets[i]))), 1);
    models_issue(&models, campaign, 5); /* begins what vanished anew, without the mark */
    models_await_current(&models);
    assert_int_equal(redis_kind(MODELS_CALL(&models, "ZSCORE", models_key(&models, slice, "cs"), "")),
                     REDIS_NIL);
    a_reader_met_a_hole_in(slice);
    WAIT_UNTIL(metric("coupon_projector_restarts_total") > anew, LONG_MS);
    assert_models_equal_the_log();
}

static void a_campaign_that_vanished_is_written_whole(void **)
{
    size_t campaign = models_create(&models);
    int16_t slice = models_slice(&models, campaign);
    models_issue(&models, campaign, 100);
    models_await_current(&models);
    assert_int_equal(
        redis_integer(MODELS_CALL(&models, "DEL",
                                  models_key(&models, slice, textf("c:%s", models.campaigns[campaign].id)))),
        1);
    models_issue(&models, campaign, 5);
    assert_models_equal_the_log();
}

static void a_vanished_root_is_replayed(void **)
{
    size_t campaign = models_create(&models);
    models_issue(&models, campaign, 600);
    models_await_current(&models);
    int64_t moved = metric("coupon_projector_refused_total{reason=\"moved\"}");
    int64_t generation = models_generation(&models, models_slice(&models, campaign));
    MODELS_CALL(&models, "DEL", textf("fc:{%d}", models_slice(&models, campaign)));
    WAIT_UNTIL(metric("coupon_projector_refused_total{reason=\"moved\"}") > moved, LONG_MS);
    models_await_current(&models);
    assert_true(models_generation(&models, models_slice(&models, campaign)) > generation);
    assert_models_equal_the_log();
}

/* PostgreSQL is restored to an earlier point while nobody looks, and the log goes on from there past what the
 * models show: they must not be taken for models of this log. */
static void a_restored_log_is_noticed(void **)
{
    size_t campaign = models_create(&models);
    int16_t slice = models_slice(&models, campaign);
    models_issue(&models, campaign, 300);
    models_await_current(&models);
    int64_t anew = metric("coupon_projector_restarts_total");
    assert_true(anew >= 0);
    stack_service(stack, "projector", "stop");
    int64_t head = models_checkpoint(&models, slice, "pos");
    store_tamper(
        stack, textf("DELETE FROM event WHERE slice = %d AND position > %lld", slice, (long long)head - 100));
    store_tamper(stack, textf("UPDATE slice SET head = %lld WHERE slice = %d", (long long)head - 100, slice));
    models.campaigns[campaign].issued -= 100;
    models.users = "another-";
    models_issue(&models, campaign, 250);
    models.users = NULL;
    stack_service(stack, "projector", "start");
    WAIT_UNTIL(metric("coupon_projector_restarts_total") >= 1, LONG_MS);
    assert_models_equal_the_log();
}

static void the_script_is_forgotten(void **)
{
    size_t campaign = models_create(&models);
    for (int i = 0; i < 40; i++) {
        models_issue(&models, campaign, 100);
        if (i % 10 == 0)
            MODELS_CALL(&models, "SCRIPT", "FLUSH");
    }
    WAIT_UNTIL(metric("coupon_projector_redis_errors_total{class=\"noscript\"}") > 0, LONG_MS);
    assert_models_equal_the_log();
}

/* --- Redis does not do as asked --- */

static void redis_stops_and_goes_on(void **)
{
    size_t campaign = models_create(&models);
    models_await_current(&models);
    int64_t errors = metric("coupon_projector_redis_errors_total{class=\"io\"}");
    stack_signal(stack, "redis", SIGSTOP);
    issue_many(campaign, 10, 100);
    WAIT_UNTIL(metric("coupon_projector_redis_errors_total{class=\"io\"}") > errors, LONG_MS);
    WAIT_UNTIL(projector_ready_status(stack) == 503, LONG_MS);
    WAIT_UNTIL(metric("coupon_projector_lag_events") >= 1000, LONG_MS);
    stack_signal(stack, "redis", SIGCONT);
    assert_models_equal_the_log();
    WAIT_UNTIL(projector_ready_status(stack) == 200, LONG_MS);
}

static void redis_is_killed_and_started_again(void **)
{
    size_t campaign = models_create(&models);
    issue_many(campaign, 20, 200);
    await_first_batches(campaign);
    stack_signal(stack, "redis", SIGKILL);
    issue_many(campaign, 5, 200);
    stack_restart_servers(stack);
    redis_disconnect(models.redis);
    assert_models_equal_the_log();
}

static void redis_is_full(void **)
{
    size_t campaign = models_create(&models);
    models_await_current(&models);
    int64_t before = models_checkpoint(&models, models_slice(&models, campaign), "pos");
    MODELS_CALL(&models, "CONFIG", "SET", "maxmemory", "1"); /* byte: no write at all fits */
    issue_many(campaign, 5, 300);
    WAIT_UNTIL(metric("coupon_projector_redis_errors_total{class=\"oom\"}") > 0, LONG_MS);
    WAIT_UNTIL(projector_ready_status(stack) == 503, LONG_MS);
    assert_true(models_checkpoint(&models, models_slice(&models, campaign), "pos") < before + 1500);
    MODELS_CALL(&models, "CONFIG", "SET", "maxmemory", "512mb");
    assert_models_equal_the_log();
}

/* --- projectors --- */

static void killed_in_the_middle_it_goes_on_from_the_checkpoint(void **)
{
    size_t campaign = models_create(&models);
    for (int round = 0; round < 5; round++) {
        int64_t before = models_checkpoint(&models, models_slice(&models, campaign), "pos");
        issue_many(campaign, 10, 500);
        WAIT_UNTIL(models_checkpoint(&models, models_slice(&models, campaign), "pos") > before, LONG_MS);
        stack_service(stack, "projector", "kill");
        stack_service(stack, "projector", "start");
    }
    assert_models_equal_the_log();
}

static void a_second_one_stands_by_and_takes_over(void **)
{
    size_t campaign = models_create(&models);
    struct instance *second = second_start();
    assert_int_equal(metric("coupon_projector_leader"), 1);
    issue_many(campaign, 20, 200);
    await_first_batches(campaign);
    stack_service(stack, "projector", "kill");
    issue_many(campaign, 20, 200);
    WAIT_UNTIL(projector_metric_at(instance_url(second), "coupon_projector_leader") == 1, LONG_MS);
    models_await_current(&models);
    stack_service(stack, "projector", "start"); /* now this one stands by */
    assert_int_equal(metric("coupon_projector_leader"), 0);
    assert_models_equal_the_log();
    second_stop(second);
    assert_models_equal_the_log();
}

static void a_stopped_leader_loses_the_lead(void **)
{
    size_t campaign = models_create(&models);
    models_await_current(&models);
    struct instance *second = second_start();
    stack_signal(stack, "projector", SIGSTOP);
    issue_many(campaign, 5, 200);
    WAIT_UNTIL(projector_metric_at(instance_url(second), "coupon_projector_leader") == 1, LONG_MS);
    models_await_current(&models);
    stack_signal(stack, "projector", SIGCONT);
    issue_many(campaign, 5, 200);
    WAIT_UNTIL(metric("coupon_projector_leader") == 0, LONG_MS);
    assert_models_equal_the_log();
    second_stop(second);
}

static void a_higher_epoch_is_respected_and_then_overtaken(void **)
{
    size_t campaign = models_create(&models);
    models_await_current(&models);
    MODELS_CALL(&models, "HSET", textf("fc:{%d}", models_slice(&models, campaign)), "epoch", "5000");
    WAIT_UNTIL(metric("coupon_projector_refused_total{reason=\"fenced\"}") > 0, LONG_MS);
    issue_many(campaign, 3, 50);
    assert_models_equal_the_log();
    assert_true(store_number(stack, "SELECT epoch FROM lease WHERE name = 'projector'") > 5000);
}

/* --- PostgreSQL --- */

static void its_session_is_ended(void **)
{
    size_t campaign = models_create(&models);
    int64_t epoch = store_number(stack, "SELECT epoch FROM lease");
    for (int i = 0; i < 20; i++) {
        models_issue(&models, campaign, 100);
        if (i == 10)
            assert_int_equal(store_signal_backends(stack, "firstcome projector", SIGTERM), 1);
    }
    WAIT_UNTIL(store_number(stack, "SELECT epoch FROM lease") > epoch, LONG_MS);
    assert_models_equal_the_log();
}

static void postgresql_is_restarted(void **)
{
    size_t campaign = models_create(&models);
    issue_many(campaign, 10, 300);
    stack_signal(stack, "postgresql", SIGQUIT);
    WAIT_UNTIL(stack_pid(stack, "postgresql") == 0, LONG_MS);
    WAIT_UNTIL(projector_ready_status(stack) == 503, LONG_MS);
    stack_restart_servers(stack);
    pg_disconnect(models.pg);
    issue_many(campaign, 10, 300);
    assert_models_equal_the_log();
}

/* --- status --- */

static void status_tells_where_things_are(void **)
{
    struct buf text;
    size_t campaign = models_create(&models);
    int16_t slice = models_slice(&models, campaign);
    models_issue(&models, campaign, 10);
    models_await_current(&models);
    buf_init(&text, OUTPUT_MAX);
    WAIT_UNTIL((buf_clear(&text), run_status((const char *[]){"status", "--json", NULL}, &text) == 0),
               LONG_MS);
    assert_int_equal(body_int(buf_span(&text), textf("slices.%d.checkpoint", slice)),
                     models_checkpoint(&models, slice, "pos"));
    assert_int_equal(body_int(buf_span(&text), textf("slices.%d.lag_events", slice)), 0);
    assert_true(body_bool(buf_span(&text), "leader.held"));
    assert_int_equal(body_int(buf_span(&text), textf("slices.%d.generation", slice)),
                     models_generation(&models, slice));
    assert_true(span_is(body_text(buf_span(&text), "redis.state"), "ok"));
    WAIT_UNTIL((buf_clear(&text), run_status((const char *[]){"status", NULL}, &text) == 0), LONG_MS);
    assert_non_null(strstr(text.data, "leader      yes"));
    buf_deinit(&text);
}

static void status_without_redis_and_without_a_leader(void **)
{
    struct buf text;
    buf_init(&text, OUTPUT_MAX);
    models_await_current(&models);
    stack_service(stack, "projector", "stop");
    stack_signal(stack, "redis", SIGSTOP);
    int64_t began_us = clock_mono_us();
    assert_int_equal(run_status((const char *[]){"status", "--json", NULL}, &text), 1);
    assert_true(clock_mono_us() - began_us < 10 * US_PER_S);
    stack_signal(stack, "redis", SIGCONT);
    assert_true(span_is(body_text(buf_span(&text), "redis.state"), "io"));
    assert_true(span_is(body_text(buf_span(&text), "postgresql.state"), "ok"));
    assert_false(body_bool(buf_span(&text), "leader.held"));
    assert_true(body_int(buf_span(&text), "slices.0.head") >= 0);
    buf_deinit(&text);
    stack_service(stack, "projector", "start");
    models_await_current(&models);
}

static void bad_command_lines_are_refused(void **)
{
    struct buf text;
    buf_init(&text, OUTPUT_MAX);
    assert_int_equal(run_status((const char *[]){"rum", NULL}, &text), 64);
    assert_int_equal(run_status((const char *[]){"status", "--poll-ms", "5", NULL}, &text), 64);
    assert_int_equal(run_status((const char *[]){"run", "--poll-ms", "0", NULL}, &text), 64);
    assert_int_equal(run_status((const char *[]){"run", "twice", NULL}, &text), 64);
    buf_clear(&text);
    assert_int_equal(run_status((const char *[]){"--help", NULL}, &text), 0);
    assert_non_null(strstr(text.data, "run | status"));
    buf_deinit(&text);
}

/* --- what only a person can put right --- */

static void a_checkpoint_beyond_the_log_is_of_another(void **)
{
    size_t campaign = models_create(&models);
    int16_t slice = models_slice(&models, campaign);
    models_await_current(&models);
    int64_t generation = models_generation(&models, slice);
    MODELS_CALL(&models, "HSET", textf("fc:{%d}", slice), "pos", "100000000");
    WAIT_UNTIL(models_generation(&models, slice) > generation, LONG_MS);
    assert_models_equal_the_log();
    WAIT_UNTIL(projector_ready_status(stack) == 200, LONG_MS);
}

/* The last test: the log keeps the event. */
static void an_unknown_event_stops_its_slice_only(void **)
{
    size_t sick = models_create(&models), sound = models_create(&models);
    while (models_slice(&models, sound) == models_slice(&models, sick))
        sound = models_create(&models);
    models_issue(&models, sick, 50);
    models_await_current(&models);
    int64_t last = models_checkpoint(&models, models_slice(&models, sick), "pos");
    models_poison(&models, sick);
    models_issue(&models, sick, 50);
    WAIT_UNTIL(models_checkpoint(&models, models_slice(&models, sick), "behind") == 1, LONG_MS);
    WAIT_UNTIL(projector_ready_status(stack) == 503, LONG_MS);
    int64_t sound_before = models_checkpoint(&models, models_slice(&models, sound), "pos");
    models_issue(&models, sound, 50);
    WAIT_UNTIL(models_checkpoint(&models, models_slice(&models, sound), "pos") == sound_before + 50, LONG_MS);
    assert_int_equal(models_checkpoint(&models, models_slice(&models, sick), "pos"), last);
    flush_all(); /* what comes before the event is replayed all the same */
    WAIT_UNTIL(models_checkpoint(&models, models_slice(&models, sick), "pos") == last, LONG_MS);
    WAIT_UNTIL(models_checkpoint(&models, models_slice(&models, sound), "pos") == sound_before + 50, LONG_MS);
    assert_int_equal(models_checkpoint(&models, models_slice(&models, sick), "behind"), 1);
    assert_int_equal(metric("coupon_projector_stuck_slices"), 1);
}

static int set_up(void **)
{
    stack = stack_start(STACK_SERVERS);
    models_open(&models, stack);
    stack_service(stack, "projector", "start");
    return 0;
}

static int tear_down(void **)
{
    models_close(&models);
    stack_stop(stack);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_the_log_is_in_the_models),
        cmocka_unit_test(many_campaigns_at_once),
        cmocka_unit_test(flushall_while_idle),
        cmocka_unit_test(flushall_while_busy),
        cmocka_unit_test(vanished_keys_are_made_again),
        cmocka_unit_test(a_campaign_that_vanished_is_written_whole),
        cmocka_unit_test(a_vanished_root_is_replayed),
        cmocka_unit_test(a_restored_log_is_noticed),
        cmocka_unit_test(the_script_is_forgotten),
        cmocka_unit_test(redis_stops_and_goes_on),
        cmocka_unit_test(redis_is_killed_and_started_again),
        cmocka_unit_test(redis_is_full),
        cmocka_unit_test(killed_in_the_middle_it_goes_on_from_the_checkpoint),
        cmocka_unit_test(a_second_one_stands_by_and_takes_over),
        cmocka_unit_test(a_stopped_leader_loses_the_lead),
        cmocka_unit_test(a_higher_epoch_is_respected_and_then_overtaken),
        cmocka_unit_test(its_session_is_ended),
        cmocka_unit_test(postgresql_is_restarted),
        cmocka_unit_test(status_tells_where_things_are),
        cmocka_unit_test(status_without_redis_and_without_a_leader),
        cmocka_unit_test(bad_command_lines_are_refused),
        cmocka_unit_test(a_checkpoint_beyond_the_log_is_of_another),
        cmocka_unit_test(an_unknown_event_stops_its_slice_only),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
