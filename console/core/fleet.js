// SPDX-License-Identifier: Apache-2.0
// One address may lead to several command services, and each speaks for itself: now this one answers, now that one. What the
// page shows of them is put together here, from the latest answer of each.

/** Who has not answered for so long is gone, or would not be asked any more. */
export const FORGET_MS = 10_000;

/** The fleet after one more reading `{id, at, ...}`: of each process the reading `now`, and the one `before` where there is one. */
export function noteReading(fleet, reading) {
  const known = fleet.filter((one) => one.now.at > reading.at - FORGET_MS);
  const before = known.find((one) => one.now.id === reading.id)?.now;
  return [...known.filter((one) => one.now.id !== reading.id), { before, now: reading }];
}

const DISK = ["ok", "nearly full", "no new campaigns", "no writes"]; // the worst last
const BOTTLENECK = ["none", "queue", "disk", "store"];
const worst = (order, words) => words.reduce((most, word) => (order.indexOf(word) > order.indexOf(most) ? word : most));

/**
 * /v1/status of all, of readings `{id, at, is}`: what waits is added up, the longest wait and the worst word count, and
 * `instances` says who answered. The rest is what the last one said.
 */
export function statusOf(fleet) {
  const all = fleet.map((one) => one.now.is);
  const slices = all.at(-1).slices.map((slice) => {
    const same = all.map((is) => is.slices.find((one) => one.slice === slice.slice)).filter(Boolean);
    const sum = (of) => same.reduce((total, one) => total + one[of], 0);
    return {
      slice: slice.slice, waiting: sum("waiting"), waiting_max: sum("waiting_max"),
      predicted_wait_ms: Math.max(...same.map((one) => one.predicted_wait_ms)), store_available: same.every((one) => one.store_available),
    };
  });
  const instances = all.map(({ instance, version, since }) => ({ instance, version, since })).sort((a, b) => (a.instance < b.instance ? -1 : 1));
  return { ...all.at(-1), slices, instances, disk: worst(DISK, all.map((is) => is.disk)), bottleneck: worst(BOTTLENECK, all.map((is) => is.bottleneck)) };
}
