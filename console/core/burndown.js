// SPDX-License-Identifier: Apache-2.0
// The burn-down of a campaign's stock: where to look into the past, what is known of it, and where it leads. The
// past comes from reads with as_of, which never change, so a chart is there at once, wherever it is opened.

const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 604_800];

/**
 * Instants to ask for, oldest first, in (from, to): whole multiples of a round step, so that everybody who looks asks
 * for the same ones and the second look comes from a cache.
 */
export function sampleTimes({ from, to, most = 40 }) {
  if (!(to > from)) return [];
  const step = 1000 * (STEPS_S.find((seconds) => (to - from) / (seconds * 1000) <= most) ?? STEPS_S.at(-1));
  const times = [];
  for (let at = Math.ceil(from / step) * step; at < to; at += step) if (at > from) times.push(at);
  return times.slice(-most);
}

/** Of a campaign as it was answered at an instant. */
export function pointOf(campaign, at) {
  return { at, issued: campaign.issued, released: campaign.released, quantity: campaign.quantity, status: campaign.status };
}

/** Where a campaign did not exist yet nothing was issued; the chart begins at its creation. */
export function windowOf(campaign, now, range) {
  const begin = Date.parse(campaign.created_at);
  const opens = campaign.starts_at ? Math.max(begin, Math.min(now, Date.parse(campaign.starts_at))) : begin;
  return { from: range === "all" || !Number.isFinite(range) ? opens : Math.max(begin, now - range), to: now };
}

/**
 * Adds a point in order of time; of one instant the later word counts. Of more than `most`, points of the older half
 * are left out that lie between two others.
 */
export function addPoint(points, point, most = 600) {
  const kept = points.filter((one) => one.at !== point.at);
  const after = kept.findIndex((one) => one.at > point.at);
  kept.splice(after < 0 ? kept.length : after, 0, point);
  if (kept.length <= most) return kept;
  const half = Math.floor(kept.length / 2);
  return kept.filter((_, at) => at === 0 || at >= half || at % 2 === 0);
}

/** Issued a second over the last `ms` that are known; null with fewer than two points in them. */
export function issueRate(points, ms) {
  const last = points.at(-1);
  const first = last && points.find((one) => one.at >= last.at - ms);
  if (!first || first.at === last.at) return null;
  return Math.max(0, (1000 * (last.issued - first.issued)) / (last.at - first.at));
}

/** Milliseconds until what is released is gone at this rate; 0 when it is, null when nobody can say. */
export function soldOutIn(point, perSecond) {
  if (!point) return null;
  const left = point.released - point.issued;
  if (left <= 0) return 0;
  return perSecond > 0 ? (1000 * left) / perSecond : null;
}

/**
 * What is held back for later releases as steps, past and to come: `{at, held, planned}`, oldest first. A step to come is
 * `halted` where the plan is: it will not happen by itself.
 */
export function heldSteps(campaign, points, now) {
  const steps = [];
  for (const point of points) {
    const held = Math.max(0, point.quantity - point.released);
    if (steps.at(-1)?.held !== held) steps.push({ at: point.at, held, planned: false });
  }
  let held = Math.max(0, campaign.quantity - campaign.released);
  for (const tranche of (campaign.release_plan ?? []).slice(campaign.plan_done ?? 0)) {
    held = Math.max(0, held - tranche.quantity);
    steps.push({ at: Math.max(now, Date.parse(tranche.at)), held, planned: true, halted: campaign.plan_halted === true });
  }
  return steps;
}

/** The next tranche of the plan, or null. */
export function nextRelease(campaign) {
  return campaign.release_plan?.[campaign.plan_done ?? 0] ?? null;
}

const MARKED = {
  CampaignPaused: "paused",
  CampaignResumed: "resumed",
  CampaignClosed: "closed",
  CampaignEnded: "ended",
  CampaignChanged: "changed",
  StockReleased: "released",
  ReleasePlanHalted: "halted",
};

/** What is drawn into the chart, from the campaign's history. */
export function marksOf(history) {
  return history
    .filter((item) => MARKED[item.type])
    .map((item) => ({ at: Date.parse(item.recorded_at), kind: MARKED[item.type], actor: item.actor, reason: item.reason, data: item.data ?? {} }));
}

/** Who holds it, why and since when: the last word of `kind` that its opposite did not take back; or null. */
export function standing(marks, kind, undoneBy) {
  const last = marks.filter((mark) => mark.kind === kind || mark.kind === undoneBy).at(-1);
  return last?.kind === kind ? last : null;
}
