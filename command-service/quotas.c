/* SPDX-License-Identifier: Apache-2.0 */
/* The table of scopes that somebody created campaigns under. */
#include "command-service/quotas.h"

#include <pthread.h>

#include "command-service/core/batch.h"
#include "command-service/store/due.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/http/auth.h"

enum { SCOPES_MAX = AUTH_KEYS_MAX + 2 };

struct scope {
    char name[QUOTA_SCOPE_MAX];
    size_t name_len;
    uint64_t asked; /* when it was last asked for, by the count of questions */
    int64_t used[SHARDS_MAX];
    int64_t day[SHARDS_MAX]; /* since 1970: of which it was */
};

struct quotas {
    const struct shards *shards;
    pthread_mutex_t lock; /* guards what follows */
    struct scope scopes[SCOPES_MAX];
    size_t count;
    uint64_t asked; /* questions so far */
};

static int64_t today(void)
{
    return clock_wall_us() / US_PER_DAY;
}

static struct span name_of(const struct scope *scope)
{
    return (struct span){scope->name, scope->name_len};
}

/* NULL: it is not looked at. */
static struct scope *find(struct quotas *quotas, struct span name)
{
    for (size_t i = 0; i < quotas->count; i++)
        if (span_equal(name_of(&quotas->scopes[i]), name))
            return &quotas->scopes[i];
    return NULL;
}

/* Where the table is full, whoever was not asked for for longest makes room: key files come and go, and one
 * has no more names than the table has places. */
static struct scope *ask(struct quotas *quotas, struct span name)
{
    struct scope *scope = find(quotas, name);
    if (!scope) {
        scope = &quotas->scopes[0];
        for (size_t i = 1; i < quotas->count; i++)
            if (quotas->scopes[i].asked < scope->asked)
                scope = &quotas->scopes[i];
        if (quotas->count < SCOPES_MAX)
            scope = &quotas->scopes[quotas->count++];
        CHECK(name.len <= QUOTA_SCOPE_MAX);
        *scope = (struct scope){.name_len = name.len};
        memcpy(scope->name, name.ptr, name.len);
    }
    scope->asked = ++quotas->asked;
    return scope;
}

struct quotas *quotas_create(const struct shards *shards)
{
    struct quotas *quotas = mem_zalloc(sizeof *quotas);
    quotas->shards = shards;
    (void)ask(quotas, QUOTA_OPEN_STOCK); /* wanted by the first creation */
    (void)ask(quotas, QUOTA_EVERYBODY);
    CHECK(pthread_mutex_init(&quotas->lock, NULL) == 0);
    return quotas;
}

void quotas_destroy(struct quotas *quotas)
{
    pthread_mutex_destroy(&quotas->lock);
    mem_free(quotas);
}

int64_t quotas_elsewhere(struct quotas *quotas, struct span scope, size_t shard)
{
    int64_t used = 0;
    if (quotas->shards->count == 1)
        return 0;
    pthread_mutex_lock(&quotas->lock);
    const struct scope *is = ask(quotas, scope);
    bool of_days = !span_equal(scope, QUOTA_OPEN_STOCK);
    for (size_t i = 0; i < quotas->shards->count; i++)
        if (i != shard && (!of_days || is->day[i] == today()))
            used += is->used[i];
    pthread_mutex_unlock(&quotas->lock);
    return used;
}

void quotas_take(struct quotas *quotas, size_t shard, const struct quota_seen *seen)
{
    pthread_mutex_lock(&quotas->lock);
    for (size_t i = 0; i < seen->count; i++) {
        struct scope *scope = find(quotas, seen->names[i]);
        if (!scope)
            continue; /* made room meanwhile */
        scope->used[shard] = seen->used[i];
        scope->day[shard] = seen->day;
    }
    pthread_mutex_unlock(&quotas->lock);
}

bool quotas_look(struct quotas *quotas, size_t shard, struct reader *reader, int64_t deadline_us)
{
    struct span names[SCOPES_MAX];
    int64_t used[SCOPES_MAX];
    struct quota_seen seen = {.names = names, .used = used, .day = today()};
    struct buf texts;
    bool read = false;
    if (quotas->shards->count == 1)
        return true;
    buf_init(&texts, SCOPES_MAX * QUOTA_SCOPE_MAX);
    pthread_mutex_lock(&quotas->lock);
    for (; seen.count < quotas->count; seen.count++) {
        names[seen.count].len = quotas->scopes[seen.count].name_len;
        buf_append_span(&texts, name_of(&quotas->scopes[seen.count]));
    }
    pthread_mutex_unlock(&quotas->lock);
    const char *at = texts.data;
    for (size_t i = 0; i < seen.count; at += names[i++].len)
        names[i].ptr = at;
    bool connected = due_quotas(reader, quotas->shards->list[shard].slices, names, seen.count, seen.day,
                                deadline_us, &read, used);
    if (read)
        quotas_take(quotas, shard, &seen);
    buf_deinit(&texts);
    return connected;
}
