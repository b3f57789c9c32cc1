/* SPDX-License-Identifier: Apache-2.0 */
/* Ids, codes and tokens: their grammar and how they are derived. */
#include "events/ids.h"

#include "common/base/be.h"

enum {
    SLICE_BITS = 4,
    POSITION_BITS = 41, /* 2.2e12 events per slice */
    MAC_BYTES = 10,
    PLACE_CHARS = 9, /* 45 bits */
    MAC_CHARS = 16,  /* 80 bits */
    CODE_CHARS = PLACE_CHARS + MAC_CHARS,
    CODE_GROUP = 5,
};
_Static_assert(SLICE_BITS + POSITION_BITS == 5 * PLACE_CHARS, "the place fills its characters");
_Static_assert(8 * MAC_BYTES == 5 * MAC_CHARS, "the MAC fills its characters");
_Static_assert(CODE_CHARS + CODE_CHARS / CODE_GROUP - 1 + 1 + CODE_PREFIX_MAX == COUPON_CODE_MAX,
               "longest code");

static const char crockford[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool dashed_lower(struct span text, size_t len_max)
{
    if (text.len < 1 || text.len > len_max || !is_lower_or_digit(text.ptr[0]))
        return false;
    for (size_t i = 1; i < text.len; i++)
        if (!is_lower_or_digit(text.ptr[i]) && text.ptr[i] != '-')
            return false;
    return true;
}

bool campaign_id_valid(struct span id)
{
    return dashed_lower(id, CAMPAIGN_ID_MAX);
}

bool slug_valid(struct span name)
{
    return dashed_lower(name, 32);
}

bool tag_valid(struct span tag)
{
    return tag.len >= 1 && tag.len <= EVENT_TEXT_MAX && utf8_valid(tag) && !text_has_control(tag) &&
           tag.ptr[0] != ' ' && tag.ptr[tag.len - 1] != ' ';
}

bool user_id_valid(struct span id)
{
    return id.len >= 1 && id.len <= USER_ID_MAX && utf8_valid(id) && !text_has_control(id);
}

bool order_id_valid(struct span id)
{
    _Static_assert((int)ORDER_ID_MAX == (int)USER_ID_MAX, "one rule for both");
    return user_id_valid(id);
}

bool code_prefix_valid(struct span prefix)
{
    if (prefix.len < 1 || prefix.len > CODE_PREFIX_MAX)
        return false;
    for (size_t i = 0; i < prefix.len; i++) {
        char c = prefix.ptr[i];
        if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9'))
            return false;
    }
    return true;
}

/* Each thread keeps the last answer: a request asks a few times, and a crowd asks for the same campaign. */
int16_t slice_of(struct span campaign_id)
{
    static _Thread_local struct {
        char id[CAMPAIGN_ID_MAX];
        size_t len;
        int16_t slice;
    } last;
    uint8_t hash[16];
    if (last.len > 0 && last.len == campaign_id.len && memcmp(last.id, campaign_id.ptr, last.len) == 0)
        return last.slice;
    crypto_hash(NULL, campaign_id, hash, sizeof hash);
    last.slice = hash[0] & (SLICE_COUNT - 1);
    last.len = campaign_id.len <= sizeof last.id ? campaign_id.len : 0;
    if (last.len)
        memcpy(last.id, campaign_id.ptr, last.len);
    return last.slice;
}

uint64_t user_hash(struct span user_id)
{
    uint8_t hash[8];
    crypto_hash(NULL, user_id, hash, sizeof hash);
    return be_get(hash, sizeof hash);
}

int16_t user_group(uint64_t user_hash)
{
    return (int16_t)(user_hash >> 48 & (USER_GROUPS - 1));
}

/* 128 bits in 26 characters. */
static void write_generated(struct buf *out, const uint8_t hash[16])
{
    buf_append_text(out, "c-");
    for (size_t bit = 0; bit < 26 * 5; bit += 5) {
        unsigned value = 0;
        for (size_t i = bit; i < bit + 5; i++)
            value = value << 1 | (i < 128 ? (unsigned)hash[i / 8] >> (7 - i % 8) & 1u : 0u);
        char c = crockford[value];
        buf_append_char(out, (char)(c >= 'A' ? c - 'A' + 'a' : c));
    }
}

void campaign_id_generate(struct buf *out, struct span api_key_name, struct span idempotency_key,
                          int16_t slice)
{
    struct buf name;
    uint8_t hash[16];
    const size_t before = out->len;
    buf_init(&name, 1024);
    buf_append_text(&name, "campaign id");
    buf_append_char(&name, '\0');
    buf_append_span(&name, api_key_name);
    buf_append_char(&name, '\0');
    buf_append_span(&name, idempotency_key);
    do { /* one of sixteen is in the slice */
        out->len = before;
        crypto_hash(NULL, buf_span(&name), hash, sizeof hash);
        write_generated(out, hash);
        buf_append_char(&name, '\0');
        CHECK(!name.overflow && !out->overflow);
    } while (slice_of((struct span){out->data + before, out->len - before}) != slice);
    buf_deinit(&name);
}

void coupon_id_write(struct buf *out, struct position at)
{
    buf_append_char(out, 'c');
    buf_append_i64(out, at.slice);
    buf_append_char(out, '-');
    buf_append_i64(out, at.position);
}

/* "<slice><separator><position>" */
static bool place_parse(struct span text, char separator, struct position *ret)
{
    uint64_t slice, position;
    struct span head = span_cut(&text, separator);
    if (!parse_u64(head, SLICE_COUNT - 1, &slice) ||
        !parse_u64(text, (UINT64_C(1) << POSITION_BITS) - 1, &position))
        return false;
    *ret = (struct position){(int16_t)slice, (int64_t)position};
    return true;
}

bool coupon_id_parse(struct span id, struct position *ret)
{
    if (id.len < 1 || id.len > COUPON_ID_MAX || id.ptr[0] != 'c')
        return false;
    return place_parse((struct span){id.ptr + 1, id.len - 1}, '-', ret) && ret->position > 0;
}

static uint64_t place_bits(struct position at)
{
    CHECK(at.slice >= 0 && at.slice < SLICE_COUNT && at.position > 0 &&
          at.position < INT64_C(1) << POSITION_BITS);
    return (uint64_t)at.slice << POSITION_BITS | (uint64_t)at.position;
}

static void code_mac(const uint8_t *key, uint64_t place, struct span prefix, uint8_t ret[MAC_BYTES])
{
    uint8_t message[8 + CODE_PREFIX_MAX];
    CHECK(prefix.len <= CODE_PREFIX_MAX);
    for (size_t i = 0; i < 8; i++)
        message[i] = (uint8_t)(place >> (56 - 8 * i));
    if (prefix.len)
        memcpy(message + 8, prefix.ptr, prefix.len);
    crypto_hash(key, (struct span){(const char *)message, 8 + prefix.len}, ret, MAC_BYTES);
}

void coupon_code_write(struct buf *out, const struct code_key *code_key, struct position at,
                       struct span prefix)
{
    uint64_t place = place_bits(at);
    uint8_t mac[MAC_BYTES];
    char chars[CODE_CHARS];
    code_mac(code_key_at(code_key, at.slice, at.position), place, prefix, mac);
    for (size_t i = 0; i < PLACE_CHARS; i++)
        chars[i] = crockford[place >> (5 * (PLACE_CHARS - 1 - i)) & 31];
    for (size_t i = 0; i < MAC_CHARS; i++) {
        size_t bit = 5 * i;
        unsigned two = (unsigned)mac[bit / 8] << 8 | (bit / 8 + 1 < MAC_BYTES ? mac[bit / 8 + 1] : 0u);
        chars[PLACE_CHARS + i] = crockford[two >> (11 - bit % 8) & 31];
    }
    if (prefix.len) {
        buf_append_span(out, prefix);
        buf_append_char(out, '-');
    }
    for (size_t i = 0; i < CODE_CHARS; i++) {
        if (i && i % CODE_GROUP == 0)
            buf_append_char(out, '-');
        buf_append_char(out, chars[i]);
    }
}

/* A character as Crockford reads it: O is 0, I and L are 1. */
static char look_alike(char c)
{
    return c == 'O' ? '0' : c == 'I' || c == 'L' ? '1' : c;
}

/* The place that the first nine characters of a body say, whoever wrote them. */
static bool code_place(const char body[CODE_CHARS], struct position *ret)
{
    uint64_t place = 0;
    for (size_t i = 0; i < PLACE_CHARS; i++) {
        const char *at = strchr(crockford, look_alike(body[i]));
        if (!at)
            return false;
        place = place << 5 | (uint64_t)(at - crockford);
    }
    *ret = (struct position){(int16_t)(place >> POSITION_BITS),
                             (int64_t)(place & ((UINT64_C(1) << POSITION_BITS) - 1))};
    return ret->position > 0;
}

/* How many bytes of `text` are a blank or a dash as people type them and word processors write them: ASCII,
 * the no-break space, the dashes U+2010 to U+2015, the minus sign, and the full-width hyphen; 0 for anything
 * else. */
static size_t separator_len(struct span text)
{
    static const char *const separators[] = {" ",      "\t",     "-",      "_",      "\u00A0",
                                             "\u2010", "\u2011", "\u2012", "\u2013", "\u2014",
                                             "\u2015", "\u2212", "\uFF0D", "\u3000"};
    for (size_t i = 0; i < COUNT_OF(separators); i++)
        if (span_starts(text, span_of(separators[i])))
            return strlen(separators[i]);
    return 0;
}

/* The letters and digits of what was typed, upper case. False where there is anything else, or too much. */
static bool code_letters(struct span typed, char ret[CODE_CHARS + CODE_PREFIX_MAX], size_t *ret_count)
{
    size_t count = 0;
    while (typed.len) {
        char c = typed.ptr[0];
        size_t skip = separator_len(typed);
        if (!skip) {
            c = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
            if (count == CODE_CHARS + CODE_PREFIX_MAX || !((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')))
                return false;
            ret[count++] = c;
            skip = 1;
        }
        typed = (struct span){typed.ptr + skip, typed.len - skip};
    }
    *ret_count = count;
    return true;
}

/* What a character of the prefix may have been before somebody read it: the place in this text is its own. */
static const char *read_as(char c)
{
    return c == 'O' || c == '0' ? "O0" : c == 'I' || c == 'L' || c == '1' ? "IL1" : NULL;
}

/* The letters of the code that this place has under this prefix, without dashes, compared whole: simpler than
 * decoding the MAC. */
static bool code_is(const struct code_key *code_key, struct position at, struct span prefix,
                    const char body[CODE_CHARS])
{
    struct buf expected;
    char letters[CODE_CHARS + CODE_PREFIX_MAX], given[CODE_CHARS];
    size_t count = 0;
    buf_init(&expected, COUPON_CODE_MAX);
    coupon_code_write(&expected, code_key, at, prefix);
    bool read = code_letters(buf_span(&expected), letters, &count);
    CHECK(read && count == prefix.len + CODE_CHARS);
    for (size_t i = 0; i < CODE_CHARS; i++)
        given[i] = look_alike(body[i]);
    bool same = crypto_equal(letters + prefix.len, given, CODE_CHARS);
    buf_deinit(&expected);
    return same;
}

/* The prefix is part of what the MAC is of and may hold O, I and L as themselves, so the readings of its
 * first characters that look alike are tried one after another, as typed first; bounded, whatever was typed.
 */
static bool code_under_any_reading(const struct code_key *code_key, struct position at, struct span typed,
                                   const char body[CODE_CHARS])
{
    enum { READINGS_MAX = 81 };
    char prefix[CODE_PREFIX_MAX];
    size_t turn[CODE_PREFIX_MAX] = {0};
    for (int reading = 0; reading < READINGS_MAX; reading++) {
        for (size_t i = 0; i < typed.len; i++) {
            const char *may_be = read_as(typed.ptr[i]);
            size_t choices = may_be ? strlen(may_be) : 1;
            size_t own = may_be ? (size_t)(strchr(may_be, typed.ptr[i]) - may_be) : 0;
            prefix[i] = may_be ? may_be[(own + turn[i]) % choices] : typed.ptr[i];
        }
        if (code_is(code_key, at, (struct span){prefix, typed.len}, body))
            return true;
        size_t i = 0;
        while (i < typed.len && ++turn[i] >= (read_as(typed.ptr[i]) ? strlen(read_as(typed.ptr[i])) : 1))
            turn[i++] = 0;
        if (i == typed.len)
            return false;
    }
    return false;
}

bool coupon_code_parse(struct span code, const struct code_key *code_key, struct position *ret)
{
    char letters[CODE_CHARS + CODE_PREFIX_MAX];
    struct position at;
    size_t count;
    if (code.len > COUPON_CODE_TYPED_MAX || !code_letters(code, letters, &count) || count < CODE_CHARS)
        return false;
    const char *body = letters + count - CODE_CHARS;
    if (!code_place(body, &at) ||
        !code_under_any_reading(code_key, at, (struct span){letters, count - CODE_CHARS}, body))
        return false;
    *ret = at;
    return true;
}

void consistency_token_write(struct buf *out, struct position at)
{
    buf_append_text(out, "v1.");
    buf_append_i64(out, at.slice);
    buf_append_char(out, '.');
    buf_append_i64(out, at.position);
}

bool consistency_token_parse(struct span token, struct position *ret)
{
    if (token.len > CONSISTENCY_TOKEN_MAX || !span_starts(token, SPAN("v1.")))
        return false;
    return place_parse((struct span){token.ptr + 3, token.len - 3}, '.', ret);
}
