// SPDX-License-Identifier: Apache-2.0
// Where things are done that are not about the one campaign somebody looks at: creating, pausing all, settings, kill
// switches, voiding. Each button opens a dialog; nothing happens at a click.
import { SELLING } from "../core/kinds.js";
import { h } from "../h.js";
import { button, count, pane, table, whoWhenWhy } from "./parts.js";
import { campaignsPane, sentence } from "./sale.js";

function buttonsPane(ctx, state) {
  const open = (kind, more) => () => ctx.act.open({ kind, ...more });
  return campaignsPane(ctx, state, {
    tools: h(
      "div",
      { class: "controls" },
      button(ctx, ctx.t("do.create"), open("create"), { kind: "good", "data-do": "create" }),
      button(ctx, ctx.t("do.pause-all"), open("pause-all", { name: ctx.t("pause-all.name") }), { kind: "danger", "data-do": "pause-all" }),
      button(ctx, ctx.t("do.void"), open("void"), { kind: "danger", "data-do": "void" }),
    ),
    controls: [
      {
        title: ctx.t("controls"),
        cell: ({ id, name, status }) => {
          const kind = status === "paused" ? "resume" : SELLING.includes(status) && "pause";
          return kind && button(ctx, ctx.t(`do.${kind}`), open(kind, { target: id }), { "aria-label": `${ctx.t(`do.${kind}`)} ${name}` });
        },
      },
    ],
  });
}

const PROFILES = ["normal", "spike", "incident"];

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
        h("p", {}, ctx.t("profile"), " ", h("strong", {}, ctx.t(`profile.${is.profile}`)), " ", whoWhenWhy(ctx, is.profile_set ?? {})),
        h("p", { class: "note" }, ctx.t("settings.follow", { count: count(ctx, is.settings.filter((one) => one.source !== "set").length), all: count(ctx, is.settings.length) })),
        button(ctx, ctx.t("do.profile"), () => ctx.act.open({ kind: "profile", name: ctx.t("profile.name"), was: is, fields: { value: is.profile } }), { "data-do": "profile" }),
      ),
      table(ctx, {
        caption: ctx.t("settings"),
        rows: is.settings,
        keyOf: (one) => one.name,
        columns: [
          { title: ctx.t("name"), cell: (one) => [h("code", {}, one.name), h("p", { class: "note" }, one.meaning, " (", count(ctx, one.min), " … ", count(ctx, one.max), " ", one.unit, ")")] },
          { title: ctx.t("value"), number: true, cell: (one) => h("strong", {}, count(ctx, one.value)) },
          ...PROFILES.map((profile) => ({
            title: ctx.t(`profile.${profile}`),
            number: true,
            // What another profile would change is marked; what is set by hand, it would not.
            cell: (one) => h("span", { class: one.source !== "set" && one.profiles[profile] !== one.value ? "differs" : "same" }, count(ctx, one.profiles[profile])),
          })),
          { title: ctx.t("source"), cell: (one) => [h("span", { class: `source ${one.source}` }, ctx.t(`source.${one.source}`)), one.since && h("p", { class: "note" }, whoWhenWhy(ctx, one))] },
          { title: ctx.t("controls"), cell: (one) => button(ctx, ctx.t("do.setting"), () => ctx.act.open({ kind: "setting", target: one.name, was: one, fields: { value: String(one.value) } }), { "aria-label": `${ctx.t("do.setting")} ${one.name}` }) },
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
    wide: true,
    key: "issuers",
    body: (is) =>
      table(ctx, {
        caption: ctx.t("issuers"),
        rows: is.issuers.map((name) => ({ name, suspended: is.suspended.includes(name), ...is.suspensions.find((one) => one.issuer === name) })),
        keyOf: (one) => one.name,
        columns: [
          { title: ctx.t("name"), cell: (one) => h("code", {}, one.name) },
          { title: ctx.t("state"), cell: (one) => [h("span", { class: `badge ${one.suspended ? "paused" : "active"}` }, ctx.t(one.suspended ? "issuer.suspended" : "issuer.acts")), one.suspended && h("p", { class: "note" }, whoWhenWhy(ctx, one))] },
          {
            title: ctx.t("controls"),
            cell: (one) => {
              const kind = one.suspended ? "resume-issuer" : "suspend-issuer";
              return button(ctx, ctx.t(`do.${kind}`), () => ctx.act.open({ kind, target: one.name }), { kind: one.suspended ? "plain" : "danger", "aria-label": `${ctx.t(`do.${kind}`)} ${one.name}`, "data-do": kind });
            },
          },
        ],
      }),
  });
}

export function controlView(ctx, state) {
  if (!ctx.sides.write) return [sentence(ctx, state), h("p", { class: "says old", key: "half" }, ctx.t("side-missing.write"))];
  if (!ctx.may.admin) return [sentence(ctx, state), h("p", { class: "says old", key: "half" }, ctx.t("may-not"))];
  return [sentence(ctx, state), ctx.sides.read && buttonsPane(ctx, state), issuersPane(ctx, state), settingsPane(ctx, state)];
}
