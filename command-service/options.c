/* SPDX-License-Identifier: Apache-2.0 */
/* The option table of the command service. */
#include "command-service/options.h"

#include "command-service/core/batch.h"

#define AT(member) offsetof(struct options, member)

static const struct config_option table[] = {
    {"database-url", CONFIG_STRING, AT(database_url), "", 0, 4096, "",
     "event store, postgresql://...; several hosts allowed; needed without --shards, else not used"},
    {"shards", CONFIG_STRING, AT(shards_file), "", 0, 4096, "",
     "file that says which event store has which slices; empty: --database-url has all"},
    {"code-key-file", CONFIG_STRING, AT(code_key_file), NULL, 1, 4096, "",
     "file with the 64 hex digits that coupon codes are derived with"},
    {"bus-url", CONFIG_STRING, AT(bus_url), "", 0, 1024, "",
     "who is told about new events, nng URLs separated by commas; empty: nobody"},
    {"disk-path", CONFIG_STRING, AT(disk_path), "", 0, 4096, "",
     "directory on the event store's disk, to refuse writes before it is full; empty: no guard"},
    {"public-url", CONFIG_STRING, AT(public_url), "", 0, 1024, "",
     "what Location of a creation begins with, https://coupons.example; empty: it is a path at the same "
     "origin"},
    {"trace-url", CONFIG_STRING, AT(trace_url), "", 0, 1024, "",
     "where spans of sampled requests are sent, OTLP over HTTP as JSON; empty: nowhere"},
    {"batch-max", CONFIG_INT, AT(batch_max), "512", 1, BATCH_MAX, "commands",
     "most commands in one transaction"},
    {"queue-max", CONFIG_INT, AT(queue_max), "10000", 1, 1000000, "commands",
     "most commands waiting per slice; beyond: 503 overloaded"},
    {"request-deadline-ms", CONFIG_INT, AT(request_deadline_ms), "2000", 500, 60000, "ms",
     "longest time from a request's last byte to its answer"},
    {"accepted-deadline-ms", CONFIG_INT, AT(accepted_deadline_ms), "30000", 500, 600000, "ms",
     "longest time from an accepted request's last byte to its outcome"},
    {"early-bytes-max", CONFIG_INT, AT(early_bytes_max), "67108864", 0, 4294967296, "bytes",
     "memory for who holds coupons of campaigns that refuse everybody; 0: nothing is refused early"},
    {"issue-sla-ms", CONFIG_INT, AT(issue_sla_ms), "250", 0, 60000, "ms",
     "setting issue_sla_ms under profile normal"},
    {"campaigns-per-key-per-day", CONFIG_INT, AT(campaigns_per_key_per_day), "2000", 0, 1000000, "campaigns",
     "setting campaigns_per_key_per_day under profile normal"},
    {"campaigns-per-day", CONFIG_INT, AT(campaigns_per_day), "10000", 0, 1000000, "campaigns",
     "setting campaigns_per_day under profile normal"},
    {"live-coupons-max", CONFIG_INT, AT(live_coupons_max), "10000000000", 0, 1000000000000, "coupons",
     "setting live_coupons_max under profile normal"},
    {.name = NULL},
};

static const struct config_option *const tables[] = {service_option_table, table, NULL};

const struct config_program options_program = {
    .name = "command-service",
    .purpose = "decides commands and appends their events: the write API of Firstcome",
    .usage = "",
    .tables = tables,
    .prefix = SERVICE_ENVIRONMENT_PREFIX,
    .plain = service_plain_names,
};
