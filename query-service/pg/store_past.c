/* SPDX-License-Identifier: Apache-2.0 */
/* The past from the event store: first where the moment is in the log, then what was there. */
#include "query-service/pg/past.h"
#include "query-service/pg/past_sql.h"
#include "query-service/pg/store_internal.h"

struct moment {
    int64_t at[SLICE_COUNT]; /* the position of the last event that counts, for the slices of the query */
    int64_t
        first; /* of a campaign that did something since, its CampaignCreated; 0: nothing is to be folded */
};

/* Settled: the log has a later event. Commit order is the order of positions and times do not run backwards,
 * so nothing can come any more that was before it. A moment before its head has such an event. Without one a
 * commit may be under way that took its time before the moment. */
static void take_where(const struct store_reader *reader, const struct pg_rows *rows, struct read *read,
                       struct moment *moment)
{
    struct query *query = &read->query;
    read->settled = true;
    if (query->past.kind == PAST_POSITION) {
        read->failure = pg_rows_count(rows) ? READ_GOOD : READ_AHEAD;
        moment->at[query->past.at.slice] = query->past.at.position;
        if (read->failure == READ_GOOD)
            query->now_us = pg_time(rows, 0, 0);
        return;
    }
    for (int row = 0; row < pg_rows_count(rows); row++) {
        int64_t slice = pg_i64(rows, row, 0);
        if (slice >= 0 && slice < SLICE_COUNT)
            moment->at[slice] = pg_i64(rows, row, 1);
    }
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        if (query_slices(query) & reader->options.shard->slices & 1U << slice &&
            moment->at[slice] >= read->stands_on[slice])
            read->settled = false;
}

/* The campaign as it is now; that is as it was then where nothing happened to it since. */
static bool take_now(const struct pg_rows *rows, struct read *read, struct moment *moment)
{
    enum { FIRST = 3, POSITION, STATUS = CAMPAIGN_COLUMN_STATUS };
    const struct query *query = &read->query;
    int64_t at = moment->at[slice_of(query->campaign_id)];
    read->answer.outcome = ANSWER_NO_CAMPAIGN;
    if (pg_rows_count(rows) == 0 || pg_i64(rows, 0, FIRST) > at)
        return true;
    bool since = pg_i64(rows, 0, POSITION) > at;
    if (!since && pg_i64(rows, 0, STATUS) == CAMPAIGN_DELETED)
        return true;
    read->answer.outcome = ANSWER_FOUND;
    if (!since)
        return store_take_campaign(rows, 0, &read->answer);
    moment->first = pg_i64(rows, 0, FIRST);
    return true;
}

static enum pg_status where_round(struct store_reader *reader, struct read *read, int64_t deadline_us,
                                  struct moment *moment)
{
    const struct query *query = &read->query;
    enum pg_status status = PG_OK;
    struct pg_rows *rows[3] = {NULL};
    bool of_campaign = query->kind == QUERY_CAMPAIGN;
    bool asked = store_ask_timeout(reader, deadline_us);
    pg_args_reset(&reader->args);
    pg_send(reader->pg, STORE_HEADS, NULL);
    if (query->past.kind == PAST_POSITION) {
        pg_arg_i16(&reader->args, query->past.at.slice);
        pg_arg_i64(&reader->args, query->past.at.position);
        pg_send(reader->pg, STORE_PAST_INSTANT, &reader->args);
    } else {
        pg_arg_time(&reader->args, query->past.at_us);
        pg_send(reader->pg, STORE_PAST_AT, &reader->args);
    }
    pg_args_reset(&reader->args);
    if (of_campaign)
        store_ask_campaign_by(reader, query, STORE_PAST_CAMPAIGN);
    pg_sync(reader->pg);
    store_take_timeout(reader, asked, deadline_us, &status);
    for (size_t i = 0; i < 2u + of_campaign; i++)
        rows[i] = store_receive(reader, deadline_us, &status);
    if (status == PG_OK) {
        store_take_heads(reader, rows[0], read);
        if (read->failure == READ_GOOD)
            take_where(reader, rows[1], read, moment);
        if (of_campaign && read->failure == READ_GOOD && !take_now(rows[2], read, moment))
            read->failure = READ_INTERNAL;
    }
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        pg_rows_destroy(rows[i]);
    return status;
}

/* CampaignCreated, with which the fold begins, is not among those that cost something. */
static int64_t events_max(const struct store_reader *reader)
{
    return reader->options.past_events_max + 1;
}

static void ask_past(struct store_reader *reader, const struct query *query, const struct moment *moment)
{
    pg_args_reset(&reader->args);
    if (query->kind == QUERY_CAMPAIGN) {
        int16_t slice = slice_of(query->campaign_id);
        pg_arg_i16(&reader->args, slice);
        pg_arg_bytes(&reader->args, query->campaign_id);
        pg_arg_i64(&reader->args, moment->at[slice]);
        pg_arg_i64(&reader->args, moment->first - 1);
        pg_arg_i64(&reader->args, events_max(reader));
        pg_send(reader->pg, STORE_PAST_EVENTS, &reader->args);
        return;
    }
    store_ranking_args(reader, query);
    store_window_args(reader, query);
    pg_array_begin(&reader->args, PG_INT8);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        pg_array_i64(&reader->args, moment->at[slice]);
    pg_array_end(&reader->args);
    pg_arg_i64(&reader->args, reader->options.past_events_max);
    pg_send(reader->pg, STORE_PAST_RANKING_ISSUED + query->by, &reader->args);
}

/* The first is CampaignCreated. The definition is as it was then, which the row of the campaign no longer
 * says where it was changed since. Its lists live in the arena of the event that says it; `other` is free. */
static bool fold_rows(const struct pg_rows *rows, struct arena *defined, struct arena *other,
                      struct campaign *campaign)
{
    enum { ISSUED = LOG_COLUMN_COUNT + 1 };
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct event event;
        if (pg_is_null(rows, row, 0))
            return row > 0; /* says that there is none */
        arena_reset(other);
        if (event_log_row(rows, row, 0, other, &event) != CODEC_OK ||
            (event.type == EVENT_CampaignCreated) != (row == 0))
            return false;
        if (row == 0)
            past_begin(campaign, &event, pg_i64(rows, 0, ISSUED));
        else if (!past_apply(campaign, &event))
            return false;
        if (event.type == EVENT_CampaignCreated || event.type == EVENT_CampaignChanged) {
            struct arena *free = defined;
            defined = other;
            other = free;
        }
    }
    return pg_rows_count(rows) > 0;
}

static bool fold(const struct pg_rows *rows, struct read *read)
{
    enum { LAST = LOG_COLUMN_COUNT + 2, EVENT_BYTES_MAX = 64 * 1024 };
    struct campaign campaign;
    struct arena arenas[2];
    struct buf definition;
    arena_init(&arenas[0], EVENT_BYTES_MAX);
    arena_init(&arenas[1], EVENT_BYTES_MAX);
    buf_init(&definition, EVENT_DATA_MAX);
    bool good = fold_rows(rows, &arenas[0], &arenas[1], &campaign);
    if (good) {
        past_end(&campaign, pg_i64(rows, 0, LAST));
        campaign_definition_write(&definition, &campaign.definition);
        good = answer_add_campaign(&read->answer, &campaign, buf_span(&definition));
    }
    buf_deinit(&definition);
    arena_deinit(&arenas[0]);
    arena_deinit(&arenas[1]);
    return good;
}

static bool take_past(const struct store_reader *reader, const struct pg_rows *rows, struct read *read)
{
    bool of_campaign = read->query.kind == QUERY_CAMPAIGN;
    int cost = of_campaign ? LOG_COLUMN_COUNT : CAMPAIGN_COLUMN_COUNT + 3;
    if (pg_rows_count(rows) == 0)
        return false;
    if (pg_i64(rows, 0, cost) > (of_campaign ? events_max(reader) : reader->options.past_events_max)) {
        read->failure = READ_FAR_EVENTS;
        return true;
    }
    bool good = of_campaign ? fold(rows, read) : store_take_ranking(rows, read);
    if (read->failure == READ_TOO_MUCH)
        read->failure = READ_FAR_CAMPAIGNS; /* will not go away */
    return good;
}

enum pg_status store_past_rounds(struct store_reader *reader, struct read *read, int64_t deadline_us)
{
    struct moment moment = {0};
    enum pg_status status = where_round(reader, read, deadline_us, &moment);
    bool known = read->query.kind == QUERY_CAMPAIGN && moment.first == 0;
    if (status != PG_OK || read->failure != READ_GOOD || known)
        return status;
    bool asked = store_ask_timeout(reader, deadline_us);
    pg_send(reader->pg, STORE_HEADS, NULL); /* the slice may have moved since */
    ask_past(reader, &read->query, &moment);
    pg_sync(reader->pg);
    store_take_timeout(reader, asked, deadline_us, &status);
    struct pg_rows *heads = store_receive(reader, deadline_us, &status);
    struct pg_rows *rows = store_receive(reader, deadline_us, &status);
    if (rows && store_owns(reader, heads, read) && !take_past(reader, rows, read))
        read->failure = READ_INTERNAL;
    pg_rows_destroy(heads);
    pg_rows_destroy(rows);
    return status;
}
