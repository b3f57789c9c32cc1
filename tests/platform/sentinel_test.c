/* SPDX-License-Identifier: Apache-2.0 */
/* redis+sentinel:// against three real sentinels, a primary and a replica: who is asked, who is believed, and
 * that the models and their readers come through failovers that lost the last writes. */
#include "events/ids.h"
#include "tests/lib/api.h"
#include "tests/lib/projector.h"
#include "tests/lib/reads.h"
#include "tests/lib/redis_kit.h"
#include "tests/lib/sentinels.h"
#include "tests/lib/wait.h"
#include "tests/lib/watch.h"

enum { LONG_MS = 120000 };

static struct stack *stack;
static struct sentinels sentinels;
static struct models models; /* its Redis is the one the sentinels name */
static struct api_client api;
static char campaign[96];
static struct watch watch;

/* --- common/redis and sentinels --- */

static enum redis_status connect_once(const char *url, const char *expected_error)
{
    struct redis *redis = redis_kit_create(url);
    enum redis_status status = redis_connect(redis, clock_deadline_us(LONG_MS));
    if (status != REDIS_OK && !strstr(redis_error(redis), expected_error))
        fail_msg("'%s' does not say '%s'", redis_error(redis), expected_error);
    assert_int_equal(redis_connected(redis), status == REDIS_OK);
    redis_destroy(redis);
    return status;
}

static void the_primary_is_found(void **)
{
    struct redis *redis = redis_kit_create(sentinels_url(&sentinels));
    for (int i = 0; i < 3; i++)
        assert_int_equal(redis_connect(redis, clock_deadline_us(LONG_MS)), REDIS_OK);
    redis_destroy(redis);
}

/* The URL with one text in it replaced by another. */
static const char *url_with(const char *old, const char *new)
{
    static char url[512];
    const char *base = sentinels_url(&sentinels), *at = strstr(base, old);
    assert_non_null(at);
    snprintf(url, sizeof url, "%.*s%s%s", (int)(at - base), base, new, at + strlen(old));
    return url;
}

static void wrong_names_and_passwords(void **)
{
    assert_int_equal(connect_once(url_with("/first%20come", "/other"), "no primary of that name"),
                     REDIS_LOST);
    assert_int_equal(connect_once(url_with("?sentinel_password=watch", ""), "asking a sentinel"),
                     REDIS_DENIED);
    assert_int_equal(connect_once(url_with(":server@", ":wrong@"), "WRONGPASS"), REDIS_DENIED);
}

/* The deadline is shared out, so one that says nothing leaves time for the others; and is not asked first
 * again. */
static void sentinels_that_do_not_answer(void **)
{
    struct redis *redis = redis_kit_create(sentinels_url(&sentinels));
    sentinels_signal(&sentinels, SENTINELS_WATCH_1, SIGSTOP);
    sentinels_signal(&sentinels, SENTINELS_WATCH_2, SIGSTOP);
    WAIT_UNTIL(redis_connect(redis, clock_deadline_us(1000)) == REDIS_OK, LONG_MS);
    sentinels_signal(&sentinels, SENTINELS_WATCH_3, SIGSTOP);
    assert_int_equal(redis_connect(redis, clock_deadline_us(1000)), REDIS_LOST);
    assert_non_null(strstr(redis_error(redis), "asking a sentinel"));
    sentinels_signal(&sentinels, SENTINELS_WATCH_1, SIGCONT);
    sentinels_signal(&sentinels, SENTINELS_WATCH_2, SIGCONT);
    sentinels_signal(&sentinels, SENTINELS_WATCH_3, SIGCONT);
    WAIT_UNTIL(redis_connect(redis, clock_deadline_us(1000)) == REDIS_OK, LONG_MS);
    redis_destroy(redis);
}

/* --- failovers --- */

static enum sentinels_process primary(void)
{
    return strcmp(sentinels_role(&sentinels, SENTINELS_REDIS_1), "master") == 0 ? SENTINELS_REDIS_1
                                                                                : SENTINELS_REDIS_2;
}

static enum sentinels_process other(enum sentinels_process server)
{
    return server == SENTINELS_REDIS_1 ? SENTINELS_REDIS_2 : SENTINELS_REDIS_1;
}

static void issue(int batches)
{
    watch_issue(&watch, &api, batches);
}

/* Models that cannot be reached now are not current. */
static bool current(void)
{
    if (!redis_connected(models.redis) && redis_connect(models.redis, clock_deadline_us(1000)) != REDIS_OK)
        return false;
    return models_current(&models);
}

/* The replica misses what is written now: it is frozen and its link is cut. */
static void cut_off(enum sentinels_process replica)
{
    char said[64];
    sentinels_signal(&sentinels, replica, SIGSTOP);
    assert_int_equal(SENTINELS_CALL(&sentinels, other(replica), said, "CLIENT", "KILL", "TYPE", "replica"),
                     REDIS_OK);
}

static void assert_checkpoint_fell_behind(enum sentinels_process server, int64_t before)
{
    char text[64];
    int64_t position = 0;
    assert_int_equal(SENTINELS_CALL(&sentinels, server, text, "HGET",
                                    textf("fc:{%d}", slice_of(span_of(campaign))), "pos"),
                     REDIS_OK);
    if (*text)
        assert_true(parse_i64(span_of(text), 0, INT64_MAX, &position));
    assert_true(position < before);
}

static void await_replica(enum sentinels_process server)
{
    char said[64];
    WAIT_UNTIL(SENTINELS_CALL(&sentinels, server, said, "WAIT", "1", "500") == REDIS_OK &&
                   strcmp(said, "1") == 0,
               LONG_MS);
}

/* Last, because it leaves one server: a primary that dies with what it alone had: the checkpoint that is
 * found then is older, and is gone on from.
 */
static void a_failover_that_lost_the_last_writes(void **)
{
    enum sentinels_process old = primary(), new = other(old);
    issue(5);
    WAIT_UNTIL(current(), LONG_MS);
    await_replica(old);
    cut_off(new);
    issue(5);
    WAIT_UNTIL(current(), LONG_MS);
    int64_t position = models_checkpoint(&models, slice_of(span_of(campaign)), "pos");
    stack_signal(stack, "projector", SIGSTOP); /* so that what the replica has can be looked at */
    sentinels_kill(&sentinels, old);
    sentinels_signal(&sentinels, new, SIGCONT);
    WAIT_UNTIL(strcmp(sentinels_role(&sentinels, new), "master") == 0, LONG_MS);
    assert_checkpoint_fell_behind(new, position);
    stack_signal(stack, "projector", SIGCONT);
    redis_disconnect(models.redis);
    issue(5);
    WAIT_UNTIL(current(), LONG_MS);
}

/* The old primary was only frozen. It comes back with connections it believes in and takes itself for the
 * primary until it is told. */
static void a_zombie_primary_comes_back(void **)
{
    enum sentinels_process old = primary(), new = other(old);
    issue(2);
    WAIT_UNTIL(current(), LONG_MS);
    await_replica(old);
    sentinels_signal(&sentinels, old, SIGSTOP);
    issue(3);
    WAIT_UNTIL(strcmp(sentinels_role(&sentinels, new), "master") == 0, LONG_MS);
    redis_disconnect(models.redis);
    issue(3);
    WAIT_UNTIL(current(), LONG_MS);
    WAIT_UNTIL(sentinels_agree(&sentinels, new), LONG_MS);
    sentinels_signal(&sentinels, old, SIGCONT);
    issue(3);
    WAIT_UNTIL(strcmp(sentinels_role(&sentinels, old), "slave") == 0, LONG_MS);
    issue(3);
    WAIT_UNTIL(current(), LONG_MS);
    WAIT_UNTIL(projector_metric(stack, "coupon_projector_redis_primary_changes_total") == 1, LONG_MS);
    WAIT_UNTIL(projector_metric(stack, "coupon_projector_redis_replicas") == 1, LONG_MS);
}

static void the_models_equal_the_log_in_the_end(void **)
{
    projector_assert_verify_clean(stack);
    WAIT_UNTIL(projector_metric(stack, "coupon_projector_redis_primary_changes_total") == 2, LONG_MS);
    WAIT_UNTIL(projector_metric(stack, "coupon_projector_redis_replicas") == 0, LONG_MS);
    watch_await_redis(&watch);
    watch_stop(&watch, true); /* Redis and PostgreSQL take turns, and Redis may be a moment behind */
    assert_true(watch.from_redis > 0 && watch.from_redis < watch.answers);
    models_assert_equal_the_log(&models);
}

static int set_up(void **)
{
    stack = stack_start(STACK_SERVERS);
    sentinels_start(&sentinels, stack, 1, 3000); /* just promoted, one is silent for a second */
    redis_kit_services(stack, sentinels_url(&sentinels), &models, &api);
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 1000000, ""));
    watch_start(&watch, stack, campaign, 0);
    return 0;
}

static int tear_down(void **)
{
    api_close(&api);
    models_close(&models);
    stack_stop(stack);
    sentinels_stop(&sentinels);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_primary_is_found),
        cmocka_unit_test(wrong_names_and_passwords),
        cmocka_unit_test(sentinels_that_do_not_answer),
        cmocka_unit_test(a_zombie_primary_comes_back),
        cmocka_unit_test(a_failover_that_lost_the_last_writes),
        cmocka_unit_test(the_models_equal_the_log_in_the_end),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
