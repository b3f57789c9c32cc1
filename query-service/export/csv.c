/* SPDX-License-Identifier: Apache-2.0 */
/* Coupons as lines of CSV: quoting, what spreadsheets would take for formulas, the columns. */
#include "query-service/export/csv.h"

#include "common/base/clock.h"

/* In East Asia the wide forms of these signs begin a formula too. */
static bool looks_like_a_formula(struct span text)
{
    static const char *const starts[] = {"=", "+", "-", "@", "'", "\uFF1D", "\uFF0B", "\uFF0D", "\uFF20"};
    for (size_t i = 0; i < COUNT_OF(starts); i++)
        if (span_starts(text, span_of(starts[i])))
            return true;
    return false;
}

static bool has_any(struct span text, const char *signs)
{
    for (; *signs; signs++)
        if (text.len && memchr(text.ptr, *signs, text.len))
            return true;
    return false;
}

void csv_write_text(struct buf *out, struct span text)
{
    bool quoted = has_any(text, "\",\r\n");
    if (quoted)
        buf_append_char(out, '"');
    if (looks_like_a_formula(text))
        buf_append_char(out, '\'');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"')
            buf_append_char(out, '"');
        buf_append_char(out, text.ptr[i]);
    }
    if (quoted)
        buf_append_char(out, '"');
}

/* --- coupons --- */

struct row {
    struct buf *out;
    const struct coupon *coupon;
    const struct code_key *code_key;
    int64_t now_us;
    bool ordered, reserved, redeemed, revoked; /* at that instant */
};

static void put_number(const struct row *row, bool is, int64_t number)
{
    if (is)
        buf_append_u64(row->out, (uint64_t)number); /* none of them is below 0 */
}

static void put_time(const struct row *row, bool is, int64_t at_us)
{
    if (is && at_us)
        time_format(row->out, at_us);
}

static void put_text(const struct row *row, bool is, struct span text)
{
    if (is)
        csv_write_text(row->out, text);
}

static void put_code(const struct row *row)
{
    coupon_code_write(row->out, row->code_key, row->coupon->at, row->coupon->code_prefix);
}

/* X(name, how it is written) */
#define COLUMNS(X)                                                         \
    X(sequence, put_number(row, true, c->sequence))                        \
    X(user_id, put_text(row, true, c->user_id))                            \
    X(coupon_id, coupon_id_write(row->out, c->at))                         \
    X(code, put_code(row))                                                 \
    X(status, put_text(row, true, span_of(coupon_status(c, row->now_us)))) \
    X(issued_at, put_time(row, true, c->issued_at_us))                     \
    X(expires_at, put_time(row, true, c->expires_at_us))                   \
    X(order_id, put_text(row, row->ordered, c->order_id))                  \
    X(order_amount, put_number(row, row->ordered, c->order_amount))        \
    X(discount_amount, put_number(row, row->ordered, c->discount_amount))  \
    X(reserved_until, put_time(row, row->reserved, c->reserved_until_us))  \
    X(redeemed_at, put_time(row, row->redeemed, c->changed_at_us))         \
    X(revoked_at, put_time(row, row->revoked, c->changed_at_us))           \
    X(revoked_by, put_text(row, row->revoked, c->actor))                   \
    X(reason, put_text(row, row->revoked, c->reason))

void csv_write_names(struct buf *out)
{
    const char *separator = "";
#define WRITE_NAME(name, write)      \
    buf_append_text(out, separator); \
    buf_append_text(out, #name);     \
    separator = ",";
    COLUMNS(WRITE_NAME)
    buf_append_text(out, "\r\n");
}

void csv_write_coupon(struct buf *out, const struct coupon *coupon, const struct code_key *code_key,
                      int64_t now_us)
{
    const struct coupon *c = coupon;
    const struct row fields = {.out = out,
                               .coupon = coupon,
                               .code_key = code_key,
                               .now_us = now_us,
                               .reserved = coupon_reserved_at(coupon, now_us),
                               .redeemed = coupon->state == COUPON_REDEEMED,
                               .revoked = coupon->state == COUPON_REVOKED,
                               .ordered =
                                   coupon_reserved_at(coupon, now_us) || coupon->state == COUPON_REDEEMED},
                     *row = &fields;
    const char *separator = "";
#define WRITE_FIELD(name, write)     \
    buf_append_text(out, separator); \
    write;                           \
    separator = ",";
    COLUMNS(WRITE_FIELD)
    buf_append_text(out, "\r\n");
}
