/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing with backward-shift deletion (Knuth, TAOCP vol. 3, 6.4 algorithm R), so no tombstones pile
 * up in the long-lived tables. */
#include "common/base/map.h"

#include "common/base/mem.h"

enum { MAP_KEPT_MAX = 8192 };

void map_init(struct map *map)
{
    *map = (struct map){0};
}

void map_deinit(struct map *map)
{
    mem_free(map->entries);
    *map = (struct map){0};
}

void map_clear(struct map *map)
{
    if (map->capacity > MAP_KEPT_MAX) {
        map_deinit(map); /* clearing it again and again would cost more than growing it once more */
        return;
    }
    if (map->count)
        memset(map->entries, 0, map->capacity * sizeof *map->entries);
    map->count = 0;
}

/* The entry of `key`, or the free one where it would go. The table has one: it is never full. */
static struct map_entry *map_find(const struct map *map, struct span key, uint64_t hash)
{
    for (size_t i = hash & (map->capacity - 1);; i = (i + 1) & (map->capacity - 1)) {
        struct map_entry *entry = &map->entries[i];
        if (!entry->key.ptr || (entry->hash == hash && span_equal(entry->key, key)))
            return entry;
    }
}

static void map_grow(struct map *map)
{
    struct map old = *map;
    map->capacity = old.capacity ? 2 * old.capacity : 64;
    map->entries = mem_zalloc(map->capacity * sizeof *map->entries);
    for (size_t i = 0; i < old.capacity; i++)
        if (old.entries[i].key.ptr)
            *map_find(map, old.entries[i].key, old.entries[i].hash) = old.entries[i];
    mem_free(old.entries);
}

void *map_get(const struct map *map, struct span key)
{
    if (map->count == 0)
        return NULL;
    return map_find(map, key, span_hash(key))->value;
}

void map_put(struct map *map, struct span key, void *value)
{
    CHECK(key.ptr && value);
    if (4 * (map->count + 1) > 3 * map->capacity)
        map_grow(map);
    uint64_t hash = span_hash(key);
    struct map_entry *entry = map_find(map, key, hash);
    CHECK(!entry->key.ptr);
    *entry = (struct map_entry){key, hash, value};
    map->count++;
}

void *map_remove(struct map *map, struct span key)
{
    if (map->count == 0)
        return NULL;
    size_t mask = map->capacity - 1;
    struct map_entry *entry = map_find(map, key, span_hash(key));
    void *value = entry->value;
    if (!entry->key.ptr)
        return NULL;
    map->count--;
    size_t hole = (size_t)(entry - map->entries);
    for (size_t i = (hole + 1) & mask; map->entries[i].key.ptr; i = (i + 1) & mask) {
        size_t home = map->entries[i].hash & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue; /* it would move in front of its home */
        map->entries[hole] = map->entries[i];
        hole = i;
    }
    map->entries[hole] = (struct map_entry){0};
    return value;
}
