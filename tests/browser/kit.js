// SPDX-License-Identifier: Apache-2.0
// What the tests of the console share: the stack they are given, one browser, and what is asked of the services beside it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { after, before } from "node:test";
import { faultsOfPage } from "./accessibility.js";
import { Browser, ENTER, ESCAPE, until } from "./webdriver.js";

export const env = process.env;
const needed = ["EDGE_URL", "COMMAND_URL", "QUERY_URL", "ADMIN_TOKEN", "READ_TOKEN", "ISSUE_TOKEN", "REDEEM_TOKEN", "RUN_DIR"];
const missing = needed.filter((name) => !env[name]);
export const skip = missing.length ? `no stack: ${missing.join(", ")}` : false;

/** One for all tests: what went wrong in any of them is looked for at the end. */
export let browser;
before(async () => {
  if (skip) return;
  if (env.RESULTS_DIR) mkdirSync(env.RESULTS_DIR, { recursive: true });
  browser = await Browser.start({ port: Number(env.DRIVER_PORT ?? 9515) });
  // What is sent with which key, and answers that are lost on their way, as nobody can see or do them from outside of the page.
  await browser.beforeEachPage(() => {
    const really = globalThis.fetch;
    globalThis.sent = [];
    globalThis.answersLost = 0;
    globalThis.fetch = async (url, options) => {
      const key = options?.headers?.["Idempotency-Key"];
      if (key) globalThis.sent.push({ path: new URL(url).pathname, key, ifMatch: options.headers["If-Match"] });
      const answer = await really(url, options);
      if (key && globalThis.answersLost > 0) {
        globalThis.answersLost--;
        throw new TypeError("the connection is lost");
      }
      return answer;
    };
  });
});
after(() => browser?.quit());

export const dialog = "#dialog";
export const say = (text) => browser.says("#app", text);

export async function shot(name) {
  if (env.RESULTS_DIR) writeFileSync(`${env.RESULTS_DIR}/${name}.png`, await browser.screenshot());
}

/** Only another fragment would keep the page as it was. Where it does not come, an operator loads it again. */
async function load(url) {
  for (let tries = 0; tries < 10; tries++) {
    await browser.go("about:blank");
    await browser.go(url);
    const there = until("the page is there", () => browser.has("#key, .role"), 10_000).catch(() => false);
    if (await there) return;
  }
}

export async function signIn(token, url = env.EDGE_URL) {
  await browser.go(`${url}/livez`); // of the same origin, and nobody there who signs in again meanwhile
  await browser.run("sessionStorage.clear()");
  await load(`${url}/console`);
  await browser.click("#keep");
  await browser.type("#key", token);
  await until("signed in", async () => {
    if (await browser.has(".role")) return true;
    if (await browser.has("[type=submit]:enabled")) await browser.keys(ENTER); // again where nobody answered in time
    return false;
  });
}

/** A view, afresh: whatever the test before has left open is gone. Who signed in last still is. */
export async function open(fragment, url = env.EDGE_URL) {
  await load(`${url}/console#/${fragment}`);
  await until("the page is there", () => browser.has(".role"));
}

/** Fills in the dialog that is open, sends it by Enter, and waits until readers see what it did. */
export async function fill(fields) {
  for (const [name, text] of Object.entries(fields)) await browser.type(`#f-${name}`, text);
}
export async function sendDialog(fields, outcome = "visible to readers") {
  await fill(fields);
  await browser.keys(ENTER);
  await browser.says(dialog, outcome);
}
export async function closeDialog() {
  await browser.keys(ESCAPE);
  await until("the dialog is closed", async () => !(await browser.has("dialog[open]")));
}

/** No fault of this project's own checks, and nothing axe-core (where AXE_CORE is its axe.min.js) calls serious or critical. */
export async function accessible(what) {
  assert.deepEqual(await browser.run(`return (${faultsOfPage})()`), [], what);
  if (!env.AXE_CORE) return;
  await browser.run(`${readFileSync(env.AXE_CORE, "utf8")}; window.axe = axe;`);
  const found = await browser.runLater("const done = arguments[arguments.length - 1]; axe.run().then((is) => done(is.violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.map((one) => one.target.join(' ')) }))), (error) => done([{ id: String(error), impact: 'critical' }]));");
  assert.deepEqual(found.filter((one) => ["serious", "critical"].includes(one.impact)), [], what);
}

// --- the services, beside the browser ---

/** A call of the API through the edge: {status, body}. In trouble it is asked again, with the same key. */
export async function call(method, path, body, { token = env.ADMIN_TOKEN, side = method === "GET" ? "read" : "write", key = randomUUID() } = {}) {
  return until(`${method} ${path}`, async () => {
    const response = await fetch(`${env.EDGE_URL}/${side}${path}`, {
      method, body: body && JSON.stringify(body), headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json", "Idempotency-Key": key }, signal: AbortSignal.timeout(10_000),
    });
    const answer = await response.json();
    if (response.status >= 500) throw new Error(`${response.status} ${answer.code}`);
    return { status: response.status, body: answer };
  });
}
export const api = async (...args) => (await call(...args)).body;

let made = 0;
export async function campaign(more = {}) {
  const id = `browser-${Date.now().toString(36)}-${made++}`;
  const { status } = await call("POST", "/v1/campaigns", { id, name: "Night sale", discount: { type: "percent", percent: 10 }, currency: "KRW", quantity: 500, ...more });
  assert.equal(status, 201);
  return id;
}

/** One for all tests that only look, made when the first of them asks. */
let shared;
export const night = () => (shared ??= campaign({ released: 200 }));

export async function issue(id, users) {
  const { results } = await api("POST", `/v1/campaigns/${id}/coupons/batch`, { user_ids: users }, { token: env.ISSUE_TOKEN });
  return results;
}
export const users = (count, prefix = "user") => Array.from({ length: count }, (_, n) => `${prefix}-${Date.now()}-${n}`);

/** tools/stack of this run, such as stack("service", "projector", "pid"). */
export const stack = (...words) => execFileSync("tools/stack", words, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }).trim();
