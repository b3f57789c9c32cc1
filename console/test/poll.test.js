// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { freshness, Poller } from "../core/poll.js";

function rig({ every = 1000 } = {}) {
  const rig = { now: 0, timers: [], asks: [], told: [] };
  rig.clock = {
    now: () => rig.now,
    set: (run, ms) => (rig.timers.push({ run, ms }), rig.timers.at(-1)),
    clear: (timer) => (rig.timers = rig.timers.filter((one) => one !== timer)),
  };
  rig.poller = new Poller({
    ask: (signal) => new Promise((resolve, reject) => rig.asks.push({ signal, resolve, reject })),
    tell: (state) => rig.told.push(state),
    every,
    clock: rig.clock,
  });
  rig.settle = () => new Promise((resolve) => setImmediate(resolve));
  rig.fire = () => rig.timers.shift().run();
  return rig;
}

test("one question at a time, the next one a while after the answer", async () => {
  const one = rig();
  one.poller.start();
  one.poller.start();
  assert.equal(one.asks.length, 1);
  one.asks[0].resolve("a");
  await one.settle();
  assert.deepEqual(one.told, [{ value: "a", at: 0, failure: undefined }]);
  assert.deepEqual(one.timers.map((timer) => timer.ms), [1000]);
  one.fire();
  assert.equal(one.asks.length, 2);
});

test("what fails keeps the last value and its age, and is asked less often", async () => {
  const one = rig();
  one.poller.start();
  one.now = 5000;
  one.asks[0].resolve("a");
  await one.settle();
  for (const pause of [2000, 4000, 8000, 15_000, 15_000]) {
    one.fire();
    one.now += 1000;
    one.asks.at(-1).reject(new Error("away"));
    await one.settle();
    assert.equal(one.timers[0].ms, pause);
    assert.deepEqual([one.told.at(-1).value, one.told.at(-1).at, one.told.at(-1).failure.message], ["a", 5000, "away"]);
  }
  one.fire();
  one.asks.at(-1).resolve("b");
  await one.settle();
  assert.equal(one.timers[0].ms, 1000);
});

test("never before Retry-After", async () => {
  const one = rig();
  one.poller.start();
  one.asks[0].reject(Object.assign(new Error("busy"), { retryAfterMs: 30_000 }));
  await one.settle();
  assert.equal(one.timers[0].ms, 30_000);
});

test("nothing is asked while nobody looks, and at once when somebody does", async () => {
  const one = rig();
  one.poller.start();
  one.poller.hide(true);
  assert.ok(one.asks[0].signal.aborted);
  one.asks[0].resolve("late");
  await one.settle();
  assert.deepEqual([one.told.length, one.timers.length], [0, 0]);
  one.poller.hide(false);
  assert.equal(one.asks.length, 2);
  one.asks[1].resolve("a");
  await one.settle();
  one.poller.hide(true);
  assert.equal(one.timers.length, 0);
  one.poller.again();
  assert.equal(one.asks.length, 2);
});

test("after stop nothing is told; asked again at once where something was done", async () => {
  const one = rig();
  one.poller.start();
  one.poller.again();
  assert.equal(one.asks.length, 2);
  one.asks[0].resolve("old");
  one.asks[1].resolve("new");
  await one.settle();
  assert.deepEqual(one.told.map((state) => state.value), ["new"]);
  one.poller.stop();
  assert.equal(one.timers.length, 0);
});

test("loading, failed, stale and live are four things", () => {
  assert.equal(freshness({ value: undefined, at: NaN }, 0), "loading");
  assert.equal(freshness({ value: undefined, at: NaN, failure: new Error() }, 0), "failed");
  assert.equal(freshness({ value: 1, at: 1000, failure: new Error() }, 1500), "stale");
  assert.equal(freshness({ value: 1, at: 1000 }, 9000), "stale");
  assert.equal(freshness({ value: 1, at: 1000 }, 2000), "live");
});
