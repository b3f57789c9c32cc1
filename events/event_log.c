/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the log as events, and the hash chain over them. */
#include "events/event_log.h"

void event_log_read_args(struct pg_args *args, int16_t slice, int64_t after, int64_t limit)
{
    pg_args_reset(args);
    pg_arg_i16(args, slice);
    pg_arg_i64(args, after);
    pg_arg_i64(args, limit);
}

enum codec_status event_log_row(const struct pg_rows *rows, int row, int column, struct arena *arena,
                                struct event *ret)
{
    int at = column;
    *ret = (struct event){.position = pg_i64(rows, row, at)};
    int64_t type = pg_i64(rows, row, at + 1);
    ret->version = (int16_t)pg_i64(rows, row, at + 2);
    ret->campaign_id = pg_bytes(rows, row, at + 3);
    ret->user_id = pg_bytes(rows, row, at + 4);
    ret->coupon_id = pg_bytes(rows, row, at + 5);
    ret->recorded_at_us = pg_time(rows, row, at + 6);
    ret->trace = pg_bytes(rows, row, at + 7);
    ret->data = pg_bytes(rows, row, at + 8);
    ret->slice = (int16_t)pg_i64(rows, row, at + 9);
    if (!event_describe((int)type))
        return CODEC_UNKNOWN_TYPE;
    ret->type = (enum event_type)type;
    return event_decode(ret, arena);
}

static void add_u64(struct log_chain *chain, uint64_t value)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(value >> (56 - 8 * i));
    crypto_hash_add(&chain->hasher, (struct span){(const char *)bytes, sizeof bytes});
}

static void add_text(struct log_chain *chain, struct span text)
{
    add_u64(chain, text.ptr ? text.len : UINT64_MAX);
    crypto_hash_add(&chain->hasher, (struct span){text.ptr, text.ptr ? text.len : 0});
}

void log_chain_begin(struct log_chain *chain, const uint8_t before[32])
{
    crypto_hash_begin(&chain->hasher);
    crypto_hash_add(&chain->hasher, (struct span){(const char *)before, 32});
}

void log_chain_add(struct log_chain *chain, const struct event *event)
{
    CHECK(event->position > 0 && event->data.len > 0);
    add_u64(chain, (uint64_t)event->slice);
    add_u64(chain, (uint64_t)event->position);
    add_u64(chain, (uint64_t)event->type);
    add_u64(chain, (uint64_t)event->version);
    add_u64(chain, (uint64_t)event->recorded_at_us);
    add_text(chain, event->campaign_id);
    add_text(chain, event->user_id);
    add_text(chain, event->coupon_id);
    add_text(chain, event->trace);
    add_text(chain, event->data);
}

void log_chain_end(struct log_chain *chain, uint8_t ret[32])
{
    crypto_hash_end(&chain->hasher, ret);
}
