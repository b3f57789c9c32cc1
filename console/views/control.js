// SPDX-License-Identifier: Apache-2.0
// Where things are done that are not about the one campaign somebody looks at: creating, pausing all, settings, kill
// switches, voiding. Each button opens a dialog; nothing happens at a click.
import { h } from "../h.js";
import { sentence } from "./sale.js";
import { badge, button, count, link, pane, table } from "./parts.js";

function campaignsPane(ctx, state) {
  const active = (state.campaigns.value ?? []).filter((one) => ["active", "sold_out", "scheduled"].includes(one.status));
  return pane(ctx, {
    title: ctx.t("campaigns"),
    poll: state.campaigns,
    every: 5000,
    wide: true,
    key: "campaigns",
    isEmpty: (list) => list.length === 0,
    empty: ctx.t("campaigns.none"),
    tools: h(
      "div",
      { class: "controls" },
      button(ctx, ctx.t("do.create"), () => ctx.act.open({ kind: "create" }), { kind: "good", "data-do": "create" }),
      button(ctx, ctx.t("do.pause-all", { count: count(ctx, active.length) }), () => ctx.act.open({ kind: "pause-all", name: ctx.t("pause-all.name"), targets: active.map((one) => one.id) }), { kind: "danger", disabled: active.length === 0, "data-do": "pause-all" }),
      button(ctx, ctx.t("do.void"), () => ctx.act.open({ kind: "void" }), { kind: "danger", "data-do": "void" }),
    ),
    body: (list) =>
      table(ctx, {
        caption: ctx.t("campaigns"),
        rows: list,
        keyOf: (one) => one.id,
        columns: [
          { title: ctx.t("name"), cell: (one) => link({ view: "sale", id: one.id }, one.name) },
          { title: ctx.t("state"), cell: (one) => badge(ctx, one.status) },
          { title: ctx.t("figure.remaining"), number: true, cell: (one) => count(ctx, one.remaining) },
          {
            title: ctx.t("controls"),
            cell: (one) =>
              one.status === "paused"
                ? button(ctx, ctx.t("do.resume"), () => ctx.act.open({ kind: "resume", target: one.id }), { "aria-label": `${ctx.t("do.resume")} ${one.name}` })
                : ["active", "sold_out", "scheduled"].includes(one.status) && button(ctx, ctx.t("do.pause"), () => ctx.act.open({ kind: "pause", target: one.id }), { "aria-label": `${ctx.t("do.pause")} ${one.name}` }),
          },
        ],
      }),
  });
}

function settingsPane(ctx, state) {
  return pane(ctx, {
    title: ctx.t("settings"),
    poll: state.settings,
    every: 5000,
    wide: true,
    key: "settings",
    body: (is) => [
      h(
        "div",
        { class: "standing" },
        h("p", {}, ctx.t("profile"), " ", h("strong", {}, ctx.t(`profile.${is.profile}`)), " · ", ctx.t("settings.follow", { count: count(ctx, is.settings.filter((one) => one.source !== "set").length), all: count(ctx, is.settings.length) })),
        button(ctx, ctx.t("do.profile"), () => ctx.act.open({ kind: "profile", name: ctx.t("profile.name"), fields: { value: is.profile } }), { "data-do": "profile" }),
      ),
      table(ctx, {
        caption: ctx.t("settings"),
        rows: is.settings,
        keyOf: (one) => one.name,
        columns: [
          { title: ctx.t("name"), cell: (one) => [h("code", {}, one.name), h("p", { class: "note" }, one.meaning)] },
          { title: ctx.t("value"), number: true, cell: (one) => `${count(ctx, one.value)} ${one.unit}` },
          { title: ctx.t("bounds"), number: true, cell: (one) => `${count(ctx, one.min)} … ${count(ctx, one.max)}` },
          // What is set by hand stays when the profile changes; the rest goes with it.
          { title: ctx.t("source"), cell: (one) => h("span", { class: `source ${one.source}` }, ctx.t(`source.${one.source}`)) },
          { title: ctx.t("controls"), cell: (one) => button(ctx, ctx.t("do.setting"), () => ctx.act.open({ kind: "setting", target: one.name, fields: { value: String(one.value) } }), { "aria-label": `${ctx.t("do.setting")} ${one.name}` }) },
        ],
      }),
    ],
  });
}

function issuersPane(ctx, state) {
  return pane(ctx, {
    title: ctx.t("issuers"),
    poll: state.settings,
    every: 5000,
    key: "issuers",
    tools: button(ctx, ctx.t("do.suspend-issuer"), () => ctx.act.open({ kind: "suspend-issuer" }), { kind: "danger", "data-do": "suspend-issuer" }),
    body: (is) =>
      is.suspended.length === 0
        ? h("p", { class: "says empty" }, ctx.t("issuers.none"))
        : h("ul", { class: "list" }, is.suspended.map((name) => h("li", { key: name }, h("code", {}, name), " ", button(ctx, ctx.t("do.resume-issuer"), () => ctx.act.open({ kind: "resume-issuer", target: name }), { "aria-label": `${ctx.t("do.resume-issuer")} ${name}` })))),
  });
}

export function controlView(ctx, state) {
  if (!ctx.sides.write) return [sentence(ctx, state), h("p", { class: "says old", key: "half" }, ctx.t("side-missing.write"))];
  if (!ctx.may.admin) return [sentence(ctx, state), h("p", { class: "says old", key: "half" }, ctx.t("may-not"))];
  return [sentence(ctx, state), ctx.sides.read && campaignsPane(ctx, state), issuersPane(ctx, state), settingsPane(ctx, state)];
}
