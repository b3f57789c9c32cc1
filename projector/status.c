/* SPDX-License-Identifier: Apache-2.0 */
/* Collecting the status and writing it down. */
#include "projector/status.h"

#include "common/base/clock.h"
#include "common/json.h"
#include "projector/run/lead.h"
#include "projector/sql.h"

enum { EACH_DEADLINE_MS = 950 };

/* --- collecting --- */

static enum redis_status read_seen(struct status *status, struct redis_writer *models, int16_t slice,
                                   int64_t deadline_us)
{
    const struct redis_reply *reply;
    key_seen(redis_writer_key(models), slice);
    enum redis_status result =
        redis_writer_call(models, redis_writer_begin(models, "PTTL"), deadline_us, &reply);
    int64_t left_ms = result == REDIS_OK ? redis_integer(reply) : 0;
    int64_t ago_us = left_ms > 0 ? (SEEN_KEPT_MS - left_ms) * US_PER_MS : -1;
    bool older = ago_us < 0 || (status->seen_ago_us >= 0 && ago_us > status->seen_ago_us);
    status->seen_ago_us = slice == 0 || older ? ago_us : status->seen_ago_us;
    return result;
}

static void name_servers(struct status *status, struct redis_writer *models)
{
    size_t servers[REDIS_SERVERS_MAX];
    struct redis *redis = redis_writer_redis(models);
    status->several_servers = redis_servers(redis, servers) > 1;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        redis_server_name(redis, redis_writer_server_of(models, slice), status->servers[slice],
                          sizeof status->servers[slice]);
}

static void collect_redis(struct status *status, struct redis_writer *models)
{
    int64_t deadline_us = clock_deadline_us(EACH_DEADLINE_MS);
    enum redis_status result = redis_writer_roots(models, deadline_us, &status->models);
    for (int16_t slice = 0; slice < SLICE_COUNT && result == REDIS_OK; slice++)
        result = read_seen(status, models, slice, deadline_us);
    name_servers(status, models);
    status->redis_state = redis_status_label(result);
    status->redis_reachable = result == REDIS_OK;
    if (result != REDIS_OK)
        snprintf(status->redis_error, sizeof status->redis_error, "%s", redis_writer_error(models));
}

static enum pg_status read_heads(struct status *status, const struct shard *shard, struct pg *pg,
                                 int64_t deadline_us)
{
    struct log_heads heads;
    int64_t positions[SLICE_COUNT];
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        positions[slice] = status->models.roots[slice].position;
    enum pg_status result = log_heads_read(pg, positions, deadline_us, &heads);
    for (int16_t slice = 0; result == PG_OK && slice < SLICE_COUNT; slice++)
        if (shard_has(shard, slice) && heads.slices[slice].known) {
            status->heads.slices[slice] = heads.slices[slice];
            status->heads.now_us = heads.now_us;
            status->stored |= 1U << slice;
        }
    return result;
}

static enum pg_status read_lease(struct status *status, struct pg *pg, int64_t deadline_us)
{
    struct pg_args args;
    struct pg_rows *rows;
    pg_args_init(&args);
    pg_arg_i64(&args, LEADER_LOCK_KEY);
    enum pg_status result = pg_call(pg, SQL_LEASE, &args, deadline_us, &rows);
    pg_args_deinit(&args);
    if (result == PG_OK && pg_rows_count(rows) == 1) {
        int64_t epoch = pg_i64(rows, 0, 0);
        status->epoch = epoch > status->epoch ? epoch : status->epoch;
        status->led &= pg_i64(rows, 0, 1) != 0;
    }
    pg_rows_destroy(rows);
    return result;
}

static void collect_shard(struct status *status, const struct shard *shard)
{
    struct pg *pg = sql_create(shard->url);
    int64_t deadline_us = clock_deadline_us(EACH_DEADLINE_MS);
    enum pg_status result = pg_connect(pg, deadline_us);
    if (result == PG_OK)
        result = read_heads(status, shard, pg, deadline_us);
    if (result == PG_OK)
        result = read_lease(status, pg, deadline_us);
    if (result != PG_OK && !status->store_error[0])
        snprintf(status->store_error, sizeof status->store_error, "%s%s%s",
                 shard->slices == SLICES_ALL ? "" : shard->name, shard->slices == SLICES_ALL ? "" : ": ",
                 pg_error(pg));
    if (result != PG_OK)
        status->store_reachable = false;
    pg_destroy(pg);
}

void status_collect(struct status *ret, const struct shards *shards, struct redis_writer *models)
{
    *ret = (struct status){.seen_ago_us = -1, .store_reachable = true, .led = true};
    collect_redis(ret, models); /* first: the positions found are what the log is compared with */
    for (size_t i = 0; i < shards->count; i++)
        collect_shard(ret, &shards->list[i]);
    ret->now_us = clock_wall_us();
}

bool status_good(const struct status *status)
{
    return status->store_reachable && status->redis_reachable;
}

/* --- one slice --- */

struct line {
    int64_t head, position, generation, lag_events, lag_us;
    bool behind, has_head, has_position, has_lag;
    const char *server;
};

static struct line line_of(const struct status *status, int slice)
{
    const struct log_head *log = &status->heads.slices[slice];
    const struct checkpoint *checkpoint = &status->models.roots[slice];
    struct line line = {
        .head = log->head,
        .position = checkpoint->position,
        .has_head = status->stored >> slice & 1,
        .has_position = status->models.found[slice] == REDIS_OK,
        .has_lag = status->stored >> slice & 1 && status->models.found[slice] == REDIS_OK,
        .server = status->servers[slice],
        .generation = checkpoint->generation,
        .behind = checkpoint->behind || !checkpoint->present,
    };
    if (line.has_lag && line.head > line.position) {
        int64_t age_us = status->heads.now_us - log->oldest_us;
        line.lag_events = line.head - line.position;
        line.lag_us = log->oldest_us && age_us > 0 ? age_us : 0;
    }
    return line;
}

/* --- as text --- */

static void text_number(struct buf *out, int width, bool known, int64_t value)
{
    if (known)
        buf_printf(out, "%*lld", width, (long long)value);
    else
        buf_printf(out, "%*s", width, "-");
}

static void text_seconds(struct buf *out, int width, bool known, int64_t us)
{
    if (known)
        buf_printf(out, "%*.3f", width, (double)us / US_PER_S);
    else
        buf_printf(out, "%*s", width, "-");
}

static void text_line(struct buf *out, const struct line *line, int slice, bool with_server)
{
    buf_printf(out, "%5d", slice);
    text_number(out, 14, line->has_head, line->head);
    text_number(out, 14, line->has_position, line->position);
    text_number(out, 14, line->has_lag, line->lag_events);
    text_seconds(out, 14, line->has_lag, line->lag_us);
    buf_printf(out, "%8s", !line->has_position ? "-" : line->behind ? "yes" : "no");
    text_number(out, 14, line->has_position && line->generation > 0, line->generation);
    buf_printf(out, "%s%s\n", with_server ? "  " : "", with_server ? line->server : "");
}

void status_write_text(struct buf *out, const struct status *status)
{
    buf_printf(out, "postgresql  %s\n", status->store_reachable ? "ok" : status->store_error);
    buf_printf(out, "redis       %s%s%s\n", status->redis_state, status->redis_reachable ? "" : ": ",
               status->redis_error);
    if (status->store_reachable)
        buf_printf(out, "leader      %s, epoch %lld\n", status->led ? "yes" : "no", (long long)status->epoch);
    else
        buf_printf(out, "leader      unknown\n");
    if (status->redis_reachable && status->seen_ago_us >= 0)
        buf_printf(out, "seen        %.3f s ago\n", (double)status->seen_ago_us / US_PER_S);
    else
        buf_printf(out, "seen        %s\n", status->redis_reachable ? "not lately" : "unknown");
    buf_printf(out, "%5s%14s%14s%14s%14s%8s%14s%s\n", "slice", "head", "checkpoint", "lag events",
               "lag seconds", "behind", "generation", status->several_servers ? "  server" : "");
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        struct line line = line_of(status, slice);
        text_line(out, &line, slice, status->several_servers);
    }
}

/* --- as JSON --- */

static void json_known_int(struct buf *out, const char *key, bool known, int64_t value)
{
    if (known)
        json_put_int(out, key, value);
    else
        json_put_null(out, key);
}

static void json_seconds(struct buf *out, const char *key, bool known, int64_t us)
{
    char text[32];
    snprintf(text, sizeof text, "%.3f", (double)us / US_PER_S);
    json_put_raw(out, key, known ? span_of(text) : (struct span){0});
}

static void json_line(struct buf *out, const struct line *line, int slice)
{
    json_open(out, NULL, '{');
    json_put_int(out, "slice", slice);
    json_known_int(out, "head", line->has_head, line->head);
    json_known_int(out, "checkpoint", line->has_position, line->position);
    json_known_int(out, "lag_events", line->has_lag, line->lag_events);
    json_seconds(out, "lag_seconds", line->has_lag, line->lag_us);
    if (line->has_position)
        json_put_bool(out, "behind", line->behind);
    else
        json_put_null(out, "behind");
    json_known_int(out, "generation", line->has_position && line->generation > 0, line->generation);
    json_put_string(out, "server", *line->server ? span_of(line->server) : (struct span){0});
    json_close(out, '}');
}

static void json_store(struct buf *out, const char *key, const char *state, const char *error)
{
    json_open(out, key, '{');
    json_put_string(out, "state", span_of(state));
    json_put_string(out, "error", *error ? span_of(error) : (struct span){0});
    json_close(out, '}');
}

/* Each slice has its own; the one that was made last says most. */
static int64_t newest(const struct status *status)
{
    int64_t newest = 0;
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (status->models.roots[slice].generation > newest)
            newest = status->models.roots[slice].generation;
    return newest;
}

void status_write_json(struct buf *out, const struct status *status)
{
    json_open(out, NULL, '{');
    json_store(out, "postgresql", status->store_reachable ? "ok" : "io", status->store_error);
    json_store(out, "redis", status->redis_state, status->redis_error);
    json_open(out, "leader", '{');
    if (status->store_reachable)
        json_put_bool(out, "held", status->led);
    else
        json_put_null(out, "held");
    json_known_int(out, "epoch", status->store_reachable, status->epoch);
    json_close(out, '}');
    json_known_int(out, "generation", status->redis_reachable && newest(status) > 0, newest(status));
    json_seconds(out, "seen_seconds_ago", status->redis_reachable && status->seen_ago_us >= 0,
                 status->seen_ago_us);
    json_open(out, "slices", '[');
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        struct line line = line_of(status, slice);
        json_line(out, &line, slice);
    }
    json_close(out, ']');
    json_close(out, '}');
    buf_append_char(out, '\n');
}
