// SPDX-License-Identifier: Apache-2.0
// Steady issuing, open model: requests come at their instants whether or not the former were answered.
//   k6 run -e RATE=500 -e DURATION=60s bench/k6/issue.js      (with .run/env sourced)
import { checkIssue, checkTotal, createCampaign, issue, unique } from "./lib/firstcome.js";

export const options = {
  scenarios: {
    issue: {
      executor: "constant-arrival-rate",
      rate: Number(__ENV.RATE || 500),
      timeUnit: "1s",
      duration: __ENV.DURATION || "60s",
      preAllocatedVUs: 200,
      maxVUs: 2000,
    },
  },
  thresholds: {
    checks: ["rate>0.999"],
    http_req_failed: ["rate<0.001"],
    "http_req_duration{name:issue}": ["p(95)<250", "p(99)<2000"],
    dropped_iterations: ["count==0"],
  },
};

export const setup = () => createCampaign(100000000);

export default function ({ run }) {
  const user = unique(run);
  checkIssue(issue(run, user, user));
}

export const teardown = (data) => checkTotal(data);
