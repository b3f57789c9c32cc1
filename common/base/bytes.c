/* SPDX-License-Identifier: Apache-2.0 */
/* Spans, bounded buffers, strict number parsing, UTF-8 validation, hex and base64url. */
#include "common/base/bytes.h"

#include <inttypes.h>

#include "common/base/mem.h"

struct span span_of(const char *text)
{
    return (struct span){text, text ? strlen(text) : 0};
}

bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool span_is(struct span a, const char *text)
{
    return a.ptr && span_equal(a, span_of(text));
}

bool span_starts(struct span a, struct span prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.ptr, prefix.ptr, prefix.len) == 0);
}

int span_compare(struct span a, struct span b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared ? memcmp(a.ptr, b.ptr, shared) : 0;
    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

struct span span_cut(struct span *rest, char separator)
{
    const char *at = rest->len ? memchr(rest->ptr, separator, rest->len) : NULL;
    struct span head = *rest;
    if (!at) {
        *rest = (struct span){NULL, 0};
        return head;
    }
    head.len = (size_t)(at - rest->ptr);
    *rest = (struct span){at + 1, rest->len - head.len - 1};
    return head;
}

void buf_init(struct buf *buf, size_t len_max)
{
    *buf = (struct buf){.len_max = len_max};
}

void buf_deinit(struct buf *buf)
{
    mem_free(buf->data);
    *buf = (struct buf){.len_max = buf->len_max};
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->overflow = false;
    if (buf->data)
        buf->data[0] = '\0';
}

/* Makes room for `len` more bytes and the NUL; false (and overflow set) past the limit. */
static bool buf_reserve(struct buf *buf, size_t len)
{
    if (buf->overflow || len > buf->len_max - buf->len) {
        buf->overflow = true;
        return false;
    }
    size_t need = buf->len + len + 1;
    if (need > buf->capacity) {
        size_t capacity = buf->capacity ? buf->capacity : 128;
        while (capacity < need)
            capacity *= 2;
        buf->data = mem_realloc(buf->data, capacity);
        buf->capacity = capacity;
    }
    return true;
}

void buf_append(struct buf *buf, const void *data, size_t len)
{
    if (!buf_reserve(buf, len))
        return;
    if (len)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void buf_append_span(struct buf *buf, struct span span)
{
    buf_append(buf, span.ptr, span.len);
}

void buf_append_text(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

void buf_append_char(struct buf *buf, char c)
{
    buf_append(buf, &c, 1);
}

void buf_append_u64(struct buf *buf, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    buf_append(buf, digits + at, sizeof digits - at);
}

void buf_append_i64(struct buf *buf, int64_t value)
{
    if (value < 0)
        buf_append_char(buf, '-');
    buf_append_u64(buf, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    CHECK(need >= 0);
    if (buf_reserve(buf, (size_t)need)) {
        vsnprintf(buf->data + buf->len, (size_t)need + 1, format, again);
        buf->len += (size_t)need;
    }
    va_end(again);
}

struct span buf_span(const struct buf *buf)
{
    return (struct span){buf->data ? buf->data : "", buf->len};
}

bool parse_u64(struct span text, uint64_t max, uint64_t *ret)
{
    if (!text.ptr || text.len == 0 || text.len > 20 || (text.len > 1 && text.ptr[0] == '0'))
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned char)text.ptr[i] - (unsigned)'0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (value > max)
        return false;
    *ret = value;
    return true;
}

bool parse_i64(struct span text, int64_t min, int64_t max, int64_t *ret)
{
    bool negative = text.len && text.ptr[0] == '-';
    uint64_t magnitude;
    if (negative)
        text = (struct span){text.ptr + 1, text.len - 1};
    if (!parse_u64(text, (uint64_t)INT64_MAX + negative, &magnitude) || (negative && magnitude == 0))
        return false;
    int64_t value =
        negative ? -(int64_t)(magnitude - 1) - 1 : (int64_t)magnitude; /* INT64_MIN has no positive */
    if (value < min || value > max)
        return false;
    *ret = value;
    return true;
}

/* The table of RFC 3629: which second bytes are allowed depends on the first. */
size_t utf8_sequence(struct span text)
{
    const unsigned char *s = (const unsigned char *)text.ptr;
    if (text.len == 0)
        return 0;
    if (s[0] < 0x80)
        return 1;
    size_t need = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4 || text.len < need)
        return 0;
    unsigned low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
    unsigned high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return need;
}

bool utf8_valid(struct span text)
{
    while (text.len) {
        size_t step = utf8_sequence(text);
        if (step == 0)
            return false;
        text = (struct span){text.ptr + step, text.len - step};
    }
    return true;
}

bool text_has_control(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 || c == 0x7F)
            return true;
        if (c == 0xC2 && i + 1 < text.len && (unsigned char)text.ptr[i + 1] < 0xA0)
            return true;
    }
    return false;
}

void hex_encode(struct buf *buf, const void *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++) {
        buf_append_char(buf, digits[bytes[i] >> 4]);
        buf_append_char(buf, digits[bytes[i] & 15]);
    }
}

int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hex_decode(struct span text, void *ret, size_t len)
{
    unsigned char *bytes = ret;
    if (text.len != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        int high = hex_digit(text.ptr[2 * i]), low = hex_digit(text.ptr[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

ptrdiff_t percent_decode(struct span text, char plus, char *to)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(text.ptr[i + 2]) : -1;
            if (low < 0)
                return -1;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+') {
            c = plus;
        }
        to[len++] = c;
    }
    return (ptrdiff_t)len;
}

static const char base64url_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64url_encode(struct buf *buf, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | bytes[i];
        for (count += 8; count >= 6; count -= 6)
            buf_append_char(buf, base64url_alphabet[bits >> (count - 6) & 63]);
    }
    if (count)
        buf_append_char(buf, base64url_alphabet[bits << (6 - count) & 63]);
}

bool base64url_decode(struct span text, void *ret, size_t len_max, size_t *ret_len)
{
    unsigned char *bytes = ret;
    uint32_t bits = 0;
    unsigned count = 0;
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *at = text.ptr[i] ? strchr(base64url_alphabet, text.ptr[i]) : NULL;
        if (!at)
            return false;
        bits = bits << 6 | (uint32_t)(at - base64url_alphabet);
        count += 6;
        if (count < 8)
            continue;
        count -= 8;
        if (len == len_max)
            return false;
        bytes[len++] = (unsigned char)(bits >> count & 255);
    }
    if (count >= 6 || (bits & ((1u << count) - 1)) != 0)
        return false; /* a dangling character, or bits that no encoder writes: one text per value */
    *ret_len = len;
    return true;
}
