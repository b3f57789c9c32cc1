// SPDX-License-Identifier: Apache-2.0
// What is around every view: where one is, which language and zone, who one is; and the page before a key was given.
import { VIEWS } from "../core/route.js";
import { h } from "../h.js";
import { askView } from "./ask.js";
import { controlView } from "./control.js";
import { auditView, rankingsView } from "./lists.js";
import { button, failureText, field, link } from "./parts.js";
import { saleView } from "./sale.js";

const VIEW_OF = { sale: saleView, control: controlView, ask: askView, audit: auditView, rankings: rankingsView };
const NEEDS_ADMIN = new Set(["control", "audit"]);

function preferences(ctx) {
  const other = ctx.lang === "ko" ? "en" : "ko";
  return h(
    "div",
    { class: "preferences" },
    button(ctx, ctx.t("language.other"), () => ctx.act.prefer({ lang: other }), { kind: "small", lang: other }),
    button(ctx, ctx.t(ctx.zone === "kst" ? "zone.kst" : "zone.local"), () => ctx.act.prefer({ zone: ctx.zone === "kst" ? "local" : "kst" }), { kind: "small", title: ctx.t("zone.title") }),
  );
}

export function signIn(ctx, state) {
  return [
    h("header", { class: "top", key: "top" }, h("strong", {}, "Firstcome"), preferences(ctx)),
    h(
      "main",
      { id: "main", class: "signin", key: "signin" },
      h(
        "form",
        { on: { submit: (event) => (event.preventDefault(), ctx.act.signIn()) } },
        h("h1", {}, ctx.t("sign-in.title")),
        h("p", {}, ctx.t("sign-in.about")),
        field(ctx, { id: "key", label: ctx.t("sign-in.key"), type: "password", value: state.signIn.key, fault: state.signIn.failure && failureText(ctx, state.signIn.failure), input: (value) => ctx.act.signInEdit({ key: value }), required: true }),
        h("div", { class: "field check" }, h("input", { id: "keep", type: "checkbox", checked: state.signIn.keep, on: { change: (event) => ctx.act.signInEdit({ keep: event.target.checked }) } }), h("label", { for: "keep" }, ctx.t("sign-in.keep"))),
        h("button", { type: "submit", class: "button good", disabled: state.signIn.loading || state.signIn.key === "" }, ctx.t(state.signIn.loading ? "loading" : "sign-in")),
      ),
    ),
  ];
}

export function frame(ctx, state) {
  if (!state.signedIn) return signIn(ctx, state);
  const views = VIEWS.filter((view) => ctx.may.admin || !NEEDS_ADMIN.has(view));
  return [
    h("a", { class: "skip", href: "#main", key: "skip", on: { click: (event) => (event.preventDefault(), ctx.act.focusMain()) } }, ctx.t("skip")),
    h(
      "header",
      { class: "top", key: "top" },
      h("strong", {}, "Firstcome"),
      h("nav", { "aria-label": ctx.t("views") }, views.map((view) => h("a", { key: view, href: ctx.act.href({ view, id: view === "sale" ? state.lastSale : "" }), "aria-current": state.route.view === view ? "page" : undefined }, ctx.t(`view.${view}`)))),
      state.route.view === "sale" && state.route.id && link({ view: "sale" }, ctx.t("all-campaigns")),
      h("span", { class: "role" }, ctx.t(ctx.may.admin ? "role.admin" : "role.read")),
      preferences(ctx),
      button(ctx, ctx.t("sign-out"), () => ctx.act.signOut(), { kind: "small" }),
    ),
    h("main", { id: "main", tabindex: -1, class: `view ${state.route.view}`, key: state.route.view }, h("h1", { class: "hidden" }, ctx.t(`view.${state.route.view}`)), VIEW_OF[state.route.view](ctx, state)),
  ];
}
