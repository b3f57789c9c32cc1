/* SPDX-License-Identifier: Apache-2.0 */
/* A blocked Bloom filter. */
#include "common/base/bloom.h"

#include <stdatomic.h>

#include "common/base/check.h"
#include "common/base/mem.h"

enum { BLOCK_WORDS = 8, BLOCK_BITS = 512, BITS_PER_HASH = 16, PROBES = 7 };

struct bloom {
    size_t blocks; /* a power of two */
    _Atomic uint64_t *words;
};

static size_t blocks_for(size_t capacity)
{
    size_t blocks = 1;
    while (blocks * BLOCK_BITS < capacity * BITS_PER_HASH)
        blocks *= 2;
    return blocks;
}

size_t bloom_bytes(size_t capacity)
{
    return sizeof(struct bloom) + blocks_for(capacity) * BLOCK_BITS / 8;
}

struct bloom *bloom_create(size_t capacity)
{
    struct bloom *bloom = mem_zalloc(sizeof *bloom);
    bloom->blocks = blocks_for(capacity);
    bloom->words = mem_zalloc(bloom->blocks * BLOCK_WORDS * sizeof *bloom->words);
    return bloom;
}

void bloom_destroy(struct bloom *bloom)
{
    if (!bloom)
        return;
    mem_free((void *)bloom->words);
    mem_free(bloom);
}

/* Callers' hashes may be weak in some bits: the finaliser of splitmix64. */
static uint64_t mix(uint64_t hash)
{
    hash = (hash ^ (hash >> 30)) * 0xBF58476D1CE4E5B9u;
    hash = (hash ^ (hash >> 27)) * 0x94D049BB133111EBu;
    return hash ^ (hash >> 31);
}

/* The block by the low bits of one hash, and nine bits of another for each probe. */
static _Atomic uint64_t *block_of(const struct bloom *bloom, uint64_t hash, uint64_t *ret_bits)
{
    *ret_bits = mix(hash + 0x9E3779B97F4A7C15u);
    return bloom->words + (mix(hash) & (bloom->blocks - 1)) * BLOCK_WORDS;
}

void bloom_add(struct bloom *bloom, uint64_t hash)
{
    uint64_t bits;
    _Atomic uint64_t *block = block_of(bloom, hash, &bits);
    for (size_t i = 0; i < PROBES; i++, bits >>= 9)
        atomic_fetch_or_explicit(&block[(bits >> 6) & 7], UINT64_C(1) << (bits & 63), memory_order_release);
}

bool bloom_has(const struct bloom *bloom, uint64_t hash)
{
    uint64_t bits;
    _Atomic uint64_t *block = block_of(bloom, hash, &bits);
    for (size_t i = 0; i < PROBES; i++, bits >>= 9)
        if (!(atomic_load_explicit(&block[(bits >> 6) & 7], memory_order_acquire) >> (bits & 63) & 1))
            return false;
    return true;
}
