/* SPDX-License-Identifier: Apache-2.0 */
/* Published vectors for the hashes. They also pin the parameters: a chain
 * that was written must verify for ever. */
#include "common/base/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka.h needs some of the above */
#include <cmocka.h>

static void assert_hex(const uint8_t *bytes, const char *want)
{
    struct buf buf;
    buf_init(&buf, 200);
    hex_encode(&buf, bytes, strlen(want) / 2);
    assert_string_equal(buf.data, want);
    buf_deinit(&buf);
}

static void sha256(void **)
{
    uint8_t hash[32];
    crypto_sha256(SPAN("abc"), hash);
    assert_hex(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    crypto_sha256(span_of(NULL), hash);
    assert_hex(hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void blake2b(void **)
{
    uint8_t hash[64], key[CRYPTO_KEY_BYTES];
    for (uint8_t i = 0; i < sizeof key; i++)
        key[i] = i;
    crypto_hash(NULL, SPAN("abc"), hash, 64); /* RFC 7693 appendix A */
    assert_hex(hash, "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
                     "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923");
    crypto_hash(NULL, SPAN("abc"), hash, 32);
    assert_hex(hash, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    crypto_hash(key, SPAN("abc"), hash, 32);
    assert_hex(hash, "d63a32d3e44738d7907f964316c241adaba0abfeabc32349677578a15a203f7f");
    crypto_hash(NULL, SPAN("abc"), hash, 1);
    assert_hex(hash, "6b");
    crypto_hash(NULL, span_of(NULL), hash, 16);
    assert_hex(hash, "cae66941d9efbd404e4d88758ea67670");
}

static void blake2b_in_pieces(void **)
{
    uint8_t hash[CRYPTO_HASH_BYTES];
    char data[1000];
    memset(data, 'a', sizeof data);
    for (size_t piece = 1; piece <= sizeof data; piece += 111) {
        struct crypto_hasher hasher;
        crypto_hash_begin(&hasher);
        crypto_hash_add(&hasher, span_of(NULL));
        for (size_t at = 0; at < sizeof data; at += piece)
            crypto_hash_add(&hasher,
                            (struct span){data + at, piece < sizeof data - at ? piece : sizeof data - at});
        crypto_hash_end(&hasher, hash);
        assert_hex(hash, "e00b0ddbf1e2cdaf5c898e1a5e8826ea3a2c339bcf2a478da2e5fca9ff126672");
    }
}

/* Two of the vectors that its authors published. */
static void siphash(void **)
{
    static const uint8_t empty[] = {0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72};
    static const uint8_t fifteen[] = {0xe5, 0x45, 0xbe, 0x49, 0x61, 0xca, 0x29, 0xa1};
    uint8_t key[CRYPTO_SHORT_KEY_BYTES];
    for (uint8_t i = 0; i < sizeof key; i++)
        key[i] = i;
    uint64_t hash = crypto_short_hash(key, (struct span){NULL, 0});
    assert_memory_equal(&hash, empty, sizeof hash);
    hash = crypto_short_hash(key, (struct span){(const char *)key, 15});
    assert_memory_equal(&hash, fifteen, sizeof hash);
}

static void random_bytes(void **)
{
    uint8_t a[32], b[32];
    unsigned seen = 0;
    crypto_random(a, sizeof a);
    crypto_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    for (int i = 0; i < 1000; i++)
        seen |= 1u << crypto_random_below(5);
    assert_int_equal(seen, 31);
    assert_int_equal(crypto_random_below(1), 0);
}

static void equality(void **)
{
    assert_true(crypto_equal("abc", "abc", 3));
    assert_false(crypto_equal("abc", "abd", 3));
    assert_true(crypto_equal("abc", "abd", 2));
    assert_true(crypto_equal("a", "b", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256),       cmocka_unit_test(blake2b),  cmocka_unit_test(blake2b_in_pieces),
        cmocka_unit_test(random_bytes), cmocka_unit_test(equality), cmocka_unit_test(siphash),
    };
    crypto_setup();
    crypto_setup(); /* twice does no harm */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
