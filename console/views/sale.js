// SPDX-License-Identifier: Apache-2.0
// One page that answers "how is the sale going".
import { bottleneckOf } from "../core/bottleneck.js";
import { issueRate, marksOf, nextRelease, soldOutIn, standing as lastMark, windowOf } from "../core/burndown.js";
import * as format from "../core/format.js";
import { fieldsOf } from "../core/kinds.js";
import { groupRates } from "../core/metrics.js";
import { freshness } from "../core/poll.js";
import { h } from "../h.js";
import { burnChart, haltText } from "./chart.js";
import { ageOf, badge, button, count, failureText, link, pane, perSecond, span, standing, stateCell, table, when } from "./parts.js";

export const RANGES = { "10m": 600_000, "1h": 3_600_000, "6h": 21_600_000, all: "all" };
const RATE_MS = 10_000;
const EVERY = { campaign: 1000, history: 5000, status: 2000, refusals: 2000 };

/** The one sentence; first on each page, because it is what somebody who was called wants to know. */
export function sentence(ctx, state) {
  const is = bottleneckOf({ write: ctx.sides.write ? state.write : undefined, read: ctx.sides.read ? state.read : undefined, projector: ctx.sides.projector ? state.projector : undefined });
  const figures = { ...is, waiting: count(ctx, is.waiting), lag: count(ctx, is.lag), wait: span(ctx, is.waitMs) };
  return h("p", { class: `sentence ${is.level}`, role: "status" }, h("strong", {}, ctx.t(`level.${is.level}`)), " ", ctx.t(`bottleneck.${is.key}`, figures));
}

function figure(label, value, note, kind = "") {
  return h("div", { class: `figure ${kind}` }, h("dt", {}, label), h("dd", {}, value), note && h("dd", { class: "note" }, note));
}

function releaseText(ctx, campaign, marks) {
  const next = nextRelease(campaign);
  if (campaign.plan_halted) {
    const mark = lastMark(marks, "halted", "resumed");
    return [ctx.t("plan.halted"), " ", mark && when(ctx, mark.at), " ", mark && haltText(ctx, mark.data)];
  }
  if (!next) return campaign.quantity > campaign.released ? ctx.t("plan.by-hand") : ctx.t("plan.none");
  const left = Date.parse(next.at) - ctx.now;
  return [ctx.t("plan.next", { quantity: count(ctx, next.quantity), left: span(ctx, Math.max(0, left)) }), " ", when(ctx, next.at)];
}

function controls(ctx, campaign) {
  if (!ctx.may.admin || !ctx.sides.write) return null;
  const over = ["closed", "ended"].includes(campaign.status);
  const open = (kind) => () => ctx.act.open({ kind, target: campaign.id, was: campaign, fields: kind === "edit" ? fieldsOf(campaign) : {} });
  return h(
    "div",
    { class: "controls", role: "group", "aria-label": ctx.t("controls") },
    campaign.status === "paused" || campaign.plan_halted ? button(ctx, ctx.t("do.resume"), open("resume"), { kind: "good", "data-do": "resume" }) : null,
    campaign.status !== "paused" && !over ? button(ctx, ctx.t("do.pause"), open("pause"), { kind: "bad", "data-do": "pause" }) : null,
    !over && campaign.quantity > campaign.released ? button(ctx, ctx.t("do.release"), open("release"), { "data-do": "release" }) : null,
    !over ? button(ctx, ctx.t("do.edit"), open("edit"), { "data-do": "edit" }) : null,
    !over ? button(ctx, ctx.t("do.close"), open("close"), { kind: "danger", "data-do": "close" }) : null,
  );
}

function campaignPane(ctx, state) {
  const range = RANGES[state.route.filters.range] ? state.route.filters.range : "1h";
  const tools = h(
    "div",
    { class: "choices", role: "group", "aria-label": ctx.t("range") },
    Object.keys(RANGES).map((one) => h("a", { href: ctx.act.href({ ...state.route, filters: { ...state.route.filters, range: one } }), "aria-current": one === range ? "true" : undefined }, ctx.t(`range.${one}`))),
  );
  return pane(ctx, {
    title: state.campaign.value?.name ?? state.route.id,
    poll: state.campaign,
    every: EVERY.campaign,
    tools,
    wide: true,
    key: "campaign",
    body(campaign) {
      const marks = marksOf(state.history.value ?? []);
      const points = state.points;
      const perS = issueRate(points, RATE_MS);
      const eta = soldOutIn(points.at(-1), campaign.status === "active" ? perS : 0);
      const { from } = windowOf(campaign, ctx.now, RANGES[range]);
      const held = campaign.quantity - campaign.released;
      const why = standing(ctx, campaign);
      const issuing = ctx.sides.write && freshness(state.refusals, ctx.now, EVERY.refusals) === "live" ? state.refusals.value : {};
      return [
        h("div", { class: "standing" }, badge(ctx, campaign.status), " ", h("code", {}, campaign.id), why && h("p", { class: "why" }, why), controls(ctx, campaign)),
        h(
          "dl",
          { class: "figures" },
          figure(ctx.t("figure.remaining"), count(ctx, campaign.remaining), ctx.t("figure.of", { quantity: count(ctx, campaign.quantity) }), "big"),
          figure(ctx.t("figure.issued"), count(ctx, campaign.issued), ctx.t("figure.redeemed", { redeemed: count(ctx, campaign.redeemed) })),
          figure(ctx.t("figure.rate"), perSecond(ctx, perS), ctx.t("figure.rate-over", { span: span(ctx, RATE_MS) })),
          figure(ctx.t("figure.sold-out"), eta === 0 ? ctx.t("figure.gone") : eta === null ? "–" : ctx.t("figure.about", { span: span(ctx, eta) }), eta === null ? ctx.t("figure.no-rate") : undefined),
          figure(ctx.t("figure.held"), count(ctx, held), releaseText(ctx, campaign, marks)),
          figure(ctx.t("figure.p95"), issuing.p95Ms === Infinity ? ctx.t("figure.over-bounds") : span(ctx, issuing.p95Ms), [ctx.t("figure.batch", { perBatch: perSecond(ctx, issuing.perBatch) }), services(ctx, issuing.processes)]),
        ),
        state.past === "loading" && h("p", { class: "says loading" }, ctx.t("past.loading")),
        state.past === "partial" && h("p", { class: "says old" }, ctx.t("past.partial")),
        burnChart(ctx, { campaign, points: points.filter((point) => point.at >= from), marks, from }),
      ];
    },
  });
}

/** Over how many command services a figure was added up, where there is more than one. */
const services = (ctx, processes) => processes > 1 && [" ", ctx.t("services", { count: count(ctx, processes) })];

function refusalPane(ctx, state) {
  return pane(ctx, {
    title: ctx.t("refusals"),
    poll: state.refusals,
    every: EVERY.refusals,
    key: "refusals",
    isEmpty: (value) => value.rows !== null && value.rows.length === 0,
    empty: ctx.t("refusals.none"),
    body({ rows, processes }) {
      if (rows === null) return h("p", { class: "says loading" }, ctx.t("refusals.second-reading"));
      const sums = groupRates(rows);
      const most = rows[0].perSecond;
      return [processes > 1 && h("p", { class: "note" }, services(ctx, processes)), ["ours", "rules", "callers"].map((group) => [
        h("h3", { class: sums[group] > 0 ? group : "none" }, ctx.t(`refusals.${group}`), " ", h("span", { class: "sum" }, ctx.t("per-second", { rate: perSecond(ctx, sums[group]) }))),
        h(
          "ul",
          { class: "bars" },
          rows
            .filter((row) => row.group === group)
            .map((row) =>
              h("li", { key: row.code }, h("span", { class: "name" }, ctx.t.maybe(`code.${row.code}`) ?? row.code), h("meter", { class: group, min: 0, max: 1, value: row.perSecond / most, "aria-label": row.code }), h("span", { class: "rate" }, perSecond(ctx, row.perSecond))),
            ),
        ),
      ])];
    },
  });
}

/** Both services' word on each slice, the campaign's own marked. */
export function slicesOf(write, read) {
  const rows = Array.from({ length: 16 }, (_, slice) => ({ slice }));
  for (const one of write?.slices ?? []) Object.assign(rows[one.slice], { waiting: one.waiting, most: one.waiting_max, waitMs: one.predicted_wait_ms, away: !one.store_available });
  for (const one of read?.slices ?? []) Object.assign(rows[one.slice], { lag: one.lag_events });
  return rows;
}

function slicePane(ctx, state) {
  const own = state.campaign.value?.position?.slice;
  return pane(ctx, {
    title: ctx.t("slices"),
    poll: ctx.sides.write ? state.write : state.read,
    every: EVERY.status,
    key: "slices",
    body() {
      const rows = slicesOf(state.write.value, state.read.value);
      return [
        ctx.sides.write && ctx.sides.read && h("p", { class: "note" }, ctx.t("slices.models"), " ", ageOf(ctx, state.read, EVERY.status)),
        h(
          "ol",
          { class: "cells" },
          // The campaign's own first.
          rows.sort((a, b) => (b.slice === own) - (a.slice === own) || a.slice - b.slice).map((row) => {
            const level = row.away ? "bad" : row.lag >= 10_000 || row.waiting > row.most / 2 ? "warn" : "good";
            return h(
              "li",
              { key: row.slice, class: `cell ${level}${row.slice === own ? " own" : ""}`, "aria-current": row.slice === own ? "true" : undefined },
              h("b", {}, ctx.t("slice", { slice: row.slice })),
              row.away && h("span", { class: "away" }, ctx.t("slice.away")),
              // All sixteen stand there, and what is quiet says no more than that.
              (row.waiting > 0 || row.slice === own) && row.waiting !== undefined && h("span", {}, ctx.t("slice.waiting", { waiting: count(ctx, row.waiting), most: count(ctx, row.most) })),
              (row.waitMs > 0 || row.slice === own) && row.waitMs !== undefined && h("span", {}, ctx.t("slice.wait", { wait: span(ctx, row.waitMs) })),
              (row.lag !== 0 || row.slice === own) && h("span", {}, ctx.t("slice.lag", { lag: count(ctx, row.lag) })),
            );
          }),
        ),
      ];
    },
  });
}

const gauge = (ctx, one) => (one ? `${count(ctx, one.is)} / ${count(ctx, one.max)}` : "–");

function healthPane(ctx, state) {
  const row = (name, ok, ...text) => h("li", { key: name, class: ok ? "good" : "bad" }, h("b", {}, ctx.t(`health.${name}`)), " ", h("span", {}, ...text));
  const side = (name, poll, rows) =>
    h(
      "div",
      { key: name, class: "side" },
      h("h3", {}, ctx.t(`side.${name}`), " ", ageOf(ctx, poll, EVERY.status)),
      poll.value === undefined ? h("p", { class: poll.failure ? "says failed" : "says loading" }, poll.failure ? failureText(ctx, poll.failure) : ctx.t("loading")) : h("ul", { class: "health" }, poll.failure && row("answers", false, failureText(ctx, poll.failure)), rows(poll.value)),
    );
  return h(
    "section",
    { class: "pane", key: "health" },
    h("header", {}, h("h2", {}, ctx.t("health"))),
    ctx.sides.write &&
      side("write", state.write, (is) => [
        is.instances.map((one) => h("li", { key: one.instance, class: "good" }, h("b", {}, ctx.t("health.instance")), " ", h("span", {}, one.instance, " · ", one.version, " · ", ctx.t("since"), " ", when(ctx, one.since)))),
        row("store", is.slices.every((one) => one.store_available), ctx.t(is.slices.every((one) => one.store_available) ? "answers" : "answers-not")),
        row("disk", is.disk === "ok", ctx.t.maybe(`disk.${is.disk}`) ?? is.disk),
        row("profile", is.profile !== "incident", ctx.t(`profile.${is.profile}`)),
      ]),
    ctx.sides.read &&
      side("read", state.read, (is) => [
        row("mode", is.mode === "normal", ctx.t.maybe(`mode.${is.mode}`) ?? is.mode),
        row("redis", is.redis.usable && is.redis.breaker === "closed", ctx.t(is.redis.usable ? "answers" : "answers-not"), " · ", ctx.t("queue"), " ", gauge(ctx, is.redis.queue)),
        row("postgresql", is.postgresql.usable && is.postgresql.breaker === "closed", ctx.t(is.postgresql.usable ? "answers" : "answers-not"), " · ", ctx.t("queue"), " ", gauge(ctx, is.postgresql.queue)),
        row("memory", true, format.bytes(is.memory.bytes.is, ctx.lang), " / ", format.bytes(is.memory.bytes.max, ctx.lang)),
        row("followers", is.followers.is < is.followers.max, gauge(ctx, is.followers)),
      ]),
    ctx.sides.projector &&
      side("projector", state.projector, (is) => [
        row("ready", is.ready, ctx.t(is.ready ? "yes" : "no")),
        Object.entries(is.parts ?? {}).map(([part, ready]) => row(part, ready, ctx.t(ready ? "yes" : "no"))),
      ]),
  );
}

const picker = (ctx, state) =>
  campaignsPane(ctx, state, {
    columns: [
      { title: ctx.t("figure.issued"), number: true, cell: (one) => count(ctx, one.issued) },
      { title: ctx.t("quantity"), number: true, cell: (one) => count(ctx, one.quantity) },
      { title: ctx.t("starts"), cell: (one) => when(ctx, one.starts_at ?? one.created_at) },
    ],
  });

/** The campaigns there are, the newest first: name, state, `controls`, what may be issued, and `columns`. */
export function campaignsPane(ctx, state, { controls = [], columns = [], tools }) {
  return pane(ctx, {
    title: ctx.t("campaigns"),
    poll: state.campaigns,
    every: 5000,
    wide: true,
    key: "campaigns",
    isEmpty: ({ items }) => items.length === 0,
    empty: ctx.t("campaigns.none"),
    tools,
    body: ({ items, more }) => [
      table(ctx, {
        caption: ctx.t("campaigns"),
        rows: items,
        keyOf: (one) => one.id,
        columns: [
          { title: ctx.t("name"), cell: (one) => link({ view: "sale", id: one.id }, one.name) },
          { title: ctx.t("state"), cell: (one) => stateCell(ctx, one) },
          ...controls, // on a telephone what is farther right is out of sight
          { title: ctx.t("figure.remaining"), number: true, cell: (one) => count(ctx, one.remaining) },
          ...columns,
        ],
      }),
      more && h("p", { class: "note" }, ctx.t("campaigns.more", { count: count(ctx, items.length) })),
    ],
  });
}

/** What a screen reader is told without being asked: rarely, or it would speak all night. */
export function spoken(ctx, state) {
  const campaign = state.campaign.value;
  return h("p", { class: "hidden", "aria-live": "polite", key: "spoken" }, campaign && state.spokenAt ? ctx.t("spoken", { name: campaign.name, remaining: count(ctx, state.spokenAt.remaining), status: ctx.t(`status.${campaign.status}`) }) : "");
}

/** Where campaigns cannot be listed, who knows the id gets there, and may hold the sale. */
function byId(ctx) {
  const go = (event) => {
    event.preventDefault();
    ctx.act.go({ view: "sale", id: event.target.querySelector("input").value.trim() });
  };
  return h("form", { class: "search", key: "by-id", on: { submit: go } }, h("label", { for: "campaign-id" }, ctx.t("campaign-id")), h("input", { id: "campaign-id", autocomplete: "off", spellcheck: "false", required: true }), h("button", { type: "submit", class: "button good" }, ctx.t("open")));
}

export function saleView(ctx, state) {
  const blind = !ctx.sides.read || state.read.failure !== undefined;
  return [
    sentence(ctx, state),
    !ctx.sides.read && h("p", { class: "says old", key: "half" }, ctx.t("side-missing.read")),
    ctx.sides.write && blind && byId(ctx),
    state.route.id ? campaignPane(ctx, state) : ctx.sides.read && picker(ctx, state),
    state.route.id && spoken(ctx, state),
    ctx.sides.write && refusalPane(ctx, state),
    slicePane(ctx, state),
    healthPane(ctx, state),
  ];
}
