/* SPDX-License-Identifier: Apache-2.0 */
/* Names: what is frozen (slices, ids, codes of what exists must never change), what is refused, and that a
 * code cannot be altered. */
#include "events/ids.h"

#include "common/base/testing.h"

static const struct code_key code_key = {.of = {{.bytes = {1, 2, 3, 4, 5, 6, 7, 8}}}};

/* Where a campaign's events are is decided by this function for ever: a changed value loses campaigns. */
static void slices_are_frozen(void **)
{
    static const struct {
        const char *id;
        int16_t slice;
    } frozen[] = {
        {"a", 7},
        {"black-friday", 9},
        {"c-00000000000000000000000000", 10},
        {"spring-2027", 2},
        {"0", 2},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 9},
    };
    for (size_t i = 0; i < COUNT_OF(frozen); i++)
        if (slice_of(span_of(frozen[i].id)) != frozen[i].slice)
            fail_msg("%s is in slice %d", frozen[i].id, slice_of(span_of(frozen[i].id)));
}

static void slices_are_even(void **)
{
    enum { IDS = 16000, EACH = IDS / SLICE_COUNT };
    size_t counts[SLICE_COUNT] = {0};
    for (unsigned i = 0; i < IDS; i++) {
        char id[32];
        snprintf(id, sizeof id, "campaign-%u", i);
        int16_t slice = slice_of(span_of(id));
        assert_in_range(slice, 0, SLICE_COUNT - 1);
        counts[slice]++;
    }
    for (size_t i = 0; i < SLICE_COUNT; i++)
        assert_in_range(counts[i], EACH * 85 / 100, EACH * 115 / 100); /* 15 % is 4.9 sigma */
}

/* --- grammar --- */

struct sample {
    const char *text;
    bool good;
};

static void check_samples(bool (*valid)(struct span), const struct sample *samples, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (valid(span_of(samples[i].text)) != samples[i].good)
            fail_msg("'%s' is %s", samples[i].text, samples[i].good ? "refused" : "accepted");
}

/* `len_max` times `c` is good, once more is not. */
static void check_length(bool (*valid)(struct span), char c, size_t len_max)
{
    char text[256];
    memset(text, c, sizeof text);
    assert_true(valid((struct span){text, len_max}));
    assert_false(valid((struct span){text, len_max + 1}));
    assert_false(valid((struct span){text, 0}));
    assert_false(valid((struct span){NULL, 0}));
}

/* Every byte at the first and at a later place. */
static void check_bytes(bool (*valid)(struct span), const char *first, const char *later)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[] = {(char)byte, first[0], '\0'};
        assert_int_equal(valid((struct span){text, 1}), byte && strchr(first, (int)byte) != NULL);
        assert_int_equal(valid((struct span){text, 2}), byte && strchr(first, (int)byte) != NULL);
        char last[] = {first[0], (char)byte, '\0'};
        assert_int_equal(valid((struct span){last, 2}), byte && strchr(later, (int)byte) != NULL);
    }
}

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static void grammar_of_campaign_ids_and_tags(void **)
{
    check_length(campaign_id_valid, 'a', 64);
    check_bytes(campaign_id_valid, LOWER DIGITS, LOWER DIGITS "-");
    check_length(slug_valid, 'a', 32);
    check_length(tag_valid, 'a', 64);
    check_bytes(slug_valid, LOWER DIGITS, LOWER DIGITS "-");
    assert_true(tag_valid(SPAN("여름 세일")) && tag_valid(SPAN("Été #1")) && tag_valid(SPAN("夏")));
    assert_false(tag_valid(SPAN(" a")) || tag_valid(SPAN("a ")) || tag_valid(SPAN("a\tb")) ||
                 tag_valid(SPAN("\xFF")));
}

static void grammar_of_code_prefixes(void **)
{
    check_length(code_prefix_valid, 'A', 12);
    check_bytes(code_prefix_valid, UPPER DIGITS, UPPER DIGITS);
}

static void grammar_of_user_ids(void **)
{
    static const struct sample samples[] = {
        {"u", true},
        {"someone@example.com", true},
        {"한국어 사용자", true},
        {"😀", true},
        {" ", true},
        {"a\nb", false},
        {"a\x7F", false},
        {"\xC2\x85", false},         /* C1 control */
        {"\xC2\xA0", true},          /* no-break space is none */
        {"\xFF", false},             /* not UTF-8 */
        {"\xC0\xAF", false},         /* overlong */
        {"\xED\xA0\x80", false},     /* surrogate */
        {"\xF4\x90\x80\x80", false}, /* above U+10FFFF */
        {"a\xE2\x82", false},        /* cut */
    };
    check_samples(user_id_valid, samples, COUNT_OF(samples));
    check_length(user_id_valid, 'x', 128);
    assert_false(user_id_valid((struct span){"a\0b", 3}));
    char text[129];
    for (size_t i = 0; i < 128; i += 2)
        memcpy(text + i, "\xC3\xA9", 2);
    assert_true(user_id_valid((struct span){text, 128})); /* bytes count, not characters */
    assert_false(user_id_valid((struct span){text, 127}));
}

/* --- generated campaign ids --- */

static void generate_in(const char *key_name, const char *idempotency_key, int16_t slice,
                        char ret[CAMPAIGN_ID_MAX + 1])
{
    struct buf id;
    buf_init(&id, CAMPAIGN_ID_MAX);
    campaign_id_generate(&id, span_of(key_name), span_of(idempotency_key), slice);
    assert_int_equal(slice_of(buf_span(&id)), slice);
    assert_false(id.overflow);
    assert_int_equal(id.len, 28);
    assert_true(campaign_id_valid(buf_span(&id)));
    memcpy(ret, id.data, id.len + 1);
    buf_deinit(&id);
}

static void generate(const char *key_name, const char *idempotency_key, char ret[CAMPAIGN_ID_MAX + 1])
{
    generate_in(key_name, idempotency_key, slice_of(SPAN("c-fsvsw6j7g09tvdm6pwwy5yrtt8")), ret);
}

static void generated_ids_are_in_the_slice_that_is_asked_for(void **)
{
    char ids[SLICE_COUNT][CAMPAIGN_ID_MAX + 1];
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        generate_in("admin", "key-1", slice, ids[slice]);
}

static void generated_ids_are_frozen(void **)
{
    char id[CAMPAIGN_ID_MAX + 1], other[CAMPAIGN_ID_MAX + 1], longest[256];
    generate("admin", "key-1", id);
    assert_string_equal(id, "c-fsvsw6j7g09tvdm6pwwy5yrtt8");
    generate("admin", "key-2", other);
    assert_string_not_equal(other, id);
    generate("admin2", "key-1", other);
    assert_string_not_equal(other, id);
    generate("adminkey", "-1", other); /* where one ends and the other begins counts */
    assert_string_not_equal(other, id);
    memset(longest, 'k', 255);
    longest[255] = '\0';
    generate("0123456789012345678901234567890123456789012345678901234567890123", longest, other);
}

/* All 128 bits reach the text: each of its characters takes every value it can. */
static void generated_ids_use_all_bits(void **)
{
    uint32_t seen[26] = {0};
    for (unsigned i = 0; i < 2000; i++) {
        char key[16], id[CAMPAIGN_ID_MAX + 1];
        snprintf(key, sizeof key, "k%u", i);
        generate("admin", key, id);
        assert_memory_equal(id, "c-", 2);
        for (size_t at = 0; at < COUNT_OF(seen); at++) {
            const char *found = strchr("0123456789abcdefghjkmnpqrstvwxyz", id[2 + at]);
            assert_non_null(found);
            seen[at] |= UINT32_C(1) << (found - "0123456789abcdefghjkmnpqrstvwxyz");
        }
    }
    for (size_t at = 0; at < 25; at++)
        assert_true(seen[at] == UINT32_MAX);
    assert_true(seen[25] == 0x11111111); /* three bits and two zeros */
}

/* --- coupon ids --- */

static void coupon_ids_come_back(void **)
{
    static const struct position places[] = {{0, 1}, {3, 128}, {15, (INT64_C(1) << 41) - 1}};
    static const char *const texts[] = {"c0-1", "c3-128", "c15-2199023255551"};
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        struct buf id;
        struct position read;
        buf_init(&id, COUPON_ID_MAX);
        coupon_id_write(&id, places[i]);
        assert_string_equal(id.data, texts[i]);
        assert_true(coupon_id_parse(buf_span(&id), &read));
        assert_int_equal(read.slice, places[i].slice);
        assert_true(read.position == places[i].position);
        buf_deinit(&id);
    }
}

static void bad_coupon_ids_are_refused(void **)
{
    static const char *const bad[] = {
        "",
        "c",
        "c-",
        "c0",
        "c0-",
        "c0-0",
        "c16-1",
        "c-1-1",
        "c00-1",
        "c0-01",
        "c0-1-1",
        "c0-1 ",
        " c0-1",
        "C0-1",
        "c0.1",
        "c0--1",
        "c+0-1",
        "c0-+1",
        "0-1",
        "cc0-1",
        "c0-1x",
        "c0-0x1",
        "c0-١",
        "c0-1e3",
        "c15-2199023255552",
        "c0-18446744073709551617",
        "c0-9223372036854775808",
        "c0-00000000000000000000001",
    };
    struct position read;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (coupon_id_parse(span_of(bad[i]), &read))
            fail_msg("'%s' is accepted", bad[i]);
    assert_false(coupon_id_parse((struct span){NULL, 0}, &read));
    assert_false(coupon_id_parse((struct span){"c0-1\0", 5}, &read));
}

/* --- codes --- */

static void write_code(char ret[COUPON_CODE_MAX + 1], struct position at, const char *prefix)
{
    struct buf code;
    buf_init(&code, COUPON_CODE_MAX);
    coupon_code_write(&code, &code_key, at, span_of(prefix));
    assert_false(code.overflow);
    memcpy(ret, code.data, code.len + 1);
    buf_deinit(&code);
}

static void expect_code(const char *code, const struct position *expected)
{
    struct position at = {-1, -1};
    bool good = coupon_code_parse(span_of(code), &code_key, &at);
    if (good != (expected != NULL))
        fail_msg("%s is %s", code, good ? "accepted" : "refused");
    if (expected && (at.slice != expected->slice || at.position != expected->position))
        fail_msg("%s is at %d:%lld", code, at.slice, (long long)at.position);
}

static void codes_are_frozen(void **)
{
    char code[COUPON_CODE_MAX + 1];
    write_code(code, (struct position){3, 128}, "FRI");
    assert_string_equal(code, "FRI-60000-0040B-RR7K2-R72P5-W17YV");
    write_code(code, (struct position){15, (INT64_C(1) << 41) - 1}, NULL);
    assert_string_equal(code, "ZZZZZ-ZZZZY-BV8DA-NWR65-P27CS");
}

static void codes_come_back(void **)
{
    static const int64_t positions[] = {1, 2, 31, 32, 1023, 99999, (INT64_C(1) << 41) - 1};
    static const char *const prefixes[] = {"", "A", "FRI", "O0IL1", "ABCDEFGH0123"};
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        for (size_t i = 0; i < COUNT_OF(positions) * COUNT_OF(prefixes); i++) {
            struct position at = {slice, positions[i % COUNT_OF(positions)]};
            char code[COUPON_CODE_MAX + 1];
            write_code(code, at, prefixes[i / COUNT_OF(positions)]);
            assert_int_equal(strlen(code),
                             strlen(prefixes[i / COUNT_OF(positions)]) + (i >= COUNT_OF(positions)) + 29);
            expect_code(code, &at);
        }
}

static char canonical(char c)
{
    c = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    return c == 'O' ? '0' : c == 'I' || c == 'L' ? '1' : c;
}

/* Each character of the code, replaced by each byte that does not mean the same. */
static void no_character_can_be_changed(void **)
{
    struct position at = {7, 123456789};
    char code[COUPON_CODE_MAX + 1], changed[COUPON_CODE_MAX + 1];
    write_code(code, at, "FRI");
    size_t len = strlen(code);
    for (size_t i = 0; i < len; i++)
        for (unsigned byte = 1; byte < 256; byte++) {
            memcpy(changed, code, len + 1);
            changed[i] = (char)byte;
            bool separator = code[i] == '-' && (byte == ' ' || byte == '-' || byte == '_' || byte == '\t');
            bool same = code[i] == '-' ? separator : canonical((char)byte) == canonical(code[i]);
            expect_code(changed, same ? &at : NULL);
        }
}

static void no_character_can_be_added_or_lost(void **)
{
    struct position at = {7, 123456789}, read;
    char code[COUPON_CODE_MAX + 1], changed[COUPON_CODE_MAX + 2];
    write_code(code, at, NULL);
    size_t len = strlen(code);
    for (size_t i = 0; i < len; i++) {
        if (code[i] == '-') /* those are for the eye */
            continue;
        memcpy(changed, code, i);
        memcpy(changed + i, code + i + 1, len - i);
        expect_code(changed, NULL);
        memcpy(changed, code, i);
        changed[i] = code[i];
        memcpy(changed + i + 1, code + i, len - i + 1);
        expect_code(changed, NULL);
    }
    assert_false(coupon_code_parse((struct span){code, len + 1}, &code_key, &read)); /* with its NUL */
    expect_code("", NULL);
    expect_code("-----------------------------", NULL);
    expect_code("00000-00000-00000-00000-00000", NULL);
}

static void people_may_type_codes_their_way(void **)
{
    bool seen_zero = false, seen_one = false;
    for (int64_t position = 1; position <= 64; position++) {
        struct position at = {1, position};
        char code[COUPON_CODE_MAX + 1];
        write_code(code, at, "O1L");
        for (char *c = code; *c; c++) {
            if (*c == '-')
                continue;
            seen_zero |= *c == '0';
            seen_one |= *c == '1';
            *c = *c == '0' ? "oO"[position & 1] : *c == '1' ? "iIlL"[position & 3] : *c;
            *c = (char)(*c >= 'A' && *c <= 'Z' && position % 3 ? *c - 'A' + 'a' : *c);
        }
        expect_code(code, &at);
    }
    assert_true(seen_zero && seen_one);
}

static void codes_survive_word_processors(void **)
{
    struct position at = {3, 128};
    static const char *const typed[] = {
        "FRI-60000-0040B-RR7K2-R72P5-W17YV",
        "fri600000040brr7k2r72p5w17yv",
        "  FRI 60000 0040B RR7K2 R72P5 W17YV  ",
        "FRI\u201360000\u20140040B\u2010RR7K2\u2212R72P5\u2011W17YV",
        "FRl_6OOOO_OO4OB_RR7K2_R72P5_WI7YV",
        "FR1-60000-0040B-RR7K2-R72P5-W17YV",
        "F\u00A0RI 6 0 0 0 0\u3000-- 0040BRR7K2R72P5W17YV",
    };
    for (size_t i = 0; i < COUNT_OF(typed); i++)
        expect_code(typed[i], &at);
    static const char *const others[] = {"FRI.60000-0040B-RR7K2-R72P5-W17YV",
                                         "FRI-60000-0040B-RR7K2-R72P5-W17Y\u00E9",
                                         "FRI/60000-0040B-RR7K2-R72P5-W17YV", "\u2013"};
    for (size_t i = 0; i < COUNT_OF(others); i++)
        expect_code(others[i], NULL);
    /* More look-alikes than readings are tried: as typed it is found all the same. */
    char code[COUPON_CODE_MAX + 1];
    write_code(code, at, "I1LIL1IL1OO0");
    expect_code(code, &at);
}

/* The prefix is part of what the MAC covers. */
static void the_prefix_cannot_be_changed(void **)
{
    struct position at = {1, 5};
    char code[COUPON_CODE_MAX + 1], other[COUPON_CODE_MAX + 16];
    write_code(code, at, "FRO");
    static const char *const prefixes[] = {"",      "-",    "FRI-", "FR-",          "FROO-",
                                           "XFRO-", "frx-", "FR*-", "ABCDEFGHIJKL-"};
    for (size_t i = 0; i < COUNT_OF(prefixes); i++) {
        snprintf(other, sizeof other, "%s%s", prefixes[i], code + 4);
        expect_code(other, NULL);
    }
    snprintf(other, sizeof other, "fro-%s", code + 4);
    expect_code(other, &at);
    snprintf(other, sizeof other, "FR0-%s", code + 4); /* read as a digit by whoever typed it */
    expect_code(other, &at);
    write_code(code, at, NULL);
    snprintf(other, sizeof other, "FRO-%s", code);
    expect_code(other, NULL);
}

static void another_key_makes_other_codes(void **)
{
    struct position at = {1, 5}, read;
    char code[COUPON_CODE_MAX + 1];
    write_code(code, at, "FRI");
    for (size_t i = 0; i < CRYPTO_KEY_BYTES; i++) {
        struct code_key other = code_key;
        other.of[0].bytes[i] ^= 1;
        assert_false(coupon_code_parse(span_of(code), &other, &read));
    }
}

static void write_at(void *place)
{
    char code[COUPON_CODE_MAX + 1];
    write_code(code, *(struct position *)place, NULL);
}

static void codes_of_nowhere_are_a_bug(void **)
{
    static struct position nowhere[] = {{0, 0}, {-1, 1}, {16, 1}, {0, -1}, {0, INT64_C(1) << 41}};
    struct position somewhere = {0, 1};
    assert_false(dies(write_at, &somewhere));
    for (size_t i = 0; i < COUNT_OF(nowhere); i++)
        assert_true(dies(write_at, &nowhere[i]));
}

/* --- consistency tokens --- */

static void tokens_come_back(void **)
{
    static const struct position places[] = {{0, 0}, {0, 1}, {15, (INT64_C(1) << 41) - 1}};
    static const char *const bad[] = {"",
                                      "v1.",
                                      "v1.0",
                                      "v1.0.",
                                      "v2.0.1",
                                      "V1.0.1",
                                      "v1.16.1",
                                      "v1.0.-1",
                                      "v1.0.1.1",
                                      "v1.0.1 ",
                                      "v1..1",
                                      "v1.0.01",
                                      "v1.00.1",
                                      "0.1",
                                      "v1.0.2199023255552",
                                      "v1.0.99999999999999999999"};
    struct position read;
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        struct buf token;
        buf_init(&token, CONSISTENCY_TOKEN_MAX);
        consistency_token_write(&token, places[i]);
        assert_false(token.overflow);
        assert_true(consistency_token_parse(buf_span(&token), &read));
        assert_int_equal(read.slice, places[i].slice);
        assert_true(read.position == places[i].position);
        buf_deinit(&token);
    }
    assert_true(consistency_token_parse(SPAN("v1.3.128"), &read)); /* clients keep them: frozen */
    assert_true(read.slice == 3 && read.position == 128);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (consistency_token_parse(span_of(bad[i]), &read))
            fail_msg("'%s' is accepted", bad[i]);
    assert_false(consistency_token_parse((struct span){NULL, 0}, &read));
}

int main(void)
{
    crypto_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_are_frozen),
        cmocka_unit_test(slices_are_even),
        cmocka_unit_test(grammar_of_campaign_ids_and_tags),
        cmocka_unit_test(grammar_of_code_prefixes),
        cmocka_unit_test(grammar_of_user_ids),
        cmocka_unit_test(generated_ids_are_in_the_slice_that_is_asked_for),
        cmocka_unit_test(generated_ids_are_frozen),
        cmocka_unit_test(generated_ids_use_all_bits),
        cmocka_unit_test(coupon_ids_come_back),
        cmocka_unit_test(bad_coupon_ids_are_refused),
        cmocka_unit_test(codes_are_frozen),
        cmocka_unit_test(codes_come_back),
        cmocka_unit_test(no_character_can_be_changed),
        cmocka_unit_test(no_character_can_be_added_or_lost),
        cmocka_unit_test(people_may_type_codes_their_way),
        cmocka_unit_test(codes_survive_word_processors),
        cmocka_unit_test(the_prefix_cannot_be_changed),
        cmocka_unit_test(another_key_makes_other_codes),
        cmocka_unit_test(codes_of_nowhere_are_a_bug),
        cmocka_unit_test(tokens_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
