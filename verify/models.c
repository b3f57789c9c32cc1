/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting until the models of a slice are current. */
#include "verify/models.h"

#include <poll.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "readmodel/checkpoint.h"

enum { REDIS_MS = 5000, SETTLE_MS = 30000, SETTLE_POLL_MS = 100 };

struct verify_models {
    struct redis *redis;
    char error[160];
};

struct verify_models *verify_models_create(const char *redis_url, size_t memory, char *reason,
                                           size_t reason_size)
{
    struct redis *redis = redis_create(redis_url, reason, reason_size);
    (void)memory;
    if (!redis)
        return NULL;
    struct verify_models *models = mem_zalloc(sizeof *models);
    models->redis = redis;
    return models;
}

void verify_models_destroy(struct verify_models *models)
{
    if (!models)
        return;
    redis_destroy(models->redis);
    mem_free(models);
}

const char *verify_models_error(const struct verify_models *models)
{
    return models->error;
}

static enum redis_status read_root(struct verify_models *models, int16_t slice, struct checkpoint *ret)
{
    struct redis_command command;
    struct buf key;
    const struct redis_reply *reply;
    enum redis_status status = REDIS_OK;
    if (!redis_connected(models->redis))
        status = redis_connect(models->redis, clock_deadline_us(REDIS_MS));
    if (status != REDIS_OK)
        return status;
    redis_command_init(&command);
    buf_init(&key, KEY_TEXT_MAX);
    key_root(&key, slice);
    checkpoint_command(&command, buf_span(&key));
    status = redis_call(models->redis, &command, clock_deadline_us(REDIS_MS), &reply);
    if (status == REDIS_OK)
        *ret = checkpoint_from_reply(reply);
    redis_command_deinit(&command);
    buf_deinit(&key);
    return status;
}

enum models_status verify_models_slice(struct verify_models *models, const struct verify_models_means *means,
                                       int16_t slice, int64_t head)
{
    int64_t until_us = clock_deadline_us(SETTLE_MS);
    (void)means;
    for (;;) {
        struct checkpoint root;
        if (read_root(models, slice, &root) != REDIS_OK) {
            snprintf(models->error, sizeof models->error, "%s", redis_error(models->redis));
            return MODELS_UNAVAILABLE;
        }
        if (root.present && !root.behind && root.position >= head)
            return MODELS_OK;
        if (clock_mono_us() > until_us) {
            snprintf(models->error, sizeof models->error, "slice %d: the models are not current", slice);
            return MODELS_UNSETTLED;
        }
        (void)poll(NULL, 0, SETTLE_POLL_MS);
    }
}
