/* SPDX-License-Identifier: Apache-2.0 */
/* Making the metrics. */
#include "query-service/metrics.h"

#include "events/refusals.h"

struct query_metrics query_metrics;

static void label(char *ret, size_t size, const char *name, const char *value)
{
    CHECK((size_t)snprintf(ret, size, "%s=\"%s\"", name, value) < size);
}

static void setup_reads(struct query_metrics *metrics)
{
    const char *help = "reads answered, by where the answer came from";
    metrics->reads[SOURCE_MEMORY] = metric_counter("coupon_reads_total", help, "source=\"memory\"");
    metrics->reads[SOURCE_REDIS] = metric_counter("coupon_reads_total", help, "source=\"redis\"");
    metrics->reads[SOURCE_POSTGRES] = metric_counter("coupon_reads_total", help, "source=\"postgres\"");
    help = "answers loaded, by who had them; one load may answer many reads";
    metrics->loads[SOURCE_REDIS] = metric_counter("coupon_read_loads_total", help, "source=\"redis\"");
    metrics->loads[SOURCE_POSTGRES] = metric_counter("coupon_read_loads_total", help, "source=\"postgres\"");
    char labels[64];
    for (int i = FALLBACK_NONE + 1; i < FALLBACK_COUNT; i++) {
        label(labels, sizeof labels, "reason", fallback_label((enum fallback)i));
        metrics->fallbacks[i] = metric_counter("coupon_read_fallbacks_total",
                                               "reads that Redis could not answer, by reason", labels);
    }
}

static void setup_errors(struct query_metrics *metrics)
{
    char labels[64];
    for (int i = REDIS_OK + 1; i < REDIS_STATUS_COUNT; i++) {
        label(labels, sizeof labels, "class", redis_status_label((enum redis_status)i));
        metrics->redis_errors[i] =
            metric_counter("coupon_redis_errors_total", "errors of Redis, by class", labels);
    }
    metrics->store_errors = metric_counter("coupon_read_store_errors_total",
                                           "reads of PostgreSQL that failed or were late", NULL);
    metrics->store_refusals =
        metric_counter("coupon_read_store_refusals_total", "questions that took PostgreSQL too long", NULL);
    const char *help = "reads refused with 503, by reason";
    metrics->refused_overload = metric_counter("coupon_reads_refused_total", help, "reason=\"overloaded\"");
    metrics->refused_unavailable =
        metric_counter("coupon_reads_refused_total", help, "reason=\"store_unavailable\"");
}

static void setup_cache(struct query_metrics *metrics)
{
    static const char *const verdicts[] = {
        [ENTRY_FRESH] = "hit",       [ENTRY_EARLY] = "early",     [ENTRY_STALE] = "stale",
        [ENTRY_CHANGED] = "changed", [ENTRY_EXPIRED] = "expired", [ENTRY_DEAD] = "miss"};
    char labels[64];
    for (size_t i = 0; i < COUNT_OF(verdicts); i++) {
        label(labels, sizeof labels, "verdict", verdicts[i]);
        metrics->lookups[i] =
            metric_counter("coupon_cache_lookups_total", "look-ups in process, by what was there", labels);
    }
    metrics->collapsed =
        metric_counter("coupon_reads_collapsed_total", "reads that waited for another one's load", NULL);
    metrics->refreshes = metric_counter("coupon_cache_refreshes_total", "loads behind readers' backs", NULL);
    metrics->kept = metric_counter("coupon_reads_kept_total",
                                   "reads answered with an old copy because nothing behind answered", NULL);
    metrics->cache_bytes = metric_gauge("coupon_cache_bytes", "memory of the copies in process", NULL);
    metrics->cache_entries = metric_gauge("coupon_cache_entries", "copies in process", NULL);
    metrics->cache_evicted =
        metric_counter("coupon_cache_evictions_total", "copies that were dropped for others", NULL);
    metrics->followers = metric_gauge("coupon_feed_followers", "requests that wait for events", NULL);
    metrics->hints = metric_counter("coupon_read_hints_total", "hints of changes that came by the bus", NULL);
    for (size_t i = 0; i < STATUS_HOT_MAX; i++) {
        CHECK((size_t)snprintf(labels, sizeof labels, "rank=\"%zu\"", i + 1) < sizeof labels);
        metrics->hot[i] = metric_gauge_micro("coupon_read_hot_ratio",
                                             "share of the most wanted targets in all reads", labels);
    }
    metrics->warm = metric_gauge("coupon_cache_warm", "campaigns kept in memory before they open", NULL);
    metrics->waiting = metric_gauge("coupon_reads_waiting", "reads that wait for another one's load", NULL);
}

static void setup_workers(struct query_metrics *metrics)
{
    static const char *const stages[] = {"stage=\"redis\"", "stage=\"postgres\""};
    for (size_t i = 0; i < COUNT_OF(stages); i++) {
        metrics->workers[i] = metric_gauge("coupon_read_workers", "threads that work reads off", stages[i]);
        metrics->workers_busy[i] =
            metric_gauge("coupon_read_workers_busy", "threads at work on reads", stages[i]);
    }
    metrics->queue_limit = metric_gauge("coupon_read_queue_limit", "reads that may wait at a stage", NULL);
    metrics->degraded = metric_gauge("coupon_read_degraded",
                                     "0 Redis and PostgreSQL answer; 1 one of them; 2 only memory", NULL);
    metrics->cache_limit =
        metric_gauge("coupon_cache_limit_bytes", "memory that copies in process may take", NULL);
    metrics->control_age = metric_gauge_micro("coupon_control_age_seconds",
                                              "since settings and kill switches were last read", NULL);
}

static void setup_exports(struct query_metrics *metrics)
{
    const char *help = "lists of holders as CSV that are over, by how they ended";
    metrics->exports_complete = metric_counter("coupon_exports_total", help, "end=\"complete\"");
    metrics->exports_broken = metric_counter("coupon_exports_total", help, "end=\"broken\"");
    metrics->exports_refused = metric_counter("coupon_exports_total", help, "end=\"refused\"");
    metrics->exports_running =
        metric_gauge("coupon_exports_running", "lists of holders as CSV that are being sent", NULL);
}

void query_metrics_setup(void)
{
    struct query_metrics *metrics = &query_metrics;
    setup_cache(metrics);
    setup_exports(metrics);
    setup_reads(metrics);
    setup_errors(metrics);
    setup_workers(metrics);
    refusals_setup();
    metrics->not_modified =
        metric_counter("coupon_reads_not_modified_total", "reads answered with 304", NULL);
    metrics->token_waits = metric_counter("coupon_read_token_waits_total",
                                          "times a read waited a moment for its consistency token", NULL);
    const char *queue = "reads waiting, by what for; dear ones have a lane of their own";
    metrics->model_queue[0] = metric_gauge("coupon_read_queue_length", queue, "stage=\"redis\"");
    metrics->store_queue[0] = metric_gauge("coupon_read_queue_length", queue, "stage=\"postgres\"");
    metrics->model_queue[1] = metric_gauge("coupon_read_queue_length", queue, "stage=\"redis_dear\"");
    metrics->store_queue[1] = metric_gauge("coupon_read_queue_length", queue, "stage=\"postgres_dear\"");
    metrics->control_errors = metric_counter("coupon_control_errors_total",
                                             "Readings of settings and kill switches that failed", NULL);
    metrics->logs_replaced = metric_counter("coupon_read_logs_replaced_total",
                                            "times the log was not the one that was read before", NULL);
    metrics->suspended = metric_gauge("coupon_issuers_suspended", "API keys that are refused", NULL);
    metrics->profile = metric_gauge("coupon_settings_profile",
                                    "Profile of the settings: 0 normal, 1 spike, 2 incident", NULL);
    const char *open = "1 while the breaker in front of this dependency is open";
    metrics->redis_open = metric_gauge("coupon_read_breaker_open", open, "dependency=\"redis\"");
    metrics->store_open = metric_gauge("coupon_read_breaker_open", open, "dependency=\"postgres\"");
    metrics->model_seconds =
        metric_histogram_seconds("coupon_read_redis_duration_seconds", "one batch of reads in Redis", NULL);
    metrics->store_seconds =
        metric_histogram_seconds("coupon_read_store_duration_seconds", "one read in PostgreSQL", NULL);
    metrics->model_batch =
        metric_histogram_count("coupon_read_redis_batch", "reads that travelled together to Redis", NULL);
}
