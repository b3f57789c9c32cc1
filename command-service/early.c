/* SPDX-License-Identifier: Apache-2.0 */
/* The table of campaigns that refuse everybody. */
#include "command-service/early_internal.h"

#include "common/base/clock.h"
#include "common/base/metrics.h"
#include "events/problems.h"

/* So many refusals in one batch make a campaign worth following: a crowd, not a few latecomers. */
enum { CROWD = 8 };

static struct metric *refused_metric, *followed_metric;

struct early *early_start(const struct early_options *options)
{
    struct early *early = mem_zalloc(sizeof *early);
    pthread_condattr_t attributes;
    refused_metric = metric_counter("coupon_early_refusals_total",
                                    "Issues refused from recent knowledge, without a transaction", NULL);
    followed_metric =
        metric_gauge("coupon_early_campaigns", "Campaigns that refuse everybody and are followed", NULL);
    early->options = *options;
    early->keys = (struct recent_keys){.now = bloom_create(KEYS_KEPT), .before = bloom_create(KEYS_KEPT)};
    CHECK(pthread_rwlock_init(&early->lock, NULL) == 0);
    CHECK(pthread_mutex_init(&early->wake_lock, NULL) == 0);
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&early->wake, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
    CHECK(pthread_create(&early->keeper, NULL, early_keeper_main, early) == 0);
    return early;
}

static void wake_keeper(struct early *early)
{
    pthread_mutex_lock(&early->wake_lock);
    pthread_cond_signal(&early->wake);
    pthread_mutex_unlock(&early->wake_lock);
}

void early_stop(struct early *early)
{
    if (!early)
        return;
    atomic_store(&early->stopping, true);
    wake_keeper(early);
    CHECK(pthread_join(early->keeper, NULL) == 0);
    for (size_t i = 0; i < EARLY_MAX; i++)
        if (early->entries[i].id_len)
            early_drop(early, &early->entries[i]);
    bloom_destroy(early->keys.now);
    bloom_destroy(early->keys.before);
    pthread_cond_destroy(&early->wake);
    pthread_mutex_destroy(&early->wake_lock);
    pthread_rwlock_destroy(&early->lock);
    mem_free(early);
}

/* --- the table --- */

struct early_entry *early_find(struct early *early, struct span campaign_id)
{
    uint64_t hash = span_hash(campaign_id);
    for (size_t i = 0; i < EARLY_MAX; i++) {
        struct early_entry *entry = &early->entries[i];
        if (entry->hash == hash && entry->id_len &&
            span_equal((struct span){entry->id, entry->id_len}, campaign_id))
            return entry;
    }
    return NULL;
}

void early_drop(struct early *early, struct early_entry *entry)
{
    bloom_destroy(entry->holders);
    *entry = (struct early_entry){.id_len = 0};
    metric_set(followed_metric, (int64_t)atomic_fetch_sub(&early->count, 1) - 1);
}

/* A full table follows nobody else: the keeper drops what is of no use any more. */
static void follow(struct early *early, struct span campaign_id)
{
    struct early_entry *entry = early_find(early, campaign_id);
    for (size_t i = 0; i < EARLY_MAX && !entry; i++) {
        if (early->entries[i].id_len)
            continue;
        entry = &early->entries[i];
        *entry = (struct early_entry){.id_len = campaign_id.len, .hash = span_hash(campaign_id)};
        memcpy(entry->id, campaign_id.ptr, campaign_id.len);
        metric_set(followed_metric, (int64_t)atomic_fetch_add(&early->count, 1) + 1);
    }
    if (entry)
        atomic_store(&entry->used_us, clock_mono_us());
}

static uint64_t key_hash64(const uint8_t key_hash[REQUEST_KEY_BYTES])
{
    uint64_t hash; /* of a cryptographic hash: any eight bytes do */
    memcpy(&hash, key_hash, sizeof hash);
    return hash;
}

static const struct problem *refusal_of(const struct early_entry *entry, const struct recent_keys *keys,
                                        struct span user_id, uint64_t key)
{
    if (!entry || !entry->problem || clock_mono_us() >= entry->valid_until_us)
        return NULL;
    if (bloom_has(entry->holders, span_hash(user_id)))
        return NULL;
    return bloom_has(keys->now, key) || bloom_has(keys->before, key) ? NULL : entry->problem;
}

const struct problem *early_refusal(struct early *early, struct span campaign_id, struct span user_id,
                                    const uint8_t key_hash[REQUEST_KEY_BYTES])
{
    if (atomic_load_explicit(&early->count, memory_order_relaxed) == 0)
        return NULL;
    pthread_rwlock_rdlock(&early->lock);
    struct early_entry *entry = early_find(early, campaign_id);
    const struct problem *problem = refusal_of(entry, &early->keys, user_id, key_hash64(key_hash));
    if (problem)
        atomic_store_explicit(&entry->used_us, clock_mono_us(), memory_order_relaxed);
    pthread_rwlock_unlock(&early->lock);
    metric_add(refused_metric, problem != NULL);
    return problem;
}

/* --- what commits tell --- */

static void note_key(struct recent_keys *keys, const struct command *command)
{
    if (keys->count == KEYS_KEPT) {
        struct bloom *oldest = keys->before;
        keys->before = keys->now;
        keys->now = oldest;
        bloom_clear(oldest);
        keys->count = 0;
    }
    bloom_add(keys->now, key_hash64(command->id.key_hash));
    keys->count++;
}

static bool is_of_everybody(const struct problem *problem)
{
    return problem == &problem_sold_out || problem == &problem_paused || problem == &problem_ended ||
           problem == &problem_not_started;
}

static bool took_effect(const struct batch *batch, size_t index)
{
    return batch->commands[index]->kind == COMMAND_ISSUE && batch->verdicts[index].remembered;
}

static size_t refusals_of(const struct batch *batch, struct span campaign_id)
{
    size_t refusals = 0;
    for (size_t i = 0; i < batch->count; i++)
        refusals += batch->commands[i]->kind == COMMAND_ISSUE &&
                    is_of_everybody(batch->verdicts[i].refusal) &&
                    span_equal(batch->commands[i]->campaign_id, campaign_id);
    return refusals;
}

/* Whether there is anything to tell: most batches of a sale only issue. */
static bool refused_many(const struct batch *batch)
{
    size_t refusals = 0;
    for (size_t i = 0; i < batch->count; i++)
        refusals += batch->verdicts[i].refusal != NULL;
    return refusals >= CROWD;
}

void early_note_batch(struct early *early, const struct batch *batch)
{
    bool many = refused_many(batch), woken = false;
    pthread_rwlock_wrlock(&early->lock);
    for (size_t i = 0; i < batch->count; i++)
        if (took_effect(batch, i))
            note_key(&early->keys, batch->commands[i]);
    for (size_t i = 0; i < batch->campaigns_count; i++) {
        const struct loaded_campaign *loaded = batch->campaign_list[i];
        struct early_entry *entry = loaded->changed ? early_find(early, loaded->campaign.id) : NULL;
        if (entry) {
            entry->version++;
            entry->valid_until_us = 0;
        }
        if (many && refusals_of(batch, loaded->campaign.id) >= CROWD) {
            follow(early, loaded->campaign.id);
            woken = true;
        }
    }
    pthread_rwlock_unlock(&early->lock);
    if (woken)
        wake_keeper(early);
}
