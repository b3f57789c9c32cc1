/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the models in small transactions and comparing them with the shadow. */
#include "projector/verify_models.h"

#include <poll.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/redis.h"
#include "projector/shadow.h"

enum {
    REDIS_MS = 5000,
    KEYS_PER_LOOK = 64,     /* in one transaction: bounds how long Redis serves nobody else */
    MEMBERS_PER_LOOK = 256, /* of one sorted set */
    ATTEMPTS = 5,           /* of a slice whose replay or generation changed meanwhile */
    SETTLE_MS = 30000,      /* how long to wait for models that are catching up */
    SETTLE_POLL_MS = 100,
    FIELD_SHOWN_MAX = 32,
};

struct instant {
    int64_t position, life;
    bool behind;
};

/* A key by a copy of its name: folding on may free the shadow's own. Longer ones than ours are cut off. */
struct key_name {
    char text[KEY_TEXT_MAX];
    size_t len;
};

struct found {
    struct key_name key;
    char detail[160];
};

struct verify_models {
    struct redis *redis;
    struct redis_command command;
    struct buf key;
    struct shadow shadow;
    const struct verify_models_means *means;
    struct model model;
    int64_t life, head;
    int64_t keys; /* compared in this slice */
    enum verify_models_look failed; /* what stopped it; MODELS_LOOKED: nothing did */
    bool moved;                     /* replayed, gone back or switched: the attempt is void */
    bool told_stuck;
    struct found found[KEYS_PER_LOOK + 4]; /* by the look that is going on */
    size_t found_count;
    char error[200];
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

static bool going(const struct verify_models *models)
{
    return models->failed == MODELS_LOOKED && !models->moved;
}

static void fail(struct verify_models *models, enum verify_models_look look, const char *what)
{
    models->failed = look;
    snprintf(models->error, sizeof models->error, "%s", what);
}

/* --- talking to Redis --- */

static void begin(struct verify_models *models, const char *name)
{
    redis_command_reset(&models->command);
    redis_arg_text(&models->command, name);
}

static void send(struct verify_models *models)
{
    redis_send(models->redis, &models->command);
}

static const struct redis_reply *receive(struct verify_models *models)
{
    const struct redis_reply *reply = NULL;
    enum redis_status status = redis_receive(models->redis, clock_deadline_us(REDIS_MS), &reply);
    if (status == REDIS_OK)
        return reply;
    if (models->failed == MODELS_LOOKED)
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
    begin(models, "GET");
    buf_clear(&models->key);
    key_live(&models->key);
    redis_arg(&models->command, buf_span(&models->key));
    send(models);
    const struct redis_reply *reply = receive(models);
    if (reply && redis_text(reply).ptr && !parse_i64(redis_text(reply), 1, INT64_MAX, &generation))
        fail(models, MODELS_UNSETTLED, "the live generation is no number");
    return generation;
}

static void send_instant(struct verify_models *models)
{
    begin(models, "HMGET");
    buf_clear(&models->key);
    key_checkpoint(&models->key, models->model);
    redis_arg(&models->command, buf_span(&models->key));
    redis_arg_text(&models->command, "pos");
    redis_arg_text(&models->command, "life");
    redis_arg_text(&models->command, "behind");
    send(models);
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
    const struct redis_reply *reply = receive(models);
    return reply ? instant_of(reply) : (struct instant){0};
}

/* A transaction: what is sent between begin_look and end_look is read at one instant, that of the checkpoint. */
static void begin_look(struct verify_models *models)
{
    begin(models, "MULTI");
    send(models);
    send_instant(models);
}

static void fold_to(struct verify_models *models, int64_t position);

/* The replies of the transaction after the checkpoint's, of which there must be `count`, once the shadow is at
 * the same instant; NULL when this cannot be. They live until the next command. */
static const struct redis_reply *end_look(struct verify_models *models, size_t count)
{
    begin(models, "EXEC");
    send(models);
    for (size_t i = 0; i < count + 2; i++) /* MULTI's OK, then QUEUED for each */
        (void)receive(models);
    const struct redis_reply *reply = receive(models);
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
    return going(models) ? reply : NULL;
}

/* --- folding --- */

static struct key_name name_of(struct span text)
{
    struct key_name name = {.len = text.len < KEY_TEXT_MAX ? text.len : KEY_TEXT_MAX};
    if (name.len)
        memcpy(name.text, text.ptr, name.len);
    return name;
}

static struct span text_of(const struct key_name *name)
{
    return (struct span){name->text, name->len};
}

static void differ(struct verify_models *models, struct span key, const char *format, ...) PRINTF_LIKE(3, 4);

static void differ(struct verify_models *models, struct span key, const char *format, ...)
{
    va_list args;
    CHECK(models->found_count < COUNT_OF(models->found));
    struct found *found = &models->found[models->found_count++];
    found->key = name_of(key);
    va_start(args, format);
    vsnprintf(found->detail, sizeof found->detail, format, args);
    va_end(args);
}

/* What the look found counts only where its generation is still the live one: a former one is being dropped. */
static void end_findings(struct verify_models *models)
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
                                     .key = text_of(&found->key)};
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
    if (!models->told_stuck)
        differ(models, (struct span){0}, "the projector cannot have come beyond the event before %lld",
               (long long)event->position);
    models->told_stuck = true;
    return false;
}

static void fold_to(struct verify_models *models, int64_t position)
{
    struct verify_range range = {models->model.slice, models->shadow.position, position};
    enum verify_look look = verify_source_read(models->means->source, &range, fold_event, models);
    if (look != VERIFY_LOOKED)
        models->failed = MODELS_STORE;
    else if (models->shadow.position < position && !models->told_stuck)
        differ(models, (struct span){0}, "the checkpoint is at %lld, beyond the end of the log",
               (long long)position);
    models->told_stuck |= models->shadow.position < position;
    if (models->told_stuck && models->failed == MODELS_LOOKED)
        fail(models, MODELS_UNSETTLED, "the models of a slice are not of this log");
}

/* --- comparing hashes and strings --- */

static int shown(struct span field)
{
    return field.len < FIELD_SHOWN_MAX ? (int)field.len : FIELD_SHOWN_MAX;
}

static void compare_hash(struct verify_models *models, const struct shadow_key *key,
                         const struct redis_reply *reply)
{
    size_t found = 0;
    for (size_t i = 0; i + 1 < redis_length(reply); i += 2) {
        struct span field = redis_text(redis_at(reply, i));
        struct span expected = shadow_field(key, field);
        found += expected.ptr != NULL;
        if (expected.ptr && span_equal(expected, redis_text(redis_at(reply, i + 1))))
            continue;
        differ(models, key->name, expected.ptr ? "field %.*s has another value" : "field %.*s is too many",
               shown(field), field.ptr);
        return;
    }
    if (found != shadow_fields(key))
        differ(models, key->name, "%zu of %zu fields are missing", shadow_fields(key) - found,
               shadow_fields(key));
}

static void compare_string(struct verify_models *models, const struct shadow_key *key,
                           const struct redis_reply *reply)
{
    struct span found = redis_text(reply), expected = {key->bytes, key->len};
    if (!span_equal(found, expected))
        differ(models, key->name, "%zu bytes, not these %zu", found.len, expected.len);
}

static void compare_key(struct verify_models *models, const struct shadow_key *key,
                        const struct redis_reply *reply)
{
    bool hash = key->type == SHADOW_HASH;
    enum redis_kind kind = redis_kind(reply);
    bool absent = hash ? kind == REDIS_ARRAY && redis_length(reply) == 0 : kind == REDIS_NIL;
    models->keys++;
    models->means->totals->keys++;
    if (absent)
        differ(models, key->name, "it is missing");
    else if (kind != (hash ? REDIS_ARRAY : REDIS_STRING))
        differ(models, key->name, "it is of another type");
    else
        (hash ? compare_hash : compare_string)(models, key, reply);
}

static void send_read(struct verify_models *models, const struct shadow_key *key)
{
    begin(models, key->type == SHADOW_HASH ? "HGETALL" : "GET");
    redis_arg(&models->command, key->name);
    send(models);
}

static void look_at_keys(struct verify_models *models, const struct key_name *names, size_t count)
{
    begin_look(models);
    for (size_t i = 0; i < count; i++)
        send_read(models, shadow_get(&models->shadow, text_of(&names[i])));
    const struct redis_reply *reply = end_look(models, count);
    for (size_t i = 0; reply && i < count; i++) {
        const struct shadow_key *key = shadow_get(&models->shadow, text_of(&names[i]));
        if (key) /* folding on may have forgotten it, for another pass */
            compare_key(models, key, redis_at(reply, i + 1));
    }
    end_findings(models);
}

/* --- comparing sorted sets --- */

/* As many members as fit into one look, of those that were there when looking began. */
static size_t pick_members(struct shadow_key *key, size_t *slot, int64_t since, struct span *ret)
{
    size_t count = 0;
    for (; *slot < key->members.capacity && count < MEMBERS_PER_LOOK; ++*slot) {
        const struct map_entry *entry = &key->members.entries[*slot];
        struct shadow_member *member = entry->key.ptr ? entry->value : NULL;
        if (!member || member->looked_at || member->since > since)
            continue;
        member->looked_at = true;
        ret[count++] = entry->key;
    }
    return count;
}

static bool score_is(const struct redis_reply *reply, double score)
{
    char text[64];
    struct span found = redis_text(reply);
    if (!found.ptr || found.len >= sizeof text)
        return false;
    memcpy(text, found.ptr, found.len);
    text[found.len] = '\0';
    return strtod(text, NULL) == score;
}

/* The members that are still expected at the instant of the reply. `names` are copies. */
static void compare_members(struct verify_models *models, const struct shadow_key *key,
                            const struct redis_reply *reply, const struct span *names, size_t count)
{
    const struct redis_reply *scores = redis_at(reply, 2);
    size_t missing = 0, wrong = 0;
    if (redis_kind(redis_at(reply, 1)) != REDIS_INTEGER) {
        differ(models, key->name, "it is of another type");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const struct shadow_member *member = map_get(&key->members, names[i]);
        const struct redis_reply *score = redis_at(scores, i);
        missing += member && redis_kind(score) == REDIS_NIL;
        wrong += member && redis_kind(score) != REDIS_NIL && !score_is(score, member->score);
    }
    size_t there = (size_t)redis_integer(redis_at(reply, 1));
    if (missing || wrong)
        differ(models, key->name, "%zu members are missing, %zu have another score", missing, wrong);
    else if (there != key->members.count)
        differ(models, key->name, "%zu members, not %zu", there, key->members.count);
}

/* Looks at the picked members; they are copied, because folding on may free them. */
static void look_at_members(struct verify_models *models, struct span name, const struct span *picked,
                            size_t count)
{
    struct span names[MEMBERS_PER_LOOK];
    struct buf copies;
    size_t offset = 0;
    buf_init(&copies, SIZE_MAX);
    for (size_t i = 0; i < count; i++)
        buf_append_span(&copies, picked[i]);
    for (size_t i = 0; i < count; offset += picked[i++].len)
        names[i] = (struct span){copies.data + offset, picked[i].len};
    begin_look(models);
    begin(models, "ZCARD");
    redis_arg(&models->command, name);
    send(models);
    begin(models, "ZMSCORE");
    redis_arg(&models->command, name);
    for (size_t i = 0; i < count; i++)
        redis_arg(&models->command, names[i]);
    send(models);
    const struct redis_reply *reply = end_look(models, 2);
    const struct shadow_key *key = shadow_get(&models->shadow, name);
    if (reply && key)
        compare_members(models, key, reply, names, count);
    buf_deinit(&copies);
    end_findings(models);
}

static void look_at_zset(struct verify_models *models, struct shadow_key *key)
{
    struct span picked[MEMBERS_PER_LOOK];
    struct key_name name = name_of(key->name);
    int64_t since = models->shadow.position;
    size_t slot = 0, count;
    models->keys++;
    models->means->totals->keys++;
    while (going(models) && (count = pick_members(key, &slot, since, picked)) > 0) {
        const struct map_entry *entries = key->members.entries;
        look_at_members(models, text_of(&name), picked, count);
        key = map_get(&models->shadow.by_name, text_of(&name));
        if (!key)
            return;
        if (key->members.entries != entries)
            slot = 0; /* it has grown, and they are elsewhere; those looked at say so */
    }
}

/* --- what is there and should not be --- */

/* All keys of the models of a slice begin like its checkpoint's. */
static void write_prefix(struct verify_models *models, struct buf *out)
{
    key_checkpoint(out, models->model);
    while (out->len > 0 && out->data[out->len - 1] != ':')
        out->len--;
}

static bool is_expected(struct verify_models *models, struct span name)
{
    buf_clear(&models->key);
    key_checkpoint(&models->key, models->model);
    return span_equal(name, buf_span(&models->key)) || !shadow_has(&models->shadow, name) ||
           shadow_get(&models->shadow, name) != NULL;
}

/* The key was seen by SCAN and was not expected then: looked at again, at one instant with the checkpoint. */
static void look_at_stranger(struct verify_models *models, struct span name)
{
    begin_look(models);
    begin(models, "EXISTS");
    redis_arg(&models->command, name);
    send(models);
    const struct redis_reply *reply = end_look(models, 1);
    if (reply && redis_integer(redis_at(reply, 1)) == 1 && !is_expected(models, name))
        differ(models, name, "no event makes such a key");
    end_findings(models);
}

/* One page of SCAN; returns the cursor of the next, empty at the end. */
static bool scan_page(struct verify_models *models, struct buf *cursor, struct span match)
{
    struct buf strangers; /* names, each with its length before it */
    begin(models, "SCAN");
    redis_arg(&models->command, buf_span(cursor));
    redis_arg_text(&models->command, "MATCH");
    redis_arg(&models->command, match);
    redis_arg_text(&models->command, "COUNT");
    redis_arg_text(&models->command, "1000");
    send(models);
    const struct redis_reply *reply = receive(models);
    if (!reply || redis_length(reply) != 2)
        return false;
    buf_clear(cursor);
    buf_append_span(cursor, redis_text(redis_at(reply, 0)));
    buf_init(&strangers, SIZE_MAX);
    for (size_t i = 0; i < redis_length(redis_at(reply, 1)); i++) {
        struct span name = redis_text(redis_at(redis_at(reply, 1), i));
        if (is_expected(models, name))
            continue;
        buf_append(&strangers, &name.len, sizeof name.len);
        buf_append_span(&strangers, name);
    }
    for (size_t at = 0, len; at < strangers.len && going(models); at += len) {
        memcpy(&len, strangers.data + at, sizeof len);
        at += sizeof len;
        look_at_stranger(models, (struct span){strangers.data + at, len});
    }
    buf_deinit(&strangers);
    return going(models) && !span_is(buf_span(cursor), "0");
}

static void look_for_strangers(struct verify_models *models)
{
    struct buf cursor, match;
    buf_init(&cursor, 64);
    buf_init(&match, KEY_TEXT_MAX);
    write_prefix(models, &match);
    buf_append_char(&match, '*');
    buf_append_char(&cursor, '0');
    while (scan_page(models, &cursor, buf_span(&match)))
        continue;
    buf_deinit(&cursor);
    buf_deinit(&match);
}

/* --- a slice --- */

static void look_at_zsets(struct verify_models *models)
{
    struct shadow *shadow = &models->shadow;
    for (size_t i = 0; i < shadow->keys_count && going(models); i++)
        if (shadow->keys[i] && shadow->keys[i]->type == SHADOW_ZSET)
            look_at_zset(models, shadow->keys[i]);
}

/* Those that are made while looking come at the end, and are not waited for: they were folded just now. */
static void look_at_others(struct verify_models *models)
{
    struct shadow *shadow = &models->shadow;
    struct key_name names[KEYS_PER_LOOK];
    size_t i = 0, all = shadow->keys_count;
    while (i < all && going(models)) {
        size_t count = 0;
        for (; i < all && count < KEYS_PER_LOOK; i++)
            if (shadow->keys[i] && shadow->keys[i]->type != SHADOW_ZSET)
                names[count++] = name_of(shadow->keys[i]->name);
        look_at_keys(models, names, count);
        models->means->tick(models->means->context, models->keys);
    }
}

/* Once through all keys of the part that the shadow holds. */
static void look_once(struct verify_models *models, const struct instant *instant)
{
    fold_to(models, instant->position);
    end_findings(models);
    if (going(models))
        look_at_zsets(models);
    if (going(models))
        look_at_others(models);
    if (going(models))
        look_for_strangers(models);
}

static bool find_models(struct verify_models *models, int16_t slice, struct instant *ret)
{
    models->model = (struct model){read_generation(models), slice};
    if (models->failed != MODELS_LOOKED)
        return false;
    if (models->model.generation == 0) {
        fail(models, MODELS_UNSETTLED, "there are no read models");
        return false;
    }
    *ret = read_instant(models);
    models->life = ret->life;
    return models->failed == MODELS_LOOKED;
}

/* While a slice is being replayed, keys may be there that the checkpoint has not come to again. */
static bool await_models(struct verify_models *models, int16_t slice, struct instant *ret)
{
    int64_t until_us = clock_deadline_us(SETTLE_MS);
    while (find_models(models, slice, ret)) {
        bool there = ret->position > 0 || models->head == 0;
        if (there && !ret->behind)
            return true;
        if (clock_remaining_ms(until_us) == 0) {
            fail(models, MODELS_UNSETTLED, "models of a slice are not there or do not catch up");
            return false;
        }
        (void)poll(NULL, 0, SETTLE_POLL_MS);
    }
    return false;
}

static void attempt(struct verify_models *models, int16_t slice)
{
    struct instant instant;
    if (!await_models(models, slice, &instant))
        return;
    models->moved = false;
    shadow_begin(&models->shadow, models->model);
    do {
        look_once(models, &instant);
    } while (going(models) && shadow_again(&models->shadow));
    if (models->failed == MODELS_LOOKED && read_generation(models) != models->model.generation)
        models->moved = true;
}

enum verify_models_look verify_models_slice(struct verify_models *models,
                                            const struct verify_models_means *means, int16_t slice,
                                            int64_t head)
{
    models->means = means;
    models->head = head;
    models->keys = 0;
    models->failed = MODELS_LOOKED;
    models->moved = true;
    models->told_stuck = false;
    if (!connect_if_needed(models))
        return models->failed;
    for (int i = 0; i < ATTEMPTS && models->moved && models->failed == MODELS_LOOKED; i++)
        attempt(models, slice);
    if (models->failed == MODELS_LOOKED && models->moved)
        fail(models, MODELS_UNSETTLED, "the models of a slice were replayed again and again while being read");
    return models->failed;
}
