// SPDX-License-Identifier: Apache-2.0
// One call of the API: attempts, deadlines, back-off and the retry budget. It knows HTTP and problems, no coupons.
import { FirstcomeError, NetworkError } from "./errors.js";

const BODY_MAX = 64 * 1024 * 1024;

// Answers that say: this attempt did nothing, or its outcome is asked for by sending the same request again.
// Every write carries an Idempotency-Key, so repeating one cannot take effect twice.
const RETRIED_STATUS = new Set([429, 502, 503, 504]);
const RETRIED_CODE = new Set(["in-flight"]);

/**
 * A budget for retries, as a token bucket: each call earns a part of a retry, so that a client does not multiply
 * the load of a service that is in trouble.
 */
export class RetryBudget {
  #tokens;
  #perCall;
  #max;
  constructor({ perCall = 0.2, max = 20 } = {}) {
    this.#tokens = max;
    this.#perCall = perCall;
    this.#max = max;
  }
  earn() {
    this.#tokens = Math.min(this.#max, this.#tokens + this.#perCall);
  }
  take() {
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}

/** Retry-After as milliseconds: delay-seconds or an HTTP date; undefined where there is none or it is neither. */
export function retryAfterMs(headers, now = Date.now()) {
  const text = headers.get("retry-after")?.trim();
  if (!text) return undefined;
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}

/** Full jitter: a random part of an exponentially growing cap. */
export function backoffMs(attempt, { baseMs, capMs, random }) {
  return random() * Math.min(capMs, baseMs * 2 ** attempt);
}

function wait(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", stop, { once: true });
    function done() {
      signal?.removeEventListener("abort", stop);
      resolve();
    }
    function stop() {
      clearTimeout(timer);
      reject(signal.reason);
    }
  });
}

async function readJson(response) {
  const length = Number(response.headers.get("content-length") ?? 0);
  if (length > BODY_MAX) throw new NetworkError("the answer is larger than a client takes");
  const text = await response.text();
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    if (!response.ok) return undefined; // what stands between answers for people
    throw new NetworkError(`the answer with status ${response.status} is not JSON`);
  }
}

export class Transport {
  #options;
  #budget;
  constructor(options) {
    this.#options = options;
    this.#budget = options.budget;
  }

  /**
   * Sends one request until it is answered for good, its time is over, or the budget for retries is empty.
   * @returns {Promise<{status: number, headers: Headers, body: any}>}
   */
  async call(url, { method = "GET", headers = {}, body, signal, timeoutMs = this.#options.timeoutMs, attemptTimeoutMs = this.#options.attemptTimeoutMs } = {}) {
    const deadline = Date.now() + timeoutMs;
    this.#budget.earn();
    for (let attempt = 0; ; attempt++) {
      const outcome = await this.#attempt(url, { method, headers, body, signal, deadline, attemptTimeoutMs });
      if (outcome.answer) return outcome.answer;
      if (!outcome.again) throw outcome.failure;
      // Never earlier than the service asked for, and never all clients at once.
      const pause = (outcome.failure.retryAfterMs ?? 0) + backoffMs(attempt, this.#options.backoff);
      if (attempt + 1 >= this.#options.attempts || Date.now() + pause >= deadline || !this.#budget.take()) throw outcome.failure;
      this.#options.onRetry?.({ attempt: attempt + 1, pauseMs: pause, error: outcome.failure });
      await wait(pause, signal);
    }
  }

  /** The pause before attempt n + 1 of something that is asked for again and again. */
  pause(attempt, signal) {
    return wait(backoffMs(attempt, this.#options.backoff), signal);
  }

  /** One attempt: `{answer}`, or `{failure, again}` where `again` says whether another attempt makes sense. */
  async #attempt(url, request) {
    let answer;
    try {
      answer = await this.#send(url, request);
    } catch (error) {
      if (request.signal?.aborted) throw request.signal.reason;
      const failure = error instanceof NetworkError ? error : new NetworkError(`${request.method} failed: ${error?.message ?? error}`, { cause: error });
      return { failure, again: true };
    }
    const { response, body } = answer;
    if (response.ok || response.status === 304) return { answer: { status: response.status, headers: response.headers, body } };
    const failure = FirstcomeError.from(response, body, retryAfterMs(response.headers));
    return { failure, again: RETRIED_STATUS.has(failure.status) || RETRIED_CODE.has(failure.code) };
  }

  async #send(url, { method, headers, body, signal, deadline, attemptTimeoutMs }) {
    const stop = new AbortController();
    const abort = () => stop.abort(signal.reason);
    signal?.addEventListener("abort", abort, { once: true });
    const timer = setTimeout(
      () => stop.abort(new NetworkError("no answer in time")),
      Math.max(1, Math.min(attemptTimeoutMs, deadline - Date.now())),
    );
    try {
      const response = await this.#options.fetch(url, { method, headers, body, signal: stop.signal, redirect: "error" });
      return { response, body: await readJson(response) };
    } catch (error) {
      throw stop.signal.aborted ? stop.signal.reason : error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }
}
