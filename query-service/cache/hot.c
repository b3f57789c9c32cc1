/* SPDX-License-Identifier: Apache-2.0 */
/* SpaceSaving over a small array: whoever is new takes over the smallest counter, with its count. */
#include "query-service/cache/hot.h"

#include <pthread.h>

#include "common/base/mem.h"

struct counter {
    uint64_t hash, count;
    char name[HOT_NAME_MAX + 1];
};

struct hot {
    pthread_mutex_t lock; /* guards everything below */
    struct counter counters[HOT_COUNTERS];
    uint64_t total;
};

struct hot *hot_create(void)
{
    struct hot *hot = mem_zalloc(sizeof *hot);
    CHECK(pthread_mutex_init(&hot->lock, NULL) == 0);
    return hot;
}

void hot_destroy(struct hot *hot)
{
    if (!hot)
        return;
    pthread_mutex_destroy(&hot->lock);
    mem_free(hot);
}

static uint64_t hash_of(const char *route, struct span campaign_id)
{
    return (span_hash(span_of(route)) * 31 + (campaign_id.ptr ? span_hash(campaign_id) : 0)) | 1;
}

void hot_count(struct hot *hot, const char *route, struct span campaign_id)
{
    uint64_t hash = hash_of(route, campaign_id);
    pthread_mutex_lock(&hot->lock);
    struct counter *found = NULL, *least = &hot->counters[0];
    for (size_t i = 0; i < HOT_COUNTERS && !found; i++) {
        struct counter *counter = &hot->counters[i];
        if (counter->hash == hash)
            found = counter;
        else if (counter->count < least->count)
            least = counter;
    }
    if (!found) {
        found = least;
        found->hash = hash;
        struct span id = campaign_id.ptr ? campaign_id : SPAN("");
        snprintf(found->name, sizeof found->name, "%s%s%.*s", route, id.len ? " " : "", SPAN_ARG(id));
    }
    found->count++;
    hot->total++;
    pthread_mutex_unlock(&hot->lock);
}

void hot_halve(struct hot *hot)
{
    pthread_mutex_lock(&hot->lock);
    hot->total /= 2;
    for (size_t i = 0; i < HOT_COUNTERS; i++)
        hot->counters[i].count /= 2;
    pthread_mutex_unlock(&hot->lock);
}

static int compare(const void *a, const void *b)
{
    const struct counter *x = a, *y = b;
    return (x->count < y->count) - (x->count > y->count);
}

size_t hot_top(struct hot *hot, struct hot_item *ret, size_t most)
{
    struct counter sorted[HOT_COUNTERS];
    pthread_mutex_lock(&hot->lock);
    memcpy(sorted, hot->counters, sizeof sorted);
    uint64_t total = hot->total;
    pthread_mutex_unlock(&hot->lock);
    qsort(sorted, HOT_COUNTERS, sizeof sorted[0], compare);
    size_t count = 0;
    for (; count < most && count < HOT_COUNTERS && sorted[count].count > 0; count++) {
        memcpy(ret[count].name, sorted[count].name, sizeof ret[count].name);
        uint64_t share = total ? sorted[count].count * 1000 / total : 0;
        ret[count].permille = share > 1000 ? 1000 : share;
    }
    return count;
}
