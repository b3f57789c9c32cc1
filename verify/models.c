/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the models in small transactions, each with the facts of the same instant. */
#include "verify/models_internal.h"

#include <poll.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

enum {
    REDIS_MS = 5000,
    ATTEMPTS = 5,      /* of a slice that was made anew or switched meanwhile */
    SETTLE_MS = 15000, /* how long to wait for models, or for a Redis that answered, while nothing goes on */
    SETTLE_POLL_MS = 100,
};

struct verify_models *verify_models_create(const char *redis_url, size_t memory, char *reason,
                                           size_t reason_size)
{
    struct redis *redis = redis_create(redis_url, reason, reason_size);
    if (!redis)
        return NULL;
    struct verify_models *models = mem_zalloc(sizeof *models);
    models->redis = redis;
    redis_command_init(&models->command);
    buf_init(&models->key, KEY_TEXT_MAX);
    facts_init(&models->facts, memory);
    return models;
}

void verify_models_destroy(struct verify_models *models)
{
    if (!models)
        return;
    redis_destroy(models->redis);
    redis_command_deinit(&models->command);
    buf_deinit(&models->key);
    facts_deinit(&models->facts);
    mem_free(models);
}

const char *verify_models_error(const struct verify_models *models)
{
    return models->error;
}

/* --- trouble --- */

bool probe_going(const struct verify_models *models)
{
    return models->failed == MODELS_OK && !models->moved;
}

static void fail(struct verify_models *models, enum models_status status, const char *format, ...)
    PRINTF_LIKE(3, 4);

static void fail(struct verify_models *models, enum models_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    models->failed = status;
    vsnprintf(models->error, sizeof models->error, format, args);
    va_end(args);
}

void probe_give_up(struct verify_models *models, const char *what)
{
    fail(models, MODELS_UNSETTLED, "models of slice %d: %s", models->model.slice, what);
}

/* --- talking to Redis --- */

void probe_command(struct verify_models *models, const char *name)
{
    redis_command_reset(&models->command);
    redis_arg_text(&models->command, name);
}

void probe_key_command(struct verify_models *models, const char *name)
{
    probe_command(models, name);
    redis_arg(&models->command, buf_span(&models->key));
    buf_clear(&models->key);
}

void probe_send(struct verify_models *models)
{
    redis_send(models->redis, &models->command);
}

const struct redis_reply *probe_receive(struct verify_models *models)
{
    const struct redis_reply *reply = NULL;
    enum redis_status status = redis_receive(models->redis, clock_deadline_us(REDIS_MS), &reply);
    if (status == REDIS_OK)
        return reply;
    if (models->failed == MODELS_OK)
        fail(models, MODELS_UNAVAILABLE, "%s", redis_error(models->redis));
    return NULL;
}

/* What has no key goes to the slice's server: MULTI and EXEC, and SCAN. */
static void aim(struct verify_models *models, int16_t slice)
{
    key_root(&models->key, slice);
    redis_aim(models->redis, redis_server_of(models->redis, buf_span(&models->key)));
    buf_clear(&models->key);
}

static bool connect_if_needed(struct verify_models *models)
{
    if (redis_connected(models->redis))
        return true;
    if (redis_connect(models->redis, clock_deadline_us(REDIS_MS)) == REDIS_OK)
        return models->connected = true;
    fail(models, MODELS_UNAVAILABLE, "%s", redis_error(models->redis));
    return false;
}

static void send_root(struct verify_models *models)
{
    key_root(&models->key, models->model.slice);
    checkpoint_command(&models->command, buf_span(&models->key));
    buf_clear(&models->key);
    probe_send(models);
}

static struct checkpoint read_root(struct verify_models *models)
{
    send_root(models);
    const struct redis_reply *reply = probe_receive(models);
    return reply ? checkpoint_from_reply(reply) : (struct checkpoint){0};
}

void probe_begin(struct verify_models *models)
{
    probe_command(models, "MULTI");
    probe_send(models);
    send_root(models);
}

static void fold_to(struct verify_models *models, int64_t position);

const struct redis_reply *probe_end(struct verify_models *models, size_t count)
{
    probe_command(models, "EXEC");
    probe_send(models);
    for (size_t i = 0; i < count + 2; i++) /* MULTI's OK, then QUEUED for each */
        (void)probe_receive(models);
    const struct redis_reply *reply = probe_receive(models);
    if (!reply)
        return NULL;
    if (redis_length(reply) != count + 1) {
        fail(models, MODELS_UNAVAILABLE, "a transaction is not answered as it should be");
        return NULL;
    }
    struct checkpoint root = checkpoint_from_reply(redis_at(reply, 0));
    models->moved = !root.present || root.generation != models->model.generation ||
                    root.position < models->facts.position;
    models->root = root;
    if (!models->moved && root.position > models->facts.position)
        fold_to(models, root.position);
    return probe_going(models) ? reply : NULL;
}

/* --- differences --- */

struct key_name key_name_of(struct span text)
{
    struct key_name name = {.len = text.len < KEY_TEXT_MAX ? text.len : KEY_TEXT_MAX};
    if (name.len)
        memcpy(name.text, text.ptr, name.len);
    return name;
}

struct span key_name_text(const struct key_name *name)
{
    return (struct span){name->text, name->len};
}

void probe_differ(struct verify_models *models, struct span key, const char *format, ...)
{
    va_list args;
    CHECK(models->found_count < COUNT_OF(models->found));
    struct found *found = &models->found[models->found_count++];
    found->key = key_name_of(key);
    va_start(args, format);
    vsnprintf(found->detail, sizeof found->detail, format, args);
    va_end(args);
}

void probe_report(struct verify_models *models)
{
    size_t count = models->found_count;
    models->found_count = 0;
    if (count == 0 || models->moved)
        return;
    struct checkpoint root = read_root(models);
    if (!root.present || root.generation != models->model.generation) {
        models->moved = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const struct found *found = &models->found[i];
        struct verify_place place = {.slice = models->model.slice,
                                     .position = models->facts.position,
                                     .key = key_name_text(&found->key)};
        verify_differ(models->means->report, VERIFY_MODEL, &place, "%s", found->detail);
    }
}

/* --- folding --- */

/* Adds one event of the log to the facts. */
static bool fold_event(void *context, const struct event *event, enum codec_status status)
{
    struct verify_models *models = context;
    if (!event)
        return true;
    if (event->position == models->facts.position + 1 && status == CODEC_OK) {
        facts_add(&models->facts, event);
        return true;
    }
    if (!models->stuck)
        probe_differ(models, (struct span){0}, "the projector cannot have come beyond the event before %lld",
                     (long long)event->position);
    models->stuck = true;
    return false;
}

static void fold_to(struct verify_models *models, int64_t position)
{
    struct verify_range range = {models->model.slice, models->facts.position, position};
    enum verify_status status = verify_source_read(models->means->source, &range, fold_event, models);
    if (status != VERIFY_OK)
        models->failed = MODELS_STORE;
    else if (models->facts.position < position && !models->stuck)
        probe_differ(models, (struct span){0}, "the checkpoint is at %lld, beyond the end of the log",
                     (long long)position);
    models->stuck |= models->facts.position < position;
    if (models->stuck && models->failed == MODELS_OK)
        fail(models, MODELS_UNSETTLED, "the models of slice %d are not of this log", models->model.slice);
}

/* --- a slice --- */

/* Once through everything that this pass follows. */
static void compare_once(struct verify_models *models)
{
    static void (*const steps[])(struct verify_models *) = {
        compare_root, compare_campaigns, compare_coupons, compare_users, compare_indexes, compare_strangers,
    };
    fold_to(models, models->root.position);
    probe_report(models);
    for (size_t i = 0; i < COUNT_OF(steps) && probe_going(models); i++)
        steps[i](models);
}

/* How far the furthest generation is that is being made of the slice; 0: none is. */
static int64_t building_position(struct verify_models *models)
{
    int64_t numbers[32], furthest = 0;
    size_t count = 0;
    key_generations(&models->key, models->means->slices);
    probe_key_command(models, "HKEYS");
    probe_send(models);
    const struct redis_reply *reply = probe_receive(models);
    for (size_t i = 0; reply && i < redis_length(reply) && count < COUNT_OF(numbers); i++)
        count += parse_i64(redis_text(redis_at(reply, i)), 1, INT64_MAX, &numbers[count]);
    for (size_t i = 0; i < count && models->failed == MODELS_OK; i++) {
        key_checkpoint(&models->key, (struct model){numbers[i], models->model.slice});
        checkpoint_command(&models->command, buf_span(&models->key));
        buf_clear(&models->key);
        probe_send(models);
        reply = probe_receive(models);
        int64_t position = reply ? checkpoint_from_reply(reply).position : 0;
        furthest = position > furthest ? position : furthest;
    }
    return furthest;
}

/* A slice that lost its models gets new ones, which takes as long as its log is; so what is waited for is
 * that it goes on. */
static bool await_models(struct verify_models *models, int16_t slice)
{
    int64_t until_us = clock_deadline_us(models->waited ? 0 : SETTLE_MS), furthest = 0;
    models->model.slice = slice;
    for (;;) {
        models->root = read_root(models);
        models->model.generation = models->root.generation;
        bool none = models->head == 0 && !models->root.present;
        if (models->failed != MODELS_OK || models->root.present || none)
            return models->failed == MODELS_OK && !none;
        int64_t position = building_position(models);
        if (position > furthest)
            until_us = clock_deadline_us(SETTLE_MS);
        furthest = position > furthest ? position : furthest;
        if (clock_remaining_ms(until_us) == 0) {
            models->waited = true;
            fail(models, MODELS_UNSETTLED, "there are no models of slice %d, and nobody makes them", slice);
            return false;
        }
        (void)poll(NULL, 0, SETTLE_POLL_MS);
    }
}

static void attempt(struct verify_models *models, int16_t slice)
{
    models->moved = false;
    aim(models, slice);
    if (!await_models(models, slice))
        return;
    facts_begin(&models->facts, slice, models->root.position);
    do {
        compare_once(models);
    } while (probe_going(models) && facts_again(&models->facts));
}

static void attempt_some(struct verify_models *models, int16_t slice)
{
    models->keys = 0;
    models->failed = MODELS_OK;
    models->moved = true;
    models->stuck = false;
    models->found_count = 0;
    if (!connect_if_needed(models))
        return;
    for (int i = 0; i < ATTEMPTS && models->moved && models->failed == MODELS_OK; i++)
        attempt(models, slice);
    if (models->failed == MODELS_OK && models->moved)
        fail(models, MODELS_UNSETTLED,
             "the models of slice %d were lost or made anew again and again while being read", slice);
}

/* A Redis that was there and does not answer is waited for: a slot of a cluster is on its way from one server
 * to another, or another one takes the place of a primary. */
enum models_status verify_models_slice(struct verify_models *models, const struct verify_models_means *means,
                                       int16_t slice, int64_t head)
{
    models->means = means;
    models->head = head;
    attempt_some(models, slice);
    int64_t until_us = clock_deadline_us(models->waited ? 0 : SETTLE_MS);
    while (models->failed == MODELS_UNAVAILABLE && models->connected && clock_remaining_ms(until_us) > 0) {
        redis_disconnect(models->redis);
        (void)poll(NULL, 0, SETTLE_POLL_MS);
        attempt_some(models, slice);
    }
    models->waited |= models->failed == MODELS_UNAVAILABLE;
    return models->failed;
}
