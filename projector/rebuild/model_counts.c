/* SPDX-License-Identifier: Apache-2.0 */
/* Counting, a page of commands at a time. */
#include "projector/rebuild/model_counts.h"

#include "common/base/clock.h"

enum { PAGE = 500, CAMPAIGNS_PAGE = 100 };

struct counting {
    struct redis *redis;
    struct model model;
    int64_t timeout_ms;
    struct redis_command command;
    struct buf key;
    size_t sent;
};

static void begin(struct counting *counting, const char *verb)
{
    redis_command_reset(&counting->command);
    redis_arg_text(&counting->command, verb);
    buf_clear(&counting->key);
}

static void add_key(struct counting *counting)
{
    redis_arg(&counting->command, buf_span(&counting->key));
}

static void send(struct counting *counting)
{
    redis_send(counting->redis, &counting->command);
    counting->sent++;
}

/* The sum of the integers that everything sent is answered with. */
static enum redis_status sum(struct counting *counting, int64_t *add_to)
{
    enum redis_status first = REDIS_OK;
    int64_t deadline_us = clock_deadline_us(counting->timeout_ms);
    for (; counting->sent > 0; counting->sent--) {
        const struct redis_reply *reply;
        enum redis_status status = redis_receive(counting->redis, deadline_us, &reply);
        if (status == REDIS_LOST)
            return status;
        if (status == REDIS_OK)
            *add_to += redis_integer(reply);
        else if (first == REDIS_OK)
            first = status;
    }
    return first;
}

static enum redis_status call(struct counting *counting, const struct redis_reply **ret)
{
    return redis_call(counting->redis, &counting->command, clock_deadline_us(counting->timeout_ms), ret);
}

static enum redis_status count_coupons(struct counting *counting, int64_t up_to, int64_t *ret)
{
    enum redis_status status = REDIS_OK;
    for (int64_t chunk = 0; status == REDIS_OK && chunk <= up_to / COUPON_CHUNK; chunk++) {
        begin(counting, "HLEN");
        key_coupons(&counting->key, counting->model, chunk * COUPON_CHUNK);
        add_key(counting);
        send(counting);
        if (counting->sent == PAGE)
            status = sum(counting, ret);
    }
    return status == REDIS_OK ? sum(counting, ret) : status;
}

static enum redis_status count_holdings(struct counting *counting, int64_t *ret)
{
    enum redis_status status = REDIS_OK;
    int64_t bytes = 0;
    for (int64_t bucket = 0; status == REDIS_OK && bucket < USER_BUCKETS; bucket++) {
        begin(counting, "STRLEN");
        key_users(&counting->key, counting->model, bucket);
        add_key(counting);
        send(counting);
        if (counting->sent == PAGE)
            status = sum(counting, &bytes);
    }
    if (status == REDIS_OK)
        status = sum(counting, &bytes);
    *ret = bytes / HOLDING_BYTES;
    return status;
}

static enum redis_status count_holders(struct counting *counting, struct span campaign, int64_t issued,
                                       int64_t *ret)
{
    enum redis_status status = REDIS_OK;
    for (int64_t sequence = 1; status == REDIS_OK && sequence <= issued; sequence += KEY_CHUNK) {
        begin(counting, "HLEN");
        key_holders(&counting->key, counting->model, campaign, sequence);
        add_key(counting);
        send(counting);
        if (counting->sent == PAGE)
            status = sum(counting, ret);
    }
    return status == REDIS_OK ? sum(counting, ret) : status;
}

static enum redis_status count_campaign(struct counting *counting, struct span campaign,
                                        struct model_counts *ret)
{
    const struct redis_reply *reply;
    int64_t issued = 0;
    begin(counting, "HGET");
    key_campaign(&counting->key, counting->model, campaign);
    add_key(counting);
    redis_arg_text(&counting->command, "issued");
    enum redis_status status = call(counting, &reply);
    if (status != REDIS_OK)
        return status;
    if (!parse_i64(redis_text(reply), 0, QUANTITY_MAX, &issued))
        issued = 0;
    ret->issued += issued;
    return count_holders(counting, campaign, issued, &ret->holders);
}

/* The ids of a page are copied, because the reply lives only until the next one. */
static enum redis_status count_page(struct counting *counting, int64_t from, struct model_counts *ret,
                                    size_t *ret_count)
{
    char ids[CAMPAIGNS_PAGE][CAMPAIGN_ID_MAX];
    size_t lengths[CAMPAIGNS_PAGE], count;
    const struct redis_reply *reply;
    begin(counting, "ZRANGE");
    key_index(&counting->key, counting->model, INDEX_CAMPAIGNS);
    add_key(counting);
    redis_arg_i64(&counting->command, from);
    redis_arg_i64(&counting->command, from + CAMPAIGNS_PAGE - 1);
    enum redis_status status = call(counting, &reply);
    if (status != REDIS_OK)
        return status;
    count = redis_length(reply) < CAMPAIGNS_PAGE ? redis_length(reply) : CAMPAIGNS_PAGE;
    for (size_t i = 0; i < count; i++) {
        struct span id = redis_text(redis_at(reply, i));
        lengths[i] = id.len <= CAMPAIGN_ID_MAX ? id.len : 0;
        memcpy(ids[i], id.ptr, lengths[i]);
    }
    for (size_t i = 0; status == REDIS_OK && i < count; i++)
        status = count_campaign(counting, (struct span){ids[i], lengths[i]}, ret);
    ret->campaigns += (int64_t)count;
    *ret_count = count;
    return status;
}

static enum redis_status count_campaigns(struct counting *counting, struct model_counts *ret)
{
    enum redis_status status = REDIS_OK;
    size_t count = CAMPAIGNS_PAGE;
    for (int64_t from = 0; status == REDIS_OK && count == CAMPAIGNS_PAGE; from += CAMPAIGNS_PAGE)
        status = count_page(counting, from, ret, &count);
    return status;
}

static enum redis_status read_position(struct counting *counting, int64_t *ret)
{
    const struct redis_reply *reply;
    begin(counting, "HGET");
    key_checkpoint(&counting->key, counting->model);
    add_key(counting);
    redis_arg_text(&counting->command, "pos");
    enum redis_status status = call(counting, &reply);
    if (status == REDIS_OK && !parse_i64(redis_text(reply), 0, INT64_MAX, ret))
        *ret = 0;
    return status;
}

enum redis_status model_counts_read(struct redis *redis, struct model model, int64_t up_to,
                                    int64_t timeout_ms, struct model_counts *ret)
{
    struct counting counting = {.redis = redis, .model = model, .timeout_ms = timeout_ms};
    *ret = (struct model_counts){0};
    redis_command_init(&counting.command);
    buf_init(&counting.key, KEY_TEXT_MAX);
    enum redis_status status = read_position(&counting, &ret->position);
    if (status == REDIS_OK)
        status = count_campaigns(&counting, ret);
    if (status == REDIS_OK)
        status = count_coupons(&counting, up_to, &ret->coupon_fields);
    if (status == REDIS_OK && ret->issued > 0)
        status = count_holdings(&counting, &ret->holdings);
    redis_command_deinit(&counting.command);
    buf_deinit(&counting.key);
    return status;
}
