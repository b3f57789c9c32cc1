/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes, MACs, random bytes, constant-time comparison. The only file that knows libsodium. All thread-safe
 * after crypto_setup. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

enum { CRYPTO_HASH_BYTES = 32, CRYPTO_KEY_BYTES = 32, CRYPTO_SHORT_KEY_BYTES = 16 };

void crypto_setup(void); /* once, before threads start; aborts where there is no randomness */
void crypto_random(void *ret, size_t len);
uint32_t crypto_random_below(uint32_t bound);                /* uniform in [0, bound) */
bool crypto_equal(const void *a, const void *b, size_t len); /* constant time */
void crypto_sha256(struct span data, uint8_t ret[32]);

/* BLAKE2b (RFC 7693) with 1..64 bytes of output, keyed where key is not NULL (CRYPTO_KEY_BYTES). Hidden,
 * because libsodium has a crypto_hash of its own that this one must not replace inside the library. */
__attribute__((visibility("hidden"))) void crypto_hash(const uint8_t *key, struct span data, uint8_t *ret,
                                                       size_t ret_len);

/* SipHash-2-4: for tables in memory whose keys come from outside, so that nobody without the key can make
 * names that collide. */
uint64_t crypto_short_hash(const uint8_t key[CRYPTO_SHORT_KEY_BYTES], struct span data);

/* BLAKE2b in pieces; 32 bytes of output, unkeyed. Not to be copied. The library wants its state aligned to
 * 64, which is found inside `room`: a local variable that is itself so aligned is laid out wrongly by gcc
 * 12's address sanitizer. */
struct crypto_hasher {
    unsigned char room[384 + 63];
};
void crypto_hash_begin(struct crypto_hasher *hasher);
void crypto_hash_add(struct crypto_hasher *hasher, struct span data);
void crypto_hash_end(struct crypto_hasher *hasher, uint8_t ret[CRYPTO_HASH_BYTES]);
