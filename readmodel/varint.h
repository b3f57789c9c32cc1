/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers in records: seven bits a byte, lowest first (LEB128), and big-endian of fixed width. Reading trusts
 * nothing: what is not a number of that kind makes the cursor bad, and everything read from it is 0. */
#pragma once

#include "common/base/bytes.h"

static inline void varint_put(struct buf *out, uint64_t value)
{
    char bytes[10];
    size_t len = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[len++] = (char)(unsigned char)(value | 0x80);
    bytes[len++] = (char)(unsigned char)value;
    buf_append(out, bytes, len);
}

/* Numbers of either sign, the small ones short. */
static inline void varint_put_signed(struct buf *out, int64_t value)
{
    varint_put(out, (uint64_t)value << 1 ^ (uint64_t)(value >> 63));
}

static inline void text_put(struct buf *out, struct span text)
{
    varint_put(out, text.len);
    buf_append(out, text.ptr, text.len);
}

struct cursor_bytes {
    struct span rest;
    bool bad;
};

static inline uint64_t varint_get(struct cursor_bytes *from)
{
    uint64_t value = 0;
    for (size_t i = 0; i < from->rest.len && i < 10; i++) {
        unsigned char byte = (unsigned char)from->rest.ptr[i];
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte & 0x80)
            continue;
        from->rest.ptr += i + 1;
        from->rest.len -= i + 1;
        return value;
    }
    from->bad = true;
    return 0;
}

/* One that must be 0..max. */
static inline int64_t number_get(struct cursor_bytes *from, int64_t max)
{
    uint64_t value = varint_get(from);
    if (value > (uint64_t)max)
        from->bad = true;
    return from->bad ? 0 : (int64_t)value;
}

static inline int64_t varint_get_signed(struct cursor_bytes *from)
{
    uint64_t value = varint_get(from);
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

static inline struct span bytes_get(struct cursor_bytes *from, size_t len)
{
    struct span bytes = {from->rest.ptr, len};
    if (from->bad || len > from->rest.len) {
        from->bad = true;
        return (struct span){"", 0};
    }
    from->rest.ptr += len;
    from->rest.len -= len;
    return bytes;
}

static inline struct span text_get(struct cursor_bytes *from, size_t len_max)
{
    uint64_t len = varint_get(from);
    if (len > len_max)
        from->bad = true;
    return bytes_get(from, from->bad ? 0 : (size_t)len);
}

static inline void big_endian_write(char *bytes, size_t len, uint64_t value)
{
    for (size_t i = len; i-- > 0; value >>= 8)
        bytes[i] = (char)(unsigned char)value;
}

static inline uint64_t big_endian_read(const char *bytes, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++)
        value = value << 8 | (unsigned char)bytes[i];
    return value;
}
