// SPDX-License-Identifier: Apache-2.0
// The console in a real browser, by clicking. EDGE_URL, ADMIN_TOKEN, READ_TOKEN and ISSUE_TOKEN are a stack's (.run/env); pictures
// of each view go to RESULTS_DIR. AXE_CORE is the path of axe-core's axe.min.js (npm): where it is given, each view is held
// against it, too.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { Browser, ENTER, ESCAPE, TAB, until } from "./webdriver.js";

const { EDGE_URL, ADMIN_TOKEN, READ_TOKEN, ISSUE_TOKEN, RESULTS_DIR, AXE_CORE, DRIVER_PORT = "9515" } = process.env;
const missing = [["EDGE_URL", EDGE_URL], ["ADMIN_TOKEN", ADMIN_TOKEN], ["READ_TOKEN", READ_TOKEN], ["ISSUE_TOKEN", ISSUE_TOKEN]].filter(([, value]) => !value).map(([name]) => name);
const skip = missing.length ? `no stack: ${missing.join(", ")}` : false;
const id = `browser-${Date.now().toString(36)}`;

let browser;
const shot = async (name) => {
  if (RESULTS_DIR) writeFileSync(`${RESULTS_DIR}/${name}.png`, await browser.screenshot());
};
const dialog = "#dialog";
const say = (text) => browser.says("#app", text);

before(async () => {
  if (skip) return;
  if (RESULTS_DIR) mkdirSync(RESULTS_DIR, { recursive: true });
  browser = await Browser.start({ port: Number(DRIVER_PORT) });
});
after(() => browser?.quit());

async function signIn(token) {
  await browser.go("about:blank"); // so that only the fragment differing does not keep the page
  await browser.go(`${EDGE_URL}/console`);
  await browser.type("#key", token);
  await browser.keys(ENTER);
  await browser.says(".role", "may");
}

async function issue(count) {
  const users = Array.from({ length: count }, (_, n) => `user-${Date.now()}-${n}`);
  const response = await fetch(`${EDGE_URL}/write/v1/campaigns/${id}/coupons/batch`, {
    method: "POST",
    headers: { Authorization: `Bearer ${ISSUE_TOKEN}`, "Content-Type": "application/json", "Idempotency-Key": `${id}-${Date.now()}` },
    body: JSON.stringify({ user_ids: users }),
  });
  assert.equal(response.status, 200);
  return (await response.json()).results[0];
}

test("a key that nobody has is refused where it was typed", { skip }, async () => {
  await browser.go(`${EDGE_URL}/console`);
  await browser.type("#key", "nonsense");
  await browser.keys(ENTER);
  await browser.says("#key-fault", "not known");
});

test("a campaign is created by a form that says what is wrong where it is", { skip }, async () => {
  await signIn(ADMIN_TOKEN);
  await browser.go(`${EDGE_URL}/console#/control`);
  await browser.click('[data-do="create"]');
  for (const [name, text] of [["id", id], ["name", "Night sale"], ["discount_value", "10"], ["currency", "won"], ["quantity", "500"], ["released", "200"]]) await browser.type(`#f-${name}`, text);
  await browser.keys(ENTER);
  await browser.says("#f-currency-fault", "Three capital letters");
  await shot("create-en");
  await browser.type("#f-currency", "KRW");
  await browser.keys(ENTER);
  await browser.says(dialog, "visible to readers");
  await browser.click(`${dialog} button[type=button]`);
  await say("Night sale");
});

test("the sale: figures follow what is issued", { skip }, async () => {
  const coupon = await issue(40);
  await browser.go(`${EDGE_URL}/console#/sale/${id}?range=10m`);
  await until("forty are issued", async () => /Issued\s+40\b/.test(await browser.text(".figures")));
  await until("the curve is drawn", () => browser.has("svg path.left[d*=L]"));
  await browser.says(".sentence", "Nothing holds the sale up");
  await shot("sale-en");
  await browser.go(`${EDGE_URL}/console#/ask?q=${coupon.coupon_id}`);
  await browser.says(".secret", "•••");
  assert.ok(!(await browser.text("#app")).includes(coupon.code));
  await browser.click(".secret button");
  await browser.says(".secret", coupon.code);
});

test("a sale is paused with the keyboard alone, and who did it and why stands there", { skip }, async () => {
  await browser.go(`${EDGE_URL}/console#/sale/${id}?range=10m`);
  await until("the button has the focus", async () => {
    await browser.run(`document.querySelector('[data-do="pause"]').focus()`);
    return browser.run(`return document.activeElement?.dataset.do === "pause"`);
  });
  await browser.keys(ENTER);
  await browser.type("#f-reason", "the price is wrong");
  await browser.keys(TAB);
  await accessible("the dialog");
  await shot("pause-en");
  await browser.keys(ENTER);
  await browser.says(dialog, "visible to readers");
  await browser.keys(ESCAPE);
  await browser.says(".why", "the price is wrong");
  await shot("paused-en");
  await browser.click('[data-do="resume"]');
  await browser.keys(ENTER);
  await browser.says(dialog, "visible to readers");
  await browser.keys(ESCAPE);
  await until("it sells again", () => browser.has('[data-do="pause"]'));
});

/** What axe-core calls serious or critical. */
async function accessible(what) {
  if (!AXE_CORE) return;
  await browser.run(`${readFileSync(AXE_CORE, "utf8")}; window.axe = axe;`);
  const found = await browser.runLater("const done = arguments[arguments.length - 1]; axe.run().then((is) => done(is.violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.map((one) => one.target.join(' ')) }))), (error) => done([{ id: String(error), impact: 'critical' }]));");
  assert.deepEqual(found.filter((one) => ["serious", "critical"].includes(one.impact)), [], what);
}

test("each view in both languages, by night and on a telephone", { skip }, async () => {
  const wide = async () => browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
  for (const [name, night, width] of [["day", "light", 1280], ["night", "dark", 1280], ["phone", "light", 390]]) {
    await browser.cdp("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: night }] });
    await browser.cdp("Emulation.setDeviceMetricsOverride", { width, height: 1100, deviceScaleFactor: 1, mobile: width < 600 });
    for (const lang of ["en", "ko"]) {
      if ((await browser.run("return document.documentElement.lang")) !== lang) await browser.click(`.preferences button[lang="${lang}"]`);
      await until("the language is the other", async () => (await browser.run("return document.documentElement.lang")) === lang);
      for (const view of [`sale/${id}`, "sale", "control", `ask?q=${id}`, "audit", "rankings"]) {
        await browser.go(`${EDGE_URL}/console#/${view}`);
        await until("it has something to say", async () => (await browser.has(".pane, .search")) && !(await browser.has('[aria-busy="true"]')));
        assert.ok((await wide()) <= 0, `${name} ${lang} ${view}: wider than the window`);
        await accessible(`${name} ${lang} ${view}`);
        await shot(`${name}-${lang}-${view.replace(/[/?].*/, view.includes("/") ? "-one" : "")}`);
      }
    }
  }
  await browser.click('.preferences button[lang="en"]');
});

test("who may only look is offered nothing to do", { skip }, async () => {
  await signIn(READ_TOKEN);
  await browser.go(`${EDGE_URL}/console#/sale/${id}`);
  await say("Night sale");
  assert.ok(!(await browser.has("[data-do]")));
});

test("the policy had nothing to refuse, and nothing went wrong in the page", { skip }, async () => {
  const log = await browser.log();
  const worth = log.filter((one) => one.level === "SEVERE" && !/status of 4\d\d/.test(one.message));
  assert.deepEqual(worth, []);
  assert.ok(!log.some((one) => /Content Security Policy|TrustedScript|TrustedHTML/.test(one.message)));
});
