/* SPDX-License-Identifier: Apache-2.0 */
/* Which keys are looked at together, and how what Redis holds is compared with the shadow. */
#include "verify/models_internal.h"

enum {
    MEMBERS_PER_PROBE = 256, /* of one sorted set */
    FIELD_SHOWN_MAX = 32,
    NEVER_EXPIRES = -1, /* as EXPIRETIME says it */
};

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
        probe_differ(models, key->name,
                     expected.ptr ? "field %.*s has another value" : "field %.*s is too many", shown(field),
                     field.ptr);
        return;
    }
    if (found != shadow_fields(key) && !key->may_lack)
        probe_differ(models, key->name, "%zu of %zu fields are missing", shadow_fields(key) - found,
                     shadow_fields(key));
}

static void compare_string(struct verify_models *models, const struct shadow_key *key,
                           const struct redis_reply *reply)
{
    struct span found = redis_text(reply), expected = {key->bytes, key->len};
    if (!span_equal(found, expected))
        probe_differ(models, key->name, "%zu bytes, not these %zu", found.len, expected.len);
}

static void compare_expiry(struct verify_models *models, const struct shadow_key *key,
                           const struct redis_reply *reply)
{
    int64_t expected = key->expires_at_s ? key->expires_at_s : NEVER_EXPIRES, found = redis_integer(reply);
    if (found != expected)
        probe_differ(models, key->name, "it expires at %lld, not %lld (-1: never)", (long long)found,
                     (long long)expected);
}

static void compare_key(struct verify_models *models, const struct shadow_key *key,
                        const struct redis_reply *reply, const struct redis_reply *expiry)
{
    bool hash = key->type == SHADOW_HASH;
    enum redis_kind kind = redis_kind(reply);
    bool absent = hash ? kind == REDIS_ARRAY && redis_length(reply) == 0 : kind == REDIS_NIL;
    size_t before = models->found_count;
    models->keys++;
    models->means->totals->keys++;
    if (absent && shadow_is_over(&models->shadow, key))
        return;
    if (absent)
        probe_differ(models, key->name, "it is missing");
    else if (kind != (hash ? REDIS_ARRAY : REDIS_STRING))
        probe_differ(models, key->name, "it is of another type");
    else
        (hash ? compare_hash : compare_string)(models, key, reply);
    if (models->found_count == before) /* one difference for a key */
        compare_expiry(models, key, expiry);
}

static void send_read(struct verify_models *models, const struct shadow_key *key)
{
    probe_command(models, key->type == SHADOW_HASH ? "HGETALL" : "GET");
    redis_arg(&models->command, key->name);
    probe_send(models);
    probe_command(models, "EXPIRETIME");
    redis_arg(&models->command, key->name);
    probe_send(models);
}

static void probe_keys(struct verify_models *models, const struct key_name *names, size_t count)
{
    probe_begin(models);
    for (size_t i = 0; i < count; i++)
        send_read(models, shadow_get(&models->shadow, key_name_text(&names[i])));
    const struct redis_reply *reply = probe_end(models, 2 * count);
    for (size_t i = 0; reply && i < count; i++) {
        const struct shadow_key *key = shadow_get(&models->shadow, key_name_text(&names[i]));
        if (key) /* folding on may have forgotten it, for another pass */
            compare_key(models, key, redis_at(reply, 2 * i + 1), redis_at(reply, 2 * i + 2));
    }
    probe_report(models);
}

/* --- comparing sorted sets --- */

/* As many members as fit into one probe, of those that were there when looking began. */
static size_t pick_members(struct shadow_key *key, size_t *slot, int64_t since, struct span *ret)
{
    size_t count = 0;
    for (; *slot < key->members.capacity && count < MEMBERS_PER_PROBE; ++*slot) {
        const struct map_entry *entry = &key->members.entries[*slot];
        struct shadow_member *member = entry->key.ptr ? entry->value : NULL;
        if (!member || member->compared || member->since > since)
            continue;
        member->compared = true;
        ret[count++] = entry->key;
    }
    return count;
}

/* Scores are whole numbers, and Redis writes them as such. */
static bool score_is(const struct redis_reply *reply, int64_t score)
{
    int64_t found;
    return parse_i64(redis_text(reply), INT64_MIN, INT64_MAX, &found) && found == score;
}

/* The members that are still expected at the instant of the reply. `names` are copies. */
static void compare_members(struct verify_models *models, const struct shadow_key *key,
                            const struct redis_reply *reply, const struct span *names, size_t count)
{
    const struct redis_reply *scores = redis_at(reply, 2);
    size_t missing = 0, wrong = 0;
    if (redis_kind(redis_at(reply, 1)) != REDIS_INTEGER) {
        probe_differ(models, key->name, "it is of another type");
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
        probe_differ(models, key->name, "%zu members are missing, %zu have another score", missing, wrong);
    else if (there != key->members.count)
        probe_differ(models, key->name, "%zu members, not %zu", there, key->members.count);
}

/* Looks at the picked members; they are copied, because folding on may free them. */
static void probe_members(struct verify_models *models, struct span name, const struct span *picked,
                          size_t count)
{
    struct span names[MEMBERS_PER_PROBE];
    struct buf copies;
    size_t offset = 0;
    buf_init(&copies, SIZE_MAX);
    for (size_t i = 0; i < count; i++)
        buf_append_span(&copies, picked[i]);
    for (size_t i = 0; i < count; offset += picked[i++].len)
        names[i] = (struct span){copies.data + offset, picked[i].len};
    probe_begin(models);
    probe_command(models, "ZCARD");
    redis_arg(&models->command, name);
    probe_send(models);
    probe_command(models, "ZMSCORE");
    redis_arg(&models->command, name);
    for (size_t i = 0; i < count; i++)
        redis_arg(&models->command, names[i]);
    probe_send(models);
    const struct redis_reply *reply = probe_end(models, 2);
    const struct shadow_key *key = shadow_get(&models->shadow, name);
    if (reply && key)
        compare_members(models, key, reply, names, count);
    buf_deinit(&copies);
    probe_report(models);
}

static void probe_zset(struct verify_models *models, struct shadow_key *key)
{
    struct span picked[MEMBERS_PER_PROBE];
    struct key_name name = key_name_of(key->name);
    int64_t since = models->shadow.position;
    size_t slot = 0, count;
    models->keys++;
    models->means->totals->keys++;
    while (probe_going(models) && (count = pick_members(key, &slot, since, picked)) > 0) {
        const struct map_entry *entries = key->members.entries;
        probe_members(models, key_name_text(&name), picked, count);
        key = map_get(&models->shadow.by_name, key_name_text(&name));
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
static void probe_stranger(struct verify_models *models, struct span name)
{
    probe_begin(models);
    probe_command(models, "EXISTS");
    redis_arg(&models->command, name);
    probe_send(models);
    const struct redis_reply *reply = probe_end(models, 1);
    if (reply && redis_integer(redis_at(reply, 1)) == 1 && !is_expected(models, name))
        probe_differ(models, name, "no event makes such a key");
    probe_report(models);
}

/* One page of SCAN; returns the cursor of the next, empty at the end. */
static bool scan_page(struct verify_models *models, struct buf *cursor, struct span match)
{
    struct buf strangers; /* names, each with its length before it */
    probe_command(models, "SCAN");
    redis_arg(&models->command, buf_span(cursor));
    redis_arg_text(&models->command, "MATCH");
    redis_arg(&models->command, match);
    redis_arg_text(&models->command, "COUNT");
    redis_arg_text(&models->command, "1000");
    probe_send(models);
    const struct redis_reply *reply = probe_receive(models);
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
    for (size_t at = 0, len; at < strangers.len && probe_going(models); at += len) {
        memcpy(&len, strangers.data + at, sizeof len);
        at += sizeof len;
        probe_stranger(models, (struct span){strangers.data + at, len});
    }
    buf_deinit(&strangers);
    return probe_going(models) && !span_is(buf_span(cursor), "0");
}

void compare_strangers(struct verify_models *models)
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

void compare_zsets(struct verify_models *models)
{
    struct shadow *shadow = &models->shadow;
    for (size_t i = 0; i < shadow->keys_count && probe_going(models); i++)
        if (shadow->keys[i] && shadow->keys[i]->type == SHADOW_ZSET)
            probe_zset(models, shadow->keys[i]);
}

/* Those that are made while looking come at the end, and are not waited for: they were folded just now. */
void compare_others(struct verify_models *models)
{
    struct shadow *shadow = &models->shadow;
    struct key_name names[KEYS_PER_PROBE];
    size_t i = 0, all = shadow->keys_count;
    while (i < all && probe_going(models)) {
        size_t count = 0;
        for (; i < all && count < KEYS_PER_PROBE; i++)
            if (shadow->keys[i] && shadow->keys[i]->type != SHADOW_ZSET)
                names[count++] = key_name_of(shadow->keys[i]->name);
        probe_keys(models, names, count);
        models->means->tick(models->means->context, models->keys);
    }
}
