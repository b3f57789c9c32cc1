/* SPDX-License-Identifier: Apache-2.0 */
/* S3-FIFO: two queues, a memory of what left the small one, and a count of hits per slot. The memory
 * ("ghost") is a direct-mapped table of hashes: one that is overwritten early costs a slot its second
 * chance, nothing else. */
#include "query-service/cache/cache.h"

#include <pthread.h>

#include "common/base/map.h"
#include "common/base/mem.h"

enum {
    HITS_MAX = 3,
    SMALL_SHARE = 10,      /* the small queue has a tenth */
    SLOT_SHARE = 8,        /* the largest slot takes an eighth of a shard */
    BYTES_PER_GHOST = 512, /* less than most entries take: there are about as many ghosts as entries */
    CACHE_LINE_BYTES = 64,
};

enum queue_name { QUEUE_SMALL, QUEUE_MAIN, QUEUE_COUNT };

struct slot {
    struct slot *newer, *older;
    struct entry *entry;
    size_t bytes;
    uint8_t hits;
    enum queue_name in;
    struct span key; /* points behind this struct */
};

struct queue {
    struct slot *newest, *oldest;
    size_t bytes;
};

struct shard {
    _Alignas(CACHE_LINE_BYTES) pthread_mutex_t lock; /* guards everything below */
    struct map entries;
    struct queue queues[QUEUE_COUNT];
    size_t bytes_max;
    uint64_t *ghosts; /* 0: none */
    size_t ghosts_count;
    uint64_t evicted;
};

struct cache {
    struct shard shards[CACHE_SHARDS_MAX];
    unsigned shards_count;
};

/* --- queues --- */

static void queue_push(struct shard *shard, enum queue_name name, struct slot *slot)
{
    struct queue *queue = &shard->queues[name];
    slot->in = name;
    slot->newer = NULL;
    slot->older = queue->newest;
    if (queue->newest)
        queue->newest->newer = slot;
    else
        queue->oldest = slot;
    queue->newest = slot;
    queue->bytes += slot->bytes;
}

static void queue_unlink(struct shard *shard, struct slot *slot)
{
    struct queue *queue = &shard->queues[slot->in];
    if (slot->newer)
        slot->newer->older = slot->older;
    else
        queue->newest = slot->older;
    if (slot->older)
        slot->older->newer = slot->newer;
    else
        queue->oldest = slot->newer;
    queue->bytes -= slot->bytes;
}

/* --- eviction --- */

static uint64_t *ghost_of(struct shard *shard, struct span key, uint64_t *ret_hash)
{
    *ret_hash = span_hash(key) | 1; /* never 0; the shard was chosen by other bits */
    return &shard->ghosts[(*ret_hash >> 1) % shard->ghosts_count];
}

static void slot_destroy(struct shard *shard, struct slot *slot)
{
    queue_unlink(shard, slot);
    CHECK(map_remove(&shard->entries, slot->key) == slot);
    entry_release(slot->entry);
    mem_free(slot);
}

static void evict_from_small(struct shard *shard)
{
    struct slot *slot = shard->queues[QUEUE_SMALL].oldest;
    uint64_t hash;
    if (slot->hits > 1) {
        queue_unlink(shard, slot);
        slot->hits = 0;
        queue_push(shard, QUEUE_MAIN, slot);
        return;
    }
    uint64_t *ghost = ghost_of(shard, slot->key, &hash);
    *ghost = hash;
    shard->evicted++;
    slot_destroy(shard, slot);
}

static void evict_from_main(struct shard *shard)
{
    struct slot *slot = shard->queues[QUEUE_MAIN].oldest;
    if (slot->hits > 0) {
        queue_unlink(shard, slot);
        slot->hits--;
        queue_push(shard, QUEUE_MAIN, slot);
        return;
    }
    shard->evicted++;
    slot_destroy(shard, slot);
}

static size_t bytes_of(const struct shard *shard)
{
    return shard->queues[QUEUE_SMALL].bytes + shard->queues[QUEUE_MAIN].bytes;
}

/* Each turn takes a slot out, or a hit off one, or moves one to the main queue, so it ends. */
static void make_room(struct shard *shard)
{
    while (bytes_of(shard) > shard->bytes_max) {
        const struct queue *small = &shard->queues[QUEUE_SMALL], *large = &shard->queues[QUEUE_MAIN];
        if (small->oldest && (small->bytes > shard->bytes_max / SMALL_SHARE || !large->oldest))
            evict_from_small(shard);
        else
            evict_from_main(shard);
    }
}

/* --- life --- */

struct cache *cache_create(size_t bytes_max, unsigned shards)
{
    CHECK(shards >= 1 && shards <= CACHE_SHARDS_MAX);
    struct cache *cache = aligned_alloc(CACHE_LINE_BYTES, sizeof *cache);
    CHECK(cache != NULL);
    memset(cache, 0, sizeof *cache);
    cache->shards_count = shards;
    for (unsigned i = 0; i < shards; i++) {
        struct shard *shard = &cache->shards[i];
        CHECK(pthread_mutex_init(&shard->lock, NULL) == 0);
        map_init(&shard->entries);
        shard->bytes_max = bytes_max / shards;
        shard->ghosts_count = shard->bytes_max / BYTES_PER_GHOST + 1;
        shard->ghosts = mem_zalloc(shard->ghosts_count * sizeof *shard->ghosts);
    }
    return cache;
}

static void shard_clear(struct shard *shard)
{
    for (int name = 0; name < QUEUE_COUNT; name++)
        while (shard->queues[name].oldest)
            slot_destroy(shard, shard->queues[name].oldest);
    memset(shard->ghosts, 0, shard->ghosts_count * sizeof *shard->ghosts);
}

void cache_clear(struct cache *cache)
{
    for (unsigned i = 0; i < cache->shards_count; i++) {
        pthread_mutex_lock(&cache->shards[i].lock);
        shard_clear(&cache->shards[i]);
        pthread_mutex_unlock(&cache->shards[i].lock);
    }
}

void cache_destroy(struct cache *cache)
{
    if (!cache)
        return;
    for (unsigned i = 0; i < cache->shards_count; i++) {
        struct shard *shard = &cache->shards[i];
        shard_clear(shard);
        map_deinit(&shard->entries);
        mem_free(shard->ghosts);
        pthread_mutex_destroy(&shard->lock);
    }
    mem_free(cache);
}

/* --- using --- */

static struct shard *shard_of(struct cache *cache, struct span key)
{
    return &cache->shards[(span_hash(key) >> 40) % cache->shards_count];
}

struct entry *cache_get(struct cache *cache, struct span key)
{
    struct shard *shard = shard_of(cache, key);
    pthread_mutex_lock(&shard->lock);
    struct slot *slot = map_get(&shard->entries, key);
    if (slot && slot->hits < HITS_MAX)
        slot->hits++;
    struct entry *entry = slot ? entry_keep(slot->entry) : NULL;
    pthread_mutex_unlock(&shard->lock);
    return entry;
}

/* What a slot costs: the blocks of the entry and of the slot as the allocator rounds them, and its share of
 * the table, which doubles when it is three quarters full: while it grows there are an old and a new one. */
static size_t slot_bytes(const struct slot *slot)
{
    enum { TABLE_SHARE = 4 * sizeof(struct map_entry) };
    return slot->entry->bytes + mem_size(slot) + TABLE_SHARE;
}

/* The same target again: it keeps its place and its hits, being loaded anew is no sign of being wanted. */
static void replace(struct shard *shard, struct slot *slot, struct entry *entry)
{
    if (entry_is_behind(entry, slot->entry))
        return;
    entry_release(slot->entry);
    slot->entry = entry_keep(entry);
    size_t bytes = slot_bytes(slot);
    shard->queues[slot->in].bytes += bytes - slot->bytes;
    slot->bytes = bytes;
}

static void add(struct shard *shard, struct span key, struct entry *entry)
{
    struct slot *slot = mem_zalloc(sizeof *slot + key.len);
    uint64_t hash, *ghost = ghost_of(shard, key, &hash);
    bool was_here = *ghost == hash;
    memcpy(slot + 1, key.ptr, key.len);
    slot->key = (struct span){(const char *)(slot + 1), key.len};
    slot->entry = entry_keep(entry);
    slot->bytes = slot_bytes(slot);
    map_put(&shard->entries, slot->key, slot);
    queue_push(shard, was_here ? QUEUE_MAIN : QUEUE_SMALL, slot);
    if (was_here)
        *ghost = 0;
}

void cache_put(struct cache *cache, struct span key, struct entry *entry)
{
    struct shard *shard = shard_of(cache, key);
    size_t bytes = entry->bytes + sizeof(struct slot) + key.len;
    pthread_mutex_lock(&shard->lock);
    struct slot *slot = map_get(&shard->entries, key);
    bool fits = bytes <= shard->bytes_max / SLOT_SHARE;
    if (slot && !fits)
        slot_destroy(shard, slot); /* rather nothing than what was */
    else if (slot)
        replace(shard, slot, entry);
    else if (fits)
        add(shard, key, entry);
    make_room(shard);
    pthread_mutex_unlock(&shard->lock);
}

struct cache_stats cache_stats(struct cache *cache)
{
    struct cache_stats stats = {0};
    for (unsigned i = 0; i < cache->shards_count; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        stats.bytes += bytes_of(shard);
        stats.entries += shard->entries.count;
        stats.evicted += shard->evicted;
        pthread_mutex_unlock(&shard->lock);
    }
    return stats;
}
