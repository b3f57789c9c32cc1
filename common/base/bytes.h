/* SPDX-License-Identifier: Apache-2.0 */
/* Text and bytes with a length: borrowed views (struct span), bounded builders (struct buf), and the strict
 * parsers and encodings that outside input goes through. Nothing here reads past a length or needs a NUL. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/check.h"

/* A borrowed view; ptr NULL means "absent", which is not the same as empty. Never owns memory. */
struct span {
    const char *ptr;
    size_t len;
};

#define SPAN(literal) ((struct span){("" literal), sizeof(literal) - 1})
#define SPAN_ARG(s)   (int)(s).len, (s).ptr /* for "%.*s" */

struct span span_of(const char *text); /* NUL-terminated text, or NULL for absent */
bool span_equal(struct span a, struct span b);
bool span_is(struct span a, const char *text);
bool span_starts(struct span a, struct span prefix);
int span_compare(struct span a, struct span b); /* bytewise, shorter first, as memcmp */
/* Cuts `rest` at the first `separator`: returns what is before it (all of it where there is none). */
struct span span_cut(struct span *rest, char separator);
/* SipHash under a key of this process (common/base/crypto.c): for tables in memory, whose names come from
 * outside. Nobody outside can make names that collide, and no two processes agree on it. */
uint64_t span_hash(struct span a);

/* A growable buffer with a limit. Going over the limit sets `overflow` and appends nothing from then on;
 * callers check once, at the end. data is kept NUL-terminated for printing. Owner frees with buf_deinit. */
struct buf {
    char *data;
    size_t len, capacity, len_max;
    bool overflow;
};

void buf_init(struct buf *buf, size_t len_max);
void buf_deinit(struct buf *buf);
void buf_clear(struct buf *buf); /* keeps the memory */
void buf_append(struct buf *buf, const void *data, size_t len);
void buf_append_span(struct buf *buf, struct span span);
void buf_append_text(struct buf *buf, const char *text);
void buf_append_char(struct buf *buf, char c);
void buf_append_u64(struct buf *buf, uint64_t value);
void buf_append_i64(struct buf *buf, int64_t value);
void buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
struct span buf_span(const struct buf *buf);

/* Strict decimal: digits only, no sign, no leading zero but "0" itself, value <= max. */
bool parse_u64(struct span text, uint64_t max, uint64_t *ret) MUST_USE;
bool parse_i64(struct span text, int64_t min, int64_t max,
               int64_t *ret) MUST_USE; /* one leading '-' allowed */

/* Bytes of the well-formed sequence that `text` starts with: 1..4, or 0 where it is malformed or text is
 * empty. */
size_t utf8_sequence(struct span text);
bool utf8_valid(struct span text);       /* well-formed, no surrogates, no overlong forms */
bool text_has_control(struct span text); /* C0, DEL, or C1 (U+0080..U+009F) */

void hex_encode(struct buf *buf, const void *data, size_t len);
int hex_digit(char c);                                             /* 0..15, or -1 where it is none */
bool hex_decode(struct span text, void *ret, size_t len) MUST_USE; /* exactly len bytes */
/* Percent-decoding into `to`, which has room for as many bytes as the text: its length, or -1 where an escape
 * is malformed. `plus` is what '+' means. */
ptrdiff_t percent_decode(struct span text, char plus, char *to);
/* base64url without padding (RFC 4648 section 5), for cursors and keys. */
void base64url_encode(struct buf *buf, const void *data, size_t len);
bool base64url_decode(struct span text, void *ret, size_t len_max, size_t *ret_len) MUST_USE;
