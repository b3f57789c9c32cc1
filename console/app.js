// SPDX-License-Identifier: Apache-2.0
// What is asked when, and what happens at a click. Everything that can be a function of its arguments is in core/ and
// views/; here are the clock, the network and the document.
import { clientOf, findSides, firstOf, holdersCsv, metricsOf, readyOf, scopesOf, search, takeFrom } from "./api.js";
import { randomKey } from "./client/index.js";
import { bodyOf, KINDS, localTime } from "./core/kinds.js";
import { keyOf, openAction, step } from "./core/action.js";
import { addPoint, pointOf, sampleTimes, windowOf } from "./core/burndown.js";
import { guessKinds } from "./core/guess.js";
import { Poller } from "./core/poll.js";
import { noteReading, statusOf } from "./core/fleet.js";
import { parseIssuing, parseProcess, parseRefusals, ratesOf } from "./core/metrics.js";
import { formatRoute, parseRoute } from "./core/route.js";
import { patchChildren } from "./dom.js";
import { languageOf, translator, unitsOf } from "./i18n/index.js";
import { dialogView } from "./views/dialog.js";
import { frame } from "./views/frame.js";
import { RANGES } from "./views/sale.js";

const PAGE = 50;
const CAMPAIGNS_MOST = 200;
const HISTORY_MOST = 500;
const RECENT_MOST = 8;
const PAST_AT_ONCE = 4;
const SPEAK_EVERY_MS = 30_000;
const KEPT_KEY = "firstcome-key";
const ALWAYS = ["write", "read", "projector"]; // asked whatever is shown
const UNKNOWN = { value: undefined, at: NaN, failure: undefined };

const root = document.getElementById("app");
const dialog = document.getElementById("dialog");

// A browser may refuse its stores; then nothing is kept.
function kept(store, name, value) {
  try {
    if (value === undefined) return store().getItem(name);
    if (value === null) store().removeItem(name);
    else store().setItem(name, value);
  } catch {}
  return null;
}
const local = () => globalThis.localStorage;
const session = () => globalThis.sessionStorage;

let client;
let key;
let sides = {};
let pollers = new Map();
let leave = new AbortController(); // of what was begun for the view that is shown
let action = null;

let state = {
  lang: kept(local, "lang") ?? languageOf(navigator.languages),
  zone: kept(local, "zone") ?? "kst",
  signedIn: false,
  may: { admin: false },
  signIn: { key: "", keep: false, loading: false, failure: undefined },
  route: parseRoute(location.hash),
  lastSale: "",
  ...blank(),
  write: UNKNOWN,
  read: UNKNOWN,
  projector: UNKNOWN,
  recent: [],
  asked: "",
};

// What belongs to one view and is forgotten with it.
function blank() {
  return {
    campaigns: UNKNOWN,
    campaign: UNKNOWN,
    history: UNKNOWN,
    refusals: UNKNOWN,
    settings: UNKNOWN,
    ranking: UNKNOWN,
    points: [],
    past: "none",
    spokenAt: undefined,
    lists: {},
    search: undefined,
    unmasked: new Set(),
    csv: undefined,
    copied: undefined,
    why: { campaign: "", user: "", at: "" },
  };
}

// --- drawing ---

function context() {
  const t = translator(state.lang);
  return { t, lang: state.lang, zone: state.zone, now: Date.now(), units: unitsOf(t), act, may: state.may, sides, width: document.documentElement.clientWidth };
}

let drawn = false;
function set(change) {
  state = { ...state, ...change };
  if (drawn) return;
  drawn = true;
  requestAnimationFrame(draw);
}

function draw() {
  drawn = false;
  document.documentElement.lang = state.lang;
  document.title = state.campaign.value ? `${state.campaign.value.name} · Firstcome` : "Firstcome";
  patchChildren(root, frame(context(), state).flat(Infinity).filter(Boolean));
}

function drawDialog() {
  patchChildren(dialog, dialogView(context(), action));
  if (action && !dialog.open) {
    dialog.showModal();
    dialog.querySelector("input, select, textarea, button")?.focus();
  } else if (action && !document.activeElement?.matches("dialog :enabled")) {
    // What had the focus is disabled while it is sent: the keyboard goes on where one may go on.
    dialog.querySelector('[aria-invalid="true"], [type="submit"]:enabled, button:enabled')?.focus();
  }
  if (!action && dialog.open) dialog.close();
}

// --- asking again and again ---

function poll(name, every, ask, more) {
  const poller = new Poller({
    every,
    ask,
    tell(next) {
      if (next.failure?.status === 401) return signOut(next.failure);
      set({ [name]: next });
      if (!next.failure) more?.(next);
    },
  });
  poller.hide(document.hidden);
  pollers.set(name, poller);
  poller.start();
}

function stopAll(names = [...pollers.keys()]) {
  for (const name of names) {
    pollers.get(name)?.stop();
    pollers.delete(name);
  }
}

function pollAlways() {
  if (sides.write)
    pollFleet("write", statusOf, async (signal) => {
      const is = await client.commandStatus({ signal });
      return { id: is.instance, is };
    });
  if (sides.projector) poll("projector", 2000, (signal) => readyOf({ key, sides, fetch: askFetch }, signal));
  if (sides.read) poll("read", 2000, (signal) => client.status({ signal }), (next) => move(step.seen, next.value.slices));
}

/** What each of the command services says of itself, put together by `of`. */
function pollFleet(name, of, ask) {
  let fleet = [];
  poll(name, 2000, async (signal) => {
    try {
      fleet = noteReading(fleet, { ...(await ask(signal)), at: Date.now() });
    } catch (failure) {
      fleet = []; // where none answers, nothing holds that one has said
      throw failure;
    }
    return of(fleet);
  });
}

function pollRefusals() {
  pollFleet("refusals", ratesOf, async (signal) => {
    const text = await metricsOf({ key, sides, fetch: askFetch }, signal);
    return { id: parseProcess(text), counts: parseRefusals(text), issuing: parseIssuing(text) };
  });
}

async function campaignsOf(signal) {
  const { items, rest } = await takeFrom(client.campaigns({ limit: 100, signal })[Symbol.asyncIterator](), CAMPAIGNS_MOST);
  return { items, more: rest !== null };
}

/** From the query service; where that is not there, from the command service, so that a sale can be held without it. */
async function campaignOf(id, signal) {
  const fromStore = () => client.campaign(id, { fromStore: true, signal });
  if (!sides.read || (sides.write && state.read.failure)) return fromStore();
  return client.campaign(id, { signal }).catch((error) => {
    if (signal.aborted || !sides.write || (error.problem && error.status < 500)) throw error;
    return fromStore();
  });
}

function pollCampaign(id) {
  let looked = !sides.read;
  poll("campaign", 1000, (signal) => campaignOf(id, signal), (next) => {
    const spoken = !state.spokenAt || next.at - state.spokenAt.at > SPEAK_EVERY_MS;
    set({ points: addPoint(state.points, pointOf(next.value, next.at)), ...(spoken ? { spokenAt: { at: next.at, remaining: next.value.remaining } } : {}) });
    if (!looked) {
      looked = true;
      lookBack(id);
    }
  });
  if (sides.read) poll("history", 5000, (signal) => firstOf(client.campaignHistory(id, { limit: 100, signal }), HISTORY_MOST));
}

// The past of the chart, the newest first: each instant is a read of its own that any cache may keep.
async function lookBack(id) {
  const { signal } = leave;
  const range = RANGES[state.route.filters.range] ?? RANGES["1h"];
  const known = new Set(state.points.map((point) => point.at));
  const times = sampleTimes(windowOf(state.campaign.value, Date.now(), range)).filter((at) => !known.has(at)).reverse();
  let partial = false;
  set({ past: times.length ? "loading" : "ready" });
  const work = async () => {
    for (let at = times.shift(); at !== undefined && !signal.aborted; at = times.shift()) {
      try {
        const then = await client.campaign(id, { asOf: new Date(at).toISOString(), signal });
        set({ points: addPoint(state.points, pointOf(then, at)) });
      } catch (error) {
        if (signal.aborted) return;
        partial = true;
        // One instant is refused where this clock is ahead of the log's. Else what is further back is no nearer.
        if (error.status !== 400) times.length = 0;
      }
    }
  };
  await Promise.all(Array.from({ length: PAST_AT_ONCE }, work));
  if (!signal.aborted) set({ past: partial ? "partial" : "ready" });
}

// --- going somewhere ---

function enter(route, before) {
  const same = before && before.view === route.view && before.id === route.id;
  if (!same) {
    leave.abort();
    leave = new AbortController();
    stopAll([...pollers.keys()].filter((name) => !ALWAYS.includes(name)));
    set({ ...blank(), route, lastSale: route.view === "sale" ? route.id : state.lastSale });
    if (before) requestAnimationFrame(() => act.focusMain()); // who cannot see it is told that this is another page
  } else {
    set({ route });
  }
  if (!state.signedIn) return;
  if (!same) begin(route);
  else if (route.view === "sale" && sides.read && route.id && before.filters.range !== route.filters.range && state.campaign.value) lookBack(route.id);
  if (route.view === "rankings") {
    stopAll(["ranking"]);
    const { by, window = "24h", tag } = route.filters;
    poll("ranking", 5000, (signal) => client.ranking({ by, window, tag, limit: 100, signal }));
  }
  const changed = (...names) => !same || names.some((name) => before.filters[name] !== route.filters[name]);
  if (route.view !== "ask" || !sides.read) return;
  const { q, campaign, user, at } = route.filters;
  if (q && changed("q")) runSearch(q);
  if (campaign && user && changed("campaign", "user", "at")) whyRefused({ campaign, user, at: at ? localTime(at) : "" }, at);
}

function begin(route) {
  if (route.view === "sale") {
    if (sides.write) pollRefusals();
    if (route.id) pollCampaign(route.id);
    else if (sides.read) poll("campaigns", 5000, campaignsOf);
  }
  if (route.view === "control" && state.may.admin) {
    if (sides.read) poll("campaigns", 5000, campaignsOf);
    if (sides.write) poll("settings", 5000, (signal) => client.settings({ signal }));
  }
  if (route.view === "audit" && state.may.admin && sides.read) openList("audit", client.audit({ limit: PAGE, signal: leave.signal }));
}

addEventListener("hashchange", () => {
  const before = state.route;
  enter(parseRoute(location.hash), before);
});

document.addEventListener("visibilitychange", () => {
  for (const poller of pollers.values()) poller.hide(document.hidden);
});

// --- lists, a page at a time ---

const rests = new Map();

async function openList(name, list) {
  if (state.lists[name]?.loading) return; // a second click
  rests.set(name, list[Symbol.asyncIterator]());
  set({ lists: { ...state.lists, [name]: { items: [], more: false, loading: false } } });
  await moreOf(name);
}

async function moreOf(name) {
  const list = state.lists[name];
  const { signal } = leave;
  if (!list || list.loading) return;
  const put = (change) => signal.aborted || set({ lists: { ...state.lists, [name]: { ...state.lists[name], ...change } } });
  put({ loading: true, failure: undefined });
  try {
    const { items, rest } = await takeFrom(rests.get(name), PAGE);
    put({ items: [...state.lists[name].items, ...items], more: rest !== null, loading: false, at: Date.now() });
  } catch (failure) {
    put({ loading: false, more: false, failure });
  }
}

async function runSearch(asked) {
  const { signal } = leave;
  const kinds = guessKinds(asked);
  set({ asked, unmasked: new Set(), search: { asked, loading: true, found: [] }, recent: [asked, ...state.recent.filter((one) => one !== asked)].slice(0, RECENT_MOST) });
  const result = { asked, ...(await search(client, kinds, asked.trim())) };
  if (signal.aborted || state.search?.asked !== asked) return;
  set({ search: { ...result, at: Date.now() } });
  // Who asks about somebody who got nothing has his name already.
  const is = (kind) => result.found.find((one) => one.kind === kind);
  const user = is("user")?.value ?? is("coupon")?.value.user_id ?? (result.found.length ? "" : asked);
  const campaign = is("campaign")?.value.id ?? is("coupon")?.value.campaign_id ?? "";
  if (!state.why.answer) set({ why: { ...state.why, user: state.why.user || user, campaign: state.why.campaign || campaign } });
  for (const { kind, value } of result.found) {
    if (kind === "user") openList(`user ${value}`, client.userCoupons(value, { limit: PAGE, signal }));
    if (kind === "order") openList(`order ${value}`, client.orderCoupons(value, { limit: PAGE, signal }));
  }
}

// --- doing ---

/** One step of the dialog's action; the dialog is drawn again only where it changed. */
function move(how, ...more) {
  if (!action) return;
  const next = how(action, ...more);
  if (next === action) return;
  action = next;
  drawDialog();
}

async function send() {
  if (!action || action.state === "sent") return; // a second click
  const sent = step.send({ ...action, touched: true });
  if (sent.state !== "sent") {
    action = sent;
    drawDialog();
    dialog.querySelector('[aria-invalid="true"]')?.focus();
    return;
  }
  action = sent;
  drawDialog();
  try {
    const answer = await KINDS[sent.kind].call(client, sent, bodyOf(sent), { idempotencyKey: keyOf(sent) });
    move(step.accept, answer);
  } catch (error) {
    move(step.fail, error);
  }
  for (const poller of pollers.values()) poller.again();
}

function download({ name, parts }) {
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(new Blob(parts, { type: "text/csv;charset=utf-8" }));
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
}

async function csvOf(id) {
  const { signal } = leave;
  const put = (csv) => signal.aborted || set({ csv });
  put({ rows: 0 });
  try {
    download(await holdersCsv({ key, sides, fetch: askFetch }, id, { signal, tell: (rows) => put({ rows }) }));
    put(undefined);
  } catch (failure) {
    put({ failure });
  }
}

async function whyRefused(asked, asOf) {
  const { signal } = leave;
  const put = (change) => signal.aborted || set({ copied: undefined, why: { ...state.why, ...change } });
  put({ ...asked, loading: true, answer: undefined, failure: undefined });
  try {
    put({ loading: false, answer: await client.decision(asked.campaign, asked.user, { asOf, signal }) });
  } catch (failure) {
    put({ loading: false, failure });
  }
}

// --- who ---

const askFetch = (...args) => globalThis.fetch(...args);

async function signIn(token, keep) {
  set({ signIn: { ...state.signIn, loading: true, failure: undefined } });
  try {
    sides = await findSides(location.origin, askFetch);
    const with_key = clientOf({ key: token, sides, fetch: askFetch });
    const may = await scopesOf(with_key, sides);
    client = with_key;
    key = token;
    kept(session, KEPT_KEY, keep ? token : null);
    set({ signedIn: true, may, signIn: { key: "", keep, loading: false, failure: undefined } });
    pollAlways();
    enter(parseRoute(location.hash));
  } catch (failure) {
    set({ signIn: { ...state.signIn, loading: false, failure } });
  }
}

function signOut(failure) {
  stopAll();
  leave.abort();
  leave = new AbortController();
  client = undefined;
  key = undefined;
  action = null;
  kept(session, KEPT_KEY, null);
  drawDialog();
  set({ ...blank(), write: UNKNOWN, read: UNKNOWN, projector: UNKNOWN, recent: [], asked: "", signedIn: false, may: { admin: false }, signIn: { key: "", keep: false, loading: false, failure } });
}

// --- what views may do ---

const act = {
  href: formatRoute,
  prefer(change) {
    for (const [name, value] of Object.entries(change)) kept(local, name, value);
    set(change);
    drawDialog();
  },
  go: (route) => (location.hash = formatRoute(route)),
  focusMain: () => document.getElementById("main")?.focus(),
  filter(change) {
    const route = { ...state.route, filters: { ...state.route.filters, ...change } };
    history.replaceState(null, "", formatRoute(route));
    enter(parseRoute(location.hash), state.route);
  },
  signInEdit: (change) => set({ signIn: { ...state.signIn, ...change } }),
  signIn: () => signIn(state.signIn.key.trim(), state.signIn.keep),
  signOut: () => signOut(),
  open(what) {
    action = openAction({ ...what, idempotencyKey: randomKey() });
    drawDialog();
  },
  edit: (change) => move(step.edit, change),
  send,
  dismiss() {
    if (action?.state === "sent") return;
    action = null;
    drawDialog();
  },
  asked: (text) => set({ asked: text }),
  search() {
    const q = state.asked.trim();
    if (q === state.route.filters.q) runSearch(q);
    else location.hash = formatRoute({ view: "ask", filters: { q } }); // another question: what was asked of another customer is gone
  },
  unmask(id) {
    const unmasked = new Set(state.unmasked);
    if (!unmasked.delete(id)) unmasked.add(id);
    set({ unmasked });
  },
  history: (kind, id) => openList(`history ${kind} ${id}`, kind === "coupon" ? client.couponHistory(id, { limit: PAGE, signal: leave.signal }) : client.campaignHistory(id, { limit: PAGE, signal: leave.signal })),
  holders: (id) => openList(`holders ${id}`, client.holders(id, { limit: PAGE, signal: leave.signal })),
  more: moreOf,
  csv: csvOf,
  whyEdit: (change) => set({ why: { ...state.why, ...change } }),
  /** What was asked stands in the URL; the same once more is asked again. */
  why() {
    const { campaign, user, at } = state.why;
    const route = { view: "ask", filters: { ...state.route.filters, campaign: campaign.trim(), user, at: at ? new Date(at).toISOString() : "" } };
    if (formatRoute(route) === formatRoute(state.route)) whyRefused({ campaign: campaign.trim(), user, at }, route.filters.at || undefined);
    else location.hash = formatRoute(route);
  },
  async copy(text) {
    // There is no clipboard for a page that came over plain HTTP from another machine.
    const copied = await (navigator.clipboard?.writeText(text).then(() => "yes", () => "no") ?? "no");
    set({ copied });
  },
};

dialog.addEventListener("cancel", (event) => {
  event.preventDefault();
  act.dismiss();
});
// A browser closes at the second Escape whatever the page says; what is under way is shown again.
dialog.addEventListener("close", () => {
  act.dismiss();
  if (action) drawDialog();
});

setInterval(() => document.hidden || set({}), 1000); // ages grow

set({});
const before = kept(session, KEPT_KEY);
if (before) signIn(before, true);
