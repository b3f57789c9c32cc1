/* SPDX-License-Identifier: Apache-2.0 */
/* What can be set on a command service. */
#pragma once

#include "common/service.h"

struct options {
    struct service_options service; /* first: common tables point into it */
    const char *database_url, *shards_file, *code_key_file, *bus_url, *disk_path, *public_url, *trace_url;
    int64_t issue_sla_ms, campaigns_per_key_per_day, campaigns_per_day, live_coupons_max;
    int64_t batch_max, queue_max, request_deadline_ms;
    int64_t accepted_deadline_ms, early_bytes_max;
};

extern const struct config_program options_program;
