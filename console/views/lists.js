// SPDX-License-Identifier: Apache-2.0
// The audit trail and the rankings: filters are in the URL, so a view can be sent to somebody.
import { h } from "../h.js";
import { found, paged } from "./ask.js";
import { count, field, link, pane, table, when } from "./parts.js";

/** What a filter leaves of what was read; every filter that is given has to fit. */
export function auditMatches(item, { actor, type, campaign, text }) {
  const has = (value, part) => (value ?? "").toLowerCase().includes(part.toLowerCase());
  return (
    (!actor || item.actor === actor) &&
    (!type || item.type === type) &&
    (!campaign || item.campaign_id === campaign) &&
    (!text || [item.actor, item.type, item.reason, item.campaign_id, item.coupon_id, item.trace_id, JSON.stringify(item.data)].some((value) => has(value, text)))
  );
}

export function auditView(ctx, state) {
  if (!ctx.sides.read) return h("p", { class: "says old" }, ctx.t("side-missing.read"));
  if (!ctx.may.admin) return h("p", { class: "says old" }, ctx.t("may-not"));
  const { filters } = state.route;
  const set = (name) => (value) => ctx.act.filter({ [name]: value });
  const list = state.lists.audit;
  const types = [...new Set((list?.items ?? []).map((one) => one.type).concat(filters.type ?? []))].sort();
  return h(
    "section",
    { class: "pane wide", key: "audit" },
    h("header", {}, h("h2", {}, ctx.t("audit"))),
    h(
      "div",
      { class: "row" },
      field(ctx, { id: "audit-actor", label: ctx.t("who"), value: filters.actor ?? "", input: set("actor") }),
      field(ctx, { id: "audit-type", label: ctx.t("what"), type: [{ value: "", label: ctx.t("any") }, ...types.map((one) => ({ value: one, label: ctx.t.maybe(`event.${one}`) ?? one }))], value: filters.type ?? "", input: set("type") }),
      field(ctx, { id: "audit-campaign", label: ctx.t("campaign"), value: filters.campaign ?? "", input: set("campaign") }),
      field(ctx, { id: "audit-text", label: ctx.t("text"), value: filters.text ?? "", input: set("text") }),
    ),
    paged(
      ctx,
      list,
      (items) => {
        const rows = items.filter((one) => auditMatches(one, filters));
        return [
          h("p", { class: "note", role: "status" }, ctx.t("audit.of", { shown: count(ctx, rows.length), read: count(ctx, items.length) })),
          table(ctx, {
            caption: ctx.t("audit"),
            rows,
            keyOf: (one) => `${one.position.slice}-${one.position.position}`,
            columns: [
              { title: ctx.t("time"), cell: (one) => when(ctx, one.recorded_at) },
              { title: ctx.t("who"), cell: (one) => one.actor ?? ctx.t("by-itself") },
              { title: ctx.t("what"), cell: (one) => ctx.t.maybe(`event.${one.type}`) ?? one.type },
              { title: ctx.t("about"), cell: (one) => aboutOf(one) },
              { title: ctx.t("reason"), cell: (one) => one.reason ?? "–" },
              { title: ctx.t("trace"), cell: (one) => (one.trace_id ? h("code", { class: "trace" }, one.trace_id) : "–") },
            ],
          }),
        ];
      },
      () => ctx.act.more("audit"),
    ),
  );
}

function aboutOf(item) {
  if (item.coupon_id) return link({ view: "ask", filters: { q: item.coupon_id } }, item.coupon_id);
  const { name, value, issuer } = item.data ?? {};
  if (item.type === "SettingChanged") return h("code", {}, `${name} = ${value || "–"}`);
  if (issuer) return h("code", {}, issuer);
  return item.campaign_id ? link({ view: "sale", id: item.campaign_id }, item.campaign_id) : "–";
}

const WINDOWS = ["1h", "24h", "7d", "all"];

export function rankingsView(ctx, state) {
  if (!ctx.sides.read) return h("p", { class: "says old" }, ctx.t("side-missing.read"));
  const { by = "issued", window = "24h", tag = "" } = state.route.filters;
  return pane(ctx, {
    title: ctx.t("rankings"),
    poll: state.ranking,
    every: 5000,
    wide: true,
    key: "rankings",
    isEmpty: (is) => is.items.length === 0,
    tools: h(
      "div",
      { class: "row" },
      field(ctx, { id: "rank-by", label: ctx.t("by"), type: ["issued", "redeemed"].map((value) => ({ value, label: ctx.t(`by.${value}`) })), value: by, input: (value) => ctx.act.filter({ by: value }) }),
      field(ctx, { id: "rank-window", label: ctx.t("window"), type: WINDOWS.map((value) => ({ value, label: ctx.t(`window.${value}`) })), value: window, input: (value) => ctx.act.filter({ window: value }) }),
      field(ctx, { id: "rank-tag", label: ctx.t("tag"), value: tag, input: (value) => ctx.act.filter({ tag: value }) }),
    ),
    body: (is) => [
      h("p", { class: "hidden", role: "status" }, found(ctx, is.items.length)),
      table(ctx, {
        caption: ctx.t("rankings"),
        rows: is.items,
        keyOf: (one) => one.campaign_id,
        columns: [
          { title: ctx.t("rank"), number: true, cell: (one) => count(ctx, one.rank) },
          { title: ctx.t("name"), cell: (one) => link({ view: "sale", id: one.campaign_id }, one.name) },
          { title: ctx.t(`by.${by}`), number: true, cell: (one) => count(ctx, one.count) },
        ],
      }),
    ],
  });
}
