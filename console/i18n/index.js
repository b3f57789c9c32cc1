// SPDX-License-Identifier: Apache-2.0
// Words of the page. Both catalogues have the same keys (a test says so); {name} is filled in.
import { en } from "./en.js";
import { ko } from "./ko.js";

export const CATALOGUES = { en, ko };

/** t("key", {name: value}); t.maybe("key") is undefined where there is no such key. */
export function translator(lang) {
  const catalogue = CATALOGUES[lang] ?? en;
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => (values?.[name] === undefined ? whole : String(values[name])));
  const t = (key, values) => fill(catalogue[key] ?? key, values);
  t.maybe = (key, values) => (catalogue[key] === undefined ? undefined : fill(catalogue[key], values));
  return t;
}

/** The catalogue's names of units, for core/format.js. */
export function unitsOf(t) {
  return Object.fromEntries(["day", "hour", "minute", "second", "millisecond"].map((unit) => [unit, t(`unit.${unit}`)]));
}

/** The first of a browser's languages that there is. */
export function languageOf(wanted) {
  for (const one of wanted ?? []) {
    const short = one.toLowerCase().split("-")[0];
    if (CATALOGUES[short]) return short;
  }
  return "en";
}
