/* SPDX-License-Identifier: Apache-2.0 */
/* Making the metrics, all of them at start, so that each is there with 0 before anything happens. */
#include "projector/metrics.h"

#include "projector/run/redis_writer.h"

static void setup_errors(struct projector_metrics *metrics)
{
    for (int status = REDIS_OK + 1; status < REDIS_STATUS_COUNT; status++) {
        char labels[48];
        snprintf(labels, sizeof labels, "class=\"%s\"", redis_status_label((enum redis_status)status));
        metrics->redis_errors[status] = metric_counter("coupon_projector_redis_errors_total",
                                                       "Times Redis did not do as asked, by class", labels);
    }
}

static void setup_redis(struct projector_metrics *metrics)
{
    metrics->redis_used =
        metric_gauge("coupon_projector_redis_memory_used_bytes", "Memory that Redis uses", NULL);
    metrics->redis_limit = metric_gauge("coupon_projector_redis_memory_limit_bytes",
                                        "maxmemory of Redis; 0: none, or not known", NULL);
    metrics->redis_cannot_persist =
        metric_gauge("coupon_projector_redis_cannot_persist",
                     "1 while the last write of Redis' append-only file or its last snapshot failed", NULL);
    metrics->redis_replicas =
        metric_gauge("coupon_projector_redis_replicas", "Replicas connected to Redis' primary", NULL);
    metrics->redis_replica_lag = metric_gauge("coupon_projector_redis_replica_lag_seconds",
                                              "Since the slowest of them last said how far it is", NULL);
    metrics->redis_away = metric_gauge("coupon_projector_redis_servers_away",
                                       "Servers of a Redis Cluster that have slots and do not answer", NULL);
    metrics->primary_changes = metric_counter("coupon_projector_redis_primary_changes_total",
                                              "Times a replica of Redis was found promoted", NULL);
}

void projector_metrics_redis(const struct projector_metrics *metrics, const struct redis_health *health)
{
    static const struct redis_health none;
    health = health ? health : &none;
    metric_set(metrics->redis_used, health->used);
    metric_set(metrics->redis_limit, health->max);
    metric_set(metrics->redis_cannot_persist, health->cannot_persist);
    metric_set(metrics->redis_replicas, health->replicas);
    metric_set(metrics->redis_replica_lag, health->replica_lag_s);
}

static void setup_slices(struct projector_metrics *metrics)
{
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        char labels[24];
        snprintf(labels, sizeof labels, "slice=\"%d\"", slice);
        metrics->slice_lag[slice] = metric_gauge("coupon_projector_slice_lag_events",
                                                 "Events of the slice not yet in the models", labels);
    }
}

void projector_metrics_setup(struct projector_metrics *metrics)
{
    static const char refused[] = "Times Redis was found elsewhere than expected, by reason";
    *metrics = (struct projector_metrics){
        .lag_events =
            metric_gauge("coupon_projector_lag_events", "Events in the log not yet in the models", NULL),
        .lag_seconds = metric_gauge("coupon_projector_lag_seconds",
                                    "Age of the oldest event not yet in the models, rounded up", NULL),
        .leader = metric_gauge("coupon_projector_leader", "1 while this projector leads", NULL),
        .stuck_slices =
            metric_gauge("coupon_projector_stuck_slices", "Slices that cannot go on without a person", NULL),
        .events = metric_counter("coupon_projector_events_total", "Events applied to the models", NULL),
        .batches = metric_counter("coupon_projector_batches_total", "Batches applied to the models", NULL),
        .restarts =
            metric_counter("coupon_projector_restarts_total",
                           "Slices made anew, because a key was missed or they were of another log", NULL),
        .prewarmed = metric_counter("coupon_projector_prewarmed_total",
                                    "Times a campaign that opens soon was announced", NULL),
        .apply_age =
            metric_histogram_seconds("coupon_projector_apply_age_seconds",
                                     "Age of a batch's oldest event when it was in the models", NULL),
    };
    setup_errors(metrics);
    setup_redis(metrics);
    setup_slices(metrics);
    static const char name[] = "coupon_projector_refused_total";
    metrics->fenced = metric_counter(name, refused, "reason=\"fenced\"");
    metrics->moved = metric_counter(name, refused, "reason=\"moved\"");
}
