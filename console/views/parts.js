// SPDX-License-Identifier: Apache-2.0
// What every view is made of. `ctx`: {t, lang, zone, now, units, act, may, sides}.
import * as format from "../core/format.js";
import { freshness } from "../core/poll.js";
import { formatRoute } from "../core/route.js";
import { h } from "../h.js";

export const count = (ctx, value) => format.number(value, ctx.lang);
export const perSecond = (ctx, value) => format.rate(value, ctx.lang);
export const span = (ctx, ms) => format.span(ms, ctx.units);

/** An instant in the zone that was chosen; in UTC for who points at it. */
export function when(ctx, at, { short = false } = {}) {
  const utc = format.utc(at);
  if (!utc) return h("span", {}, "–");
  return h("time", { datetime: utc, title: utc }, format.time(at, { lang: ctx.lang, zone: ctx.zone, short }));
}

export function link(route, ...children) {
  return h("a", { href: formatRoute(route) }, ...children);
}

export function button(ctx, label, run, { kind = "plain", disabled = false, ...more } = {}) {
  return h("button", { type: "button", class: `button ${kind}`, disabled, on: { click: run }, ...more }, label);
}

/** A state in words with a shape as well as a colour. */
export function badge(ctx, status) {
  return h("span", { class: `badge ${status}` }, ctx.t(`status.${status}`));
}

/** Who did something, when, and why: "by ops, 2026-12-01 20:00:05 (3 min ago): price is wrong". */
export function whoWhenWhy(ctx, { by, since, reason }) {
  if (!since) return null;
  return [ctx.t("by-whom", { actor: by ?? ctx.t("nobody") }), " ", when(ctx, since), " (", ctx.t("age", { age: format.age(Date.parse(since), ctx.now, ctx.units) }), "): ", reason || ctx.t("no-reason")];
}

/** Of a campaign that is held or closed: by whom, since when and why, as its state says. */
export const standing = (ctx, campaign) => whoWhenWhy(ctx, { by: campaign.status_by, since: campaign.status_since, reason: campaign.status_reason });

/** A campaign's state in a table, with who holds it. */
export function stateCell(ctx, campaign) {
  const why = standing(ctx, campaign);
  return [badge(ctx, campaign.status), why && h("p", { class: "note" }, why)];
}

/** What went wrong, for people, and what to look for in the logs. */
export function failureText(ctx, failure) {
  const said = (failure.code && ctx.t.maybe(`problem.${failure.code}`)) ?? failure.detail ?? failure.title ?? failure.message;
  return failure.requestId ? `${said} (${ctx.t("request-id", { id: failure.requestId })})` : said;
}

/** How old what is shown is; in words where it is too old. */
export function ageOf(ctx, poll, every) {
  if (poll?.value === undefined) return null;
  const old = freshness(poll, ctx.now, every) === "stale";
  return h("span", { class: old ? "age stale" : "age" }, ctx.t(old ? "age.stale" : "age", { age: format.age(poll.at, ctx.now, ctx.units) }));
}

/**
 * A part of the page that depends on one answer: it says that it is loading, that it failed, how old it is, or that there
 * is nothing; else it is `body(value)`.
 */
export function pane(ctx, { title, poll, every = 1000, empty, isEmpty = () => false, tools, body, wide = false, key }) {
  const state = freshness(poll ?? {}, ctx.now, every);
  const value = poll?.value;
  const says = (kind, ...text) => h("p", { class: `says ${kind}`, role: kind === "failed" ? "alert" : undefined }, ...text);
  return h(
    "section",
    { class: `pane ${state}${wide ? " wide" : ""}`, key, "aria-busy": state === "loading" ? "true" : undefined },
    h("header", {}, h("h2", {}, title), ageOf(ctx, poll, every), tools),
    state === "loading" && says("loading", ctx.t("loading")),
    state === "failed" && says("failed", failureText(ctx, poll.failure)),
    value !== undefined && poll.failure && says("old", ctx.t("shown-from-before", { why: failureText(ctx, poll.failure) })),
    value !== undefined && (isEmpty(value) ? says("empty", empty ?? ctx.t("nothing-here")) : body(value)),
  );
}

/** columns: [{title, cell(row), number}]. `caption` is for who cannot see the heading above it. */
export function table(ctx, { caption, columns, rows, keyOf }) {
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.number ? "number" : undefined }, column.title)))),
      h(
        "tbody",
        {},
        rows.map((row) => h("tr", { key: keyOf?.(row) }, columns.map((column) => h("td", { class: column.number ? "number" : undefined }, column.cell(row))))),
      ),
    ),
  );
}

export function field(ctx, { id, label, value = "", type = "text", fault, hint, input, ...more }) {
  const described = [fault && `${id}-fault`, hint && `${id}-hint`].filter(Boolean).join(" ") || undefined;
  const shared = { id, "aria-invalid": fault ? "true" : undefined, "aria-describedby": described, on: { input: (event) => input(event.target.value) }, ...more };
  let control;
  if (Array.isArray(type)) {
    control = h("select", { ...shared, value: value || valueOf(type[0]) }, type.map((one) => h("option", { value: valueOf(one) }, labelOf(one))));
  } else if (type === "textarea") {
    control = h("textarea", { ...shared, rows: 3, value });
  } else {
    // A number as text: a wheel over it must not change how many coupons are released.
    control = h("input", { ...shared, type: type === "number" ? "text" : type, inputmode: type === "number" ? "decimal" : undefined, autocomplete: "off", spellcheck: "false", value });
  }
  return h(
    "div",
    { class: "field", key: id },
    h("label", { for: id }, label),
    control,
    hint && h("p", { id: `${id}-hint`, class: "hint" }, hint),
    fault && h("p", { id: `${id}-fault`, class: "fault", role: "alert" }, fault),
  );
}
const valueOf = (one) => (typeof one === "object" ? one.value : one);
const labelOf = (one) => (typeof one === "object" ? one.label : one);
