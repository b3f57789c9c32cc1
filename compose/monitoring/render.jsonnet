// SPDX-License-Identifier: Apache-2.0
// All files under rendered/ by their names; tools/monitoring writes them. `only` is one alert whose rule and tests are wanted, `scale` moves thresholds (config).
function(runbook, only='', scale={})
  local config = (import 'config.libsonnet')(runbook, scale);
  local alerts = [
    alert
    for alert in (import 'alerts.libsonnet')(config)
    if only == '' || alert.name == only
  ];
  local dashboards = (import 'dashboards.libsonnet')(config);
  local rules = (import 'rules.libsonnet')(config);
  local rule(alert) = {
    alert: alert.name,
    expr: std.stripChars(alert.expr, ' \n'),
    'for': alert['for'],
    labels: { severity: alert.severity },
    annotations: {
      summary: alert.summary,
      description: alert.description,
      runbook_url: '%s#%s' % [runbook, std.asciiLower(alert.name)],
    },
  };
  local case(alert, test, number) = {
    name: '%s, %s (%d)' % [alert.name, if test.fires then 'fires' else 'is quiet', number],
    interval: test.every,
    input_series: [{ series: name, values: test.series[name] } for name in std.objectFields(test.series)],
    promql_expr_test: [{
      expr: 'count(ALERTS{alertname="%s",alertstate="firing",severity="%s"}) or vector(0)' % [alert.name, alert.severity],
      eval_time: test.at,
      exp_samples: [{ labels: '{}', value: if std.length(alert.tests) > 0 && test.fires then 1 else 0 }],
    }],
  };
  local tests(wanted, step) = {
    rule_files: ['rules.yaml'],
    evaluation_interval: step,
    tests: [
      case(alert, alert.tests[i], i)
      for alert in alerts
      for i in std.range(0, std.length(alert.tests) - 1)
      if wanted(alert.tests[i])
    ],
  };
  local minutes(test) = test.every == '1m';
  {
    'rules.yaml': { groups: [
      { name: 'firstcome-records', interval: '5s', rules: [r { expr: std.stripChars(r.expr, ' \n') } for r in rules] },
      { name: 'firstcome-alerts', interval: '5s', rules: [rule(alert) for alert in alerts] },
    ] },
    // A test that looks at hours looks once a minute.
    'rules_test.yaml': tests(function(test) !minutes(test), '5s'),
    'rules_slow_test.yaml': tests(minutes, '1m'),
    // For the tool: which thresholds there are and whose they are.
    'alerts.json': [
      { name: alert.name, severity: alert.severity, thresholds: if std.objectHas(alert, 'thresholds') then alert.thresholds else [], fires: [test.fires for test in alert.tests] }
      for alert in alerts
    ],
  } + {
    ['dashboards/%s.json' % name]: dashboards[name]
    for name in std.objectFields(dashboards)
    if only == ''
  }
