/* SPDX-License-Identifier: Apache-2.0 */
/* Copies, flights and loads: which read takes which way. */
#include "query-service/cache/serve.h"

#include "common/base/clock.h"
#include "query-service/cache/share.h"
#include "query-service/metrics.h"
#include "readmodel/keys.h"

enum {
    SHARDS = 16,
    FLIGHTS_PER_READ = 4,  /* a read with a token may find that a flight went off too early for it */
    RETRY_MIN_US = 250000, /* after a refresh that failed */
    RETRY_SPREAD_US = 250000,
};

void serve_init(struct serve *serve, const struct serve_options *options, struct loader *loader)
{
    *serve = (struct serve){.options = *options, .loader = loader};
    serve->cache = cache_create(options->cache_bytes, SHARDS);
    serve->flights = flights_create(options->waiting_max);
    serve->hot = hot_create();
    changes_init(&serve->changes);
}

void serve_deinit(struct serve *serve)
{
    flights_destroy(serve->flights);
    cache_destroy(serve->cache);
    hot_destroy(serve->hot);
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

static void answer_copy(struct read *read, const struct copy *copy, const struct respond_how *how)
{
    metric_add(query_metrics.reads[how->kind == RESPOND_LOADED ? how->source : SOURCE_MEMORY], 1);
    respond_copy(read->request, copy, how);
}

/* --- making copies --- */

static struct copy_subject subject_of(const struct read *read)
{
    const struct query *query = &read->query;
    bool found = read->answer.outcome == ANSWER_FOUND;
    struct copy_subject subject = {.slices = (uint16_t)query_slices(query),
                                   .bucket = COPY_NO_BUCKET,
                                   .campaign_slot = COPY_CAMPAIGN_SLOTS};
    struct span user = query->user_id;
    if (query->coupon.position > 0 && read->answer.coupons_count > 0)
        user = read->answer.coupons[0].user_id; /* a coupon changes with its holder */
    if (user.ptr)
        subject.bucket = user_group(user_hash(user));
    /* Of a user in a campaign nothing changes when others get something, unless it is that there is one. */
    if (query->campaign_id.ptr && (!user.ptr || !found))
        subject.campaign_slot = copy_campaign_slot(query->campaign_id);
    subject.every = !user.ptr && !query->campaign_id.ptr && query->coupon.position == 0;
    return subject;
}

/* What another query service loaded: it was looked at when it came. */
static struct copy *copy_of_shared(const struct serve *serve, const struct read *read)
{
    struct share share;
    bool good = share_decode(buf_span(&read->shared), clock_mono_us(), clock_wall_us(), &share);
    CHECK(good);
    return copy_create(&share.source, &serve->options.life, chance());
}

static struct copy *copy_of(const struct serve *serve, const struct read *read)
{
    if (read->source == SOURCE_SHARED)
        return copy_of_shared(serve, read);
    struct buf body;
    char etag[COPY_ETAG_MAX + 1] = "";
    struct copy_subject subject = subject_of(read);
    int status = respond_render(read, &body, etag);
    struct copy *copy = copy_create(
        &(struct copy_source){
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
        &serve->options.life, chance());
    buf_deinit(&body);
    return copy;
}

/* --- landing --- */

/* What a flight brought. */
struct landing {
    struct serve *serve;
    const struct read *read;
    struct copy *copy; /* NULL: the load failed */
    struct copy *kept; /* then: what may be given instead; NULL for nothing */
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
static bool conclude(const struct landing *landing, struct read *waiter)
{
    const struct read *load = landing->read;
    int64_t now_us = clock_mono_us();
    if (landing->copy && copy_reaches(landing->copy, waiter->own)) {
        struct respond_how how = {RESPOND_LOADED, load->source, load->fallback, waiter != load, now_us};
        answer_copy(waiter, landing->copy, &how);
    } else if (landing->copy) {
        if (waiter != load && !was_meant_for(load, waiter) && waiter->flown < FLIGHTS_PER_READ &&
            now_us < waiter->deadline_us)
            return false;
        answer_failure(waiter, READ_NOT_REACHED);
    } else if (landing->kept && now_us < landing->kept->error_until_us &&
               copy_reaches(landing->kept, waiter->own)) {
        metric_add(query_metrics.kept, 1);
        answer_copy(waiter, landing->kept, &(struct respond_how){.kind = RESPOND_KEPT, .now_us = now_us});
    } else {
        answer_failure(waiter, load->failure);
    }
    if (waiter != load)
        read_destroy(waiter);
    return true;
}

static void landed(struct read *read);

static void lead(struct serve *serve, struct read *read)
{
    read->done = landed;
    read->owner = serve;
    read->target = flights_key(read);
    loader_submit(serve->loader, read);
}

/* Joins a flight or leads one; the request is deferred. */
static void board(struct serve *serve, struct span key, struct read *read)
{
    read->flown++;
    switch (flights_board(serve->flights, key, read, true)) {
    case FLIGHT_LEADS:
        lead(serve, read);
        return;
    case FLIGHT_WAITS:
        metric_add(query_metrics.collapsed, 1);
        return;
    case FLIGHT_BUSY:
        answer_failure(read, READ_OVERLOADED);
        read_destroy(read);
        return;
    }
}

/* One flight for all whose tokens were ahead of the one that landed: whoever leads it aims at the furthest.
 */
static void board_again(struct serve *serve, struct span key, struct read *list)
{
    int64_t furthest[SLICE_COUNT] = {0};
    for (struct read *read = list; read; read = (struct read *)read->item.next)
        for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
            if (read->own[slice] > furthest[slice])
                furthest[slice] = read->own[slice];
    while (list) {
        struct read *next = (struct read *)list->item.next;
        memcpy(list->query.at_least, furthest, sizeof furthest);
        board(serve, key, list);
        list = next;
    }
}

static void keep(const struct landing *landing, struct span key)
{
    if (landing->copy)
        cache_put(landing->serve->cache, key, landing->copy);
    else if (landing->kept)
        atomic_store(&landing->kept->retry_us,
                     clock_mono_us() + RETRY_MIN_US + crypto_random_below(RETRY_SPREAD_US));
}

/* The load is over. Where it had the lease, others get what it brought. */
static void let_go(struct serve *serve, struct read *read, const struct copy *copy)
{
    bool leaves = read->lease && copy && copy->status == 200 && copy->body.len <= SHARE_BYTES_MAX;
    if (!leaves) {
        read_destroy(read);
        return;
    }
    buf_clear(&read->shared);
    share_encode(copy, clock_mono_us(), clock_wall_us(), &read->shared);
    loader_leave(serve->loader, read);
}

/* On a thread of the loader, or where the loader took nothing more, on that of the HTTP server. */
static void landed(struct read *read)
{
    struct serve *serve = read->owner;
    char key_text[CACHE_KEY_MAX];
    struct span key = flights_key(read);
    CHECK(key.len <= sizeof key_text);
    memcpy(key_text, key.ptr, key.len);
    key.ptr = key_text; /* the flight's own ends with it */
    struct landing landing = {.serve = serve, .read = read};
    if (read->failure == READ_GOOD)
        landing.copy = copy_of(serve, read);
    else
        landing.kept = cache_get(serve->cache, key);
    keep(&landing, key); /* before the flight ends, so that nobody finds neither */
    struct read *waiting = flights_land(serve->flights, read), *again = NULL, **last = &again;
    while (waiting) {
        struct read *waiter = waiting;
        waiting = (struct read *)waiter->item.next;
        waiter->item.next = NULL;
        if (conclude(&landing, waiter))
            continue;
        *last = waiter;
        last = (struct read **)&waiter->item.next;
    }
    if (read->request)
        (void)conclude(&landing, read); /* the leader's own is never for another flight */
    read->target = key;
    let_go(serve, read, landing.copy);
    copy_release(landing.copy);
    copy_release(landing.kept);
    board_again(serve, key, again);
}

/* --- the way of a read --- */

/* Behind the reader's back. The read that was just answered goes, as nobody's. */
static void refresh(struct serve *serve, struct span key, struct read *read, struct copy *copy)
{
    int64_t now_us = clock_mono_us();
    if (now_us < atomic_load(&copy->retry_us) ||
        flights_board(serve->flights, key, read, false) != FLIGHT_LEADS) {
        read_destroy(read);
        return;
    }
    metric_add(query_metrics.refreshes, 1);
    read->request = NULL;
    lead(serve, read);
}

static void give(struct serve *serve, struct read *read, struct copy *copy, enum copy_verdict verdict,
                 int64_t now_us)
{
    char key_text[CACHE_KEY_MAX];
    struct span target = http_target(read->request), key = {key_text, target.len};
    bool goes = verdict != COPY_FRESH;
    if (goes)
        memcpy(key_text, target.ptr, target.len); /* the request's ends with its answer */
    answer_copy(read, copy,
                &(struct respond_how){.kind = verdict == COPY_FRESH || verdict == COPY_EARLY ? RESPOND_HIT
                                                                                             : RESPOND_STALE,
                                      .now_us = now_us});
    if (goes)
        refresh(serve, key, read, copy);
    else
        read_destroy(read);
}

/* A copy that is known to be overtaken: nobody waits where somebody went already. */
static void give_or_lead(struct serve *serve, struct read *read, struct copy *copy, int64_t now_us)
{
    struct http_request *request = read->request;
    if (now_us >= atomic_load(&copy->retry_us) &&
        flights_board(serve->flights, http_target(request), read, false) == FLIGHT_LEADS) {
        read->flown++;
        http_defer(request);
        lead(serve, read);
        return;
    }
    answer_copy(read, copy, &(struct respond_how){.kind = RESPOND_STALE, .now_us = now_us});
    read_destroy(read);
}

static void count(enum copy_verdict verdict)
{
    metric_add(query_metrics.lookups[verdict], 1);
}

/* Every eighth is enough to see what is hot, and keeps the threads from queueing at the sketch's lock. */
static void sample(struct serve *serve, const struct query *query)
{
    enum { EVERY = 8 };
    static _Thread_local unsigned turn;
    if (turn++ % EVERY == 0)
        hot_count(serve->hot, query_kind_label(query->kind), query->campaign_id);
}

void serve_read(struct serve *serve, struct read *read)
{
    struct span key = http_target(read->request);
    int64_t now_us = clock_mono_us();
    enum copy_verdict verdict = COPY_DEAD;
    memcpy(read->own, read->query.at_least, sizeof read->own);
    sample(serve, &read->query);
    struct copy *copy = cache_get(serve->cache, key);
    if (copy && copy_reaches(copy, read->own)) {
        bool near_end = now_us + 16 * copy->cost_us >= copy->fresh_until_us;
        verdict = copy_judge(copy, &(struct copy_moment){
                                       .now_us = now_us,
                                       .chance = near_end ? chance() : 1,
                                       .changed = changes_concern(&serve->changes, copy),
                                       .quick = loader_models_usable(serve->loader),
                                   });
    }
    count(verdict);
    if (verdict <= COPY_STALE) {
        give(serve, read, copy, verdict, now_us);
    } else if (verdict == COPY_CHANGED) {
        give_or_lead(serve, read, copy, now_us);
    } else {
        http_defer(read->request); /* before another thread can answer it */
        board(serve, key, read);
    }
    copy_release(copy);
}
