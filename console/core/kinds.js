// SPDX-License-Identifier: Apache-2.0
// What can be done, as data: the fields of each dialog, what is wrong with them, and the call it becomes. Pure; the
// service checks all of it again.

const CAMPAIGN_ID = /^[a-z0-9][a-z0-9-]{0,63}$/;
const QUANTITY_MAX = 100_000_000;

const whole = (min, max) => (text) => (/^\d+$/.test(text.trim()) && Number(text) >= min && Number(text) <= max ? undefined : "fault.whole-number");
const bytes = (max) => (text) => (new TextEncoder().encode(text).length <= max ? undefined : "fault.too-long");
const instant = (text) => (Number.isNaN(Date.parse(text)) ? "fault.time" : undefined);
const matches = (pattern, fault) => (text) => (pattern.test(text) ? undefined : fault);
const percent = (text) => (/^\d{1,3}(\.\d{1,2})?$/.test(text.trim()) && Number(text) >= 0.01 && Number(text) <= 100 ? undefined : "fault.percent");
const tranches = (text) => (parsePlan(text) ? undefined : "fault.plan");

/** "2026-12-01T20:00+09:00 500", one tranche a line -> [{at, quantity}], or null. */
export function parsePlan(text) {
  const plan = [];
  for (const line of text.split("\n").map((one) => one.trim()).filter(Boolean)) {
    const [, at, quantity] = /^(\S+)\s+(\d+)$/.exec(line) ?? [];
    if (!at || Number.isNaN(Date.parse(at)) || Number(quantity) < 1 || Number(quantity) > QUANTITY_MAX) return null;
    plan.push({ at: new Date(at).toISOString(), quantity: Number(quantity) });
  }
  return plan.length <= 100 ? plan : null;
}

const list = (text) => text.split(",").map((one) => one.trim()).filter(Boolean);
const iso = (text) => new Date(text).toISOString();

/** Only what was filled in: a field left empty is not sent. */
function given(fields, makers) {
  const body = {};
  for (const [name, make] of Object.entries(makers)) if ((fields[name] ?? "") !== "") body[name] = make(fields[name]);
  return body;
}

const discountOf = ({ discount_type: type = "percent", discount_value: value }) =>
  type === "fixed" ? { type, amount: Number(value) } : { type, percent: Number(value) };

/**
 * fields: {name, type, required, check}; type "text", "number", "datetime-local", "textarea" or a list of choices.
 * call(api, action, body) sends it. dangerous: the name has to be typed, and a reason given.
 */
export const KINDS = {
  pause: { fields: [], call: (api, { target }, body, key) => api.pauseCampaign(target, body, key) },
  resume: { fields: [], call: (api, { target }, body, key) => api.resumeCampaign(target, body, key) },
  close: { fields: [], dangerous: true, call: (api, { target }, body, key) => api.closeCampaign(target, body, key) },
  release: {
    fields: [{ name: "quantity", type: "number", required: true, check: whole(1, QUANTITY_MAX) }],
    body: (fields) => ({ quantity: Number(fields.quantity) }),
    call: (api, { target }, body, key) => api.releaseStock(target, body, key),
  },
  edit: {
    fields: [
      { name: "name", type: "text", check: bytes(200) },
      { name: "quantity", type: "number", check: whole(1, QUANTITY_MAX) },
      { name: "per_user_limit", type: "number", check: whole(1, 100) },
      { name: "ends_at", type: "datetime-local", check: instant },
    ],
    body: (fields) => given(fields, { name: String, quantity: Number, per_user_limit: Number, ends_at: iso }),
    call: (api, { target }, body, key) => api.changeCampaign(target, body, key),
  },
  create: {
    noReason: true,
    fields: [
      { name: "id", type: "text", check: matches(CAMPAIGN_ID, "fault.campaign-id") },
      { name: "name", type: "text", required: true, check: bytes(200) },
      { name: "discount_type", type: ["percent", "fixed"] },
      { name: "discount_value", type: "number", required: true },
      { name: "currency", type: "text", required: true, check: matches(/^[A-Z]{3}$/, "fault.currency") },
      { name: "quantity", type: "number", required: true, check: whole(1, QUANTITY_MAX) },
      { name: "released", type: "number", check: whole(0, QUANTITY_MAX) },
      { name: "per_user_limit", type: "number", check: whole(1, 100) },
      { name: "starts_at", type: "datetime-local", check: instant },
      { name: "ends_at", type: "datetime-local", check: instant },
      { name: "coupon_valid_days", type: "number", check: whole(1, 36_500) },
      { name: "tags", type: "text" },
      { name: "code_prefix", type: "text", check: matches(/^[A-Z0-9]{1,12}$/, "fault.code-prefix") },
      { name: "release_plan", type: "textarea", check: tranches },
    ],
    also(fields) {
      const faults = {};
      if (!(fields.discount_value ?? "").trim()) return faults;
      const check = fields.discount_type === "fixed" ? whole(1, 1e12) : percent;
      const fault = check(fields.discount_value);
      if (fault) faults.discount_value = fault;
      if (fields.starts_at && fields.ends_at && Date.parse(fields.ends_at) <= Date.parse(fields.starts_at)) faults.ends_at = "fault.window";
      return faults;
    },
    body: (fields) => ({
      ...given(fields, {
        id: String, name: String, currency: String, quantity: Number, released: Number, per_user_limit: Number, starts_at: iso, ends_at: iso,
        coupon_valid_days: Number, tags: list, code_prefix: String, release_plan: parsePlan,
      }),
      discount: discountOf(fields),
    }),
    call: (api, _action, body, key) => api.createCampaign(body, key),
  },
  "pause-all": {
    fields: [],
    dangerous: true,
    // One key for the dialog, and of it one for each campaign: sent again, each is paused once.
    call: async (api, { targets }, body, { idempotencyKey }) => {
      for (const id of targets) await api.pauseCampaign(id, body, { idempotencyKey: `${idempotencyKey}.${id}` });
      return {};
    },
  },
  void: {
    fields: [
      { name: "created_by", type: "text", check: bytes(64) },
      { name: "created_after", type: "datetime-local", check: instant },
      { name: "created_before", type: "datetime-local", check: instant },
    ],
    // Without a bound it would match everything that was never sold.
    also: (fields) => (["created_by", "created_after", "created_before"].some((name) => (fields[name] ?? "") !== "") ? {} : { created_by: "fault.bound-missing" }),
    dangerous: true,
    dryRun: true,
    body: (fields) => given(fields, { created_by: String, created_after: iso, created_before: iso }),
    call: (api, _action, body, key) => api.voidCampaigns(body, key),
  },
  "suspend-issuer": {
    fields: [{ name: "issuer", type: "text", required: true, check: bytes(64) }],
    dangerous: true,
    nameField: "issuer",
    call: (api, { fields }, body, key) => api.suspendIssuer(fields.issuer.trim(), body, key),
  },
  "resume-issuer": { fields: [], call: (api, { target }, body, key) => api.resumeIssuer(target, body, key) },
  setting: {
    fields: [{ name: "value", type: "text" }],
    // Empty gives it back to the profile.
    call: (api, { target, fields }, { reason }, key) => {
      const text = (fields.value ?? "").trim();
      return api.putSetting(target, text === "" ? null : /^\d+$/.test(text) ? Number(text) : text, { ...key, reason });
    },
  },
  profile: {
    fields: [{ name: "value", type: ["normal", "spike", "incident"] }],
    dangerous: true,
    call: (api, { fields }, { reason }, key) => api.putSetting("profile", fields.value ?? "normal", { ...key, reason }),
  },
  revoke: { fields: [], dangerous: true, call: (api, { target }, body, key) => api.revoke(target, body, key) },
};

/** What is wrong with the fields of a dialog, as keys of the catalogue by field. */
export function faultsOfFields(kind, fields) {
  const faults = {};
  for (const { name, required, check } of KINDS[kind].fields) {
    const text = fields[name] ?? "";
    const fault = text.trim() === "" ? required && "fault.missing" : check?.(text);
    if (fault) faults[name] = fault;
  }
  return { ...KINDS[kind].also?.(fields), ...faults };
}

/** What is sent for it; without a reason where none was given. */
export function bodyOf({ kind, fields, reason }) {
  const body = KINDS[kind].body?.(fields) ?? {};
  return reason.trim() === "" || KINDS[kind].noReason ? body : { ...body, reason: reason.trim() };
}
