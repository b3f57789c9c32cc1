/* SPDX-License-Identifier: Apache-2.0 */
/* Counters, gauges and histograms, rendered as Prometheus text. Metrics are made once at setup and never
 * removed, so their number is bounded by the code; labels are literals, never data from outside (I10). */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "common/base/bytes.h"

struct metric; /* lives as long as the process; updates are lock-free and from any thread */

/* name: "coupon_..." in base units with _total/_seconds/_bytes as fits. labels: `route="x",code="201"` or
 * NULL. The same name and labels give the same metric. `name` and `help` are literals, labels are copied. */
struct metric *metric_counter(const char *name, const char *help, const char *labels);
struct metric *metric_gauge(const char *name, const char *help, const char *labels);
struct metric *metric_histogram_seconds(const char *name, const char *help, const char *labels);
/* A gauge of seconds or of a share: set in millionths of its unit, shown as a decimal fraction. */
struct metric *metric_gauge_micro(const char *name, const char *help, const char *labels);
/* Buckets 1, 2, 4 ... 16384: for sizes of batches and queues. */
struct metric *metric_histogram_count(const char *name, const char *help, const char *labels);

void metric_add(struct metric *metric, uint64_t n);
void metric_set(struct metric *metric, int64_t value);
int64_t metric_value(const struct metric *metric);                  /* counter or gauge */
void metric_observe_us(struct metric *metric, int64_t duration_us); /* histogram_seconds */
void metric_observe(struct metric *metric, uint64_t count);         /* histogram_count */

void metrics_render(struct buf *out);
