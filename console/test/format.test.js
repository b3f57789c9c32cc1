// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { age, money, number, rate, span, time, utc } from "../core/format.js";
import { maskCode } from "../core/mask.js";

const words = { day: "d", hour: "h", minute: "min", second: "s", millisecond: "ms" };

test("numbers are grouped, and what is not known is no zero", () => {
  assert.equal(number(1234567), "1,234,567");
  assert.equal(number(0), "0");
  assert.equal(number(undefined), "–");
  assert.equal(number(null), "–");
  assert.equal(number(NaN), "–");
  assert.equal(rate(3.14159), "3.1");
  assert.equal(rate(25427.4), "25,427");
});

test("money has the decimals of its currency", () => {
  assert.match(money(5000, "KRW", "ko"), /5,000/);
  assert.match(money(1250, "EUR"), /12\.50/);
  assert.equal(money(7, "??"), "7 ??");
});

test("times are in KST, and in UTC for who compares them with a log", () => {
  assert.equal(time("2026-11-30T15:00:05.250Z"), "2026-12-01 00:00:05");
  assert.equal(time("2026-11-30T15:00:05Z", { short: true }), "00:00:05");
  assert.match(time("2026-11-30T15:00:05Z", { lang: "ko" }), /2026.*12.*01.*00:00:05/);
  assert.equal(utc("2026-11-30T15:00:05.250Z"), "2026-11-30T15:00:05Z");
  assert.equal(time(null), "–");
  assert.equal(time("soon"), "–");
  assert.equal(utc(undefined), "");
});

test("spans of time have their two largest units", () => {
  assert.equal(span(340, words), "340 ms");
  assert.equal(span(59_999, words), "59 s");
  assert.equal(span(61_000, words), "1 min 1 s");
  assert.equal(span(3_600_000, words), "1 h");
  assert.equal(span(90_000_000, words), "1 d 1 h");
  assert.equal(span(Infinity, words), "–");
  assert.equal(age(1000, 1900, words), "0 s");
  assert.equal(age(1000, 4900, words), "3 s");
  assert.equal(age(5000, 1000, words), "0 s", "a clock that was set back makes nothing younger than now");
  assert.equal(age(NaN, 1000, words), "");
});

test("of a code only the campaign's prefix and two characters can be read", () => {
  assert.equal(maskCode("SUMMER-ABCDE-FGHJK-MNPQR-STVWX-YZ012"), "SUMMER-•••••-•••••-•••••-•••••-•••12");
  assert.equal(maskCode("ABCDE-FGHJK-MNPQR-STVWX-YZ012"), "•••••-•••••-•••••-•••••-•••12");
  assert.equal(maskCode(undefined), "");
});
