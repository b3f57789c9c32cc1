// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { faultsOf, isDryRun, keyOf, maySend, nameToType, openAction, step } from "../core/action.js";
import { bodyOf, faultsOfFields, KINDS, parsePlan } from "../core/kinds.js";
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
  action = step.accept(action, { matched: 1234, voided: 0 });
  assert.equal(action.state, "draft");
  assert.equal(nameToType(action), "1234");
  assert.ok(!maySend(action));
  action = step.edit(action, { typed: "1234", reason: "a script ran away" });
  assert.ok(maySend(action));
  assert.equal(keyOf(action), "key-1");
  assert.ok(isDryRun(step.edit(action, { fields: { created_by: "other" } })));
  assert.equal(step.accept(step.send(action), { matched: 1234, voided: 1234 }).state, "done");
  assert.deepEqual(faultsOf(open("void")), { created_by: "fault.bound-missing" });
});

test("bad input is named where it is", () => {
  assert.deepEqual(faultsOfFields("create", {}), {
    name: "fault.missing", discount_value: "fault.missing", currency: "fault.missing", quantity: "fault.missing",
  });
  const good = { name: "Summer", discount_value: "12.5", currency: "KRW", quantity: "500" };
  assert.deepEqual(faultsOfFields("create", good), {});
  const bad = {
    ...good, id: "Summer!", currency: "won", quantity: "1.5", discount_value: "101", per_user_limit: "0", starts_at: "2026-12-02T00:00", ends_at: "2026-12-01T00:00",
    release_plan: "tomorrow 5", code_prefix: "a b",
  };
  assert.deepEqual(faultsOfFields("create", bad), {
    id: "fault.campaign-id", currency: "fault.currency", quantity: "fault.whole-number", discount_value: "fault.percent",
    per_user_limit: "fault.whole-number", ends_at: "fault.window", release_plan: "fault.plan", code_prefix: "fault.code-prefix",
  });
  assert.deepEqual(faultsOfFields("create", { ...good, discount_type: "fixed", discount_value: "2.5" }), { discount_value: "fault.whole-number" });
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
  assert.deepEqual(bodyOf({ ...open("edit", { fields: { quantity: "600", name: "" } }), reason: " more demand " }), { quantity: 600, reason: "more demand" });
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
  const fields = { quantity: "5", issuer: "shop", value: "7" };
  for (const kind of Object.keys(KINDS)) await KINDS[kind].call(api, open(kind, { fields, targets: ["a", "b"] }), { reason: "why" }, key);
  assert.ok(calls.every((call) => call.at(-1).idempotencyKey.startsWith("key-1")));
  assert.deepEqual(calls.filter(([name, , body, one]) => name === "pauseCampaign" && body && one.idempotencyKey !== "key-1").map(([, id, , one]) => [id, one.idempotencyKey]), [["a", "key-1.a"], ["b", "key-1.b"]]);
  assert.deepEqual(calls.find(([name]) => name === "putSetting"), ["putSetting", "summer", 7, { idempotencyKey: "key-1", reason: "why" }]);
  assert.equal(calls.find(([name]) => name === "suspendIssuer")[1], "shop");
});
