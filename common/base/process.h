/* SPDX-License-Identifier: Apache-2.0 */
/* What a process can say of itself: its version, and the process_* metrics of the Prometheus client
 * conventions, read from /proc when asked. */
#pragma once

#include <sys/types.h>

#include "common/base/bytes.h"

/* Of the file VERSION, as it was built: "2.0.0". */
const char *program_version(void);

/* Memory that a process has in use, of its own or not; 0 where /proc does not say. */
int64_t process_resident_bytes(pid_t pid);

/* Appends process_cpu_seconds_total, process_resident_memory_bytes, process_virtual_memory_bytes,
 * process_open_fds, process_max_fds and process_start_time_seconds as Prometheus text.
 * What /proc does not say is left out. From any thread. */
void process_metrics_render(struct buf *out);
