// SPDX-License-Identifier: Apache-2.0
// The burn-down as a drawing: what is left falls, what is held back stands as steps below it, and what people did are
// marks. Attributes only, no styles of its own, so that the strictest policy has nothing to refuse.
import { heldSteps } from "../core/burndown.js";
import { h } from "../h.js";
import { count, when } from "./parts.js";
import * as format from "../core/format.js";

const HEIGHT = 260;
const PAD = { left: 76, right: 14, top: 14, bottom: 26 };

/** Round values at or above `most`, and the lines between: [0, .., top]. */
export function ticks(most, lines = 5) {
  const raw = Math.max(1, most) / lines;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(1, [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= raw));
  const list = [];
  for (let at = 0; at < most + step; at += step) list.push(at);
  return list;
}

/** As wide as its place on the page, so that its words are as large as the others. */
const widthOf = (page) => Math.min(1380, Math.max(300, (page ?? 820) - 60));

/** Where things are in a drawing of `width`: x of an instant, y of a number of coupons. */
export function scales({ from, to, top, width }) {
  const wide = width - PAD.left - PAD.right;
  const high = HEIGHT - PAD.top - PAD.bottom;
  return {
    x: (at) => PAD.left + (wide * (Math.min(to, Math.max(from, at)) - from)) / Math.max(1, to - from),
    y: (value) => PAD.top + high * (1 - Math.min(top, Math.max(0, value)) / Math.max(1, top)),
  };
}

const round = (value) => Math.round(value * 10) / 10;

/** A line through what was measured. */
export function linePath(points, { x, y }) {
  return points.map((point, at) => `${at ? "L" : "M"}${round(x(point.at))} ${round(y(point.quantity - point.issued))}`).join("");
}

/** Steps: level until the next one. */
export function stepPath(steps, until, { x, y }) {
  if (!steps.length) return "";
  const parts = steps.map((one, at) => (at ? `H${round(x(one.at))}V${round(y(one.held))}` : `M${round(x(one.at))} ${round(y(one.held))}`));
  return `${parts.join("")}H${round(x(until))}`;
}

/** Until when it is drawn: a little into what is planned, so that the next releases are in it. */
export function endOf(steps, from, now) {
  const planned = steps.filter((one) => one.planned).map((one) => one.at);
  if (!planned.length) return now;
  const most = now + Math.max(60_000, (now - from) / 2);
  return Math.min(most, Math.max(...planned) + (now - from) / 20);
}

export function burnChart(ctx, { campaign, points, marks, from }) {
  const steps = heldSteps(campaign, points, ctx.now);
  const to = endOf(steps, from, ctx.now);
  const lines = ticks(Math.max(1, ...points.map((point) => point.quantity), campaign.quantity));
  const width = widthOf(ctx.width);
  const scale = scales({ from, to, top: lines.at(-1), width });
  const past = steps.filter((one) => !one.planned);
  const planned = steps.filter((one) => one.planned);
  const seen = marks.filter((mark) => mark.at >= from && mark.at <= to);
  const bottom = HEIGHT - PAD.bottom;
  const last = points.at(-1);
  return h(
    "figure",
    { class: "chart" },
    h(
      "svg",
      { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": last ? ctx.t("chart.summary", { left: count(ctx, last.quantity - last.issued), quantity: count(ctx, last.quantity), held: count(ctx, last.quantity - last.released) }) : ctx.t("loading") },
      lines.map((value) =>
        h("g", { class: "grid", key: `y${value}` }, h("line", { x1: PAD.left, x2: width - PAD.right, y1: round(scale.y(value)), y2: round(scale.y(value)) }), h("text", { x: PAD.left - 6, y: round(scale.y(value)) + 4, "text-anchor": "end" }, count(ctx, value))),
      ),
      [0, 0.5, 1].map((part) => {
        const at = from + part * (to - from);
        return h("text", { class: "axis", key: `x${part}`, x: round(scale.x(at)), y: HEIGHT - 8, "text-anchor": part === 0 ? "start" : part === 1 ? "end" : "middle" }, format.time(at, { lang: ctx.lang, zone: ctx.zone, short: to - from < 86_400_000 }));
      }),
      past.length > 0 && h("path", { class: "held", d: stepPath(past, ctx.now, scale) }),
      planned.length > 0 && h("path", { class: planned[0].halted ? "held planned halted" : "held planned", d: stepPath([{ at: ctx.now, held: campaign.quantity - campaign.released }, ...planned], to, scale) }),
      to > ctx.now && h("line", { class: "now", x1: round(scale.x(ctx.now)), x2: round(scale.x(ctx.now)), y1: PAD.top, y2: bottom }),
      seen.map((mark, at) =>
        h("g", { class: `mark ${mark.kind}`, key: `m${at}` }, h("line", { x1: round(scale.x(mark.at)), x2: round(scale.x(mark.at)), y1: PAD.top, y2: bottom }), h("title", {}, markText(ctx, mark))),
      ),
      points.length > 0 && h("path", { class: "left", d: linePath(points, scale) }),
      last && h("circle", { class: "head", cx: round(scale.x(last.at)), cy: round(scale.y(last.quantity - last.issued)), r: 4 }),
    ),
    h(
      "figcaption",
      {},
      h("span", { class: "key left" }, ctx.t("chart.left")),
      h("span", { class: "key held" }, ctx.t("chart.held")),
      seen.length > 0 && h("span", { class: "key mark" }, ctx.t("chart.marks")),
    ),
    seen.length > 0 &&
      h("ol", { class: "marks" }, seen.slice(-6).map((mark, at) => h("li", { key: `${mark.at}-${at}` }, when(ctx, mark.at, { short: true }), " ", markText(ctx, mark)))),
  );
}

export function markText(ctx, mark) {
  const who = mark.actor ? ctx.t("mark.by", { actor: mark.actor }) : ctx.t("mark.by-itself");
  const what = ctx.t(`mark.${mark.kind}`, { quantity: count(ctx, mark.data.quantity) });
  const halted = mark.kind === "halted" ? ` ${haltText(ctx, mark.data)}` : "";
  return mark.reason ? `${what} ${who}: ${mark.reason}` : `${what} ${who}${halted}`;
}

/** Why a plan was halted: how its last tranche went. */
export function haltText(ctx, data) {
  return ctx.t("halt.why", { calls: count(ctx, data.calls), success: format.number(data.success_permille / 10, ctx.lang, 1), p95: count(ctx, data.p95_ms) });
}
