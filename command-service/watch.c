/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of tranches. */
#include "command-service/watch.h"

#include <pthread.h>
#include <stdatomic.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

/* Up to 5 s in steps of 50 ms, and what is slower. */
enum { STEP_MS = 50, STEPS = 101 };

struct followed {
    char id[CAMPAIGN_ID_MAX];
    size_t id_len; /* 0: free */
    uint64_t hash;
    uint64_t heard; /* in what order they were last heard of */
    int64_t plan_step, calls, failed;
    int64_t steps[STEPS];
};

struct watch {
    atomic_size_t count;  /* of followed; what watch_note looks at first */
    pthread_mutex_t lock; /* guards everything below */
    struct watch_limits limits;
    struct followed followed[WATCH_MAX];
    uint64_t clock;
};

const struct watch_limits watch_no_halt = {.min_calls = INT64_MAX, .p95_ms = INT64_MAX};

struct watch *watch_create(const struct watch_limits *limits)
{
    struct watch *watch = mem_zalloc(sizeof *watch);
    CHECK(pthread_mutex_init(&watch->lock, NULL) == 0);
    watch->limits = *limits;
    return watch;
}

void watch_destroy(struct watch *watch)
{
    if (!watch)
        return;
    pthread_mutex_destroy(&watch->lock);
    mem_free(watch);
}

void watch_set_limits(struct watch *watch, const struct watch_limits *limits)
{
    pthread_mutex_lock(&watch->lock);
    watch->limits = *limits;
    pthread_mutex_unlock(&watch->lock);
}

static struct followed *find(struct watch *watch, struct span id)
{
    uint64_t hash = span_hash(id);
    for (size_t i = 0; i < WATCH_MAX; i++) {
        struct followed *at = &watch->followed[i];
        if (at->hash == hash && at->id_len && span_equal((struct span){at->id, at->id_len}, id))
            return at;
    }
    return NULL;
}

/* A free place, or that of the one not heard of for the longest time. */
static struct followed *place(struct watch *watch)
{
    struct followed *best = &watch->followed[0];
    for (size_t i = 0; i < WATCH_MAX && best->id_len; i++)
        if (watch->followed[i].id_len == 0 || watch->followed[i].heard < best->heard)
            best = &watch->followed[i];
    return best;
}

static void follow(struct watch *watch, struct followed *at, const struct campaign *campaign)
{
    *at = (struct followed){
        .id_len = campaign->id.len,
        .hash = span_hash(campaign->id),
        .heard = ++watch->clock,
        .plan_step = campaign->plan_done,
    };
    memcpy(at->id, campaign->id.ptr, campaign->id.len);
}

static bool under_way(const struct campaign *campaign)
{
    return !campaign_over(campaign, 0) && !campaign->plan_halted &&
           campaign->plan_done < (int64_t)campaign->definition.release_plan.count;
}

static void count_followed(struct watch *watch)
{
    size_t count = 0;
    for (size_t i = 0; i < WATCH_MAX; i++)
        count += watch->followed[i].id_len > 0;
    atomic_store(&watch->count, count);
}

void watch_campaign(struct watch *watch, const struct campaign *campaign)
{
    if (campaign->definition.release_plan.count == 0)
        return;
    pthread_mutex_lock(&watch->lock);
    struct followed *at = find(watch, campaign->id);
    if (!under_way(campaign)) {
        if (at)
            *at = (struct followed){.id_len = 0};
    } else if (!at || at->plan_step != campaign->plan_done) {
        follow(watch, at ? at : place(watch), campaign);
    }
    count_followed(watch);
    pthread_mutex_unlock(&watch->lock);
}

void watch_note(struct watch *watch, struct span campaign_id, bool failed, int64_t duration_us)
{
    if (atomic_load_explicit(&watch->count, memory_order_relaxed) == 0)
        return;
    int64_t step = duration_us < 0 ? 0 : duration_us / (STEP_MS * US_PER_MS);
    pthread_mutex_lock(&watch->lock);
    struct followed *at = find(watch, campaign_id);
    if (at) {
        at->heard = ++watch->clock;
        at->calls++;
        at->failed += failed;
        at->steps[step < STEPS ? step : STEPS - 1]++;
    }
    pthread_mutex_unlock(&watch->lock);
}

/* The upper end of the step in which the 95th of a hundred calls lies. */
static int64_t p95_ms(const struct followed *at)
{
    int64_t seen = 0, step = 0;
    for (; step < STEPS - 1; step++) {
        seen += at->steps[step];
        if (seen * 100 >= at->calls * 95)
            break;
    }
    return (step + 1) * STEP_MS;
}

bool watch_find_bad(struct watch *watch, size_t *cursor, struct watch_finding *ret)
{
    bool bad = false;
    pthread_mutex_lock(&watch->lock);
    for (; *cursor < WATCH_MAX && !bad; (*cursor)++) {
        const struct followed *at = &watch->followed[*cursor];
        if (at->id_len == 0 || at->calls == 0 || at->calls < watch->limits.min_calls)
            continue;
        int64_t permille = (at->calls - at->failed) * 1000 / at->calls, p95 = p95_ms(at);
        bad = permille < watch->limits.success_permille || p95 > watch->limits.p95_ms;
        ret->figures = (struct release_plan_halted){at->plan_step, at->calls, permille, p95};
        memcpy(ret->campaign_id, at->id, at->id_len);
        ret->campaign_id_len = at->id_len;
    }
    pthread_mutex_unlock(&watch->lock);
    return bad;
}
