// SPDX-License-Identifier: Apache-2.0
// What the scripts share: where the stack is, one user and one Idempotency-Key for each request, and which answers are
// expected. k6 counts every 409 as failed unless it is told that "sold out" is an answer like another.
import http from "k6/http";
import { check } from "k6";
import { Counter } from "k6/metrics";

export const commandUrl = __ENV.COMMAND_URL;
export const queryUrl = __ENV.QUERY_URL;

http.setResponseCallback(http.expectedStatuses({ min: 200, max: 299 }, 304, 409, 410, 429));

export const issued = new Counter("coupons_issued");
export const refused = new Counter("coupons_refused");

export function headers(token, more = {}) {
  return { Authorization: `Bearer ${token}`, "Content-Type": "application/json", ...more };
}

/** A user and a key that no other iteration of this run, nor of another run, has. */
export function unique(run) {
  return `${run}-${__VU}-${__ITER}`;
}

/** In setup(): a campaign of its own for each run. */
export function createCampaign(quantity, more = {}) {
  const run = `k6-${Date.now().toString(36)}`;
  const answer = http.post(
    `${commandUrl}/v1/campaigns`,
    JSON.stringify({ id: run, name: "k6", discount: { type: "percent", percent: 10 }, currency: "KRW", quantity, ...more }),
    { headers: headers(__ENV.ADMIN_TOKEN, { "Idempotency-Key": run }) },
  );
  if (answer.status !== 201) throw new Error(`the campaign was not created: ${answer.status} ${answer.body}`);
  return { run, quantity };
}

export function issue(campaign, user, key) {
  return http.post(`${commandUrl}/v1/campaigns/${campaign}/coupons`, JSON.stringify({ user_id: user }), {
    headers: headers(__ENV.ISSUE_TOKEN, { "Idempotency-Key": key }),
    tags: { name: "issue" }, // one name for all paths, or every campaign becomes a series of its own
  });
}

/** An issue is answered well when it is a coupon, or a refusal that says why. */
export function checkIssue(answer) {
  if (answer.status === 201) issued.add(1);
  else refused.add(1, { code: answer.json("code") || String(answer.status) });
  return check(answer, {
    "a coupon, or a refusal with its reason": (a) => a.status === 201 || (a.status >= 409 && a.status < 500 && !!a.json("code")),
  });
}

/** At the end: what was issued must be what there was, whatever the crowd did. */
export function checkTotal({ run, quantity }, wanted) {
  const answer = http.get(`${queryUrl}/v1/campaigns/${run}`, { headers: headers(__ENV.READ_TOKEN) });
  check(answer, {
    "never more than there are": (a) => a.json("issued") <= quantity,
    "all that were wanted were given": (a) => wanted === undefined || a.json("issued") === Math.min(wanted, quantity),
  });
}
