/* SPDX-License-Identifier: Apache-2.0 */
/* Entries, flights and loads: which read takes which way. */
#include "query-service/cache/read_through.h"

#include "common/base/clock.h"
#include "query-service/metrics.h"
#include "readmodel/keys.h"

enum {
    SHARDS = 16,
    FLIGHTS_PER_READ_MAX = 4, /* a read with a token may find that a load began too early for it */
    RETRY_MIN_US = 250000,    /* after a refresh that failed */
    RETRY_SPREAD_US = 250000,
};

void read_through_init(struct read_through *reads, size_t cache_bytes)
{
    reads->cache_bytes = cache_bytes;
    reads->cache = cache_create(cache_bytes, SHARDS);
    reads->flights = single_flight_create();
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

static struct span key_of(const struct read *read)
{
    return buf_span(&read->waiter.key);
}

/* --- judging --- */

struct entry_moment read_through_moment(const struct read_through *reads)
{
    int64_t now_us = clock_mono_us();
    return (struct entry_moment){
        .now_us = now_us,
        .log_us = log_time_us(reads->time, now_us),
        .log_epoch = atomic_load_explicit(reads->log_epoch, memory_order_relaxed),
        .chance = 1,
    };
}

static enum entry_verdict judge(struct read_through *reads, const struct entry *entry,
                                const struct entry_life *life, struct entry_moment *moment)
{
    moment->changed = invalidation_concerns(&reads->changes, entry);
    moment->quick = loader_models_usable(reads->loader);
    if (entry_fresh_left_us(entry, life, moment) <= 16 * (entry->ended_us - entry->loaded_us))
        moment->chance = chance();
    return entry_judge(entry, life, moment);
}

/* --- answering one request --- */

static void answer_failure(struct read *read, enum read_failure failure)
{
    bool asked_wrong = failure == READ_FAR_EVENTS || failure == READ_FAR_CAMPAIGNS || failure == READ_AHEAD;
    metric_add(failure == READ_OVERLOADED ? query_metrics.refused_overload
                                          : query_metrics.refused_unavailable,
               failure != READ_INTERNAL && !asked_wrong);
    respond_failure(read->waiter.request, failure);
}

static void answer_entry(struct http_request *request, struct entry *entry, const struct respond_how *how)
{
    metric_add(query_metrics.reads[how->kind == RESPOND_LOADED ? how->source : SOURCE_MEMORY], 1);
    respond_entry(request, entry, how);
}

/* --- making entries --- */

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
        subject.bucket = (int32_t)user_group(user_hash(user));
    /* Of a user in a campaign nothing changes when others get something, unless it is that there is one. */
    if (query->campaign_id.ptr && (!user.ptr || !found))
        subject.campaign_slot = entry_campaign_slot(query->campaign_id);
    subject.every = !user.ptr && !query->campaign_id.ptr && query->coupon.position == 0;
    return subject;
}

/* Whether the same rows say what the answer is after an instant: a filter may let others in, and a window
 * counts others. */
static bool renders_again(const struct query *query)
{
    return !query->status.ptr && query->kind != QUERY_RANKING;
}

/* The answer as it is at the load's instant, and where time alone will change it, as it is from then on. */
static struct entry *entry_of(struct read *read)
{
    struct entry_rendering renderings[ENTRY_RENDERINGS_MAX];
    struct buf bodies[ENTRY_RENDERINGS_MAX];
    struct entry_subject subject = subject_of(read);
    size_t count = 0;
    int status;
    do {
        struct entry_rendering *is = &renderings[count];
        *is = (struct entry_rendering){.until_us = answer_true_until_us(&read->answer, &read->query)};
        status = respond_render(read, &bodies[count], is->etag);
        is->body = buf_span(&bodies[count]);
        read->query.now_us = is->until_us; /* for the next */
        count++;
    } while (count < ENTRY_RENDERINGS_MAX && read->query.now_us != ENTRY_FOREVER &&
             renders_again(&read->query));
    struct entry *entry = entry_create(
        &(struct entry_source){
            .renderings = renderings,
            .renderings_count = count,
            .status = (uint16_t)status,
            .from_models = read->source == SOURCE_REDIS,
            .no_stale = read->query.kind == QUERY_VALIDITY,
            .settled = read->settled,
            .subject = &subject,
            .stands_on = read->stands_on,
            .began_us = read->began_us - read->models_age_us,
            .ended_us = clock_mono_us() - read->models_age_us,
            .log_epoch = read->log_epoch,
        },
        chance());
    for (size_t i = 0; i < count; i++)
        buf_deinit(&bodies[i]);
    return entry;
}

/* --- when a load is over --- */

/* What a load brought. */
struct outcome {
    struct read_through *reads;
    const struct read *read;
    struct entry *entry; /* NULL: the load failed, or brought what is older than what is kept */
    struct entry *kept;  /* then: what may be given instead; NULL for nothing */
};

/* Whether the load that ended was meant to reach as far as this read needs. */
static bool was_meant_for(const struct read *load, const struct read *waiter)
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        if (query_slices(&load->query) >> slice & 1 &&
            waiter->waiter.tokens[slice] > load->query.at_least[slice])
            return false;
    return true;
}

static bool may_try_again(const struct read *waiter, int64_t now_us)
{
    return waiter->waiter.flights < FLIGHTS_PER_READ_MAX && now_us < waiter->item.deadline_us;
}

static bool may_give_kept(const struct outcome *outcome, const struct read *waiter,
                          const struct entry_life *life, const struct entry_moment *moment)
{
    return outcome->kept && entry_judge(outcome->kept, life, moment) <= ENTRY_EXPIRED &&
           entry_reaches(outcome->kept, waiter->waiter.tokens);
}

/* Answers, or returns false: the load was not for this read, or what it brought stopped being true while it
 * was under way, and the read may take part in another. */
static bool answer_waiter(const struct outcome *outcome, struct read *waiter)
{
    const struct read *load = outcome->read;
    struct entry_moment moment = read_through_moment(outcome->reads);
    struct entry_life life = control_life(outcome->reads->control);
    struct respond_how how = {.moment = &moment, .life = &life};
    bool is_true = outcome->entry && entry_at(outcome->entry, moment.log_us);
    bool too_old =
        load->models_age_us && is_true && entry_judge(outcome->entry, &life, &moment) > ENTRY_EXPIRED;
    bool reaches = outcome->entry && entry_reaches(outcome->entry, waiter->waiter.tokens);
    if (too_old) {
        answer_failure(waiter, READ_UNAVAILABLE);
    } else if (is_true && reaches) {
        metric_add(query_metrics.kept, load->models_age_us > 0);
        how.kind = RESPOND_LOADED;
        how.old = load->models_age_us > 0;
        how.source = load->source;
        how.fallback = load->fallback;
        how.collapsed = waiter != load;
        answer_entry(waiter->waiter.request, outcome->entry, &how);
    } else if (outcome->entry) {
        bool again = !is_true || (waiter != load && !was_meant_for(load, waiter));
        if (again && may_try_again(waiter, moment.now_us))
            return false;
        answer_failure(waiter, reaches ? READ_UNAVAILABLE : READ_NOT_REACHED);
    } else if (may_give_kept(outcome, waiter, &life, &moment)) {
        metric_add(query_metrics.kept, 1);
        how.kind = RESPOND_KEPT;
        answer_entry(waiter->waiter.request, outcome->kept, &how);
    } else {
        answer_failure(waiter, load->failure == READ_GOOD ? READ_UNAVAILABLE : load->failure);
    }
    return true;
}

static void on_loaded(struct read *read);

static void start_load(struct read_through *reads, struct read *read)
{
    read->done = on_loaded;
    read->owner = reads;
    read->log_epoch = atomic_load(reads->log_epoch);
    read->kept_ms = control_life(reads->control).error_us / US_PER_MS;
    loader_submit(reads->loader, read);
}

/* Joins a flight or leads one; the request is deferred. */
static void join(struct read_through *reads, struct read *read)
{
    read->waiter.flights++;
    if (single_flight_join(reads->flights, read, true) == FLIGHT_LEADER)
        start_load(reads, read);
    else
        metric_add(query_metrics.collapsed, 1);
}

/* One flight for all whose tokens were ahead of the load that ended: whoever leads it aims at the furthest.
 */
static void join_again(struct read_through *reads, struct read *list)
{
    int64_t furthest[SLICE_COUNT] = {0};
    for (struct read *read = list; read; read = (struct read *)read->item.next)
        for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
            if (read->waiter.tokens[slice] > furthest[slice])
                furthest[slice] = read->waiter.tokens[slice];
    while (list) {
        struct read *next = (struct read *)list->item.next;
        memcpy(list->query.at_least, furthest, sizeof furthest);
        join(reads, list);
        list = next;
    }
}

static void keep(const struct outcome *outcome)
{
    struct entry *stale = outcome->kept                  ? outcome->kept
                          : outcome->read->models_age_us ? outcome->entry
                                                         : NULL;
    if (stale)
        atomic_store(&stale->retry_us, clock_mono_us() + RETRY_MIN_US + crypto_random_below(RETRY_SPREAD_US));
    if (outcome->entry)
        cache_put(outcome->reads->cache, key_of(outcome->read), outcome->entry);
}

/* Answers everybody in the list; who is not answered goes to the end of `again`. */
static void answer_all(const struct outcome *outcome, struct read *list, struct read **again)
{
    while (list) {
        struct read *waiter = list;
        list = (struct read *)waiter->item.next;
        waiter->item.next = NULL;
        if (answer_waiter(outcome, waiter)) {
            read_destroy(waiter);
            continue;
        }
        *again = waiter;
        again = (struct read **)&waiter->item.next;
    }
}

/* Models that nobody looks after any more may say less than a copy that PostgreSQL gave since. */
static void prefer_newer_copy(struct outcome *outcome)
{
    struct entry *copy = cache_get(outcome->reads->cache, key_of(outcome->read));
    if (copy && copy->ended_us > outcome->entry->ended_us) {
        entry_release(outcome->entry);
        outcome->entry = NULL;
        outcome->kept = copy;
    } else {
        entry_release(copy);
    }
}

/* On a thread of the loader, or where the loader took nothing more, on that of the HTTP server. */
static void on_loaded(struct read *read)
{
    struct read_through *reads = read->owner;
    struct outcome outcome = {.reads = reads, .read = read};
    if (read->failure == READ_GOOD) {
        outcome.entry = entry_of(read);
        if (read->models_age_us)
            prefer_newer_copy(&outcome);
    } else {
        outcome.kept = cache_get(reads->cache, key_of(read));
    }
    keep(&outcome); /* before the flight ends, so that nobody finds neither */
    struct read *followers = single_flight_end(reads->flights, read), *again = NULL;
    answer_all(&outcome, followers, &again);
    bool answered = !read->waiter.request || answer_waiter(&outcome, read);
    entry_release(outcome.entry);
    entry_release(outcome.kept);
    if (answered) {
        read_destroy(read);
    } else {
        answer_reset(&read->answer);
        read->item.next = (struct work_item *)again;
        again = read;
    }
    join_again(reads, again);
}

/* --- the way of a read --- */

/* Behind the reader's back. The read goes as nobody's. */
static void refresh(struct read_through *reads, struct read *read, struct entry *entry)
{
    if ((entry && clock_mono_us() < atomic_load(&entry->retry_us)) ||
        single_flight_join(reads->flights, read, false) != FLIGHT_LEADER) {
        read_destroy(read);
        return;
    }
    metric_add(query_metrics.refreshes, 1);
    read->waiter.request = NULL;
    start_load(reads, read);
}

static enum respond_kind kind_of(enum entry_verdict verdict)
{
    return verdict == ENTRY_FRESH || verdict == ENTRY_EARLY ? RESPOND_HIT : RESPOND_STALE;
}

static void answer_from_memory(struct read_through *reads, struct read *read, struct entry *entry,
                               enum entry_verdict verdict, const struct respond_how *how)
{
    answer_entry(read->waiter.request, entry, how);
    if (verdict == ENTRY_FRESH)
        read_destroy(read);
    else
        refresh(reads, read, entry);
}

/* An entry that is known to be overtaken: nobody waits where somebody went already. */
static void answer_or_load(struct read_through *reads, struct read *read, struct entry *entry,
                           const struct respond_how *how)
{
    struct http_request *request = read->waiter.request;
    if (how->moment->now_us >= atomic_load(&entry->retry_us) &&
        single_flight_join(reads->flights, read, false) == FLIGHT_LEADER) {
        read->waiter.flights++;
        http_defer(request);
        start_load(reads, read);
        return;
    }
    answer_entry(request, entry, how);
    read_destroy(read);
}

/* Every eighth is enough to see what is hot, and keeps the threads from queueing at the sketch's lock. */
static void sample(struct read_through *reads, const struct query *query)
{
    enum { EVERY = 8 };
    static _Thread_local unsigned turn;
    if (turn++ % EVERY == 0)
        hot_count(reads->hot, query_kind_label(query->kind), query->campaign_id);
}

bool read_through_hit(struct read_through *reads, struct http_request *request, const struct query *query,
                      struct entry_moment *moment)
{
    struct buf key;
    buf_init(&key, QUERY_KEY_MAX);
    query_key(query, &key);
    struct entry *entry = cache_get(reads->cache, buf_span(&key));
    buf_deinit(&key);
    struct entry_life life = control_life(reads->control);
    bool hit =
        entry && entry_reaches(entry, query->at_least) && judge(reads, entry, &life, moment) == ENTRY_FRESH;
    if (hit) {
        sample(reads, query);
        metric_add(query_metrics.lookups[ENTRY_FRESH], 1);
        answer_entry(request, entry, &(struct respond_how){RESPOND_HIT, .moment = moment, .life = &life});
    }
    entry_release(entry);
    return hit;
}

void read_through_get(struct read_through *reads, struct read *read, struct entry_moment *moment)
{
    struct entry_life life = control_life(reads->control);
    enum entry_verdict verdict = ENTRY_DEAD;
    memcpy(read->waiter.tokens, read->query.at_least, sizeof read->waiter.tokens);
    sample(reads, &read->query);
    query_key(&read->query, &read->waiter.key);
    struct entry *entry = cache_get(reads->cache, key_of(read));
    if (entry && entry_reaches(entry, read->waiter.tokens))
        verdict = judge(reads, entry, &life, moment);
    metric_add(query_metrics.lookups[verdict], 1);
    struct respond_how how = {kind_of(verdict), .moment = moment, .life = &life};
    if (verdict <= ENTRY_STALE) {
        answer_from_memory(reads, read, entry, verdict, &how);
    } else if (verdict == ENTRY_CHANGED) {
        answer_or_load(reads, read, entry, &how);
    } else {
        http_defer(read->waiter.request); /* before another thread can answer it */
        join(reads, read);
    }
    entry_release(entry);
}

void read_through_warm(struct read_through *reads, struct read *read)
{
    struct entry_moment moment = read_through_moment(reads);
    struct entry_life life = control_life(reads->control);
    query_key(&read->query, &read->waiter.key);
    struct entry *entry = cache_get(reads->cache, key_of(read));
    if (entry && judge(reads, entry, &life, &moment) == ENTRY_FRESH)
        read_destroy(read);
    else
        refresh(reads, read, entry);
    entry_release(entry);
}
