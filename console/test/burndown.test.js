// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { addPoint, heldSteps, issueRate, marksOf, nextRelease, pointOf, sampleTimes, soldOutIn, standing, windowOf } from "../core/burndown.js";

const T = Date.parse("2026-11-30T11:00:00Z");
const point = (at, issued, released = 100, quantity = 100) => ({ at, issued, released, quantity, status: "active" });

test("everybody asks for the same instants of the past", () => {
  const one = sampleTimes({ from: T + 123, to: T + 3_600_000 });
  const two = sampleTimes({ from: T + 4567, to: T + 3_601_500 });
  assert.ok(one.length > 20 && one.length <= 40);
  assert.deepEqual(two.slice(0, one.length), one);
  assert.ok(one.every((at, n) => n === 0 || at - one[n - 1] === one[1] - one[0]));
});

test("no instant is before the campaign or in the future, and there are never more than asked for", () => {
  for (const long of [1, 999, 61_000, 86_400_000, 400 * 86_400_000, 40_000 * 86_400_000]) {
    const times = sampleTimes({ from: T, to: T + long, most: 30 });
    assert.ok(times.length <= 30);
    assert.ok(times.every((at) => at > T && at < T + long));
  }
  assert.deepEqual(sampleTimes({ from: T, to: T }), []);
  assert.deepEqual(sampleTimes({ from: NaN, to: T }), []);
});

test("the chart begins where selling began", () => {
  const campaign = { created_at: new Date(T - 86_400_000).toISOString(), starts_at: new Date(T).toISOString() };
  assert.equal(windowOf(campaign, T + 1000, "all").from, T);
  assert.equal(windowOf(campaign, T - 1000, "all").from, T - 1000, "not opened yet");
  assert.equal(windowOf(campaign, T + 7_200_000, 3_600_000).from, T + 3_600_000);
  assert.equal(windowOf({ ...campaign, starts_at: null }, T, 90_000_000).from, T - 86_400_000);
});

test("points stay in order, one for an instant, and bounded", () => {
  let points = [];
  for (const at of [3, 1, 2, 2]) points = addPoint(points, point(at, at));
  points = addPoint(points, point(2, 9));
  assert.deepEqual(points.map((one) => [one.at, one.issued]), [[1, 1], [2, 9], [3, 3]]);
  for (let at = 4; at < 500; at++) points = addPoint(points, point(at, at), 100);
  assert.ok(points.length <= 100);
  assert.equal(points[0].at, 1);
  assert.equal(points.at(-1).at, 499);
  assert.ok(points.every((one, n) => n === 0 || one.at > points[n - 1].at));
});

test("the rate is of what was issued, over the last seconds that are known", () => {
  assert.equal(issueRate([], 10_000), null);
  assert.equal(issueRate([point(T, 5)], 10_000), null);
  assert.equal(issueRate([point(T, 0), point(T + 20_000, 40), point(T + 30_000, 140)], 10_000), 10);
  assert.equal(issueRate([point(T, 7), point(T + 1000, 7)], 10_000), 0);
});

test("when it will be sold out", () => {
  assert.equal(soldOutIn(point(T, 90), 5), 2000);
  assert.equal(soldOutIn(point(T, 100), 5), 0);
  assert.equal(soldOutIn(point(T, 90), 0), null);
  assert.equal(soldOutIn(point(T, 90), null), null);
  assert.equal(soldOutIn(undefined, 5), null);
});

test("what is held back falls in steps, past and planned, and a halted plan says so", () => {
  const campaign = {
    quantity: 100, released: 50, plan_done: 1, plan_halted: true,
    release_plan: [{ at: "2026-11-30T11:00:00Z", quantity: 30 }, { at: "2026-11-30T12:00:00Z", quantity: 40 }, { at: "2026-11-30T13:00:00Z", quantity: 10 }],
  };
  const steps = heldSteps(campaign, [point(T - 1, 0, 20), point(T, 10, 50), point(T + 5, 20, 50)], T + 10);
  assert.deepEqual(steps, [
    { at: T - 1, held: 80, planned: false },
    { at: T, held: 50, planned: false },
    { at: T + 3_600_000, held: 10, planned: true, halted: true },
    { at: T + 7_200_000, held: 0, planned: true, halted: true },
  ]);
  assert.deepEqual(nextRelease(campaign), campaign.release_plan[1]);
  assert.equal(nextRelease({ release_plan: [] }), null);
  assert.equal(nextRelease({}), null);
  assert.deepEqual(pointOf({ issued: 1, released: 2, quantity: 3, status: "active", more: 1 }, T), { at: T, issued: 1, released: 2, quantity: 3, status: "active" });
});

test("who paused it, why and since when, until somebody resumes it", () => {
  const item = (type, seconds, actor, reason = null) => ({ type, recorded_at: new Date(T + seconds * 1000).toISOString(), actor, reason, data: {} });
  const marks = marksOf([item("CampaignCreated", 0, "ops"), item("CampaignPaused", 1, "ann", "price is wrong"), item("CouponRevoked", 2, "bob")]);
  assert.deepEqual(marks.map((mark) => mark.kind), ["paused"]);
  assert.deepEqual(standing(marks, "paused", "resumed"), { at: T + 1000, kind: "paused", actor: "ann", reason: "price is wrong", data: {} });
  assert.equal(standing([...marks, ...marksOf([item("CampaignResumed", 3, "bob")])], "paused", "resumed"), null);
  assert.equal(standing([], "paused", "resumed"), null);
});
