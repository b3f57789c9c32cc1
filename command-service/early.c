/* SPDX-License-Identifier: Apache-2.0 */
/* The table of campaigns that refuse everybody, and the thread that reads who holds their coupons. */
#include "command-service/early.h"

#include <pthread.h>
#include <stdatomic.h>

#include "command-service/store/holders.h"
#include "common/base/bloom.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/base/thread.h"
#include "events/problems.h"

enum {
    CROWD = 8,      /* so many refusals in one batch make a campaign worth an entry, not a few latecomers */
    MARGIN_MS = 50, /* before a start nobody is refused early any more */
    BACKOFF_MS = 250,
    UNUSED_MS = 30000, /* an entry that refused nobody for so long may be replaced */
};

struct entry {
    char id[CAMPAIGN_ID_MAX];
    size_t id_len; /* 0: free */
    uint64_t hash;
    const struct problem *problem; /* what everybody without a coupon is told */
    struct refusal_next next;
    int64_t until_us;        /* monotonic; past it nobody is told anything */
    int64_t holders;         /* coupons that are issued, and will ever be */
    struct bloom *filter;    /* who holds them; NULL: nobody yet */
    int64_t covered;         /* how many are in the filter; sequences are dense (I5) */
    _Atomic int64_t used_us; /* monotonic: when it last refused */
};

/* One for each shard, so that filters of one do not wait for another that is slow or away. */
struct loader {
    struct early *early;
    const struct shard *shard;
    pthread_t thread;
    bool wanted; /* some filter is not whole; guarded by wake_lock */
};

struct early {
    struct early_options options;
    pthread_rwlock_t lock; /* guards the table */
    struct entry entries[EARLY_MAX];
    atomic_size_t count; /* of entries; what is looked at first */
    struct loader loaders[SHARDS_MAX];
    pthread_mutex_t wake_lock; /* guards what follows */
    pthread_cond_t wake;
    bool stop;
};

static struct metric *refused_metric, *followed_metric, *bytes_metric;

static struct span id_of(const struct entry *entry)
{
    return (struct span){entry->id, entry->id_len};
}

static struct entry *find(struct early *early, struct span campaign_id)
{
    uint64_t hash = span_hash(campaign_id);
    for (size_t i = 0; i < EARLY_MAX; i++) {
        struct entry *entry = &early->entries[i];
        if (entry->hash == hash && entry->id_len && span_equal(id_of(entry), campaign_id))
            return entry;
    }
    return NULL;
}

/* --- refusing --- */

const struct problem *early_refusal(struct early *early, struct span campaign_id, struct span user_id,
                                    struct refusal_next *ret_next)
{
    const struct problem *problem = NULL;
    if (atomic_load_explicit(&early->count, memory_order_relaxed) == 0)
        return NULL;
    int64_t now_us = clock_mono_us();
    pthread_rwlock_rdlock(&early->lock);
    struct entry *entry = find(early, campaign_id);
    if (entry && now_us < entry->until_us && entry->covered == entry->holders &&
        (!entry->filter || !bloom_has(entry->filter, span_hash(user_id)))) {
        problem = entry->problem;
        *ret_next = entry->next;
        atomic_store_explicit(&entry->used_us, now_us, memory_order_relaxed);
    }
    pthread_rwlock_unlock(&early->lock);
    metric_add(refused_metric, problem != NULL);
    return problem;
}

/* --- what batches tell --- */

/* What everybody without a coupon is told, and until when (monotonic). NULL: it may change at any moment. */
static const struct problem *final_refusal(const struct campaign *campaign, int64_t now_us, int64_t read_us,
                                           int64_t *ret_until_us)
{
    *ret_until_us = read_us + EARLY_LEASE_MS * US_PER_MS;
    switch (campaign_phase(campaign, now_us)) {
    case PHASE_ENDED:
    case PHASE_CLOSED:
        *ret_until_us = INT64_MAX;
        return &problem_ended;
    case PHASE_DELETED:
        *ret_until_us = INT64_MAX;
        return &problem_unknown_campaign;
    case PHASE_SOLD_OUT: {
        int64_t open_us = read_us + (campaign->definition.reopens_at_us - now_us) - MARGIN_MS * US_PER_MS;
        if (campaign->issued < campaign->definition.quantity && open_us < *ret_until_us)
            *ret_until_us = open_us; /* it was enlarged, and reopens by itself */
        return &problem_sold_out;
    }
    case PHASE_SCHEDULED: {
        int64_t open_us = read_us + (campaign->definition.starts_at_us - now_us) - MARGIN_MS * US_PER_MS;
        if (open_us < *ret_until_us)
            *ret_until_us = open_us;
        return &problem_not_started;
    }
    case PHASE_ACTIVE:
    case PHASE_PAUSED:
        break;
    }
    return NULL;
}

static void drop(struct early *early, struct entry *entry)
{
    bloom_destroy(entry->filter);
    *entry = (struct entry){.id_len = 0};
    metric_set(followed_metric, (int64_t)atomic_fetch_sub(&early->count, 1) - 1);
}

/* A free place, or that of one that is of no use any more; NULL: there is none. */
static struct entry *place(struct early *early)
{
    int64_t unused_us = clock_mono_us() - UNUSED_MS * US_PER_MS;
    for (size_t i = 0; i < EARLY_MAX; i++)
        if (early->entries[i].id_len == 0)
            return &early->entries[i];
    for (size_t i = 0; i < EARLY_MAX; i++)
        if (early->entries[i].used_us < unused_us) {
            drop(early, &early->entries[i]);
            return &early->entries[i];
        }
    return NULL;
}

static struct entry *enter(struct early *early, const struct campaign *campaign)
{
    struct entry *entry = place(early);
    if (!entry)
        return NULL;
    *entry = (struct entry){
        .id_len = campaign->id.len,
        .hash = span_hash(campaign->id),
        .holders = campaign->issued,
        .used_us = clock_mono_us(),
    };
    memcpy(entry->id, campaign->id.ptr, campaign->id.len);
    metric_set(followed_metric, (int64_t)atomic_fetch_add(&early->count, 1) + 1);
    return entry;
}

/* true: its filter has to be loaded. */
static bool note(struct early *early, const struct batch *batch, const struct loaded_campaign *loaded,
                 size_t refusals, int64_t read_us)
{
    int64_t until_us = read_us;
    const struct campaign *campaign = &loaded->campaign;
    const struct problem *problem =
        loaded->exists ? final_refusal(campaign, batch->now_us, read_us, &until_us) : NULL;
    struct entry *entry = find(early, campaign->id);
    if (entry && (!problem || entry->holders != campaign->issued)) { /* it issues again, or did */
        drop(early, entry);
        entry = NULL;
    }
    if (!entry && problem && refusals >= CROWD)
        entry = enter(early, campaign);
    if (!entry)
        return false;
    entry->problem = problem;
    entry->next = decide_next(problem, &(struct subject){.campaign = campaign}, NULL, batch->now_us);
    entry->until_us = until_us;
    return entry->covered < entry->holders;
}

static void wake(struct early *early, int16_t slice)
{
    pthread_mutex_lock(&early->wake_lock);
    early->loaders[early->options.shards->of[slice]].wanted = true;
    pthread_cond_broadcast(&early->wake);
    pthread_mutex_unlock(&early->wake_lock);
}

/* Refusals of the batch's issues, per campaign: most batches of a sale have none, or only one campaign. */
static size_t refusals_of(const struct batch *batch, struct span campaign_id)
{
    size_t refusals = 0;
    for (size_t i = 0; i < batch->count; i++)
        refusals += batch->verdicts[i].refusal && batch->commands[i]->kind == COMMAND_ISSUE &&
                    span_equal(batch->commands[i]->campaign_id, campaign_id);
    return refusals;
}

static size_t refusals_in(const struct batch *batch)
{
    size_t refusals = 0;
    for (size_t i = 0; i < batch->count; i++)
        refusals += batch->verdicts[i].refusal != NULL;
    return refusals;
}

void early_note_batch(struct early *early, const struct batch *batch, int64_t read_us)
{
    bool wanted = false, many = refusals_in(batch) >= CROWD;
    if (early->options.bytes_max == 0 || (!many && atomic_load(&early->count) == 0))
        return;
    pthread_rwlock_wrlock(&early->lock);
    for (size_t i = 0; i < batch->campaigns_count; i++) {
        const struct loaded_campaign *loaded = batch->campaign_list[i];
        size_t refusals = many ? refusals_of(batch, loaded->campaign.id) : 0;
        wanted |= note(early, batch, loaded, refusals, read_us);
    }
    pthread_rwlock_unlock(&early->lock);
    if (wanted)
        wake(early, batch->slice);
}

/* --- who holds --- */

static size_t bytes_used(const struct early *early)
{
    size_t bytes = 0;
    for (size_t i = 0; i < EARLY_MAX; i++)
        if (early->entries[i].filter)
            bytes += bloom_bytes((size_t)early->entries[i].holders);
    return bytes;
}

/* Whose holders to read next, and from where; false: every filter of the shard is whole, or there is no
 * memory for more. */
static bool next_missing(struct early *early, const struct shard *shard, struct holders_query *ret)
{
    bool found = false;
    pthread_rwlock_wrlock(&early->lock);
    for (size_t i = 0; i < EARLY_MAX && !found; i++) {
        struct entry *entry = &early->entries[i];
        if (!entry->id_len || entry->covered == entry->holders || !shard_has(shard, slice_of(id_of(entry))))
            continue;
        if (!entry->filter &&
            bytes_used(early) + bloom_bytes((size_t)entry->holders) <= early->options.bytes_max)
            entry->filter = bloom_create((size_t)entry->holders);
        metric_set(bytes_metric, (int64_t)bytes_used(early));
        found = entry->filter != NULL;
        *ret = (struct holders_query){.campaign_id_len = entry->id_len, .after = entry->covered};
        memcpy(ret->campaign_id, entry->id, entry->id_len);
    }
    pthread_rwlock_unlock(&early->lock);
    return found;
}

/* false: there were none. */
static bool add(struct early *early, const struct holders_query *query, const struct pg_rows *rows)
{
    int count = pg_rows_count(rows);
    pthread_rwlock_wrlock(&early->lock);
    struct entry *entry = find(early, (struct span){query->campaign_id, query->campaign_id_len});
    if (entry && entry->filter && entry->covered == query->after) { /* or another one by now */
        for (int row = 0; row < count && entry->covered < entry->holders; row++, entry->covered++)
            bloom_add(entry->filter, span_hash(pg_bytes(rows, row, 0)));
    }
    pthread_rwlock_unlock(&early->lock);
    return count > 0;
}

/* Waits until a filter is wanted, or for the back-off; false: stop. */
static bool await_work(struct loader *loader, bool failed)
{
    struct early *early = loader->early;
    int64_t until_us = failed ? clock_deadline_us(BACKOFF_MS) : INT64_MAX;
    pthread_mutex_lock(&early->wake_lock);
    while (!early->stop && (failed || !loader->wanted) &&
           cond_wait_until(&early->wake, &early->wake_lock, until_us))
        ;
    loader->wanted = false;
    bool stop = early->stop;
    pthread_mutex_unlock(&early->wake_lock);
    return !stop;
}

static bool stopping(struct early *early)
{
    pthread_mutex_lock(&early->wake_lock);
    bool stop = early->stop;
    pthread_mutex_unlock(&early->wake_lock);
    return stop;
}

/* With a connection of its own, so that no committer waits for it; made when it is needed. */
static void *loader_main(void *context)
{
    struct loader *loader = context;
    struct early *early = loader->early;
    struct reader reader;
    struct holders_query query;
    bool failed = false;
    pthread_setname_np(pthread_self(), "early");
    holders_init(&reader, loader->shard->url);
    while (await_work(loader, failed)) {
        failed = false;
        while (!failed && !stopping(early) && next_missing(early, loader->shard, &query)) {
            struct pg_rows *rows = NULL;
            failed = !holders_read(&reader, &query, &rows) || !add(early, &query, rows);
            pg_rows_destroy(rows);
        }
        if (failed)
            log_warn("EARLY-HOLDERS",
                     "cannot read who holds coupons of a campaign that refuses everybody: %s",
                     pg_error(reader.pg));
    }
    reader_deinit(&reader);
    return NULL;
}

/* --- life --- */

struct early *early_start(const struct early_options *options)
{
    struct early *early = mem_zalloc(sizeof *early);
    refused_metric = metric_counter("coupon_early_refusals_total",
                                    "Issues refused by what cannot change, without a transaction", NULL);
    followed_metric =
        metric_gauge("coupon_early_campaigns", "Campaigns that refuse everybody and are known for it", NULL);
    bytes_metric = metric_gauge("coupon_early_bytes", "Memory of who holds coupons of these", NULL);
    metric_set(metric_gauge("coupon_early_limit_bytes", "Memory that this may take", NULL),
               (int64_t)options->bytes_max);
    early->options = *options;
    CHECK(pthread_rwlock_init(&early->lock, NULL) == 0);
    CHECK(pthread_mutex_init(&early->wake_lock, NULL) == 0);
    CHECK(pthread_cond_init(&early->wake, NULL) == 0);
    for (size_t i = 0; i < options->shards->count; i++) {
        struct loader *loader = &early->loaders[i];
        loader->early = early;
        loader->shard = &options->shards->list[i];
        CHECK(pthread_create(&loader->thread, NULL, loader_main, loader) == 0);
    }
    return early;
}

void early_stop(struct early *early)
{
    if (!early)
        return;
    pthread_mutex_lock(&early->wake_lock);
    early->stop = true;
    pthread_cond_broadcast(&early->wake);
    pthread_mutex_unlock(&early->wake_lock);
    for (size_t i = 0; i < early->options.shards->count; i++)
        CHECK(pthread_join(early->loaders[i].thread, NULL) == 0);
    for (size_t i = 0; i < EARLY_MAX; i++)
        bloom_destroy(early->entries[i].filter);
    pthread_cond_destroy(&early->wake);
    pthread_mutex_destroy(&early->wake_lock);
    pthread_rwlock_destroy(&early->lock);
    mem_free(early);
}
