// SPDX-License-Identifier: Apache-2.0
// compose/edge/haproxy.cfg in front of two servers that say what they were asked: one origin, both services, the page
// from whichever is there. Skipped where there is no HAProxy.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { findSides } from "../api.js";

const HAPROXY = "/usr/sbin/haproxy";
const skip = existsSync(HAPROXY) ? false : "there is no HAProxy";
const BOUND_MS = 10_000;
const listen = (server, port = 0) => new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(server.address().port)));
const close = (server) => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve)));

// `missing`: paths this service has never heard of.
const service = (name, missing = []) =>
  createServer((request, response) => {
    const path = request.url.split("?")[0];
    response.writeHead(missing.includes(path) ? 404 : path === "/v1/settings" ? 401 : 200, { "Content-Type": "text/plain" });
    response.end(`${name} ${request.method} ${request.url} ${request.headers["x-forwarded-for"] ?? "-"}`);
  });

async function until(what, probe) {
  const deadline = Date.now() + BOUND_MS;
  for (;;) {
    const got = await probe().catch(() => undefined);
    if (got) return got;
    if (Date.now() > deadline) assert.fail(`not within ${BOUND_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const accepts = (port) => new Promise((resolve) => {
  const socket = connect(port, "127.0.0.1", () => (socket.destroy(), resolve(true)));
  socket.on("error", () => resolve(false));
});

let command, query, projector, edge, origin, commandPort, queryPort, output = "";
const ask = async (path, options) => {
  const response = await fetch(origin + path, options);
  return { status: response.status, text: await response.text(), url: response.url };
};

before(async () => {
  if (skip) return;
  command = service("command");
  query = service("query");
  commandPort = await listen(command);
  queryPort = await listen(query);
  projector = service("projector");
  const projectorPort = await listen(projector);
  const free = createServer();
  const port = await listen(free);
  await close(free);
  origin = `http://127.0.0.1:${port}`;
  edge = spawn(HAPROXY, ["-db", "-f", fileURLToPath(new URL("../../compose/edge/haproxy.cfg", import.meta.url))], {
    env: { EDGE_BIND: `127.0.0.1:${port}`, COMMAND_ADDRESS: `127.0.0.1:${commandPort}`, QUERY_ADDRESS: `127.0.0.1:${queryPort}`, PROJECTOR_ADDRESS: `127.0.0.1:${projectorPort}` },
    stdio: ["ignore", "ignore", "pipe"],
  });
  edge.stderr.on("data", (part) => (output += part));
  await until(`the edge listens: ${output}`, () => accepts(port));
});
after(async () => {
  if (skip) return;
  edge.kill("SIGKILL");
  await Promise.all([close(command), close(query), close(projector)]);
});

test("each prefix leads to its service, which sees its own paths", { skip }, async () => {
  assert.equal((await ask("/write/v1/campaigns/a%2Fb/pause?x=1", { method: "POST" })).text, "command POST /v1/campaigns/a%2Fb/pause?x=1 127.0.0.1");
  assert.equal((await ask("/read/v1/users/%EA%B9%80/coupons?limit=5")).text, "query GET /v1/users/%EA%B9%80/coupons?limit=5 127.0.0.1");
  assert.equal((await ask("/read/write/x")).text, "query GET /write/x 127.0.0.1");
  assert.equal((await ask("/projector/readyz")).text, "projector GET /readyz 127.0.0.1");
});

test("the page is there, and the way to it; nothing else is", { skip }, async () => {
  assert.match((await ask("/console")).text, /^query GET \/console /);
  assert.match((await ask("/console/core/format.js")).text, /^query GET \/console\/core\/format.js /);
  assert.match((await ask("/")).url, /\/console$/);
  for (const path of ["/v1/campaigns", "/metrics", "/consoles", "/writer", "/write", "/projector/metrics"]) assert.equal((await ask(path)).status, 404, path);
});

test("the page finds both services behind the edge, and one where there is one", { skip }, async () => {
  assert.deepEqual(await findSides(origin, fetch), { write: `${origin}/write`, read: `${origin}/read`, projector: `${origin}/projector` });
});

test("without an edge the page finds out whose it is", async () => {
  for (const [server, side] of [[service("c", ["/write/livez"]), "write"], [service("q", ["/write/livez", "/v1/settings"]), "read"]]) {
    const url = `http://127.0.0.1:${await listen(server)}`;
    assert.deepEqual(await findSides(url, fetch), { [side]: url });
    await close(server);
  }
});

test("the page survives the loss of the read side, which is answered for at once", { skip }, async () => {
  await close(query);
  const began = Date.now();
  assert.match(await until("the page comes from the other", async () => {
    const { status, text } = await ask("/console");
    return status === 200 && text;
  }), /^command GET \/console /);
  assert.equal((await ask("/read/v1/status")).status, 503);
  assert.equal((await ask("/write/v1/status")).status, 200);
  assert.ok(Date.now() - began < BOUND_MS);
  query = service("query");
  await listen(query, queryPort);
  await until("and back", async () => (await ask("/read/v1/status")).status === 200);
});
