// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { faultsOf, isDryRun, keyOf, maySend, nameToType, openAction, step } from "../core/action.js";
import { bodyOf, changesOf, faultsOfFields, fieldsOf, KINDS, localTime, parsePlan } from "../core/kinds.js";
import { FirstcomeError, NetworkError } from "../client/index.js";

const refusal = (code, status = 409) => new FirstcomeError({ code, status, title: code, retryable: false });
const open = (kind, more = {}) => openAction({ kind, target: "summer", idempotencyKey: "key-1", ...more });

test("sent, accepted at a position, visible once the models are there", () => {
  let action = step.send(open("pause"));
  assert.equal(action.state, "sent");
  action = step.accept(action, { position: { slice: 3, position: 40 } });
  assert.deepEqual([action.state, action.position], ["accepted", { slice: 3, position: 40 }]);
  assert.equal(step.seen(action, [{ slice: 3, models: 39 }]).state, "accepted");
  assert.equal(step.seen(action, [{ slice: 4, models: 99 }]).state, "accepted");
  assert.equal(step.seen(action, undefined).state, "accepted");
  assert.equal(step.seen(action, [{ slice: 3, models: null }]).state, "accepted", "not known is not there");
  assert.equal(step.seen(action, [{ slice: 3, models: 40 }]).state, "visible");
});

test("two clicks are one effect, and it is sent once at a time", () => {
  const sent = step.send(open("pause"));
  assert.equal(step.send(sent), sent);
  assert.equal(keyOf(sent), "key-1");
});

test("a refusal may be mended and sent again under the same key", () => {
  let action = step.fail(step.send(open("release", { fields: { quantity: "5" } })), refusal("exceeds-quantity"));
  assert.equal(action.state, "refused");
  action = step.edit(action, { fields: { quantity: "4" } });
  assert.equal(action.fields.quantity, "4");
  assert.equal(step.send(action).state, "sent");
  assert.equal(keyOf(action), "key-1");
});

test("of what nobody knows the outcome only the same is sent again", () => {
  const failures = [new NetworkError("gone"), refusal("outcome-unknown", 504), refusal("in-flight"), refusal("http-502", 502)];
  for (const failure of failures) {
    const action = step.fail(step.send(open("release", { fields: { quantity: "5" } })), failure);
    assert.equal(action.state, "unknown", failure.message);
    assert.equal(step.edit(action, { fields: { quantity: "6" } }), action);
    assert.equal(step.send(action).state, "sent");
    assert.deepEqual([action.attempts, step.send(action).attempts], [1, 2]);
  }
});

test("dangerous things want the name typed and a reason", () => {
  let action = open("close");
  assert.deepEqual(Object.keys(faultsOf(action)).sort(), ["reason", "typed"]);
  assert.equal(step.send(action), action);
  action = step.edit(action, { typed: "Summer", reason: "over" });
  assert.deepEqual(faultsOf(action), { typed: "fault.type-the-name" });
  action = step.edit(action, { typed: " summer " });
  assert.ok(maySend(action));
  assert.deepEqual(faultsOf(step.edit(action, { reason: "가".repeat(67) })), { reason: "fault.reason-long" });
});

test("a void is asked about first, and its count is typed; another question is another count", () => {
  let action = step.edit(open("void"), { fields: { created_by: "load-test" } });
  assert.ok(isDryRun(action) && maySend(action));
  action = step.send(action);
  assert.equal(keyOf(action), "key-1.dry1");
  assert.deepEqual(bodyOf(action), { created_by: "load-test", dry_run: true }, "counting deletes nothing");
  action = step.accept(action, { matched: 2000, voidable: 1234, voided: 0 });
  assert.equal(action.state, "draft");
  assert.equal(nameToType(action), "1234");
  assert.ok(!maySend(action));
  action = step.edit(action, { typed: "1234", reason: "a script ran away" });
  assert.ok(maySend(action));
  assert.equal(keyOf(action), "key-1");
  assert.deepEqual(bodyOf(action), { created_by: "load-test", reason: "a script ran away" });
  assert.ok(isDryRun(step.edit(action, { fields: { created_by: "other" } })));
  assert.equal(step.accept(step.send(action), { matched: 1234, voided: 1234 }).state, "done");
  assert.deepEqual(faultsOf(open("void")), { created_by: "fault.bound-missing" });
});

test("bad input is named where it is", () => {
  assert.deepEqual(faultsOfFields(open("create")), {
    name: "fault.missing", discount_value: "fault.missing", currency: "fault.missing", quantity: "fault.missing",
  });
  const good = { name: "Summer", discount_value: "12.5", currency: "KRW", quantity: "500" };
  assert.deepEqual(faultsOfFields(open("create", { fields: good })), {});
  const bad = {
    ...good, id: "Summer!", currency: "won", quantity: "1.5", discount_value: "101", per_user_limit: "0", starts_at: "2026-12-02T00:00", ends_at: "2026-12-01T00:00",
    release_plan: "tomorrow 5", code_prefix: "a b",
  };
  assert.deepEqual(faultsOfFields(open("create", { fields: bad })), {
    id: "fault.campaign-id", currency: "fault.currency", quantity: "fault.whole-number", discount_value: "fault.percent",
    per_user_limit: "fault.whole-number", ends_at: "fault.window", release_plan: "fault.plan", code_prefix: "fault.code-prefix",
  });
  assert.deepEqual(faultsOfFields(open("create", { fields: { ...good, discount_type: "fixed", discount_value: "2.5" } })), { discount_value: "fault.whole-number" });
});

test("only what was filled in is sent", () => {
  const action = open("create", {
    fields: { name: "Summer", discount_value: "12.5", currency: "KRW", quantity: "500", tags: "a, 여름 ,", release_plan: "2026-12-01T20:00+09:00 100\n", ends_at: "" },
  });
  assert.deepEqual(bodyOf({ ...action, reason: "ignored: creating has none" }), {
    name: "Summer", currency: "KRW", quantity: 500, tags: ["a", "여름"], release_plan: [{ at: "2026-12-01T11:00:00.000Z", quantity: 100 }],
    discount: { type: "percent", percent: 12.5 },
  });
  assert.deepEqual(bodyOf(open("pause")), {});
  const of = (fields) => bodyOf(open("create", { fields: { name: "S", discount_value: "5", currency: "KRW", quantity: "1", ...fields } }));
  assert.deepEqual(of({ max_amount: "5000", min_order_amount: "100", utc_offset: "+09:00" }), {
    name: "S", currency: "KRW", quantity: 1, min_order_amount: 100, utc_offset: "+09:00", discount: { type: "percent", percent: 5, max_amount: 5000 },
  });
});

const was = { id: "summer", name: "Summer", quantity: 500, released: 200, per_user_limit: 1, ends_at: "2026-12-01T11:00:30Z", tags: ["a"], issued: 40 };
const edit = (fields, more = {}) => open("edit", { was, fields: { ...fieldsOf(was), ...fields }, ...more });

test("of an edit what is another than before is sent; a time that was not touched keeps its seconds", () => {
  assert.deepEqual(bodyOf({ ...edit({ quantity: "600", name: "" }), reason: " more demand " }), { quantity: 600, reason: "more demand" });
  assert.deepEqual(bodyOf(edit({ tags: "a, b" })), { tags: ["a", "b"] });
  assert.deepEqual(faultsOf(edit({})), { name: "fault.nothing-changed" });
  assert.equal(localTime(null), "");
  assert.equal(new Date(localTime(was.ends_at)).toISOString(), "2026-12-01T11:00:00.000Z");
});

/** An API whose campaign is what `now` says each time it is asked, and which takes what is sent on the condition of `accepts`. */
function changing(now, accepts) {
  const seen = [];
  const send = async (id, body, { ifMatch, idempotencyKey }) => {
    seen.push(ifMatch);
    assert.equal(idempotencyKey, "key-1");
    if (!accepts(ifMatch)) throw refusal("precondition-failed", 412);
    return { position: { slice: 1, position: 2 } };
  };
  return { seen, changeCampaign: send, releaseStock: send, campaign: async (id, { fromStore }) => (assert.ok(fromStore), now(seen.length)) };
}

test("an edit holds only for what was looked at: what sells meanwhile is no matter, what somebody changed is told", async () => {
  const selling = changing((asked) => ({ ...was, issued: 40 + asked }), (tag) => tag?.issued === 42);
  await KINDS.edit.call(selling, edit({ quantity: "600" }), {}, { idempotencyKey: "key-1" });
  assert.deepEqual(selling.seen.map((one) => one?.issued), [40, 41, 42]);
  const storm = changing((asked) => ({ ...was, issued: 40 + asked }), (tag) => tag === undefined);
  await KINDS.edit.call(storm, edit({ quantity: "600" }), {}, { idempotencyKey: "key-1" });
  assert.ok(storm.seen.length <= 5, "bounded");
  const now = { ...was, quantity: 700, name: "Summer!" };
  const changed = changing(() => now, () => false);
  const sent = step.send(edit({ quantity: "600" }));
  const error = await KINDS.edit.call(changed, sent, {}, { idempotencyKey: "key-1" }).catch((one) => one);
  assert.equal(changed.seen.length, 1);
  const refused = step.fail(sent, error);
  assert.deepEqual([refused.state, refused.problem.changes], ["refused", [{ name: "name", was: "Summer", now: "Summer!" }, { name: "quantity", was: 500, now: 700 }]]);
  assert.equal(refused.was, now, "the next one is sent on what it is now");
  assert.deepEqual([refused.fields.quantity, refused.fields.name], ["600", "Summer!"], "what was typed stays, what was not is as it is now");
  const lost = await KINDS.edit.call(changing(() => now, () => { throw new NetworkError("gone"); }), sent, {}, { idempotencyKey: "key-1" }).catch((one) => one);
  assert.equal(step.fail(sent, lost).state, "unknown");
});

test("two who release the same stock do not release it twice unawares", async () => {
  const api = changing(() => ({ ...was, released: 300 }), () => false);
  const sent = step.send(open("release", { was, fields: { quantity: "100" } }));
  const error = await KINDS.release.call(api, sent, {}, { idempotencyKey: "key-1" }).catch((one) => one);
  const refused = step.fail(sent, error);
  assert.deepEqual([refused.problem.changes, refused.fields], [[{ name: "released", was: 200, now: 300 }], { quantity: "100" }]);
});

test("a profile changes what goes with it; a setting keeps within its bounds", () => {
  const of = (name, source, value) => ({ name, source, value, unit: "s", profiles: { normal: 1, spike: 2, incident: value } });
  assert.deepEqual(changesOf({ settings: [of("a", "default", 1), of("b", "set", 7)] }, "spike"), [{ name: "a", unit: "s", value: 1, then: 2 }]);
  assert.deepEqual(changesOf({ settings: [of("a", "default", 1)] }, "incident"), []);
  const set = (value) => faultsOf(open("setting", { was: { min: 1, max: 9 }, fields: { value } }));
  assert.deepEqual([set("9"), set(""), set("10"), set("x")], [{}, {}, { value: "fault.whole-number" }, { value: "fault.whole-number" }]);
});

test("a plan is a tranche a line", () => {
  assert.deepEqual(parsePlan(""), []);
  assert.equal(parsePlan("2026-12-01T20:00+09:00 0"), null);
  assert.equal(parsePlan("2026-12-01T20:00+09:00"), null);
});

test("each kind calls the API with the dialog's key", async () => {
  const calls = [];
  const api = new Proxy({}, { get: (_, name) => async (...args) => (calls.push([name, ...args]), {}) });
  const key = { idempotencyKey: "key-1" };
  const fields = { quantity: "5", value: "7" };
  for (const kind of Object.keys(KINDS)) if (kind !== "pause-all") await KINDS[kind].call(api, open(kind, { was, fields }), { reason: "why" }, key);
  assert.equal(calls.length, Object.keys(KINDS).length - 1);
  assert.ok(calls.every((call) => call.at(-1).idempotencyKey === "key-1"));
  assert.deepEqual(calls.find(([name]) => name === "putSetting"), ["putSetting", "summer", 7, { idempotencyKey: "key-1", reason: "why" }]);
});

test("pausing all means all there are when it is sent, each under a key of its own; what ended meanwhile is no failure", async () => {
  const paused = [];
  const there = { active: ["a", "b"], scheduled: ["c"], sold_out: [] };
  const api = {
    async *campaigns({ status }) {
      for (const id of there[status]) yield { id };
    },
    pauseCampaign: async (id, body, { idempotencyKey }) => {
      paused.push([id, idempotencyKey]);
      if (id === "b") throw refusal("ended", 410);
      return {};
    },
  };
  assert.deepEqual(await KINDS["pause-all"].call(api, open("pause-all"), {}, { idempotencyKey: "key-1" }), { paused: 2 });
  assert.deepEqual(paused, [["a", "key-1.a"], ["b", "key-1.b"], ["c", "key-1.c"]]);
  const lost = { ...api, pauseCampaign: async () => { throw new NetworkError("gone"); } };
  await assert.rejects(KINDS["pause-all"].call(lost, open("pause-all"), {}, { idempotencyKey: "key-1" }), NetworkError);
});
