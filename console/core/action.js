// SPDX-License-Identifier: Apache-2.0
// The life of one dialog that does something: filled in, sent, accepted at a position, visible to readers; or refused;
// or nobody knows. One dialog has one Idempotency-Key, made when it opens: however often it is sent, it happens once.
import { KINDS, faultsOfFields, fieldsOf } from "./kinds.js";

/** `target`: the id it is about; `name`: what is typed before something dangerous; `was`: what was known when it opened. */
export function openAction({ kind, target = "", name = target, was, fields = {}, idempotencyKey }) {
  return { kind, target, name, was, fields, typed: "", reason: "", idempotencyKey, state: "draft", attempts: 0 };
}

/** What has to be typed before something dangerous: a name, or how many a void would take. */
export function nameToType({ kind, name, dry }) {
  if (KINDS[kind].dryRun) return dry ? String(dry.voidable) : "";
  return name;
}

/** The next thing sent is a question only: what would it do? */
export function isDryRun(action) {
  return KINDS[action.kind].dryRun === true && action.dry === undefined;
}

/** What keeps it from being sent, as keys of the catalogue by field; none: it may be. */
export function faultsOf(action) {
  const faults = faultsOfFields(action);
  if (new TextEncoder().encode(action.reason).length > 200) faults.reason = "fault.reason-long";
  if (!KINDS[action.kind].dangerous || isDryRun(action)) return faults;
  if (action.typed.trim() !== nameToType(action)) faults.typed = "fault.type-the-name";
  if (action.reason.trim() === "") faults.reason = "fault.reason-missing";
  return faults;
}

// Of what nobody knows the outcome, the same must be sent again: it may have happened. So it cannot be edited.
const EDITED = new Set(["draft", "refused"]);
const SENT_AGAIN = new Set([...EDITED, "unknown"]);

export function maySend(action) {
  return SENT_AGAIN.has(action.state) && Object.keys(faultsOf(action)).length === 0;
}

/** Whether the service itself said no, which leaves nothing behind: the same key is decided afresh. */
function saidNo(error) {
  return error.problem !== undefined && !/^http-/.test(error.code) && !["outcome-unknown", "in-flight"].includes(error.code);
}

/** The dialog is about what the campaign is now; what somebody typed stays. */
function rebase(action, now) {
  const before = action.kind === "edit" ? fieldsOf(action.was) : {};
  const after = fieldsOf(now);
  const fields = { ...action.fields };
  for (const name of Object.keys(before)) if (fields[name] === before[name]) fields[name] = after[name];
  return { ...action, was: now, fields };
}

/** Steps. Each gives the next action; what does not follow from the state changes nothing. */
export const step = {
  edit(action, { fields, ...change }) {
    if (!EDITED.has(action.state)) return action;
    const dry = fields ? undefined : action.dry; // a count is of what was asked, nothing else
    return { ...action, ...change, dry, fields: { ...action.fields, ...fields } };
  },
  send(action) {
    return maySend(action) ? { ...action, state: "sent", attempts: action.attempts + 1, problem: undefined } : action;
  },
  accept(action, answer) {
    if (action.state !== "sent") return action;
    if (isDryRun(action)) return { ...action, state: "draft", dry: { voidable: answer.voidable } };
    return { ...action, state: answer?.position ? "accepted" : "done", position: answer?.position, answer };
  },
  fail(action, error) {
    if (action.state !== "sent") return action;
    const failed = { ...action, state: saidNo(error) ? "refused" : "unknown", problem: error.problem ?? { title: error.message } };
    return error.now ? rebase(failed, error.now) : failed;
  },
  /** `slices` of the query service's status: readers see it once their models are at its position. */
  seen(action, slices) {
    if (action.state !== "accepted") return action;
    const slice = slices?.find((one) => one.slice === action.position.slice);
    return slice && slice.models >= action.position.position ? { ...action, state: "visible" } : action;
  },
};

/** The key of what is sent now: the dialog's; a question about a void changes nothing and has one of its own each time. */
export function keyOf(action) {
  return isDryRun(action) ? `${action.idempotencyKey}.dry${action.attempts}` : action.idempotencyKey;
}
