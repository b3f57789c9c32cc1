/* SPDX-License-Identifier: Apache-2.0 */
/* The projector: which command, and what `run` sets up in which order and tears down in reverse. */
#include <pthread.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/bus.h"
#include "common/trace.h"
#include "events/shards.h"
#include "projector/options.h"
#include "projector/sql.h"
#include "projector/status.h"

enum { EXIT_BAD_USAGE = 64, PORT_OFFSET = 2, STATUS_BYTES_MAX = 64 * 1024 };

/* --- status --- */

static struct redis_writer *status_models(const struct options *options)
{
    char reason[256];
    struct redis_writer *models = redis_writer_create(options->redis_url, SLICES_ALL, reason, sizeof reason);
    if (models)
        return models;
    fprintf(stderr, "projector: --redis-url: %s\n", reason);
    exit(EXIT_BAD_USAGE);
}

static int command_status(const struct options *options, const struct shards *shards)
{
    struct redis_writer *models = status_models(options);
    struct status status;
    struct buf out;
    buf_init(&out, STATUS_BYTES_MAX);
    status_collect(&status, shards, models);
    if (options->json)
        status_write_json(&out, &status);
    else
        status_write_text(&out, &status);
    bool written = fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    buf_deinit(&out);
    redis_writer_destroy(models);
    return written && status_good(&status) ? 0 : 1;
}

/* --- run --- */

static struct redis_writer *models_setup(const struct options *options, const struct shard *shard)
{
    char reason[256];
    struct redis_writer *models =
        redis_writer_create(options->redis_url, shard->slices, reason, sizeof reason);
    if (!models)
        service_bad_option("--redis-url", reason);
    return models;
}

static struct bus_subscriber *bus_setup(const struct options *options, struct hints *hints)
{
    char reason[256];
    if (!*options->bus_url)
        return NULL;
    struct bus_subscriber *bus =
        bus_subscriber_create(options->bus_url, hints_receive, hints, reason, sizeof reason);
    if (!bus)
        service_bad_option("--bus-url", reason);
    return bus;
}

static struct bus_publisher *publisher_setup(const struct options *options)
{
    char reason[256];
    if (!*options->bus_publish_url)
        return NULL;
    struct bus_publisher *bus = bus_publisher_create(options->bus_publish_url, reason, sizeof reason);
    if (!bus)
        service_bad_option("--bus-publish-url", reason);
    return bus;
}

static struct repair *repair_setup(const struct options *options, const struct shard *shard,
                                   const struct projector_metrics *metrics)
{
    char reason[256];
    struct repair *repair = repair_create(shard, options->redis_url, metrics, reason, sizeof reason);
    if (!repair)
        service_bad_option("--redis-url", reason);
    return repair;
}

static void *work(void *projector)
{
    pthread_setname_np(pthread_self(), "projector-loop");
    projector_run(projector);
    return NULL;
}

/* All its waits are bounded by a second or so; the bound here is for what nobody thought of. */
static void join(pthread_t thread, const struct options *options)
{
    int64_t until_us = clock_wall_us() + options->service.drain_ms * US_PER_MS;
    struct timespec until = {until_us / US_PER_S, until_us % US_PER_S * 1000};
    if (pthread_timedjoin_np(thread, NULL, &until) == 0)
        return;
    log_warn("DRAIN", "the projector was still busy at the drain deadline");
    _exit(0); /* no exit handlers under the threads that are left */
}

static void trace_setup(const struct options *options)
{
    char reason[256];
    if (!trace_start(options->trace_url, "projector", reason, sizeof reason))
        service_bad_option("--trace-url", reason);
}

static const struct shard *shard_setup(const struct options *options, const struct shards *shards)
{
    const struct shard *shard = shards_find(shards, span_of(options->slices));
    if (!shard)
        service_bad_option("--slices", "must be the slices of one line of --shards");
    return shard;
}

static int command_run(struct options *options, const struct shards *shards)
{
    const struct shard *shard = shard_setup(options, shards);
    struct hints hints;
    struct projector_metrics metrics;
    struct projector projector;
    pthread_t thread;

    service_setup("projector", PORT_OFFSET, &options->service);
    trace_setup(options);
    projector_metrics_setup(&metrics);
    hints_init(&hints);
    struct projector_means means = {
        .shard = shard,
        .pg = sql_create(shard->url),
        .writer = models_setup(options, shard),
        .hints = &hints,
        .metrics = &metrics,
        .repair = repair_setup(options, shard, &metrics),
        .bus = publisher_setup(options),
    };
    projector_init(&projector, &means, &options->projector);
    struct bus_subscriber *bus = bus_setup(options, &hints);
    struct http_server *server = service_serve(&options->service, &(struct service_api){.routes_count = 0});
    CHECK(pthread_create(&thread, NULL, work, &projector) == 0);
    log_info("STARTED", "health and metrics on port %lld", (long long)options->service.port);

    service_wait_for_stop(
        &options->service); /* no grace (service_drain): nobody's request depends on this process */
    hints_wake(&hints);
    join(thread, options);
    (void)http_server_drain(server, clock_deadline_us(US_PER_S / US_PER_MS));
    http_server_destroy(server);
    bus_subscriber_destroy(bus);
    bus_publisher_destroy(means.bus);
    repair_destroy(means.repair);
    projector_deinit(&projector);
    redis_writer_destroy(means.writer);
    pg_destroy(means.pg);
    hints_deinit(&hints);
    trace_stop();
    log_info("STOPPED", "drained");
    return 0;
}

static int run_command(enum command command, struct options *options, const struct shards *shards)
{
    switch (command) {
    case COMMAND_RUN:
        return command_run(options, shards);
    case COMMAND_STATUS:
        return command_status(options, shards);
    case COMMAND_PREWARM:
        return prewarm_run(&(struct prewarm_options){.shards = shards,
                                                     .bus_publish_url = options->bus_publish_url,
                                                     .campaign = options->prewarm_campaign});
    case COMMAND_REBUILD:
        return rebuild_run(&options->rebuild);
    case COMMAND_VERIFY:
        return verify_run(&options->verify);
    }
    UNREACHABLE("every command is named above");
}

int main(int argc, char **argv)
{
    struct options options;
    struct shards shards;
    enum command command = options_parse(argc, argv, &options);
    shards_setup(&shards, options.shards_file, options.database_url, "firstcome_projector");
    options.rebuild.shards = options.verify.shards = &shards;
    int status = run_command(command, &options, &shards);
    shards_deinit(&shards);
    return status;
}
