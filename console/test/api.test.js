// SPDX-License-Identifier: Apache-2.0
// The services as the page sees them, with a network that is a function.
import assert from "node:assert/strict";
import { test } from "node:test";
import { clientOf, firstOf, holdersCsv, metricsOf, scopesOf, search, takeFrom } from "../api.js";
import { guessKinds } from "../core/guess.js";

const sides = { write: "http://e/write", read: "http://e/read" };
const headers = { "Content-Type": "application/json" };
const answer = (status, body) => new Response(JSON.stringify(body), { status, headers });
const problem = (status, code) => answer(status, { type: `urn:firstcome:problem:${code}`, code, title: code, status, retryable: false });

/** answers: {path without query: [status, body or code]}; what is not there is 404. */
function network(answers) {
  const asked = [];
  const fetch = async (url, options = {}) => {
    const path = String(url).replace("http://e", "");
    asked.push({ path, key: options.headers?.Authorization });
    const [status, body] = answers[path.split("?")[0]] ?? [404, "unknown-coupon"];
    return typeof body === "string" ? problem(status, body) : answer(status, body);
  };
  return { asked, fetch };
}
const open = (answers, of = sides) => {
  const { asked, fetch } = network(answers);
  return { asked, fetch, client: clientOf({ key: "secret", sides: of, fetch }) };
};

test("what a key may do is what the server lets it do", async () => {
  assert.deepEqual(await scopesOf(open({ "/write/v1/settings": [200, { settings: [] }] }).client, sides), { admin: true });
  assert.deepEqual(await scopesOf(open({ "/write/v1/settings": [403, "forbidden"], "/write/v1/status": [200, {}] }).client, sides), { admin: false });
  await assert.rejects(scopesOf(open({ "/write/v1/settings": [401, "unauthenticated"] }).client, sides), { code: "unauthenticated" });
  await assert.rejects(scopesOf(open({ "/write/v1/settings": [403, "forbidden"], "/write/v1/status": [403, "forbidden"] }).client, sides), { code: "forbidden" });
});

test("the page opens when one of the services is gone", async () => {
  const writeAway = { "/write/v1/settings": [503, "store-unavailable"], "/read/v1/audit": [200, { items: [], next: null }] };
  assert.deepEqual(await scopesOf(open(writeAway).client, sides), { admin: true });
  const readAway = { "/write/v1/settings": [200, {}], "/read/v1/audit": [503, "overloaded"] };
  assert.deepEqual(await scopesOf(open(readAway).client, sides), { admin: true });
  await assert.rejects(scopesOf(open({ "/write/v1/settings": [503, "overloaded"], "/read/v1/audit": [503, "overloaded"] }).client, sides), { status: 503 });
});

test("of one side alone it is asked there", async () => {
  const read = { read: "http://e" };
  assert.deepEqual(await scopesOf(open({ "/v1/audit": [200, { items: [], next: null }] }, read).client, read), { admin: true });
  assert.deepEqual(await scopesOf(open({ "/v1/audit": [403, "forbidden"], "/v1/status": [200, {}] }, read).client, read), { admin: false });
  const write = { write: "http://e" };
  assert.deepEqual(await scopesOf(open({ "/v1/settings": [403, "forbidden"], "/v1/status": [200, {}] }, write).client, write), { admin: false });
});

test("one box: what has the name is found, of whatever kind; what nobody has is no failure", async () => {
  const items = { items: [{ coupon_id: "c3-1" }], next: null };
  const none = { items: [], next: null };
  const { client } = open({ "/read/v1/campaigns/summer": [200, { id: "summer" }], "/read/v1/users/summer/coupons": [200, items], "/read/v1/orders/summer/coupons": [200, none] });
  assert.deepEqual(await search(client, guessKinds("summer"), "summer"), { found: [{ kind: "campaign", value: { id: "summer" } }, { kind: "user", value: "summer" }], failure: undefined });
  const nobody = open({ "/read/v1/orders/A%201/coupons": [200, items], "/read/v1/users/A%201/coupons": [200, none] });
  assert.deepEqual((await search(nobody.client, guessKinds("A 1"), "A 1")).found, [{ kind: "order", value: "A 1" }]);
  const { found, failure } = await search(open({ "/read/v1/coupons/c3-1": [403, "forbidden"] }).client, ["coupon"], "c3-1");
  assert.deepEqual([found, failure.code], [[], "forbidden"]);
});

test("where one question fails, what the others found is there all the same", async () => {
  const items = { items: [{ coupon_id: "c3-1" }], next: null };
  const { client } = open({ "/read/v1/users/K1/coupons": [200, items], "/read/v1/orders/K1/coupons": [403, "forbidden"] });
  const { found, failure } = await search(client, guessKinds("K1"), "K1");
  assert.deepEqual([found, failure.code], [[{ kind: "user", value: "K1" }], "forbidden"]);
});

test("counters are read with the key, and their failure is one of the service", async () => {
  const { asked, fetch } = network({ "/write/metrics": [200, {}] });
  await metricsOf({ key: "secret", sides, fetch }, new AbortController().signal);
  assert.deepEqual(asked, [{ path: "/write/metrics", key: "Bearer secret" }]);
  await assert.rejects(metricsOf({ key: "k", sides, fetch: network({ "/write/metrics": [503, "overloaded"] }).fetch }, new AbortController().signal), { status: 503 });
  await assert.rejects(metricsOf({ key: "k", sides, fetch: () => Promise.reject(new TypeError("refused")) }, new AbortController().signal), { name: "NetworkError" });
});

test("a list is read as far as it is wanted", async () => {
  let given = 0;
  async function* list() {
    while (given < 5) yield ++given;
  }
  const first = await takeFrom(list()[Symbol.asyncIterator](), 2);
  assert.deepEqual([first.items, given], [[1, 2], 2]);
  assert.deepEqual((await takeFrom(first.rest, 2)).items, [3, 4]);
  assert.deepEqual(await takeFrom(first.rest, 2), { items: [5], rest: null });
  assert.deepEqual(await firstOf((async function* () {})(), 3), []);
});

test("holders as the service writes them: named by it, with a mark for Excel, and nothing where the answer breaks off", async () => {
  const told = [];
  const of = (body, more = {}) => holdersCsv({ key: "secret", sides, fetch: async (url, { headers: { Accept } }) => (assert.deepEqual([url, Accept], ["http://e/read/v1/campaigns/a%20b/coupons", "text/csv"]), new Response(body, more)) }, "a b", { tell: (rows) => told.push(rows) });
  const { name, parts } = await of("sequence,user_id\r\n1,김\r\n2,b\r\n", { headers: { "Content-Disposition": 'attachment; filename="a-3-90.csv"' } });
  assert.equal(name, "a-3-90.csv");
  assert.equal(Buffer.from(await new Blob(parts).arrayBuffer()).toString(), "\uFEFFsequence,user_id\r\n1,김\r\n2,b\r\n");
  assert.equal(told.at(-1), 2);
  const broken = new ReadableStream({ pull: (controller) => (told.length > 2 ? controller.error(new Error("gone")) : controller.enqueue(new TextEncoder().encode("x\r\n"))) });
  await assert.rejects(of(broken), /gone/);
  await assert.rejects(of(JSON.stringify({ code: "overloaded", status: 503 }), { status: 503 }), { code: "overloaded" });
});
