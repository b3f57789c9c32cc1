/* SPDX-License-Identifier: Apache-2.0 */
/* The threads, and what they have done. */
#include "projector/rebuild/side_by_side.h"

#include <pthread.h>

struct crew {
    const struct side_by_side *what;
    struct worker {
        struct crew *crew;
        int16_t slice;           /* under way; -1: none */
        int64_t position, limit; /* in it, and how far it goes */
        pthread_t thread;
    } workers[SIDE_BY_SIDE];
    pthread_mutex_t lock; /* of all but `what` */
    unsigned todo, built;
    int64_t done; /* events of slices that are built */
};

static bool go_on(void *context, enum build_phase phase, int64_t position, int64_t limit)
{
    struct worker *worker = context;
    struct crew *crew = worker->crew;
    (void)limit;
    pthread_mutex_lock(&crew->lock);
    worker->position = position;
    int64_t events = crew->done;
    for (size_t i = 0; i < SIDE_BY_SIDE; i++)
        events += crew->workers[i].position;
    crew->what->progress(crew->what->context, phase, events);
    pthread_mutex_unlock(&crew->lock);
    return true;
}

/* What is not built keeps the others of its server, which would hardly do better. */
static void finish(struct worker *worker, bool built)
{
    struct crew *crew = worker->crew;
    pthread_mutex_lock(&crew->lock);
    if (built) {
        crew->built |= 1U << worker->slice;
        crew->done += worker->limit;
    } else {
        crew->todo &= ~redis_writer_slices_beside(crew->what->writer, worker->slice);
    }
    worker->slice = -1;
    worker->position = worker->limit = 0;
    pthread_mutex_unlock(&crew->lock);
}

/* The next slice, if it may be on a server where no other is at work: one that hangs then keeps one. False
 * where there is none. */
static bool next(struct worker *worker, struct build *ret)
{
    struct crew *crew = worker->crew;
    const struct side_by_side *what = crew->what;
    pthread_mutex_lock(&crew->lock);
    unsigned elsewhere = crew->todo;
    for (size_t i = 0; i < SIDE_BY_SIDE; i++) {
        const struct worker *other = &crew->workers[i];
        ret->beside += other->limit - other->position;
        if (other->slice >= 0)
            elsewhere &= ~redis_writer_slices_beside(what->writer, other->slice);
    }
    bool any = crew->todo != 0;
    if (any) {
        ret->slice = worker->slice = (int16_t)__builtin_ctz(elsewhere ? elsewhere : crew->todo);
        crew->todo &= ~(1U << worker->slice);
        worker->limit = what->limits[worker->slice];
        ret->limit = what->past ? worker->limit : 0;
    }
    pthread_mutex_unlock(&crew->lock);
    return any;
}

static void *work(void *context)
{
    struct worker *worker = context;
    const struct side_by_side *what = worker->crew->what;
    char reason[128];
    struct builder *builder = builder_create(what->shard, what->redis_url, reason, sizeof reason);
    CHECK(builder != NULL); /* the URL was parsed before */
    for (;;) {
        struct build build = {.generation = what->generation, .progress = go_on, .context = worker};
        if (!next(worker, &build))
            break;
        finish(worker, builder_run(builder, &build) == BUILD_DONE);
    }
    builder_destroy(builder);
    return NULL;
}

unsigned build_side_by_side(const struct side_by_side *what, unsigned slices)
{
    struct crew crew = {.what = what, .lock = PTHREAD_MUTEX_INITIALIZER, .todo = slices};
    for (size_t i = 0; i < SIDE_BY_SIDE; i++)
        crew.workers[i] = (struct worker){.crew = &crew, .slice = -1};
    for (size_t i = 0; i < SIDE_BY_SIDE; i++)
        CHECK(pthread_create(&crew.workers[i].thread, NULL, work, &crew.workers[i]) == 0);
    for (size_t i = 0; i < SIDE_BY_SIDE; i++)
        pthread_join(crew.workers[i].thread, NULL);
    return slices & ~crew.built;
}
