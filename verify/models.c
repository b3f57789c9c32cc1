/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the models in small transactions and comparing them with the shadow. */
#include "verify/models_internal.h"

#include <poll.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

enum {
    REDIS_MS = 5000,
    ATTEMPTS = 5,      /* of a slice whose replay or generation changed meanwhile */
    SETTLE_MS = 30000, /* how long to wait for a catching up to go on */
    SETTLE_POLL_MS = 100,
    CLOCKS_DIFFER_S = 60, /* between this machine and Redis */
};

struct instant {
    int64_t position, life;
    bool behind;
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
    shadow_init(&models->shadow, memory);
    return models;
}

void verify_models_destroy(struct verify_models *models)
{
    if (!models)
        return;
    redis_destroy(models->redis);
    redis_command_deinit(&models->command);
    buf_deinit(&models->key);
    shadow_deinit(&models->shadow);
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

static void fail(struct verify_models *models, enum models_status status, const char *what)
{
    models->failed = status;
    snprintf(models->error, sizeof models->error, "%s", what);
}

/* --- talking to Redis --- */

void probe_command(struct verify_models *models, const char *name)
{
    redis_command_reset(&models->command);
    redis_arg_text(&models->command, name);
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
        fail(models, MODELS_UNAVAILABLE, redis_error(models->redis));
    return NULL;
}

static bool connect_if_needed(struct verify_models *models)
{
    if (redis_connected(models->redis))
        return true;
    if (redis_connect(models->redis, clock_deadline_us(REDIS_MS)) == REDIS_OK)
        return true;
    fail(models, MODELS_UNAVAILABLE, redis_error(models->redis));
    return false;
}

/* 0: there is none. */
static int64_t read_generation(struct verify_models *models)
{
    int64_t generation = 0;
    probe_command(models, "GET");
    buf_clear(&models->key);
    key_live(&models->key);
    redis_arg(&models->command, buf_span(&models->key));
    probe_send(models);
    const struct redis_reply *reply = probe_receive(models);
    if (reply && redis_text(reply).ptr && !parse_i64(redis_text(reply), 1, INT64_MAX, &generation))
        fail(models, MODELS_UNSETTLED, "the live generation is no number");
    return generation;
}

static void send_instant(struct verify_models *models)
{
    probe_command(models, "HMGET");
    buf_clear(&models->key);
    key_checkpoint(&models->key, models->model);
    redis_arg(&models->command, buf_span(&models->key));
    redis_arg_text(&models->command, "pos");
    redis_arg_text(&models->command, "life");
    redis_arg_text(&models->command, "behind");
    probe_send(models);
}

/* A field that is absent is 0. */
static int64_t number_at(const struct redis_reply *reply, size_t index)
{
    int64_t number;
    struct span text = redis_text(redis_at(reply, index));
    return text.ptr && parse_i64(text, 0, INT64_MAX, &number) ? number : 0;
}

static struct instant instant_of(const struct redis_reply *reply)
{
    if (redis_kind(reply) != REDIS_ARRAY || redis_length(reply) != 3)
        return (struct instant){0};
    return (struct instant){number_at(reply, 0), number_at(reply, 1), number_at(reply, 2) != 0};
}

static struct instant read_instant(struct verify_models *models)
{
    send_instant(models);
    const struct redis_reply *reply = probe_receive(models);
    return reply ? instant_of(reply) : (struct instant){0};
}

/* What is sent until probe_end is read at one instant, that of the checkpoint. */
void probe_begin(struct verify_models *models)
{
    models->shadow.now_s = clock_wall_us() / US_PER_S + CLOCKS_DIFFER_S;
    probe_command(models, "MULTI");
    probe_send(models);
    send_instant(models);
}

static void fold_to(struct verify_models *models, int64_t position);

/* The replies of the transaction after the checkpoint's, of which there must be `count`, once the shadow is
 * at the same instant; NULL when this cannot be. They live until the next command. */
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
    struct instant instant = instant_of(redis_at(reply, 0));
    models->moved = instant.life != models->life || instant.position < models->shadow.position;
    if (!models->moved && instant.position > models->shadow.position)
        fold_to(models, instant.position);
    return probe_going(models) ? reply : NULL;
}

/* --- folding --- */

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

/* What the probe found counts only where its generation is still the live one: a former one is being dropped.
 */
void probe_report(struct verify_models *models)
{
    size_t count = models->found_count;
    models->found_count = 0;
    if (count == 0 || models->moved)
        return;
    if (read_generation(models) != models->model.generation) {
        models->moved = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const struct found *found = &models->found[i];
        struct verify_place place = {.slice = models->model.slice,
                                     .position = models->shadow.position,
                                     .key = key_name_text(&found->key)};
        verify_differ(models->means->report, VERIFY_MODEL, &place, "%s", found->detail);
    }
}

/* Adds one event of the log to the shadow, or ends a page. */
static bool fold_event(void *context, const struct event *event, enum codec_status status)
{
    struct verify_models *models = context;
    struct shadow *shadow = &models->shadow;
    if (!event || shadow->projection.events == PROJECTION_EVENTS_MAX)
        shadow_apply(shadow);
    if (!event)
        return true;
    int64_t next = shadow->position + (int64_t)shadow->projection.events + 1;
    if (event->position == next && status == CODEC_OK && shadow_add(shadow, event))
        return true;
    if (!models->stuck)
        probe_differ(models, (struct span){0}, "the projector cannot have come beyond the event before %lld",
                     (long long)event->position);
    models->stuck = true;
    return false;
}

static void fold_to(struct verify_models *models, int64_t position)
{
    struct verify_range range = {models->model.slice, models->shadow.position, position};
    enum verify_status status = verify_source_read(models->means->source, &range, fold_event, models);
    if (status != VERIFY_OK)
        models->failed = MODELS_STORE;
    else if (models->shadow.position < position && !models->stuck)
        probe_differ(models, (struct span){0}, "the checkpoint is at %lld, beyond the end of the log",
                     (long long)position);
    models->stuck |= models->shadow.position < position;
    if (models->stuck && models->failed == MODELS_OK)
        fail(models, MODELS_UNSETTLED, "the models of a slice are not of this log");
}

/* --- a slice --- */

/* Once through all keys of the part that the shadow holds. */
static void probe_all(struct verify_models *models, const struct instant *instant)
{
    fold_to(models, instant->position);
    probe_report(models);
    if (probe_going(models))
        compare_zsets(models);
    if (probe_going(models))
        compare_others(models);
    if (probe_going(models))
        compare_strangers(models);
}

/* Where the models of the slice stand. Generation 0: there are none. */
static struct instant find_models(struct verify_models *models, int16_t slice)
{
    models->model = (struct model){read_generation(models), slice};
    struct instant instant = {0};
    if (models->failed == MODELS_OK && models->model.generation > 0)
        instant = read_instant(models);
    models->life = instant.life;
    return instant;
}

/* While a slice is being replayed, keys may be there that the checkpoint has not come to again. A replay
 * takes as long as the log is, so what is waited for is that it goes on. */
static bool await_models(struct verify_models *models, int16_t slice, struct instant *ret)
{
    int64_t until_us = 0, position = -1;
    for (;;) {
        *ret = find_models(models, slice);
        bool there = models->model.generation > 0 && (ret->position > 0 || models->head == 0);
        if (models->failed != MODELS_OK || (there && !ret->behind))
            return models->failed == MODELS_OK;
        if (ret->position > position || until_us == 0)
            until_us = clock_deadline_us(SETTLE_MS);
        position = ret->position;
        if (clock_remaining_ms(until_us) == 0) {
            fail(models, MODELS_UNSETTLED, "models of a slice are not there or do not catch up");
            return false;
        }
        (void)poll(NULL, 0, SETTLE_POLL_MS);
    }
}

static void attempt(struct verify_models *models, int16_t slice)
{
    struct instant instant;
    if (!await_models(models, slice, &instant))
        return;
    models->moved = false;
    models->shadow.now_s = clock_wall_us() / US_PER_S + CLOCKS_DIFFER_S;
    shadow_begin(&models->shadow, models->model);
    do {
        probe_all(models, &instant);
    } while (probe_going(models) && shadow_again(&models->shadow));
    if (models->failed == MODELS_OK && read_generation(models) != models->model.generation)
        models->moved = true;
}

enum models_status verify_models_slice(struct verify_models *models, const struct verify_models_means *means,
                                       int16_t slice, int64_t head)
{
    models->means = means;
    models->head = head;
    models->keys = 0;
    models->failed = MODELS_OK;
    models->moved = true;
    models->stuck = false;
    if (!connect_if_needed(models))
        return models->failed;
    for (int i = 0; i < ATTEMPTS && models->moved && models->failed == MODELS_OK; i++)
        attempt(models, slice);
    if (models->failed == MODELS_OK && models->moved)
        fail(models, MODELS_UNSETTLED,
             "the models of a slice were replayed again and again while being read");
    return models->failed;
}
