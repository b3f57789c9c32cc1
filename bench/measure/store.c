/* SPDX-License-Identifier: Apache-2.0 */
/* A log, a Redis, a rebuild. */
#include "bench/measure/store.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/kit/append_run.h"
#include "bench/kit/child.h"
#include "bench/kit/progress.h"
#include "bench/kit/scratch.h"
#include "common/base/clock.h"
#include "events/codec.h"

enum { CALL_MS = 60000, LONG_MS = 600000, WATCH_MS = 10, SQL_MAX = 4096, FILE_MAX = 64 * 1024 };

/* --- the log --- */

static void name_campaigns(struct bench_store *store)
{
    int named[SLICE_COUNT] = {0}, complete = 0;
    for (int suffix = 0; complete < SLICE_COUNT; suffix++) {
        char id[CAMPAIGN_ID_MAX + 1];
        snprintf(id, sizeof id, "bench-models-%d", suffix);
        int16_t slice = slice_of(span_of(id));
        if (named[slice] == STORE_CAMPAIGNS_MAX)
            continue;
        memcpy(store->campaigns[slice][named[slice]++], id, sizeof id);
        complete += named[slice] == STORE_CAMPAIGNS_MAX;
    }
}

static void set_head(const struct bench_store *store, int slice, int64_t head)
{
    char sql[SQL_MAX];
    snprintf(sql, sizeof sql,
             "UPDATE slice SET head = %" PRId64 ", recorded_at = clock_timestamp() WHERE slice = %d", head,
             slice);
    (void)scratch_number(store->owner_url, sql, CALL_MS);
}

/* The bytes of an event around those that are not the same in each. */
static void write_around(const struct event *event, struct span differs, char *before, char *after,
                         size_t size)
{
    struct buf data, hex;
    buf_init(&data, EVENT_DATA_MAX);
    buf_init(&hex, size);
    event_encode(event, &data);
    const char *at = memmem(data.data, data.len, differs.ptr, differs.len);
    CHECK(!data.overflow && at);
    size_t prefix = (size_t)(at - data.data), rest = prefix + differs.len;
    hex_encode(&hex, data.data, prefix);
    snprintf(before, size, "%.*s", (int)hex.len, hex.data);
    buf_clear(&hex);
    hex_encode(&hex, data.data + rest, data.len - rest);
    snprintf(after, size, "%.*s", (int)hex.len, hex.data);
    buf_deinit(&hex);
    buf_deinit(&data);
}

/* The coupons of several campaigns in turns: by one statement, because there is nothing to compare with. */
static void write_in_turns(const struct bench_store *store, int16_t slice)
{
    static const char sequence[] = "\xce\x05\xf5\xe1\x00"; /* as MessagePack has the one below */
    struct event event = {.type = EVENT_CouponIssued};
    char sql[SQL_MAX], before[SQL_MAX / 8], after[SQL_MAX / 8];
    struct buf ids;
    event.coupon_issued = (struct coupon_issued){.sequence = 100000000, .nth = 1, .code_prefix = SPAN("")};
    write_around(&event, (struct span){sequence, sizeof sequence - 1}, before, after, sizeof before);
    buf_init(&ids, SQL_MAX);
    for (int i = 0; i < store->campaigns_each; i++) {
        scratch_created(store->owner_url, store->campaigns[slice][i], slice, i + 1);
        buf_printf(&ids, "%s%s", i ? "," : "", store->campaigns[slice][i]);
    }
    snprintf(
        sql, sizeof sql,
        "INSERT INTO event (slice, position, type, version, campaign_id, user_id, coupon_id, nth, "
        "recorded_at, data, holder) SELECT %d, %d + n, %d, 1, (string_to_array('%.*s', ','))[(1 + (n - 1) "
        "%% %d)::int], lpad((%" PRId64 " + n)::text, 32, '0'), 'c%d-' || %d + n, 1, clock_timestamp(), "
        "'\\x%sce'::bytea || int4send((1 + (n - 1) / %d)::int) || '\\x%s'::bytea, gen_random_uuid() "
        "FROM generate_series(1, %" PRId64 ") AS n",
        slice, store->campaigns_each, EVENT_CouponIssued, (int)ids.len, ids.data, store->campaigns_each,
        slice * store->each, slice, store->campaigns_each, before, store->campaigns_each, after, store->each);
    (void)scratch_number(store->owner_url, sql, LONG_MS);
    buf_deinit(&ids);
}

static void write_one(const struct bench_store *store, int16_t slice)
{
    struct append_result result;
    scratch_created(store->owner_url, store->campaigns[slice][0], slice, 1);
    append_run(&(struct append_options){.url = store->command_url,
                                        .campaign_id = store->campaigns[slice][0],
                                        .slice = slice,
                                        .first_user = slice * store->each,
                                        .events = store->each,
                                        .per_batch = STORE_BATCH,
                                        .plain = true,
                                        .plain_from = 1},
               &result);
}

static void write_log(const struct bench_store *store)
{
    struct progress progress;
    progress_begin(&progress, "log");
    for (int16_t slice = 0; slice < store->slices; slice++) {
        if (store->campaigns_each > 1)
            write_in_turns(store, slice);
        else
            write_one(store, slice);
        set_head(store, slice, store->campaigns_each + store->each);
        progress_update(&progress, (slice + 1) * store->each, bench_store_coupons(store), "events");
    }
    progress_end(&progress, bench_store_coupons(store), bench_store_coupons(store), "events");
}

void bench_store_init(struct bench_store *store, const struct bench *bench, int64_t coupons, int slices,
                      int campaigns)
{
    const struct bench_options *is = &bench->options;
    int64_t batches = (coupons + slices * STORE_BATCH - 1) / (slices * STORE_BATCH);
    CHECK(campaigns >= 1 && campaigns <= STORE_CAMPAIGNS_MAX);
    *store = (struct bench_store){
        .bench = bench, .each = batches * STORE_BATCH, .slices = slices, .campaigns_each = campaigns};
    scratch_url(is->database_url, "bench_log", store->owner_url, sizeof store->owner_url);
    scratch_url(is->command_database_url, "bench_log", store->command_url, sizeof store->command_url);
    scratch_url(is->projector_database_url, "bench_log", store->projector_url, sizeof store->projector_url);
    snprintf(store->redis_url, sizeof store->redis_url, "redis://127.0.0.1:%d/0",
             (int)is->port_base + BENCH_PORT_REDIS);
    name_campaigns(store);
    scratch_create(is->superuser_url, "bench_log", "bench_template");
    write_log(store);
    (void)scratch_number(is->superuser_url, "CHECKPOINT", LONG_MS);
    store->postmaster = (pid_t)scratch_number(
        is->superuser_url, "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int", CALL_MS);
}

int64_t bench_store_coupons(const struct bench_store *store)
{
    return store->slices * store->each;
}

void bench_store_redeem(struct bench_store *store)
{
    static const char order[] = "00000000-0000-0000-0000-000000000000";
    struct event event = {.type = EVENT_CouponRedeemed};
    char sql[SQL_MAX], before[SQL_MAX / 8], after[SQL_MAX / 8];
    event.coupon_redeemed.order_id = span_of(order);
    event.coupon_redeemed.order_amount = 10000;
    event.coupon_redeemed.discount_amount = 1000;
    write_around(&event, span_of(order), before, after, sizeof before);
    snprintf(sql, sizeof sql,
             "INSERT INTO event (slice, position, type, version, campaign_id, user_id, coupon_id, "
             "recorded_at, data) SELECT slice, position + %" PRId64 ", %d, %d, campaign_id, user_id, "
             "coupon_id, clock_timestamp(), '\\x%s'::bytea || convert_to(gen_random_uuid()::text, 'UTF8') || "
             "'\\x%s'::bytea FROM event WHERE type = %d ORDER BY slice, position",
             store->each, EVENT_CouponRedeemed, event_describe(EVENT_CouponRedeemed)->version, before, after,
             EVENT_CouponIssued);
    (void)scratch_number(store->owner_url, sql, LONG_MS);
    for (int slice = 0; slice < store->slices; slice++)
        set_head(store, slice, store->campaigns_each + 2 * store->each);
}

/* --- Redis --- */

static void redis_stop(struct bench_store *store)
{
    redis_destroy(store->client);
    child_stop(store->redis);
    store->client = NULL;
    store->redis = 0;
}

void bench_store_deinit(struct bench_store *store)
{
    redis_stop(store);
}

static const struct redis_reply *call(struct bench_store *store, const char *name, const char *argument,
                                      const char *value)
{
    struct redis_command command;
    const struct redis_reply *reply;
    redis_command_init(&command);
    redis_arg_text(&command, name);
    if (argument)
        redis_arg_text(&command, argument);
    if (value)
        redis_arg_text(&command, value);
    if (redis_call(store->client, &command, clock_deadline_us(CALL_MS), &reply) != REDIS_OK)
        bench_die(name, redis_error(store->client));
    redis_command_deinit(&command);
    return reply;
}

void bench_store_redis(struct bench_store *store)
{
    static unsigned starts; /* each has files of its own */
    char port[16], log[STORE_URL_BYTES], files[32], reason[128];
    const struct bench_options *is = &store->bench->options;
    struct target target;
    redis_stop(store);
    snprintf(port, sizeof port, "%d", (int)is->port_base + BENCH_PORT_REDIS);
    snprintf(log, sizeof log, "%s/log/bench-redis.log", is->run_dir);
    snprintf(files, sizeof files, "bench-aof-%u", ++starts);
    const char *argv[] = {"/usr/bin/redis-server",
                          "--bind",
                          "127.0.0.1",
                          "--port",
                          port,
                          "--dir",
                          is->run_dir,
                          "--save",
                          "",
                          "--appendonly",
                          "yes",
                          "--appendfsync",
                          "everysec",
                          "--appenddirname",
                          files,
                          NULL};
    const char *environment[] = {NULL};
    store->redis =
        child_start(&(struct child_spec){.argv = argv, .environment = environment, .output_path = log});
    bench_target(store->bench, BENCH_PORT_REDIS, &target);
    bench_await_listener(&target, "redis-server");
    store->client = redis_create(store->redis_url, reason, sizeof reason);
    if (!store->client)
        bench_die("redis-server", reason);
    if (redis_connect(store->client, clock_deadline_us(CALL_MS)) != REDIS_OK)
        bench_die("redis-server", redis_error(store->client));
}

void bench_store_empty(struct bench_store *store)
{
    (void)call(store, "FLUSHALL", NULL, NULL);
}

int64_t bench_store_redis_info(struct bench_store *store, const char *name)
{
    struct span rest = redis_text(call(store, "INFO", "memory", NULL));
    while (rest.ptr && rest.len > 0) {
        struct span line = span_cut(&rest, '\n');
        struct span label = span_cut(&line, ':');
        int64_t value;
        if (line.ptr && span_is(label, name) && parse_i64(span_cut(&line, '\r'), 0, INT64_MAX, &value))
            return value;
    }
    bench_die(name, "Redis does not say it");
}

/* --- processes --- */

/* A file of /proc; `at` stays empty where the process has gone. */
static void read_proc(pid_t pid, const char *name, char *at, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    FILE *file = fopen(path, "re");
    at[0] = '\0';
    if (!file)
        return;
    at[fread(at, 1, size - 1, file)] = '\0';
    fclose(file);
}

double bench_store_cpu_s(pid_t pid, bool children)
{
    enum { FIRST = 11, OWN = 2, ALL = 4 }; /* fields behind the name: utime, stime, cutime, cstime */
    char text[1024];
    int64_t ticks = 0;
    read_proc(pid, "stat", text, sizeof text);
    const char *name_end = strrchr(text, ')');
    if (!name_end)
        bench_die("/proc", "a process that is measured has gone");
    struct span rest = span_of(name_end + 2);
    for (int field = 0; field < FIRST + (children ? ALL : OWN); field++) {
        int64_t value = 0;
        struct span word = span_cut(&rest, ' ');
        if (field >= FIRST && parse_i64(word, 0, INT64_MAX, &value))
            ticks += value;
    }
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

void bench_store_settle(void)
{
    (void)poll(NULL, 0, 10 * WATCH_MS);
}

/* The whole number behind a label and blanks; `otherwise` where there is none. */
static int64_t number_after(const char *text, const char *label, int64_t otherwise)
{
    const char *found = strstr(text, label);
    if (!found)
        return otherwise;
    found += strlen(label);
    found += strspn(found, " \t");
    int64_t value;
    struct span digits = {found, strspn(found, "0123456789")};
    return parse_i64(digits, 0, INT64_MAX, &value) ? value : otherwise;
}

static double peak_mib(pid_t pid, double before)
{
    char text[8192];
    read_proc(pid, "status", text, sizeof text);
    int64_t kib = number_after(text, "VmHWM:", 0);
    return kib > 0 ? (double)kib / 1024 : before; /* 0: it has ended */
}

static double waited_cpu_s(void)
{
    struct rusage usage;
    CHECK(getrusage(RUSAGE_CHILDREN, &usage) == 0);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / US_PER_S;
}

/* --- a rebuild --- */

/* The last line about the build says its rate over all of it. */
static double build_rate(const char *path)
{
    static const char phase[] = "\"phase\":\"build\"", rate[] = "\"events_per_second\":";
    static char text[FILE_MAX];
    const char *at = text, *last = NULL;
    FILE *file = fopen(path, "re");
    if (!file)
        bench_die(path, "cannot be read");
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    while ((at = strstr(at, phase)) != NULL)
        last = at++;
    return last ? (double)number_after(last, rate, 0) : 0;
}

static pid_t spawn_rebuild(const struct bench_store *store, const char *output)
{
    char path[STORE_URL_BYTES], database[STORE_URL_BYTES + 16], redis[128];
    snprintf(path, sizeof path, "%s/projector", store->bench->options.bin_dir);
    snprintf(database, sizeof database, "DATABASE_URL=%s", store->projector_url);
    snprintf(redis, sizeof redis, "REDIS_URL=%s", store->redis_url);
    const char *argv[] = {path, "rebuild", "--json", NULL}, *environment[] = {database, redis, NULL};
    (void)unlink(output);
    return child_start(&(struct child_spec){.argv = argv, .environment = environment, .output_path = output});
}

void bench_store_rebuild(struct bench_store *store, struct bench_store_rebuild *ret)
{
    char output[STORE_URL_BYTES];
    int status;
    snprintf(output, sizeof output, "%s/log/bench-rebuild.log", store->bench->options.run_dir);
    double waited_s = waited_cpu_s();
    double redis_s = bench_store_cpu_s(store->redis, false),
           postgres_s = bench_store_cpu_s(store->postmaster, true);
    int64_t start_us = clock_mono_us();
    *ret = (struct bench_store_rebuild){0};
    pid_t pid = spawn_rebuild(store, output);
    do
        ret->projector_peak_mib = peak_mib(pid, ret->projector_peak_mib);
    while ((status = child_wait(pid, WATCH_MS)) == -1);
    ret->wall_s = (double)(clock_mono_us() - start_us) / US_PER_S;
    if (status != 0)
        bench_die("projector rebuild", "failed; see log/bench-rebuild.log (KEEP=1 keeps it)");
    ret->build_per_second = build_rate(output);
    ret->projector_cpu_s = waited_cpu_s() - waited_s;
    ret->redis_cpu_s = bench_store_cpu_s(store->redis, false) - redis_s;
    bench_store_settle();
    ret->postgres_cpu_s = bench_store_cpu_s(store->postmaster, true) - postgres_s;
    ret->redis_peak_mib = (double)bench_store_redis_info(store, "used_memory_peak") / (1024 * 1024);
}
