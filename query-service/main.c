/* SPDX-License-Identifier: Apache-2.0 */
/* The query service: what is set up in which order, and torn down in reverse. */
#include "common/log.h"
#include "query-service/api.h"
#include "query-service/metrics.h"
#include "query-service/options.h"
#include "query-service/respond.h"

static struct service_part *sources; /* PostgreSQL or Redis */

static void sources_ready(bool ready)
{
    service_part_set(sources, ready);
}

static struct loader *loader_setup(const struct options *options)
{
    char reason[256];
    service_check_database_url(options->database_url);
    struct loader *loader = loader_create(
        &(struct loader_options){
            .database_url = options->database_url,
            .redis_url = options->redis_url,
            .model_threads = options->model_threads,
            .store_connections = options->store_connections,
            .queue_max = options->queue_max,
            .redis_timeout_ms = options->redis_timeout_ms,
            .store_timeout_ms = options->store_timeout_ms,
            .model_age_max_ms = options->model_age_max_ms,
            .ready = sources_ready,
        },
        reason, sizeof reason);
    if (!loader)
        service_bad_option("--redis-url", reason);
    return loader;
}

static void api_setup(struct api *api, const struct options *options)
{
    char reason[256];
    if (!crypto_key_load(options->code_key_file, api->code_key, reason, sizeof reason))
        service_bad_option("--code-key-file", reason);
    struct respond_options respond_options = {
        .fresh_s = options->fresh_s,
        .stale_while_revalidate_s = options->stale_while_revalidate_s,
        .stale_if_error_s = options->stale_if_error_s,
    };
    memcpy(respond_options.code_key, api->code_key, sizeof api->code_key);
    respond_setup(&respond_options);
    api->request_deadline_ms = options->request_deadline_ms;
    api->token_wait_ms = options->token_wait_ms;
    api->loader = loader_setup(options);
}

int main(int argc, char **argv)
{
    struct options options = {0};
    config_parse(&options_program, &argc, argv, &options);
    if (argc > 1) {
        fprintf(stderr, "query-service: unexpected argument; see --help\n");
        return 64; /* EX_USAGE */
    }

    service_setup("query-service", 1, &options.service);
    query_metrics_setup();
    sources = service_part_create("sources");
    struct api api = {0};
    api_setup(&api, &options);
    struct http_server *server = service_serve(&options.service, api_routes, api_routes_count, &api);
    log_info("STARTED", "listening on port %lld", (long long)options.service.port);

    service_wait_for_stop();
    if (!service_drain(&options.service, server))
        log_warn("DRAIN", "requests were still unanswered at the drain deadline");
    loader_destroy(api.loader);
    http_server_destroy(server);
    log_info("STOPPED", "drained");
    return 0;
}
