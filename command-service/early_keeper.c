/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper: reads what the followed campaigns are like, several times within EARLY_MS, and who holds their
 * coupons. It has a connection of its own, so that no committer waits for it. If it is slow or PostgreSQL is
 * gone, refusals run out; if this process dies, nothing is lost that was not known to PostgreSQL. */
#include "command-service/early_internal.h"
#include "command-service/store/campaign_row.h"
#include "common/base/clock.h"
#include "common/base/log.h"

enum {
    KEEP_MS = 30,      /* between two looks, when there is something to keep */
    IDLE_MS = 1000,    /* when not */
    EXCHANGE_MS = 300, /* longest look */
    CONNECT_MS = 500,
    BACKOFF_MS = 250,
    UNUSED_MS = 30000,  /* nobody was refused for so long: not followed any more */
    RUNS_AT_ONCE = 16,  /* of issue_run, each a batch's worth of holders */
    CHUNKS_AT_ONCE = 8, /* before the others are looked at again */
    CAPACITY_MIN = 1024,
};

enum statement { SQL_CAMPAIGNS, SQL_HOLDERS, SQL_COUNT };

static const struct pg_statement statements[SQL_COUNT] = {
    [SQL_CAMPAIGNS] = {"early_campaigns",
                       "SELECT " CAMPAIGN_COLUMNS
                       ", clock_timestamp() FROM unnest($1::smallint[], $2::text[]) AS w(slice, "
                       "id) CROSS JOIN LATERAL (SELECT * FROM campaign c WHERE c.slice = w.slice AND c.id = "
                       "w.id LIMIT 1) c"},
    [SQL_HOLDERS] =
        {"early_holders",
         "SELECT e.user_id FROM (SELECT * FROM issue_run r WHERE r.slice = $1::smallint AND r.campaign_id = "
         "$2::text AND r.first_sequence > $3::bigint ORDER BY r.first_sequence LIMIT $4::bigint) r CROSS "
         "JOIN "
         "LATERAL (SELECT e.user_id FROM event e WHERE e.slice = $1::smallint AND e.position BETWEEN "
         "r.first_position AND r.last_position AND e.campaign_id = $2::text AND e.type = 6) e"},
};

struct keeper {
    struct early *early;
    struct pg *pg;
    struct pg_args args;
    struct arena arena;
};

/* An entry as it was when the look began. */
struct look {
    char id[CAMPAIGN_ID_MAX];
    size_t id_len;
    uint64_t version;
    int64_t covered, capacity;
};

static struct span look_id(const struct look *look)
{
    return (struct span){look->id, look->id_len};
}

static size_t begin_look(struct early *early, struct look ret[EARLY_MAX])
{
    size_t count = 0;
    int64_t unused_us = clock_mono_us() - UNUSED_MS * US_PER_MS;
    pthread_rwlock_wrlock(&early->lock);
    for (size_t i = 0; i < EARLY_MAX; i++) {
        struct early_entry *entry = &early->entries[i];
        if (entry->id_len && atomic_load(&entry->used_us) < unused_us)
            early_drop(early, entry);
        if (!entry->id_len)
            continue;
        struct look *look = &ret[count++];
        *look = (struct look){.id_len = entry->id_len,
                              .version = entry->version,
                              .covered = entry->covered,
                              .capacity = entry->capacity};
        memcpy(look->id, entry->id, entry->id_len);
    }
    pthread_rwlock_unlock(&early->lock);
    return count;
}

/* --- holders --- */

static size_t bytes_used(struct early *early)
{
    size_t bytes = 0;
    for (size_t i = 0; i < EARLY_MAX; i++)
        if (early->entries[i].holders)
            bytes += bloom_bytes((size_t)early->entries[i].capacity);
    return bytes;
}

/* A filter with room for twice as many as there are, empty again. false: there is no memory for one. */
static bool make_room(struct early *early, struct look *look, int64_t issued)
{
    int64_t capacity = issued > CAPACITY_MIN / 2 ? 2 * issued : CAPACITY_MIN;
    pthread_rwlock_wrlock(&early->lock);
    struct early_entry *entry = early_find(early, look_id(look));
    bloom_destroy(entry->holders);
    entry->holders = NULL;
    entry->covered = entry->capacity = 0;
    entry->problem = NULL;
    bool room = bytes_used(early) + bloom_bytes((size_t)capacity) <= early->options.bytes_max;
    if (room) {
        entry->holders = bloom_create((size_t)capacity);
        entry->capacity = capacity;
    }
    look->covered = entry->covered;
    look->capacity = entry->capacity;
    pthread_rwlock_unlock(&early->lock);
    return room;
}

static void add_holders(struct early *early, struct look *look, const struct pg_rows *rows)
{
    pthread_rwlock_wrlock(&early->lock);
    struct early_entry *entry = early_find(early, look_id(look));
    for (int row = 0; row < pg_rows_count(rows); row++)
        bloom_add(entry->holders, span_hash(pg_bytes(rows, row, 0)));
    entry->covered += pg_rows_count(rows);
    look->covered = entry->covered;
    pthread_rwlock_unlock(&early->lock);
}

/* All holders of the first `issued` coupons and perhaps more: sequences are dense (I5), so those that are in
 * are counted by how many they are. false: not yet, or PostgreSQL does not answer. */
static bool cover(struct keeper *self, struct look *look, int64_t issued)
{
    if ((look->capacity == 0 || issued > look->capacity) && !make_room(self->early, look, issued))
        return false;
    for (size_t chunk = 0; look->covered < issued && chunk < CHUNKS_AT_ONCE; chunk++) {
        struct pg_rows *rows = NULL;
        pg_args_reset(&self->args);
        pg_arg_i16(&self->args, slice_of(look_id(look)));
        pg_arg_bytes(&self->args, look_id(look));
        pg_arg_i64(&self->args, look->covered);
        pg_arg_i64(&self->args, RUNS_AT_ONCE);
        if (pg_call(self->pg, SQL_HOLDERS, &self->args, clock_deadline_us(EXCHANGE_MS), &rows) == PG_OK)
            add_holders(self->early, look, rows);
        bool none = pg_rows_count(rows) == 0;
        pg_rows_destroy(rows);
        if (none)
            break;
    }
    return look->covered >= issued;
}

/* --- renewing --- */

/* The same from now until the knowledge runs out, or nothing: neither a start nor a tranche may lie between.
 */
static const struct problem *steady_refusal(const struct campaign *campaign, int64_t now_us)
{
    const struct holding nothing = {.count = 0};
    struct event due;
    int64_t until_us =
        now_us + 2 * EARLY_MS * US_PER_MS; /* twice, for what the clock and the way here take */
    const struct problem *now = campaign_issue_refusal(campaign, nothing.count, now_us);
    if (decide_due_release(campaign, until_us, &due))
        return NULL;
    return now == campaign_issue_refusal(campaign, nothing.count, until_us) ? now : NULL;
}

static void publish(struct early *early, const struct look *look, const struct problem *problem,
                    int64_t valid_until_us)
{
    pthread_rwlock_wrlock(&early->lock);
    struct early_entry *entry = early_find(early, look_id(look));
    if (entry->version == look->version) { /* or this process has changed the campaign since */
        entry->problem = problem;
        entry->valid_until_us = problem ? valid_until_us : 0;
    }
    pthread_rwlock_unlock(&early->lock);
}

static void renew(struct keeper *self, struct look *looks, size_t count, const struct pg_rows *rows,
                  int64_t valid_until_us)
{
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct campaign campaign;
        struct look *look = NULL;
        for (size_t i = 0; i < count && !look; i++)
            if (span_equal(look_id(&looks[i]), pg_bytes(rows, row, CAMPAIGN_COLUMN_ID)))
                look = &looks[i];
        if (!look || !campaign_row_read(rows, row, &self->arena, &campaign))
            continue;
        const struct problem *problem = steady_refusal(&campaign, pg_time(rows, row, CAMPAIGN_COLUMN_COUNT));
        if (campaign.state == CAMPAIGN_DELETED || (problem && !cover(self, look, campaign.issued)))
            problem = NULL;
        publish(self->early, look, problem, valid_until_us);
    }
}

static bool keep(struct keeper *self)
{
    struct look looks[EARLY_MAX];
    struct pg_rows *rows = NULL;
    size_t count = begin_look(self->early, looks);
    if (count == 0)
        return true;
    pg_args_reset(&self->args);
    pg_array_begin(&self->args, PG_INT2);
    for (size_t i = 0; i < count; i++)
        pg_array_i16(&self->args, slice_of(look_id(&looks[i])));
    pg_array_end(&self->args);
    pg_array_begin(&self->args, PG_TEXT);
    for (size_t i = 0; i < count; i++)
        pg_array_bytes(&self->args, look_id(&looks[i]));
    pg_array_end(&self->args);
    int64_t valid_until_us = clock_deadline_us(EARLY_MS); /* from before it was read */
    enum pg_status status =
        pg_call(self->pg, SQL_CAMPAIGNS, &self->args, clock_deadline_us(EXCHANGE_MS), &rows);
    if (status == PG_OK)
        renew(self, looks, count, rows, valid_until_us);
    pg_rows_destroy(rows);
    arena_reset(&self->arena);
    return status == PG_OK;
}

/* Until it is time, or there is something to do: where nothing was followed, that is the first campaign. */
static void sleep_for(struct early *early, int64_t duration_ms, bool idle)
{
    int64_t until_us = clock_deadline_us(duration_ms);
    struct timespec until = {.tv_sec = until_us / US_PER_S, .tv_nsec = until_us % US_PER_S * 1000};
    pthread_mutex_lock(&early->wake_lock);
    if (!atomic_load(&early->stopping) && !(idle && atomic_load(&early->count) > 0))
        (void)pthread_cond_timedwait(&early->wake, &early->wake_lock, &until);
    pthread_mutex_unlock(&early->wake_lock);
}

static void keep_connected(struct keeper *self)
{
    if (atomic_load(&self->early->count) == 0) { /* nothing is worth a connection's attention */
        sleep_for(self->early, IDLE_MS, true);
        return;
    }
    if (!pg_connected(self->pg) && pg_connect(self->pg, clock_deadline_us(CONNECT_MS)) != PG_OK) {
        log_warn("EARLY-CONNECT", "nothing can be refused early: %s", pg_error(self->pg));
        sleep_for(self->early, BACKOFF_MS, false);
        return;
    }
    if (!keep(self))
        log_warn("EARLY-LOOK", "campaigns that refuse everybody could not be read: %s", pg_error(self->pg));
    sleep_for(self->early, KEEP_MS, false);
}

void *early_keeper_main(void *context)
{
    enum { ARENA_MAX = 1024 * 1024 };
    struct early *early = context;
    struct keeper self = {.early = early};
    self.pg = pg_create(&(struct pg_options){
        .url = early->options.database_url,
        .role = "firstcome_command",
        .application = "firstcome command early",
        .statement_timeout_ms = EXCHANGE_MS,
        .lock_timeout_ms = EXCHANGE_MS,
        .idle_in_transaction_timeout_ms = 1000,
        .read_write = true, /* a standby may be behind */
        .statements = statements,
        .statements_count = SQL_COUNT,
    });
    pg_args_init(&self.args);
    arena_init(&self.arena, ARENA_MAX);
    while (!atomic_load(&early->stopping))
        keep_connected(&self);
    arena_deinit(&self.arena);
    pg_args_deinit(&self.args);
    pg_destroy(self.pg);
    return NULL;
}
