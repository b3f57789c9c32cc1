/* SPDX-License-Identifier: Apache-2.0 */
/* The reading thread and its judgement. */
#include "tests/lib/watch.h"

#include "tests/lib/reads.h"
#include "tests/lib/wait.h"

enum { ANSWER_MS = 5000, AGAIN_MS = 120000 };

/* What was true at every moment since `since_us`: at least this many. */
static int64_t least_since(struct watch *watch, int64_t since_us)
{
    int64_t least = watch->history[0].issued;
    for (size_t i = 0; i < watch->history_count && watch->history[i].at_us <= since_us; i++)
        least = watch->history[i].issued;
    return least;
}

static void fail_with(struct watch *watch, const struct http_answer *answer, enum http_outcome outcome)
{
    if (watch->failures++ > 0)
        return;
    if (outcome == HTTP_ANSWERED)
        snprintf(watch->first_failure, sizeof watch->first_failure, "%d: %.*s", answer->status,
                 SPAN_ARG(answer->body));
    else
        snprintf(watch->first_failure, sizeof watch->first_failure, "outcome %d", (int)outcome);
}

/* Redis is a moment behind PostgreSQL, so where they take turns there may be steps back; never in what Redis
 * shows. */
static void judge(struct watch *watch, int64_t issued, int64_t least, bool redis, int64_t *before)
{
    pthread_mutex_lock(&watch->mutex);
    watch->answers++;
    watch->untrue += issued > watch->most;
    watch->too_old += issued < least;
    watch->from_redis += redis;
    watch->steps_back += redis && issued < *before;
    pthread_mutex_unlock(&watch->mutex);
    *before = redis && issued > *before ? issued : *before;
}

static void read_once(struct watch *watch, struct http_client *client, int64_t stale_us, int64_t *before)
{
    struct http_answer answer;
    struct http_call call = {
        .path = watch->path, .token = stack_env(watch->stack, "READ_TOKEN"), .timeout_ms = ANSWER_MS};
    pthread_mutex_lock(&watch->mutex);
    int64_t least = least_since(watch, clock_mono_us() - stale_us);
    pthread_mutex_unlock(&watch->mutex);
    enum http_outcome outcome = http_client_call(client, &call, &answer);
    if (outcome != HTTP_ANSWERED || answer.status != 200) {
        fail_with(watch, &answer, outcome);
        return;
    }
    judge(watch, body_int(answer.body, "issued"), least, reads_is_from(&answer, "redis"), before);
}

static void *run(void *argument)
{
    struct watch *watch = argument;
    int64_t before = 0;
    struct http_client *client = http_client_create(stack_env(watch->stack, "QUERY_URL"));
    while (!atomic_load(&watch->stop))
        read_once(watch, client, WATCH_STALE_MS * US_PER_MS, &before);
    http_client_destroy(client);
    return NULL;
}

static void add_history(struct watch *watch, int64_t issued)
{
    assert_true(watch->history_count < WATCH_HISTORY_MAX);
    watch->history[watch->history_count].at_us = clock_mono_us();
    watch->history[watch->history_count++].issued = issued;
}

/* A test that failed leaves its watch reading; it must not outlive what it reads from. */
static struct watch *running;

static void end_running(void)
{
    if (!running)
        return;
    atomic_store(&running->stop, true);
    (void)pthread_join(running->thread, NULL);
    running = NULL;
}

void watch_start(struct watch *watch, struct stack *stack, const char *campaign, int64_t issued)
{
    end_running();
    stack_before_stop(end_running);
    *watch = (struct watch){.stack = stack, .most = issued};
    pthread_mutex_init(&watch->mutex, NULL);
    snprintf(watch->path, sizeof watch->path, "/v1/campaigns/%s", campaign);
    add_history(watch, issued);
    assert_int_equal(pthread_create(&watch->thread, NULL, run, watch), 0);
    running = watch;
}

void watch_expect(struct watch *watch, int64_t most)
{
    pthread_mutex_lock(&watch->mutex);
    watch->most = most;
    pthread_mutex_unlock(&watch->mutex);
}

void watch_answered(struct watch *watch)
{
    pthread_mutex_lock(&watch->mutex);
    add_history(watch, watch->most);
    pthread_mutex_unlock(&watch->mutex);
}

void watch_issue(struct watch *watch, struct api_client *api, int batches)
{
    for (int batch = 0; batch < batches; batch++) {
        int64_t first = watch->most;
        watch_expect(watch, first + WATCH_BATCH);
        api_batch(api, watch->path + strlen("/v1/campaigns/"), "u", first, WATCH_BATCH);
        watch_answered(watch);
    }
}

static int64_t answers_of_redis(struct watch *watch)
{
    pthread_mutex_lock(&watch->mutex);
    int64_t answers = watch->from_redis;
    pthread_mutex_unlock(&watch->mutex);
    return answers;
}

void watch_await_redis(struct watch *watch)
{
    int64_t before = answers_of_redis(watch);
    WAIT_UNTIL(answers_of_redis(watch) > before, AGAIN_MS);
}

int64_t watch_answers(struct watch *watch)
{
    pthread_mutex_lock(&watch->mutex);
    int64_t answers = watch->answers;
    pthread_mutex_unlock(&watch->mutex);
    return answers;
}

void watch_stop(struct watch *watch, bool may_step_back)
{
    assert_ptr_equal(running, watch);
    end_running();
    pthread_mutex_destroy(&watch->mutex);
    if (watch->failures > 0)
        fail_msg("%lld reads failed, the first with %s", (long long)watch->failures, watch->first_failure);
    assert_true(watch->answers > 0);
    assert_int_equal(watch->untrue, 0);
    assert_int_equal(watch->too_old, 0);
    assert_true(may_step_back || watch->steps_back == 0);
}
