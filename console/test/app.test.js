// SPDX-License-Identifier: Apache-2.0
// The page as a whole, with a document and a network of its own: what is asked when, and what a click does.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Document } from "./document.js";

const BOUND_MS = 10_000;
const page = new Document({ app: "div", dialog: "dialog" });
const root = page.getElementById("app");
const dialog = page.getElementById("dialog");
const store = () => {
  const kept = new Map();
  return { getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => kept.set(name, value), removeItem: (name) => kept.delete(name) };
};
const windows = new EventTarget();
const place = {
  origin: "http://e",
  fragment: "",
  get hash() {
    return this.fragment;
  },
  set hash(value) {
    this.fragment = value;
    windows.dispatchEvent(new Event("hashchange"));
  },
};
const globals = {
  document: page, location: place, navigator: { languages: ["en"] }, localStorage: store(), sessionStorage: store(),
  history: { replaceState: (_, __, url) => (place.fragment = url) },
  requestAnimationFrame: (run) => setTimeout(run, 0), setInterval: () => 0, addEventListener: (...args) => windows.addEventListener(...args),
};
for (const [name, value] of Object.entries(globals)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });

// --- the services ---

const now = new Date().toISOString();
const campaign = (more = {}) => ({
  id: "summer", name: "Summer", status: "active", issued: 40, remaining: 20, released: 60, reserved: 0, redeemed: 3, quantity: 100, currency: "KRW", starts_at: null, ends_at: null,
  created_at: new Date(Date.now() - 600_000).toISOString(), release_plan: [], per_user_limit: 1, tags: [], position: { slice: 3, position: 90 }, ...more,
});
const gauge = { is: 0, max: 10 };
const slices = (of) => Array.from({ length: 16 }, (_, slice) => ({ slice, ...of }));
const world = { asked: [], models: 90, is: campaign(), lost: 0, admin: true, instances: ["h:1"], asks: 0 };

function serve(method, path, body, search) {
  if (path === "/write/livez") return [200, {}];
  if (path === "/write/v1/settings") return world.admin ? [200, { profile: "normal", settings: [], issuers: [], suspended: [], suspensions: [] }] : [403, "forbidden"];
  if (path === "/write/v1/status")
    return [200, { service: "command-service", instance: world.instances[world.asks++ % world.instances.length], version: "2", since: now, profile: "normal", disk: "ok", bottleneck: "none", slices: slices({ waiting: 0, waiting_max: 9, predicted_wait_ms: 1, store_available: true }) }];
  if (path === "/read/v1/status")
    return [200, { mode: "normal", bottleneck: "none", redis: { usable: true, breaker: "closed", queue: gauge }, postgresql: { usable: true, breaker: "closed", queue: gauge }, memory: { bytes: gauge }, followers: gauge, slices: slices({ log: 90, models: world.models, lag_events: 0 }) }];
  if (path === "/projector/readyz") return [200, { ready: true, parts: { postgresql: true, redis: true, models: true } }];
  if (path === "/read/v1/campaigns") return [200, { items: [world.is], next: null }];
  if (path === "/read/v1/campaigns/summer") {
    const at = Date.parse(new URLSearchParams(search).get("as_of"));
    return at > Date.now() - 60_000 ? [400, "invalid-parameter"] : [200, world.is]; // the log's clock is behind this one
  }
  if (path === "/read/v1/campaigns/summer/history") return [200, { items: [], next: null }];
  if (path === "/read/v1/coupons/c3-7") return [200, { coupon_id: "c3-7", code: "ABCDE-FGHJK-MNPQR-STVWX-YZ012", campaign_id: "summer", user_id: "ann", sequence: 7, status: "issued", issued_at: now, expires_at: null, position: { slice: 3, position: 7 } }];
  if (path.startsWith("/read/v1/users/") || path.startsWith("/read/v1/orders/")) return [200, { items: [], next: null }];
  if (method === "POST" && path === "/write/v1/campaigns/summer/pause") {
    world.is = campaign({ status: "paused", position: { slice: 3, position: 91 } });
    return world.lost-- > 0 ? null : [200, world.is];
  }
  if (method === "POST" && path === "/write/v1/campaigns/summer/close") return body.reason === "no" ? [409, "ended"] : [200, campaign({ status: "closed", position: { slice: 3, position: 92 } })];
  return [404, "unknown-campaign"];
}

globalThis.fetch = async (url, { method = "GET", headers = {}, body } = {}) => {
  const { pathname, search } = new URL(url);
  world.asked.push({ method, path: pathname, search, key: headers["Idempotency-Key"], body: body && JSON.parse(body) });
  if (pathname === "/write/metrics") return new Response(`coupon_refusals_total{code="sold-out"} ${world.asked.length}\n`);
  const answer = serve(method, pathname, body && JSON.parse(body), search);
  if (!answer) throw new TypeError("connection lost");
  const [status, value] = answer;
  return new Response(JSON.stringify(typeof value === "string" ? { code: value, title: value, status, retryable: false } : value), { status, headers: { "Content-Type": "application/json" } });
};

// --- asking the page ---

async function until(what, probe) {
  const deadline = Date.now() + BOUND_MS;
  for (;;) {
    const got = probe();
    if (got) return got;
    if (Date.now() > deadline) assert.fail(`not within ${BOUND_MS} ms: ${what}\n${root.textContent}\n${dialog.textContent}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
const one = (tree, wanted) => tree.all(wanted)[0];
const byDo = (name) => one(root, (element) => element.attributes["data-do"] === name);
const byId = (tree, id) => one(tree, (element) => element.attributes.id === id);
const form = (tree) => one(tree, (element) => element.localName === "form");
const submit = (tree) => one(tree, (element) => element.attributes.type === "submit");
const says = (tree, text) => until(text, () => tree.textContent.includes(text));
const sent = (path) => world.asked.filter((call) => call.method === "POST" && call.path.endsWith(path));
const labelled = (tree, text) => one(tree, (element) => element.localName === "button" && element.textContent === text);

before(async () => {
  await import("../app.js");
  await says(root, "API key");
});
after(() => labelled(root, "Sign out")?.click());

async function signIn() {
  byId(root, "key").type("secret");
  form(root).submit();
  await says(root, "Nothing holds the sale up.");
}

test("a key opens the page, and nobody reads it there", async () => {
  await signIn();
  assert.ok(!root.textContent.includes("secret"));
  assert.equal(globals.sessionStorage.getItem("firstcome-key"), null, "kept only where it is asked for");
  await says(root, "Summer");
});

test("the sale: the past is read at round instants, figures and refusals are there", async () => {
  place.hash = "#/sale/summer";
  await says(root, "May be issued now");
  const past = () => world.asked.filter((call) => call.search.includes("as_of"));
  await until("the past is read", () => past().length > 10);
  await says(root, "Of the past only a part could be read.");
  assert.ok(past().length <= 40);
  assert.ok(past().every((call) => /as_of=2\d{3}-\d\d-\d\dT\d\d%3A\d\d%3A\d\d\.000Z/.test(call.search)));
  await says(root, "sold out");
});

test("a dialog is not touched by what is refreshed; two clicks are one effect; sent, accepted, visible", async () => {
  const pause = await until("the button", () => byDo("pause"));
  pause.click();
  assert.ok(dialog.open);
  byId(dialog, "f-reason").type("price is wrong");
  const input = byId(dialog, "f-reason");
  const asked = world.asked.filter((call) => call.path === "/read/v1/campaigns/summer" && !call.search).length;
  await until("it is asked again meanwhile", () => world.asked.filter((call) => call.path === "/read/v1/campaigns/summer" && !call.search).length > asked + 1);
  assert.ok(byId(dialog, "f-reason") === input && input.value === "price is wrong");
  form(dialog).submit();
  form(dialog).submit();
  dialog.close();
  dialog.dispatchEvent(new Event("close"));
  assert.ok(dialog.open, "what is under way is not lost");
  await says(dialog, "Accepted at position 3:91");
  assert.equal(sent("/pause").length, 1);
  assert.deepEqual(sent("/pause")[0].body, { reason: "price is wrong" });
  assert.match(sent("/pause")[0].key, /^[0-9a-f]{32}$/);
  world.models = 91;
  await says(dialog, "visible to readers");
  labelled(dialog, "Close").click();
  assert.ok(!dialog.open && dialog.childNodes.length === 0);
  await says(root, "paused");
  await until("what can be done now", () => byDo("resume") && !byDo("pause"));
});

test("a lost connection is repeated with the same key, and a new dialog has a new one", async () => {
  const before = sent("/pause").length;
  world.is = campaign();
  world.lost = 100;
  (await until("the button", () => byDo("pause"))).click();
  form(dialog).submit();
  await says(dialog, "Nobody knows whether it happened.");
  assert.ok(byId(dialog, "f-reason").attributes.disabled !== undefined);
  world.lost = 0;
  assert.equal(submit(dialog).textContent, "Send the same again");
  form(dialog).submit();
  await says(dialog, "visible to readers");
  const keys = sent("/pause").slice(before).map((call) => call.key);
  assert.ok(keys.length >= 3);
  assert.equal(new Set(keys).size, 1);
  assert.notEqual(keys[0], sent("/pause")[0].key);
  labelled(dialog, "Close").click();
});

test("something dangerous is not sent before its name is typed and a reason given; a refusal can be mended", async () => {
  world.is = campaign();
  (await until("the button", () => byDo("close"))).click();
  form(dialog).submit();
  await says(dialog, "A reason is needed for this.");
  assert.equal(sent("/close").length, 0);
  byId(dialog, "f-reason").type("no");
  byId(dialog, "f-typed").type("summer");
  form(dialog).submit();
  await says(dialog, "The campaign is over.");
  byId(dialog, "f-reason").type("over");
  form(dialog).submit();
  await says(dialog, "Accepted at position 3:92");
  assert.equal(new Set(sent("/close").map((call) => call.key)).size, 1);
  dialog.dispatchEvent(new Event("cancel", { cancelable: true }));
  assert.ok(!dialog.open);
});

test("search: the URL says what was asked, the code is masked until asked for", async () => {
  place.hash = "#/ask";
  await says(root, "Why was I refused?");
  byId(root, "q").type(" c3-7 ");
  form(root).submit();
  await says(root, "•••12");
  assert.equal(place.hash, "#/ask?q=c3-7");
  assert.ok(!root.textContent.includes("ABCDE"));
  labelled(root, "Show").click();
  await says(root, "ABCDE-FGHJK");
  place.hash = "#/sale/summer";
  await says(root, "May be issued now");
  place.hash = "#/ask?q=c3-7";
  await says(root, "•••12");
  assert.ok(!root.textContent.includes("ABCDE"), "masked again");
});

test("behind one address there may be two command services: both are there", async () => {
  world.instances = ["h:1", "h:2"];
  place.hash = "#/sale/summer";
  await until("both", () => root.textContent.includes("h:1") && root.textContent.includes("h:2"));
  await says(root, "queue 0/18"); // of both
});

test("nothing is asked while the tab is hidden, and at once when it is seen", async () => {
  page.hidden = true;
  page.dispatchEvent(new Event("visibilitychange"));
  const asked = world.asked.length;
  await new Promise((resolve) => setTimeout(resolve, 2500)); // longer than any pause between two questions of this view
  assert.equal(world.asked.length, asked);
  page.hidden = false;
  page.dispatchEvent(new Event("visibilitychange"));
  await until("it is asked again", () => world.asked.length > asked);
});

test("signing out forgets everything; who may only look is offered nothing to do", async () => {
  place.hash = "#/sale/summer";
  await until("the sale", () => byDo("pause"));
  labelled(root, "Sign out").click();
  await says(root, "API key");
  assert.ok(!root.textContent.includes("Summer"));
  world.admin = false;
  await signIn();
  await says(root, "May be issued now");
  assert.equal(byDo("pause"), undefined);
  assert.ok(root.textContent.includes("may look only"));
});
