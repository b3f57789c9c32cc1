/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the codec share: decoding from memory of the exact size, comparing payloads. Only for
 * *_test.c files. */
#pragma once

#include "common/base/testing.h"
#include "events/codec.h"

/* Decodes from memory that ends where the bytes end, so that reading on is noticed by the sanitizer. */
static inline enum codec_status decode_as(enum event_type type, struct span bytes, struct arena *arena,
                                          struct event *ret)
{
    char *exact = mem_alloc(bytes.len);
    if (bytes.len)
        memcpy(exact, bytes.ptr, bytes.len);
    *ret = (struct event){
        .type = type, .version = event_describe((int)type)->version, .data = {exact, bytes.len}};
    memset(&ret->campaign_created, 0xA5,
           sizeof *ret - offsetof(struct event, campaign_created)); /* used before */
    enum codec_status status = event_decode(ret, arena);
    ret->data = (struct span){exact, bytes.len};
    return status;
}

static inline enum codec_status status_of(enum event_type type, struct span bytes)
{
    struct arena arena;
    struct event event;
    arena_init(&arena, 1 << 20);
    enum codec_status status = decode_as(type, bytes, &arena, &event);
    mem_free((char *)event.data.ptr);
    arena_deinit(&arena);
    return status;
}

static inline void expect_bytes(enum event_type type, struct span bytes, enum codec_status expected,
                                const char *why)
{
    enum codec_status status = status_of(type, bytes);
    if (status != expected)
        fail_msg("%s, type %d: status %d", why, (int)type, (int)status);
}

static inline void assert_field_equal(const struct event_field *field, const char *got, const char *want)
{
    const void *a = got + field->offset, *b = want + field->offset;
    const struct text_list *texts_a = a, *texts_b = b;
    const struct release_list *releases_a = a, *releases_b = b;
    switch (field->kind) {
    case FIELD_INT:
        assert_true(*(const int64_t *)a == *(const int64_t *)b);
        break;
    case FIELD_TEXT:
        assert_true(span_equal(*(const struct span *)a, *(const struct span *)b));
        break;
    case FIELD_TEXTS:
        assert_int_equal(texts_a->count, texts_b->count);
        for (size_t i = 0; i < texts_a->count; i++)
            assert_true(span_equal(texts_a->items[i], texts_b->items[i]));
        break;
    case FIELD_RELEASES:
        assert_int_equal(releases_a->count, releases_b->count);
        for (size_t i = 0; i < releases_a->count; i++)
            assert_memory_equal(&releases_a->items[i], &releases_b->items[i], sizeof(struct release));
        break;
    }
}

static inline void assert_payload_equal(const struct event *got, const struct event *want)
{
    const struct event_description *is = event_describe((int)want->type);
    for (size_t i = 0; i < is->fields_count; i++)
        assert_field_equal(&is->fields[i], (const char *)&got->campaign_created,
                           (const char *)&want->campaign_created);
}

/* What is accepted is inside the bounds: it can be written again, and is the same when read again. */
static inline bool survives(enum event_type type, struct span bytes)
{
    struct arena arena;
    struct event event, again;
    struct buf out;
    arena_init(&arena, 1 << 20);
    enum codec_status status = decode_as(type, bytes, &arena, &event);
    assert_true(status == CODEC_OK || status == CODEC_CORRUPT);
    if (status == CODEC_OK) {
        buf_init(&out, EVENT_DATA_MAX);
        event_encode(&event, &out);
        assert_int_equal(decode_as(type, buf_span(&out), &arena, &again), CODEC_OK);
        assert_payload_equal(&again, &event);
        mem_free((char *)again.data.ptr);
        buf_deinit(&out);
    }
    mem_free((char *)event.data.ptr);
    arena_deinit(&arena);
    return status == CODEC_OK;
}

/* --- MessagePack by hand: what is tested must not be checked with itself --- */

static inline void put_bytes(struct buf *out, unsigned first, uint64_t value, unsigned width)
{
    buf_append_char(out, (char)first);
    for (unsigned i = width; i > 0; i--)
        buf_append_char(out, (char)(value >> (8 * (i - 1))));
}

static inline void put_uint(struct buf *out, uint64_t value)
{
    if (value < 128)
        put_bytes(out, (unsigned)value, 0, 0);
    else
        put_bytes(out, 0xCF, value, 8);
}

static inline void put_text(struct buf *out, size_t len)
{
    put_bytes(out, 0xDB, len, 4);
    for (size_t i = 0; i < len; i++)
        buf_append_char(out, 'x');
}

static inline void put_map(struct buf *out, size_t count)
{
    put_bytes(out, 0xDF, count, 4);
}

static inline void put_array(struct buf *out, size_t count)
{
    put_bytes(out, 0xDD, count, 4);
}

static inline void assert_hex(const struct buf *bytes, const char *golden)
{
    struct buf hex;
    buf_init(&hex, 2 * EVENT_DATA_MAX);
    hex_encode(&hex, bytes->data, bytes->len);
    assert_string_equal(hex.data, golden);
    buf_deinit(&hex);
}
