/* SPDX-License-Identifier: Apache-2.0 */
/* Shared answers as text, and the two exchanges with Redis.
 *
 * The text: "1 <status> <wall us> <slices> <bucket> <campaign slot> <every> <etag> <position>...", a line
 * end, the body. Another version of this program that does not understand it loads for itself. */
#include "query-service/cache/share.h"

#include "common/base/crypto.h"
#include "readmodel/keys.h"

enum { HASH_BYTES = 16, TOKEN_TEXT = 20 };

bool share_concerns(enum query_kind kind)
{
    return kind == QUERY_CAMPAIGN || kind == QUERY_CAMPAIGNS || kind == QUERY_RANKING;
}

/* --- texts --- */

void share_encode(const struct copy *copy, int64_t mono_us, int64_t wall_us, struct buf *out)
{
    buf_printf(out, "1 %d %lld %d %d %d %d %s", copy->status,
               (long long)(wall_us - (mono_us - copy->loaded_us)), copy->slices, copy->bucket,
               copy->campaign_slot, copy->every, copy->etag);
    for (int i = 0; i < __builtin_popcount(copy->slices); i++)
        buf_printf(out, " %lld", (long long)copy->positions[i]);
    buf_append_char(out, '\n');
    buf_append_span(out, copy->body);
}

static bool number(struct span *rest, int64_t min, int64_t max, int64_t *ret)
{
    return parse_i64(span_cut(rest, ' '), min, max, ret);
}

static bool decode_head(struct span head, struct share *ret, int64_t *ret_wall_us)
{
    int64_t version, status, slices, bucket, slot, every;
    if (!number(&head, 1, 1, &version) || !number(&head, 200, 200, &status) ||
        !number(&head, 0, INT64_MAX, ret_wall_us) || !number(&head, 0, UINT16_MAX, &slices) ||
        !number(&head, COPY_NO_BUCKET, USER_GROUPS - 1, &bucket) ||
        !number(&head, 0, COPY_CAMPAIGN_SLOTS, &slot) || !number(&head, 0, 1, &every))
        return false;
    struct span etag = span_cut(&head, ' ');
    if (!etag.ptr || etag.len > COPY_ETAG_MAX)
        return false;
    memcpy(ret->etag, etag.ptr, etag.len);
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (slices >> slice & 1 && !number(&head, 0, INT64_MAX, &ret->positions[slice]))
            return false;
    ret->subject = (struct copy_subject){(uint16_t)slot, (int32_t)bucket, every != 0, (uint16_t)slices};
    return !head.ptr;
}

bool share_decode(struct span text, int64_t mono_us, int64_t wall_us, struct share *ret)
{
    int64_t loaded_us;
    struct span body = text, head = span_cut(&body, '\n');
    *ret = (struct share){0};
    if (!body.ptr || !decode_head(head, ret, &loaded_us))
        return false;
    ret->age_us = wall_us - loaded_us;
    ret->source = (struct copy_source){.body = body,
                                       .etag = ret->etag,
                                       .status = 200,
                                       .subject = &ret->subject,
                                       .stands_on = ret->positions,
                                       .began_us = mono_us - ret->age_us,
                                       .ended_us = mono_us - ret->age_us};
    return true;
}

/* A clock that is ahead of ours by more would make an answer look young for as long. */
bool share_usable(const struct share *share, const int64_t at_least[SLICE_COUNT])
{
    enum { SKEW_US = 50 * 1000 };
    if (share->age_us < -SKEW_US || share->age_us > SHARE_AGE_MAX_MS * 1000)
        return false;
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (share->subject.slices >> slice & 1 && share->positions[slice] < at_least[slice])
            return false;
    return true;
}

/* --- exchanges --- */

/* Keys have no target in the clear: it may name a user. */
static void add_key(struct redis_command *command, struct span target,
                    void (*build)(struct buf *, struct span))
{
    struct buf hex, key;
    uint8_t hash[HASH_BYTES];
    buf_init(&hex, 2 * HASH_BYTES);
    buf_init(&key, KEY_TEXT_MAX);
    crypto_hash(NULL, target, hash, sizeof hash);
    hex_encode(&hex, hash, sizeof hash);
    build(&key, buf_span(&hex));
    redis_arg(command, buf_span(&key));
    buf_deinit(&hex);
    buf_deinit(&key);
}

static void add_token(struct redis_command *command, uint64_t token)
{
    char text[TOKEN_TEXT];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)token);
    redis_arg_text(command, text);
}

void share_send_ask(struct redis *redis, struct redis_command *command, struct span target, uint64_t token)
{
    CHECK(token != 0);
    redis_command_reset(command);
    redis_arg_text(command, "GET");
    add_key(command, target, key_shared_answer);
    redis_send(redis, command);
    redis_command_reset(command);
    redis_arg_text(command, "SET");
    add_key(command, target, key_shared_lease);
    add_token(command, token);
    redis_arg_text(command, "NX");
    redis_arg_text(command, "PX");
    redis_arg_i64(command, SHARE_LEASE_MS);
    redis_send(redis, command);
}

struct span share_answer(const struct redis_reply *reply)
{
    return redis_kind(reply) == REDIS_STRING ? redis_text(reply) : (struct span){NULL, 0};
}

bool share_leased(const struct redis_reply *reply)
{
    return redis_kind(reply) == REDIS_STATUS_TEXT;
}

void share_send_answer(struct redis *redis, struct redis_command *command, struct span target, uint64_t token,
                       struct span text)
{
    static const char script[] = "if redis.call('GET',KEYS[1])~=ARGV[1] then return 0 end "
                                 "redis.call('SET',KEYS[2],ARGV[2],'PX',ARGV[3]) "
                                 "redis.call('DEL',KEYS[1]) return 1";
    redis_command_reset(command);
    redis_arg_text(command, "EVAL");
    redis_arg_text(command, script);
    redis_arg_i64(command, 2);
    add_key(command, target, key_shared_lease);
    add_key(command, target, key_shared_answer);
    add_token(command, token);
    redis_arg(command, text);
    redis_arg_i64(command, SHARE_ANSWER_MS);
    redis_send(redis, command);
}
