/* SPDX-License-Identifier: Apache-2.0 */
/* SQL of a benchmark that is not measured. */
#include "bench/kit/scratch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/kit/progress.h"
#include "common/base/clock.h"
#include "events/codec.h"

enum { URL_MAX = 4096, SQL_MAX = 4096, CALL_MS = 60000, PRELOAD_CALL_MS = 600000, PRELOAD_STEP = 100000 };

static _Noreturn void give_up(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(2);
}

void scratch_url(const char *url, const char *database, char *ret, size_t ret_size)
{
    const char *slash = strrchr(url, '/');
    CHECK(slash);
    int len = snprintf(ret, ret_size, "%.*s/%s", (int)(slash - url), url, database);
    CHECK(len > 0 && (size_t)len < ret_size);
}

int64_t scratch_number(const char *url, const char *sql, int64_t timeout_ms)
{
    const struct pg_statement statements[] = {{"once", sql}};
    struct pg_rows *rows = NULL;
    struct pg *pg = pg_create(&(struct pg_options){
        .url = url, .application = "bench", .statements = statements, .statements_count = 1});
    int64_t deadline_us = clock_deadline_us(timeout_ms);
    if (pg_connect(pg, deadline_us) != PG_OK || pg_call(pg, 0, NULL, deadline_us, &rows) != PG_OK)
        give_up(sql, pg_error(pg));
    int64_t number = pg_rows_count(rows) ? pg_i64(rows, 0, 0) : pg_affected(rows);
    pg_rows_destroy(rows);
    pg_destroy(pg);
    return number;
}

void scratch_create(const char *superuser_url, const char *name, const char *template_name)
{
    char sql[SQL_MAX];
    snprintf(sql, sizeof sql, "DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
    (void)scratch_number(superuser_url, sql, CALL_MS);
    snprintf(sql, sizeof sql, "CREATE DATABASE %s TEMPLATE %s OWNER firstcome", name, template_name);
    (void)scratch_number(superuser_url, sql, PRELOAD_CALL_MS);
}

static void preload_events(const struct scratch_preload *preload, int64_t first, int64_t last)
{
    char sql[SQL_MAX];
    snprintf(sql, sizeof sql,
             "INSERT INTO event (slice, position, type, version, campaign_id, user_id, coupon_id, nth, "
             "recorded_at, data, key, holder) SELECT %d, n, 6, 1, 'bench-old', md5(n::text), 'c%d-' || n, 1, "
             "clock_timestamp(), '\\x83010002010300'::bytea, md5('k' || n)::uuid, md5('h' || n)::uuid FROM "
             "generate_series(%" PRId64 "::bigint, %" PRId64 ") AS n",
             preload->slice, preload->slice, first, last);
    (void)scratch_number(preload->url, sql, PRELOAD_CALL_MS);
}

/* What a service that looks through all campaigns can read. */
static void write_definition(const char *campaign_id, struct buf *hex)
{
    struct event event = {.type = EVENT_CampaignCreated, .campaign_id = span_of(campaign_id)};
    struct buf data;
    event.campaign_created = (struct campaign_created){.name = SPAN("Bench"),
                                                       .discount_value = 10,
                                                       .currency = SPAN("EUR"),
                                                       .quantity = QUANTITY_MAX,
                                                       .released = QUANTITY_MAX,
                                                       .per_user_limit = 1,
                                                       .code_prefix = SPAN(""),
                                                       .created_by = SPAN("bench")};
    buf_init(&data, EVENT_DATA_MAX);
    event_encode(&event, &data);
    CHECK(!data.overflow);
    hex_encode(hex, data.data, data.len);
    buf_deinit(&data);
}

void scratch_campaign(const char *url, const char *campaign_id, int16_t slice)
{
    char sql[SQL_MAX];
    struct buf definition;
    buf_init(&definition, SQL_MAX);
    write_definition(campaign_id, &definition);
    snprintf(
        sql, sizeof sql,
        "INSERT INTO campaign (slice, id, created_at, created_by, version, definition, quantity, "
        "released, issued, status, plan_done, first, position) SELECT %d, '%s', now(), 'bench', 1, '\\x%s', "
        "100000000, 100000000, 0, 1, 0, 1, 1",
        slice, campaign_id, definition.data);
    buf_deinit(&definition);
    (void)scratch_number(url, sql, CALL_MS);
}

static void preload_campaign(const struct scratch_preload *preload)
{
    char sql[SQL_MAX];
    scratch_campaign(preload->url, preload->campaign_id, preload->slice);
    snprintf(sql, sizeof sql, "UPDATE slice SET head = %" PRId64 ", recorded_at = now() WHERE slice = %d",
             preload->events > 0 ? preload->events : 1, preload->slice); /* where the campaign was created */
    (void)scratch_number(preload->url, sql, CALL_MS);
}

void scratch_created(const char *url, const char *campaign_id, int16_t slice, int64_t position)
{
    char sql[SQL_MAX];
    struct buf definition;
    buf_init(&definition, SQL_MAX);
    write_definition(campaign_id, &definition);
    snprintf(sql, sizeof sql,
             "INSERT INTO event (slice, position, type, version, campaign_id, recorded_at, data) "
             "VALUES (%d, %lld, %d, %d, '%s', clock_timestamp(), '\\x%s')",
             slice, (long long)position, EVENT_CampaignCreated,
             event_describe(EVENT_CampaignCreated)->version, campaign_id, definition.data);
    buf_deinit(&definition);
    (void)scratch_number(url, sql, CALL_MS);
}

void scratch_preload(const struct scratch_preload *preload)
{
    struct progress progress;
    preload_campaign(preload);
    if (preload->events == 0)
        return;
    progress_begin(&progress, "preload");
    for (int64_t done = 0; done < preload->events; done += PRELOAD_STEP) {
        int64_t last = done + PRELOAD_STEP < preload->events ? done + PRELOAD_STEP : preload->events;
        preload_events(preload, done + 1, last);
        progress_update(&progress, last, preload->events, "events");
    }
    progress_end(&progress, preload->events, preload->events, "events");
}
