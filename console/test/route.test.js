// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { guessKinds } from "../core/guess.js";
import { formatRoute, parseRoute } from "../core/route.js";

test("what is looked at stands in the URL and comes back from it", () => {
  for (const route of [
    { view: "sale", id: "", filters: {} },
    { view: "sale", id: "summer", filters: { range: "1h" } },
    { view: "ask", id: "", filters: { q: "a/b?c#d%&= é김" } },
    { view: "audit", id: "", filters: { actor: "ops", type: "CampaignPaused" } },
    { view: "ask", id: "a/b %2F", filters: {} },
  ])
    assert.deepEqual(parseRoute(formatRoute(route)), route);
});

test("one state has one URL", () => {
  assert.equal(formatRoute({ view: "audit", filters: { b: "2", a: "1", c: "" } }), "#/audit?a=1&b=2");
});

test("what cannot be read is the first view, and never an error", () => {
  for (const fragment of ["", "#", "#/", "#/nothing/x", "nonsense", undefined]) assert.deepEqual(parseRoute(fragment), { view: "sale", id: "", filters: {} });
  assert.deepEqual(parseRoute("#/sale/%E0%A4%A"), { view: "sale", id: "", filters: {} });
  assert.deepEqual(parseRoute("#/sale/x?__proto__=1&Range=2&range=1h"), { view: "sale", id: "x", filters: { range: "1h" } });
});

test("the box tells by its shape what was pasted", () => {
  assert.deepEqual(guessKinds("SUMMER-ABCDE-FGHJK-MNPQR-STVWX-YZ012"), ["coupon"]);
  assert.deepEqual(guessKinds(" abcde-fghjk-mnpqr-stvwx-yz012 "), ["coupon"]);
  assert.deepEqual(guessKinds("ABCDEFGHJKMNPQRSTVWXYZ012"), ["coupon", "user", "order"]);
  assert.deepEqual(guessKinds("c3-1200"), ["coupon", "campaign", "user", "order"]);
  assert.deepEqual(guessKinds("summer"), ["campaign", "user", "order"]);
  assert.deepEqual(guessKinds("Ann@shop.example"), ["user", "order"]);
  assert.deepEqual(guessKinds("김민수"), ["user", "order"]);
  assert.deepEqual(guessKinds("김".repeat(43)), [], "129 bytes");
  assert.deepEqual(guessKinds("a\u0000b"), []);
  assert.deepEqual(guessKinds("  "), []);
});
