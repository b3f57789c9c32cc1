// SPDX-License-Identifier: Apache-2.0
// Answers for people who ask: one box for whatever they have, the history of what was found, and "why was I refused".
import { maskCode } from "../core/mask.js";
import { h } from "../h.js";
import { ageOf, badge, button, count, failureText, field, link, stateCell, table, when, whoWhenWhy } from "./parts.js";

/** What was read once stays as it was, and says since when. */
const asOf = (ctx, at) => Number.isFinite(at) && h("p", { class: "note" }, ctx.t("read-at"), " ", ageOf(ctx, { value: true, at }, 60_000));

/** For who does not see that something came. */
export const found = (ctx, many) => ctx.t("search.found", { found: count(ctx, many) });

/** Masked until it is asked for, one at a time. */
function code(ctx, state, coupon) {
  const shown = state.unmasked.has(coupon.coupon_id);
  return h(
    "span",
    { class: "secret" },
    h("code", {}, shown ? coupon.code : maskCode(coupon.code)),
    " ",
    button(ctx, ctx.t(shown ? "code.hide" : "code.show"), () => ctx.act.unmask(coupon.coupon_id), { "aria-label": `${ctx.t(shown ? "code.hide" : "code.show")} ${coupon.coupon_id}`, kind: "small" }),
  );
}

function historyTable(ctx, items, caption) {
  return table(ctx, {
    caption,
    rows: items,
    keyOf: (one) => `${one.position.slice}-${one.position.position}`,
    columns: [
      { title: ctx.t("time"), cell: (one) => when(ctx, one.recorded_at) },
      { title: ctx.t("what"), cell: (one) => ctx.t.maybe(`event.${one.type}`) ?? one.type },
      // The log does not say which key asked for an issue.
      { title: ctx.t("who"), cell: (one) => one.actor ?? (one.type === "CouponIssued" ? "–" : ctx.t("by-itself")) },
      { title: ctx.t("reason"), cell: (one) => one.reason ?? "–" },
      { title: ctx.t("position"), number: true, cell: (one) => `${one.position.slice}:${count(ctx, one.position.position)}` },
    ],
  });
}

/** A list that is read a page at a time: {items, more, loading, failure}. */
export function paged(ctx, list, body, more) {
  if (!list) return null;
  return [
    list.items.length > 0 && [asOf(ctx, list.at), body(list.items)],
    list.items.length === 0 && !list.loading && !list.failure && h("p", { class: "says empty" }, ctx.t("nothing-here")),
    list.failure && h("p", { class: "says failed", role: "alert" }, failureText(ctx, list.failure)),
    list.loading && h("p", { class: "says loading" }, ctx.t("loading")),
    list.more && !list.loading && button(ctx, ctx.t("more"), more),
  ];
}

function couponCard(ctx, state, coupon) {
  const id = coupon.coupon_id;
  const facts = [
    [ctx.t("state"), badge(ctx, coupon.status)],
    [ctx.t("code"), code(ctx, state, coupon)],
    [ctx.t("campaign"), link({ view: "sale", id: coupon.campaign_id }, coupon.campaign_id)],
    [ctx.t("user"), link({ view: "ask", filters: { q: coupon.user_id } }, coupon.user_id)],
    [ctx.t("sequence"), count(ctx, coupon.sequence)],
    [ctx.t("issued-at"), when(ctx, coupon.issued_at)],
    [ctx.t("expires-at"), coupon.expires_at ? when(ctx, coupon.expires_at) : ctx.t("never")],
    coupon.order_id && [ctx.t("order"), [coupon.order_id, coupon.discount_amount > 0 && ` (−${count(ctx, coupon.discount_amount)})`]],
    [ctx.t("position"), `${coupon.position.slice}:${count(ctx, coupon.position.position)}`],
    coupon.revoked_at && [ctx.t("status.revoked"), whoWhenWhy(ctx, { by: coupon.revoked_by, since: coupon.revoked_at, reason: coupon.reason })],
  ].filter(Boolean);
  return h(
    "article",
    { class: "pane wide", key: `coupon ${id}` },
    h("header", {}, h("h2", {}, ctx.t("coupon"), " ", h("code", {}, id))),
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", { key: name }, h("dt", {}, name), h("dd", {}, value)))),
    h(
      "div",
      { class: "controls" },
      button(ctx, ctx.t("history"), () => ctx.act.history("coupon", id)),
      ctx.may.admin && ctx.sides.write && ["issued", "reserved"].includes(coupon.status) && button(ctx, ctx.t("do.revoke"), () => ctx.act.open({ kind: "revoke", target: id }), { kind: "danger" }),
    ),
    paged(ctx, state.lists[`history coupon ${id}`], (items) => historyTable(ctx, items, ctx.t("history")), () => ctx.act.more(`history coupon ${id}`)),
  );
}

/** more: columns besides those that each list of coupons has. */
export function couponTable(ctx, state, items, caption, more = []) {
  return table(ctx, {
    caption,
    rows: items,
    keyOf: (one) => one.coupon_id,
    columns: [
      { title: ctx.t("sequence"), number: true, cell: (one) => count(ctx, one.sequence) },
      { title: ctx.t("coupon"), cell: (one) => link({ view: "ask", filters: { q: one.coupon_id } }, one.coupon_id) },
      { title: ctx.t("campaign"), cell: (one) => link({ view: "sale", id: one.campaign_id }, one.campaign_id) },
      { title: ctx.t("user"), cell: (one) => link({ view: "ask", filters: { q: one.user_id } }, one.user_id) },
      { title: ctx.t("state"), cell: (one) => badge(ctx, one.status) },
      { title: ctx.t("code"), cell: (one) => code(ctx, state, one) },
      { title: ctx.t("issued-at"), cell: (one) => when(ctx, one.issued_at) },
      ...more,
    ],
  });
}

function campaignCard(ctx, state, campaign) {
  const id = campaign.id;
  return h(
    "article",
    { class: "pane wide", key: `campaign ${id}` },
    h("header", {}, h("h2", {}, ctx.t("campaign"), " ", link({ view: "sale", id }, campaign.name)), stateCell(ctx, campaign)),
    h("p", {}, ctx.t("campaign.line", { issued: count(ctx, campaign.issued), quantity: count(ctx, campaign.quantity), redeemed: count(ctx, campaign.redeemed) })),
    h("div", { class: "controls" }, button(ctx, ctx.t("history"), () => ctx.act.history("campaign", id)), button(ctx, ctx.t("holders"), () => ctx.act.holders(id)), button(ctx, ctx.t("holders.csv"), () => ctx.act.csv(id), { disabled: state.csv?.rows !== undefined }), state.csv?.rows !== undefined && h("span", { role: "status" }, ctx.t("csv.rows", { rows: count(ctx, state.csv.rows) }))),
    state.csv?.failure && h("p", { class: "says failed", role: "alert" }, failureText(ctx, state.csv.failure)),
    paged(ctx, state.lists[`history campaign ${id}`], (items) => historyTable(ctx, items, ctx.t("history")), () => ctx.act.more(`history campaign ${id}`)),
    paged(ctx, state.lists[`holders ${id}`], (items) => couponTable(ctx, state, items, ctx.t("holders")), () => ctx.act.more(`holders ${id}`)),
  );
}

function userCard(ctx, state, user) {
  return h(
    "article",
    { class: "pane wide", key: `user ${user}` },
    h("header", {}, h("h2", {}, ctx.t("user"), " ", user)),
    paged(ctx, state.lists[`user ${user}`], (items) => couponTable(ctx, state, items, ctx.t("coupons-of", { user })), () => ctx.act.more(`user ${user}`)),
  );
}

/** A coupon that the order has no more stays on its list: what became of it is in its history. */
function orderCard(ctx, state, order) {
  const columns = [
    { title: ctx.t("order"), cell: (one) => (one.order_id === order ? ctx.t("order.has") : ctx.t("order.had")) },
    { title: ctx.t("history"), cell: (one) => button(ctx, ctx.t("history"), () => ctx.act.history("coupon", one.coupon_id), { kind: "small", "aria-label": `${ctx.t("history")} ${one.coupon_id}` }) },
  ];
  const list = state.lists[`order ${order}`];
  return h(
    "article",
    { class: "pane wide", key: `order ${order}` },
    h("header", {}, h("h2", {}, ctx.t("order"), " ", order)),
    paged(ctx, list, (items) => couponTable(ctx, state, items, ctx.t("coupons-of", { user: order }), columns), () => ctx.act.more(`order ${order}`)),
    (list?.items ?? []).map(({ coupon_id: id }) => {
      const name = `history coupon ${id}`;
      const title = `${ctx.t("history")} ${id}`;
      return state.lists[name] && h("section", { key: name }, h("h3", {}, title), paged(ctx, state.lists[name], (items) => historyTable(ctx, items, title), () => ctx.act.more(name)));
    }),
  );
}

function results(ctx, state) {
  const { search } = state;
  if (!search) return null;
  if (search.loading) return h("p", { class: "says loading", role: "status" }, ctx.t("loading"));
  const cards = search.found.map((one) => {
    if (one.kind === "coupon") return couponCard(ctx, state, one.value);
    if (one.kind === "campaign") return campaignCard(ctx, state, one.value);
    return one.kind === "user" ? userCard(ctx, state, one.value) : orderCard(ctx, state, one.value);
  });
  return [
    asOf(ctx, search.at),
    search.failure && h("p", { class: "says failed", role: "alert" }, failureText(ctx, search.failure)),
    cards.length === 0 && !search.failure && h("p", { class: "says empty", role: "status" }, ctx.t("search.nothing", { asked: search.asked })),
    cards,
  ];
}

/** What would have been decided then, and the sentence to send to who asks. */
function decisionForm(ctx, state) {
  const { why } = state;
  const input = (name) => (value) => ctx.act.whyEdit({ [name]: value });
  const answer = why.answer;
  return h(
    "section",
    { class: "pane wide", key: "why" },
    h("header", {}, h("h2", {}, ctx.t("why"))),
    h(
      "form",
      { class: "row", on: { submit: (event) => (event.preventDefault(), ctx.act.why()) } },
      field(ctx, { id: "why-campaign", label: ctx.t("campaign"), value: why.campaign, input: input("campaign"), required: true }),
      field(ctx, { id: "why-user", label: ctx.t("user"), value: why.user, input: input("user"), required: true }),
      field(ctx, { id: "why-at", label: ctx.t("why.at"), type: "datetime-local", step: 1, value: why.at, input: input("at"), hint: ctx.t("why.at-hint") }),
      h("button", { type: "submit", class: "button good", disabled: why.loading || !why.campaign || !why.user }, ctx.t("why.ask")),
    ),
    why.loading && h("p", { class: "says loading", role: "status" }, ctx.t("loading")),
    why.failure && h("p", { class: "says failed", role: "alert" }, failureText(ctx, why.failure)),
    answer &&
      h(
        "div",
        { class: "answer", role: "status" },
        h("p", {}, h("strong", {}, ctx.t.maybe(`code.${answer.decision}`) ?? answer.decision), " · ", when(ctx, answer.as_of)),
        h("p", {}, ctx.t("why.figures", { issued: count(ctx, answer.issued), released: count(ctx, answer.released), held: count(ctx, answer.held), limit: count(ctx, answer.per_user_limit) })),
        ["ko", "en"].map((lang) => h("blockquote", { key: lang, lang }, answer.message[lang], " ", button(ctx, ctx.t("copy"), () => ctx.act.copy(answer.message[lang]), { kind: "small", "aria-label": `${ctx.t("copy")} (${lang})` }))),
        state.copied && h("p", { class: "note", role: "status" }, ctx.t(`copied.${state.copied}`)),
      ),
  );
}

export function askView(ctx, state) {
  if (!ctx.sides.read) return h("p", { class: "says old" }, ctx.t("side-missing.read"));
  return [
    h(
      "form",
      { class: "search", role: "search", key: "search", on: { submit: (event) => (event.preventDefault(), ctx.act.search()) } },
      h("label", { for: "q" }, ctx.t("search.label")),
      h("input", { id: "q", type: "search", value: state.asked, autocomplete: "off", spellcheck: "false", placeholder: ctx.t("search.hint"), on: { input: (event) => ctx.act.asked(event.target.value) } }),
      h("button", { type: "submit", class: "button good" }, ctx.t("search")),
    ),
    state.recent.length > 0 && h("p", { class: "note", key: "recent" }, ctx.t("search.recent"), " ", state.recent.map((one) => [link({ view: "ask", filters: { q: one } }, one), " "])),
    h("p", { class: "hidden", role: "status", key: "found" }, state.search && !state.search.loading && found(ctx, state.search.found.length)),
    results(ctx, state),
    decisionForm(ctx, state),
  ];
}
