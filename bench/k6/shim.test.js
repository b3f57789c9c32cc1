// SPDX-License-Identifier: Apache-2.0
// Every script against a running stack, where .run/env names one.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const skip = process.env.COMMAND_URL && process.env.QUERY_URL ? false : "no stack: source .run/env first";

for (const script of ["issue.js", "spike.js", "retry.js", "read.js"])
  test(`k6 ${script}: its requests are answered and its checks hold`, { skip }, () => {
    const env = { ...process.env, ...(script === "spike.js" ? { USERS: "20", QUANTITY: "5" } : {}) };
    const child = spawnSync(process.execPath, [join(here, "shim.mjs"), script, "20"], { encoding: "utf8", env });
    assert.equal(child.status, 0, child.stdout + child.stderr);
  });
