// SPDX-License-Identifier: Apache-2.0
// Whoever reads a code over somebody's shoulder can use the coupon: codes are masked until they are asked for.

const GROUPS = 5; // of five characters, after a prefix that is the campaign's and no secret
const DOT = "•";

/** The prefix and the last two characters stay: enough to compare a code with what a customer reads out. */
export function maskCode(code) {
  const parts = String(code ?? "").split("-");
  const secret = parts.slice(-GROUPS);
  const prefix = parts.slice(0, -GROUPS);
  const last = secret.length - 1;
  const hidden = secret.map((part, at) => (at === last && part.length > 2 ? DOT.repeat(part.length - 2) + part.slice(-2) : DOT.repeat(part.length)));
  return [...prefix, ...hidden].join("-");
}
