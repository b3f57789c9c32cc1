// SPDX-License-Identifier: Apache-2.0
// Every view in every state it is designed for, in both languages: no key of the catalogue is missing, no text is left out,
// and what must not be offered or shown is not.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { openAction, step } from "../core/action.js";
import { KINDS } from "../core/kinds.js";
import { findAll, h, textOf } from "../h.js";
import { CATALOGUES, languageOf, translator, unitsOf } from "../i18n/index.js";
import { burnChart, endOf, linePath, scales, stepPath, ticks } from "../views/chart.js";
import { dialogView } from "../views/dialog.js";
import { frame } from "../views/frame.js";
import { auditMatches } from "../views/lists.js";
import { slicesOf } from "../views/sale.js";

const NOW = Date.parse("2026-11-30T12:00:00Z");
const at = (ms) => new Date(NOW + ms).toISOString();
const act = new Proxy({}, { get: (_, name) => (name === "href" ? () => "#/x" : () => {}) });

function contextOf(lang, more = {}) {
  const known = translator(lang);
  const t = (key, values) => {
    assert.notEqual(known.maybe(key), undefined, `${lang}: ${key}`);
    const text = known(key, values);
    assert.doesNotMatch(text, /\{\w+\}|undefined|NaN|\[object/, `${lang}: ${key}`);
    return text;
  };
  t.maybe = known.maybe;
  return { t, lang, zone: "kst", now: NOW, units: unitsOf(known), act, may: { admin: true }, sides: { write: "w", read: "r", projector: "p" }, ...more };
}

const live = (value) => ({ value, at: NOW - 500, failure: undefined });
const none = { value: undefined, at: NaN, failure: undefined };
const failed = { value: undefined, at: NaN, failure: Object.assign(new Error("no answer"), { code: "overloaded", requestId: "abc" }) };
const stale = (value) => ({ value, at: NOW - 60_000, failure: failed.failure });

const campaign = {
  id: "summer", name: "Summer <b>", status: "paused", status_since: at(-30_000), status_by: "ops", status_reason: "price is wrong", tags: ["a"], per_user_limit: 1, issued: 40, remaining: 20, released: 60, reserved: 0, redeemed: 3, quantity: 100, currency: "KRW",
  starts_at: at(-600_000), ends_at: null, created_at: at(-1_200_000), plan_done: 1, plan_halted: false, position: { slice: 3, position: 90 },
  release_plan: [{ at: at(-60_000), quantity: 20 }, { at: at(120_000), quantity: 40 }],
};
const item = (type, ms, more = {}) => ({
  type, recorded_at: at(ms), actor: "ops", reason: "price is wrong", position: { slice: 3, position: 80 + ms / 100_000 }, trace_id: "00ff", campaign_id: "summer", coupon_id: null, user_id: null, data: {}, ...more,
});
const write = {
  service: "command-service", instances: ["host:1", "host:2"].map((instance) => ({ instance, version: "2.0", since: at(-9e6) })), profile: "normal", disk: "ok", bottleneck: "none", limits: {},
  slices: Array.from({ length: 16 }, (_, slice) => ({ slice, waiting: slice, waiting_max: 100, predicted_wait_ms: 3, store_available: true })),
};
const gauge = { is: 1, max: 10 };
const read = {
  mode: "normal", bottleneck: "none", redis: { usable: true, breaker: "closed", queue: gauge, busy: gauge }, postgresql: { usable: true, breaker: "closed", queue: gauge, busy: gauge },
  memory: { bytes: gauge, entries: 1, hits: 1, stale: 0, misses: 0 }, waiting: gauge, followers: gauge, models_age_ms: null, hot: [],
  slices: Array.from({ length: 16 }, (_, slice) => ({ slice, log: 5, models: slice === 2 ? null : 5, lag_events: slice === 2 ? null : 0 })),
};
const coupon = {
  coupon_id: "c3-77", code: "SUMMER-ABCDE-FGHJK-MNPQR-STVWX-YZ012", campaign_id: "summer", user_id: "ann@shop.example", sequence: 7, status: "issued", issued_at: at(-5000), expires_at: null, position: { slice: 3, position: 77 },
};
const settings = {
  profile: "spike", profile_set: { since: at(-9000), by: "ops", reason: "the night" }, issuers: ["admin", "shop-7"], suspended: ["shop-7"], suspensions: [{ issuer: "shop-7", since: at(-9000), by: "ops", reason: "bots" }],
  settings: [
    { name: "queue_max", value: 10, source: "set", since: at(-9000), by: "ops", min: 1, max: 20, unit: "commands", meaning: "most that wait", profiles: { normal: 1, spike: 5, incident: 2 } },
    { name: "a", value: 1, source: "profile", min: 1, max: 2, unit: "s", meaning: "b", profiles: { normal: 1, spike: 1, incident: 2 } },
  ],
};

const state = (more = {}) => ({
  lang: "en", zone: "kst", signedIn: true, lastSale: "", signIn: { key: "", keep: false, loading: false }, route: { view: "sale", id: "", filters: {} },
  campaigns: none, campaign: none, history: none, refusals: none, settings: none, ranking: none, write: none, read: none, projector: none, points: [], past: "none", spokenAt: undefined, lists: {},
  search: undefined, unmasked: new Set(), csv: undefined, copied: undefined, recent: [], asked: "", why: { campaign: "", user: "", at: "", loading: false }, ...more,
});
const point = (ms, issued, released) => ({ at: NOW + ms, issued, released, quantity: 100, status: "active" });
const selling = {
  route: { view: "sale", id: "summer", filters: { range: "all" } }, campaign: live(campaign), write: live(write), read: live(read), projector: live({ ready: true, parts: { postgresql: true, redis: true, models: false } }), spokenAt: { at: NOW, remaining: 20 },
  history: live([item("CampaignCreated", -1_200_000), item("StockReleased", -60_000, { actor: null, reason: null, data: { quantity: 20 } }), item("CampaignPaused", -30_000)]),
  points: [point(-300_000, 0, 40), point(-60_000, 30, 60), point(-5000, 40, 60), point(-500, 40, 60)],
  refusals: live({ processes: 2, p95Ms: 25, perBatch: 40, rows: [{ code: "sold-out", group: "rules", perSecond: 90 }, { code: "overloaded", group: "ours", perSecond: 2 }, { code: "x-y", group: "callers", perSecond: 1 }] }),
};
const draw = (ctx, is) => h("body", {}, frame(ctx, is));

const each = (run) => {
  for (const lang of Object.keys(CATALOGUES)) run(lang);
};

test("both catalogues have the same keys and the same places to fill in", () => {
  assert.deepEqual(Object.keys(CATALOGUES.en), Object.keys(CATALOGUES.ko));
  for (const key of Object.keys(CATALOGUES.en)) {
    const places = (text) => [...text.matchAll(/\{\w+\}/g)].map(([one]) => one).sort();
    assert.deepEqual(places(CATALOGUES.ko[key]), places(CATALOGUES.en[key]), key);
    assert.ok(CATALOGUES.ko[key].trim() !== "" && CATALOGUES.en[key].trim() !== "", key);
  }
  assert.equal(languageOf(["fr-FR", "ko-KR", "en"]), "ko");
  assert.equal(languageOf(undefined), "en");
});

test("each event and each kind of thing to do has its words", () => {
  const catalog = readFileSync(new URL("../../events/catalog.h", import.meta.url), "utf8");
  const events = [...catalog.matchAll(/^ {4}X\(\d+, \d+, (\w+),/gm)].map(([, name]) => name);
  assert.ok(events.length > 15);
  for (const name of events) assert.ok(CATALOGUES.en[`event.${name}`], name);
  for (const kind of Object.keys(KINDS)) for (const part of ["do", "title", "about"]) assert.ok(CATALOGUES.en[`${part}.${kind}`], `${part}.${kind}`);
});

test("no key of the catalogue is there for nothing", () => {
  const folders = ["../", "../core/", "../views/", "../i18n/"];
  const text = folders.flatMap((folder) => readdirSync(new URL(folder, import.meta.url)).filter((name) => name.endsWith(".js") && !["en.js", "ko.js"].includes(name)).map((name) => readFileSync(new URL(folder + name, import.meta.url), "utf8"))).join("\n");
  const families = new Set([...text.matchAll(/`([a-z-]+)\.\$\{/g)].map(([, family]) => family));
  for (const key of Object.keys(CATALOGUES.en)) assert.ok(text.includes(`"${key}"`) || families.has(key.split(".")[0]), key);
});

test("the sale: figures, who paused it and why, refusals, slices, health", () => {
  each((lang) => {
    const tree = draw(contextOf(lang), state(selling));
    const text = textOf(tree);
    assert.match(text, /Summer <b>/);
    assert.match(text, /ops/);
    assert.match(text, /price is wrong/);
    for (const one of [/host:1/, /host:2/]) assert.match(text, one);
    assert.equal(text.split(CATALOGUES[lang].services.replace("{count}", "2")).length, 3, "p95 and refusals are of both services");
    assert.equal(findAll(tree, (node) => node.attributes.class?.startsWith("cell ")).length, 16);
    assert.equal(findAll(tree, (node) => node.attributes["aria-current"] === "true" && node.tag === "li").length, 1);
    assert.equal(findAll(tree, (node) => node.attributes["data-do"] === "resume").length, 1);
    assert.equal(findAll(tree, (node) => node.attributes["data-do"] === "pause").length, 0);
    const [line] = findAll(tree, (node) => node.tag === "path" && node.attributes.class === "left");
    assert.match(line.attributes.d, /^M[\d.]+ [\d.]+(L[\d.]+ [\d.]+){3}$/);
    assert.equal(findAll(tree, (node) => /planned/.test(node.attributes.class ?? "")).length, 1);
  });
});

test("loading, failed, stale and empty are four different pages", () => {
  each((lang) => {
    const ctx = contextOf(lang);
    const route = { view: "sale", id: "summer", filters: {} };
    const loading = textOf(draw(ctx, state({ route })));
    const broken = draw(ctx, state({ route, campaign: failed, write: failed, read: failed }));
    const old = draw(ctx, state({ ...selling, campaign: stale(campaign), write: stale(write), read: stale(read) }));
    const empty = textOf(draw(ctx, state({ campaigns: live({ items: [], more: false }), write: live(write), read: live(read) })));
    assert.match(loading, new RegExp(CATALOGUES[lang].loading));
    assert.ok(findAll(broken, (node) => node.attributes.role === "alert").length > 0);
    assert.match(textOf(broken), /abc/, "what to look for in the logs");
    assert.ok(textOf(broken).includes(CATALOGUES[lang]["bottleneck.nothing"]));
    assert.ok(findAll(old, (node) => node.attributes.class === "age stale").length > 0);
    assert.match(textOf(old), /Summer/);
    assert.ok(empty.includes(CATALOGUES[lang]["campaigns.none"]));
  });
});

test("a halted plan says why; sold out, and a single reading have their words", () => {
  each((lang) => {
    const ctx = contextOf(lang);
    const halted = { ...campaign, status: "sold_out", plan_halted: true, issued: 60, remaining: 0 };
    const history = live([item("ReleasePlanHalted", -1000, { actor: null, reason: null, data: { plan_step: 1, calls: 1000, success_permille: 915, p95_ms: 900 } })]);
    const text = textOf(draw(ctx, state({ ...selling, campaign: live(halted), history, points: [point(-500, 60, 60)], refusals: live({ rows: null }), past: "partial" })));
    assert.match(text, /91\.5/);
    assert.ok(text.includes(CATALOGUES[lang]["figure.gone"]));
    assert.ok(text.includes(CATALOGUES[lang]["refusals.second-reading"]));
    assert.ok(text.includes(CATALOGUES[lang]["past.partial"]));
    for (const status of ["active", "scheduled", "ended", "closed"]) draw(ctx, state({ ...selling, campaign: live({ ...campaign, status, release_plan: [], released: 100 }), refusals: live({ rows: [] }) }));
  });
});

test("whatever holds the sale up, there is a sentence", () => {
  each((lang) => {
    const ctx = contextOf(lang);
    const sliceAway = { ...write, bottleneck: "store", slices: write.slices.map((one) => ({ ...one, store_available: one.slice > 3 })) };
    for (const one of [sliceAway, { ...write, bottleneck: "queue" }, { ...write, bottleneck: "disk", disk: "no writes" }, { ...write, profile: "incident" }, { ...write, disk: "nearly full" }])
      draw(ctx, state({ ...selling, write: live(one) }));
    for (const mode of ["without-redis", "without-postgresql", "memory-only"]) draw(ctx, state({ ...selling, read: live({ ...read, mode }) }));
    draw(ctx, state({ ...selling, read: live({ ...read, slices: [{ slice: 1, log: 1e6, models: 1, lag_events: 1e6 }] }) }));
    draw(ctx, state({ ...selling, read: failed }));
    draw(ctx, state({ ...selling, write: failed }));
    assert.ok(textOf(draw(ctx, state({ ...selling, projector: failed }))).includes(CATALOGUES[lang]["bottleneck.projector-away"]));
  });
});

test("who may only look is offered nothing to do", () => {
  each((lang) => {
    const tree = draw(contextOf(lang, { may: { admin: false } }), state(selling));
    assert.equal(findAll(tree, (node) => node.attributes["data-do"]).length, 0);
    assert.equal(findAll(tree, (node) => node.tag === "nav")[0].children.length, 3);
    for (const view of ["control", "audit"]) {
      const other = draw(contextOf(lang, { may: { admin: false } }), state({ ...selling, route: { view, id: "", filters: {} } }));
      assert.ok(textOf(other).includes(CATALOGUES[lang]["may-not"]));
      assert.equal(findAll(other, (node) => node.attributes["data-do"]).length, 0);
    }
  });
});

test("from one service alone the page says what is missing", () => {
  each((lang) => {
    for (const view of ["sale", "control", "ask", "audit", "rankings"]) {
      draw(contextOf(lang, { sides: { read: "r" } }), state({ ...selling, write: none, route: { view, id: "summer", filters: {} } }));
      const tree = draw(contextOf(lang, { sides: { write: "w" } }), state({ ...selling, read: none, settings: live(settings), route: { view, id: "", filters: {} } }));
      if (view === "sale") assert.ok(textOf(tree).includes(CATALOGUES[lang]["side-missing.read"]));
    }
    const tree = draw(contextOf(lang, { sides: { read: "r" } }), state({ ...selling, write: none, route: { view: "sale", id: "summer", filters: {} } }));
    assert.equal(findAll(tree, (node) => node.attributes["data-do"]).length, 0);
  });
});

test("control: what goes with the profile is marked, and who is suspended is there", () => {
  each((lang) => {
    const tree = draw(contextOf(lang), state({ route: { view: "control", id: "", filters: {} }, campaigns: live({ items: [campaign, { ...campaign, id: "b", status: "active" }], more: true }), settings: live(settings), write: live(write), read: live(read) }));
    assert.match(textOf(tree), /shop-7/);
    assert.match(textOf(tree), /the night/);
    assert.match(textOf(tree), /bots/);
    assert.equal(findAll(tree, (node) => node.attributes.class === "source set").length, 1);
    assert.equal(findAll(tree, (node) => node.attributes.class === "differs").length, 1, "what is set by hand would not change");
    assert.deepEqual(findAll(tree, (node) => node.attributes["data-do"]).map((node) => node.attributes["data-do"]).sort(), ["create", "pause-all", "profile", "resume-issuer", "suspend-issuer", "void"]);
  });
});

test("ask: codes are masked until asked for", () => {
  each((lang) => {
    const route = { view: "ask", id: "", filters: { q: "c3-77" } };
    const found = [{ kind: "coupon", value: coupon }, { kind: "campaign", value: campaign }, { kind: "user", value: "ann@shop.example" }];
    const lists = {
      "user ann@shop.example": { items: [coupon], more: true, loading: false },
      "history coupon c3-77": { items: [item("CouponIssued", -5000, { actor: null, reason: null })], more: false, loading: false },
      "holders summer": { items: [], more: false, loading: false },
      "history campaign summer": { items: [], more: false, loading: true, failure: failed.failure },
    };
    const is = { route, search: { asked: "c3-77", found }, lists, recent: ["a", "b"], csv: { rows: 2000 } };
    const text = textOf(draw(contextOf(lang), state(is)));
    assert.ok(!text.includes("ABCDE-FGHJK"));
    assert.match(text, /SUMMER-•••••/);
    assert.match(textOf(draw(contextOf(lang), state({ ...is, unmasked: new Set(["c3-77"]) }))), /ABCDE-FGHJK/);
    assert.match(textOf(draw(contextOf(lang), state({ route, search: { asked: "xx", found: [] } }))), /xx/);
    draw(contextOf(lang), state({ route, search: { asked: "xx", found: [], loading: true } }));
    assert.match(textOf(draw(contextOf(lang), state({ ...is, csv: failed }))), /abc/);
    assert.match(textOf(draw(contextOf(lang), state({ route, search: { asked: "xx", found: [], failure: failed.failure } }))), /abc/);
  });
});

test("ask: an order's coupons, those it gave back too, masked, each with its history", () => {
  each((lang) => {
    const asked = [];
    const ctx = contextOf(lang, { act: { href: () => "#/x", history: (...what) => asked.push(what) } });
    const items = [{ ...coupon, status: "redeemed", order_id: "o-1" }, { ...coupon, coupon_id: "c4-1", status: "issued", order_id: undefined }];
    const lists = { "order o-1": { items, more: true, loading: false }, "history coupon c4-1": { items: [item("CouponRestored", -5000)], more: false, loading: false } };
    const tree = draw(ctx, state({ route: { view: "ask", id: "", filters: { q: "o-1" } }, search: { asked: "o-1", found: [{ kind: "order", value: "o-1" }] }, lists }));
    const text = textOf(tree);
    assert.ok(!text.includes("ABCDE-FGHJK"));
    assert.match(text, lang === "ko" ? /이 주문이 보유.*더 이상 보유하지 않음/s : /has it.*has it no more/s);
    assert.equal(findAll(tree, (node) => node.tag === "h3").length, 1, "the history that was asked for");
    findAll(tree, (node) => node.attributes["aria-label"]?.endsWith(" c4-1") && node.tag === "button").at(-1).on.click();
    assert.deepEqual(asked, [["coupon", "c4-1"]]);
  });
});

test("ask: the customer's sentence is there in both languages", () => {
  each((lang) => {
    const answer = { decision: "sold-out", as_of: at(0), position: { slice: 3, position: 1 }, issued: 60, released: 60, last_sequence: 60, held: 0, per_user_limit: 1, message: { en: "All gone.", ko: "소진" } };
    const tree = draw(contextOf(lang), state({ route: { view: "ask", id: "", filters: {} }, why: { campaign: "a", user: "b", at: "", answer }, copied: "no" }));
    assert.deepEqual(findAll(tree, (node) => node.tag === "blockquote").map((node) => node.attributes.lang), ["ko", "en"]);
    draw(contextOf(lang), state({ route: { view: "ask", id: "", filters: {} }, why: { campaign: "a", user: "b", at: "", failure: failed.failure, loading: true } }));
  });
});

test("audit: filters leave what fits all of them", () => {
  const one = item("CampaignPaused", 0);
  assert.ok(auditMatches(one, {}));
  assert.ok(auditMatches(one, { actor: "ops", type: "CampaignPaused", campaign: "summer", text: "PRICE" }));
  for (const filters of [{ actor: "op" }, { type: "CampaignResumed" }, { campaign: "x" }, { text: "nothing" }, { actor: "ops", text: "nothing" }]) assert.ok(!auditMatches(one, filters), JSON.stringify(filters));
  each((lang) => {
    const audit = { items: [one, item("SettingChanged", -1, { campaign_id: null, data: { name: "profile", value: "" } }), item("IssuerSuspended", -2, { data: { issuer: "shop" } }), item("CouponRevoked", -3, { coupon_id: "c3-1", trace_id: undefined })], more: true, loading: false };
    const text = textOf(draw(contextOf(lang), state({ route: { view: "audit", id: "", filters: { type: "Other" } }, lists: { audit } })));
    assert.ok(text.includes("0"));
    draw(contextOf(lang), state({ route: { view: "audit", id: "", filters: {} }, lists: { audit } }));
    draw(contextOf(lang), state({ route: { view: "audit", id: "", filters: {} } }));
    draw(contextOf(lang), state({ route: { view: "rankings", id: "", filters: { by: "redeemed", window: "7d" } }, ranking: live({ items: [{ rank: 1, campaign_id: "a", name: "A", count: 5 }] }) }));
    draw(contextOf(lang), state({ route: { view: "rankings", id: "", filters: {} }, ranking: live({ items: [] }) }));
  });
});

test("signing in: loading and a key that is not known", () => {
  each((lang) => {
    const signIn = { key: "x", keep: true, loading: false, failure: Object.assign(new Error(), { code: "unauthenticated" }) };
    const tree = draw(contextOf(lang), state({ signedIn: false, signIn }));
    assert.ok(textOf(tree).includes(CATALOGUES[lang]["problem.unauthenticated"]));
    const [input] = findAll(tree, (node) => node.attributes.id === "key");
    assert.deepEqual([input.attributes.type, input.attributes["aria-invalid"], input.attributes["aria-describedby"]], ["password", "true", "key-fault"]);
    draw(contextOf(lang), state({ signedIn: false, signIn: { ...signIn, loading: true, failure: undefined } }));
  });
});

test("each dialog in each of its states", () => {
  each((lang) => {
    const ctx = contextOf(lang);
    assert.deepEqual(dialogView(ctx, null), []);
    for (const kind of Object.keys(KINDS)) {
      const was = { profile: settings, setting: settings.settings[0] }[kind] ?? campaign;
      const open = openAction({ kind, target: "summer", was, fields: kind === "profile" ? { value: "incident" } : {}, idempotencyKey: "k" });
      const refusal = { title: "No", code: "exceeds-quantity", field: KINDS[kind].fields[0]?.name };
      const states = [open, { ...open, touched: true }, { ...open, state: "sent" }, { ...open, state: "accepted", position: { slice: 1, position: 2 } }, { ...open, state: "visible", position: { slice: 1, position: 2 } },
        { ...open, state: "done", answer: { voided: 3 } }, { ...open, state: "done", answer: {} }, { ...open, state: "refused", problem: refusal }, { ...open, state: "unknown" }, { ...open, dry: { voidable: 5 } },
        { ...open, state: "done", answer: { paused: 3 } }, { ...open, state: "refused", problem: { code: "changed-meanwhile", changes: [{ name: "quantity", was: 100, now: 200 }, { name: "ends_at", was: null, now: at(0) }, { name: "tags", was: [], now: ["a", "b"] }] } }];
      for (const action of states) {
        const tree = dialogView(ctx, action);
        assert.equal(findAll(tree, (node) => node.attributes.id === "dialog-title").length, 1);
        const inputs = findAll(tree, (node) => ["input", "select", "textarea"].includes(node.tag));
        const labelled = new Set(findAll(tree, (node) => node.tag === "label").map((node) => node.attributes.for));
        for (const input of inputs) assert.ok(labelled.has(input.attributes.id), `${kind} ${input.attributes.id}`);
        const over = ["accepted", "visible", "done"].includes(action.state);
        assert.equal(findAll(tree, (node) => node.attributes.type === "submit").length, over ? 0 : 1, `${kind} ${action.state}`);
        if (action.state === "unknown") assert.ok(inputs.every((input) => input.attributes.disabled));
      }
    }
    const touched = { ...openAction({ kind: "close", target: "summer", idempotencyKey: "k" }), touched: true };
    const tree = dialogView(ctx, touched);
    assert.equal(findAll(tree, (node) => node.attributes["aria-invalid"] === "true").length, 2);
    assert.equal(step.send(touched), touched);
  });
});

test("the chart: round lines, everything inside, steps to come within reach", () => {
  assert.deepEqual(ticks(100), [0, 20, 40, 60, 80, 100]);
  assert.deepEqual(ticks(3), [0, 1, 2, 3]);
  for (const most of [1, 7, 99, 100_000_000]) assert.ok(ticks(most).at(-1) >= most && ticks(most).length <= 7, String(most));
  const scale = scales({ from: 0, to: 1000, top: 100, width: 760 });
  assert.ok(scale.x(-5) === scale.x(0) && scale.x(2000) === scale.x(1000) && scale.y(200) === scale.y(100));
  assert.equal(linePath([], scale), "");
  assert.equal(stepPath([], 1, scale), "");
  assert.match(stepPath([{ at: 0, held: 100 }, { at: 500, held: 0 }], 1000, scale), /^M76 14H[\d.]+V234H746$/);
  assert.equal(endOf([], 0, 1000), 1000);
  assert.equal(endOf([{ at: 1e9, planned: true }], 0, 600_000), 900_000, "what is planned for next week does not squeeze tonight");
  const empty = burnChart(contextOf("en"), { campaign, points: [], marks: [], from: NOW - 1000 });
  assert.equal(findAll(empty, (node) => node.attributes.class === "left").length, 0);
});

test("what two services say of a slice stands in one cell", () => {
  assert.deepEqual(slicesOf({ slices: [{ slice: 1, waiting: 2, waiting_max: 3, predicted_wait_ms: 4, store_available: false }] }, { slices: [{ slice: 1, lag_events: 5 }] })[1], { slice: 1, waiting: 2, most: 3, waitMs: 4, away: true, lag: 5 });
  assert.equal(slicesOf(undefined, undefined).length, 16);
});
