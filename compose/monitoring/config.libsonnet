// SPDX-License-Identifier: Apache-2.0
// What an installation may want to change: names of jobs, where the runbook is, and every threshold, once.
// `scale` multiplies thresholds by name; the test moves each by a fifth and expects its alert's tests to fail.
function(runbook, scale={}) {
  local at(name, value) = value * (if std.objectHas(scale, name) then scale[name] else 1),

  runbook: runbook,
  // Matchers of the jobs in prometheus.yml.
  jobs: {
    services: 'job=~"firstcome-(command|query|projector)"',
    apis: 'job=~"firstcome-(command|query)"',
    command: 'job="firstcome-command"',
    query: 'job="firstcome-query"',
    projector: 'job="firstcome-projector"',
    redis: 'job="redis"',
    host: 'job="node"',
    edge: 'job="firstcome-edge"',
    exporters: 'job=~"postgres|redis|node|firstcome-edge"',
  },
  // Health checks and scrapes are nobody's requests; a follower of the feed waits up to 20 s on purpose.
  asked: 'route!~"GET /(livez|readyz|metrics)"',
  timed: 'route!~"GET /(livez|readyz|metrics|v1/events)"',

  slo: 0.9995,  // of all requests are not answered 5xx, over 30 days
  burn: {
    fast: at('burn.fast', 50),  // 2 min and 30 s: an event is over in fifteen minutes
    page: at('burn.page', 14.4),  // 1 h and 5 min: 2 % of the budget
    slow: at('burn.slow', 6),  // 6 h and 30 min: 5 % of the budget
    ticket: at('burn.ticket', 1),  // 3 d and 6 h: 10 % of the budget
  },

  // The incidents' figures.
  connections: at('connections', 0.70),  // share of max_connections in use
  latency_s: at('latency_s', 2),  // 95th percentile of a route
  errors: at('errors', 0.05),  // share of 5xx
  requests: at('requests', 200),  // writes per second
  disk: at('disk', 0.80),  // share of a disk in use
  hit_drop: at('hit_drop', 0.20),  // 20 points
  creations: at('creations', 5),  // campaigns a minute; the runaway creator made six
  creations_factor: at('creations_factor', 10),  // times the usual rate

  few: at('few', 0.2),  // requests a second below which one failure says nothing
  cpu: at('cpu', 0.70),  // share of a host's processors; the incident wanted another instance from here on
  memory: at('memory', 0.90),
  redis_s: at('redis_s', 0.025),  // half of the deadline of a read
  lag_s: at('lag_s', 5),  // readers leave models that are older than this
  redis_memory: at('redis_memory', 0.80),
  replica_lag_s: at('replica_lag_s', 1),
  queue: at('queue', 5000),  // half of the default --queue-max
  commit_s: at('commit_s', 0.25),
  store_errors: at('store_errors', 0.1),  // failed transactions a second
  fallbacks: at('fallbacks', 0.20),  // share of reads that PostgreSQL answers
  refused: at('refused', 1),  // connections and requests a second refused for lack of room
  descriptors: at('descriptors', 0.70),
  restarts: at('restarts', 2),  // in ten minutes
}
