// SPDX-License-Identifier: Apache-2.0
// One sentence that says what holds the sale up, from what both services say of themselves. The first thing that is
// wrong in the order in which somebody would mend it; the sentence is in the catalogues under `bottleneck.<key>`.

const LAG_EVENTS = 10_000; // as the query service judges it

const slowest = (slices) => slices.reduce((most, one) => (one.predicted_wait_ms > most.predicted_wait_ms ? one : most), slices[0]);
const farthest = (slices) => slices.reduce((most, one) => ((one.lag_events ?? -1) > (most.lag_events ?? -1) ? one : most), slices[0]);

/** `write`, `read`: {value, failure} of the two /v1/status; `projector`: of its /readyz. -> {key, level, ...figures}, level "bad", "warn" or "good". */
export function bottleneckOf({ write, read, projector }) {
  const of = write?.value;
  const models = read?.value;
  if (write?.failure && read?.failure) return { key: "nothing", level: "bad" };
  if (write?.failure) return { key: "write-away", level: "bad" };
  if (of?.bottleneck === "store") {
    const away = of.slices.filter((slice) => !slice.store_available);
    return { key: "store", level: "bad", slices: away.length };
  }
  if (of?.bottleneck === "disk") return { key: "disk", level: "bad", disk: of.disk };
  if (of?.bottleneck === "queue") {
    const slice = slowest(of.slices);
    return { key: "queue", level: "bad", slice: slice.slice, waiting: slice.waiting, waitMs: slice.predicted_wait_ms };
  }
  if (read?.failure) return { key: "read-away", level: "bad" };
  if (projector?.failure) return { key: "projector-away", level: "warn" }; // then the models grow old, and are not used in the end
  if (models && models.mode !== "normal") return { key: `mode.${models.mode}`, level: "bad" };
  if (models && models.slices.length) {
    const slice = farthest(models.slices);
    if (slice.lag_events >= LAG_EVENTS) return { key: "lag", level: "warn", slice: slice.slice, lag: slice.lag_events };
  }
  if (models && models.bottleneck !== "none") return { key: "said", level: "warn", said: models.bottleneck };
  if (of?.profile === "incident") return { key: "incident", level: "warn" };
  if (of?.disk === "nearly full") return { key: "disk-nearly", level: "warn" };
  return of || models ? { key: "none", level: "good" } : { key: "unknown", level: "warn" };
}
