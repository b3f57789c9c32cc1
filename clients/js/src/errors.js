// SPDX-License-Identifier: Apache-2.0
// What can go wrong, as types: the service said no (FirstcomeError), or nobody knows (NetworkError).

/** The service refused or failed, and said so as application/problem+json. `code` is stable; texts are for people. */
export class FirstcomeError extends Error {
  constructor(problem, { requestId, retryAfterMs } = {}) {
    super(problem.detail ?? problem.title ?? problem.code);
    this.name = "FirstcomeError";
    this.code = problem.code;
    this.status = problem.status;
    this.title = problem.title;
    this.detail = problem.detail;
    this.retryable = problem.retryable === true;
    this.retryAfterMs = retryAfterMs;
    this.requestId = requestId;
    this.problem = problem;
  }

  /** Something between the service and the client may answer without a problem: then the status is all there is. */
  static from(response, body, retryAfterMs) {
    const known = body !== null && typeof body === "object" && typeof body.code === "string";
    const problem = known
      ? body
      : { code: `http-${response.status}`, status: response.status, title: response.statusText, retryable: response.status >= 500 };
    return new FirstcomeError(
      { ...problem, status: response.status },
      { requestId: response.headers.get("x-request-id") ?? undefined, retryAfterMs },
    );
  }

  /** Whether this is a refusal with one of the codes, such as "sold-out". */
  is(...codes) {
    return codes.includes(this.code);
  }
}

/**
 * No answer came, or none that can be read. A write may have taken effect: send it again with the same
 * Idempotency-Key (`idempotencyKey` of this error) to learn what became of it.
 */
export class NetworkError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = "NetworkError";
    this.idempotencyKey = undefined;
  }
}

/** The log that a feed follows is another one than before: PostgreSQL was restored. Start over. */
export class LogChangedError extends Error {
  constructor(slice, was, now) {
    super(`slice ${slice} is of another log than before`);
    this.name = "LogChangedError";
    this.slice = slice;
    this.was = was;
    this.now = now;
  }
}
