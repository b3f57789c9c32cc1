// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { bottleneckOf } from "../core/bottleneck.js";
import { FORGET_MS, noteReading, statusOf } from "../core/fleet.js";
import { groupOf, groupRates, parseIssuing, parseProcess, parseRefusals, ratesOf, refusalRates } from "../core/metrics.js";

const metrics = (soldOut, overloaded) => `# HELP coupon_refusals_total Requests refused
# TYPE coupon_refusals_total counter
coupon_refusals_total{code="sold-out"} ${soldOut}
coupon_refusals_total{code="overloaded"} ${overloaded}
coupon_refusals_total{code="missing-field"} 0
coupon_commands_total{outcome="refused"} 99
`;

test("refusals are counted by code, and what the rules refuse is apart from our fault", () => {
  assert.deepEqual(parseRefusals(metrics(10, 2)), { "sold-out": 10, overloaded: 2, "missing-field": 0 });
  assert.equal(parseRefusals("coupon_other 1\n"), null, "another thing than none refused");
  const rows = refusalRates({ at: 1000, counts: parseRefusals(metrics(10, 2)) }, { at: 3000, counts: parseRefusals(metrics(110, 3)) });
  assert.deepEqual(rows, [
    { code: "sold-out", group: "rules", perSecond: 50 },
    { code: "overloaded", group: "ours", perSecond: 0.5 },
  ]);
  assert.deepEqual(groupRates(rows), { rules: 50, ours: 0.5, callers: 0 });
});

test("how long issuing takes, and how many commands a batch has, between two readings", () => {
  const text = (fast, slow, sum, count) => `coupon_http_request_duration_seconds_bucket{route="POST /v1/campaigns/:id/coupons",le="0.005"} ${fast}
coupon_http_request_duration_seconds_bucket{route="POST /v1/campaigns/:id/coupons",le="0.1"} ${fast + slow}
coupon_http_request_duration_seconds_bucket{route="POST /v1/campaigns/:id/coupons",le="+Inf"} ${fast + slow}
coupon_http_request_duration_seconds_bucket{route="GET /v1/status",le="+Inf"} 7
coupon_batch_commands_sum ${sum}
coupon_batch_commands_count ${count}
`;
  const reading = (at, ...of) => ({ id: "a", at, counts: {}, issuing: parseIssuing(of.length ? text(...of) : "") });
  const between = (before, now) => (({ p95Ms, perBatch }) => ({ p95Ms, perBatch }))(ratesOf([{ before, now }]));
  const before = reading(1000, 1000, 0, 1000, 10);
  assert.deepEqual(between(before, reading(3000, 1096, 4, 1100, 12)), { p95Ms: 5, perBatch: 50 });
  assert.deepEqual(between(before, reading(3000, 1090, 10, 1100, 12)), { p95Ms: 100, perBatch: 50 });
  assert.deepEqual(between(before, { ...before, at: 3000 }), { p95Ms: null, perBatch: null }, "nothing was issued");
  assert.deepEqual(between(before, reading(3000, 5, 0, 5, 5)), { p95Ms: null, perBatch: null }, "another process");
  assert.deepEqual(between(undefined, before), { p95Ms: null, perBatch: null });
  assert.deepEqual(between(reading(1000), reading(3000)), { p95Ms: null, perBatch: null });
});

test("two command services behind one address are added up, each read against itself", () => {
  const issuing = (fast, slow) => ({ buckets: [[0.005, fast], [0.1, fast + slow], [Infinity, fast + slow]], sum: fast + slow, count: 1 + (fast + slow) / 50 });
  const reading = (id, at, soldOut, fast, slow) => ({ id, at, counts: { "sold-out": soldOut, overloaded: 0 }, issuing: issuing(fast, slow) });
  let fleet = noteReading([], reading("a", 1000, 9000, 0, 0));
  assert.deepEqual(ratesOf(fleet), { rows: null, p95Ms: null, perBatch: null, processes: 1 });
  fleet = noteReading(fleet, reading("b", 3000, 10, 0, 0)); // less than the other one's, and no step back
  assert.equal(ratesOf(fleet).rows, null);
  fleet = noteReading(fleet, reading("a", 5000, 9040, 100, 0));
  fleet = noteReading(fleet, reading("b", 7000, 130, 80, 20));
  assert.deepEqual(ratesOf(fleet), { rows: [{ code: "sold-out", group: "rules", perSecond: 40 }], p95Ms: 100, perBatch: 50, processes: 2 });
  fleet = noteReading(fleet, reading("b", 5001 + FORGET_MS, 140, 80, 20));
  assert.equal(ratesOf(fleet).processes, 1, "the other one has not answered for long");
  assert.equal(parseProcess("x 1\nprocess_start_time_seconds 1796041354.31\n"), "1796041354.31");
  assert.equal(parseProcess(""), null);
});

test("the status of a fleet is the sum of what waits, and the worst of what stands in the way", () => {
  const is = (instance, waiting, wait, more = {}) => ({ id: instance, at: waiting, is: { instance, version: "2", since: "x", profile: "normal", disk: "ok", bottleneck: "none", slices: [slice(0, { waiting, predicted_wait_ms: wait })], ...more } });
  let fleet = noteReading([], is("h:2", 3, 40, { bottleneck: "queue", disk: "no writes" }));
  fleet = noteReading(fleet, is("h:1", 4, 20));
  const all = statusOf(fleet);
  assert.deepEqual(all.slices, [{ slice: 0, waiting: 7, waiting_max: 200, predicted_wait_ms: 40, store_available: true }]);
  assert.deepEqual([all.bottleneck, all.disk, all.instances.map((one) => one.instance)], ["queue", "no writes", ["h:1", "h:2"]]);
  fleet = noteReading(fleet, is("h:2", 5, 0));
  assert.deepEqual([statusOf(fleet).slices[0].waiting, statusOf(fleet).bottleneck], [9, "none"], "the last word of each");
});

test("two processes have no difference", () => {
  assert.equal(refusalRates({ at: 1, counts: { "sold-out": 10 } }, { at: 2, counts: { "sold-out": 3 } }), null);
  assert.equal(refusalRates({ at: 1, counts: null }, { at: 2, counts: {} }), null);
  assert.equal(refusalRates({ at: 2, counts: {} }, { at: 2, counts: {} }), null);
  assert.deepEqual(groupRates(null), { rules: 0, ours: 0, callers: 0 });
});

// A new problem must be put where it belongs: what may be repeated with an answer of 5xx is our fault.
test("each problem of the services is in the right group", () => {
  const text = ["../../common/http/problem.h", "../../events/problems.h"].map((name) => readFileSync(new URL(name, import.meta.url), "utf8")).join("\n");
  const problems = [...text.matchAll(/X\((\w+),\s*"([a-z0-9-]+)",\s*(\d+),\s*(true|false),/g)].map(([, , code, status]) => ({ code, status: Number(status) }));
  assert.ok(problems.length > 50);
  for (const { code, status } of problems) {
    const group = groupOf(code);
    if (status >= 500 && ![501, 505].includes(status)) assert.equal(group, "ours", code);
    else if (group === "ours") assert.ok(["in-flight", "request-timeout"].includes(code), code);
  }
  const codes = new Set(problems.map((one) => one.code));
  for (const code of ["sold-out", "already-issued", "rate-limited", "issuer-suspended", "currency-mismatch", "no-discount"]) assert.ok(codes.has(code) && groupOf(code) === "rules", code);
});

const slice = (n, more = {}) => ({ slice: n, waiting: 0, waiting_max: 100, predicted_wait_ms: 1, store_available: true, ...more });
const write = (more = {}) => ({ value: { bottleneck: "none", disk: "ok", profile: "normal", slices: [slice(0), slice(1)], ...more } });
const read = (more = {}) => ({ value: { mode: "normal", bottleneck: "none", slices: [{ slice: 0, log: 5, models: 5, lag_events: 0 }], ...more } });
const away = { failure: new Error("no answer") };

test("one sentence, about what has to be mended first", () => {
  const key = (state) => bottleneckOf(state).key;
  assert.equal(key({ write: write(), read: read() }), "none");
  assert.equal(key({}), "unknown");
  assert.equal(key({ write: away, read: away }), "nothing");
  assert.equal(key({ write: away, read: read() }), "write-away");
  assert.equal(key({ write: write(), read: away }), "read-away");
  assert.equal(key({ write: write({ bottleneck: "disk", disk: "no writes" }), read: away }), "disk", "selling comes before reading");
  assert.equal(key({ write: write(), read: read({ mode: "without-redis" }) }), "mode.without-redis");
  assert.equal(key({ write: write(), read: read({ mode: "without-redis" }), projector: away }), "projector-away", "which is why its models are not used");
  assert.equal(key({ write: write({ profile: "incident" }), read: read() }), "incident");
  assert.equal(key({ write: write({ disk: "nearly full" }), read: read() }), "disk-nearly");
  assert.deepEqual(bottleneckOf({ write: write(), read: read({ bottleneck: "followers" }) }), { key: "said", level: "warn", said: "followers" });
});

test("the sentence has the figures of the worst slice", () => {
  const queue = write({ bottleneck: "queue", slices: [slice(0), slice(3, { waiting: 90, predicted_wait_ms: 800 })] });
  assert.deepEqual(bottleneckOf({ write: queue, read: read() }), { key: "queue", level: "bad", slice: 3, waiting: 90, waitMs: 800 });
  const store = write({ bottleneck: "store", slices: [slice(0, { store_available: false }), slice(1)] });
  assert.deepEqual(bottleneckOf({ write: store, read: read() }), { key: "store", level: "bad", slices: 1 });
  const lag = read({ slices: [{ slice: 0, lag_events: null }, { slice: 7, lag_events: 12_000 }] });
  assert.deepEqual(bottleneckOf({ write: write(), read: lag }), { key: "lag", level: "warn", slice: 7, lag: 12_000 });
});
