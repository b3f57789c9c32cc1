-- SPDX-License-Identifier: Apache-2.0
-- Issuing with Debian's wrk: a new user and Idempotency-Key with each request, answers counted by status.
--   . .run/env; CAMPAIGN=demo wrk -t2 -c256 -d10s -s bench/wrk/issue.lua "$COMMAND_URL"
local campaign = assert(os.getenv("CAMPAIGN"), "CAMPAIGN: which campaign to issue from")
local token = assert(os.getenv("ISSUE_TOKEN"), "ISSUE_TOKEN: source .run/env")
local path = "/v1/campaigns/" .. campaign .. "/coupons"
local threads = {}
local run = os.time()

function setup(thread)
  thread:set("id", #threads)
  table.insert(threads, thread)
end

function init()
  count = 0
  statuses = {}
end

function request()
  count = count + 1
  local name = string.format("wrk-%d-%d-%d", run, id, count)
  return wrk.format("POST", path,
    { ["Authorization"] = "Bearer " .. token, ["Content-Type"] = "application/json", ["Idempotency-Key"] = name },
    '{"user_id": "' .. name .. '"}')
end

function response(status)
  statuses[status] = (statuses[status] or 0) + 1
end

function done(summary, latency)
  local all = {}
  for _, thread in ipairs(threads) do
    for status, n in pairs(thread:get("statuses")) do all[status] = (all[status] or 0) + n end
  end
  for status, n in pairs(all) do io.write(string.format("status %d: %d\n", status, n)) end
  io.write(string.format("issued %.0f/s, p99 %.1f ms\n", (all[201] or 0) / summary.duration * 1e6, latency:percentile(99) / 1000))
end
