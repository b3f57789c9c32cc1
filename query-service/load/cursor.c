/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors to text and back. */
#include "query-service/load/cursor.h"

#include "common/base/be.h"

enum { VERSION = 1, HEAD_BYTES = 2, SUM_BYTES = 4, BYTES_MAX = HEAD_BYTES + 8 + CAMPAIGN_ID_MAX + SUM_BYTES };
_Static_assert((BYTES_MAX + 2) / 3 * 4 <= CURSOR_TEXT_MAX, "the longest cursor fits");

static void put_number(struct buf *out, int64_t value)
{
    CHECK(value >= 0);
    for (int shift = 56; shift >= 0; shift -= 8)
        buf_append_char(out, (char)(unsigned char)((uint64_t)value >> shift));
}

static void put_sum(struct buf *out, struct span scope)
{
    uint8_t sum[SUM_BYTES];
    struct buf message;
    buf_init(&message, 1024);
    buf_append_span(&message, buf_span(out));
    buf_append_span(&message, scope);
    CHECK(!message.overflow);
    crypto_hash(NULL, buf_span(&message), sum, sizeof sum);
    buf_deinit(&message);
    buf_append(out, sum, sizeof sum);
}

static void put_key(struct buf *out, const struct cursor *cursor)
{
    switch (cursor->kind) {
    case CURSOR_CAMPAIGNS:
        put_number(out, cursor->time_us);
        buf_append(out, cursor->id, cursor->id_len);
        return;
    case CURSOR_HOLDERS:
    case CURSOR_HISTORY:
        put_number(out, cursor->number);
        return;
    case CURSOR_COUPONS:
    case CURSOR_AUDIT:
        put_number(out, cursor->time_us);
        buf_append_char(out, (char)cursor->slice);
        put_number(out, cursor->number);
        return;
    case CURSOR_ORDER:
        buf_append_char(out, (char)cursor->slice);
        put_number(out, cursor->number);
        return;
    case CURSOR_NONE:
        break;
    }
    UNREACHABLE("only a page that ended somewhere has a cursor");
}

void cursor_write(struct buf *out, const struct cursor *cursor, struct span scope)
{
    struct buf bytes;
    buf_init(&bytes, BYTES_MAX);
    buf_append_char(&bytes, VERSION);
    buf_append_char(&bytes, (char)cursor->kind);
    put_key(&bytes, cursor);
    put_sum(&bytes, scope);
    CHECK(!bytes.overflow);
    base64url_encode(out, bytes.data, bytes.len);
    buf_deinit(&bytes);
}

/* Takes the first `len` bytes off `rest`; absent where there are not so many. */
static struct span take(struct span *rest, size_t len)
{
    struct span head = {rest->ptr, len};
    if (rest->len < len)
        return (struct span){NULL, 0};
    rest->ptr += len;
    rest->len -= len;
    return head;
}

static bool take_number(struct span *rest, int64_t min, int64_t max, int64_t *ret)
{
    struct span bytes = take(rest, 8);
    if (!bytes.ptr)
        return false;
    uint64_t value = be_get(bytes.ptr, bytes.len);
    *ret = (int64_t)value;
    return value <= INT64_MAX && *ret >= min && *ret <= max;
}

static bool take_slice(struct span *rest, int16_t *ret)
{
    struct span slice = take(rest, 1);
    if (!slice.ptr || (unsigned char)slice.ptr[0] >= SLICE_COUNT)
        return false;
    *ret = (unsigned char)slice.ptr[0];
    return true;
}

static bool take_key(struct span key, struct cursor *ret)
{
    switch (ret->kind) {
    case CURSOR_CAMPAIGNS:
        if (!take_number(&key, 0, INT64_MAX, &ret->time_us) || !campaign_id_valid(key))
            return false;
        cursor_set_id(ret, key);
        return true;
    case CURSOR_HOLDERS:
        return take_number(&key, 1, QUANTITY_MAX, &ret->number) && key.len == 0;
    case CURSOR_HISTORY:
        return take_number(&key, 1, INT64_MAX, &ret->number) && key.len == 0;
    case CURSOR_COUPONS:
    case CURSOR_AUDIT:
        return take_number(&key, 0, INT64_MAX, &ret->time_us) && take_slice(&key, &ret->slice) &&
               take_number(&key, 1, INT64_MAX, &ret->number) && key.len == 0;
    case CURSOR_ORDER:
        return take_slice(&key, &ret->slice) && take_number(&key, 1, INT64_MAX, &ret->number) && key.len == 0;
    case CURSOR_NONE:
        break;
    }
    return false;
}

static bool sum_is_right(struct span bytes, struct span scope)
{
    struct buf again;
    buf_init(&again, BYTES_MAX);
    buf_append(&again, bytes.ptr, bytes.len - SUM_BYTES);
    put_sum(&again, scope);
    bool right = span_equal(buf_span(&again), bytes);
    buf_deinit(&again);
    return right;
}

bool cursor_parse(struct span text, enum cursor_kind kind, struct span scope, struct cursor *ret)
{
    char bytes[BYTES_MAX];
    size_t len;
    if (text.len > CURSOR_TEXT_MAX || !base64url_decode(text, bytes, sizeof bytes, &len) ||
        len < HEAD_BYTES + SUM_BYTES || bytes[0] != VERSION || bytes[1] != (char)kind ||
        !sum_is_right((struct span){bytes, len}, scope))
        return false;
    struct cursor cursor = {.kind = kind};
    if (!take_key((struct span){bytes + HEAD_BYTES, len - HEAD_BYTES - SUM_BYTES}, &cursor))
        return false;
    *ret = cursor;
    return true;
}

struct span cursor_id(const struct cursor *cursor)
{
    return (struct span){cursor->id, cursor->id_len};
}

void cursor_set_id(struct cursor *cursor, struct span id)
{
    CHECK(id.len <= sizeof cursor->id);
    memcpy(cursor->id, id.ptr, id.len);
    cursor->id_len = id.len;
}
