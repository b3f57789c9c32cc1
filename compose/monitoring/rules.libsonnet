// SPDX-License-Identifier: Apache-2.0
// What several alerts and panels ask for, computed once.
function(c) [
  {
    record: 'coupon:errors:ratio_rate' + window,
    expr: |||
      sum by (job) (rate(coupon_http_requests_total{%(apis)s,%(asked)s,code="5xx"}[%(window)s]))
      / sum by (job) (rate(coupon_http_requests_total{%(apis)s,%(asked)s}[%(window)s]))
    ||| % (c.jobs { asked: c.asked, window: window }),
  }
  for window in ['30s', '1m', '2m', '5m', '30m', '1h', '6h', '3d']
] + [
  {
    record: 'coupon:request_seconds:p%d_rate1m' % percent,
    expr: |||
      histogram_quantile(%g, sum by (job, route, le) (rate(coupon_http_request_duration_seconds_bucket{%s,%s}[1m])))
    ||| % [percent / 100, c.jobs.apis, c.timed],
  }
  for percent in [50, 95, 99]
] + [
  {
    record: 'coupon:cache_hits:ratio_rate1m',
    expr: |||
      sum(rate(coupon_cache_lookups_total{%(query)s,verdict=~"hit|early|stale"}[1m]))
      / sum(rate(coupon_cache_lookups_total{%(query)s}[1m]))
    ||| % c.jobs,
  },
  {
    record: 'coupon:campaigns_created:rate1h',
    expr: 'sum(rate(coupon_http_requests_total{%(command)s,route="POST /v1/campaigns",code="2xx"}[1h]))' % c.jobs,
  },
]
