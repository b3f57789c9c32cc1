/* SPDX-License-Identifier: Apache-2.0 */
/* The command service: what is set up in which order, and torn down in reverse. */
#include <errno.h>

#include "command-service/http/response.h"
#include "command-service/http/submit.h"
#include "command-service/options.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/trace.h"

static struct bus_publisher *bus_setup(const struct options *options)
{
    char reason[256];
    if (!*options->bus_url)
        return NULL;
    struct bus_publisher *bus = bus_publisher_create(options->bus_url, reason, sizeof reason);
    if (!bus)
        service_bad_option("--bus-url", reason);
    return bus;
}

/* Settings and kill switches are in one slice, and so in one shard, for all. */
static struct control *control_setup(const struct options *options, const struct shards *shards,
                                     struct api *api)
{
    int64_t percent;
    if (*options->disk_path && shards->count > 1)
        service_bad_option("--disk-path", "is the disk of one database, and the map has several");
    if (*options->disk_path && !disk_used_percent(options->disk_path, &percent))
        service_bad_option("--disk-path", strerror(errno));
    struct control_options control = {
        .database_url = shards_of(shards, CONTROL_SLICE)->url,
        .keyring = service_keyring(&options->service),
        .resume = submit_held,
        .context = api,
    };
    settings_init(&control.defaults);
    settings_default(&control.defaults, SETTING_issue_sla_ms, options->issue_sla_ms);
    settings_default(&control.defaults, SETTING_campaigns_per_key_per_day,
                     options->campaigns_per_key_per_day);
    settings_default(&control.defaults, SETTING_campaigns_per_day, options->campaigns_per_day);
    settings_default(&control.defaults, SETTING_live_coupons_max, options->live_coupons_max);
    return control_start(&control);
}

static struct committers *committers_setup(const struct options *options, struct committer_options *committer)
{
    char reason[256];
    committer->batch_max = (size_t)options->batch_max;
    committer->queue_max = (size_t)options->queue_max;
    if (!code_key_load(options->code_key_file, &committer->code_key, reason, sizeof reason))
        service_bad_option("--code-key-file", reason);
    return committers_start(committer);
}

static void trace_setup(const struct options *options)
{
    char reason[256];
    if (!trace_start(options->trace_url, "command-service", reason, sizeof reason))
        service_bad_option("--trace-url", reason);
}

int main(int argc, char **argv)
{
    struct options options = {0};
    config_parse(&options_program, &argc, argv, &options);
    if (argc > 1) {
        fprintf(stderr, "command-service: unexpected argument; see --help\n");
        return 64; /* EX_USAGE */
    }

    service_setup("command-service", 0, &options.service);
    trace_setup(&options);
    struct shards shards;
    shards_setup(&shards, options.shards_file, options.database_url, "firstcome_command");
    struct bus_publisher *bus = bus_setup(&options);
    struct api api = {.request_deadline_ms = options.request_deadline_ms,
                      .accepted_deadline_ms = options.accepted_deadline_ms,
                      .started_at_us = clock_wall_us()};
    struct control *control = control_setup(&options, &shards, &api);
    struct watch *watch = watch_create(&watch_no_halt); /* until the committers know the settings */
    struct early *early =
        early_start(&(struct early_options){.shards = &shards, .bytes_max = (size_t)options.early_bytes_max});
    struct quotas *quotas = quotas_create(&shards);
    api.committers = committers_setup(&options, &(struct committer_options){.shards = &shards,
                                                                            .quotas = quotas,
                                                                            .bus = bus,
                                                                            .control = control,
                                                                            .watch = watch,
                                                                            .early = early});
    api.watch = watch;
    api.early = early;
    api.control = control;
    api.requests = requests_start(&(struct requests_options){
        .shards = &shards, .committers = api.committers, .deadline_ms = options.request_deadline_ms});
    struct disk_guard *disk = disk_guard_start(options.disk_path, control);
    if (!answer_public_url_valid(options.public_url))
        service_bad_option("--public-url", "it is http:// or https://, a host, and no slash at its end");
    answer_setup(options.public_url);
    gate_init(&api.gate, control, disk);
    struct http_server *server = service_serve(
        &options.service,
        &(struct service_api){
            .routes = api_routes, .routes_count = api_routes_count, .admit = submit_admit, .context = &api});
    log_info("STARTED", "listening on port %lld", (long long)options.service.port);

    service_wait_for_stop(&options.service);
    if (!service_drain(&options.service, server))
        log_warn("DRAIN", "requests were still unanswered at the drain deadline");
    committers_stop(api.committers);
    requests_stop(api.requests);
    http_server_destroy(server); /* after a drain cut short, connections bring requests until here */
    requests_destroy(api.requests);
    committers_destroy(api.committers);
    quotas_destroy(quotas);
    early_stop(early);
    watch_destroy(watch);
    gate_deinit(&api.gate);
    disk_guard_stop(disk);
    control_stop(control);
    bus_publisher_destroy(bus);
    shards_deinit(&shards);
    trace_stop();
    log_info("STOPPED", "drained");
    return 0;
}
