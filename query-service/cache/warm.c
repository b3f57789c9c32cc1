/* SPDX-License-Identifier: Apache-2.0 */
/* The list of campaigns and their loads. */
#include "query-service/cache/warm.h"

#include "common/base/clock.h"

enum { LOAD_MS = 2000 };

void warm_init(struct warm *warm, struct read_through *reads)
{
    *warm = (struct warm){.reads = reads};
    CHECK(pthread_mutex_init(&warm->lock, NULL) == 0);
}

void warm_deinit(struct warm *warm)
{
    pthread_mutex_destroy(&warm->lock);
}

/* GET /v1/campaigns/{id}, as nobody's request. */
static void load(struct read_through *reads, struct span id)
{
    struct read *read = read_create(QUERY_CAMPAIGN, 0); /* the loader says when */
    read->query.campaign_id = query_keep(&read->query, id);
    read->item.deadline_us = clock_deadline_us(LOAD_MS);
    read_through_warm(reads, read);
}

static void note_locked(struct warm *warm, struct span id)
{
    struct warm_item *item = warm->items;
    while (item < warm->items + warm->count && !span_equal(id, (struct span){item->id, item->id_len}))
        item++;
    if (item == warm->items + WARM_MAX)
        return;
    if (item == warm->items + warm->count) {
        warm->count++;
        memcpy(item->id, id.ptr, id.len);
        item->id_len = id.len;
    }
    item->until_us = clock_deadline_us(WARM_LIFE_S * 1000);
}

void warm_note(struct warm *warm, const struct hint *hint)
{
    for (size_t i = 0; i < hint->campaigns_count; i++) {
        if (!campaign_id_valid(hint->campaigns[i]))
            continue;
        pthread_mutex_lock(&warm->lock);
        note_locked(warm, hint->campaigns[i]);
        pthread_mutex_unlock(&warm->lock);
        load(warm->reads, hint->campaigns[i]);
    }
}

/* A copy of the item at `index`; drops those whose time is over. False at the end of the list. */
static bool item_at(struct warm *warm, size_t index, struct warm_item *ret)
{
    int64_t now_us = clock_mono_us();
    pthread_mutex_lock(&warm->lock);
    while (index < warm->count && warm->items[index].until_us <= now_us)
        warm->items[index] = warm->items[--warm->count];
    bool there = index < warm->count;
    if (there)
        *ret = warm->items[index];
    pthread_mutex_unlock(&warm->lock);
    return there;
}

void warm_tick(struct warm *warm)
{
    struct warm_item item;
    if (warm->reads->cache_bytes == 0)
        return;
    for (size_t i = 0; item_at(warm, i, &item); i++)
        load(warm->reads, (struct span){item.id, item.id_len});
}

size_t warm_count(struct warm *warm)
{
    pthread_mutex_lock(&warm->lock);
    size_t count = warm->count;
    pthread_mutex_unlock(&warm->lock);
    return count;
}
