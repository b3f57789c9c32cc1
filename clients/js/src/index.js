// SPDX-License-Identifier: Apache-2.0
// Client of the Firstcome coupon service: ESM, no dependencies, Node 18+ and browsers.
import { FirstcomeError, LogChangedError, NetworkError } from "./errors.js";
import { RetryBudget, Transport } from "./transport.js";

export { FirstcomeError, LogChangedError, NetworkError, RetryBudget };

const TOKENS_MAX = 16; // one for each slice
const segment = encodeURIComponent;
const tags = new WeakMap(); // what a read gave -> its ETag

/** The ETag of what a read gave, which changes with all that the read says. */
export function etagOf(answer) {
  return tags.get(answer);
}

function condition(ifMatch) {
  const tag = typeof ifMatch === "string" ? ifMatch : tags.get(ifMatch);
  if (tag === undefined) throw new TypeError("ifMatch is an ETag, or what a read of this client gave");
  return tag;
}

function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null);
  return given.length ? `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : "";
}

// A browser has it for every page (randomUUID only for those that came over TLS), Node from version 19 on; before that it
// is to be imported, by a name that no bundler for browsers looks for.
const webcrypto = globalThis.crypto ?? (await import(["node", "crypto"].join(":"))).webcrypto;

/** 128 random bits as hex digits. */
export function randomKey() {
  return Array.from(webcrypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Firstcome {
  #key;
  #commandUrl;
  #queryUrl;
  #transport;
  #tokens = new Map(); // slice of a Consistency-Token -> the last one seen

  constructor({
    key,
    commandUrl,
    queryUrl,
    timeoutMs = 10_000,
    attemptTimeoutMs = 3_000,
    attempts = 5,
    backoffBaseMs = 100,
    backoffCapMs = 2_000,
    budget = new RetryBudget(),
    fetch = globalThis.fetch,
    random = Math.random,
    onRetry,
  }) {
    if (!key) throw new TypeError("key: the API key's token is needed");
    if (!commandUrl && !queryUrl) throw new TypeError("commandUrl or queryUrl is needed");
    this.#key = key;
    this.#commandUrl = commandUrl?.replace(/\/+$/, "");
    this.#queryUrl = queryUrl?.replace(/\/+$/, "");
    this.#transport = new Transport({
      fetch: (...args) => fetch(...args),
      timeoutMs,
      attemptTimeoutMs,
      attempts,
      budget,
      onRetry,
      backoff: { baseMs: backoffBaseMs, capMs: backoffCapMs, random },
    });
  }

  // --- campaigns ---

  createCampaign(campaign, options) {
    return this.#write("POST", "/v1/campaigns", campaign, options);
  }
  changeCampaign(id, body, options) {
    return this.#write("PATCH", `/v1/campaigns/${segment(id)}`, body, options);
  }
  pauseCampaign(id, body = {}, options) {
    return this.#write("POST", `/v1/campaigns/${segment(id)}/pause`, body, options);
  }
  resumeCampaign(id, body = {}, options) {
    return this.#write("POST", `/v1/campaigns/${segment(id)}/resume`, body, options);
  }
  closeCampaign(id, body = {}, options) {
    return this.#write("POST", `/v1/campaigns/${segment(id)}/close`, body, options);
  }
  releaseStock(id, body, options) {
    return this.#write("POST", `/v1/campaigns/${segment(id)}/release`, body, options);
  }
  deleteCampaign(id, options) {
    return this.#write("DELETE", `/v1/campaigns/${segment(id)}`, undefined, options);
  }
  voidCampaigns(filter, options) {
    return this.#write("POST", "/v1/campaigns/void", filter, options);
  }

  // --- coupons ---

  /**
   * Issues a coupon. With `async: true` the service may accept the request instead of deciding it at once; then the
   * outcome is waited for, up to `timeoutMs` of the options.
   */
  issue(campaignId, { userId }, options = {}) {
    return this.#write("POST", `/v1/campaigns/${segment(campaignId)}/coupons`, { user_id: userId }, options);
  }
  issueMany(campaignId, { userIds }, options) {
    return this.#write("POST", `/v1/campaigns/${segment(campaignId)}/coupons/batch`, { user_ids: userIds }, options);
  }
  reserve(coupon, body, options) {
    return this.#write("POST", `/v1/coupons/${segment(coupon)}/reserve`, body, options);
  }
  redeem(coupon, body, options) {
    return this.#write("POST", `/v1/coupons/${segment(coupon)}/redeem`, body, options);
  }
  release(coupon, body, options) {
    return this.#write("POST", `/v1/coupons/${segment(coupon)}/release`, body, options);
  }
  restore(coupon, body, options) {
    return this.#write("POST", `/v1/coupons/${segment(coupon)}/restore`, body, options);
  }
  revoke(coupon, body, options) {
    return this.#write("POST", `/v1/coupons/${segment(coupon)}/revoke`, body, options);
  }

  // --- steering ---

  suspendIssuer(name, body = {}, options) {
    return this.#write("POST", `/v1/issuers/${segment(name)}/suspend`, body, options);
  }
  resumeIssuer(name, body = {}, options) {
    return this.#write("POST", `/v1/issuers/${segment(name)}/resume`, body, options);
  }
  putSetting(name, value, { reason, ...options } = {}) {
    return this.#write("PUT", `/v1/settings/${segment(name)}`, { value, reason }, options);
  }
  settings(options) {
    return this.#read(this.#command(), "/v1/settings", options);
  }
  /** Every use of an Idempotency-Key of this API key, from whatever service took it. */
  requests(idempotencyKey, options) {
    return this.#read(this.#command(), `/v1/requests/${segment(idempotencyKey)}`, options);
  }

  // --- reads ---

  /** `fromStore`: the command service is asked, which says how it is and not how it was a moment ago. */
  campaign(id, { asOf, fromStore, ...options } = {}) {
    return this.#read(fromStore ? this.#command() : this.#query(), `/v1/campaigns/${segment(id)}${query({ as_of: asOf })}`, options);
  }
  coupon(idOrCode, options) {
    return this.#read(this.#query(), `/v1/coupons/${segment(idOrCode)}`, options);
  }
  validity(idOrCode, { userId, orderId, orderAmount, currency, ...options } = {}) {
    const asked = query({ user_id: userId, order_id: orderId, order_amount: orderAmount, currency });
    return this.#read(this.#query(), `/v1/coupons/${segment(idOrCode)}/validity${asked}`, options);
  }
  userInCampaign(campaignId, userId, options) {
    return this.#read(this.#query(), `/v1/campaigns/${segment(campaignId)}/users/${segment(userId)}`, options);
  }
  ranking({ by, window, tag, limit, asOf, ...options } = {}) {
    return this.#read(this.#query(), `/v1/rankings/campaigns${query({ by, window, tag, limit, as_of: asOf })}`, options);
  }
  status(options) {
    return this.#read(this.#query(), "/v1/status", options);
  }
  /** The same question to a command service: queues, predicted waits, the store, the disk. */
  commandStatus(options) {
    return this.#read(this.#command(), "/v1/status", options);
  }
  /** Why was this user refused? What would have been decided at `asOf`, with a sentence for the customer. */
  decision(campaignId, userId, { asOf, ...options } = {}) {
    const path = `/v1/campaigns/${segment(campaignId)}/users/${segment(userId)}/decision`;
    return this.#read(this.#query(), path + query({ as_of: asOf }), options);
  }

  /** Lists, one page at a time behind the scenes: `for await (const campaign of client.campaigns())`. */
  campaigns({ status, tag, limit, ...options } = {}) {
    return this.#pages("/v1/campaigns", { status, tag, limit }, options);
  }
  holders(campaignId, { limit, ...options } = {}) {
    return this.#pages(`/v1/campaigns/${segment(campaignId)}/coupons`, { limit }, options);
  }
  couponHistory(idOrCode, { limit, ...options } = {}) {
    return this.#pages(`/v1/coupons/${segment(idOrCode)}/history`, { limit }, options);
  }
  campaignHistory(id, { limit, ...options } = {}) {
    return this.#pages(`/v1/campaigns/${segment(id)}/history`, { limit }, options);
  }
  /** Everything that steers, newest first. */
  audit({ limit, ...options } = {}) {
    return this.#pages("/v1/audit", { limit }, options);
  }
  userCoupons(userId, { status, limit, ...options } = {}) {
    return this.#pages(`/v1/users/${segment(userId)}/coupons`, { status, limit }, options);
  }
  /** What an order reserved or redeemed, each as it is now: where `order_id` is another or none, the order has it no more. */
  orderCoupons(orderId, { limit, ...options } = {}) {
    return this.#pages(`/v1/orders/${segment(orderId)}/coupons`, { limit }, options);
  }

  /**
   * Follows one slice of the log for ever: yields every event after `after`, in order. Stop it by leaving the loop
   * or by the signal. Keep `position` of the last event handled, to go on from it after a restart.
   * @throws {LogChangedError} when the service says that the log is another one than before
   */
  async *events({ slice, after = 0, limit = 500, waitSeconds = 20, campaign, type, log, signal } = {}) {
    let position = after;
    let history = log;
    for (;;) {
      const asked = query({ slice, after: position, limit, wait: waitSeconds, campaign, type });
      const attemptTimeoutMs = (waitSeconds + 5) * 1000;
      const call = { signal, timeoutMs: 3 * attemptTimeoutMs, attemptTimeoutMs, consistent: false };
      const page = await this.#read(this.#query(), `/v1/events${asked}`, call);
      if (page.log !== undefined) {
        if (history !== undefined && history !== page.log) throw new LogChangedError(slice, history, page.log);
        history = page.log;
      }
      for (const event of page.items) {
        yield event;
        position = event.position;
      }
      // A page may skip what a filter left out, and says how far it looked.
      if (Number.isInteger(page.next) && page.next > position) position = page.next;
      if (waitSeconds === 0 && page.items.length === 0) return;
    }
  }

  // --- the two kinds of call ---

  #command() {
    if (!this.#commandUrl) throw new TypeError("commandUrl was not given");
    return this.#commandUrl;
  }

  #query() {
    if (!this.#queryUrl) throw new TypeError("queryUrl was not given");
    return this.#queryUrl;
  }

  async #write(method, path, body, { idempotencyKey = randomKey(), async: respondAsync, ifMatch, signal, timeoutMs } = {}) {
    const base = this.#command();
    const headers = { ...this.#headers(), "Idempotency-Key": idempotencyKey };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (respondAsync) headers.Prefer = "respond-async";
    if (ifMatch !== undefined) headers["If-Match"] = condition(ifMatch);
    const asked = { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal, timeoutMs };
    try {
      const answer = await this.#transport.call(base + path, asked);
      this.#remember(answer.headers);
      if (answer.status === 202) return await this.#outcome(base, path, asked, answer, timeoutMs);
      return answer.body;
    } catch (error) {
      if (error instanceof NetworkError || error instanceof FirstcomeError) error.idempotencyKey = idempotencyKey;
      throw error;
    }
  }

  /**
   * The outcome of an accepted request (202), from its status URL. Where nobody knows it any more (the service that
   * had it is gone), the same request with the same key is sent again: what took effect is answered again.
   */
  async #outcome(base, path, asked, accepted, timeoutMs = 30_000) {
    const { Prefer: _prefer, ...headers } = asked.headers;
    const deadline = Date.now() + timeoutMs;
    for (let attempt = 0; ; attempt++) {
      const left = deadline - Date.now();
      if (left <= 0) throw new NetworkError("the accepted request has no outcome yet");
      const location = new URL(accepted.headers.get("location"), base);
      if (location.origin !== new URL(base).origin) throw new NetworkError("the status URL is of another origin"); // the key stays here
      const { body } = await this.#transport.call(location.href, { headers: this.#headers(), signal: asked.signal, timeoutMs: left });
      const use = body.items.at(0);
      if (use === undefined) {
        const answer = await this.#transport.call(base + path, { ...asked, headers, timeoutMs: left });
        this.#remember(answer.headers);
        return answer.body;
      }
      if (use.state === "done") return this.#done(use);
      await this.#transport.pause(attempt, asked.signal);
    }
  }

  #done(use) {
    if (use.status < 400) return use.answer;
    throw new FirstcomeError({ ...use.answer, status: use.status });
  }

  async #read(base, path, { signal, timeoutMs, attemptTimeoutMs, consistent = true } = {}) {
    const headers = this.#headers();
    if (consistent && this.#tokens.size) headers["Consistency-Token"] = [...this.#tokens.values()].join(", ");
    const answer = await this.#transport.call(base + path, { headers, signal, timeoutMs, attemptTimeoutMs });
    const tag = answer.headers.get("etag");
    if (tag && answer.body !== null && typeof answer.body === "object") tags.set(answer.body, tag);
    return answer.body;
  }

  async *#pages(path, parameters, options) {
    let cursor;
    do {
      const page = await this.#read(this.#query(), path + query({ ...parameters, cursor }), options);
      yield* page.items;
      cursor = page.next;
    } while (cursor);
  }

  #headers() {
    return { Authorization: `Bearer ${this.#key}`, Accept: "application/json" };
  }

  /** Reads of this client never answer from before its own writes: the newest token of each slice goes with them. */
  #remember(headers) {
    const token = headers.get("consistency-token");
    if (!token) return;
    const slice = token.slice(0, token.lastIndexOf(".")); // what tokens of one slice have in common
    this.#tokens.delete(slice);
    this.#tokens.set(slice, token);
    if (this.#tokens.size > TOKENS_MAX) this.#tokens.delete(this.#tokens.keys().next().value);
  }
}
