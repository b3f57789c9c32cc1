// SPDX-License-Identifier: Apache-2.0
// Refusals by reason, from a service's own counters (GET /metrics). Most refusals of a sale are its rules at work; the
// few that are the service's fault must not drown in them.

const LINE = /^coupon_refusals_total\{code="([a-z0-9-]+)"\}\s+(\d+(?:\.\d+)?(?:e\+?\d+)?)\s*$/;

const OURS = new Set([
  "overloaded", "store-unavailable", "outcome-unknown", "internal", "unreadable-state", "shutting-down", "request-timeout", "in-flight",
]);
const RULES = new Set([
  "sold-out", "already-issued", "paused", "not-started", "ended", "rate-limited", "quota-exceeded", "expired", "revoked", "already-redeemed",
  "reserved", "below-minimum", "no-discount", "not-holder", "not-redeemed", "currency-mismatch", "issuer-suspended",
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
  return rows.sort((a, b) => b.perSecond - a.perSecond || (a.code < b.code ? -1 : 1));
}

/** Sums by group. */
export function groupRates(rows) {
  const sums = { rules: 0, ours: 0, callers: 0 };
  for (const row of rows ?? []) sums[row.group] += row.perSecond;
  return sums;
}
