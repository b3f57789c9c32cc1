// SPDX-License-Identifier: Apache-2.0
// As much of Grafana's dashboard model as three dashboards need.
local datasource = { type: 'prometheus', uid: '${datasource}' };
local columns = 24;

{
  // expr, or [expr, legend] pairs.
  series(title, unit, description, targets, width=8):: {
    type: 'timeseries',
    title: title,
    description: description,
    datasource: datasource,
    width:: width,
    fieldConfig: {
      defaults: { unit: unit, min: 0, custom: { fillOpacity: 10, showPoints: 'never', lineWidth: 1 } },
      overrides: [],
    },
    options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
    targets: [
      { refId: std.char(65 + i), datasource: datasource, expr: targets[i][0], legendFormat: targets[i][1] }
      for i in std.range(0, std.length(targets) - 1)
    ],
  },

  // One number, red from `bad` on (or below it, when that is what is bad).
  number(title, unit, description, expr, bad=null, below=false, width=4):: {
    type: 'stat',
    title: title,
    description: description,
    datasource: datasource,
    width:: width,
    fieldConfig: {
      defaults: {
        unit: unit,
        thresholds: {
          mode: 'absolute',
          steps: if bad == null then [{ color: 'blue', value: null }]
          else if below then [{ color: 'red', value: null }, { color: 'green', value: bad }]
          else [{ color: 'green', value: null }, { color: 'red', value: bad }],
        },
      },
      overrides: [],
    },
    options: { reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false }, colorMode: 'background' },
    targets: [{ refId: 'A', datasource: datasource, expr: expr, legendFormat: '__auto' }],
  },

  // rows: [[title, height, panels]]. A row's panels stand side by side and wrap.
  dashboard(uid, title, description, rows, tags=['firstcome']):: {
    local place(state, panel) =
      local wraps = state.x + panel.width > columns;
      local x = if wraps then 0 else state.x;
      local y = if wraps then state.y + state.height else state.y;
      state {
        x: x + panel.width,
        y: y,
        id: state.id + 1,
        panels: state.panels + [panel { id: state.id, gridPos: { x: x, y: y, w: panel.width, h: state.height } }],
      },
    local row(state, it) =
      local head = { type: 'row', title: it[0], collapsed: false, panels: [], id: state.id, gridPos: { x: 0, y: state.y, w: columns, h: 1 } };
      local placed = std.foldl(place, it[2], state { x: 0, y: state.y + 1, height: it[1], id: state.id + 1, panels: state.panels + [head] });
      placed { y: placed.y + it[1] },

    uid: uid,
    title: title,
    description: description,
    tags: tags,
    editable: false,
    refresh: '10s',
    schemaVersion: 38,
    time: { from: 'now-1h', to: 'now' },
    timezone: 'browser',
    graphTooltip: 1,
    links: [{ type: 'dashboards', title: 'Firstcome', tags: tags, asDropdown: true, includeVars: true, keepTime: true }],
    annotations: { list: [{
      name: 'Alerts',
      datasource: datasource,
      enable: true,
      iconColor: 'red',
      expr: 'ALERTS{alertname=~"Coupon.+",alertstate="firing",severity="page"}',
      titleFormat: '{{alertname}}',
      textFormat: '{{job}} {{instance}}',
    }] },
    templating: { list: [{ name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus', refresh: 1 }] },
    panels: std.foldl(row, rows, { x: 0, y: 0, height: 1, id: 1, panels: [] }).panels,
  },
}
