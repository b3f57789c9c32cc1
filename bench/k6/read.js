// SPDX-License-Identifier: Apache-2.0
// Readers: many of one campaign, some of their own coupons, a few of the rankings.
//   k6 run -e RATE=2000 bench/k6/read.js
import http from "k6/http";
import { check } from "k6";
import { createCampaign, headers, issue, queryUrl } from "./lib/firstcome.js";

export const options = {
  scenarios: {
    read: {
      executor: "ramping-arrival-rate",
      startRate: 100,
      timeUnit: "1s",
      preAllocatedVUs: 200,
      maxVUs: 2000,
      stages: [
        { target: Number(__ENV.RATE || 2000), duration: "10s" },
        { target: Number(__ENV.RATE || 2000), duration: __ENV.DURATION || "30s" },
      ],
    },
  },
  thresholds: { checks: ["rate>0.999"], http_req_failed: ["rate<0.001"], http_req_duration: ["p(95)<100"] },
};

export function setup() {
  const data = createCampaign(1000);
  for (let i = 0; i < 20; i++) issue(data.run, `${data.run}-${i}`, `${data.run}-${i}`);
  return data;
}

export default function ({ run }) {
  const turn = __ITER % 10;
  const path =
    turn < 7 ? `/v1/campaigns/${run}` : turn < 9 ? `/v1/users/${run}-${__ITER % 20}/coupons` : "/v1/rankings/campaigns?by=issued&window=1h";
  const answer = http.get(`${queryUrl}${path}`, { headers: headers(__ENV.READ_TOKEN), tags: { name: path.split("/")[2] } });
  check(answer, {
    "answered": (a) => a.status === 200,
    "says how old it is": (a) => a.headers["Cache-Status"] !== undefined,
  });
}
