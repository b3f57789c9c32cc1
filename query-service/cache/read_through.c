/* SPDX-License-Identifier: Apache-2.0 */
/* Copies, flights and loads: which read takes which way. */
#include "query-service/cache/read_through.h"

#include "common/base/clock.h"
#include "query-service/metrics.h"
#include "readmodel/keys.h"

enum {
    SHARDS = 16,
    FLIGHTS_PER_READ_MAX = 4, /* a read with a token may find that a flight went off too early for it */
    RETRY_MIN_US = 250000,    /* after a refresh that failed */
    RETRY_SPREAD_US = 250000,
};

void read_through_init(struct read_through *reads, const struct read_through_options *options,
                       struct loader *loader)
{
    *reads = (struct read_through){.options = *options, .loader = loader};
    reads->cache = cache_create(options->cache_bytes, SHARDS);
    reads->flights = single_flight_create(options->waiting_max);
    reads->hot = hot_create();
    invalidation_init(&reads->changes);
}

void read_through_deinit(struct read_through *reads)
{
    single_flight_destroy(reads->flights);
    cache_destroy(reads->cache);
    hot_destroy(reads->hot);
}

/* In (0, 1]. */
static double chance(void)
{
    enum { STEPS = 1 << 24 };
    return (double)(crypto_random_below(STEPS) + 1) / STEPS;
}

/* --- answering one request --- */

static void answer_failure(struct read *read, enum read_failure failure)
{
    bool asked_wrong = failure == READ_FAR_EVENTS || failure == READ_FAR_CAMPAIGNS || failure == READ_AHEAD;
    metric_add(failure == READ_OVERLOADED ? query_metrics.refused_overload
                                          : query_metrics.refused_unavailable,
               failure != READ_INTERNAL && !asked_wrong);
    respond_failure(read->request, failure);
}

static void answer_entry(struct read *read, const struct entry *entry, const struct respond_how *how)
{
    metric_add(query_metrics.reads[how->kind == RESPOND_LOADED ? how->source : SOURCE_MEMORY], 1);
    respond_entry(read->request, entry, how);
}

/* --- making copies --- */

static struct entry_subject subject_of(const struct read *read)
{
    const struct query *query = &read->query;
    bool found = read->answer.outcome == ANSWER_FOUND;
    struct entry_subject subject = {.slices = (uint16_t)query_slices(query),
                                    .bucket = ENTRY_NO_BUCKET,
                                    .campaign_slot = ENTRY_CAMPAIGN_SLOTS};
    struct span user = query->user_id;
    if (query->coupon.position > 0 && read->answer.coupons_count > 0)
        user = read->answer.coupons[0].user_id; /* a coupon changes with its holder */
    if (user.ptr)
        subject.bucket = user_group(user_hash(user));
    /* Of a user in a campaign nothing changes when others get something, unless it is that there is one. */
    if (query->campaign_id.ptr && (!user.ptr || !found))
        subject.campaign_slot = entry_campaign_slot(query->campaign_id);
    subject.every = !user.ptr && !query->campaign_id.ptr && query->coupon.position == 0;
    return subject;
}

static struct entry *entry_of(const struct read_through *reads, const struct read *read)
{
    struct buf body;
    char etag[ENTRY_ETAG_MAX + 1] = "";
    struct entry_subject subject = subject_of(read);
    int status = respond_render(read, &body, etag);
    struct entry *entry = entry_create(
        &(struct entry_source){
            .body = buf_span(&body),
            .etag = etag,
            .status = (uint16_t)status,
            .from_models = read->source == SOURCE_REDIS,
            .brief = read->query.kind == QUERY_VALIDITY,
            .settled = read->settled,
            .subject = &subject,
            .stands_on = read->stands_on,
            .began_us = read->began_us,
            .ended_us = clock_mono_us(),
        },
        &reads->options.life, chance());
    buf_deinit(&body);
    return entry;
}

/* --- outcome --- */

/* What a flight brought. */
struct outcome {
    struct read_through *reads;
    const struct read *read;
    struct entry *entry; /* NULL: the load failed */
    struct entry *kept;  /* then: what may be given instead; NULL for nothing */
};

/* Whether the load that ended was meant to reach as far as this read needs. */
static bool was_meant_for(const struct read *load, const struct read *waiter)
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        if (query_slices(&load->query) >> slice & 1 && waiter->own[slice] > load->query.at_least[slice])
            return false;
    return true;
}

/* Answers, or returns false: the flight was not for this read, and it may take another. */
static bool answer_waiter(const struct outcome *outcome, struct read *waiter)
{
    const struct read *load = outcome->read;
    int64_t now_us = clock_mono_us();
    if (outcome->entry && entry_reaches(outcome->entry, waiter->own)) {
        struct respond_how how = {RESPOND_LOADED, load->source, load->fallback, waiter != load, now_us};
        answer_entry(waiter, outcome->entry, &how);
    } else if (outcome->entry) {
        if (waiter != load && !was_meant_for(load, waiter) && waiter->flights < FLIGHTS_PER_READ_MAX &&
            now_us < waiter->deadline_us)
            return false;
        answer_failure(waiter, READ_NOT_REACHED);
    } else if (outcome->kept && now_us < outcome->kept->error_until_us &&
               entry_reaches(outcome->kept, waiter->own)) {
        metric_add(query_metrics.kept, 1);
        answer_entry(waiter, outcome->kept, &(struct respond_how){.kind = RESPOND_KEPT, .now_us = now_us});
    } else {
        answer_failure(waiter, load->failure);
    }
    if (waiter != load)
        read_destroy(waiter);
    return true;
}

static void on_loaded(struct read *read);

static void start_load(struct read_through *reads, struct read *read)
{
    read->done = on_loaded;
    read->owner = reads;
    loader_submit(reads->loader, read);
}

/* Joins a flight or leads one; the request is deferred. */
static void join(struct read_through *reads, struct span key, struct read *read)
{
    read->flights++;
    switch (single_flight_join(reads->flights, key, read, true)) {
    case FLIGHT_LEADER:
        start_load(reads, read);
        return;
    case FLIGHT_FOLLOWER:
        metric_add(query_metrics.collapsed, 1);
        return;
    case FLIGHT_BUSY:
        answer_failure(read, READ_OVERLOADED);
        read_destroy(read);
        return;
    }
}

/* One flight for all whose tokens were ahead of the one that on_loaded: whoever leads it aims at the
 * furthest.
 */
static void join_again(struct read_through *reads, struct span key, struct read *list)
{
    int64_t furthest[SLICE_COUNT] = {0};
    for (struct read *read = list; read; read = (struct read *)read->item.next)
        for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
            if (read->own[slice] > furthest[slice])
                furthest[slice] = read->own[slice];
    while (list) {
        struct read *next = (struct read *)list->item.next;
        memcpy(list->query.at_least, furthest, sizeof furthest);
        join(reads, key, list);
        list = next;
    }
}

static void keep(const struct outcome *outcome, struct span key)
{
    if (outcome->entry)
        cache_put(outcome->reads->cache, key, outcome->entry);
    else if (outcome->kept)
        atomic_store(&outcome->kept->retry_us,
                     clock_mono_us() + RETRY_MIN_US + crypto_random_below(RETRY_SPREAD_US));
}

/* On a thread of the loader, or where the loader took nothing more, on that of the HTTP server. */
static void on_loaded(struct read *read)
{
    struct read_through *reads = read->owner;
    char key_text[CACHE_KEY_MAX];
    struct span key = single_flight_key(read);
    CHECK(key.len <= sizeof key_text);
    memcpy(key_text, key.ptr, key.len);
    key.ptr = key_text; /* the flight's own ends with it */
    struct outcome outcome = {.reads = reads, .read = read};
    if (read->failure == READ_GOOD)
        outcome.entry = entry_of(reads, read);
    else
        outcome.kept = cache_get(reads->cache, key);
    keep(&outcome, key); /* before the flight ends, so that nobody finds neither */
    struct read *waiting = single_flight_end(reads->flights, read), *again = NULL, **last = &again;
    while (waiting) {
        struct read *waiter = waiting;
        waiting = (struct read *)waiter->item.next;
        waiter->item.next = NULL;
        if (answer_waiter(&outcome, waiter))
            continue;
        *last = waiter;
        last = (struct read **)&waiter->item.next;
    }
    if (read->request)
        (void)answer_waiter(&outcome, read); /* the leader's own is never for another flight */
    read_destroy(read);
    entry_release(outcome.entry);
    entry_release(outcome.kept);
    join_again(reads, key, again);
}

/* --- the way of a read --- */

/* Behind the reader's back. The read that was just answered goes, as nobody's. */
static void refresh(struct read_through *reads, struct span key, struct read *read, struct entry *entry)
{
    int64_t now_us = clock_mono_us();
    if (now_us < atomic_load(&entry->retry_us) ||
        single_flight_join(reads->flights, key, read, false) != FLIGHT_LEADER) {
        read_destroy(read);
        return;
    }
    metric_add(query_metrics.refreshes, 1);
    read->request = NULL;
    start_load(reads, read);
}

static void answer_from_memory(struct read_through *reads, struct read *read, struct entry *entry,
                               enum entry_verdict verdict, int64_t now_us)
{
    char key_text[CACHE_KEY_MAX];
    struct span target = http_target(read->request), key = {key_text, target.len};
    bool goes = verdict != ENTRY_FRESH;
    if (goes)
        memcpy(key_text, target.ptr, target.len); /* the request's ends with its answer */
    answer_entry(read, entry,
                 &(struct respond_how){
                     .kind = verdict == ENTRY_FRESH || verdict == ENTRY_EARLY ? RESPOND_HIT : RESPOND_STALE,
                     .now_us = now_us});
    if (goes)
        refresh(reads, key, read, entry);
    else
        read_destroy(read);
}

/* A copy that is known to be overtaken: nobody waits where somebody went already. */
static void answer_or_load(struct read_through *reads, struct read *read, struct entry *entry, int64_t now_us)
{
    struct http_request *request = read->request;
    if (now_us >= atomic_load(&entry->retry_us) &&
        single_flight_join(reads->flights, http_target(request), read, false) == FLIGHT_LEADER) {
        read->flights++;
        http_defer(request);
        start_load(reads, read);
        return;
    }
    answer_entry(read, entry, &(struct respond_how){.kind = RESPOND_STALE, .now_us = now_us});
    read_destroy(read);
}

static void count(enum entry_verdict verdict)
{
    metric_add(query_metrics.lookups[verdict], 1);
}

/* Every eighth is enough to see what is hot, and keeps the threads from queueing at the sketch's lock. */
static void sample(struct read_through *reads, const struct query *query)
{
    enum { EVERY = 8 };
    static _Thread_local unsigned turn;
    if (turn++ % EVERY == 0)
        hot_count(reads->hot, query_kind_label(query->kind), query->campaign_id);
}

void read_through_get(struct read_through *reads, struct read *read)
{
    struct span key = http_target(read->request);
    int64_t now_us = clock_mono_us();
    enum entry_verdict verdict = ENTRY_DEAD;
    memcpy(read->own, read->query.at_least, sizeof read->own);
    sample(reads, &read->query);
    struct entry *entry = cache_get(reads->cache, key);
    if (entry && entry_reaches(entry, read->own)) {
        bool near_end = now_us + 16 * entry->cost_us >= entry->fresh_until_us;
        verdict = entry_judge(entry, &(struct entry_moment){
                                         .now_us = now_us,
                                         .chance = near_end ? chance() : 1,
                                         .changed = invalidation_concerns(&reads->changes, entry),
                                         .quick = loader_models_usable(reads->loader),
                                     });
    }
    count(verdict);
    if (verdict <= ENTRY_STALE) {
        answer_from_memory(reads, read, entry, verdict, now_us);
    } else if (verdict == ENTRY_CHANGED) {
        answer_or_load(reads, read, entry, now_us);
    } else {
        http_defer(read->request); /* before another thread can answer it */
        join(reads, key, read);
    }
    entry_release(entry);
}
