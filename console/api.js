// SPDX-License-Identifier: Apache-2.0
// The services as this page knows them: where they are, what the key may do, and the project's own client. Only the
// public API is used.
import { Firstcome, FirstcomeError, NetworkError } from "./client/index.js";

const TIMEOUT_MS = 8000;
const ATTEMPT_MS = 4000;

/**
 * Which services this origin leads to. The edge has both, under /write and /read. A service that serves the page itself
 * has one of them, and who knows /v1/settings is a command service (it wants a key; the other has never heard of it).
 */
export async function findSides(origin, fetch) {
  const status = async (path) => {
    const response = await fetch(origin + path, { signal: AbortSignal.timeout(ATTEMPT_MS), cache: "no-store", redirect: "error" });
    return response.status;
  };
  if ((await status("/write/livez")) !== 404) return { write: `${origin}/write`, read: `${origin}/read`, projector: `${origin}/projector` };
  return (await status("/v1/settings")) === 404 ? { read: origin } : { write: origin };
}

export function clientOf({ key, sides, fetch }) {
  return new Firstcome({ key, commandUrl: sides.write, queryUrl: sides.read, timeoutMs: TIMEOUT_MS, attemptTimeoutMs: ATTEMPT_MS, attempts: 3, fetch });
}

const refused = (code) => (error) => {
  if (error instanceof FirstcomeError && error.is(code)) return false;
  throw error;
};

/**
 * What is offered: the server refuses the rest whatever is shown. One side that answers is enough, because the page is most
 * needed when the other does not. Throws where the key is not known, may do nothing here, or nobody answers.
 */
export async function scopesOf(client, sides) {
  const probes = [];
  if (sides.write) probes.push({ admin: () => client.settings(), any: () => client.commandStatus() });
  if (sides.read) probes.push({ admin: () => firstOf(client.audit({ limit: 1 }), 1), any: () => client.status() });
  let failure;
  for (const probe of probes) {
    try {
      const admin = await probe.admin().then(() => true, refused("forbidden"));
      if (!admin) await probe.any(); // throws what is to be said
      return { admin };
    } catch (error) {
      if (error instanceof FirstcomeError && error.status < 500) throw error;
      failure = error;
    }
  }
  throw failure;
}

/** The first `most` of a list: {items, rest}, where `rest` gives the next ones or is null when there are none. */
export async function takeFrom(iterator, most) {
  const items = [];
  while (items.length < most) {
    const { value, done } = await iterator.next();
    if (done) return { items, rest: null };
    items.push(value);
  }
  return { items, rest: iterator };
}

export async function firstOf(list, most) {
  const { items } = await takeFrom(list[Symbol.asyncIterator](), most);
  return items;
}

async function get(fetch, url, signal, headers = {}) {
  try {
    const within = AbortSignal.timeout(ATTEMPT_MS);
    return await fetch(url, { headers, signal: AbortSignal.any ? AbortSignal.any([signal, within]) : within, cache: "no-store", redirect: "error" });
  } catch (error) {
    throw new NetworkError(`GET failed: ${error?.message ?? error}`, { cause: error });
  }
}

/** The counters of a command service, as text. */
export async function metricsOf({ key, sides, fetch }, signal) {
  const response = await get(fetch, `${sides.write}/metrics`, signal, { Authorization: `Bearer ${key}` });
  if (!response.ok) throw FirstcomeError.from(response, null);
  return response.text();
}

/** Whether the projector is ready, and which parts are where it says so: {ready, parts?}. That it is not ready is an answer, too. */
export async function readyOf({ key, sides, fetch }, signal) {
  const response = await get(fetch, `${sides.projector}/readyz`, signal, { Authorization: `Bearer ${key}` });
  const is = await response.json().catch(() => null);
  if (typeof is?.ready !== "boolean") throw FirstcomeError.from(response, null); // the edge answered for who is gone
  return is;
}

/**
 * The holders of a campaign's coupons as the query service writes them: {name, parts} of a file. It has a byte order mark,
 * without which Excel reads Korean as something else. Throws where the answer breaks off: half a list is none.
 */
export async function holdersCsv({ key, sides, fetch }, campaign, { signal, tell }) {
  const headers = { Authorization: `Bearer ${key}`, Accept: "text/csv" };
  const response = await fetch(`${sides.read}/v1/campaigns/${encodeURIComponent(campaign)}/coupons`, { headers, signal, cache: "no-store", redirect: "error" });
  if (!response.ok) throw FirstcomeError.from(response, await response.json().catch(() => null));
  const parts = ["\uFEFF"];
  let lines = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { value, done } = await reader.read();
    if (done) break;
    parts.push(value);
    for (const byte of value) if (byte === 10) lines++;
    tell(Math.max(0, lines - 1)); // the first has the names
  }
  return { name: /filename="([^"]+)"/.exec(response.headers.get("content-disposition"))?.[1] ?? `${campaign}.csv`, parts };
}

/**
 * What was found under a name, of each kind it may be: {found, failure}. A name nobody has is no failure; where one question
 * failed, what the others found is there all the same.
 */
export async function search(client, kinds, asked) {
  const missing = (error) => {
    if (error instanceof FirstcomeError && error.status === 404) return undefined;
    throw error;
  };
  const look = {
    coupon: async () => client.coupon(asked).catch(missing), // a code is read as it was typed
    campaign: async () => client.campaign(asked).catch(missing),
    user: async () => ((await firstOf(client.userCoupons(asked, { limit: 1 }), 1)).length ? asked : undefined),
    order: async () => ((await firstOf(client.orderCoupons(asked, { limit: 1 }), 1)).length ? asked : undefined),
  };
  const answers = await Promise.allSettled(kinds.map((kind) => look[kind]()));
  return {
    found: kinds.map((kind, at) => ({ kind, value: answers[at].value })).filter((one) => one.value !== undefined),
    failure: answers.find((one) => one.status === "rejected")?.reason,
  };
}
