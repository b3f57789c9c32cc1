/* SPDX-License-Identifier: Apache-2.0 */
/* The key file: what is read, what is refused and how it is named; and finding keys by token. */
#include "common/http/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/crypto.h"

/* SHA-256 of "alpha" and "beta". */
#define ALPHA "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8"
#define BETA  "f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753"

#define HASH_OF_GAMMA "be9d587defa1f0c09ef49eb17e206983a5f8f8289e4281860bd0ee5a19592c67"

static char reason[256];

static struct keyring *load(struct span text)
{
    char path[] = "/tmp/firstcome-keys-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text.ptr, text.len), (ssize_t)text.len);
    close(fd);
    memset(reason, 0, sizeof reason);
    struct keyring *keyring = keyring_load(path, reason, sizeof reason);
    unlink(path);
    return keyring;
}

static void keys_are_found_by_token(void **)
{
    struct keyring *keyring =
        load(SPAN("# keys\n\none admin,issue " ALPHA "\n"
                  "\t two-2   redeem,read,issue,admin,redeem-by-id\t" BETA "  \r\n   \n"));
    if (!keyring)
        fail_msg("%s", reason);
    const struct api_key *one = keyring_find(keyring, SPAN("alpha")),
                         *two = keyring_find(keyring, SPAN("beta"));
    assert_string_equal(one->name, "one");
    assert_int_equal(one->scopes, AUTH_ADMIN | AUTH_ISSUE);
    assert_int_equal(one->index, 0);
    assert_string_equal(two->name, "two-2");
    assert_int_equal(two->scopes, AUTH_ADMIN | AUTH_ISSUE | AUTH_REDEEM | AUTH_READ | AUTH_REDEEM_BY_ID);
    assert_int_equal(two->index, 1);
    static const struct span unknown[] = {SPAN(""),        SPAN("alph"), SPAN("alphaa"), SPAN("Alpha"),
                                          SPAN("alpha\0"), SPAN(ALPHA),  {NULL, 0}};
    for (size_t i = 0; i < COUNT_OF(unknown); i++)
        assert_null(keyring_find(keyring, unknown[i]));
    assert_ptr_equal(keyring_named(keyring, SPAN("one")), one);
    assert_ptr_equal(keyring_named(keyring, SPAN("two-2")), two);
    assert_null(keyring_named(keyring, SPAN("two")));
    assert_null(keyring_named(keyring, SPAN("")));
    assert_int_equal(keyring_count(keyring), 2);
    assert_ptr_equal(keyring_at(keyring, 1), two);
    keyring_destroy(keyring);
    keyring_destroy(NULL);
}

static void the_last_line_needs_no_end(void **)
{
    struct keyring *keyring = load(SPAN("one read " ALPHA));
    assert_non_null(keyring);
    assert_non_null(keyring_find(keyring, SPAN("alpha")));
    keyring_destroy(keyring);
}

static void bad_files_are_refused_with_line_and_reason(void **)
{
    static const struct {
        struct span text;
        const char *reason; /* what it must contain */
    } rows[] = {
        {SPAN(""), "no key"},
        {SPAN("# nothing\n\n"), "no key"},
        {SPAN("One read " ALPHA "\n"), ":1: a key name"},
        {SPAN("a_b read " ALPHA "\n"), ":1: a key name"},
        {SPAN("one\n"), ":1: scopes"},
        {SPAN("one , " ALPHA "\n"), ":1: scopes"},
        {SPAN("one read, " ALPHA "\n"), ":1: scopes"},
        {SPAN("one read,read " ALPHA "\n"), ":1: scopes"},
        {SPAN("one root " ALPHA "\n"), ":1: scopes"},
        {SPAN("one read\n"), ":1: the third word"},
        {SPAN("one read abc\n"), ":1: the third word"},
        {SPAN("one read " ALPHA "0\n"), ":1: the third word"},
        {SPAN("one read " ALPHA " x\n"), ":1: the fourth word"},
        {SPAN("one read " ALPHA " " BETA " x\n"), ":1: there is more"},
        {SPAN("one read " ALPHA " " BETA "\ntwo issue " BETA "\n"), ":2: this name or token"},
        {SPAN("one read " ALPHA "\none read " BETA "\n"), ":2: this name or token"},
        {SPAN("one read " ALPHA "\ntwo issue " ALPHA "\n"), ":2: this name or token"},
        {SPAN("one read " ALPHA "\n\0\n"), ":2: the line is too long or has a NUL"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_null(load(rows[i].text));
        if (!strstr(reason, rows[i].reason))
            fail_msg("row %zu: \"%s\" does not say \"%s\"", i, reason, rows[i].reason);
        assert_null(strstr(reason, ALPHA)); /* not even a hash */
    }
}

static void long_names_and_lines(void **)
{
    char text[2048];
    for (size_t len = AUTH_KEY_NAME_MAX; len <= AUTH_KEY_NAME_MAX + 1; len++) {
        memset(text, 'a', len);
        snprintf(text + len, sizeof text - len, " read " ALPHA "\n");
        struct keyring *keyring = load(span_of(text));
        assert_int_equal(keyring != NULL, len == AUTH_KEY_NAME_MAX);
        keyring_destroy(keyring);
    }
    memset(text, '#', sizeof text);
    assert_null(load((struct span){text, sizeof text}));
    assert_non_null(strstr(reason, "too long"));
}

static void the_number_of_keys_is_bounded(void **)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    for (unsigned i = 0; i <= AUTH_KEYS_MAX; i++) {
        if (i == AUTH_KEYS_MAX) {
            struct keyring *keyring = load(buf_span(&text));
            assert_non_null(keyring);
            keyring_destroy(keyring);
        }
        buf_printf(&text, "k%u read %064x\n", i, i);
    }
    assert_null(load(buf_span(&text)));
    assert_non_null(strstr(reason, ":1025: there are more than 1024 keys"));
    buf_deinit(&text);
}

static void a_missing_file_is_named(void **)
{
    assert_null(keyring_load("/nonexistent/keys", reason, sizeof reason));
    assert_non_null(strstr(reason, "/nonexistent/keys: "));
}

static int reload(struct keyring *keyring, const char *text)
{
    char path[] = "/tmp/firstcome-keys-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    int changes = keyring_reload(keyring, path, reason, sizeof reason);
    unlink(path);
    return changes;
}

static void a_file_that_changed_is_read_again(void **)
{
    struct keyring *keyring = load(SPAN("one read " ALPHA "\ntwo issue " BETA "\n"));
    const struct api_key *one = keyring_find(keyring, SPAN("alpha")),
                         *two = keyring_find(keyring, SPAN("beta"));
    assert_int_equal(reload(keyring, "one read " ALPHA "\ntwo issue " BETA "\n"), 0);
    assert_ptr_equal(keyring_find(keyring, SPAN("alpha")), one);
    /* Gone at once; what points to it stays good. */
    assert_int_equal(reload(keyring, "two issue " BETA "\n"), 1);
    assert_null(keyring_find(keyring, SPAN("alpha")));
    assert_string_equal(one->name, "one");
    assert_ptr_equal(keyring_named(keyring, SPAN("one")), one);
    assert_int_equal(keyring_count(keyring), 2);
    /* Other scopes, another token, a new name, and one that comes back: each keeps its index. */
    assert_int_equal(
        reload(keyring, "three admin " ALPHA "\ntwo issue,read " BETA "\none read " HASH_OF_GAMMA "\n"), 3);
    assert_string_equal(keyring_find(keyring, SPAN("alpha"))->name, "three");
    assert_int_equal(keyring_find(keyring, SPAN("alpha"))->index, 2);
    assert_int_equal(keyring_find(keyring, SPAN("beta"))->scopes, AUTH_ISSUE | AUTH_READ);
    assert_int_equal(keyring_find(keyring, SPAN("beta"))->index, two->index);
    assert_int_equal(two->scopes, AUTH_ISSUE);
    assert_int_equal(keyring_find(keyring, SPAN("gamma"))->index, one->index);
    /* A file that is of no use changes nothing. */
    assert_int_equal(reload(keyring, "one read\n"), -1);
    assert_non_null(strstr(reason, ":1: the third word"));
    assert_int_equal(keyring_reload(keyring, "/nonexistent/keys", reason, sizeof reason), -1);
    assert_string_equal(keyring_find(keyring, SPAN("alpha"))->name, "three");
    keyring_destroy(keyring);
}

/* What a caller began with one token it goes on with under the other: it is one key all the time. */
static void a_key_has_two_tokens_while_callers_change(void **)
{
    struct keyring *keyring = load(SPAN("one read " ALPHA "\n"));
    uint32_t index = keyring_find(keyring, SPAN("alpha"))->index;
    assert_null(keyring_find(keyring, SPAN("beta")));
    assert_int_equal(reload(keyring, "one read " ALPHA " " BETA "\n"), 1);
    assert_ptr_equal(keyring_find(keyring, SPAN("alpha")), keyring_find(keyring, SPAN("beta")));
    assert_int_equal(keyring_find(keyring, SPAN("beta"))->index, index);
    assert_int_equal(reload(keyring, "one read " ALPHA " " BETA "\n"), 0);
    assert_int_equal(reload(keyring, "one read " BETA "\n"), 1);
    assert_null(keyring_find(keyring, SPAN("alpha")));
    assert_int_equal(keyring_find(keyring, SPAN("beta"))->index, index);
    keyring_destroy(keyring);
}

static void names_are_bounded_over_all_files(void **)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    for (unsigned i = 0; i < AUTH_KEYS_MAX; i++)
        buf_printf(&text, "k%u read %064x\n", i, i);
    struct keyring *keyring = load(buf_span(&text));
    assert_int_equal(reload(keyring, "one read " ALPHA "\n"), -1);
    assert_non_null(strstr(reason, "more than 1024 names"));
    assert_null(keyring_find(keyring, SPAN("alpha")));
    assert_int_equal(keyring_count(keyring), AUTH_KEYS_MAX);
    keyring_destroy(keyring);
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_found_by_token),
        cmocka_unit_test(the_last_line_needs_no_end),
        cmocka_unit_test(bad_files_are_refused_with_line_and_reason),
        cmocka_unit_test(long_names_and_lines),
        cmocka_unit_test(the_number_of_keys_is_bounded),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(a_file_that_changed_is_read_again),
        cmocka_unit_test(a_key_has_two_tokens_while_callers_change),
        cmocka_unit_test(names_are_bounded_over_all_files),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
