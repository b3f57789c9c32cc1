/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks of coupons: reading and writing. */
#include "readmodel/coupon_chunk.h"

#include "readmodel/varint.h"

/* --- reading --- */

bool chunk_open(struct chunk_reader *reader, struct span bytes, int16_t slice, int64_t position)
{
    if (!bytes.ptr || bytes.len < 2 ||
        (bytes.ptr[0] != CHUNK_HEAD_PLAIN && bytes.ptr[0] != CHUNK_HEAD_STATES))
        return false;
    reader->context.count = 0;
    reader->context.at_us = 0;
    reader->bytes = bytes;
    reader->rest = (struct span){bytes.ptr + 1, bytes.len - 1};
    reader->slice = slice;
    reader->first = position / COUPON_CHUNK * COUPON_CHUNK;
    reader->before = -1;
    reader->has_states = bytes.ptr[0] == CHUNK_HEAD_STATES;
    reader->corrupt = false;
    return true;
}

static struct chunk_campaign *get_campaign(struct chunk_context *context, struct cursor_bytes *from,
                                           size_t index)
{
    if (index > context->count || index >= COUPON_CHUNK) {
        from->bad = true;
        if (context->count == 0)
            context->campaigns[0] = (struct chunk_campaign){0}; /* what is read of it is thrown away */
        return &context->campaigns[0];
    }
    struct chunk_campaign *campaign = &context->campaigns[index];
    if (index == context->count) {
        *campaign = (struct chunk_campaign){.id = text_get(from, CAMPAIGN_ID_MAX),
                                            .prefix = text_get(from, CODE_PREFIX_MAX)};
        context->count++;
    }
    return campaign;
}

/* Adds what was read to what came before; numbers that no writer makes must not overflow either. */
static int64_t add(struct cursor_bytes *from, int64_t *to, int64_t difference)
{
    if (__builtin_add_overflow(*to, difference, to))
        from->bad = true;
    return *to;
}

bool chunk_next(struct chunk_reader *reader, struct event *ret)
{
    struct cursor_bytes from = {reader->rest, false};
    if (reader->corrupt || reader->rest.len == 0)
        return false;
    struct span head = bytes_get(&from, 2);
    if (from.bad) {
        reader->corrupt = true;
        return false;
    }
    struct chunk_campaign *campaign = get_campaign(&reader->context, &from, (unsigned char)head.ptr[1]);
    *ret = (struct event){.slice = reader->slice,
                          .position = reader->first + (unsigned char)head.ptr[0],
                          .type = EVENT_CouponIssued,
                          .version = 1,
                          .campaign_id = campaign->id,
                          .user_id = text_get(&from, USER_ID_MAX)};
    ret->coupon_issued = (struct coupon_issued){
        .sequence = add(&from, &campaign->sequence, number_get(&from, QUANTITY_MAX)),
        .nth = number_get(&from, PER_USER_LIMIT_MAX),
        .code_prefix = campaign->prefix,
    };
    ret->recorded_at_us = add(&from, &reader->context.at_us, number_get(&from, INT64_MAX / 2));
    ret->coupon_issued.expires_at_us = add(&from, &campaign->expires_at_us, varint_get_signed(&from));
    reader->corrupt = from.bad || ret->position <= reader->before ||
                      ret->position >= reader->first + COUPON_CHUNK || ret->user_id.len == 0 ||
                      campaign->id.len == 0 || campaign->sequence < 1 || campaign->expires_at_us < 0;
    reader->before = ret->position;
    reader->rest = from.rest;
    return !reader->corrupt;
}

/* --- writing --- */

void chunk_writer_init(struct chunk_writer *writer)
{
    *writer = (struct chunk_writer){0};
    buf_init(&writer->bytes, CHUNK_BYTES_MAX);
}

void chunk_writer_deinit(struct chunk_writer *writer)
{
    buf_deinit(&writer->bytes);
}

void chunk_writer_begin(struct chunk_writer *writer)
{
    buf_clear(&writer->bytes);
    writer->context.count = 0;
    writer->context.at_us = writer->issued_at_us = 0;
    writer->lost = false;
}

/* Texts move with the buffer, so what is remembered is where they are in it. */
static struct span text_at(const struct chunk_writer *writer, size_t at, size_t len)
{
    return (struct span){writer->bytes.data + at, len};
}

static size_t campaign_index(const struct chunk_writer *writer, const struct event *issued)
{
    const struct chunk_context *context = &writer->context;
    for (size_t i = context->count; i-- > 0;) { /* the last one most often */
        const struct chunk_campaign *is = &context->campaigns[i];
        if (span_equal(text_at(writer, is->id_at, is->id.len), issued->campaign_id) &&
            span_equal(text_at(writer, is->prefix_at, is->prefix.len), issued->coupon_issued.code_prefix))
            return i;
    }
    return context->count;
}

static struct chunk_campaign *put_campaign(struct chunk_writer *writer, const struct event *issued)
{
    struct buf *out = &writer->bytes;
    struct chunk_campaign *is = &writer->context.campaigns[writer->context.count++];
    *is = (struct chunk_campaign){.id = issued->campaign_id, .prefix = issued->coupon_issued.code_prefix};
    text_put(out, is->id);
    is->id_at = out->len - is->id.len;
    text_put(out, is->prefix);
    is->prefix_at = out->len - is->prefix.len;
    return is;
}

void chunk_writer_add(struct chunk_writer *writer, const struct event *issued)
{
    const struct coupon_issued *is = &issued->coupon_issued;
    struct chunk_context *context = &writer->context;
    struct buf *out = &writer->bytes;
    if (out->len == 0)
        buf_append_char(out, CHUNK_HEAD_PLAIN);
    size_t index = campaign_index(writer, issued);
    CHECK(index < COUPON_CHUNK && issued->recorded_at_us >= context->at_us);
    buf_append_char(out, (char)(unsigned char)(issued->position % COUPON_CHUNK));
    buf_append_char(out, (char)(unsigned char)index);
    struct chunk_campaign *campaign =
        index == context->count ? put_campaign(writer, issued) : &context->campaigns[index];
    text_put(out, issued->user_id);
    varint_put(out, (uint64_t)(is->sequence - campaign->sequence));
    varint_put(out, (uint64_t)is->nth);
    varint_put(out, (uint64_t)(issued->recorded_at_us - context->at_us));
    varint_put_signed(out, is->expires_at_us - campaign->expires_at_us);
    CHECK(!out->overflow);
    campaign->sequence = is->sequence;
    campaign->expires_at_us = is->expires_at_us;
    context->at_us = writer->issued_at_us = issued->recorded_at_us;
}

void chunk_writer_resume(struct chunk_writer *writer, struct span bytes, size_t len, int16_t slice,
                         int64_t position)
{
    struct chunk_reader reader;
    struct event issued;
    chunk_writer_begin(writer);
    if (len == 0)
        return;
    if (bytes.ptr && bytes.len == len && len <= CHUNK_BYTES_MAX &&
        chunk_open(&reader, bytes, slice, position)) {
        while (chunk_next(&reader, &issued))
            chunk_writer_add(writer, &issued);
        writer->lost = reader.corrupt || writer->bytes.len != len;
        if (!writer->lost) {
            writer->bytes.data[0] = bytes.ptr[0];
            return;
        }
    }
    /* What comes is put where it would be, behind zeros that no reader takes for a head. */
    chunk_writer_begin(writer);
    for (size_t i = 0; i < len && i < CHUNK_BYTES_MAX; i++)
        buf_append_char(&writer->bytes, 0);
    writer->lost = true;
}
