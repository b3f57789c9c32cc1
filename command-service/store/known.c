/* SPDX-License-Identifier: Apache-2.0 */
/* Definitions and filters of campaigns. A filter grows by layers, each four times as large as the one before,
 * so that nobody has to know beforehand how much a campaign will issue. */
#include "command-service/store/known.h"

#include "common/base/bloom.h"
#include "common/base/map.h"

enum { LAYER_MIN = 4096, LAYER_GROWTH_BITS = 2, LAYERS_MAX = 12, DEFINITION_BYTES_MAX = 4 * EVENT_DATA_MAX };

struct known_layer {
    struct bloom *bloom;
    size_t count, capacity;
};

struct known {
    struct map campaigns; /* id -> struct known_campaign */
    size_t campaigns_max, bytes_max, bytes;
    uint64_t batch; /* number of the one that is under way */
};

struct known *known_create(size_t campaigns_max, size_t bytes_max)
{
    struct known *known = mem_zalloc(sizeof *known);
    map_init(&known->campaigns);
    known->campaigns_max = campaigns_max;
    known->bytes_max = bytes_max;
    return known;
}

static void unfollow(struct known *known, struct known_campaign *campaign)
{
    for (size_t i = 0; campaign->layers && i < campaign->layers_count; i++)
        bloom_destroy(campaign->layers[i].bloom);
    mem_free(campaign->layers);
    known->bytes -= campaign->bytes;
    campaign->layers = NULL;
    campaign->layers_count = campaign->bytes = 0;
    campaign->followed = campaign->complete = false;
}

static void forget(struct known *known, struct known_campaign *campaign)
{
    CHECK(map_remove(&known->campaigns, campaign->id) == campaign);
    unfollow(known, campaign);
    arena_deinit(&campaign->arena);
    mem_free(campaign);
}

/* Forgets whoever was last used at or before a batch. Removing moves later entries forward. */
static void forget_since(struct known *known, uint64_t batch)
{
    for (size_t i = 0; i < known->campaigns.capacity; i++)
        while (known->campaigns.entries[i].key.ptr) {
            struct known_campaign *campaign = known->campaigns.entries[i].value;
            if (campaign->used > batch)
                break;
            forget(known, campaign);
        }
}

void known_clear(struct known *known)
{
    forget_since(known, UINT64_MAX);
}

void known_destroy(struct known *known)
{
    if (!known)
        return;
    known_clear(known);
    map_deinit(&known->campaigns);
    mem_free(known);
}

/* Whose filter was not used for longest, other than that of `but`; NULL: nobody's. */
static struct known_campaign *oldest_filter(const struct known *known, const struct known_campaign *but)
{
    struct known_campaign *ret = NULL;
    for (size_t i = 0; i < known->campaigns.capacity; i++) {
        struct known_campaign *campaign =
            known->campaigns.entries[i].key.ptr ? known->campaigns.entries[i].value : NULL;
        if (campaign && campaign != but && campaign->bytes > 0 && (!ret || campaign->used < ret->used))
            ret = campaign;
    }
    return ret;
}

void known_trim(struct known *known, size_t campaigns)
{
    static const uint64_t ages[] = {4096, 256, 16, 1};
    known->batch++;
    for (size_t i = 0; i < COUNT_OF(ages) && known->campaigns.count + campaigns > known->campaigns_max; i++)
        if (known->batch > ages[i])
            forget_since(known, known->batch - ages[i]);
}

struct known_campaign *known_find(struct known *known, struct span id)
{
    struct known_campaign *campaign = map_get(&known->campaigns, id);
    if (campaign)
        campaign->used = known->batch;
    return campaign;
}

struct known_campaign *known_get(struct known *known, struct span id)
{
    struct known_campaign *campaign = known_find(known, id);
    if (campaign)
        return campaign;
    campaign = mem_zalloc(sizeof *campaign);
    CHECK(id.len > 0 && id.len <= sizeof campaign->id_text);
    memcpy(campaign->id_text, id.ptr, id.len);
    campaign->id = (struct span){campaign->id_text, id.len};
    campaign->used = known->batch;
    arena_init(&campaign->arena, DEFINITION_BYTES_MAX);
    map_put(&known->campaigns, campaign->id, campaign);
    return campaign;
}

bool known_define(struct known_campaign *campaign, int16_t version, struct span data,
                  struct campaign_created *ret)
{
    if (!campaign->data.ptr || campaign->version != version || !span_equal(campaign->data, data)) {
        struct event created = {.type = EVENT_CampaignCreated, .version = version};
        arena_reset(&campaign->arena);
        campaign->data = (struct span){NULL, 0};
        char *copy = data.len <= EVENT_DATA_MAX ? arena_alloc(&campaign->arena, data.len) : NULL;
        if (!copy)
            return false;
        memcpy(copy, data.ptr, data.len);
        created.data = (struct span){copy, data.len};
        if (event_decode(&created, &campaign->arena) != CODEC_OK)
            return false;
        campaign->data = created.data;
        campaign->version = version;
        campaign->definition = created.campaign_created;
    }
    *ret = campaign->definition;
    return true;
}

void known_follow(struct known *known, struct known_campaign *campaign)
{
    unfollow(known, campaign);
    campaign->followed = true;
    campaign->covered = campaign->run = campaign->position = 0;
}

/* Makes room by giving up the filters of others. */
static bool make_room(struct known *known, const struct known_campaign *campaign, size_t bytes)
{
    struct known_campaign *other;
    while (known->bytes + bytes > known->bytes_max && (other = oldest_filter(known, campaign)))
        unfollow(known, other);
    return known->bytes + bytes <= known->bytes_max;
}

static bool add_layer(struct known *known, struct known_campaign *campaign)
{
    size_t capacity = (size_t)LAYER_MIN << LAYER_GROWTH_BITS * campaign->layers_count;
    size_t bytes = bloom_bytes(capacity);
    if (campaign->layers_count == LAYERS_MAX || !make_room(known, campaign, bytes))
        return false;
    campaign->layers = mem_realloc(campaign->layers, (campaign->layers_count + 1) * sizeof *campaign->layers);
    campaign->layers[campaign->layers_count++] = (struct known_layer){bloom_create(capacity), 0, capacity};
    campaign->bytes += bytes;
    known->bytes += bytes;
    return true;
}

void known_add(struct known *known, struct known_campaign *campaign, uint64_t hash)
{
    struct known_layer *last = campaign->layers_count ? &campaign->layers[campaign->layers_count - 1] : NULL;
    if (!campaign->followed)
        return;
    if (!last || last->count == last->capacity) {
        if (!add_layer(known, campaign)) {
            unfollow(known, campaign);
            return;
        }
        last = &campaign->layers[campaign->layers_count - 1];
    }
    bloom_add(last->bloom, hash);
    last->count++;
}

bool known_has(const struct known_campaign *campaign, uint64_t hash)
{
    for (size_t i = 0; i < campaign->layers_count; i++)
        if (bloom_has(campaign->layers[i].bloom, hash))
            return true;
    return !campaign->followed;
}

size_t known_bytes(const struct known *known)
{
    return known->bytes;
}
