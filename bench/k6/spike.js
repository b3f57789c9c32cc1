// SPDX-License-Identifier: Apache-2.0
// The crowd that comes at once: ten times the coupons' number, within seconds. Lose Redis in the middle of it
// (redis-cli -u "$REDIS_URL" FLUSHALL): nothing of this may change.
//   k6 run -e QUANTITY=500 -e USERS=5000 bench/k6/spike.js
import { checkIssue, checkTotal, createCampaign, issue, unique } from "./lib/firstcome.js";

const users = Number(__ENV.USERS || 5000);
const quantity = Number(__ENV.QUANTITY || 500);

export const options = {
  scenarios: {
    crowd: { executor: "shared-iterations", vus: Math.min(1000, users), iterations: users, maxDuration: "2m" },
  },
  thresholds: {
    checks: ["rate==1"],
    http_req_failed: ["rate==0"],
    coupons_issued: [`count==${Math.min(users, quantity)}`],
    "http_req_duration{name:issue}": ["max<2000"],
  },
};

export const setup = () => createCampaign(quantity);

export default function ({ run }) {
  const user = unique(run);
  checkIssue(issue(run, user, user));
}

export const teardown = (data) => checkTotal(data, users);
