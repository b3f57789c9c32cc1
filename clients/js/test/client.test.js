// SPDX-License-Identifier: Apache-2.0
// The client against a server that misbehaves on purpose: what is sent again, with which key, when, and how often.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, beforeEach, test } from "node:test";
import { etagOf, Firstcome, FirstcomeError, LogChangedError, NetworkError, RetryBudget } from "../src/index.js";
import { backoffMs, retryAfterMs } from "../src/transport.js";

let server, url, seen, script;

before(async () => {
  server = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      const call = { method: request.method, url: request.url, headers: request.headers, body };
      seen.push(call);
      const step = script.length > 1 ? script.shift() : script[0];
      step(response, call);
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${server.address().port}`;
});
after(() => server.close());
beforeEach(() => {
  seen = [];
  script = [];
});

const json = (status, body, headers = {}) => (response) => {
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(body === undefined ? undefined : JSON.stringify(body));
};
const problem = (status, code, headers = {}, more = {}) =>
  json(status, { type: `urn:firstcome:problem:${code}`, code, title: code, status, retryable: status >= 500, ...more }, headers);
const cut = (response) => response.destroy();

function client(options = {}) {
  return new Firstcome({ key: "secret", commandUrl: url, queryUrl: `${url}/`, backoffBaseMs: 1, backoffCapMs: 2, ...options });
}

test("a write keeps its Idempotency-Key over lost connections and 503s", async () => {
  script = [cut, problem(503, "overloaded"), problem(409, "in-flight"), json(201, { coupon_id: "c1-1" })];
  const coupon = await client().issue("sale", { userId: "ann" });
  assert.equal(coupon.coupon_id, "c1-1");
  assert.equal(seen.length, 4);
  assert.equal(new Set(seen.map((call) => call.headers["idempotency-key"])).size, 1);
  assert.match(seen[0].headers["idempotency-key"], /^[0-9a-f]{32}$/);
  assert.deepEqual(JSON.parse(seen[3].body), { user_id: "ann" });
});

test("two writes have two keys; a key that is given is used", async () => {
  script = [json(201, {})];
  const c = client();
  await c.issue("sale", { userId: "ann" });
  await c.issue("sale", { userId: "ann" });
  await c.issue("sale", { userId: "ann" }, { idempotencyKey: "mine" });
  assert.notEqual(seen[0].headers["idempotency-key"], seen[1].headers["idempotency-key"]);
  assert.equal(seen[2].headers["idempotency-key"], "mine");
});

test("a refusal is not sent again and says what it is", async () => {
  script = [problem(409, "sold-out", { "X-Request-Id": "r1" })];
  await assert.rejects(client().issue("sale", { userId: "ann" }), (error) => {
    assert.ok(error instanceof FirstcomeError);
    assert.ok(error.is("already-issued", "sold-out"));
    assert.equal(error.requestId, "r1");
    assert.ok(error.idempotencyKey);
    return true;
  });
  assert.equal(seen.length, 1);
});

test("Retry-After is a floor: nothing is sent before it", async () => {
  script = [problem(429, "rate-limited", { "Retry-After": "1" }), json(200, { items: [] })];
  const pauses = [];
  await client({ onRetry: (info) => pauses.push(info.pauseMs) }).ranking();
  assert.equal(pauses.length, 1);
  assert.ok(pauses[0] >= 1000, `${pauses[0]}`);
});

test("a Retry-After beyond the deadline fails at once instead of waiting", async () => {
  script = [problem(503, "overloaded", { "Retry-After": "3600" })];
  await assert.rejects(client({ timeoutMs: 500 }).issue("sale", { userId: "ann" }), (error) => error.code === "overloaded");
  assert.equal(seen.length, 1);
});

test("the budget bounds retries over all calls", async () => {
  script = [problem(503, "overloaded")];
  const c = client({ budget: new RetryBudget({ perCall: 0, max: 3 }), attempts: 10 });
  for (let i = 0; i < 5; i++) await assert.rejects(c.issue("sale", { userId: "ann" }));
  assert.equal(seen.length, 5 + 3);
});

test("no answer at all is a NetworkError that carries the key", async () => {
  script = [cut];
  await assert.rejects(client({ attempts: 2 }).issue("sale", { userId: "ann" }), (error) => {
    assert.ok(error instanceof NetworkError);
    assert.equal(error.idempotencyKey, seen[0].headers["idempotency-key"]);
    return true;
  });
  assert.equal(seen.length, 2);
});

test("an attempt that hangs ends by its time, and by the caller's signal", async () => {
  script = [() => {}];
  await assert.rejects(client({ attempts: 1, attemptTimeoutMs: 50 }).campaign("sale"), NetworkError);
  const stop = new AbortController();
  const pending = client().campaign("sale", { signal: stop.signal });
  stop.abort(new Error("enough"));
  await assert.rejects(pending, /enough/);
});

test("reads carry the newest Consistency-Token of each slice", async () => {
  script = [
    json(201, {}, { "Consistency-Token": "v1.3.7" }),
    json(201, {}, { "Consistency-Token": "v1.4.1" }),
    json(201, {}, { "Consistency-Token": "v1.3.9" }),
    json(200, {}),
  ];
  const c = client();
  for (let i = 0; i < 3; i++) await c.issue("sale", { userId: `u${i}` });
  await c.campaign("sale");
  assert.equal(seen[3].headers["consistency-token"], "v1.4.1, v1.3.9");
});

test("lists are followed page by page", async () => {
  script = [json(200, { items: [1, 2], next: "a b" }), json(200, { items: [3], next: null })];
  const all = [];
  for await (const item of client().userCoupons("an/n", { status: "issued" })) all.push(item);
  assert.deepEqual(all, [1, 2, 3]);
  assert.equal(seen[0].url, "/v1/users/an%2Fn/coupons?status=issued");
  assert.equal(seen[1].url, "/v1/users/an%2Fn/coupons?status=issued&cursor=a+b");
});

test("the feed goes on after the last event, and notices another log", async () => {
  script = [
    json(200, { items: [{ position: 1 }, { position: 2 }], next: 2, log: "x" }),
    json(200, { items: [], next: 5, log: "x" }),
    json(200, { items: [{ position: 6 }], next: 6, log: "y" }),
  ];
  const positions = [];
  await assert.rejects(async () => {
    for await (const event of client().events({ slice: 3 })) positions.push(event.position);
  }, LogChangedError);
  assert.deepEqual(positions, [1, 2]);
  assert.match(seen[1].url, /after=2&/);
  assert.match(seen[2].url, /after=5&/);
});

test("an accepted request is followed to its outcome", async () => {
  script = [
    json(202, { status: "pending" }, { Location: "/v1/requests/k1" }),
    json(200, { items: [{ operation: "issue", target: "sale", state: "in-flight" }] }),
    json(200, { items: [{ operation: "issue", target: "sale", state: "done", status: 201, answer: { coupon_id: "c1-1" } }] }),
  ];
  const coupon = await client().issue("sale", { userId: "ann" }, { idempotencyKey: "k1", async: true });
  assert.equal(coupon.coupon_id, "c1-1");
  assert.equal(seen[0].headers.prefer, "respond-async");
  assert.equal(seen[1].url, "/v1/requests/k1");
});

test("an accepted request that is refused in the end is refused here", async () => {
  script = [
    json(202, { status: "pending" }, { Location: "/v1/requests/k1" }),
    json(200, { items: [{ operation: "issue", target: "sale", state: "done", status: 409, answer: { code: "sold-out", status: 409 } }] }),
  ];
  await assert.rejects(client().issue("sale", { userId: "ann" }, { idempotencyKey: "k1", async: true }), (error) => error.is("sold-out"));
});

test("an accepted request that nobody knows any more is sent again with its key", async () => {
  script = [json(202, { status: "pending" }, { Location: "/v1/requests/k1" }), json(200, { items: [] }), json(201, { coupon_id: "c1-1" })];
  const coupon = await client().issue("sale", { userId: "ann" }, { idempotencyKey: "k1", async: true });
  assert.equal(coupon.coupon_id, "c1-1");
  assert.equal(seen[2].method, "POST");
  assert.equal(seen[2].headers["idempotency-key"], "k1");
  assert.equal(seen[2].headers.prefer, undefined);
});

test("what stands between may answer without JSON", async () => {
  script = [
    (response) => {
      response.writeHead(502, { "Content-Type": "text/html" });
      response.end("<h1>bad gateway</h1>");
    },
    json(200, { status: "active" }),
  ];
  assert.equal((await client().campaign("sale")).status, "active");
});

test("Retry-After as its grammar says", () => {
  const at = (text) => retryAfterMs(new Headers(text === undefined ? {} : { "Retry-After": text }), Date.UTC(2026, 0, 1));
  assert.equal(at("12"), 12000);
  assert.equal(at("Thu, 01 Jan 2026 00:00:05 GMT"), 5000);
  assert.equal(at("Wed, 31 Dec 2025 00:00:00 GMT"), 0);
  assert.equal(at("soon"), undefined);
  assert.equal(at(undefined), undefined);
});

test("back-off grows to its cap, with full jitter", () => {
  assert.equal(backoffMs(0, { baseMs: 100, capMs: 2000, random: () => 1 }), 100);
  assert.equal(backoffMs(3, { baseMs: 100, capMs: 2000, random: () => 1 }), 800);
  assert.equal(backoffMs(30, { baseMs: 100, capMs: 2000, random: () => 0.5 }), 1000);
});

test("a change is only of the campaign that was read", async () => {
  script = [json(200, { id: "sale" }, { ETag: '"a1"' }), problem(503, "overloaded"), problem(412, "precondition-failed")];
  const sale = await client().campaign("sale");
  assert.equal(etagOf(sale), '"a1"');
  await assert.rejects(client().changeCampaign("sale", { quantity: 9 }, { ifMatch: sale }), (error) => error.is("precondition-failed"));
  assert.deepEqual(
    seen.map((call) => call.headers["if-match"]),
    [undefined, '"a1"', '"a1"'],
  );
  await assert.rejects(client().pauseCampaign("sale", {}, { ifMatch: { id: "sale" } }), TypeError);
  script = [json(200, { id: "sale" })];
  await client().pauseCampaign("sale", {}, { ifMatch: '"b2"' });
  assert.equal(seen.at(-1).headers["if-match"], '"b2"');
});

test("questions about the past and about who did what", async () => {
  script = [json(200, { items: [{ type: "CampaignPaused" }], next: null })];
  const shop = client();
  for (const list of [shop.audit({ limit: 5 }), shop.couponHistory("c3-7"), shop.campaignHistory("summer"), shop.orderCoupons("o/1", { limit: 2 })])
    for await (const item of list) assert.equal(item.type, "CampaignPaused");
  script = [json(200, {})];
  await shop.decision("summer", "a/b", { asOf: "2026-11-30T11:00:00Z" });
  await shop.commandStatus();
  await shop.putSetting("profile", "spike", { reason: "sale", idempotencyKey: "k" });
  assert.deepEqual(
    seen.map((call) => call.url),
    [
      "/v1/audit?limit=5", "/v1/coupons/c3-7/history", "/v1/campaigns/summer/history", "/v1/orders/o%2F1/coupons?limit=2",
      "/v1/campaigns/summer/users/a%2Fb/decision?as_of=2026-11-30T11%3A00%3A00Z", "/v1/status", "/v1/settings/profile",
    ],
  );
  assert.deepEqual(JSON.parse(seen.at(-1).body), { value: "spike", reason: "sale" });
  assert.equal(seen.at(-1).headers["idempotency-key"], "k");
});
