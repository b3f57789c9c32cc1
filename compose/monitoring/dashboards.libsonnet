// SPDX-License-Identifier: Apache-2.0
local panels = import 'panels.libsonnet';
local series = panels.series;
local number = panels.number;

function(c)
  local j = c.jobs;
  local rate(metric, matchers, by='') =
    'sum%s (rate(%s{%s}[$__rate_interval]))' % [if by == '' then '' else ' by (' + by + ')', metric, matchers];
  local quantile(q, metric, matchers, by='le') =
    'histogram_quantile(%g, sum by (%s) (rate(%s_bucket{%s}[$__rate_interval])))' % [q, by, metric, matchers];
  local quantiles(metric, matchers) = [[quantile(q, metric, matchers), 'p%g' % (q * 100)] for q in [0.5, 0.95, 0.99]];
  local of(metric, matchers) = '%s{%s}' % [metric, matchers];
  local mean(metric, matchers) = '%s / %s' % [rate(metric + '_sum', matchers), rate(metric + '_count', matchers)];
  local issue = '%s,route="POST /v1/campaigns/:id/coupons"' % j.command;

  {
    'night-of-a-sale': panels.dashboard('firstcome-night', 'Firstcome: the night of a sale', 'For the people on duty while an event runs: whether the promise holds, what would give way first, and what the crowd gets.', [
      ['Does it hold?', 5, [
        number('Alerts that page', 'none', 'How many alerts with severity page are firing.', 'count(ALERTS{alertname=~"Coupon.+",alertstate="firing",severity="page"}) or vector(0)', 1),
        number('Errors', 'percentunit', "Share of answers with a status of 5xx in the last minute; the incident's bar is 5 %.", 'max(coupon:errors:ratio_rate1m)', c.errors),
        number('Issue, p95', 's', 'How long the slowest twentieth of the issues takes.', quantile(0.95, 'coupon_http_request_duration_seconds', issue), c.latency_s),
        number('Lag of the models', 's', 'Age of the oldest event that readers of the models do not see yet.', 'max(%s)' % of('coupon_projector_lag_seconds', j.projector), c.lag_s),
        number('Commands waiting', 'short', 'Commands in line for their committer, all services together.', 'sum(%s)' % of('coupon_queue_depth', j.command), c.queue),
        number('Disk of the event store', 'percentunit', 'Used space. At 90 % no campaigns are created, at 95 % nothing is written.', 'max(%s)' % of('coupon_disk_used_ratio', j.command), c.disk),
      ]],
      ['The crowd', 8, [
        series('Coupons issued', 'ops', 'Coupons issued each second, and commands by outcome.', [[rate('coupon_issued_total', j.command), 'issued'], [rate('coupon_commands_total', j.command, 'outcome'), '{{outcome}}']]),
        series('Refusals', 'reqps', "Why requests are refused: sold-out and already-issued are the crowd's, overloaded and store-unavailable are ours.", [[rate('coupon_refusals_total', j.command, 'code') + ' > 0', '{{code}}'], [rate('coupon_early_refusals_total', j.command), 'refused early, without a transaction']]),
        series('Turned away at the gate', 'reqps', 'Writes that were not let in: rate limits, suspended keys, the disk guard.', [[rate('coupon_gate_refused_total', j.command, 'reason') + ' > 0', '{{reason}}']]),
        series('Latency of issues', 's', "From the arrival of a request's head to a sent answer.", quantiles('coupon_http_request_duration_seconds', issue)),
        series('Requests', 'reqps', 'Answers by class of status, both APIs.', [[rate('coupon_http_requests_total', '%s,%s' % [j.apis, c.asked], 'job, code'), '{{job}} {{code}}']]),
        series('Campaigns created', 'cpm', 'Campaigns a minute. The runaway creator of the incident made six.', [['60 * ' + rate('coupon_http_requests_total', j.command + ',route="POST /v1/campaigns",code="2xx"'), 'created']]),
      ]],
      ['What gives way first', 8, [
        series('Write queue', 'short', 'Commands waiting in each command service, and requests waiting in their connections for room in a full queue.', [[of('coupon_queue_depth', j.command), '{{instance}}'], [of('coupon_http_waiting_for_room', j.command), 'for room {{instance}}']]),
        series('Hit ratio of the query services', 'percentunit', 'Share of reads that memory answers; a fall of twenty points is a stampede.', [['coupon:cache_hits:ratio_rate1m', 'memory']]),
        series('Where reads come from', 'reqps', 'Reads by what answered them, and those that got an old copy because nothing behind answered.', [[rate('coupon_reads_total', j.query, 'source'), '{{source}}'], [rate('coupon_reads_kept_total', j.query), 'kept: nothing behind answers']]),
        series('PostgreSQL connections', 'percentunit', 'Share of max_connections in use; the bar is 70 %.', [['sum by (instance) (pg_stat_activity_count) / on (instance) max by (instance) (pg_settings_max_connections)', '{{instance}}']]),
        series('Redis memory', 'percentunit', 'Share of maxmemory in use.', [['%s / (%s > 0)' % [of('redis_memory_used_bytes', j.redis), of('redis_memory_max_bytes', j.redis)], '{{instance}}']]),
        series('Redis errors', 'ops', 'What Redis does not do as asked, by class, as seen by the query services and the projector.', [[rate('coupon_redis_errors_total', j.query, 'class') + ' > 0', 'query: {{class}}'], [rate('coupon_projector_redis_errors_total', j.projector, 'class') + ' > 0', 'projector: {{class}}']]),
      ]],
      ['Steering', 5, [
        number('Profile', 'none', '0 normal, 1 spike, 2 incident.', 'max(%s)' % of('coupon_settings_profile', j.apis), width=6),
        number('Suspended keys', 'none', 'API keys that the kill switch holds.', 'max(%s)' % of('coupon_issuers_suspended', j.apis), width=6),
        number('Campaigns kept warm', 'none', 'Campaigns that open soon and are in memory before anybody asks.', 'sum(%s)' % of('coupon_cache_warm', j.query), width=6),
        number('Projectors that lead', 'none', 'It should be one.', 'sum(%s) or vector(0)' % of('coupon_projector_leader', j.projector), 1, true, width=6),
      ]],
    ]),

    services: panels.dashboard('firstcome-services', 'Firstcome: services', 'Rate, errors and duration of each route; what each process uses.', [
      ['Rate, errors, duration', 8, [
        series('Rate by route', 'reqps', 'Answers each second.', [[rate('coupon_http_requests_total', '%s,%s' % [j.apis, c.asked], 'job, route') + ' > 0', '{{job}} {{route}}']], 12),
        series('Errors by route', 'reqps', 'Answers with a status of 5xx each second.', [[rate('coupon_http_requests_total', j.services + ',code="5xx"', 'job, route') + ' > 0', '{{job}} {{route}}']], 12),
        series('p95 by route', 's', 'How long the slowest twentieth takes. A follower of the feed waits up to 20 s on purpose and is left out.', [['coupon:request_seconds:p95_rate1m', '{{job}} {{route}}']], 12),
        series('p50 and p99 by route', 's', 'The middle, and the slowest hundredth.', [['coupon:request_seconds:p50_rate1m', 'p50 {{route}}'], ['coupon:request_seconds:p99_rate1m', 'p99 {{route}}']], 12),
        series('In flight', 'short', 'Requests being worked on.', [[of('coupon_http_in_flight', j.services), '{{job}} {{instance}}']]),
        series('Budget spent', 'percentunit', 'Share of errors in an hour and in three days; the promise allows 0.05 %.', [['coupon:errors:ratio_rate1h', '{{job}} 1 h'], ['coupon:errors:ratio_rate3d', '{{job}} 3 d']]),
        series('Answers after the deadline', 'ops', 'Stays at nothing, however slow the store is.', [[rate('coupon_late_answers_total', j.command, 'instance'), '{{instance}}']]),
      ]],
      ['Clients', 8, [
        series('Connections', 'short', 'Open client connections, and how many there may be.', [[of('coupon_http_connections', j.services), '{{job}} {{instance}}'], [of('coupon_http_connections_limit', j.services), 'limit {{job}} {{instance}}']]),
        series('Memory held by HTTP', 'percentunit', 'Share of --http-bytes-max.', [['%s / %s' % [of('coupon_http_held_bytes', j.services), of('coupon_http_held_limit_bytes', j.services)], '{{job}} {{instance}}']]),
        series('Refused requests by code', 'reqps', 'After their key was accepted, by the code of the problem, both APIs.', [[rate('coupon_refusals_total', j.apis, 'job, code') + ' > 0', '{{job}} {{code}}']]),
        series('Refused before a handler', 'reqps', 'By reason.', [[rate('coupon_http_refused_total', j.services, 'job, reason') + ' > 0', '{{job}} {{reason}}']]),
      ]],
      ['Write path', 8, [
        series('Commit', 's', 'One transaction, from lock to COMMIT.', quantiles('coupon_commit_duration_seconds', j.command)),
        series('Wait before the transaction', 's', 'From the arrival of the first command of a batch to the beginning of its transaction.', quantiles('coupon_queue_wait_seconds', j.command)),
        series('Fullest queue', 'percentunit', 'Share of its limit that waits for the committer which most wait for; a full one refuses.', [['%s / %s' % [of('coupon_queue_fullest_depth', j.command), of('coupon_queue_limit', j.command)], '{{instance}}']]),
        series('Busy committers', 'short', 'How many of sixteen are in a transaction, on average.', [[rate('coupon_commit_duration_seconds_sum', j.command, 'instance'), '{{instance}}']]),
        series('Commands in a transaction', 'short', 'Near one when idle, grows with load.', [[mean('coupon_batch_commands', j.command), 'mean'], [quantile(0.95, 'coupon_batch_commands', j.command), 'p95']]),
        series('Failed transactions', 'ops', 'By class.', [[rate('coupon_store_errors_total', j.command, 'class') + ' > 0', '{{class}}']]),
        series('The sweep', 'ops', 'What happens by itself: events, passes over all slices, things set aside.', [[rate('coupon_swept_total', j.command), 'events'], [rate('coupon_sweep_passes_total', j.command), 'passes'], [rate('coupon_sweep_set_aside_total', j.command), 'set aside']]),
        series('Campaigns known to refuse everybody', 'short', 'Refused without a transaction.', [[of('coupon_early_campaigns', j.command), '{{instance}}']]),
        series('Memory of early refusals', 'bytes', 'Of who holds coupons of these campaigns, and what there may be.', [[of('coupon_early_bytes', j.command), 'used {{instance}}'], [of('coupon_early_limit_bytes', j.command), 'limit {{instance}}']]),
        series('Settings not read', 'ops', 'Readings of settings and kill switches that failed.', [[rate('coupon_control_errors_total', j.apis, 'job'), '{{job}}']]),
        series('Age of the settings', 's', 'Since settings and kill switches were last read; what was decided since holds nowhere yet.', [[of('coupon_control_age_seconds', j.apis), '{{job}} {{instance}}']]),
      ]],
      ['Read path', 8, [
        series('Look-ups in memory', 'ops', 'By verdict.', [[rate('coupon_cache_lookups_total', j.query, 'verdict'), '{{verdict}}']]),
        series('Loads', 'ops', "What memory fetched from behind, behind readers' backs, and the reads that waited for another one's load.", [[rate('coupon_read_loads_total', j.query, 'source'), 'from {{source}}'], [rate('coupon_cache_refreshes_total', j.query), "behind readers' backs"], [rate('coupon_reads_collapsed_total', j.query), "waited for another's"]]),
        series('Why Redis could not answer', 'reqps', 'By reason.', [[rate('coupon_read_fallbacks_total', j.query, 'reason') + ' > 0', '{{reason}}']]),
        series('Memory of answers', 'bytes', 'What the kept answers take, and may take.', [[of('coupon_cache_bytes', j.query), '{{instance}}'], [of('coupon_cache_limit_bytes', j.query), 'limit {{instance}}']]),
        series('Degraded', 'short', '0: Redis and PostgreSQL answer; 1: one of them; 2: only memory.', [[of('coupon_read_degraded', j.query), '{{instance}}']]),
        series('Busy readers', 'percentunit', 'Share of the threads that work reads off, by what they read from.', [['%s / %s' % [of('coupon_read_workers_busy', j.query), of('coupon_read_workers', j.query)], '{{stage}} {{instance}}']]),
        series('Kept answers', 'short', 'How many there are, and how many have to go for others each second.', [[of('coupon_cache_entries', j.query), 'kept {{instance}}'], [rate('coupon_cache_evictions_total', j.query, 'instance'), 'gone a second {{instance}}']]),
        series('Reads in line', 'short', "Waiting for Redis and PostgreSQL (and how many may), for another one's load, for events.", [[of('coupon_read_queue_length', j.query), '{{stage}} {{instance}}'], [of('coupon_read_queue_limit', j.query), 'limit {{instance}}'], [of('coupon_reads_waiting', j.query), "another's load {{instance}}"], [of('coupon_feed_followers', j.query), 'events {{instance}}'], [of('coupon_exports_running', j.query), 'CSV {{instance}}']]),
        series('Refused reads', 'reqps', '503 by reason, and questions that took PostgreSQL too long.', [[rate('coupon_reads_refused_total', j.query, 'reason'), '{{reason}}'], [rate('coupon_read_store_refusals_total', j.query), 'took too long'], [rate('coupon_exports_total', j.query, 'end'), 'CSV, {{end}}']]),
        series('304 and tokens', 'ops', 'Answers that were not modified, and waits for a Consistency-Token.', [[rate('coupon_reads_not_modified_total', j.query), 'not modified'], [rate('coupon_read_token_waits_total', j.query), 'waits for a token']]),
        series('What is hot', 'percentunit', 'Share of the most wanted targets in all reads; /v1/status says which they are.', [[of('coupon_read_hot_ratio', j.query), 'rank {{rank}} {{instance}}']]),
      ]],
      ['Processes', 8, [
        series('Processor', 'short', 'Cores in use.', [['rate(%s[$__rate_interval])' % of('process_cpu_seconds_total', j.services), '{{job}} {{instance}}']]),
        series('Processor by thread', 'short', 'Cores in use by the threads of one name; an event loop (http-loop) near 1 is full.', [[rate('coupon_thread_cpu_seconds_total', j.services, 'job, thread') + ' > 0', '{{job}} {{thread}}']]),
        series('Log lines', 'ops', 'Written by level, and lost because they repeat or cannot be written.', [[rate('coupon_log_lines_total', j.services, 'job, level') + ' > 0', '{{job}} {{level}}'], [rate('coupon_log_lost_total', j.services, 'job, reason') + ' > 0', '{{job}} lost, {{reason}}']]),
        series('Spans', 'ops', 'Taken by the collector of traces, and dropped, where --trace-url is set.', [[rate('coupon_trace_spans_total', j.services, 'job'), '{{job}} taken'], [rate('coupon_trace_dropped_total', j.services, 'job, reason') + ' > 0', '{{job}} dropped, {{reason}}']]),
        series('Log level', 'short', 'Least level that is written: 1 debug, 2 info, 3 warn, 4 error.', [[of('coupon_log_level', j.services), '{{job}} {{instance}}']]),
        series('Memory', 'bytes', 'Resident.', [[of('process_resident_memory_bytes', j.services), '{{job}} {{instance}}']]),
        series('Descriptors', 'percentunit', 'Share of the limit in use.', [['%s / %s' % [of('process_open_fds', j.services), of('process_max_fds', j.services)], '{{job}} {{instance}}']]),
        series('Versions', 'short', 'How many instances run which version.', [['count by (job, version) (%s)' % of('coupon_build_info', j.services), '{{job}} {{version}}']]),
      ]],
    ]),

    stores: panels.dashboard('firstcome-stores', 'Firstcome: stores', 'PostgreSQL, Redis and the projection between them: how busy, how full, how late.', [
      ['Projection', 8, [
        series('Lag in seconds', 's', 'Age of the oldest event that is not in the models.', [[of('coupon_projector_lag_seconds', j.projector), '{{instance}}']]),
        series('Lag in events', 'short', 'Events in the log that are not in the models.', [[of('coupon_projector_lag_events', j.projector), '{{instance}}']]),
        series('Lag by slice', 'short', 'Events of each slice that are not in the models.', [[of('coupon_projector_slice_lag_events', j.projector) + ' > 0', 'slice {{slice}}']]),
        series('Age at arrival', 's', "How old a batch's oldest event is when it is in the models.", quantiles('coupon_projector_apply_age_seconds', j.projector)),
        series('Events and batches', 'ops', 'Large batches mean catching up.', [[rate('coupon_projector_events_total', j.projector), 'events'], [rate('coupon_projector_batches_total', j.projector), 'batches']]),
        series('Leaders and stuck slices', 'short', 'One projector leads; a stuck slice needs a person.', [['sum(%s)' % of('coupon_projector_leader', j.projector), 'leaders'], ['sum(%s)' % of('coupon_projector_stuck_slices', j.projector), 'stuck slices']]),
        series('Made anew', 'ops', 'Slices made anew, times Redis was elsewhere, campaigns announced, logs replaced.', [[rate('coupon_projector_restarts_total', j.projector), 'slices made anew'], [rate('coupon_projector_refused_total', j.projector, 'reason'), 'refused: {{reason}}'], [rate('coupon_projector_prewarmed_total', j.projector), 'announced'], [rate('coupon_read_logs_replaced_total', j.query), 'log replaced']]),
      ]],
      ['PostgreSQL', 8, [
        series('PostgreSQL and Redis answer', 'short', '1 while a server answers its exporter.', [['pg_up', 'PostgreSQL {{instance}}'], [of('redis_up', j.redis), 'Redis {{instance}}']]),
        series('Connections by state', 'short', 'Of the database server.', [['sum by (instance, state) (pg_stat_activity_count)', '{{instance}} {{state}}']]),
        series('Commit', 's', 'One transaction of a command service.', quantiles('coupon_commit_duration_seconds', j.command)),
        series('One read', 's', 'One read of a query service in PostgreSQL.', quantiles('coupon_read_store_duration_seconds', j.query)),
        series('Errors of reads', 'ops', 'Reads that were lost, late or refused.', [[rate('coupon_read_store_errors_total', j.query), 'errors']]),
        series('Disk of the event store', 'percentunit', 'Used space.', [[of('coupon_disk_used_ratio', j.command), '{{instance}}']]),
        series('Room on the disk of the event store', 'bytes', 'What may still be written.', [[of('coupon_disk_available_bytes', j.command), '{{instance}}']]),
        series('Connected committers', 'short', 'Of sixteen, one for each slice; a slice without its committer cannot be written to.', [[of('coupon_store_connections', j.command), '{{instance}}']]),
        series('Verdict of the disk guard', 'short', '0 fine, 1 warn, 2 no new campaigns, 3 no writes.', [[of('coupon_disk_verdict', j.command), '{{instance}}']]),
      ]],
      ['Redis', 8, [
        series('One batch of reads', 's', 'In Redis, connecting included.', quantiles('coupon_read_redis_duration_seconds', j.query)),
        series('Reads in a batch', 'short', 'That travelled together to Redis.', [[mean('coupon_read_redis_batch', j.query), 'mean'], [quantile(0.95, 'coupon_read_redis_batch', j.query), 'p95']]),
        series('Breakers', 'short', '1 while a dependency is not asked.', [[of('coupon_read_breaker_open', j.query), '{{dependency}} {{instance}}']]),
        series('Memory', 'bytes', 'In use, and the most there may be.', [[of('redis_memory_used_bytes', j.redis), 'used {{instance}}'], [of('redis_memory_max_bytes', j.redis), 'maxmemory {{instance}}']]),
        series('Persistence', 'short', '1 while the last write of the append-only file and the last snapshot succeeded.', [[of('redis_aof_last_write_status', j.redis), 'append-only file {{instance}}'], [of('redis_rdb_last_bgsave_status', j.redis), 'snapshot {{instance}}']]),
        series('Replication', 's', 'How far replicas are behind; the roles of the servers are in redis_instance_info.', [[of('redis_connected_slave_lag_seconds', j.redis), '{{instance}} {{slave_ip}}']]),
        series('Roles', 'short', 'How many servers have which role.', [['count by (role) (%s)' % of('redis_instance_info', j.redis), '{{role}}']]),
        series('Evicted keys', 'ops', 'Stays at nothing: the models are not a cache.', [[rate('redis_evicted_keys_total', j.redis, 'instance'), '{{instance}}']]),
        series('Hints of changes', 'ops', 'Hints that are sent, and that query services receive from the projectors; received ones that stand still while coupons are issued mean that the bus is cut.', [[rate('coupon_read_hints_total', j.query, 'instance'), 'received {{instance}}'], [rate('coupon_bus_sent_total', j.services, 'job'), 'sent by {{job}}']]),
        series('Memory, as the projector sees it', 'bytes', 'In use, and the most there may be, of the primary; without an exporter too.', [[of('coupon_projector_redis_memory_used_bytes', j.projector) + ' > 0', 'used'], [of('coupon_projector_redis_memory_limit_bytes', j.projector) + ' > 0', 'maxmemory']]),
        series('Replicas, as the projector sees them', 'short', 'How many are connected, for how many seconds the slowest has been silent, whether the primary cannot persist, promotions a second, and servers of a cluster that do not answer.', [[of('coupon_projector_redis_replicas', j.projector), 'replicas'], [of('coupon_projector_redis_replica_lag_seconds', j.projector), 'seconds silent'], [of('coupon_projector_redis_cannot_persist', j.projector), 'cannot persist'], [rate('coupon_projector_redis_primary_changes_total', j.projector), 'promotions'], [of('coupon_projector_redis_servers_away', j.projector), 'servers away']]),
      ]],
      ['Edge', 8, [
        series('Servers behind the edge', 'short', 'How many of each kind are ready, as the edge sees them; without an edge there is nothing here.', [[of('haproxy_backend_active_servers', j.edge), '{{proxy}}']]),
        series('Answers through the edge', 'reqps', 'By class of status.', [[rate('haproxy_backend_http_responses_total', j.edge, 'proxy, code') + ' > 0', '{{proxy}} {{code}}']]),
        series('Retries by the edge', 'ops', 'Requests that another server was asked for, and those that failed all the same.', [[rate('haproxy_backend_retry_warnings_total', j.edge, 'proxy'), '{{proxy}} tried again'], [rate('haproxy_backend_connection_errors_total', j.edge, 'proxy'), '{{proxy}} no connection']]),
      ]],
      ['Hosts', 8, [
        series('Used space', 'percentunit', "Of each file system, by the host's exporter.", [['1 - %s / %s' % [of('node_filesystem_avail_bytes', j.host + ',fstype!~"tmpfs|overlay|squashfs|iso9660|erofs"'), of('node_filesystem_size_bytes', j.host + ',fstype!~"tmpfs|overlay|squashfs|iso9660|erofs"')], '{{instance}} {{mountpoint}}']]),
        series('Processor', 'percentunit', 'Share of the time that the processors of a host are busy.', [['1 - avg by (instance) (rate(node_cpu_seconds_total{%s,mode="idle"}[$__rate_interval]))' % j.host, '{{instance}}']]),
        series('Memory of hosts', 'percentunit', 'Share in use.', [['1 - %s / %s' % [of('node_memory_MemAvailable_bytes', j.host), of('node_memory_MemTotal_bytes', j.host)], '{{instance}}']]),
      ]],
    ]),
  }
