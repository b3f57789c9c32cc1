/* SPDX-License-Identifier: Apache-2.0 */
/* The threads, and what they have done. */
#include "projector/rebuild/by_server.h"

#include <pthread.h>

struct crew;

struct worker {
    struct crew *crew;
    unsigned slices, built;
    int64_t done, position; /* events of slices that are built, and of the one under way; under the lock */
    pthread_t thread;
};

struct crew {
    const struct by_server *what;
    struct worker workers[SIDE_BY_SIDE_MAX];
    size_t count;
    pthread_mutex_t lock;
};

static void tell(struct worker *worker, int64_t position)
{
    struct crew *crew = worker->crew;
    int64_t events = 0;
    pthread_mutex_lock(&crew->lock);
    worker->position = position;
    for (size_t i = 0; i < crew->count; i++)
        events += crew->workers[i].done + crew->workers[i].position;
    crew->what->progress(crew->what->context, events);
    pthread_mutex_unlock(&crew->lock);
}

static bool go_on(void *context, enum build_phase phase, int64_t position, int64_t limit)
{
    (void)phase, (void)limit;
    tell(context, position);
    return true;
}

static void finish(struct worker *worker, int16_t slice)
{
    pthread_mutex_lock(&worker->crew->lock);
    worker->done += worker->crew->what->limits[slice];
    worker->position = 0;
    pthread_mutex_unlock(&worker->crew->lock);
    worker->built |= 1U << slice;
}

static void *work(void *context)
{
    struct worker *worker = context;
    const struct by_server *what = worker->crew->what;
    char reason[128];
    struct builder *builder = builder_create(what->shard, what->redis_url, reason, sizeof reason);
    CHECK(builder != NULL); /* the URL was parsed before */
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        struct build build = {.slice = slice,
                              .generation = what->generation,
                              .limit = what->past ? what->limits[slice] : 0,
                              .progress = go_on,
                              .context = worker};
        if (!(worker->slices >> slice & 1))
            continue;
        if (builder_run(builder, &build) != BUILD_DONE)
            break; /* the others of this server would hardly do better */
        finish(worker, slice);
    }
    builder_destroy(builder);
    return NULL;
}

/* Servers in turn, where there are more of them than threads. */
static void share_out(struct crew *crew, unsigned slices)
{
    unsigned left = slices;
    for (size_t server = 0; left; server++) {
        struct worker *worker = &crew->workers[server % SIDE_BY_SIDE_MAX];
        int16_t first = 0;
        while (!(left >> first & 1))
            first++;
        unsigned theirs = redis_writer_slices_beside(crew->what->writer, first) & left;
        worker->crew = crew;
        worker->slices |= theirs;
        left &= ~theirs;
        crew->count = server + 1 < SIDE_BY_SIDE_MAX ? server + 1 : SIDE_BY_SIDE_MAX;
    }
}

unsigned build_by_server(const struct by_server *what, unsigned slices, bool *ret_begun)
{
    struct crew crew = {.what = what, .lock = PTHREAD_MUTEX_INITIALIZER};
    share_out(&crew, slices);
    *ret_begun = crew.count > 1;
    if (!*ret_begun)
        return slices;
    for (size_t i = 0; i < crew.count; i++)
        CHECK(pthread_create(&crew.workers[i].thread, NULL, work, &crew.workers[i]) == 0);
    for (size_t i = 0; i < crew.count; i++) {
        pthread_join(crew.workers[i].thread, NULL);
        slices &= ~crew.workers[i].built;
    }
    return slices;
}
