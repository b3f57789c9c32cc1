// SPDX-License-Identifier: Apache-2.0
// What can be done, as data: the fields of each dialog, what is wrong with them, and the call it becomes. Pure; the
// service checks all of it again.

const CAMPAIGN_ID = /^[a-z0-9][a-z0-9-]{0,63}$/;
const QUANTITY_MAX = 100_000_000;
const AMOUNT_MAX = 1e12;
/** States in which something is issued, or will be. */
export const SELLING = ["active", "sold_out", "scheduled"];

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
const two = (value) => String(value).padStart(2, "0");

/** An instant as a field of type datetime-local has it: in the zone of this computer. */
export function localTime(at) {
  if (!at) return "";
  const date = new Date(at);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** What a campaign says of itself, as the fields of the edit dialog. */
export function fieldsOf(campaign) {
  const { name, quantity, per_user_limit: limit, ends_at: ends, tags } = campaign;
  return { name, quantity: String(quantity), per_user_limit: String(limit), ends_at: localTime(ends), tags: tags.join(", ") };
}

const TRIES = 3;

/** Somebody changed what the dialog is about: refused here, with what it is `now`, and which of `watched` differ. */
function changedMeanwhile(was, now, watched) {
  const changes = watched.filter((name) => JSON.stringify(was[name]) !== JSON.stringify(now[name])).map((name) => ({ name, was: was[name], now: now[name] }));
  if (!changes.length) return null;
  const problem = { code: "changed-meanwhile", title: "Somebody changed it meanwhile.", changes };
  return Object.assign(new Error(problem.title), { code: problem.code, problem, now });
}

/**
 * Sends it on the condition that the campaign is still what the dialog was opened for (If-Match). Selling changes a campaign, too: where
 * nothing of `watched` differs, it is tried again on what it is now; and where it sells faster than one can look, what was
 * compared a moment ago is enough.
 */
const conditionally = (watched, send) => async (api, action, body, key) => {
  let ifMatch = action.was;
  for (let tries = 0; ; tries++) {
    try {
      return await send(api, action, body, { ...key, ifMatch });
    } catch (error) {
      if (error.code !== "precondition-failed") throw error;
      const now = await api.campaign(action.target, { fromStore: true });
      const changed = changedMeanwhile(action.was, now, watched);
      if (changed) throw changed;
      ifMatch = tries < TRIES ? now : undefined;
    }
  }
};
const EDITED = ["name", "quantity", "per_user_limit", "ends_at", "tags"];
const iso = (text) => new Date(text).toISOString();

const unless = (...codes) => (error) => {
  if (!codes.includes(error.code)) throw error;
};

/** Only what was filled in: a field left empty is not sent. */
function given(fields, makers) {
  const body = {};
  for (const [name, make] of Object.entries(makers)) if ((fields[name] ?? "") !== "") body[name] = make(fields[name]);
  return body;
}

const discountOf = ({ discount_type: type = "percent", discount_value: value, max_amount: most }) =>
  type === "fixed" ? { type, amount: Number(value) } : { type, percent: Number(value), ...(most && { max_amount: Number(most) }) };

/**
 * fields: {name, type, required, check}; type "text", "number", "datetime-local", "textarea" or a list of choices.
 * call(api, action, body, {idempotencyKey}) sends it. dangerous: the name has to be typed, and a reason given.
 */
export const KINDS = {
  pause: { fields: [], call: (api, { target }, body, key) => api.pauseCampaign(target, body, key) },
  resume: { fields: [], call: (api, { target }, body, key) => api.resumeCampaign(target, body, key) },
  close: { fields: [], dangerous: true, call: (api, { target }, body, key) => api.closeCampaign(target, body, key) },
  release: {
    fields: [{ name: "quantity", type: "number", required: true, check: whole(1, QUANTITY_MAX) }],
    body: (fields) => ({ quantity: Number(fields.quantity) }),
    call: conditionally(["quantity", "released"], (api, { target }, body, key) => api.releaseStock(target, body, key)),
  },
  edit: {
    fields: [
      { name: "name", type: "text", check: bytes(200) },
      { name: "quantity", type: "number", check: whole(1, QUANTITY_MAX) },
      { name: "per_user_limit", type: "number", check: whole(1, 100) },
      { name: "ends_at", type: "datetime-local", check: instant },
      { name: "tags", type: "text" },
    ],
    // Only what is another than when the dialog opened.
    body: (fields, { was }) => {
      const before = fieldsOf(was);
      const changed = Object.fromEntries(EDITED.filter((name) => fields[name] !== before[name]).map((name) => [name, fields[name]]));
      return given(changed, { name: String, quantity: Number, per_user_limit: Number, ends_at: iso, tags: list });
    },
    also: (fields, action) => (Object.keys(KINDS.edit.body(fields, action)).length ? {} : { name: "fault.nothing-changed" }),
    call: conditionally(EDITED, (api, { target }, body, key) => api.changeCampaign(target, body, key)),
  },
  create: {
    noReason: true,
    fields: [
      { name: "id", type: "text", check: matches(CAMPAIGN_ID, "fault.campaign-id") },
      { name: "name", type: "text", required: true, check: bytes(200) },
      { name: "discount_type", type: ["percent", "fixed"] },
      { name: "discount_value", type: "number", required: true },
      { name: "max_amount", type: "number", check: whole(1, AMOUNT_MAX) },
      { name: "min_order_amount", type: "number", check: whole(0, AMOUNT_MAX) },
      { name: "currency", type: "text", required: true, check: matches(/^[A-Z]{3}$/, "fault.currency") },
      { name: "quantity", type: "number", required: true, check: whole(1, QUANTITY_MAX) },
      { name: "released", type: "number", check: whole(0, QUANTITY_MAX) },
      { name: "per_user_limit", type: "number", check: whole(1, 100) },
      { name: "starts_at", type: "datetime-local", check: instant },
      { name: "ends_at", type: "datetime-local", check: instant },
      { name: "coupon_valid_days", type: "number", check: whole(1, 36_500) },
      { name: "coupon_expires_at", type: "datetime-local", check: instant },
      { name: "utc_offset", type: "text", check: matches(/^[+-]\d\d:\d\d$/, "fault.offset") },
      { name: "tags", type: "text" },
      { name: "code_prefix", type: "text", check: matches(/^[A-Z0-9]{1,12}$/, "fault.code-prefix") },
      { name: "release_plan", type: "textarea", check: tranches },
    ],
    also(fields) {
      const faults = {};
      if (!(fields.discount_value ?? "").trim()) return faults;
      const check = fields.discount_type === "fixed" ? whole(1, AMOUNT_MAX) : percent;
      const fault = check(fields.discount_value);
      if (fault) faults.discount_value = fault;
      if (fields.starts_at && fields.ends_at && Date.parse(fields.ends_at) <= Date.parse(fields.starts_at)) faults.ends_at = "fault.window";
      return faults;
    },
    body: (fields) => ({
      ...given(fields, {
        id: String, name: String, currency: String, quantity: Number, released: Number, per_user_limit: Number, starts_at: iso, ends_at: iso,
        min_order_amount: Number, coupon_valid_days: Number, coupon_expires_at: iso, utc_offset: String, tags: list, code_prefix: String, release_plan: parsePlan,
      }),
      discount: discountOf(fields),
    }),
    call: (api, _action, body, key) => api.createCampaign(body, key),
  },
  "pause-all": {
    fields: [],
    dangerous: true,
    // Looked for when it is sent: all there are, not those of a list that was drawn. One key for the dialog, and of it one for each
    // campaign: sent again, each is paused once.
    call: async (api, _action, body, { idempotencyKey }) => {
      const ids = [];
      for (const status of SELLING) for await (const { id } of api.campaigns({ status, limit: 100 })) ids.push(id);
      let paused = 0;
      for (const id of ids) if (await api.pauseCampaign(id, body, { idempotencyKey: `${idempotencyKey}.${id}` }).catch(unless("ended", "unknown-campaign"))) paused++;
      return { paused };
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
    fields: [],
    dangerous: true,
    call: (api, { target }, body, key) => api.suspendIssuer(target, body, key),
  },
  "resume-issuer": { fields: [], call: (api, { target }, body, key) => api.resumeIssuer(target, body, key) },
  setting: {
    fields: [{ name: "value", type: "number" }],
    also: ({ value = "" }, { was: { min, max } }) => (value.trim() !== "" && whole(min, max)(value) ? { value: "fault.whole-number" } : {}),
    // Empty gives it back to the profile.
    call: (api, { target, fields }, { reason }, key) => {
      const text = (fields.value ?? "").trim();
      return api.putSetting(target, text === "" ? null : Number(text), { ...key, reason });
    },
  },
  profile: {
    fields: [{ name: "value", type: ["normal", "spike", "incident"] }],
    dangerous: true,
    call: (api, { fields }, { reason }, key) => api.putSetting("profile", fields.value ?? "normal", { ...key, reason }),
  },
  revoke: { fields: [], dangerous: true, call: (api, { target }, body, key) => api.revoke(target, body, key) },
};

/** What a change of profile would change: {name, unit, value, then} of the settings that go with it. */
export function changesOf({ settings }, profile) {
  return settings.filter((one) => one.source !== "set" && one.profiles[profile] !== one.value).map(({ name, unit, value, profiles }) => ({ name, unit, value, then: profiles[profile] }));
}

/** What is wrong with the fields of a dialog, as keys of the catalogue by field. */
export function faultsOfFields({ kind, fields, ...action }) {
  const faults = {};
  for (const { name, required, check } of KINDS[kind].fields) {
    const text = fields[name] ?? "";
    const fault = text.trim() === "" ? required && "fault.missing" : check?.(text);
    if (fault) faults[name] = fault;
  }
  return { ...KINDS[kind].also?.(fields, action), ...faults };
}

/** What is sent for it; without a reason where none was given. */
export function bodyOf({ kind, fields, reason, ...action }) {
  const body = KINDS[kind].body?.(fields, action) ?? {};
  if (KINDS[kind].dryRun && !action.dry) return { ...body, dry_run: true }; // a question only
  return reason.trim() === "" || KINDS[kind].noReason ? body : { ...body, reason: reason.trim() };
}
