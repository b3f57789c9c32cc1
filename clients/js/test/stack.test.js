// SPDX-License-Identifier: Apache-2.0
// The client against a running stack, where .run/env names one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Firstcome } from "../src/index.js";

const { COMMAND_URL, QUERY_URL, ADMIN_TOKEN, ISSUE_TOKEN, REDEEM_TOKEN, READ_TOKEN } = process.env;
const skip = COMMAND_URL && QUERY_URL ? false : "no stack: source .run/env first";
const as = (key) => new Firstcome({ key, commandUrl: COMMAND_URL, queryUrl: QUERY_URL });
const id = `js-${Date.now().toString(36)}`;

test("a coupon's life", { skip }, async () => {
  const admin = as(ADMIN_TOKEN);
  await admin.createCampaign({ id, name: "JS", discount: { type: "fixed", amount: 500 }, currency: "KRW", quantity: 3 });
  const shop = as(ISSUE_TOKEN);
  const coupon = await shop.issue(id, { userId: "ann" });
  assert.equal(coupon.sequence, 1);
  const again = await shop.issue(id, { userId: "ann" }, { idempotencyKey: "one-key" }).catch((error) => error);
  assert.ok(again.is("already-issued"));
  const till = as(REDEEM_TOKEN);
  await till.reserve(coupon.code, { user_id: "ann", order_id: `${id}-o1`, order_amount: 5000, ttl_seconds: 60 });
  const used = await till.redeem(coupon.code, { user_id: "ann", order_id: `${id}-o1`, order_amount: 5000 });
  assert.equal(used.discount_amount, 500);
});

test("reads see this client's writes, and lists are whole", { skip }, async () => {
  const admin = as(ADMIN_TOKEN); // scope admin reads too
  const enlarged = await admin.changeCampaign(id, { quantity: 1000, reason: "more demand" });
  assert.equal(enlarged.quantity, 1000);
  const state = await admin.pauseCampaign(id);
  assert.equal(state.status, "paused");
  assert.equal((await admin.campaign(id)).status, "paused");
  const holders = [];
  for await (const coupon of as(READ_TOKEN).holders(id, { limit: 1 })) holders.push(coupon.user_id);
  assert.deepEqual(holders, ["ann"]);
  const ordered = [];
  for await (const coupon of as(READ_TOKEN).orderCoupons(`${id}-o1`)) ordered.push([coupon.campaign_id, coupon.status]);
  assert.deepEqual(ordered, [[id, "redeemed"]]);
});

test("the feed of a slice ends where the log does", { skip }, async () => {
  const reader = as(READ_TOKEN);
  const campaign = await reader.campaign(id);
  assert.ok(campaign);
  const types = [];
  for (let slice = 0; slice < 16; slice++)
    for await (const event of reader.events({ slice, waitSeconds: 0 })) if (event.campaign_id === id) types.push(event.type);
  assert.equal(types[0], "CampaignCreated");
  assert.ok(types.includes("CouponRedeemed"));
});
