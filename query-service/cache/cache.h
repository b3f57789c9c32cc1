/* SPDX-License-Identifier: Apache-2.0 */
/* The copies in process (L1), by what is asked (query_key): bounded by bytes, and scan-resistant: S3-FIFO
 * (Yang, Zhang, Qiu, Yue, Rashmi: FIFO Queues are All You Need for Cache Eviction, SOSP 2023). What is new
 * enters a small queue; only what was asked for again gets from there to the main queue, so a walk through a
 * million targets that nobody asks for twice passes through a tenth of the memory. Knows nothing of freshness
 * and no clock. Thread-safe: in shards, each with a lock that is held for a look-up or an eviction, never for
 * a copy's bytes. */
#pragma once

#include "query-service/cache/entry.h"

struct cache;

enum { CACHE_SHARDS_MAX = 64 };

/* bytes_max: of copies, keys and what keeps them; 0: keeps nothing. */
struct cache *cache_create(size_t bytes_max, unsigned shards);
void cache_destroy(struct cache *cache); /* accepts NULL */

/* The copy of that key with a reference for the caller, NULL where there is none. */
struct entry *cache_get(struct cache *cache, struct span key);
/* Keeps an entry (with a reference of its own), in place of the one there was. Not where the one there knows
 * more of the log: a load that took long never takes back what a quicker one brought (entry_is_behind). Of
 * what takes more than an eighth of a shard neither it nor what was there is kept. */
void cache_put(struct cache *cache, struct span key, struct entry *entry);
void cache_clear(struct cache *cache);

struct cache_stats {
    size_t bytes, entries;
    uint64_t evicted;
};
struct cache_stats cache_stats(struct cache *cache);
