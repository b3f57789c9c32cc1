// SPDX-License-Identifier: Apache-2.0
// The dialog of something that is done. It is a tree of its own, drawn only when it changes itself: no answer that
// comes in meanwhile can move, close or empty it.
import { faultsOf, isDryRun, maySend, nameToType } from "../core/action.js";
import { changesOf, KINDS } from "../core/kinds.js";
import { h } from "../h.js";
import { button, count, failureText, field, table, when } from "./parts.js";

function stateLine(ctx, action) {
  const position = action.position && `${action.position.slice}:${count(ctx, action.position.position)}`;
  switch (action.state) {
    case "sent":
      return h("p", { class: "says loading" }, ctx.t("action.sent"));
    case "accepted":
      return h("p", { class: "says loading" }, ctx.t("action.accepted", { position }));
    case "visible":
      return h("p", { class: "says good" }, ctx.t("action.visible", { position }));
    case "done":
      return h("p", { class: "says good" }, ...doneWords(ctx, action.answer ?? {}));
    case "refused":
      if (action.problem.changes) return h("div", { class: "says failed" }, h("p", {}, ctx.t("changed-meanwhile")), h("ul", {}, action.problem.changes.map((one) => h("li", { key: one.name }, changeText(ctx, one)))));
      return h("p", { class: "says failed" }, ctx.t("action.refused"), " ", failureText(ctx, action.problem), action.problem.field && ` (${ctx.t.maybe(`field.${action.problem.field}`) ?? action.problem.field})`);
    case "unknown":
      return h("p", { class: "says failed" }, ctx.t("action.unknown"));
    default:
      return action.dry ? h("p", { class: "says old" }, ctx.t("action.dry", { voidable: count(ctx, action.dry.voidable) })) : null;
  }
}

function doneWords(ctx, { voided, paused }) {
  if (voided !== undefined) return [ctx.t("action.voided", { voided: count(ctx, voided) })];
  return [paused === undefined ? ctx.t("action.done") : ctx.t("action.paused", { paused: count(ctx, paused) })];
}

/** What somebody else made of a field while the dialog was open. */
function changeText(ctx, { name, was, now }) {
  const text = (value) => {
    if (value === null || value === undefined) return "–";
    if (name === "ends_at") return when(ctx, value);
    return typeof value === "number" ? count(ctx, value) : [value].flat().join(", ");
  };
  return [ctx.t(`field.${name}`), ": ", text(was), " → ", h("strong", {}, text(now))];
}

/** What another profile would change, before it is sent. */
function profileChanges(ctx, action) {
  const changes = changesOf(action.was, action.fields.value);
  if (!changes.length) return h("p", { class: "says empty" }, ctx.t("profile.same"));
  return table(ctx, {
    caption: ctx.t("profile.changes"),
    rows: changes,
    keyOf: (one) => one.name,
    columns: [
      { title: ctx.t("profile.changes"), cell: (one) => h("code", {}, one.name) },
      { title: ctx.t("profile.now"), number: true, cell: (one) => count(ctx, one.value) },
      { title: ctx.t("profile.then"), number: true, cell: (one) => [h("strong", {}, count(ctx, one.then)), " ", one.unit] },
    ],
  });
}

const OVER = new Set(["accepted", "visible", "done"]);

function inputs(ctx, action) {
  const faults = action.touched ? faultsOf(action) : {};
  const kind = KINDS[action.kind];
  const locked = !["draft", "refused"].includes(action.state);
  const danger = kind.dangerous && !isDryRun(action);
  const edit = (name) => (value) => ctx.act.edit({ fields: { [name]: value } });
  const words = (key) => key && ctx.t(key, { name: nameToType(action) });
  return [
    kind.fields.map(({ name, type, required }) =>
      field(ctx, {
        id: `f-${name}`,
        label: `${ctx.t(`field.${name}`)}${required ? " *" : ""}`,
        type: Array.isArray(type) ? type.map((value) => ({ value, label: ctx.t.maybe(`choice.${value}`) ?? value })) : type,
        value: action.fields[name] ?? "",
        fault: words(faults[name]) ?? (action.problem?.field === name ? failureText(ctx, action.problem) : undefined),
        hint: ctx.t.maybe(`hint.${action.kind}.${name}`),
        input: edit(name),
        disabled: locked,
        "aria-required": required ? "true" : undefined,
      }),
    ),
    action.kind === "profile" && profileChanges(ctx, action),
    !kind.noReason && !isDryRun(action) && field(ctx, { id: "f-reason", label: `${ctx.t("reason")}${danger ? " *" : ""}`, value: action.reason, fault: words(faults.reason), hint: ctx.t("hint.reason"), input: (value) => ctx.act.edit({ reason: value }), disabled: locked, maxlength: 200 }),
    danger && field(ctx, { id: "f-typed", label: ctx.t("type-the-name", { name: nameToType(action) }), value: action.typed, fault: words(faults.typed), input: (value) => ctx.act.edit({ typed: value }), disabled: locked }),
  ];
}

export function dialogView(ctx, action) {
  if (!action) return [];
  const over = OVER.has(action.state);
  const danger = KINDS[action.kind].dangerous;
  const label = isDryRun(action) ? ctx.t("action.count") : ctx.t(action.state === "unknown" ? "action.again" : `do.${action.kind}`);
  return [
    h(
      "form",
      { method: "dialog", novalidate: true, on: { submit: (event) => (event.preventDefault(), ctx.act.send()) } },
      h("h2", { id: "dialog-title" }, ctx.t(`title.${action.kind}`, { name: action.name })),
      h("p", { class: "note" }, ctx.t(`about.${action.kind}`)),
      !over && inputs(ctx, action),
      h("div", { role: "status", "aria-live": "assertive" }, stateLine(ctx, action)),
      h(
        "div",
        { class: "controls" },
        !over && h("button", { type: "submit", class: `button ${danger ? "danger" : "good"}`, disabled: action.state === "sent" || (action.touched && !maySend(action)) }, label),
        // What was sent is waited for, which has a bound: who leaves now would not learn what became of it.
        button(ctx, ctx.t(over ? "close" : "cancel"), () => ctx.act.dismiss(), { disabled: action.state === "sent" }),
      ),
    ),
  ];
}
