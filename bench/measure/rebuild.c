/* SPDX-License-Identifier: Apache-2.0 */
/* Rebuilding the models of a whole log. Compared with the two things it cannot do without, each alone:
 * reading the log out of PostgreSQL, and putting the same keys and fields into Redis with plain commands. */
#include "bench/measure/store.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "events/codec.h"
#include "events/event_log.h"
#include "readmodel/users.h"

enum { PAGE = 1000, COMMANDS_AHEAD = 1000, STORE_MS = 60000 };

struct rebuild_runs {
    struct bench_store store;
    struct series build, whole, projector_mib, redis_mib, projector_s, redis_s, postgres_s;
    struct series read, read_s, plain, plain_s;
    struct series redeemed, of_many; /* build phase, each coupon redeemed: one campaign a slice, and many */
};

/* --- PostgreSQL alone --- */

/* A page of every slice in one round trip, and nothing done with what comes. */
static int64_t read_round(struct pg *pg, struct pg_args *args, int slices, int64_t after)
{
    int64_t count = 0;
    for (int16_t slice = 0; slice < slices; slice++) {
        event_log_read_args(args, slice, after, PAGE);
        pg_send(pg, 0, args);
    }
    pg_sync(pg);
    for (int slice = 0; slice < slices; slice++) {
        struct pg_rows *rows;
        if (pg_receive(pg, clock_deadline_us(STORE_MS), &rows) != PG_OK)
            bench_die("reading the log", pg_error(pg));
        count += pg_rows_count(rows);
        pg_rows_destroy(rows);
    }
    return count;
}

static void read_log(struct rebuild_runs *runs)
{
    static const struct pg_statement statements[] = {{"read", LOG_READ_SQL}};
    struct bench_store *store = &runs->store;
    struct pg_args args;
    int64_t after = 0, count = 0, got;
    struct pg *pg = pg_create(&(struct pg_options){.url = store->projector_url,
                                                   .role = "firstcome_projector",
                                                   .application = "bench rebuild",
                                                   .statements = statements,
                                                   .statements_count = COUNT_OF(statements)});
    double cpu_s = bench_store_cpu_s(store->postmaster, true);
    if (pg_connect(pg, clock_deadline_us(STORE_MS)) != PG_OK)
        bench_die("reading the log", pg_error(pg));
    pg_args_init(&args);
    int64_t start_us = clock_mono_us();
    for (; (got = read_round(pg, &args, store->slices, after)) > 0; after += PAGE)
        count += got;
    series_add(&runs->read, (double)count * US_PER_S / (double)(clock_mono_us() - start_us));
    pg_args_deinit(&args);
    pg_destroy(pg);
    bench_store_settle();
    series_add(&runs->read_s, bench_store_cpu_s(store->postmaster, true) - cpu_s);
}

/* --- Redis alone --- */

struct plain {
    struct redis *redis;
    struct redis_command coupons, holders, hold;
    struct buf scratch;
    size_t ahead;
    int64_t number; /* of users */
};

/* Never stalls: Redis always has the next commands before their replies are waited for. */
static void plain_receive(struct plain *plain, size_t ahead)
{
    const struct redis_reply *reply;
    for (; plain->ahead > ahead; plain->ahead--)
        if (redis_receive(plain->redis, clock_deadline_us(STORE_MS), &reply) != REDIS_OK)
            bench_die("plain commands", redis_error(plain->redis));
}

static void plain_send(struct plain *plain, struct redis_command *command)
{
    if (command->count == 0)
        return;
    redis_send(plain->redis, command);
    redis_command_reset(command);
    if (++plain->ahead % COMMANDS_AHEAD == 0)
        plain_receive(plain, COMMANDS_AHEAD);
}

static void plain_begin(struct plain *plain, struct redis_command *command, const char *verb, char kind,
                        int16_t slice, int64_t number)
{
    if (command->count > 0)
        return;
    buf_clear(&plain->scratch);
    buf_printf(&plain->scratch, "plain:{%d}:%c:%lld", slice, kind, (long long)number);
    redis_arg_text(command, verb);
    redis_arg(command, buf_span(&plain->scratch));
}

/* The obvious layout: a hash of user and issue for 32 coupons, one of positions for 128 holders, a list of
 * entries for each of 16,384 groups of users in a slice. */
static void plain_coupon(struct plain *plain, int16_t slice, const struct event *event)
{
    enum { COUPONS = 32, HOLDERS = 128 };
    int64_t sequence = event->coupon_issued.sequence;
    uint64_t hash = user_hash(event->user_id);
    char entry[HOLDING_BYTES];
    plain_begin(plain, &plain->coupons, "HSET", 'p', slice, event->position / COUPONS);
    redis_arg_i64(&plain->coupons, 2 * (event->position % COUPONS));
    redis_arg(&plain->coupons, event->user_id);
    redis_arg_i64(&plain->coupons, 2 * (event->position % COUPONS) + 1);
    buf_clear(&plain->scratch);
    buf_append_span(&plain->scratch, event->campaign_id);
    buf_append_i64(&plain->scratch, sequence);
    buf_append_i64(&plain->scratch, event->recorded_at_us);
    redis_arg(&plain->coupons, buf_span(&plain->scratch));
    plain_begin(plain, &plain->holders, "HSET", 'h', slice, (sequence - 1) / HOLDERS);
    redis_arg_i64(&plain->holders, sequence);
    redis_arg_i64(&plain->holders, event->position);
    plain_begin(plain, &plain->hold, "APPEND", 'u', slice, user_group(hash));
    holding_write(entry, &(struct holding){event->position, event->recorded_at_us, user_tag(hash), 0});
    redis_arg(&plain->hold, (struct span){entry, sizeof entry});
    plain_send(plain, &plain->hold);
    if ((event->position + 1) % COUPONS == 0)
        plain_send(plain, &plain->coupons);
    if (sequence % HOLDERS == 0)
        plain_send(plain, &plain->holders);
}

static void plain_slice(struct plain *plain, const struct bench_store *store, int16_t slice)
{
    char user[33];
    struct event event = {.slice = slice,
                          .type = EVENT_CouponIssued,
                          .campaign_id = span_of(store->campaigns[slice][0]),
                          .recorded_at_us = clock_wall_us()};
    event.coupon_issued.nth = 1;
    event.coupon_issued.code_prefix = SPAN("");
    for (int64_t sequence = 1; sequence <= store->each; sequence++) {
        event.position = 1 + sequence;
        event.coupon_issued.sequence = sequence;
        snprintf(user, sizeof user, "%032" PRId64, plain->number++);
        event.user_id = span_of(user);
        plain_coupon(plain, slice, &event);
    }
    plain_send(plain, &plain->coupons);
    plain_send(plain, &plain->holders);
}

static void write_plain(struct rebuild_runs *runs)
{
    struct bench_store *store = &runs->store;
    struct plain plain = {.redis = store->client};
    redis_command_init(&plain.coupons);
    redis_command_init(&plain.holders);
    redis_command_init(&plain.hold);
    buf_init(&plain.scratch, 256);
    double cpu_s = bench_store_cpu_s(store->redis, false);
    int64_t start_us = clock_mono_us();
    for (int16_t slice = 0; slice < store->slices; slice++)
        plain_slice(&plain, store, slice);
    plain_receive(&plain, 0);
    series_add(&runs->plain,
               (double)bench_store_coupons(store) * US_PER_S / (double)(clock_mono_us() - start_us));
    series_add(&runs->plain_s, bench_store_cpu_s(store->redis, false) - cpu_s);
    buf_deinit(&plain.scratch);
    redis_command_deinit(&plain.coupons);
    redis_command_deinit(&plain.holders);
    redis_command_deinit(&plain.hold);
}

/* --- rounds --- */

static void rebuild_round(struct rebuild_runs *runs)
{
    struct bench_store_rebuild result;
    bench_store_redis(&runs->store);
    bench_store_rebuild(&runs->store, &result);
    series_add(&runs->build, result.build_per_second);
    series_add(&runs->whole, (double)bench_store_coupons(&runs->store) / result.wall_s);
    series_add(&runs->projector_mib, result.projector_peak_mib);
    series_add(&runs->redis_mib, result.redis_peak_mib);
    series_add(&runs->projector_s, result.projector_cpu_s);
    series_add(&runs->redis_s, result.redis_cpu_s);
    series_add(&runs->postgres_s, result.postgres_cpu_s);
    bench_store_empty(&runs->store);
    read_log(runs);
    write_plain(runs);
}

/* Each coupon redeemed, of one campaign a slice or in turns of as many as there may be. */
static void add_redeemed(struct rebuild_runs *runs, struct series *to)
{
    struct bench_store_rebuild result;
    bench_store_redeem(&runs->store);
    for (int64_t round = 0; round < runs->store.bench->options.rounds; round++) {
        bench_store_redis(&runs->store);
        bench_store_rebuild(&runs->store, &result);
        series_add(to, result.build_per_second);
        series_add(&runs->projector_mib, result.projector_peak_mib);
    }
}

static void print(const struct bench *bench, const char *what, const char *unit, const struct series *ours,
                  const char *baseline, const struct series *theirs, double goal_ratio)
{
    struct figure figure = {
        .metric = "rebuild", .what = what, .unit = unit, .goal = "", .series = *ours, .baseline = baseline};
    figure.goal_ratio = goal_ratio;
    if (theirs)
        figure.baseline_series = *theirs;
    bench_print(bench, &figure);
}

static void print_rebuild(const struct bench *bench, const struct rebuild_runs *runs)
{
    static const char alone[] = "PostgreSQL alone: the log read page by page, one connection";
    static const char plain[] = "Redis alone: the same fields by plain pipelined commands";
    char what[128];
    snprintf(what, sizeof what, "rebuild of %" PRId64 " coupons in 16 slices, build phase",
             bench_store_coupons(&runs->store));
    print(bench, what, "1/s", &runs->build, alone, &runs->read, 0.5);
    print(bench, "the same", "1/s", &runs->build, plain, &runs->plain, 2);
    snprintf(what, sizeof what, "%d campaigns in turns, each coupon redeemed, build phase",
             SLICE_COUNT * STORE_CAMPAIGNS_MAX);
    print(bench, what, "1/s", &runs->of_many, "16 campaigns, each coupon redeemed", &runs->redeemed, 0.8);
    print(bench, "the whole run: build, catch up, switch, drop", "1/s", &runs->whole, "", NULL, 0);
    print(bench, "processor time of Redis", "s", &runs->redis_s, plain, &runs->plain_s, 0);
    print(bench, "processor time of PostgreSQL, all its processes", "s", &runs->postgres_s, alone,
          &runs->read_s, 0);
    print(bench, "processor time of the projector", "s", &runs->projector_s, "", NULL, 0);
    print(bench, "peak memory of the projector (VmHWM)", "MiB", &runs->projector_mib, "", NULL, 0);
    print(bench, "peak memory of Redis (used_memory_peak)", "MiB", &runs->redis_mib, "", NULL, 0);
}

void bench_rebuild(struct bench *bench)
{
    static struct rebuild_runs runs;
    bench_store_init(&runs.store, bench, bench->options.rebuild_events, SLICE_COUNT, 1);
    read_log(&runs); /* the first reader of new rows marks them; that is not what reading costs */
    runs.read.count = runs.read_s.count = 0;
    for (int64_t round = 0; round < bench->options.rounds; round++) {
        bench_say("rebuild, round %" PRId64 " of %" PRId64, round + 1, bench->options.rounds);
        rebuild_round(&runs);
    }
    add_redeemed(&runs, &runs.redeemed);
    bench_store_deinit(&runs.store);
    bench_store_init(&runs.store, bench, bench->options.rebuild_events, SLICE_COUNT, STORE_CAMPAIGNS_MAX);
    add_redeemed(&runs, &runs.of_many);
    bench_store_deinit(&runs.store);
    print_rebuild(bench, &runs);
}
