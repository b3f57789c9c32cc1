/* SPDX-License-Identifier: Apache-2.0 */
/* The file of code keys, and which of them a position has. */
#include "events/code_key.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/testing.h"
#include "events/ids.h"

#define ONE  "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"
#define TWO  "ff0102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"
#define TENS "10,10,10,10,10,10,10,10,10,10,10,10,10,10,10,"

static char reason[200];

static bool loads(const char *text, struct code_key *ret)
{
    char path[] = "/tmp/firstcome-key-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    bool loaded = code_key_load(path, ret, reason, sizeof reason);
    unlink(path);
    return loaded;
}

static void files(void **)
{
    static const char *const good[] = {ONE, ONE "\n", ONE "\r\n", ONE "\n" TWO " " TENS "10\n",
                                       ONE "\n" TWO " " TENS "0\n" ONE " " TENS "10"};
    static const struct {
        const char *text, *line;
    } bad[] = {{"", ":1:"},
               {"\n", ":1:"},
               {"00", ":1:"},
               {ONE "0", ":1:"},
               {" " ONE, ":1:"},
               {ONE " ", ":1:"},
               {ONE " " TENS "10", ":1:"},
               {"g" ONE, ":1:"},
               {ONE "\n\n", ":2:"},
               {ONE "\n" TWO, ":2:"},
               {ONE "\n" TWO " " TENS, ":2:"},
               {ONE "\n" TWO " " TENS "10,10", ":2:"},
               {ONE "\n" TWO " " TENS "-1", ":2:"},
               {ONE "\n" TWO " " TENS "x", ":2:"},
               {ONE "\n" TWO " " TENS "10\n" ONE " " TENS "9", ":3:"}};
    struct code_key key;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        if (!loads(good[i], &key))
            fail_msg("%zu: %s", i, reason);
        for (uint8_t j = 0; j < CRYPTO_KEY_BYTES; j++)
            assert_int_equal(key.of[0].bytes[j], j);
    }
    assert_int_equal(key.later, 2);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(loads(bad[i].text, &key));
        if (!strstr(reason, bad[i].line))
            fail_msg("%zu: \"%s\" does not say \"%s\"", i, reason, bad[i].line);
        assert_null(strstr(reason, "0001"));
    }
    assert_int_equal(key.later, 2); /* untouched */
    assert_false(code_key_load("/nonexistent/key", &key, reason, sizeof reason));
    assert_non_null(strstr(reason, strerror(ENOENT)));
    assert_false(code_key_load("/", &key, reason, sizeof reason)); /* opens, but cannot be read */
    assert_non_null(strstr(reason, strerror(EISDIR)));
}

static void too_many_keys_are_refused(void **)
{
    struct code_key key;
    struct buf text;
    buf_init(&text, 8192);
    buf_append_text(&text, ONE "\n");
    for (size_t i = 1; i < CODE_KEYS_MAX; i++)
        buf_append_text(&text, TWO " " TENS "10\n");
    buf_append_char(&text, '\0');
    assert_true(loads(text.data, &key));
    text.len--;
    buf_append_text(&text, TWO " " TENS "10\n");
    buf_append_char(&text, '\0');
    assert_false(loads(text.data, &key));
    for (size_t i = 0; i < 40; i++) { /* longer than any file of keys */
        text.len--;
        buf_append_text(&text, TWO " " TENS "10\n");
        buf_append_char(&text, '\0');
    }
    assert_false(loads(text.data, &key));
    buf_deinit(&text);
}

static void code_of(const struct code_key *key, struct position at, char ret[COUPON_CODE_MAX + 1])
{
    struct buf code;
    buf_init(&code, COUPON_CODE_MAX);
    coupon_code_write(&code, key, at, SPAN("FRI"));
    memcpy(ret, code.data, code.len);
    ret[code.len] = '\0';
    buf_deinit(&code);
}

/* Before the position everything is as it was; from it on the former key makes no code. */
static void a_later_key_begins_at_its_positions(void **)
{
    struct code_key before, after;
    char old[COUPON_CODE_MAX + 1], new[COUPON_CODE_MAX + 1];
    struct position read;
    assert_true(loads(ONE, &before));
    assert_true(loads(ONE "\n" TWO " " TENS "20", &after));
    for (int16_t slice = 14; slice < SLICE_COUNT; slice++)
        for (int64_t position = 1; position < 30; position++) {
            struct position at = {slice, position};
            bool later = position >= (slice == 15 ? 20 : 10);
            code_of(&before, at, old);
            code_of(&after, at, new);
            assert_int_equal(strcmp(old, new) != 0, later);
            assert_true(coupon_code_parse(span_of(new), &after, &read));
            assert_int_equal(read.position, position);
            assert_int_equal(coupon_code_parse(span_of(old), &after, &read), !later);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(files), cmocka_unit_test(too_many_keys_are_refused),
                                       cmocka_unit_test(a_later_key_begins_at_its_positions)};
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
