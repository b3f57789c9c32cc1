// SPDX-License-Identifier: Apache-2.0
// The console in a real browser, by clicking: each view, each dialog, then what it shows in trouble. The environment is a
// stack's (.run/env) and its RUN_DIR; pictures go to RESULTS_DIR. AXE_CORE is the path of axe-core's axe.min.js (npm): where
// it is given, each view is held against it, too.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { faultsOfPage, spoilPage } from "./accessibility.js";
import { accessible, api, browser, call, campaign, closeDialog, dialog, env, fill, issue, night, open, say, sendDialog, shot, signIn, skip, users } from "./kit.js";
import { inTrouble } from "./trouble.js";
import { ENTER, ESCAPE, TAB, until } from "./webdriver.js";

const ADMIN = env.ADMIN_TOKEN;
const button = (kind) => `[data-do="${kind}"]`;

test("a key that nobody has is refused where it was typed", { skip }, async () => {
  await browser.go(`${env.EDGE_URL}/console`);
  await accessible("signing in");
  await browser.type("#key", "nonsense");
  await until("it is refused", async () => {
    if (await browser.has("[type=submit]:enabled")) await browser.keys(ENTER); // again where nobody answered in time
    return browser.has("#key-fault") && (await browser.text("#key-fault")).includes("not known");
  });
});

test("a campaign is created by a form that says what is wrong where it is", { skip }, async () => {
  const id = `made-${Date.now().toString(36)}`;
  await signIn(ADMIN);
  await open("control");
  await browser.click(button("create"));
  await fill({ id, name: "Night sale", discount_value: "10", max_amount: "5000", currency: "won", quantity: "500", released: "200", utc_offset: "+09:00", coupon_valid_days: "7" });
  await browser.keys(ENTER);
  await browser.says("#f-currency-fault", "Three capital letters");
  await accessible("a form with a fault");
  await shot("create-en");
  await sendDialog({ currency: "KRW" });
  await closeDialog();
  await say("Night sale");
  assert.equal((await api("GET", `/v1/campaigns/${id}`)).discount.max_amount, 5000);
});

test("the sale: figures follow what is issued, a code is masked until it is asked for", { skip }, async () => {
  const id = await campaign({ released: 200 });
  await signIn(ADMIN);
  const [coupon] = await issue(id, users(40));
  await open(`sale/${id}?range=10m`);
  await until("forty are issued", async () => /Issued\s+40\b/.test(await browser.text(".figures")));
  await until("the curve is drawn", () => browser.has("svg path.left[d*=L]"));
  await browser.says(".sentence", "Nothing holds the sale up");
  await until("each process has its row", async () => (await browser.count(".side .health")) === 3);
  await open(`ask?q=${coupon.coupon_id}`);
  await browser.says(".secret", "•••");
  assert.ok(!(await browser.text("#app")).includes(coupon.code));
  await browser.click(".secret button");
  await browser.says(".secret", coupon.code);
});

test("a sale is paused with the keyboard alone, and who did it and why stands there", { skip }, async () => {
  const id = await campaign({ released: 200 });
  await signIn(ADMIN);
  await open(`sale/${id}?range=10m`);
  await until("it may be paused", () => browser.has(button("pause")));
  const seen = [];
  for (let pressed = 0; (await browser.run("return document.activeElement?.dataset?.do")) !== "pause"; pressed++) {
    assert.ok(pressed < 30, `not reached by the keyboard: ${seen}`);
    await browser.keys(TAB);
    const { what, place, outline } = await browser.run("const is = document.activeElement; return { what: is.textContent.slice(0, 20), place: [...document.querySelectorAll('*')].indexOf(is), outline: getComputedStyle(is).outlineStyle };");
    assert.ok(seen.every((one) => one.place < place), `the focus goes as the page is read: ${what}`);
    assert.notEqual(outline, "none", `the focus is seen on ${what}`);
    seen.push({ what, place });
  }
  await browser.keys(ENTER);
  await until("the reason has the focus", () => browser.run("return document.activeElement?.id === 'f-reason'"));
  await browser.keys(..."the price is wrong");
  await accessible("the dialog");
  await shot("pause-en");
  await browser.keys(ENTER);
  await browser.says(dialog, "visible to readers");
  await browser.keys(ESCAPE);
  await browser.says(".why", "by admin,");
  await browser.says(".why", "the price is wrong");
  await shot("paused-en");
  await open("sale");
  await browser.says("td .note", "the price is wrong");
});

test("from the link to a sale that is held: a key, two clicks, and a reason", { skip }, async (t) => {
  const id = await campaign({ name: "Held in two clicks" });
  const seconds = (since) => ((performance.now() - since) / 1000).toFixed(1);
  await browser.go(`${env.EDGE_URL}/livez`);
  await browser.run("sessionStorage.clear()");
  const opened = performance.now();
  await browser.go(`${env.EDGE_URL}/console`);
  await browser.type("#key", ADMIN);
  await browser.keys(ENTER);
  await until("signed in", () => browser.has(".role"));
  const signedIn = performance.now();
  const found = `td a[href="#/sale/${id}"]`;
  await until("it is on the first page", () => browser.has(found));
  await browser.click(found);
  await browser.click(button("pause"));
  await until("the reason has the focus", () => browser.run("return document.activeElement?.id === 'f-reason'"));
  await browser.keys(..."price is wrong", ENTER);
  await browser.says(dialog, "position"); // accepted is enough: from there on nobody is issued anything
  t.diagnostic(`of the machine: ${seconds(opened)} s from the link, ${seconds(signedIn)} s from signing in`);
  const { body } = await call("POST", `/v1/campaigns/${id}/coupons`, { user_id: "late" }, { token: env.ISSUE_TOKEN });
  assert.equal(body.code, "paused");
  await closeDialog();
});

test("it is resumed, stock is released, and what somebody else changed meanwhile is told before an edit", { skip }, async () => {
  const id = await campaign({ released: 200 });
  await signIn(ADMIN);
  await open(`sale/${id}?range=10m`);
  await api("POST", `/v1/campaigns/${id}/pause`, {});
  await browser.click(button("resume"));
  await sendDialog({ reason: "corrected" });
  await closeDialog();
  await until("it sells again", () => browser.has(button("pause")));
  await browser.click(button("release"));
  await sendDialog({ quantity: "50" });
  await closeDialog();
  await until("fifty more", async () => (await api("GET", `/v1/campaigns/${id}`)).released === 250);

  await browser.click(button("edit"));
  await fill({ quantity: "600" });
  await api("PATCH", `/v1/campaigns/${id}`, { name: "Night sale, day two" });
  await issue(id, users(1)); // nobody minds that it sells
  await browser.keys(ENTER);
  await browser.says(dialog, "somebody changed the campaign");
  await browser.says(dialog, "Night sale, day two");
  await shot("changed-meanwhile-en");
  await browser.keys(ENTER);
  await browser.says(dialog, "visible to readers");
  await closeDialog();
  await until("both changes hold", async () => {
    const { name, quantity } = await api("GET", `/v1/campaigns/${id}`);
    return name === "Night sale, day two" && quantity === 600;
  });
});

test("a coupon is taken back only with its id and a reason", { skip }, async () => {
  const id = await campaign({ released: 200 });
  await signIn(ADMIN);
  const [coupon] = await issue(id, users(1, "revoked"));
  await open(`ask?q=${coupon.coupon_id}`);
  await browser.click(".pane .danger");
  await browser.keys(ENTER);
  await browser.says("#f-reason-fault", "A reason is needed");
  await browser.says("#f-typed-fault", coupon.coupon_id);
  await sendDialog({ reason: "fraud", typed: coupon.coupon_id });
  await closeDialog();
  await open(`ask?q=${coupon.code}`);
  await say("by admin,");
  await say("fraud");
  await browser.click(".pane .controls button");
  await say("coupon revoked");
});

test("a setting keeps within its bounds; a profile says what it would change", { skip }, async () => {
  await signIn(ADMIN);
  await open("control");
  await browser.click('[aria-label="Set queue_max"]');
  await fill({ value: "99999999" });
  await browser.keys(ENTER);
  await browser.says("#f-value-fault", "within its bounds");
  await sendDialog({ value: "9000", reason: "a test" }, "Done.");
  await closeDialog();
  await until("who set it", async () => /set by hand\s+by admin,.*a test/s.test(await browser.text(".view")));
  await browser.click('[aria-label="Set queue_max"]');
  await sendDialog({ value: " " }, "Done.");
  await closeDialog();
  await until("the profile's again", async () => !/set by hand/.test(await browser.text(".view")));

  await browser.click(button("profile"));
  await browser.says(dialog, "Nothing would change");
  await browser.choose("#f-value", "spike");
  await browser.says(dialog, "rate_limit_per_user");
  await accessible("the profile's dialog");
  await shot("profile-en");
  await sendDialog({ reason: "the night", typed: "profile" }, "Done.");
  await closeDialog();
  await until("who changed it", async () => /Profile spike by admin,.*the night/.test(await browser.text(".view")));
  await browser.click(button("profile"));
  await browser.choose("#f-value", "normal");
  await sendDialog({ reason: "over", typed: "profile" }, "Done.");
  await closeDialog();
});

test("a key is suspended and may act again; nobody suspends the own one", { skip }, async () => {
  await signIn(ADMIN);
  await open("control");
  await browser.click('[aria-label="Suspend admin"]');
  await fill({ reason: "x", typed: "admin" });
  await browser.keys(ENTER);
  await browser.says(dialog, "your own key");
  await closeDialog();
  await browser.click('[aria-label="Suspend redeem"]');
  await sendDialog({ reason: "stolen", typed: "redeem" }, "Done.");
  await closeDialog();
  await until("who did it", async () => /redeem\s+suspended\s+by admin,.*stolen/s.test(await browser.text(".view")));
  await browser.click('[aria-label="Resume redeem"]');
  await sendDialog({ reason: "found" }, "Done.");
  await closeDialog();
  await until("it may act", () => browser.has('[aria-label="Suspend redeem"]'));
});

test("what sold nothing is counted before it is deleted; a campaign is closed for good; all are paused", { skip }, async () => {
  const id = await campaign({ released: 200 });
  await signIn(ADMIN);
  await issue(id, users(1));
  const unsold = await campaign();
  await open("control");
  await browser.click(button("void"));
  await browser.keys(ENTER);
  await browser.says("#f-created_by-fault", "At least one bound");
  await fill({ created_by: "admin" });
  await browser.keys(ENTER);
  await browser.says(dialog, "would be deleted");
  assert.equal((await call("GET", `/v1/campaigns/${unsold}`)).status, 200, "counting deletes nothing");
  const [count] = /\d+/.exec(await browser.text(`${dialog} [role=status]`));
  await sendDialog({ reason: "made by a script", typed: count }, `Done: ${count} voided`);
  await closeDialog();
  await until("it is gone", async () => (await call("GET", `/v1/campaigns/${unsold}`)).status === 404);
  assert.equal((await api("GET", `/v1/campaigns/${unsold}/history`)).items.at(-1).reason, "made by a script");

  await open(`sale/${id}`);
  await browser.click(button("close"));
  await sendDialog({ reason: "over", typed: id });
  await closeDialog();
  await browser.says(".badge", "closed");
  await browser.says(".why", "over");

  const selling = await campaign();
  await issue(selling, users(3));
  await open("control");
  await browser.click(button("pause-all"));
  await sendDialog({ reason: "stop everything", typed: "pause all" }, "paused.");
  await closeDialog();
  await until("it is paused", async () => (await api("GET", `/v1/campaigns/${selling}`)).status_reason === "stop everything");
});

test("why somebody was refused: a search for who got nothing, the sentence to send, and an address for a colleague", { skip }, async () => {
  await signIn(ADMIN);
  const soldOut = await campaign({ name: "Concert tickets", quantity: 5 });
  await issue(soldOut, users(5));
  await open("ask");
  await browser.type("#q", "late@shop.example");
  await browser.keys(ENTER);
  await say("Nothing is called “late@shop.example”");
  await until("the name is there already", async () => (await browser.value("#why-user")) === "late@shop.example");
  await browser.type("#why-campaign", soldOut);
  await browser.keys(ENTER);
  await browser.says(".answer", "sold out");
  await until("in both languages", async () => (await browser.count(".answer blockquote")) === 2);
  await accessible("an answer");
  await shot("refused-en");
  assert.match(await browser.url(), new RegExp(`campaign=${soldOut}.*user=late`));
  const { hash } = new URL(await browser.url());
  await open(hash.slice(2));
  await browser.says(".answer", "sold out");
});

test("an order's coupons: of whatever campaign, what it gave back too, masked, each with its history", { skip }, async () => {
  const order = `order-${Date.now().toString(36)}`;
  const kept = await campaign();
  const given = await campaign();
  const [a] = await issue(kept, ["buyer"]);
  const [b] = await issue(given, ["buyer"]);
  const use = { user_id: "buyer", order_id: order, order_amount: 30000 };
  await api("POST", `/v1/coupons/${a.coupon_id}/redeem`, use);
  await api("POST", `/v1/coupons/${b.coupon_id}/reserve`, { ...use, ttl_seconds: 600 });
  await api("POST", `/v1/coupons/${b.coupon_id}/release`, { order_id: order });
  await signIn(ADMIN);
  await open("ask");
  await browser.type("#q", order);
  await browser.keys(ENTER);
  await until("both are there", async () => (await browser.count(".pane tbody tr")) === 2);
  const rows = (await browser.text(".pane tbody")).split("\n").join(" ");
  assert.match(rows, /redeemed/);
  assert.match(rows, /has it no more/);
  await browser.says(".secret", "•••");
  for (const { code } of [a, b]) assert.ok(!(await browser.text("#app")).includes(code));
  await browser.click(`[aria-label="History ${b.coupon_id}"]`);
  await say("reservation released");
  await accessible("an order");
  await shot("order-en");
  await browser.click(`[aria-label="Show ${a.coupon_id}"]`);
  await say(a.code);
});

test("holders are listed, and saved as a file for a spreadsheet", { skip }, async () => {
  const id = await campaign();
  await issue(id, ["김민지", ...users(30)]);
  await signIn(ADMIN);
  const folder = `${env.RUN_DIR}/downloads`;
  await browser.cdp("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: folder });
  await open(`ask?q=${id}`);
  await browser.click(".pane .controls button:nth-child(2)");
  await say("김민지");
  await browser.click(".pane .controls button:nth-child(3)");
  const file = await until("the file is there", () =>
    existsSync(folder) && readdirSync(folder).find((name) => name.startsWith(id) && name.endsWith(".csv")));
  const lines = readFileSync(`${folder}/${file}`, "utf8").split("\r\n").filter(Boolean);
  assert.match(lines[0], /^\uFEFFsequence,user_id,/);
  assert.match(lines[1], /^1,김민지,/);
  assert.equal(lines.length, 32);
});

test("the audit trail: what was done stands there, and filters are in the address", { skip }, async () => {
  const id = await campaign();
  await api("POST", `/v1/campaigns/${id}/close`, { reason: `over, ${id}` });
  await signIn(ADMIN);
  await open("audit");
  await browser.type("#audit-text", `over, ${id}`);
  await until("one of all", async () => /\b1 of \d+ that were read/.test(await browser.text(".view")));
  assert.match(await browser.url(), /text=over/);
  await open(`audit?type=CampaignClosed&campaign=${id}`);
  await until("found again by its address", async () => /\b1 of \d+ that were read/.test(await browser.text(".view")));
});

test("each view in both languages, by night and on a telephone", { skip }, async () => {
  await signIn(ADMIN);
  const planned = await campaign({ quantity: 1000, released: 400, release_plan: [{ at: new Date(Date.now() + 600_000).toISOString(), quantity: 300 }] });
  await issue(planned, users(40));
  const wide = async () => browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
  for (const [name, scheme, width] of [["day", "light", 1280], ["night", "dark", 1280], ["phone", "light", 390]]) {
    await browser.cdp("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }, { name: "prefers-reduced-motion", value: "reduce" }] });
    await browser.cdp("Emulation.setDeviceMetricsOverride", { width, height: 1100, deviceScaleFactor: 1, mobile: width < 600 });
    for (const lang of ["en", "ko"]) {
      if ((await browser.run("return document.documentElement.lang")) !== lang) await browser.click(`.preferences button[lang="${lang}"]`);
      await until("the language is the other", async () => (await browser.run("return document.documentElement.lang")) === lang);
      for (const view of [`sale/${planned}`, "sale", "control", `ask?q=${planned}`, "audit", "rankings"]) {
        await open(view);
        await until("it has something to say", async () => (await browser.has(".pane, .search")) && !(await browser.has('[aria-busy="true"], .says.loading')));
        await browser.run("scrollTo(0, 0)");
        assert.ok((await wide()) <= 0, `${name} ${lang} ${view}: wider than the window`);
        await accessible(`${name} ${lang} ${view}`);
        await shot(`${name}-${lang}-${view.replace(/[/?].*/, view.includes("/") ? "-one" : "")}`);
      }
    }
  }
  await browser.cdp("Emulation.clearDeviceMetricsOverride", {});
  await browser.cdp("Emulation.setEmulatedMedia", { features: [] });
  await browser.click('.preferences button[lang="en"]');
});

test("a campaign is created, held and resumed in Korean", { skip }, async () => {
  const id = `made-ko-${Date.now().toString(36)}`;
  await signIn(ADMIN);
  await browser.click('.preferences button[lang="ko"]');
  await until("it speaks Korean", async () => (await browser.run("return document.documentElement.lang")) === "ko");
  await open("control");
  await browser.click(button("create"));
  await fill({ id, name: "여름밤 할인", discount_value: "10", max_amount: "5000", currency: "원", quantity: "500", released: "200" });
  await browser.keys(ENTER);
  await browser.says("#f-currency-fault", "대문자");
  await accessible("a form with a fault in Korean");
  await shot("create-ko");
  await sendDialog({ currency: "KRW" }, "조회에 반영");
  await closeDialog();
  await say("여름밤 할인");
  await open(`sale/${id}?range=10m`);
  await browser.click(button("pause"));
  await until("the reason has the focus", () => browser.run("return document.activeElement?.id === 'f-reason'"));
  await shot("pause-ko");
  await sendDialog({ reason: "가격 오류" }, "조회에 반영");
  await closeDialog();
  await browser.says(".why", "가격 오류");
  await shot("paused-ko");
  assert.equal((await api("GET", `/v1/campaigns/${id}`)).status_reason, "가격 오류");
  await browser.click(button("resume"));
  await sendDialog({ reason: "수정함" }, "조회에 반영");
  await closeDialog();
  await until("it sells again", () => browser.has(button("pause")));
  await browser.click('.preferences button[lang="en"]');
});

test("what these checks look for they do see", { skip }, async () => {
  await signIn(ADMIN);
  await browser.run(`(${spoilPage})()`);
  const faults = await browser.run(`return (${faultsOfPage})()`);
  for (const one of ["no name", "no label", "contrast", "not one main", "is followed by 6", "two have the id", "leads nowhere", "an order of its own", "too small"]) assert.ok(faults.some((fault) => fault.includes(one)), `${one}: ${faults.join("; ")}`);
});

test("who may only look is offered nothing to do", { skip }, async () => {
  const id = await night();
  await signIn(env.READ_TOKEN);
  await open(`sale/${id}`);
  await say("Night sale");
  assert.ok(!(await browser.has("[data-do]")));
  for (const view of ["control", "audit"]) {
    await open(view);
    await say("has no scope");
  }
});

test("nothing is asked while nobody looks, and at once when somebody does", { skip }, async () => {
  const id = await night();
  await signIn(ADMIN);
  await open(`sale/${id}`);
  await say("Night sale");
  const asked = () => browser.run("return performance.getEntriesByType('resource').filter((one) => /\\/(read|write|projector)\\//.test(one.name)).length");
  const first = await asked();
  await until("it asks", async () => (await asked()) > first);
  // The past of the chart has been read. A pause begins when an answer is there, so a slow machine is asked less often.
  await until("the past is read", async () => !(await browser.has(".says.loading")));
  const [begin, beganAt] = [await asked(), Date.now()];
  await new Promise((resolve) => setTimeout(resolve, 5000));
  const perSecond = (1000 * ((await asked()) - begin)) / (Date.now() - beganAt);
  assert.ok(perSecond < 5, `${perSecond} questions a second`);
  const back = await browser.hide();
  assert.equal(await browser.run("return document.hidden"), true);
  const before = await asked();
  await new Promise((resolve) => setTimeout(resolve, 6000)); // longer than any pause between two questions
  assert.equal(await asked(), before);
  await back();
  await until("it asks again", async () => (await asked()) > before);
});

inTrouble();

test("text that becomes markup or a script is refused, and until now nothing in the page tried", { skip }, async () => {
  const log = await browser.log();
  const policy = /Content Security Policy|Trusted(Script|HTML)/;
  assert.deepEqual(log.filter((one) => one.level === "SEVERE" && !/status of \d\d\d|net::ERR_/.test(one.message)), []);
  assert.ok(!log.some((one) => policy.test(one.message)));
  await signIn(ADMIN);
  for (const attempt of ["document.body.innerHTML = '<b>'", "document.createElement('script').text = '1'", "setTimeout('1')", "Function('1')()"])
    assert.match(await browser.runLater(`const done = arguments[0]; setTimeout(() => { try { ${attempt}; done("let"); } catch (error) { done(error.name); } })`), /TypeError|EvalError/, attempt);
  await until("a refusal is reported", async () => (await browser.log()).some((one) => policy.test(one.message)));
});
