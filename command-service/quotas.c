/* SPDX-License-Identifier: Apache-2.0 */
/* The table of scopes that somebody created campaigns under. */
#include "command-service/quotas.h"

#include <pthread.h>

#include "command-service/core/batch.h"
#include "command-service/store/due.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/http/auth.h"

struct scope {
    char name[QUOTA_SCOPE_MAX];
    size_t name_len;
    int64_t used[SHARDS_MAX];
    int64_t day[SHARDS_MAX]; /* since 1970: of which it was */
};

struct quotas {
    const struct shards *shards;
    pthread_mutex_t lock; /* guards what follows */
    struct scope scopes[AUTH_KEYS_MAX + 2];
    size_t count; /* only grows */
};

static int64_t today(void)
{
    return clock_wall_us() / US_PER_DAY;
}

static struct span name_of(const struct scope *scope)
{
    return (struct span){scope->name, scope->name_len};
}

/* NULL where the table is full: more keys than a key file may have. */
static struct scope *find(struct quotas *quotas, struct span name)
{
    for (size_t i = 0; i < quotas->count; i++)
        if (span_equal(name_of(&quotas->scopes[i]), name))
            return &quotas->scopes[i];
    if (quotas->count == COUNT_OF(quotas->scopes) || name.len > QUOTA_SCOPE_MAX)
        return NULL;
    struct scope *scope = &quotas->scopes[quotas->count++];
    memcpy(scope->name, name.ptr, name.len);
    scope->name_len = name.len;
    return scope;
}

struct quotas *quotas_create(const struct shards *shards)
{
    struct quotas *quotas = mem_zalloc(sizeof *quotas);
    quotas->shards = shards;
    (void)find(quotas, QUOTA_OPEN_STOCK); /* wanted by the first creation */
    (void)find(quotas, QUOTA_EVERYBODY);
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
    const struct scope *is = find(quotas, scope);
    bool of_days = !span_equal(scope, QUOTA_OPEN_STOCK);
    for (size_t i = 0; is && i < quotas->shards->count; i++)
        if (i != shard && (!of_days || is->day[i] == today()))
            used += is->used[i];
    pthread_mutex_unlock(&quotas->lock);
    return used;
}

bool quotas_look(struct quotas *quotas, size_t shard, struct reader *reader, int64_t deadline_us)
{
    struct span names[COUNT_OF(quotas->scopes)];
    int64_t used[COUNT_OF(quotas->scopes)], day = today();
    if (quotas->shards->count == 1)
        return true;
    pthread_mutex_lock(&quotas->lock);
    size_t count = quotas->count; /* what is there stays as it is */
    pthread_mutex_unlock(&quotas->lock);
    for (size_t i = 0; i < count; i++)
        names[i] = name_of(&quotas->scopes[i]);
    bool read = false;
    if (count > 0 &&
        !due_quotas(reader, quotas->shards->list[shard].slices, names, count, day, deadline_us, &read, used))
        return false;
    pthread_mutex_lock(&quotas->lock);
    for (size_t i = 0; read && i < count; i++) {
        quotas->scopes[i].used[shard] = used[i];
        quotas->scopes[i].day[shard] = day;
    }
    pthread_mutex_unlock(&quotas->lock);
    return true;
}
