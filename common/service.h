/* SPDX-License-Identifier: Apache-2.0 */
/* What every service process does the same way: signals, the common options, liveness, readiness, metrics. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/config.h"
#include "common/http/http.h"

/* Options that every service has; embed as the first member of the service's own options struct. */
struct service_options {
    const char *bind_address;
    int64_t port_base, port, http_threads, connections_max, connections_per_address_max, idle_timeout_s;
    int64_t http_bytes_max, http_bytes_per_client_max, drain_grace_ms, drain_ms;
    const char *api_keys_file, *log_level, *log_file, *metrics_open, *cors_origins, *trusted_proxies;
};
extern const struct config_option service_option_table[];
/* Environment names of a service's options: FIRSTCOME_NAME, but for these, which are what everybody calls
 * them. */
#define SERVICE_ENVIRONMENT_PREFIX "FIRSTCOME_"
extern const char *const service_plain_names[];

/* Readiness: a service is ready when every named part is. Parts are added at setup, set from any thread. */
struct service_part; /* lives as long as the process */
struct service_part *service_part_create(const char *name);
void service_part_set(struct service_part *part, bool ready);

/* Blocks signals in every thread started afterwards, sets up logging and crypto. Call first in main, after
 * config_parse. port == 0 in options means port_base + port_offset, which this resolves in place. */
void service_setup(const char *name, uint16_t port_offset, struct service_options *options);
/* The keys of --api-keys-file, read at the first call; they live as long as the process. Ends the process
 * with a log line where the file is of no use. Call from main's thread. */
const struct keyring *service_keyring(const struct service_options *options);
/* What a service serves. All borrowed for the life of the process. */
struct service_api {
    const struct http_route *routes;
    size_t routes_count;
    http_admit *admit; /* may be NULL */
    void *context;     /* handed to every handler and to admit */
};
/* Starts the HTTP server with the routes of `api`, plus /livez, /readyz and /metrics. Exits the process with
 * a log line when it cannot (bad key file, port taken). */
struct http_server *service_serve(const struct service_options *options, const struct service_api *api);
/* Ends the process because an option's value cannot be used ("--redis-url"): names it on stderr and in the
 * log. `reason` must not repeat a secret. */
_Noreturn void service_bad_option(const char *option, const char *reason);
/* Blocks until SIGTERM or SIGINT; readiness then turns false. Until then it opens the log file again and
 * reads the key file again at each SIGHUP, and the key file also within a second of its changing. A key file
 * that is of no use is complained about and changes nothing. */
void service_wait_for_stop(const struct service_options *options);
bool service_stopping(void);
/* After service_wait_for_stop, for a service that clients use: serves on for drain_grace_ms while /readyz
 * says no and every answer closes its connection, so that everybody has moved on when the door closes (a
 * second signal ends this at once); then drains. false when requests were left unanswered after drain_ms. */
bool service_drain(const struct service_options *options, struct http_server *server) MUST_USE;
