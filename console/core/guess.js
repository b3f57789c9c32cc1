// SPDX-License-Identifier: Apache-2.0
// One box for everything: what somebody pasted tells by its shape what it may be.

const COUPON_ID = /^c\d{1,2}-\d+$/;
const CODE = /^(?:[A-Z0-9]{1,12}-)?(?:[0-9A-Z]{5}-){4}[0-9A-Z]{5}$/i;
const BARE_CODE = /^[0-9A-Z]{25}$/i; // read out on the telephone, without its dashes
const CAMPAIGN = /^[a-z0-9][a-z0-9-]{0,63}$/;
const NAME_BYTES_MAX = 128; // of a user and of an order, which are the shop's own names

/** Kinds to look for, the likeliest first: "coupon", "campaign", "user", "order". Empty: nothing has that name. */
export function guessKinds(text) {
  const asked = String(text ?? "").trim();
  if (asked === "") return [];
  if (CODE.test(asked)) return ["coupon"];
  const kinds = [];
  if (COUPON_ID.test(asked) || BARE_CODE.test(asked)) kinds.push("coupon");
  if (CAMPAIGN.test(asked)) kinds.push("campaign");
  if (new TextEncoder().encode(asked).length <= NAME_BYTES_MAX && !/\p{Cc}/u.test(asked)) kinds.push("user", "order");
  return kinds;
}
