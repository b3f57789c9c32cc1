// SPDX-License-Identifier: Apache-2.0
// Appends CouponIssued events with Emmett's PostgreSQL event store: node emmett.mjs PEERS_DIR URL CLIENTS SECONDS.
// Prints "tps = <rate>" as pgbench does. Each client appends one event after the other. Streams are one per user:
// appends to one stream at the same time are refused by its optimistic check, so the hot campaign cannot be a stream.
import { createRequire } from "node:module";
import { randomUUID } from "node:crypto";

const [peers, url, clients, seconds] = process.argv.slice(2);
const load = createRequire(`${peers}/`);
const { getPostgreSQLEventStore } = await import(load.resolve("@event-driven-io/emmett-postgresql"));
const store = getPostgreSQLEventStore(url);
let appended = 0;

async function append() {
    const user = `bench-${randomUUID()}`;
    await store.appendToStream(`coupon-bench-hot:${user}`, [
        { type: "CouponIssued", data: { campaign: "bench-hot", user, nth: 1, sequence: appended } },
    ]);
}

async function client(until) {
    while (Date.now() < until) {
        await append();
        appended++;
    }
}

await append(); // makes the schema
const start = Date.now();
const until = start + 1000 * Number(seconds);
await Promise.all(Array.from({ length: Number(clients) }, () => client(until)));
console.log(`tps = ${((appended * 1000) / (Date.now() - start)).toFixed(3)}`);
process.exit(0); // its pool would keep the process alive
