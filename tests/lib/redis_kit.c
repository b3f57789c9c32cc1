/* SPDX-License-Identifier: Apache-2.0 */
/* Words as commands. */
#include "tests/lib/redis_kit.h"

#include "common/base/clock.h"
#include "tests/lib/wait.h"

enum { PATIENCE_MS = 120000 };

struct redis *redis_kit_create(const char *url)
{
    char reason[128] = "";
    struct redis *redis = redis_create(url, reason, sizeof reason);
    if (!redis)
        fail_msg("%s", reason);
    return redis;
}

struct redis *redis_kit_connect(const char *url)
{
    struct redis *redis = redis_kit_create(url);
    enum redis_status status = redis_connect(redis, clock_deadline_us(PATIENCE_MS));
    if (status != REDIS_OK)
        fail_msg("connecting: %s, %s", redis_status_label(status), redis_error(redis));
    return redis;
}

void redis_kit_send(struct redis *redis, const char *const *words)
{
    struct redis_command command;
    redis_command_init(&command);
    for (; *words; words++)
        redis_arg_text(&command, *words);
    redis_send(redis, &command);
    redis_command_deinit(&command);
}

const struct redis_reply *redis_kit_receive(struct redis *redis)
{
    const struct redis_reply *reply;
    enum redis_status status = redis_receive(redis, clock_deadline_us(PATIENCE_MS), &reply);
    if (status != REDIS_OK)
        fail_msg("%s: %s", redis_status_label(status), redis_error(redis));
    return reply;
}

enum redis_status redis_kit_call(struct redis *redis, const char *const *words,
                                 const struct redis_reply **ret)
{
    redis_kit_send(redis, words);
    return redis_receive(redis, clock_deadline_us(PATIENCE_MS), ret);
}

void redis_kit_models_at(struct models *models, const char *url)
{
    redis_destroy(models->redis);
    models->redis = redis_kit_create(url);
}

void redis_kit_services(struct stack *stack, const char *url, struct models *models, struct api_client *api)
{
    setenv("SERVICES_REDIS_URL", url, 1);
    setenv("FIRSTCOME_CACHE_BYTES", "0", 1);
    stack_service(stack, "projector", "start");
    stack_service(stack, "command-service", "start");
    stack_service(stack, "query-service", "start");
    models_open(models, stack);
    redis_kit_models_at(models, url);
    api_open(api, stack);
}
