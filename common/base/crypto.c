/* SPDX-License-Identifier: Apache-2.0 */
/* A thin layer over libsodium, the only file that knows it. It adds no cryptography of its own. Only the
 * headers that are used are included: <sodium.h> declares a crypto_hash of its own. */
#include "common/base/crypto.h"

#include <pthread.h>
#include <sodium/core.h>
#include <sodium/crypto_generichash.h>
#include <sodium/crypto_hash_sha256.h>
#include <sodium/crypto_shorthash.h>
#include <sodium/randombytes.h>
#include <sodium/utils.h>
#include <stdalign.h>

enum { STATE_ALIGNMENT = 64 };
_Static_assert(alignof(crypto_generichash_state) <= STATE_ALIGNMENT, "the state must be aligned");
_Static_assert(sizeof(struct crypto_hasher) >= sizeof(crypto_generichash_state) + STATE_ALIGNMENT - 1,
               "the state must fit wherever it begins");
_Static_assert(crypto_generichash_KEYBYTES == CRYPTO_KEY_BYTES, "one key length");
_Static_assert(crypto_shorthash_KEYBYTES == CRYPTO_SHORT_KEY_BYTES, "the length of its key");
_Static_assert(crypto_shorthash_BYTES == sizeof(uint64_t), "one word");

void crypto_setup(void)
{
    CHECK(sodium_init() >= 0);
}

void crypto_random(void *ret, size_t len)
{
    randombytes_buf(ret, len);
}

uint32_t crypto_random_below(uint32_t bound)
{
    CHECK(bound > 0);
    return randombytes_uniform(bound);
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

static const unsigned char *bytes_of(struct span data)
{
    return (const unsigned char *)(data.ptr ? data.ptr : "");
}

void crypto_sha256(struct span data, uint8_t ret[32])
{
    CHECK(crypto_hash_sha256(ret, bytes_of(data), data.len) == 0);
}

void crypto_hash(const uint8_t *key, struct span data, uint8_t *ret, size_t ret_len)
{
    CHECK(ret_len >= 1 && ret_len <= 64);
    CHECK(crypto_generichash(ret, ret_len, bytes_of(data), data.len, key, key ? CRYPTO_KEY_BYTES : 0) == 0);
}

uint64_t crypto_short_hash(const uint8_t key[CRYPTO_SHORT_KEY_BYTES], struct span data)
{
    uint64_t hash;
    CHECK(crypto_shorthash((unsigned char *)&hash, bytes_of(data), data.len, key) == 0);
    return hash;
}

static uint8_t process_key[CRYPTO_SHORT_KEY_BYTES];

static void process_key_make(void)
{
    crypto_random(process_key, sizeof process_key);
}

/* Made at the first use and not in crypto_setup: a key that changes under a table loses what is in it. */
uint64_t span_hash(struct span a)
{
    static pthread_once_t made = PTHREAD_ONCE_INIT;
    CHECK(pthread_once(&made, process_key_make) == 0);
    return crypto_short_hash(process_key, a);
}

static crypto_generichash_state *state_of(struct crypto_hasher *hasher)
{
    uintptr_t at = (uintptr_t)hasher->room;
    return (crypto_generichash_state *)((at + STATE_ALIGNMENT - 1) & ~(uintptr_t)(STATE_ALIGNMENT - 1));
}

void crypto_hash_begin(struct crypto_hasher *hasher)
{
    CHECK(crypto_generichash_init(state_of(hasher), NULL, 0, CRYPTO_HASH_BYTES) == 0);
}

void crypto_hash_add(struct crypto_hasher *hasher, struct span data)
{
    CHECK(crypto_generichash_update(state_of(hasher), bytes_of(data), data.len) == 0);
}

void crypto_hash_end(struct crypto_hasher *hasher, uint8_t ret[CRYPTO_HASH_BYTES])
{
    CHECK(crypto_generichash_final(state_of(hasher), ret, CRYPTO_HASH_BYTES) == 0);
}
