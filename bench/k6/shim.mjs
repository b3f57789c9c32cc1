// SPDX-License-Identifier: Apache-2.0
// Runs a script of this folder in Node, so that its requests and checks are tried for real where k6 is not to be had:
// setup, ITERATIONS iterations one after another, teardown. It does not make load, and it is not k6.
//   node bench/k6/shim.mjs issue.js [ITERATIONS]
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync, mkdirSync, copyFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));

// k6's http is synchronous, and Node's is not: another process sends one request at a time.
const SENDER = `
let text = "";
process.stdin.on("data", (part) => (text += part)).on("end", async () => {
  const { url, method, headers, body } = JSON.parse(text);
  const answer = await fetch(url, { method, headers, body: body ?? undefined, signal: AbortSignal.timeout(10000) });
  const names = {};
  answer.headers.forEach((value, name) => (names[name.replace(/(^|-)[a-z]/g, (c) => c.toUpperCase())] = value));
  process.stdout.write(JSON.stringify({ status: answer.status, headers: names, body: await answer.text() }));
});`;

function send(method, url, body, { headers = {} } = {}) {
  const child = spawnSync(process.execPath, ["-e", SENDER], { input: JSON.stringify({ url, method, headers, body }), encoding: "utf8" });
  if (child.status !== 0) throw new Error(child.stderr);
  const answer = JSON.parse(child.stdout);
  state.requests++;
  if (!state.expected.some((e) => (typeof e === "number" ? e === answer.status : answer.status >= e.min && answer.status <= e.max))) state.failed++;
  return {
    ...answer,
    json: (path) => {
      const parsed = JSON.parse(answer.body);
      return path === undefined ? parsed : path.split(".").reduce((at, key) => at?.[key], parsed);
    },
  };
}

const state = { requests: 0, failed: 0, checks: new Map(), counters: new Map(), expected: [{ min: 200, max: 399 }] };
globalThis.__ENV = process.env;
globalThis.__VU = 1;
globalThis.__ITER = 0;
globalThis.__k6 = {
  http: {
    get: (url, params) => send("GET", url, null, params),
    post: (url, body, params) => send("POST", url, body, params),
    expectedStatuses: (...statuses) => statuses,
    setResponseCallback: (statuses) => (state.expected = statuses),
  },
  check: (value, rules) => {
    let good = true;
    for (const [name, rule] of Object.entries(rules)) {
      const passed = Boolean(rule(value));
      const count = state.checks.get(name) ?? [0, 0];
      count[passed ? 0 : 1]++;
      state.checks.set(name, count);
      good &&= passed;
    }
    return good;
  },
  Counter: class {
    constructor(name) {
      this.name = name;
    }
    add(n) {
      state.counters.set(this.name, (state.counters.get(this.name) ?? 0) + n);
    }
  },
};

// The scripts import "k6/...": a copy of them beside modules of these names resolves it.
const room = mkdtempSync(join(tmpdir(), "k6-shim-"));
let failed = true;
try {
  const k6 = join(room, "node_modules", "k6");
  mkdirSync(k6, { recursive: true });
  mkdirSync(join(room, "lib"));
  writeFileSync(join(room, "package.json"), '{"type":"module"}');
  writeFileSync(join(k6, "package.json"), '{"type":"module","exports":{".":"./index.js","./http":"./http.js","./metrics":"./metrics.js"}}');
  writeFileSync(join(k6, "index.js"), "export const { check } = globalThis.__k6;");
  writeFileSync(join(k6, "http.js"), "export default globalThis.__k6.http;");
  writeFileSync(join(k6, "metrics.js"), "export const { Counter } = globalThis.__k6;");
  copyFileSync(join(here, "lib", "firstcome.js"), join(room, "lib", "firstcome.js"));
  writeFileSync(join(room, "script.js"), readFileSync(join(here, process.argv[2])));
  const script = await import(pathToFileURL(join(room, "script.js")).href);
  if (!script.options?.thresholds || !script.options?.scenarios) throw new Error("a script has scenarios and thresholds");
  const data = script.setup?.();
  for (globalThis.__ITER = 0; __ITER < Number(process.argv[3] ?? 50); globalThis.__ITER++) script.default(data);
  script.teardown?.(data);
  for (const [name, [passed, bad]] of state.checks) console.log(`${bad ? "FAILED" : "ok"}  ${name}: ${passed} of ${passed + bad}`);
  for (const [name, count] of state.counters) console.log(`    ${name}: ${count}`);
  console.log(`    ${state.requests} requests, ${state.failed} not as expected`);
  failed = state.failed > 0 || [...state.checks.values()].some(([, bad]) => bad) || state.checks.size === 0;
} finally {
  rmSync(room, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);
