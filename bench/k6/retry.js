// SPDX-License-Identifier: Apache-2.0
// Impatient clients: each request is sent three times with one Idempotency-Key. One effect, one answer.
//   k6 run bench/k6/retry.js
import { check } from "k6";
import { checkIssue, createCampaign, issue, unique } from "./lib/firstcome.js";

export const options = {
  scenarios: { retry: { executor: "constant-vus", vus: 50, duration: __ENV.DURATION || "30s" } },
  thresholds: { checks: ["rate==1"], http_req_failed: ["rate==0"] },
};

export const setup = () => createCampaign(100000000);

export default function ({ run }) {
  const user = unique(run);
  const answers = [0, 1, 2].map(() => issue(run, user, user));
  checkIssue(answers[0]);
  check(answers, {
    "the first answer again, byte for byte": (all) => all.every((a) => a.status === 201 && a.body === all[0].body),
    "and said to be a replay": (all) => all.slice(1).every((a) => a.headers["Idempotency-Replayed"] === "true"),
  });
}
