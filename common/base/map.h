/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table from byte strings to pointers: open addressing, linear probing, at most 3/4 full. Keys are
 * borrowed and must outlive their entry. Not thread-safe. For tables whose size something else bounds (a
 * batch, a queue). */
#pragma once

#include "common/base/bytes.h"

struct map_entry {
    struct span key; /* ptr NULL: free */
    uint64_t hash;
    void *value;
};

struct map {
    struct map_entry *entries;
    size_t capacity, count;
};

void map_init(struct map *map);
void map_deinit(struct map *map);
void map_clear(struct map *map);                       /* keeps the memory, unless it is a lot */
void *map_get(const struct map *map, struct span key); /* NULL when absent */
/* The key must be absent, not empty, and the value not NULL. */
void map_put(struct map *map, struct span key, void *value);
void *map_remove(struct map *map, struct span key); /* the value that was there, or NULL */
