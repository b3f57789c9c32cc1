/* SPDX-License-Identifier: Apache-2.0 */
/* A set of hashes that never says no to what was added, and says yes to what was not in about one of a
 * thousand cases, at two bytes for each: a blocked Bloom filter, all bits of one hash in one cache line
 * (Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007). Adding and asking at
 * once is safe from any number of threads; who asks after an add has returned sees it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bloom;

struct bloom *bloom_create(size_t capacity); /* how many hashes keep it that good */
void bloom_destroy(struct bloom *bloom);     /* accepts NULL */
size_t bloom_bytes(size_t capacity);         /* what bloom_create would take */
void bloom_add(struct bloom *bloom, uint64_t hash);
bool bloom_has(const struct bloom *bloom, uint64_t hash);
