// SPDX-License-Identifier: Apache-2.0
// The alerts. Each has tests beside it, on both sides of its threshold: `series` in promtool's notation, one value
// every five seconds (or `every`), evaluated after five minutes (or `at`).
local with(name, job, labels='') = '%s{job="%s",instance="i1"%s}' % [name, job, if labels == '' then '' else ',' + labels];
local cmd(name, labels='') = with(name, 'firstcome-command', labels);
local qry(name, labels='') = with(name, 'firstcome-query', labels);
local prj(name, labels='') = with(name, 'firstcome-projector', labels);
local red(name, labels='') = with(name, 'redis', labels);
local fires(series, at='5m', every='5s') = { fires: true, series: series, at: at, every: every };
local quiet(series, at='5m', every='5s') = { fires: false, series: series, at: at, every: every };
local issue = 'route="POST /v1/campaigns/:id/coupons"';
// Requests a step, and those of them answered 5xx.
local answers(bad, all, n) = {
  [cmd('coupon_http_requests_total', issue + ',code="2xx"')]: '0+%dx%d' % [all - bad, n],
  [cmd('coupon_http_requests_total', issue + ',code="5xx"')]: '0+%dx%d' % [bad, n],
};
// A clean stretch, then a bad one.
local answers_after(clean, bad, all, n) = {
  [cmd('coupon_http_requests_total', issue + ',code="2xx"')]: '0+%dx%d' % [all, clean + n],
  [cmd('coupon_http_requests_total', issue + ',code="5xx"')]: '0x%d 0+%dx%d' % [clean, bad, n],
};
local latency(le2) = {
  [cmd('coupon_http_request_duration_seconds_bucket', issue + ',le="1"')]: '0x60',
  [cmd('coupon_http_request_duration_seconds_bucket', issue + ',le="2"')]: '0+%dx60' % le2,
  [cmd('coupon_http_request_duration_seconds_bucket', issue + ',le="5"')]: '0+1000x60',
  [cmd('coupon_http_request_duration_seconds_bucket', issue + ',le="+Inf"')]: '0+1000x60',
  [cmd('coupon_http_request_duration_seconds_count', issue)]: '0+1000x60',
};
local slow_at_night = {
  [cmd('coupon_http_request_duration_seconds_bucket', issue + ',le="2"')]: '0x60',
  [cmd('coupon_http_request_duration_seconds_bucket', issue + ',le="5"')]: '0x50 1x9',
  [cmd('coupon_http_request_duration_seconds_bucket', issue + ',le="+Inf"')]: '0x50 1x9',
  [cmd('coupon_http_request_duration_seconds_count', issue)]: '0x50 1x9',
};
local histogram(name, bounds) = {
  [cmd(name + '_bucket', 'le="%s"' % le)]: '0+%dx60' % bounds[le]
  for le in std.objectFields(bounds)
};
local lookups(before, after) = {
  [qry('coupon_cache_lookups_total', 'verdict="hit"')]: '0+%dx240 %d+%dx36' % [before, before * 240 + after, after],
  [qry('coupon_cache_lookups_total', 'verdict="miss"')]:
    '0+%dx240 %d+%dx36' % [100 - before, (100 - before) * 240 + 100 - after, 100 - after],
};
local class(redis, projector) = function(name) {
  [qry('coupon_redis_errors_total', 'class="%s"' % name)]: redis,
  [prj('coupon_projector_redis_errors_total', 'class="%s"' % name)]: projector,
};

function(c) [
  // --- Promise to users ---
  {
    name: 'CouponErrorBudgetFast',
    severity: 'page',
    expr: |||
      coupon:errors:ratio_rate2m > %(bar)g and coupon:errors:ratio_rate30s > %(bar)g
      and sum by (job) (rate(coupon_http_requests_total{%(apis)s,%(asked)s}[2m])) > 1
    ||| % (c.jobs { bar: (1 - c.slo) * c.burn.fast, asked: c.asked }),
    'for': '0s',
    summary: 'Requests fail 50 times faster than the promise allows',
    description: '{{ $value | humanizePercentage }} of the requests to {{ $labels.job }} were answered 5xx in the last two minutes. A quarter of an hour of this spends 1.7 % of the month.',
    thresholds: ['burn.fast'],
    tests: [fires(answers(11, 400, 60)), quiet(answers(9, 400, 60)), quiet(answers_after(54, 20, 400, 5))],
  },
  {
    name: 'CouponErrorBudgetPage',
    severity: 'page',
    expr: 'coupon:errors:ratio_rate1h > %(bar)g and coupon:errors:ratio_rate5m > %(bar)g' % { bar: (1 - c.slo) * c.burn.page },
    'for': '1m',
    summary: "Two percent of the month's errors in an hour",
    description: '{{ $value | humanizePercentage }} of the requests to {{ $labels.job }} were answered 5xx in the last hour.',
    thresholds: ['burn.page'],
    tests: [
      fires(answers(16, 2000, 120), '10m'),
      quiet(answers(13, 2000, 120), '10m'),
      quiet(answers_after(720, 40, 2000, 36), '63m'),
    ],
  },
  {
    name: 'CouponErrorBudgetSlow',
    severity: 'page',
    expr: 'coupon:errors:ratio_rate6h > %(bar)g and coupon:errors:ratio_rate30m > %(bar)g' % { bar: (1 - c.slo) * c.burn.slow },
    'for': '5m',
    summary: "Five percent of the month's errors in six hours",
    description: '{{ $value | humanizePercentage }} of the requests to {{ $labels.job }} were answered 5xx in the last six hours.',
    thresholds: ['burn.slow'],
    tests: [fires(answers(65, 20000, 20), '20m', '1m'), quiet(answers(55, 20000, 20), '20m', '1m')],
  },
  {
    name: 'CouponErrorBudgetTicket',
    severity: 'ticket',
    expr: 'coupon:errors:ratio_rate3d > %(bar)g and coupon:errors:ratio_rate6h > %(bar)g' % { bar: (1 - c.slo) * c.burn.ticket },
    'for': '1h',
    summary: "The month's errors are spent before the month is",
    description: '{{ $value | humanizePercentage }} of the requests to {{ $labels.job }} were answered 5xx in the last three days.',
    thresholds: ['burn.ticket'],
    tests: [fires(answers(11, 20000, 120), '90m', '1m'), quiet(answers(9, 20000, 120), '90m', '1m')],
  },
  {
    name: 'CouponErrorsHigh',
    severity: 'page',
    expr: |||
      coupon:errors:ratio_rate1m > %(bar)g
      and sum by (job) (rate(coupon_http_requests_total{%(apis)s,%(asked)s}[1m])) > %(few)g
    ||| % (c.jobs { bar: c.errors, asked: c.asked, few: c.few }),
    'for': '15s',
    summary: 'More than one request in twenty fails',
    description: '{{ $value | humanizePercentage }} of the requests to {{ $labels.job }} are answered 5xx.',
    thresholds: ['errors', 'few:0.05:10000'],
    tests: [
      fires(answers(55, 1000, 60)),
      quiet(answers(45, 1000, 60)),
      // One failure at night.
      quiet({ [cmd('coupon_http_requests_total', issue + ',code="5xx"')]: '0x50 1x9' }),
    ],
  },
  {
    name: 'CouponLatencyHigh',
    severity: 'page',
    expr: |||
      coupon:request_seconds:p95_rate1m > %(bar)g
      and sum by (job, route) (rate(coupon_http_request_duration_seconds_count{%(apis)s,%(timed)s}[1m])) > %(few)g
    ||| % (c.jobs { bar: c.latency_s, timed: c.timed, few: c.few }),
    'for': '15s',
    summary: 'Answers take more than two seconds',
    description: 'The slowest twentieth of {{ $labels.route }} at {{ $labels.job }} takes {{ $value | humanizeDuration }} or longer.',
    thresholds: ['latency_s', 'few:0.05:10000'],
    tests: [fires(latency(948)), quiet(latency(1000)), quiet(slow_at_night)],
  },
  {
    name: 'CouponAnswersLate',
    severity: 'ticket',
    expr: 'increase(coupon_late_answers_total{%(command)s}[5m]) > 0' % c.jobs,
    'for': '0s',
    summary: 'An answer came after its deadline',
    description: '{{ $labels.instance }} gave an answer after the deadline of its request, which it never should.',
    tests: [fires({ [cmd('coupon_late_answers_total')]: '0x30 1x30' }), quiet({ [cmd('coupon_late_answers_total')]: '3x60' })],
  },
  {
    name: 'CouponTrafficHigh',
    severity: 'info',
    expr: 'sum(rate(coupon_http_requests_total{%(command)s,%(asked)s}[1m])) > %(bar)g' % (c.jobs { bar: c.requests, asked: c.asked }),
    'for': '15s',
    summary: 'More than 200 writes a second',
    description: '{{ $value | humanize }} requests a second reach the command services.',
    thresholds: ['requests'],
    tests: [fires(answers(0, 1050, 60)), quiet(answers(0, 950, 60))],
  },

  // --- Processes ---
  {
    name: 'CouponTargetDown',
    severity: 'page',
    expr: 'up{%(services)s} == 0' % c.jobs,
    'for': '15s',
    summary: 'A service cannot be scraped',
    description: '{{ $labels.job }} {{ $labels.instance }} does not answer Prometheus.',
    tests: [fires({ [cmd('up')]: '1x30 0x30' }), quiet({ [cmd('up')]: '1x60' })],
  },
  {
    name: 'CouponJobAbsent',
    severity: 'page',
    expr: std.join('\nor ', ['absent(up{%s})' % c.jobs[job] for job in ['command', 'query', 'projector']]),
    'for': '30s',
    summary: 'Prometheus knows no instance of a service',
    description: 'No target of {{ $labels.job }} is configured or discovered, so nothing about it can be announced.',
    tests: [
      fires({ [cmd('up')]: '1x60', [qry('up')]: '1x60' }),
      quiet({ [cmd('up')]: '1x60', [qry('up')]: '1x60', [prj('up')]: '1x60' }),
    ],
  },
  {
    name: 'CouponRestarts',
    severity: 'page',
    expr: 'changes(process_start_time_seconds{%(services)s}[10m]) > %(bar)g' % (c.jobs { bar: c.restarts }),
    'for': '0s',
    summary: 'A service keeps restarting',
    description: '{{ $labels.job }} {{ $labels.instance }} started {{ $value }} times in ten minutes.',
    thresholds: ['restarts:0.6:1.6'],
    tests: [
      fires({ [cmd('process_start_time_seconds')]: '1x10 2x10 3x10 4x10' }, '3m'),
      quiet({ [cmd('process_start_time_seconds')]: '1x10 2x10 3x20' }, '3m'),
    ],
  },
  {
    name: 'CouponDescriptorsHigh',
    severity: 'page',
    expr: 'process_open_fds{%(services)s} / process_max_fds{%(services)s} > %(bar)g' % (c.jobs { bar: c.descriptors }),
    'for': '15s',
    summary: 'A service runs out of file descriptors',
    description: '{{ $labels.job }} {{ $labels.instance }} uses {{ $value | humanizePercentage }} of its descriptors.',
    thresholds: ['descriptors'],
    tests: [
      fires({ [cmd('process_open_fds')]: '710x60', [cmd('process_max_fds')]: '1000x60' }),
      quiet({ [cmd('process_open_fds')]: '690x60', [cmd('process_max_fds')]: '1000x60' }),
    ],
  },
  {
    name: 'CouponClientsTurnedAway',
    severity: 'page',
    expr: |||
      sum by (job, reason) (rate(coupon_http_refused_total{%(services)s,reason=~"memory|connections|address|descriptors"}[1m])) > %(bar)g
    ||| % (c.jobs { bar: c.refused }),
    'for': '15s',
    summary: 'A service has no room for its clients',
    description: '{{ $labels.job }} refuses {{ $value | humanize }} a second for lack of {{ $labels.reason }}.',
    thresholds: ['refused'],
    tests: [
      fires({ [cmd('coupon_http_refused_total', 'reason="connections"')]: '0+11x60' }, '2m', '10s'),
      quiet({ [cmd('coupon_http_refused_total', 'reason="connections"')]: '0+9x60' }, '2m', '10s'),
    ],
  },
  {
    name: 'CouponVersionsDiffer',
    severity: 'ticket',
    expr: 'count(count by (version) (coupon_build_info{%(services)s})) > 1' % c.jobs,
    'for': '1h',
    summary: 'Two versions have run side by side for an hour',
    description: '{{ $value }} versions of the services run at the same time: a rollout was left half done.',
    tests: [
      fires({ [cmd('coupon_build_info', 'version="1"')]: '1x70', [qry('coupon_build_info', 'version="2"')]: '1x70' }, '65m', '1m'),
      quiet({ [cmd('coupon_build_info', 'version="1"')]: '1x70', [qry('coupon_build_info', 'version="1"')]: '1x70' }, '65m', '1m'),
    ],
  },

  {
    name: 'CouponHostBusy',
    severity: 'ticket',
    expr: '1 - avg by (instance) (rate(node_cpu_seconds_total{%(host)s,mode="idle"}[1m])) > %(bar)g' % (c.jobs { bar: c.cpu }),
    'for': '2m',
    summary: 'A host has no processor left',
    description: '{{ $labels.instance }} is busy {{ $value | humanizePercentage }} of the time.',
    thresholds: ['cpu'],
    tests: [
      fires({ 'node_cpu_seconds_total{job="node",instance="h1",cpu="0",mode="idle"}': '0+1.4x120' }, '9m'),
      quiet({ 'node_cpu_seconds_total{job="node",instance="h1",cpu="0",mode="idle"}': '0+1.6x120' }, '9m'),
    ],
  },
  {
    name: 'CouponHostMemoryLow',
    severity: 'page',
    expr: '1 - node_memory_MemAvailable_bytes{%(host)s} / node_memory_MemTotal_bytes{%(host)s} > %(bar)g' % (c.jobs { bar: c.memory }),
    'for': '30s',
    summary: 'A host runs out of memory',
    description: '{{ $value | humanizePercentage }} of the memory of {{ $labels.instance }} is in use.',
    thresholds: ['memory:0.95:1.05'],
    tests: [
      fires({ 'node_memory_MemAvailable_bytes{job="node",instance="h1"}': '8x60', 'node_memory_MemTotal_bytes{job="node",instance="h1"}': '100x60' }),
      quiet({ 'node_memory_MemAvailable_bytes{job="node",instance="h1"}': '12x60', 'node_memory_MemTotal_bytes{job="node",instance="h1"}': '100x60' }),
    ],
  },

  // --- Write path and PostgreSQL ---
  {
    name: 'CouponPostgresDown',
    severity: 'page',
    expr: 'pg_up == 0',
    'for': '15s',
    summary: 'PostgreSQL does not answer',
    description: '{{ $labels.instance }} does not answer its exporter.',
    tests: [fires({ 'pg_up{instance="p1"}': '1x30 0x30' }), quiet({ 'pg_up{instance="p1"}': '1x60' })],
  },
  {
    name: 'CouponConnectionsHigh',
    severity: 'page',
    expr: 'sum by (instance) (pg_stat_activity_count) / on (instance) max by (instance) (pg_settings_max_connections) > %g' % c.connections,
    'for': '15s',
    summary: 'PostgreSQL runs out of connections',
    description: '{{ $value | humanizePercentage }} of the connections of {{ $labels.instance }} are in use.',
    thresholds: ['connections'],
    tests: [
      fires({ 'pg_stat_activity_count{instance="p1",state="active"}': '50x60', 'pg_stat_activity_count{instance="p1",state="idle"}': '21x60', 'pg_settings_max_connections{instance="p1"}': '100x60' }),
      quiet({ 'pg_stat_activity_count{instance="p1",state="active"}': '50x60', 'pg_stat_activity_count{instance="p1",state="idle"}': '19x60', 'pg_settings_max_connections{instance="p1"}': '100x60' }),
    ],
  },
  {
    name: 'CouponStoreErrors',
    severity: 'page',
    expr: 'sum by (instance, class) (rate(coupon_store_errors_total{%(command)s,class=~"lost|unknown|busy"}[1m])) > %(bar)g' % (c.jobs { bar: c.store_errors }),
    'for': '15s',
    summary: 'Transactions fail',
    description: '{{ $value | humanize }} transactions a second of {{ $labels.instance }} fail ({{ $labels.class }}).',
    thresholds: ['store_errors'],
    tests: [
      fires({ [cmd('coupon_store_errors_total', 'class="lost"')]: '0+1.1x60' }, '4m', '10s'),
      quiet({ [cmd('coupon_store_errors_total', 'class="lost"')]: '0+0.9x60' }, '4m', '10s'),
    ],
  },
  {
    name: 'CouponStoreBroken',
    severity: 'page',
    expr: 'increase(coupon_store_errors_total{%(command)s,class=~"full|broken"}[5m]) > 0' % c.jobs,
    'for': '0s',
    summary: 'PostgreSQL refuses writes for good',
    description: '{{ $labels.instance }}: the disk of the event store is full, or its schema does not fit ({{ $labels.class }}).',
    tests: [
      fires({ [cmd('coupon_store_errors_total', 'class="full"')]: '0x30 1x30' }),
      quiet({ [cmd('coupon_store_errors_total', 'class="full"')]: '1x60', [cmd('coupon_store_errors_total', 'class="lost"')]: '0+1x60' }),
    ],
  },
  {
    name: 'CouponCommitSlow',
    severity: 'page',
    expr: 'histogram_quantile(0.95, sum by (le) (rate(coupon_commit_duration_seconds_bucket{%(command)s}[1m]))) > %(bar)g' % (c.jobs { bar: c.commit_s }),
    'for': '15s',
    summary: 'Commits are slow',
    description: 'The slowest twentieth of the transactions takes {{ $value | humanizeDuration }} or longer.',
    thresholds: ['commit_s'],
    tests: [
      fires(histogram('coupon_commit_duration_seconds', { '0.1': 0, '0.25': 947, '0.5': 1000, '+Inf': 1000 })),
      quiet(histogram('coupon_commit_duration_seconds', { '0.1': 0, '0.25': 1000, '0.5': 1000, '+Inf': 1000 })),
    ],
  },
  {
    name: 'CouponQueueHigh',
    severity: 'page',
    expr: 'coupon_queue_depth{%(command)s} > %(bar)g' % (c.jobs { bar: c.queue }),
    'for': '15s',
    summary: 'Commands wait in line',
    description: '{{ $value }} commands wait in {{ $labels.instance }}; a slice that is full refuses with `overloaded`.',
    thresholds: ['queue'],
    tests: [fires({ [cmd('coupon_queue_depth')]: '5100x60' }), quiet({ [cmd('coupon_queue_depth')]: '4900x60' })],
  },
  {
    name: 'CouponDiskFilling',
    severity: 'ticket',
    expr: |||
      coupon_disk_used_ratio{%(command)s} >= %(bar)g
      or 1 - node_filesystem_avail_bytes{%(host)s,fstype!~"tmpfs|overlay|squashfs|iso9660|erofs"} / node_filesystem_size_bytes{%(host)s,fstype!~"tmpfs|overlay|squashfs|iso9660|erofs"} >= %(bar)g
    ||| % (c.jobs { bar: c.disk }),
    'for': '15s',
    summary: 'A disk is four fifths full',
    description: '{{ $value | humanizePercentage }} of the disk {{ $labels.mountpoint }} of {{ $labels.instance }} is used. At 90 % no campaigns are created, at 95 % nothing is written.',
    thresholds: ['disk'],
    tests: [
      fires({ [cmd('coupon_disk_used_ratio')]: '0.81x60' }),
      quiet({ [cmd('coupon_disk_used_ratio')]: '0.79x60' }),
      fires({ 'node_filesystem_avail_bytes{job="node",instance="h1",mountpoint="/r",fstype="ext4"}': '190x60', 'node_filesystem_size_bytes{job="node",instance="h1",mountpoint="/r",fstype="ext4"}': '1000x60' }),
      quiet({ 'node_filesystem_avail_bytes{job="node",instance="h1",mountpoint="/r",fstype="ext4"}': '210x60', 'node_filesystem_size_bytes{job="node",instance="h1",mountpoint="/r",fstype="ext4"}': '1000x60' }),
    ],
  },
  {
    name: 'CouponDiskRefuses',
    severity: 'page',
    expr: 'coupon_disk_verdict{%(command)s} >= 2' % c.jobs,
    'for': '0s',
    summary: 'Writes are refused because the disk is nearly full',
    description: '{{ $labels.instance }} refuses {{ if eq $value 2.0 }}new campaigns{{ else }}all writes{{ end }}.',
    tests: [fires({ [cmd('coupon_disk_verdict')]: '2x60' }), quiet({ [cmd('coupon_disk_verdict')]: '1x60' })],
  },
  {
    name: 'CouponCreationsRunaway',
    severity: 'page',
    expr: '60 * sum(rate(coupon_http_requests_total{%(command)s,route="POST /v1/campaigns",code="2xx"}[1m])) > %(bar)g' % (c.jobs { bar: c.creations }),
    'for': '0s',
    summary: 'Campaigns are created by a machine',
    description: '{{ $value | humanize }} campaigns a minute are created.',
    thresholds: ['creations'],
    tests: [
      fires({ [cmd('coupon_http_requests_total', 'route="POST /v1/campaigns",code="2xx"')]: '0+0.46x60' }),
      quiet({ [cmd('coupon_http_requests_total', 'route="POST /v1/campaigns",code="2xx"')]: '0+0.37x60' }),
    ],
  },
  {
    name: 'CouponCreationsUnusual',
    severity: 'ticket',
    expr: |||
      coupon:campaigns_created:rate1h > %(bar)g * quantile_over_time(0.5, coupon:campaigns_created:rate1h[7d] offset 1h)
      and coupon:campaigns_created:rate1h * 3600 > 10
    ||| % { bar: c.creations_factor },
    'for': '5m',
    summary: 'Ten times more campaigns are created than in the week before',
    description: '{{ $value | humanize }} campaigns a second were created in the last hour.',
    thresholds: ['creations_factor'],
    tests: [
      fires({ 'coupon_http_requests_total{job="firstcome-command",instance="i1",route="POST /v1/campaigns",code="2xx"}': '0+1x240 241+11x75' }, '310m', '1m'),
      quiet({ 'coupon_http_requests_total{job="firstcome-command",instance="i1",route="POST /v1/campaigns",code="2xx"}': '0+1x240 241+9x75' }, '310m', '1m'),
    ],
  },
  {
    name: 'CouponQuotaReached',
    severity: 'ticket',
    expr: 'sum(increase(coupon_refusals_total{%(command)s,code="quota-exceeded"}[5m])) > 0' % c.jobs,
    'for': '0s',
    summary: 'A key or the fleet has created its campaigns of the day',
    description: '{{ $value | humanize }} creations were refused in five minutes because a quota is used up.',
    tests: [
      fires({ [cmd('coupon_refusals_total', 'code="quota-exceeded"')]: '0x30 2x30' }),
      quiet({ [cmd('coupon_refusals_total', 'code="quota-exceeded"')]: '2x60', [cmd('coupon_refusals_total', 'code="sold-out"')]: '0+9x60' }),
    ],
  },
  {
    name: 'CouponSweepStopped',
    severity: 'page',
    expr: 'sum(rate(coupon_sweep_passes_total{%(command)s}[2m])) == 0' % c.jobs,
    'for': '1m',
    summary: 'Nothing happens by itself any more',
    description: 'The sweep of no command service runs: tranches, ends and lapsed reservations wait.',
    tests: [
      fires({ [cmd('coupon_sweep_passes_total')]: '7x60' }),
      quiet({ [cmd('coupon_sweep_passes_total')]: '7x60', 'coupon_sweep_passes_total{job="firstcome-command",instance="i2"}': '0+5x60' }),
    ],
  },
  {
    name: 'CouponControlUnread',
    severity: 'page',
    expr: 'rate(coupon_control_errors_total{%(apis)s}[1m]) > 0.1' % c.jobs,
    'for': '1m',
    summary: 'Settings and kill switches are not read',
    description: '{{ $labels.job }} {{ $labels.instance }} goes by the last state it knows; a key that was suspended since may still write there.',
    tests: [
      fires({ [cmd('coupon_control_errors_total')]: '0+1x60' }),
      quiet({ [cmd('coupon_control_errors_total')]: '0x50 1x10' }),
    ],
  },

  // --- Read path ---
  {
    name: 'CouponHitRatioDropped',
    severity: 'page',
    expr: |||
      avg_over_time(coupon:cache_hits:ratio_rate1m[10m] offset 2m) - coupon:cache_hits:ratio_rate1m > %g
      and sum(rate(coupon_cache_lookups_total{%s}[1m])) > 1
    ||| % [c.hit_drop, c.jobs.query],
    'for': '15s',
    summary: 'The memory of the query services answers twenty points less than before',
    description: 'The hit ratio fell by {{ $value | humanizePercentage }} against the ten minutes before: a stampede, or an emptied memory.',
    thresholds: ['hit_drop'],
    tests: [fires(lookups(82, 60), '21m55s'), quiet(lookups(82, 63), '21m55s')],
  },
  {
    name: 'CouponReadsFallBack',
    severity: 'ticket',
    expr: |||
      sum(rate(coupon_read_loads_total{%(query)s,source="postgres"}[1m])) / sum(rate(coupon_reads_total{%(query)s}[1m])) > %(bar)g
      and sum(rate(coupon_reads_total{%(query)s}[1m])) > 1
    ||| % (c.jobs { bar: c.fallbacks }),
    'for': '30s',
    summary: 'PostgreSQL answers what Redis should',
    description: 'For {{ $value | humanizePercentage }} of the reads PostgreSQL is asked.',
    thresholds: ['fallbacks'],
    tests: [
      fires({ [qry('coupon_read_loads_total', 'source="postgres"')]: '0+21x60', [qry('coupon_reads_total', 'source="postgres"')]: '0+100x60' }),
      quiet({ [qry('coupon_read_loads_total', 'source="postgres"')]: '0+19x60', [qry('coupon_reads_total', 'source="postgres"')]: '0+100x60' }),
    ],
  },
  {
    name: 'CouponBreakerOpen',
    severity: 'page',
    expr: 'coupon_read_breaker_open{%(query)s} == 1' % c.jobs,
    'for': '15s',
    summary: 'A query service has given up on a server for now',
    description: '{{ $labels.instance }} does not ask {{ $labels.dependency }}, which failed three times in a row.',
    tests: [
      fires({ [qry('coupon_read_breaker_open', 'dependency="redis"')]: '0x30 1x30' }),
      quiet({ [qry('coupon_read_breaker_open', 'dependency="redis"')]: '0x30 1x1 0x29' }),
    ],
  },
  {
    name: 'CouponReadsKept',
    severity: 'page',
    expr: 'sum(rate(coupon_reads_kept_total{%(query)s}[1m])) > 0' % c.jobs,
    'for': '15s',
    summary: 'Only old copies are served',
    description: 'PostgreSQL does not answer for {{ $value | humanize }} reads a second; they get old copies, from memory or from Redis.',
    tests: [fires({ [qry('coupon_reads_kept_total')]: '0+1x60' }), quiet({ [qry('coupon_reads_kept_total')]: '9x60' })],
  },
  {
    name: 'CouponHintsStopped',
    severity: 'ticket',
    expr: |||
      sum by (instance) (rate(coupon_read_hints_total{%(query)s}[5m])) == 0
      and sum by (instance) (coupon_read_hints_total{%(query)s}) > 0
      and on () sum(rate(coupon_issued_total{%(command)s}[5m])) > 1
    ||| % c.jobs,
    'for': '1m',
    summary: 'A query service receives no hints of changes',
    description: 'Coupons are issued, but {{ $labels.instance }} gets no hints: the bus is cut, and what it serves is as old as `fresh_ms` allows.',
    tests: [
      fires({ [qry('coupon_read_hints_total')]: '4x120', [cmd('coupon_issued_total')]: '0+50x120' }, '9m'),
      // No bus at all is a choice.
      quiet({ [qry('coupon_read_hints_total')]: '0x120', [cmd('coupon_issued_total')]: '0+50x120' }, '9m'),
      quiet({ [qry('coupon_read_hints_total')]: '0+1x120', [cmd('coupon_issued_total')]: '0+50x120' }, '9m'),
    ],
  },

  // --- Projection ---
  {
    name: 'CouponProjectionLags',
    severity: 'page',
    expr: 'max(coupon_projector_lag_seconds{%(projector)s}) > %(bar)g' % (c.jobs { bar: c.lag_s }),
    'for': '15s',
    summary: 'The models are behind the log',
    description: 'The oldest event that is not in the models is {{ $value | humanizeDuration }} old.',
    thresholds: ['lag_s'],
    tests: [fires({ [prj('coupon_projector_lag_seconds')]: '5.5x60' }), quiet({ [prj('coupon_projector_lag_seconds')]: '5x60' })],
  },
  {
    name: 'CouponNoLeader',
    severity: 'page',
    expr: '(sum(coupon_projector_leader{%(projector)s}) or vector(0)) != 1' % c.jobs,
    'for': '15s',
    summary: 'Not exactly one projector leads',
    description: '{{ $value }} projectors lead. With none the models stand still.',
    tests: [
      fires({ [prj('coupon_projector_leader')]: '0x60' }),
      quiet({ [prj('coupon_projector_leader')]: '1x60', 'coupon_projector_leader{job="firstcome-projector",instance="i2"}': '0x60' }),
    ],
  },
  {
    name: 'CouponProjectionStuck',
    severity: 'page',
    expr: 'coupon_projector_stuck_slices{%(projector)s} > 0' % c.jobs,
    'for': '0s',
    summary: 'A slice needs a person',
    description: '{{ $value }} slices hold an event that {{ $labels.instance }} does not know or cannot read.',
    tests: [fires({ [prj('coupon_projector_stuck_slices')]: '1x60' }), quiet({ [prj('coupon_projector_stuck_slices')]: '0x60' })],
  },

  // --- Redis ---
  {
    name: 'CouponRedisErrors',
    severity: 'page',
    expr: |||
      sum by (job, class) (rate(coupon_redis_errors_total{%(query)s}[30s])) > 0
      or sum by (job, class) (rate(coupon_projector_redis_errors_total{%(projector)s}[30s])) > 0
    ||| % c.jobs,
    'for': '30s',
    summary: 'Redis fails',
    description: '{{ $labels.job }} sees {{ $value | humanize }} errors a second of class {{ $labels.class }}.',
    tests: [
      fires(class('0+1x60', '0x60')('io')),
      fires(class('0x60', '0+1x60')('readonly')),
      quiet(class('0x60', '5x60')('io')),
      // One error keeps a rate over 30 s above nothing for 25 s.
      quiet(class('0x53 1x6', '0x60')('io'), '4m55s'),
    ],
  },
  {
    name: 'CouponRedisSlow',
    severity: 'page',
    expr: 'histogram_quantile(0.95, sum by (le) (rate(coupon_read_redis_duration_seconds_bucket{%(query)s}[1m]))) > %(bar)g' % (c.jobs { bar: c.redis_s }),
    'for': '15s',
    summary: 'Redis is slow',
    description: 'The slowest twentieth of the reads in Redis takes {{ $value | humanizeDuration }} or longer; at 50 ms they are given up.',
    thresholds: ['redis_s'],
    tests: [
      fires({ [qry('coupon_read_redis_duration_seconds_bucket', 'le="%s"' % b[0])]: '0+%dx60' % b[1] for b in [['0.01', 0], ['0.025', 947], ['0.05', 1000], ['+Inf', 1000]] }),
      quiet({ [qry('coupon_read_redis_duration_seconds_bucket', 'le="%s"' % b[0])]: '0+%dx60' % b[1] for b in [['0.01', 0], ['0.025', 1000], ['0.05', 1000], ['+Inf', 1000]] }),
    ],
  },
  {
    name: 'CouponRedisOutOfMemory',
    severity: 'page',
    expr: |||
      sum by (job) (increase(coupon_redis_errors_total{%(query)s,class="oom"}[1m])) > 0
      or sum by (job) (increase(coupon_projector_redis_errors_total{%(projector)s,class="oom"}[1m])) > 0
    ||| % c.jobs,
    'for': '0s',
    summary: 'Redis is full and refuses writes',
    description: 'The models stand still at their checkpoint until Redis has memory again; nothing is lost.',
    tests: [fires(class('0x60', '0x57 1x3')('oom')), fires(class('0x57 1x3', '0x60')('oom')), quiet(class('0+1x60', '0+1x60')('io')), quiet(class('7x60', '7x60')('oom'))],
  },
  {
    name: 'CouponRedisCannotPersist',
    severity: 'page',
    expr: |||
      sum by (job) (increase(coupon_redis_errors_total{%(query)s,class="misconf"}[1m])) > 0
      or sum by (job) (increase(coupon_projector_redis_errors_total{%(projector)s,class="misconf"}[1m])) > 0
      or redis_aof_last_write_status{%(redis)s} == 0
      or redis_rdb_last_bgsave_status{%(redis)s} == 0
      or coupon_projector_redis_cannot_persist{%(projector)s} == 1
    ||| % c.jobs,
    'for': '0s',
    summary: 'Redis cannot write to its disk',
    description: 'Redis refuses writes (MISCONF); most often its disk is full.',
    tests: [
      fires(class('0x60', '0x57 1x3')('misconf')),
      fires({ [red('redis_aof_last_write_status')]: '0x60' }),
      fires({ [red('redis_rdb_last_bgsave_status')]: '0x60' }),
      fires({ [prj('coupon_projector_redis_cannot_persist')]: '1x60' }),
      quiet({ [red('redis_aof_last_write_status')]: '1x60', [red('redis_rdb_last_bgsave_status')]: '1x60', [prj('coupon_projector_redis_cannot_persist')]: '0x60' } + class('7x60', '7x60')('misconf')),
    ],
  },
  {
    name: 'CouponRedisMemoryHigh',
    severity: 'ticket',
    expr: |||
      redis_memory_used_bytes{%(redis)s} / (redis_memory_max_bytes{%(redis)s} > 0) > %(bar)g
      or coupon_projector_redis_memory_used_bytes{%(projector)s} / (coupon_projector_redis_memory_limit_bytes{%(projector)s} > 0) > %(bar)g
    ||| % (c.jobs { bar: c.redis_memory }),
    'for': '15s',
    summary: 'Redis fills',
    description: '{{ $value | humanizePercentage }} of `maxmemory` is used, as {{ $labels.job }} {{ $labels.instance }} says.',
    thresholds: ['redis_memory'],
    tests: [
      fires({ [red('redis_memory_used_bytes')]: '81x60', [red('redis_memory_max_bytes')]: '100x60' }),
      quiet({ [red('redis_memory_used_bytes')]: '79x60', [red('redis_memory_max_bytes')]: '100x60' }),
      fires({ [prj('coupon_projector_redis_memory_used_bytes')]: '81x60', [prj('coupon_projector_redis_memory_limit_bytes')]: '100x60' }),
      quiet({ [prj('coupon_projector_redis_memory_used_bytes')]: '79x60', [prj('coupon_projector_redis_memory_limit_bytes')]: '100x60' }),
      quiet({ [prj('coupon_projector_redis_memory_used_bytes')]: '79x60', [prj('coupon_projector_redis_memory_limit_bytes')]: '0x60' }),
    ],
  },
  {
    name: 'CouponRedisUnbounded',
    severity: 'ticket',
    expr: 'redis_memory_max_bytes{%(redis)s} == 0 or increase(redis_evicted_keys_total{%(redis)s}[5m]) > 0' % c.jobs,
    'for': '0s',
    summary: 'Redis is set up against the rules',
    description: '{{ $labels.instance }} has no `maxmemory`, or evicts keys of the models.',
    tests: [
      fires({ [red('redis_memory_max_bytes')]: '0x60' }),
      fires({ [red('redis_evicted_keys_total')]: '0x30 1x30' }),
      quiet({ [red('redis_memory_max_bytes')]: '1x60', [red('redis_evicted_keys_total')]: '4x60' }),
    ],
  },
  {
    name: 'CouponRedisDown',
    severity: 'page',
    expr: 'redis_up{%(redis)s} == 0' % c.jobs,
    'for': '15s',
    summary: 'Redis does not answer',
    description: '{{ $labels.instance }} does not answer its exporter.',
    tests: [fires({ [red('redis_up')]: '1x30 0x30' }), quiet({ [red('redis_up')]: '1x60' })],
  },
  {
    name: 'CouponRedisRoleChanged',
    severity: 'page',
    expr: |||
      count by (instance) (count by (instance, role) (count_over_time(redis_instance_info{%(redis)s}[5m]))) > 1
      or increase(coupon_projector_redis_primary_changes_total{%(projector)s}[5m]) > 0
    ||| % c.jobs,
    'for': '0s',
    summary: 'A Redis server has another role than before',
    description: 'A failover within five minutes: {{ $labels.instance }} was primary and replica, or saw a replica promoted.',
    tests: [
      fires({ [red('redis_instance_info', 'role="slave"')]: '1x30 _x30', [red('redis_instance_info', 'role="master"')]: '_x31 1x30' }),
      fires({ [prj('coupon_projector_redis_primary_changes_total')]: '0x40 1x20' }),
      quiet({ [prj('coupon_projector_redis_primary_changes_total')]: '1x60' }),
      quiet({ [red('redis_instance_info', 'role="master"')]: '1x60', 'redis_instance_info{job="redis",instance="i2",role="slave"}': '1x60' }),
    ],
  },
  {
    name: 'CouponRedisReplicationBroken',
    severity: 'page',
    expr: |||
      redis_master_link_up{%(redis)s} == 0
      or redis_connected_slave_lag_seconds{%(redis)s} > %(bar)g
      or coupon_projector_redis_replica_lag_seconds{%(projector)s} > %(bar)g
    ||| % (c.jobs { bar: c.replica_lag_s }),
    'for': '30s',
    summary: 'A replica of Redis is behind',
    description: 'A failover now would lose what the primary has and its replica has not ({{ $labels.job }} {{ $labels.instance }} says so); the projector makes it anew from the log.',
    thresholds: ['replica_lag_s:0.5:2.5'],
    tests: [
      fires({ [red('redis_master_link_up')]: '0x60' }),
      fires({ [red('redis_connected_slave_lag_seconds', 'slave_ip="r1"')]: '2x60' }),
      fires({ [prj('coupon_projector_redis_replica_lag_seconds')]: '2x60' }),
      quiet({ [prj('coupon_projector_redis_replica_lag_seconds')]: '1x60' }),
      quiet({ [red('redis_master_link_up')]: '1x60', [red('redis_connected_slave_lag_seconds', 'slave_ip="r1"')]: '1x60' }),
    ],
  },

  // --- Operating ---
  {
    name: 'CouponLogLost',
    severity: 'ticket',
    expr: 'sum by (job, instance) (increase(coupon_log_lost_total{%(services)s,reason="unwritable"}[5m])) > 0' % c.jobs,
    'for': '0s',
    summary: 'Log lines are lost',
    description: '{{ $labels.job }} {{ $labels.instance }} could not write {{ $value | humanize }} log lines in five minutes.',
    tests: [
      fires({ [cmd('coupon_log_lost_total', 'reason="unwritable"')]: '0x40 9x20' }),
      quiet({ [cmd('coupon_log_lost_total', 'reason="unwritable"')]: '9x60', [cmd('coupon_log_lost_total', 'reason="repeated"')]: '0+5x60' }),
    ],
  },
  {
    name: 'CouponExporterDown',
    severity: 'ticket',
    expr: 'up{%(exporters)s} == 0' % c.jobs,
    'for': '1m',
    summary: 'An exporter cannot be scraped',
    description: 'What {{ $labels.job }} {{ $labels.instance }} would say of its server is not announced.',
    tests: [fires({ [red('up')]: '1x30 0x30' }), quiet({ [red('up')]: '1x60', [cmd('up')]: '0x60' })],
  },
  {
    name: 'CouponProfileForgotten',
    severity: 'ticket',
    expr: 'max(coupon_settings_profile{%(apis)s}) > 0' % c.jobs,
    'for': '6h',
    summary: 'The profile of an event is still in force',
    description: 'Settings have been those of `spike` or `incident` for six hours.',
    tests: [fires({ [cmd('coupon_settings_profile')]: '1x400' }, '365m', '1m'), quiet({ [cmd('coupon_settings_profile')]: '0x400' }, '365m', '1m')],
  },
  {
    name: 'Watchdog',
    severity: 'watchdog',
    expr: 'vector(1)',
    'for': '0s',
    summary: 'The alarm works',
    description: 'This alert always fires. Whoever receives it raises the alarm when it stays away.',
    tests: [fires({})],
  },
]
