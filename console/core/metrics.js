// SPDX-License-Identifier: Apache-2.0
// What a command service counts (GET /metrics): refusals by reason, how long an issue takes, how many commands a batch
// has. Most refusals of a sale are its rules at work; the few that are the service's fault must not drown in them.

const LINE = /^coupon_refusals_total\{code="([a-z0-9-]+)"\}\s+(\d+(?:\.\d+)?(?:e\+?\d+)?)\s*$/;

const OURS = new Set([
  "overloaded", "store-unavailable", "outcome-unknown", "internal", "unreadable-state", "shutting-down", "request-timeout",
]);
const RULES = new Set([
  "sold-out", "already-issued", "paused", "not-started", "ended", "rate-limited", "quota-exceeded", "expired", "revoked", "already-redeemed",
  "reserved", "below-minimum", "no-discount", "not-holder", "not-redeemed", "in-flight", "currency-mismatch", "issuer-suspended",
]);

/** "rules": what the sale promised to refuse; "ours": our fault; "callers": requests that are wrong. */
export function groupOf(code) {
  if (OURS.has(code)) return "ours";
  return RULES.has(code) ? "rules" : "callers";
}

/** Counters by code; null where there are none, which is another thing than none refused. */
export function parseRefusals(metrics) {
  const counts = {};
  let seen = false;
  for (const line of String(metrics ?? "").split("\n")) {
    const found = LINE.exec(line);
    if (!found) continue;
    counts[found[1]] = Number(found[2]);
    seen = true;
  }
  return seen ? counts : null;
}

/**
 * Refusals a second between two readings `{at, counts}`, the most first. A counter that went back belongs to another
 * process than before: then there is no difference, and the answer is null.
 */
export function refusalRates(before, after) {
  if (!before?.counts || !after?.counts || after.at <= before.at) return null;
  const seconds = (after.at - before.at) / 1000;
  const rows = [];
  for (const [code, count] of Object.entries(after.counts)) {
    const grown = count - (before.counts[code] ?? 0);
    if (grown < 0) return null;
    if (grown > 0) rows.push({ code, group: groupOf(code), perSecond: grown / seconds });
  }
  return byRate(rows);
}
const byRate = (rows) => rows.sort((a, b) => b.perSecond - a.perSecond || (a.code < b.code ? -1 : 1));

const BUCKET = /^coupon_http_request_duration_seconds_bucket\{route="POST \/v1\/campaigns\/:id\/coupons",le="([^"]+)"\} (\d+)$/;
const BATCH = /^coupon_batch_commands_(sum|count) (\d+)$/;

/** {buckets: [[seconds, how many took at most that]], sum, count}: answers to issues, and the commands of all batches. */
export function parseIssuing(metrics) {
  const is = { buckets: [], sum: 0, count: 0 };
  for (const line of String(metrics ?? "").split("\n")) {
    const bucket = BUCKET.exec(line);
    if (bucket) is.buckets.push([bucket[1] === "+Inf" ? Infinity : Number(bucket[1]), Number(bucket[2])]);
    const batch = BATCH.exec(line);
    if (batch) is[batch[1]] = Number(batch[2]);
  }
  return is;
}

/** Which process these counters are of; null where they do not say. */
export const parseProcess = (metrics) => /^process_start_time_seconds (\S+)$/m.exec(String(metrics ?? ""))?.[1] ?? null;

/** What was issued between two readings; null where there are no two of one process. */
function grownBetween(before, after) {
  if (!before || before.buckets.length !== after.buckets.length) return null;
  const buckets = after.buckets.map(([bound, count], at) => [bound, count - before.buckets[at][1]]);
  return (buckets.at(-1)?.[1] ?? 0) < 0 ? null : { buckets, sum: after.sum - before.sum, count: after.count - before.count };
}

/**
 * What all processes of a fleet issue and refuse, of readings `{id, at, counts, issuing}` (fleet.js): {rows, p95Ms, perBatch,
 * processes}. `rows` is null where no process was read twice, p95Ms and perBatch where nothing was issued. A histogram knows a
 * value only up to the bound of its bucket: the bound is what is said.
 */
export function ratesOf(fleet) {
  const rows = fleet.map(({ before, now }) => refusalRates(before, now)).filter(Boolean);
  const perSecond = {};
  for (const row of rows.flat()) perSecond[row.code] = (perSecond[row.code] ?? 0) + row.perSecond;
  const grown = fleet.map(({ before, now }) => grownBetween(before?.issuing, now.issuing)).filter(Boolean);
  const sum = (of) => grown.reduce((total, one) => total + of(one), 0);
  const buckets = (grown[0]?.buckets ?? []).map(([bound], at) => [bound, sum((one) => one.buckets[at]?.[1] ?? 0)]);
  const all = buckets.at(-1)?.[1] ?? 0;
  const batches = sum((one) => one.count);
  return {
    rows: rows.length === 0 ? null : byRate(Object.entries(perSecond).map(([code, rate]) => ({ code, group: groupOf(code), perSecond: rate }))),
    p95Ms: all > 0 ? 1000 * buckets.find(([, count]) => count >= 0.95 * all)[0] : null,
    perBatch: batches > 0 ? sum((one) => one.sum) / batches : null,
    processes: fleet.length,
  };
}

/** Sums by group. */
export function groupRates(rows) {
  const sums = { rules: 0, ours: 0, callers: 0 };
  for (const row of rows ?? []) sums[row.group] += row.perSecond;
  return sums;
}
